//! The accept loop: from a listening socket to connection tasks, whatever the system answers, until told to stop.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use super::connection::Ends;
use super::drain::{Connections, Drained};
use super::stall::{self, UNSENT};

/// How long clients may take, and how much they may say.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For the head of a request, and between two requests on one connection.
    pub header_timeout: Duration,
    /// The most that the head of a request may have.
    pub header_bytes: usize,
    /// Without taking a single byte that is ready for them.
    pub stall_timeout: Duration,
    /// To finish running answers once the server is told to stop.
    pub drain_timeout: Duration,
}

/// Where connections come from.
pub trait Listener: Send {
    /// A connection.
    type Connection: stall::Socket + Send + 'static;

    /// The next connection, and from where it comes, where that has an address.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Connection, Option<SocketAddr>)>> + Send;
}

impl Listener for TcpListener {
    type Connection = TcpStream;

    async fn accept(&self) -> io::Result<(TcpStream, Option<SocketAddr>)> {
        let (socket, peer) = Self::accept(self).await?;
        // Answers are written in whole pieces; waiting to fill a packet would only delay the last one.
        if let Err(reason) = socket.set_nodelay(true) {
            tracing::debug!(%reason, "TCP_NODELAY was not taken");
        }
        if let Err(reason) = SockRef::from(&socket).set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%reason, "TCP_NOTSENT_LOWAT was not taken");
        }
        Ok((socket, Some(peer)))
    }
}

/// The first and the longest pause after the system refused to hand out a connection.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Serves each connection of `listener` with `serve` until `stop`, then lets running answers finish for so long.
pub(super) async fn run<L, S, F>(
    listener: L,
    serve: S,
    stop: CancellationToken,
    drain_timeout: Duration,
) -> Drained
where
    L: Listener,
    S: Fn(L::Connection, Option<SocketAddr>, Ends) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let connections = Connections::new(stop);
    while let Some((socket, peer)) = accept(&listener, &connections.stop).await {
        let ends = Ends { stop: connections.stop.clone(), cut: connections.cut.clone() };
        connections.spawn(serve(socket, peer, ends));
    }
    // Closed before the drain, so that new clients are refused at once and go elsewhere.
    drop(listener);
    connections.finish(drain_timeout).await
}

/// The next connection, or `None` once `stop` is called. Errors never end the loop: those of one connection are passed
/// over, those of the system (no file descriptors, no memory) are waited out.
async fn accept<L: Listener>(
    listener: &L,
    stop: &CancellationToken,
) -> Option<(L::Connection, Option<SocketAddr>)> {
    let mut pause = BACKOFF.0;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(reason) if concerns_one_connection(&reason) => {}
            Err(reason) => {
                tracing::warn!(%reason, ?pause, "no connection can be accepted; trying again after a pause");
                tokio::select! {
                    () = stop.cancelled() => return None,
                    () = tokio::time::sleep(pause) => {}
                }
                pause = (pause * 2).min(BACKOFF.1);
            }
        }
    }
}

fn concerns_one_connection(reason: &io::Error) -> bool {
    matches!(
        reason.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::body::Incoming;
    use hyper::{Request, Response};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;
    use tokio::time::sleep;

    use super::*;
    use crate::http::{Body, BodyError, Piece, Region, Spans};
    use crate::server::connection::{self, Protocol};
    use crate::server::stall::Transport;

    const LIMITS: Limits = Limits {
        header_timeout: Duration::from_secs(10),
        header_bytes: 128 * 1024,
        stall_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_millis(300),
    };

    /// A body of as many bytes as are sent into it.
    struct Fed(mpsc::UnboundedReceiver<Bytes>);

    impl Spans for Fed {
        fn poll_span(
            &mut self,
            cx: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Piece, BodyError>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Piece::Bytes(bytes))))
        }
        fn remaining(&self) -> Option<u64> {
            None
        }
    }

    struct Running {
        address: SocketAddr,
        feed: mpsc::UnboundedSender<Bytes>,
        stop: CancellationToken,
        server: JoinHandle<Drained>,
        client: TcpStream,
    }

    /// A server with one client that has received the beginning of a body.
    async fn with_a_client_midway() -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (feed, body) = mpsc::unbounded_channel();
        let body = std::sync::Arc::new(std::sync::Mutex::new(Some(body)));
        let handle = move |_: Request<Incoming>| {
            let body = body.lock().unwrap().take();
            async move { Response::new(body.map_or(Body::Empty, |body| Region::new(Fed(body)).into())) }
        };
        let stop = CancellationToken::new();
        let serve = move |socket, _, ends| {
            let transport = Transport::new(socket, LIMITS.stall_timeout);
            connection::serve(transport, Protocol::Http1, handle.clone(), LIMITS, ends)
        };
        let server = tokio::spawn(run(listener, serve, stop.clone(), LIMITS.drain_timeout));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        feed.send(Bytes::from_static(b"begin")).unwrap();
        let mut said = String::new();
        while !said.contains("begin") {
            let mut some = [0; 1024];
            let n = client.read(&mut some).await.unwrap();
            said += std::str::from_utf8(&some[..n]).unwrap();
        }
        Running { address, feed, stop, server, client }
    }

    #[tokio::test]
    async fn a_body_that_ends_within_the_drain_is_sent_whole() {
        let Running { address, feed, stop, server, mut client } = with_a_client_midway().await;
        stop.cancel();
        while TcpStream::connect(address).await.is_ok() {
            sleep(Duration::from_millis(1)).await;
        }
        feed.send(Bytes::from_static(b" and end")).unwrap();
        drop(feed);
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        assert!(said.contains(" and end") && said.ends_with("0\r\n\r\n"), "{said}");
        assert_eq!(server.await.unwrap(), Drained { cut: 0 });
    }

    #[tokio::test]
    async fn g2_a_body_that_outlasts_the_drain_is_cut_and_not_ended() {
        let Running { feed, stop, server, mut client, .. } = with_a_client_midway().await;
        stop.cancel();
        assert_eq!(server.await.unwrap(), Drained { cut: 1 });
        let mut said = String::new();
        let _or_reset = client.read_to_string(&mut said).await;
        assert!(!said.ends_with("0\r\n\r\n"), "{said}");
        assert!(feed.is_closed(), "nothing of the connection is left");
    }
}
