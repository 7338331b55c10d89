//! Who a client is, and what it may have: the rules as they are now, before anything is looked for.
//!
//! A request is decided on by its upstream and repository, once, before any cache and before any upstream: what is here is
//! given to nobody whom the rules do not give it. Who asks is what the connection tells (an address, a certificate), what
//! the request shows (a login), and, where the connection comes from a proxy that is believed, what that says of its own
//! client. Nothing else a request says of where it comes from is believed.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::door::Client;
use super::login::{Login, Logins, Shown};
use super::respond::Rejection;
use crate::admission::{Decision, Network, Rules, Users, What, Who, any_contains};
use crate::telemetry::Metrics;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// What is configured of who may have what.
#[derive(Clone, Debug, Default)]
pub struct AccessSettings {
    /// The rules.
    pub rules: Rules,
    /// Networks that may connect; empty: all.
    pub networks: Vec<Network>,
    /// Proxies that are believed when they say for whom they ask.
    pub proxies: Vec<Network>,
    /// Who can log in; `None`: nobody, and what is shown is not looked at.
    pub users: Option<Users>,
}

/// Who may have what, as it is now. Clones are the same.
#[derive(Clone, Debug)]
pub struct Access {
    now: Arc<RwLock<Arc<AccessSettings>>>,
    logins: Logins,
}

/// Who asks, and the rules as they were when it did.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    settings: Arc<AccessSettings>,
    client: Client,
    user: Option<Arc<str>>,
    /// It has shown what is no login of anybody.
    is_wrong: bool,
}

impl Access {
    /// As configured.
    #[must_use]
    pub fn new(settings: AccessSettings, metrics: Metrics) -> Self {
        let logins = Logins::new(settings.users.clone(), metrics);
        Self { now: Arc::new(RwLock::new(Arc::new(settings))), logins }
    }

    /// It is like this from the next request on.
    pub fn replace(&self, settings: AccessSettings) {
        if settings.users.is_some() {
            // Not while everybody who comes waits.
            self.logins.prepare();
        }
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        if now.users != settings.users {
            self.logins.replace(settings.users.clone());
        }
        *now = Arc::new(settings);
    }

    fn now(&self) -> Arc<AccessSettings> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the rules give this to anybody.
    #[must_use]
    pub fn gives_to_anybody(&self, upstream: &str, repository: &str) -> bool {
        self.now().rules.open_to_anybody(&What { upstream, repository })
    }

    /// Whether a connection from there is let in at all.
    pub(super) fn lets_in(&self, address: Option<IpAddr>) -> bool {
        let now = self.now();
        let is_of = |networks: &[Network]| any_contains(networks, address);
        // Who may open a socket is decided by the rights of its file.
        address.is_none() || now.networks.is_empty() || is_of(&now.networks) || is_of(&now.proxies)
    }

    /// Whether it is a proxy that is believed.
    pub(super) fn is_proxy(&self, address: Option<IpAddr>) -> bool {
        any_contains(&self.now().proxies, address)
    }

    /// Who it is, where that depends on a proxy on the way.
    pub(super) fn behind(&self, client: &Client, headers: &HeaderMap) -> Client {
        let now = self.now();
        if now.proxies.is_empty() {
            return client.clone();
        }
        let said = headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?"));
        let said = said.collect::<Vec<_>>().join(",");
        match forwarded(client.ip(), &said, &now.proxies) {
            Some(address) => Client { forwarded: Some(address), ..client.clone() },
            None => client.clone(),
        }
    }

    /// Who asks; `client` is whoever is behind all proxies.
    pub(super) async fn identify(&self, client: &Client, headers: &HeaderMap) -> Result<Caller, Rejection> {
        let settings = self.now();
        if !settings.networks.is_empty()
            && client.ip().is_some()
            && !any_contains(&settings.networks, client.ip())
        {
            return Err(Rejection::Forbidden);
        }
        let shown = headers.get(AUTHORIZATION).and_then(|shown| Shown::of(shown.as_bytes()));
        let (user, is_wrong) = match self.logins.check(shown).await {
            Login::None => (None, false),
            Login::As(user) => (Some(user), false),
            Login::Wrong => (None, true),
            Login::Busy => return Err(Rejection::Busy),
        };
        Ok(Caller { settings, client: client.clone(), user, is_wrong })
    }
}

