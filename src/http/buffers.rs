//! Buffers that file reads go into, used again when the bytes in them have been sent.
//!
//! A fresh buffer of this size is zeroed and page-faulted by the kernel every time, which costs more than the read from
//! the page cache does. There are a few sizes of them; at most [`KEPT`] of each are kept for the process. What is needed
//! beyond that comes from the allocator and goes back to it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::region::{AT_HAND, COPY};
use super::window::Claim;

/// How many idle buffers of a size are kept: 11 MiB in all.
const KEPT: usize = 32;

/// Buffers of one size that nobody uses.
struct Shelf {
    size: usize,
    idle: Mutex<Vec<Box<[u8]>>>,
}

static SHELVES: [Shelf; 3] = [Shelf::of(AT_HAND), Shelf::of(2 * AT_HAND), Shelf::of(COPY)];

impl Shelf {
    const fn of(size: usize) -> Self {
        Self { size, idle: Mutex::new(Vec::new()) }
    }

    /// Where buffers are kept in which more than half is used by so many bytes. Smaller reads are those of slow clients,
    /// who keep their buffers for long: they get what they need.
    fn for_len(len: usize) -> Option<&'static Self> {
        SHELVES.iter().find(|shelf| len > shelf.size / 2 && len <= shelf.size)
    }

    fn take(&self) -> Box<[u8]> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        idle.unwrap_or_else(|| vec![0; self.size].into_boxed_slice())
    }

    fn put(&self, room: Box<[u8]>) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(room);
        }
    }
}

/// Room for as many bytes as were claimed, whose former content is of no meaning.
pub(super) struct Buffer {
    room: Box<[u8]>,
    claim: Claim,
}

impl Buffer {
    /// A buffer for this place in a window, of at most [`COPY`] bytes.
    pub(super) fn new(claim: Claim) -> Self {
        let len = claim.len();
        debug_assert!(len <= COPY, "reads are cut to COPY before they come here");
        let room = match Shelf::for_len(len) {
            Some(shelf) => shelf.take(),
            None => vec![0; len].into_boxed_slice(),
        };
        Self { room, claim }
    }

    /// The filled buffer as bytes. It is used again, and its place is free, when the last clone of them is gone.
    pub(super) fn freeze(mut self) -> Bytes {
        self.claim.filled();
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.room[..self.claim.len()]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        let len = self.claim.len();
        &mut self.room[..len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Some(shelf) = Shelf::for_len(self.claim.len()) {
            shelf.put(std::mem::take(&mut self.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::window::Window;

    #[test]
    fn bytes_outlive_their_buffer_and_idle_ones_are_bounded() {
        let full = |len: u64| Buffer::new(Window::new().claim(len));
        for len in [0, 1, AT_HAND as u64, COPY as u64 / 2, COPY as u64] {
            let mut buffer = full(len);
            buffer.as_mut().fill(7);
            let bytes = buffer.freeze();
            let clone = bytes.clone();
            drop(bytes);
            assert!(clone.iter().all(|byte| *byte == 7));
        }
        let many: Vec<Bytes> = (0..2 * KEPT).map(|_| full(COPY as u64).freeze()).collect();
        drop(many);
        for shelf in &SHELVES {
            assert!(shelf.idle.lock().expect("sound").len() <= KEPT);
        }
    }
}
