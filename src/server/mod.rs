//! Listeners, requests, responses, drain: the mirror as clients see it.
//!
//! Owns the HTTP side towards clients. A request is parsed once, at the edge, into a value (`request`); the mirror is
//! asked (`handle`, `manifests`, `blobs`, `lists`); what comes back becomes a response (`reply`). Whatever goes wrong on the way
//! is a `Rejection`, and `respond` alone says which status, code and log level it gets.
//!
//! Guarantees: every request gets the head of its answer within 25 seconds (G3); a body that cannot be completed ends
//! with a cut connection, never as if it were complete (G2); one access line a request; nothing of a client's
//! credentials is kept, logged or passed on, and nothing of upstream's headers reaches a client (G9).
//!
//! Leaves to others: what is served and whether it may be (the mirror), where the bytes are (regions of open files,
//! which arrive here ready to be sent), and when to start and stop (the composition root).

mod access;
pub mod admin;
pub mod api;
mod blobs;
mod connection;
mod drain;
mod handle;
mod listen;
mod lists;
mod manifests;
mod region;
mod reply;
mod request;
mod respond;
mod socket;
mod stall;

pub use drain::Drained;
pub use handle::Service;
pub use listen::{Limits, Listener};
pub use socket::{OwnerSocket, SocketError};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves the distribution API on `listener` until `stop`; returns when no connection is left.
pub async fn run(
    listener: TcpListener,
    service: Service,
    stop: CancellationToken,
    limits: Limits,
) -> Drained {
    let handle = move |client, request| {
        let service = service.clone();
        async move { service.handle(client, request).await }
    };
    listen::serve(listener, handle, stop, limits).await
}