impl Access {
    /// Who asks without a login, from an address that is told by the connection alone; `None`: that takes more to say.
    pub(super) fn identify_now(&self, client: &Client) -> Option<Caller> {
        let settings = self.now();
        let lets_in = settings.networks.is_empty()
            || client.ip().is_none()
            || any_contains(&settings.networks, client.ip());
        (lets_in && settings.proxies.is_empty()).then(|| Caller {
            settings,
            client: client.clone(),
            user: None,
            is_wrong: false,
        })
    }
}

impl Caller {
    /// As whom it has logged in.
    pub(super) fn user(&self) -> Option<&Arc<str>> {
        self.user.as_ref()
    }

    /// Whether it may have this.
    pub(super) fn may_have(&self, upstream: &str, repository: &str) -> Result<(), Rejection> {
        let what = What { upstream, repository };
        verdict(self.settings.rules.decide(&self.who(), &what))
    }

    /// Whether it may know that a registry is here. A login that is wrong is told here, which is where clients log in;
    /// elsewhere it is none, because clients show what is meant for others (T77).
    pub(super) fn may_greet(&self) -> Result<(), Rejection> {
        if self.is_wrong && self.settings.rules.logins {
            return Err(Rejection::Unauthorized);
        }
        verdict(self.settings.rules.greet(&self.who()))
    }

    fn who(&self) -> Who<'_> {
        Who {
            user: self.user.as_deref(),
            certificate: self.client.names.as_deref(),
            address: self.client.ip(),
        }
    }
}

fn verdict(decision: Decision) -> Result<(), Rejection> {
    match decision {
        Decision::Allow(_) => Ok(()),
        Decision::Challenge(_) => Err(Rejection::Unauthorized),
        Decision::Deny(_) => Err(Rejection::Forbidden),
    }
}

/// For whom a connection asks that comes from there and says this: the last address in the list that no believed proxy has.
/// `None`: for itself. What is no address ends the list, because nobody knows who wrote what is before it.
fn forwarded(from: Option<IpAddr>, said: &str, proxies: &[Network]) -> Option<IpAddr> {
    if proxies.is_empty() || !any_contains(proxies, from) {
        return None;
    }
    let mut client = None;
    for entry in said.rsplit(',').map(str::trim) {
        let Some(address) = address(entry) else { break };
        client = Some(address);
        if !any_contains(proxies, client) {
            break;
        }
    }
    client
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<std::net::SocketAddr>().map(|address| address.ip());
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse::<IpAddr>().or_else(|_| with_port()).ok().map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_believed_proxy_says_for_whom_it_asks_and_only_the_last_word_counts() {
        let proxies: Vec<Network> = ["10.0.0.0/8", "unix"].iter().map(|text| text.parse().unwrap()).collect();
        for (from, said, client) in [
            ("192.0.2.1", "198.51.100.7", None),
            ("10.0.0.1", "", None),
            ("10.0.0.1", "198.51.100.7", Some("198.51.100.7")),
            ("::ffff:10.0.0.1", "198.51.100.7", Some("198.51.100.7")),
            ("10.0.0.1", "198.51.100.7:4711", Some("198.51.100.7")),
            ("10.0.0.1", "[2001:db8::1]:4711", Some("2001:db8::1")),
            ("10.0.0.1", "[2001:db8::1]", Some("2001:db8::1")),
            ("10.0.0.1", "1.1.1.1, 198.51.100.7", Some("198.51.100.7")),
            ("10.0.0.1", "198.51.100.7, 10.0.0.2, 10.0.0.3", Some("198.51.100.7")),
            ("10.0.0.1", "1.1.1.1,unknown, 10.0.0.2", Some("10.0.0.2")),
            ("10.0.0.1", "10.0.0.9, 10.0.0.2", Some("10.0.0.9")),
            ("10.0.0.1", "unknown", None),
            ("unix", "198.51.100.7", Some("198.51.100.7")),
        ] {
            let from = from.parse().ok();
            let expected = client.map(|client| client.parse().unwrap());
            assert_eq!(forwarded(from, said, &proxies), expected, "{from:?} {said}");
            assert_eq!(forwarded(from, said, &[]), None);
        }
    }
}
