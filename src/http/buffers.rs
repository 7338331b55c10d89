//! Buffers that file reads go into, used again when the bytes in them have been sent.
//!
//! A fresh buffer of this size is zeroed and page-faulted by the kernel every time, which costs more than the read from
//! the page cache does. At most [`KEPT`] buffers are kept for the process; what is needed beyond that comes from the
//! allocator and goes back to it.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;

use super::region::COPY;

/// How many idle buffers are kept: 8 MiB in all.
const KEPT: usize = 32;

/// Reads below this do not occupy a buffer of full size.
const SMALL: usize = 64 * 1024;

static IDLE: Mutex<Vec<Box<[u8]>>> = Mutex::new(Vec::new());

/// Room for `len` bytes, whose former content is of no meaning.
pub(super) struct Buffer {
    room: Box<[u8]>,
    len: usize,
}

impl Buffer {
    /// A buffer of `len` bytes, at most [`COPY`].
    pub(super) fn new(len: usize) -> Self {
        debug_assert!(len <= COPY, "reads are cut to COPY before they come here");
        if len < SMALL {
            return Self { room: vec![0; len].into_boxed_slice(), len };
        }
        let idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
        Self { room: idle.unwrap_or_else(|| vec![0; COPY].into_boxed_slice()), len }
    }

    /// The filled buffer as bytes. It is used again when the last clone of them is gone.
    pub(super) fn freeze(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.room[..self.len]
    }
}

impl AsMut<[u8]> for Buffer {
    fn as_mut(&mut self) -> &mut [u8] {
        &mut self.room[..self.len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.room.len() < COPY {
            return;
        }
        let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(std::mem::take(&mut self.room));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_outlive_their_buffer_and_idle_ones_are_bounded() {
        let table = [0, 1, SMALL - 1, SMALL, COPY - 1, COPY];
        for len in table {
            let mut buffer = Buffer::new(len);
            buffer.as_mut().fill(7);
            let bytes = buffer.freeze();
            let clone = bytes.clone();
            drop(bytes);
            assert_eq!(clone, vec![7; len]);
        }
        let many: Vec<Bytes> = (0..2 * KEPT).map(|_| Buffer::new(COPY).freeze()).collect();
        drop(many);
        assert!(IDLE.lock().expect("sound").len() <= KEPT);
    }
}
