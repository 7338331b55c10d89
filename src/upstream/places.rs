//! The hosts of one upstream: what the operator named, and so what may be reached and may see credentials.

use std::fmt;

use url::{Host, Url};

use super::redirect::same_origin;

/// Realms that well-known registries use on hosts other than their own: host of the endpoint, host of the realm.
const WELL_KNOWN_REALMS: &[(&str, &str)] = &[
    ("registry-1.docker.io", "auth.docker.io"),
    ("index.docker.io", "auth.docker.io"),
    ("docker.io", "auth.docker.io"),
    ("nvcr.io", "authn.nvidia.com"),
    ("registry.gitlab.com", "gitlab.com"),
    ("registry.connect.redhat.com", "sso.redhat.com"),
    ("docker.elastic.co", "docker-auth.elastic.co"),
    ("registry.digitalocean.com", "api.digitalocean.com"),
];

/// A host, with or without a port, as an operator writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    host: String,
    port: Option<u16>,
}

impl Place {
    fn parse(written: &str) -> Option<Self> {
        // A bare IPv6 address has colons but no port.
        if let Ok(v6) = written.trim_matches(['[', ']']).parse::<std::net::Ipv6Addr>() {
            return Some(Self { host: Host::<String>::Ipv6(v6).to_string(), port: None });
        }
        let (host, port) = match written.rsplit_once(':') {
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (written, None),
        };
        // Parsed as in a URL, so that what is compared later has one form on both sides.
        Some(Self { host: Host::parse(host).ok()?.to_string(), port })
    }

    fn matches(&self, host: &str, port: Option<u16>) -> bool {
        self.host.eq_ignore_ascii_case(host) && self.port.is_none_or(|own| Some(own) == port)
    }
}

/// The hosts that an upstream's configuration names.
#[derive(Debug)]
pub(super) struct Places {
    endpoints: Vec<Url>,
    realms: Vec<Place>,
    redirects: Vec<Place>,
}

/// An entry of `realm_hosts` or `redirect_hosts` that is not a host, or a host and a port.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotAHost(pub(super) String);

impl Places {
    pub(super) fn new(
        endpoints: &[Url],
        realm_hosts: &[String],
        redirect_hosts: &[String],
    ) -> Result<Self, NotAHost> {
        let parse = |written: &String| Place::parse(written).ok_or_else(|| NotAHost(written.clone()));
        Ok(Self {
            endpoints: endpoints.to_vec(),
            realms: realm_hosts.iter().map(parse).collect::<Result<_, _>>()?,
            redirects: redirect_hosts.iter().map(parse).collect::<Result<_, _>>()?,
        })
    }

    /// Whether `url` has scheme, host and port of an endpoint.
    pub(super) fn is_endpoint(&self, url: &Url) -> bool {
        self.endpoints.iter().any(|endpoint| same_origin(endpoint, url))
    }

    /// Whether this host may have an address that is not public.
    pub(super) fn may_be_private(&self, host: &str, port: Option<u16>) -> bool {
        self.redirects.iter().any(|place| place.matches(host, port))
            || self.endpoints.iter().any(|endpoint| {
                endpoint.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host))
                    && endpoint.port_or_known_default() == port
            })
    }

    /// Whether a redirect may leave TLS for this place: only if the operator named it.
    pub(super) fn may_be_plain(&self, url: &Url) -> bool {
        self.is_endpoint(url) || self.redirects.iter().any(|place| place.matches_url(url))
    }

    /// Whether `realm`, named by a challenge of `endpoint`, is the operator's own choice of token server. Only such a
    /// realm sees credentials, and only such a realm may have a private address.
    pub(super) fn trusts_realm(&self, endpoint: &Url, realm: &Url) -> bool {
        let Some(host) = realm.host_str() else { return false };
        if endpoint.scheme() == "https" && realm.scheme() != "https" {
            return false;
        }
        // A host that is an endpoint's with TLS is asked for tokens with it, whoever named it.
        let own = |url: &Url| {
            url.host_str().is_some_and(|own| own.eq_ignore_ascii_case(host))
                && (realm.scheme() == "https" || url.scheme() == "http")
        };
        self.endpoints.iter().any(own)
            || self.realms.iter().any(|place| place.matches_url(realm))
            || WELL_KNOWN_REALMS.iter().any(|(registry, known)| {
                *known == host && endpoint.host_str() == Some(registry) && realm.scheme() == "https"
            })
    }
}

impl Place {
    fn matches_url(&self, url: &Url) -> bool {
        url.host_str().is_some_and(|host| self.matches(host, url.port_or_known_default()))
    }
}

impl fmt::Display for NotAHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is not a host, or a host with a port", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn places(endpoints: &[&str], realms: &[&str], redirects: &[&str]) -> Places {
        let endpoints: Vec<Url> = endpoints.iter().copied().map(url).collect();
        let owned = |hosts: &[&str]| hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>();
        Places::new(&endpoints, &owned(realms), &owned(redirects)).expect("hosts")
    }

    #[test]
    fn t58_private_addresses_are_for_endpoints_and_configured_hosts() {
        let places = places(&["http://10.0.0.7:5000"], &[], &["10.0.0.9", "[fd00::1]:9000", "store.local"]);
        for (host, port, may) in [
            ("10.0.0.7", 5000, true),
            ("10.0.0.7", 22, false),
            ("10.0.0.9", 80, true),
            ("10.0.0.10", 80, false),
            ("[fd00::1]", 9000, true),
            ("[fd00::1]", 9001, false),
            ("Store.Local", 443, true),
            ("169.254.169.254", 80, false),
        ] {
            assert_eq!(places.may_be_private(host, Some(port)), may, "{host}:{port}");
        }
    }

    #[test]
    fn t61_a_realm_is_trusted_only_where_the_operator_or_the_table_says_so() {
        let hub = places(&["https://registry-1.docker.io"], &["auth.local:5001"], &[]);
        for (realm, trusted) in [
            ("https://auth.docker.io/token", true),
            ("http://auth.docker.io/token", false),
            ("https://registry-1.docker.io/token", true),
            ("https://auth.local:5001/token", true),
            ("https://auth.local/token", false),
            ("https://authn.nvidia.com/token", false),
            ("https://auth.docker.io.evil.example/token", false),
        ] {
            assert_eq!(hub.trusts_realm(&hub.endpoints[0], &url(realm)), trusted, "{realm}");
        }
        let local = places(&["http://10.0.0.7:5000"], &[], &[]);
        assert!(local.trusts_realm(&local.endpoints[0], &url("http://10.0.0.7:5001/auth")));
        assert!(!local.trusts_realm(&local.endpoints[0], &url("https://auth.docker.io/token")));
        // Who is asked in clear may not have the other asked in clear.
        let both = places(&["http://branch.example:5000", "https://registry.example"], &[], &[]);
        for (realm, trusted) in [
            ("http://branch.example/token", true),
            ("https://registry.example/token", true),
            ("http://registry.example/token", false),
        ] {
            assert_eq!(both.trusts_realm(&both.endpoints[0], &url(realm)), trusted, "{realm}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for wrong in ["", "http://a.example", "a.example:port", "a b", "a.example/path"] {
            assert!(Place::parse(wrong).is_none(), "{wrong:?}");
        }
    }
}
