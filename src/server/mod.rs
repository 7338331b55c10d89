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
mod admit;
pub mod api;
mod batch;
mod blobs;
mod brief;
mod carried;
mod connection;
mod door;
mod drain;
mod handle;
mod known;
mod lane;
mod limit;
mod listen;
mod lists;
mod login;
mod manifests;
mod outgoing;
mod pace;
mod region;
mod reply;
mod request;
mod respond;
mod sealed;
mod socket;
mod stall;
mod streams;
mod talk;
mod tls;
pub mod trial;
mod turns;

pub use admit::{Access, AccessSettings};
pub use door::{Door, Terms};
pub use drain::Drained;
pub use handle::Service;
pub use lane::Sending;
pub use limit::{Crowd, CrowdLimits};
pub use listen::{Limits, Listener};
pub use socket::{FileSocket, SocketError};
pub use tls::{Clients, ServerCertificate, Tls, TlsError, TlsSettings, inspect};
