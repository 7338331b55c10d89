//! The relay: one transfer for all who read a blob that the store does not take (G7).
//!
//! A relay is a task of its own that brings a blob, or a part of it, from upstream into a window in memory, which moves
//! along the blob. Readers take their bytes from the window. Those who pull together cost one transfer; one who is too
//! slow for the window, or comes when it has moved on, finds another relay or begins one, which others may join.
//!
//! Owns these transfers and their windows. Guarantees that all windows together stay within [`shares::TOTAL`] bytes,
//! however many readers there are; that a reader is held back for slower ones no longer than `patience` allows; that no
//! transfer outlives its readers by more than a moment, nor the mirror at all. What a relay gives is what upstream sent:
//! whether it is right is for each reader to find out (`direct`), who then says so.
//!
//! Rooms: [`window`] decides what is kept, read and dropped, [`shares`] divides the memory, `pump` is the task, `tap` is
//! a reader's end, `table` is where they meet.

mod blocks;
mod patience;
mod pump;
mod shares;
mod stream;
mod table;
mod tap;
mod window;

#[cfg(test)]
pub(super) use shares::{PLACES, TOTAL};
pub(super) use table::Relays;
pub(super) use tap::Tap;
