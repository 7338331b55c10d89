//! The composition root: the only place that builds concrete parts, and that knows the order in which they start and
//! stop.
//!
//! Start touches no network but its own listeners: the store is opened, then listeners are bound, then requests are
//! taken. The drain goes the other way round: no new connections; bodies under way finish, and the fills they read
//! go on, up to a limit; fills stop and what they brought stays; the index is written; the admin listener, on which
//! all this can be watched, goes last.

mod admin;
mod build;
mod doors;
mod proofs;
mod remarks;
mod running;
mod sending;
mod serve;
mod trust;

pub use running::{App, Running, StartError};
pub use serve::serve;
