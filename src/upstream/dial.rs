//! How connections are made: resolved, checked, connected and encrypted, within one limit of time.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

use super::address::is_public;
use super::failure::Cause;
use super::places::Places;

/// Idle connections are probed this often, so that a peer that vanished is noticed by the kernel.
const KEEPALIVE: Duration = Duration::from_secs(30);

type BoxError = Box<dyn Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A connection that was not made, and why. Travels through the client's error type and is found there again.
#[derive(Debug)]
pub(super) struct Unreachable(pub(super) Cause);

impl Error for Unreachable {}

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The first `E` in the chain of causes.
pub(super) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    std::iter::successors(Some(error), |&error| error.source()).find_map(|error| error.downcast_ref())
}

fn innermost(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Connects over TCP, to any address or only to such as this upstream may reach by a redirect.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    any: HttpConnector<Resolver>,
    public: HttpConnector<Resolver>,
    /// Whose hosts may have private addresses; `None`: every host may.
    guard: Option<Arc<Places>>,
}

impl Dialer {
    /// For hosts that the operator named.
    pub(super) fn open() -> Self {
        Self { any: connector(false), public: connector(true), guard: None }
    }

    /// For hosts that upstream named.
    pub(super) fn guarded(places: Arc<Places>) -> Self {
        Self { guard: Some(places), ..Self::open() }
    }
}

fn connector(public_only: bool) -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver { public_only });
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE));
    connector
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = Unreachable;
    type Future = BoxFuture<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let host = to.host().unwrap_or_default();
        let known = if to.scheme_str() == Some("https") { 443 } else { 80 };
        let port = Some(to.port_u16().unwrap_or(known));
        let free = self.guard.as_ref().is_none_or(|places| places.may_be_private(host, port));
        // A literal never sees the resolver, so it is checked here.
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if !free && literal.is_some_and(|address| !is_public(address)) {
            let refusal = private(host);
            return Box::pin(async { Err(refusal) });
        }
        let mut connector = if free { self.any.clone() } else { self.public.clone() };
        Box::pin(async move {
            connector.call(to).await.map_err(|error| match find::<Unreachable>(&error) {
                Some(Unreachable(cause)) => Unreachable(cause.clone()),
                None => Unreachable(Cause::Connect(innermost(&error))),
            })
        })
    }
}

fn private(host: &str) -> Unreachable {
    Unreachable(Cause::RedirectRefused(format!(
        "{host} has no public address (add it to `redirect_hosts` if it is yours)"
    )))
}

/// Resolves names by the system, and forgets addresses that are not public where only such may be reached. What is
/// connected to is what was checked: there is no second look at the name.
#[derive(Clone, Debug)]
pub(super) struct Resolver {
    public_only: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = Unreachable;
    type Future = BoxFuture<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let public_only = self.public_only;
        Box::pin(async move {
            let found = match tokio::net::lookup_host((name.as_str(), 0)).await {
                Ok(found) => found.collect::<Vec<_>>(),
                Err(error) => {
                    tracing::debug!(host = name.as_str(), %error, "a name was not resolved");
                    return Err(Unreachable(Cause::Resolve(name.as_str().to_owned())));
                }
            };
            if found.is_empty() {
                return Err(Unreachable(Cause::Resolve(name.as_str().to_owned())));
            }
            let kept: Vec<_> =
                found.into_iter().filter(|address| !public_only || is_public(address.ip())).collect();
            if kept.is_empty() { Err(private(name.as_str())) } else { Ok(kept.into_iter()) }
        })
    }
}

/// Connects, with TLS where the scheme asks for it, and gives up after `limit`.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    https: HttpsConnector<Dialer>,
    limit: Duration,
}

impl Connector {
    pub(super) fn new(https: HttpsConnector<Dialer>, limit: Duration) -> Self {
        Self { https, limit }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Unreachable;
    type Future = BoxFuture<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.https.call(to));
        Box::pin(async move {
            match connecting.await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => Err(classify(error)),
                Err(_) => Err(Unreachable(Cause::ConnectTimeout)),
            }
        })
    }
}

/// Whatever the dialer did not fail with is a failure of TLS.
fn classify(error: BoxError) -> Unreachable {
    match error.downcast::<Unreachable>() {
        Ok(unreachable) => *unreachable,
        Err(error) => Unreachable(Cause::Tls(innermost(&*error))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(redirect_hosts: &[&str]) -> Dialer {
        let endpoints = ["http://registry.example".parse().expect("a URL")];
        let redirects: Vec<String> = redirect_hosts.iter().map(|host| (*host).to_owned()).collect();
        Dialer::guarded(Arc::new(Places::new(&endpoints, &[], &redirects).expect("hosts")))
    }

    async fn dial(mut dialer: Dialer, to: &str) -> Result<(), Cause> {
        dialer.call(to.parse().expect("a URI")).await.map(drop).map_err(|Unreachable(cause)| cause)
    }

    #[tokio::test]
    async fn t58_a_private_literal_or_name_is_refused_before_a_packet_leaves() {
        for to in ["http://127.0.0.1:1/", "http://[::1]:1/", "http://169.254.169.254/", "http://localhost:1/"]
        {
            let refused = dial(guarded(&[]), to).await;
            assert!(matches!(refused, Err(Cause::RedirectRefused(_))), "{to}: {refused:?}");
        }
    }

    #[tokio::test]
    async fn t58_configured_hosts_may_be_private() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        for (host, allowed) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
            let dialed = dial(guarded(&[allowed]), &format!("http://{host}:{port}/")).await;
            assert_eq!(dialed, Ok(()), "{host}");
        }
        let other_port = guarded(&[&format!("127.0.0.1:{}", port ^ 1)]);
        let refused = dial(other_port, &format!("http://127.0.0.1:{port}/")).await;
        assert!(matches!(refused, Err(Cause::RedirectRefused(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_refused_connection_says_so() {
        let refused = dial(Dialer::open(), "http://127.0.0.1:1/").await;
        assert!(matches!(&refused, Err(Cause::Connect(why)) if why.contains("refused")), "{refused:?}");
    }

    #[tokio::test]
    async fn a_name_that_is_not_known_says_so() {
        let unknown = dial(Dialer::open(), "http://no-such-host.invalid/").await;
        assert_eq!(unknown, Err(Cause::Resolve("no-such-host.invalid".to_owned())));
    }
}
