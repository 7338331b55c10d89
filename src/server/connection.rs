//! One client connection: HTTP/1.1 over a [`Transport`], until the client, the drain or the stall timer ends it.

use std::convert::Infallible;
use std::pin::pin;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::stall::{Socket, Transport};

/// The most that a request's head may take: clients put lists of a thousand ranges, some 20 KB, into one header, and
/// proxies between add their own.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// Serves requests of `socket` through `handle` until it ends, by itself or by one of the two signals: `stop` lets the
/// running answer finish, `cut` does not.
pub(super) async fn serve<S, H, F, B>(
    socket: S,
    handle: H,
    limits: Limits,
    stop: CancellationToken,
    cut: CancellationToken,
) where
    S: Socket + Send,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: hyper::body::Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let transport = TokioIo::new(Transport::new(socket, limits.stall_timeout));
    let service = service_fn(|request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_header_size(MAX_HEAD_BYTES)
        // What is read ahead of a body is for its window to say; this is also the room for a head, so it is no less.
        .max_buf_size(MAX_HEAD_BYTES)
        // Who closes its sending side is gone: no client of registries does so and waits, and a body that waits for
        // upstream would not notice otherwise.
        .half_close(false)
        .serve_connection(transport, service);
    let mut connection = pin!(connection);
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        // Clients come and go as they like: what ends a connection is the client's matter, and of interest only when
        // one looks for it.
        ended = ended => if let Err(reason) = ended {
            tracing::debug!(%reason, "a client connection ended early");
        },
        () = cut.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
