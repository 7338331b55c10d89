//! HTTP/2 over TLS 1.3, one request after the other on a connection, with the windows of Go's clients.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::secure::localhost;
use super::{Connection, PATIENCE};

/// A connection, with a thread of its own to run on.
pub(crate) struct Two {
    runtime: Runtime,
    sender: SendRequest<Bytes>,
}

impl Two {
    /// Connects.
    pub(crate) fn to(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let sender = runtime.block_on(within(connect(address, config)));
        Self { runtime, sender }
    }
}

impl Connection for Two {
    fn get(&mut self, path: &str) -> (Duration, u64) {
        let begun = Instant::now();
        let mut first = None;
        let came = self.runtime.block_on(fetch(&mut self.sender, path, |_| {
            first.get_or_insert_with(|| begun.elapsed());
            true
        }));
        (first.unwrap_or_default(), came)
    }
}

/// A connection whose frames are looked after by a task.
pub(crate) async fn connect(address: SocketAddr, config: &Arc<ClientConfig>) -> SendRequest<Bytes> {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let stream = TlsConnector::from(Arc::clone(config)).connect(localhost(), stream).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(4 << 20).initial_connection_window_size(1 << 30);
    let (sender, connection) = builder.handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    sender
}

/// Gets a body, tells `took` of each piece, and goes on for as long as that says so; returns how much came.
pub(crate) async fn fetch(
    sender: &mut SendRequest<Bytes>,
    path: &str,
    mut took: impl FnMut(usize) -> bool,
) -> u64 {
    within(std::future::poll_fn(|context| sender.poll_ready(context))).await.unwrap();
    let uri = format!("https://localhost{path}");
    let request = http::Request::builder().uri(uri).header("accept", crate::content::MANIFEST);
    let (response, _) = sender.send_request(request.body(()).unwrap(), true).unwrap();
    let response = within(response).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let mut body = response.into_body();
    let mut came = 0;
    while let Some(piece) = within(body.data()).await {
        let length = piece.unwrap().len();
        came += length as u64;
        body.flow_control().release_capacity(length).unwrap();
        if !took(length) {
            break;
        }
    }
    came
}

/// What has to happen in time.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(PATIENCE, future).await.expect("nothing came for long")
}
