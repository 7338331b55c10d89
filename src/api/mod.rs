//! The words of the admin API: what can be asked of a mirror, and the documents that answer.
//!
//! Owns the shapes of the JSON, of answers and of problems alike, and [`Desk`], behind which everything that can be asked
//! stands. A running mirror has a desk that its admin listener passes requests on to; the client of that listener is a desk
//! too; and so a command does not know whether it speaks to a server or has opened the store itself.
//!
//! Leaves to others what is done (the composition root), HTTP (`server` and `client`), and how people are shown it.

mod problem;
mod status;
mod time;

pub use problem::{Problem, ProblemCode};
pub use status::{Phase, Status, StoreStatus, UpstreamStatus};
pub use time::Time;

/// Where operators ask. All calls block.
pub trait Desk: Send + Sync {
    /// How the mirror is.
    ///
    /// # Errors
    /// As every call here: what could not be done, and what to do about it.
    fn status(&self) -> Result<Status, Problem>;
}
