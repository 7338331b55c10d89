//! What an upstream is made from, already validated by the configuration as far as it can see.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use crate::http::Pseudonym;

use super::limit::Limits;
use super::refreshed::Refreshed;
use super::uplink::Uplink;

/// One upstream, as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients call it; the name in logs and metrics.
    pub name: String,
    /// The name of this mirror, which all requests carry.
    pub pseudonym: Pseudonym,
    /// Whether its endpoints are told which upstream is meant, because they are mirrors themselves.
    pub pass_ns: bool,
    /// Where it is, in the order in which the endpoints are tried.
    pub endpoints: Vec<EndpointSettings>,
    /// The accounts to pull with; a repository that none is for is asked for as anybody. A password is shown to no endpoint
    /// without TLS where there is one with it: see [`EndpointSettings::login`].
    pub accounts: Vec<Account>,
    /// Where its token server may be, beside the endpoints' own hosts and the well-known ones. With or without a port.
    pub realm_hosts: Vec<String>,
    /// Hosts with addresses that are not public, or without TLS, that redirects may lead to. With or without a port.
    pub redirect_hosts: Vec<String>,
    /// Certificates that are trusted beside the system's roots.
    pub ca: Vec<CertificateDer<'static>>,
    /// For what HTTP/2 is used with servers that offer it.
    pub http2: Http2,
    /// The proxies that lead to it, to its token servers and to where it redirects.
    pub proxies: Proxies,
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// How long a request may take from its start to the head of the response.
    pub header_timeout: Duration,
    /// How long a body may pause.
    pub idle_timeout: Duration,
    /// How many connections may bring blobs at a time.
    pub max_connections: usize,
    /// How many bytes a second it may send; `None`: as many as come.
    pub max_rate: Option<u64>,
    /// Below so many pulls left, what is cached is not asked about: see [`super::Outlook::scarce`].
    pub pull_reserve: u64,
    /// What upstreams have said of how much we may ask.
    pub limits: Limits,
    /// What token servers have given in place of accounts.
    pub refreshed: Refreshed,
    /// What it shares with the other upstreams.
    pub uplink: Uplink,
}

/// One endpoint, as configured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Its base URL: `http` or `https`, possibly with a path.
    pub url: Url,
    /// What else is trusted and shown there, and at no other scheme, host or port.
    pub trust: Trust,
    /// Where the account comes from that it is asked with, in place of those of the upstream.
    pub login: Option<LoginSource>,
}

impl From<Url> for EndpointSettings {
    fn from(url: Url) -> Self {
        Self { url, trust: Trust::default(), login: None }
    }
}

/// How a server proves who it is, and we to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Certificates that are trusted beside the system's roots and the upstream's.
    pub ca: Vec<CertificateDer<'static>>,
    /// What is shown where the server asks for a client's certificate.
    pub identity: Option<Identity>,
    /// Whoever answers is believed.
    pub insecure: bool,
}

/// A client's certificate, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those that lead from it to a root.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("certificates", &self.chain.len()).finish_non_exhaustive()
    }
}

/// For what HTTP/2 is used, where a server with TLS offers it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Http2 {
    /// For nothing.
    Never,
    /// For all but the bytes of blobs.
    #[default]
    Small,
    /// For blobs as well.
    All,
}

/// The proxies on the way, by the scheme of what is asked for. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For `http`.
    pub http: Option<Proxy>,
    /// For `https`.
    pub https: Option<Proxy>,
    /// What is reached directly: domains with all below them, addresses, networks, each perhaps with a port; `*` is
    /// everything.
    pub except: Vec<String>,
}

/// A proxy of HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is: `http` or `https`, without an account.
    pub url: Url,
    /// The account that it is shown.
    pub credentials: Option<Credentials>,
}

/// An account of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The repository that it is for, with all whose names go on after a slash; empty: all. The longest one counts.
    pub prefix: String,
    /// Where it comes from.
    pub login: LoginSource,
}

/// Where an account comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginSource {
    /// It is this one.
    Fixed(Credentials),
    /// The password is in a file, alone.
    PasswordFile {
        /// The account's name.
        username: String,
        /// The file; white space around its content is dropped.
        file: PathBuf,
    },
    /// Docker's `config.json`, or a mounted secret of that form.
    DockerConfig(PathBuf),
    /// A program that speaks the protocol of docker's credential helpers: a path, or a name to be found in `PATH`.
    Helper(PathBuf),
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The account's name.
    pub username: String,
    /// Its password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why settings do not make an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// The list of endpoints is empty.
    NoEndpoint,
    /// An endpoint is not a plain `http` or `https` base URL.
    Endpoint(String),
    /// An entry of `realm_hosts` or `redirect_hosts` is not a host.
    Host(String),
    /// The given certificates are not.
    Ca(String),
    /// A client's certificate and its key do not go together.
    Identity(String),
}

impl std::error::Error for SetupError {}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("an upstream needs at least one endpoint"),
            Self::Endpoint(endpoint) => write!(
                f,
                "{endpoint} is not an endpoint: a URL of http or https, without account, query and fragment, is expected"
            ),
            Self::Host(why) => f.write_str(why),
            Self::Ca(why) => write!(f, "the CA certificates cannot be used: {why}"),
            Self::Identity(why) => write!(f, "the client certificate cannot be used: {why}"),
        }
    }
}

/// Refuses what could not be asked, or would carry a secret where nobody expects one.
pub(super) fn check_endpoints(endpoints: &[EndpointSettings]) -> Result<(), SetupError> {
    if endpoints.is_empty() {
        return Err(SetupError::NoEndpoint);
    }
    for EndpointSettings { url, trust, .. } in endpoints {
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(SetupError::Endpoint(super::redirect::Bare(url).to_string()));
        }
        super::tls::check(trust)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_credentials_do_not_show_their_password() {
        let credentials = Credentials { username: "robot".into(), password: "hidden".into() };
        assert!(!format!("{credentials:?}").contains("hidden"));
    }

    #[test]
    fn an_endpoint_is_a_plain_base_url() {
        for (endpoint, good) in [
            ("https://registry.example", true),
            ("http://10.0.0.7:5000/mirror", true),
            ("ftp://registry.example", false),
            ("https://user:hidden@registry.example", false),
            ("https://registry.example/?a=b", false),
            ("https://registry.example/#a", false),
        ] {
            let checked = check_endpoints(&[endpoint.parse::<Url>().expect("a URL").into()]);
            assert_eq!(checked.is_ok(), good, "{endpoint}");
            assert!(checked.err().is_none_or(|error| !error.to_string().contains("hidden")), "{endpoint}");
        }
        assert_eq!(check_endpoints(&[]), Err(SetupError::NoEndpoint));
    }
}
