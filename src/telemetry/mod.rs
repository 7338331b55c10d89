//! What the outside can see of the process: outcomes, metrics, log.
//!
//! A leaf: it knows neither registries nor HTTP, and every other module may tell it what happened. One word, the
//! [`Outcome`], says in the access line, in the metrics and in the response header how a request was answered, so that
//! the three can be compared. Label values come from fixed sets and from configured upstream names, never from a
//! request: what a client sends cannot make the metrics grow.

pub mod log;
mod metrics;
mod outcome;

pub use metrics::{
    Counted, Counts, Described, FillGuard, FillResult, Handshake, Held, Kind, LABELS, LoginResult, Metrics,
    ReaderGuard, Refused, StoreFigures, TABLE, TextFormat, Up, UpstreamMetrics, UpstreamResult, Warmed,
    Watched, Way,
};
pub use outcome::Outcome;
