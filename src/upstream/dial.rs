//! How connections are made: resolved, checked, connected, led through a proxy and encrypted, within one limit of time.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;
use tower_service::Service;

use super::address::is_public;
use super::failure::Cause;
use super::names::Names;
use super::places::Places;
use super::proxy::{Route, Via, may_be_public};
use super::race::race;

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

pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |&error| error.source())
        .last()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// Host and port of where to, as the URI says or its scheme implies.
fn host_and_port(to: &Uri) -> (&str, u16) {
    let known = if to.scheme_str() == Some("https") { 443 } else { 80 };
    (to.host().unwrap_or_default(), to.port_u16().unwrap_or(known))
}

/// Connects over TCP, to any address or only to public ones.
#[derive(Clone, Debug)]
pub(super) struct Tcp {
    names: Names,
    /// How long a name may take, so that there is time left to say that it was the name.
    limit: Duration,
    public_only: bool,
}

impl Tcp {
    /// What is connected to is what was checked: there is no second look at the name.
    async fn connect(self, host: &str, port: u16) -> Result<TokioIo<TcpStream>, Cause> {
        let addresses = match host.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(literal) => vec![SocketAddr::new(literal, port)],
            Err(_) => self.names.resolve(host, port, self.limit).await?,
        };
        let mut kept = addresses;
        if self.public_only {
            kept.retain(|address| is_public(address.ip()));
        }
        if kept.is_empty() {
            return Err(private(host));
        }
        let connected = race(kept, TcpStream::connect).await;
        let stream = connected
            .map_err(|error| Cause::Connect(error.map_or_else(String::new, |error| error.to_string())))?;
        // A socket that takes no options works nonetheless.
        let _ = stream.set_nodelay(true);
        let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
        Ok(TokioIo::new(stream))
    }
}

impl Service<Uri> for Tcp {
    type Response = TokioIo<TcpStream>;
    type Error = Unreachable;
    type Future = BoxFuture<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let tcp = self.clone();
        Box::pin(async move {
            let (host, port) = host_and_port(&to);
            tcp.connect(host, port).await.map_err(Unreachable)
        })
    }
}

fn private(host: &str) -> Cause {
    Cause::RedirectRefused(format!(
        "{host} has no public address (add it to `redirect_hosts` if it is yours)"
    ))
}

/// Connects to where it is asked for or to the proxy on the way there, to any address or only to such as this upstream may
/// reach by a redirect.
#[derive(Clone, Debug)]
pub(super) struct Dialer {
    tcp: Tcp,
    to_proxy: HttpsConnector<Tcp>,
    route: Arc<Route>,
    /// Whose hosts may have private addresses; `None`: every host may.
    guard: Option<Arc<Places>>,
}

impl Dialer {
    /// For hosts that the operator named. `tls` is for proxies that speak it.
    pub(super) fn open(names: Names, route: Arc<Route>, tls: ClientConfig, limit: Duration) -> Self {
        let tcp = Tcp { names, limit: limit * 4 / 5, public_only: false };
        Self { to_proxy: HttpsConnector::from((tcp.clone(), tls)), tcp, route, guard: None }
    }

    /// For hosts that upstream named.
    pub(super) fn guarded(self, places: Arc<Places>) -> Self {
        Self { guard: Some(places), ..self }
    }

    async fn connect(mut self, to: Uri) -> Result<Stream, Cause> {
        let (host, port) = host_and_port(&to);
        let free = self.guard.as_ref().is_none_or(|places| places.may_be_private(host, Some(port)));
        // A literal never sees a resolver, so it is checked here.
        let literal = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
        if !free && literal.is_some_and(|address| !is_public(address)) {
            return Err(private(host));
        }
        let Some(via) = self.route.to(&to).cloned() else {
            self.tcp.public_only = !free;
            let stream = self.tcp.connect(host, port).await?;
            return Ok(Stream { io: MaybeHttpsStream::Http(stream), ends_at_proxy: false, is_asked: false });
        };
        // The proxy resolves the name, and what it finds is not seen from here.
        if !free && literal.is_none() && !may_be_public(host) {
            return Err(private(host));
        }
        let io = self.reach(&via).await?;
        match to.scheme_str() {
            Some("https") => {
                Ok(Stream { io: via.tunnel(io, &to).await?, ends_at_proxy: false, is_asked: false })
            }
            _ => Ok(Stream { io, ends_at_proxy: true, is_asked: false }),
        }
    }

    async fn reach(&mut self, via: &Via) -> Result<MaybeHttpsStream<TokioIo<TcpStream>>, Cause> {
        let reached = self.to_proxy.call(via.uri.clone()).await;
        reached.map_err(|error| via.unreachable(&classify(error).0))
    }
}

impl Service<Uri> for Dialer {
    type Response = Stream;
    type Error = Unreachable;
    type Future = BoxFuture<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let dialing = self.clone().connect(to);
        Box::pin(async move { dialing.await.map_err(Unreachable) })
    }
}

/// A connection to the server, or to the proxy that requests end at.
pub(super) struct Stream {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    ends_at_proxy: bool,
    /// What is read next is the beginning of an answer.
    is_asked: bool,
}

/// How much is read at once of what comes after a request. hyper offers a buffer as large as the reads of the body before, and
/// a head is not seen before all that fits has been copied beside it: of a fast upstream hundreds of kilobytes.
const BEGINNING: usize = 8 << 10;

impl Stream {
    fn note(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.is_asked |= matches!(written, Poll::Ready(Ok(_)));
        written
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.ends_at_proxy)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.is_asked || buffer.remaining() <= BEGINNING {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let mut bytes = [0; BEGINNING];
        let mut beginning = ReadBuf::new(&mut bytes);
        let read = Pin::new(&mut self.io).poll_read(cx, beginning.unfilled());
        self.is_asked = read.is_pending();
        buffer.put_slice(beginning.filled());
        read
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.note(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.note(written)
    }
}

/// Connects, with TLS where the scheme asks for it, and gives up after `limit`, or when `over` says so.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    https: HttpsConnector<Dialer>,
    limit: Duration,
    over: CancellationToken,
}

impl Connector {
    pub(super) fn new(https: HttpsConnector<Dialer>, limit: Duration, over: CancellationToken) -> Self {
        Self { https, limit, over }
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<Stream>;
    type Error = Unreachable;
    type Future = BoxFuture<Result<Self::Response, Unreachable>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Unreachable>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.https.call(to));
        let over = self.over.clone();
        Box::pin(async move {
            // Whoever wanted the connection may have left, and it would be made nonetheless.
            match over.run_until_cancelled(connecting).await {
                Some(Ok(Ok(stream))) => Ok(stream),
                Some(Ok(Err(error))) => Err(classify(error)),
                Some(Err(_)) => Err(Unreachable(Cause::ConnectTimeout)),
                None => Err(Unreachable(Cause::Offline)),
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
mod tests;
