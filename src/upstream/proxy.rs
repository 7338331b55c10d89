//! Proxies on the way: which request goes by one, and what is said to it.
//!
//! What it is asked for over `http` it is asked for by its whole URL, and `https` goes through a tunnel that it knows no
//! more of than host and port. Its account is seen by it alone: in the request for a tunnel, or, where there is none, in the
//! requests that end at it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::client::proxy::matcher::Matcher;

use super::auth::basic;
use super::failure::Cause;
use super::settings::{Proxies, Proxy};

/// The status by which a proxy asks for an account.
const ASKS_FOR_ACCOUNT: u16 = 407;

/// Names that end so are of a network of one's own, whoever resolves them.
const OWN_DOMAINS: &[&str] =
    &["localhost", "local", "internal", "intranet", "lan", "corp", "home.arpa", "localdomain"];

/// One proxy, ready to be asked.
#[derive(Clone, Debug)]
pub(super) struct Via {
    /// Where it is.
    pub(super) uri: Uri,
    /// What it is shown.
    pub(super) account: Option<HeaderValue>,
}

/// The proxies of an upstream, and what is reached without them.
pub(super) struct Route {
    http: Option<Via>,
    https: Option<Via>,
    /// What is reached directly, at this port or at any.
    direct: Vec<(Option<u16>, Matcher)>,
}

impl Route {
    pub(super) fn new(proxies: &Proxies) -> Self {
        if proxies.except.iter().any(|entry| entry == "*") {
            return Self { http: None, https: None, direct: Vec::new() };
        }
        let mut by_port: BTreeMap<Option<u16>, Vec<&str>> = BTreeMap::new();
        for entry in &proxies.except {
            let (host, port) = host_and_port(entry);
            by_port.entry(port).or_default().push(host);
        }
        // The matcher answers for a proxy; which one does not matter here.
        let matcher = |hosts: Vec<&str>| Matcher::builder().all("http://proxy").no(hosts.join(",")).build();
        Self {
            http: proxies.http.as_ref().and_then(Via::new),
            https: proxies.https.as_ref().and_then(Via::new),
            direct: by_port.into_iter().map(|(port, hosts)| (port, matcher(hosts))).collect(),
        }
    }

    /// The proxy that leads there; `None`: it is reached directly.
    pub(super) fn to(&self, there: &Uri) -> Option<&Via> {
        let (via, known) = match there.scheme_str()? {
            "https" => (self.https.as_ref()?, 443),
            _ => (self.http.as_ref()?, 80),
        };
        let asked = there.port_u16().unwrap_or(known);
        let direct = self.direct.iter().any(|(port, matcher)| {
            port.is_none_or(|port| port == asked) && matcher.intercept(there).is_none()
        });
        (!direct).then_some(via)
    }

    /// The proxy that the request itself ends at, if there is one: then it is for it to see the account.
    pub(super) fn ends_at(&self, there: &Uri) -> Option<&Via> {
        self.to(there).filter(|_| there.scheme_str() == Some("http"))
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("http", &self.http).field("https", &self.https).finish_non_exhaustive()
    }
}

/// An entry without its port. That of a bare IPv6 address would be a part of it.
fn host_and_port(entry: &str) -> (&str, Option<u16>) {
    let entry = entry.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(entry);
    let bare = |host: &str| host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).map(str::len);
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || bare(host).is_some() => (host, port.parse().ok()),
        _ => (entry, None),
    };
    (host.trim_matches(['[', ']']), port)
}

/// Whether a name may be one of the open internet. Behind a proxy it is the proxy that resolves it, and what it finds is not
/// seen from here; what can be told by the name is.
pub(super) fn may_be_public(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let is_below = |domain: &&str| host.strip_suffix(*domain).is_some_and(|rest| rest.ends_with('.'));
    host.contains('.') && !OWN_DOMAINS.iter().any(is_below)
}

impl Via {
    fn new(proxy: &Proxy) -> Option<Self> {
        let uri = Uri::try_from(proxy.url.as_str()).ok()?;
        Some(Self { uri, account: proxy.credentials.as_ref().map(basic) })
    }

    fn at(&self) -> &str {
        self.uri.authority().map_or("", |authority| authority.as_str())
    }

    /// It could not be reached.
    pub(super) fn unreachable(&self, why: &Cause) -> Cause {
        Cause::Proxy(format!("{} is not reached: {why}", self.at()))
    }

    /// What a response means that it gave itself in place of upstream; `None`: the response is upstream's.
    pub(super) fn refusal(&self, status: StatusCode, headers: &HeaderMap) -> Option<Cause> {
        if status.as_u16() == ASKS_FOR_ACCOUNT {
            return Some(Cause::Proxy(self.wants_an_account()));
        }
        // The best known proxy names its own errors.
        let own = headers.get("x-squid-error").and_then(|error| error.to_str().ok())?;
        Some(Cause::Proxy(format!("{} answers with {status} itself: {}", self.at(), own.escape_debug())))
    }

    fn wants_an_account(&self) -> String {
        match self.account {
            Some(_) => format!("{} refuses our account (407): check user and password in its URL", self.at()),
            None => format!("{} asks for an account (407): put user and password into its URL", self.at()),
        }
    }

    /// Has it make a tunnel to `there` over `io`, and gives the connection back for what goes through.
    pub(super) async fn tunnel<T>(&self, io: T, there: &Uri) -> Result<T, Cause>
    where
        T: Read + Write + Unpin + Send + 'static,
    {
        let broken = |error: hyper::Error| Cause::Proxy(format!("{} broke off: {error}", self.at()));
        let host = there.host().unwrap_or_default();
        let target = format!("{host}:{}", there.port_u16().unwrap_or(443));
        let request = self
            .request(&target)
            .map_err(|_| Cause::Proxy(format!("{} cannot be asked for {target}", self.at())))?;
        let (mut sender, mut connection) = http1::handshake(io).await.map_err(broken)?;
        let response = {
            let driving = pin!(poll_fn(|cx| connection.poll_without_shutdown(cx)));
            match select(pin!(sender.send_request(request)), driving).await {
                Either::Left((response, _)) => response,
                Either::Right((_, asking)) => asking.await,
            }
        };
        match response.map_err(broken)?.status() {
            status if status.is_success() => {
                let parts = connection.into_parts();
                // Upstream waits for our first word: whatever is there already is not its.
                if parts.read_buf.is_empty() { Ok(parts.io) } else { Err(self.talks()) }
            }
            status if status.as_u16() == ASKS_FOR_ACCOUNT => Err(Cause::Proxy(self.wants_an_account())),
            status => Err(Cause::Proxy(format!("{} answers with {status} for {target}", self.at()))),
        }
    }

    fn talks(&self) -> Cause {
        Cause::Proxy(format!("{} sends what nobody asked for", self.at()))
    }

    fn request(&self, target: &str) -> Result<Request<Empty<Bytes>>, http::Error> {
        let mut request = Request::connect(target).header(HOST, target);
        if let Some(account) = &self.account {
            request = request.header(PROXY_AUTHORIZATION, account);
        }
        request.body(Empty::new())
    }
}

#[cfg(test)]
mod tests;
