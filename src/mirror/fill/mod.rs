//! The fill: the one transfer that brings a blob from upstream into the store.
//!
//! A fill is a task of its own, one per digest, entered in [`Fills`] and joined by whoever asks for the blob while it
//! runs. It owns the unfinished file and the connections to upstream; clients only watch its [`Progress`] and read
//! the file, so one that leaves, or takes its bytes slowly, is not noticed by it or by anybody else (G4). What is
//! *present* says nothing of what is *right*: only the digest over the whole does, and until it matches nothing is
//! committed and no body that claims to be whole completes (G2).
//!
//! Rooms: `table` is who may join, `driver` the task, from `opening`, which gets upstream's word and the file, over
//! `filling`, which keeps transfers running, to the commit; [`plan`] decides what is fetched next, in the `ways` that the
//! policy allows; `crew` are the transfers and their `pace`, `fetch` is one of them, what it has `gathered` goes to the `sink`,
//! where it is written and hashed; `reader` is a client's view.

mod coding;
mod crew;
mod driver;
mod fetch;
mod filling;
mod follow;
mod gathered;
mod opening;
mod pace;
mod parts;
mod plan;
mod progress;
mod reader;
mod recorder;
mod retry;
mod sink;
mod source;
mod table;
mod wants;
mod ways;
mod wrong;

pub use reader::{BlobReader, Delivery, Piece, ReadError};
pub use table::FillProgress;

pub(super) use follow::{Followed, Reached};
pub(super) use parts::Parts;
pub(super) use progress::{Phase, Progress, WITHHELD};
pub(super) use reader::Origin;
pub(super) use retry::Budget;
pub(super) use source::{Right, Source};
pub(super) use table::{Begin, Fill, Fills, Place, Turned};
pub(super) use wrong::Wrong;
