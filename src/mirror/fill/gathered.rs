//! What has come of a transfer and waits until the disk is ready for it.
//!
//! A piece costs a thread that is woken, and the fill and its readers, who are told. So while one piece is on its way to the
//! disk the next is gathered, and much of it ends where blocks do, so that few pages are written twice and the system keeps
//! them in large pieces of its memory, which are cheaper to send.

use std::collections::VecDeque;

use bytes::Bytes;

/// So much is gathered before upstream waits for the disk: what a piece costs is little beside writing and hashing it, and
/// two of them are about what a processor keeps at hand.
const ENOUGH: u64 = 1 << 20;

/// The smallest multiple that large pieces end at.
const BLOCK: u64 = 64 << 10;

/// Consecutive bytes.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    chunks: VecDeque<Bytes>,
    start: u64,
    len: u64,
}

/// How much of what was gathered goes to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    All,
    /// Of much, what ends where a block does; all of little.
    Aligned,
}

impl Gathered {
    /// Whether no more should come before some of it goes.
    pub(super) fn is_full(&self) -> bool {
        self.len >= ENOUGH
    }

    /// Whether there is nothing.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether bytes at this offset follow what is here.
    pub(super) fn goes_on_at(&self, offset: u64) -> bool {
        self.len == 0 || self.start + self.len == offset
    }

    /// Adds bytes, which must follow.
    pub(super) fn push(&mut self, offset: u64, bytes: Bytes) {
        if self.len == 0 {
            self.start = offset;
        }
        self.len += bytes.len() as u64;
        self.chunks.push_back(bytes);
    }

    /// Takes a part off the front; where it belongs, and its bytes.
    pub(super) fn take(&mut self, part: Part) -> (u64, Vec<Bytes>) {
        let offset = self.start;
        let mut left = match part {
            Part::All => self.len,
            Part::Aligned => aligned(offset, self.len),
        };
        self.start += left;
        self.len -= left;
        let mut piece = Vec::with_capacity(self.chunks.len());
        while left > 0
            && let Some(mut bytes) = self.chunks.pop_front()
        {
            if let Ok(left) = usize::try_from(left)
                && left < bytes.len()
            {
                self.chunks.push_front(bytes.split_off(left));
            }
            left -= bytes.len() as u64;
            piece.push(bytes);
        }
        (offset, piece)
    }
}

/// How many of `len` bytes at an offset are written at once: of two blocks and more, what ends at a multiple of the largest
/// power of two that is no more than half of it. The system keeps a file in pieces of its memory that lie at multiples of
/// their sizes, and makes them as large as what is written at once.
fn aligned(offset: u64, len: u64) -> u64 {
    let half = (len / 2).min(ENOUGH);
    if half < BLOCK {
        return len;
    }
    let block = 1 << half.ilog2();
    (offset + len) / block * block - offset
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(piece: &[Bytes]) -> Vec<u8> {
        piece.concat()
    }

    #[test]
    fn little_goes_as_it_is_and_much_ends_where_a_block_does() {
        for (offset, len, expected) in [
            (0, 0, 0),
            (0, 1, 1),
            (3, 2 * BLOCK - 1, 2 * BLOCK - 1),
            (3, 2 * BLOCK, 2 * BLOCK - 3),
            (5, ENOUGH - 1, ENOUGH - 5),
            (0, ENOUGH, ENOUGH),
            (0, ENOUGH + 1, ENOUGH),
            (7, ENOUGH, ENOUGH - 7),
            (BLOCK - 1, ENOUGH + BLOCK, ENOUGH - (BLOCK - 1)),
            (1, 4 * ENOUGH + 5, 4 * ENOUGH - 1),
        ] {
            assert_eq!(aligned(offset, len), expected, "{len} at {offset}");
        }
    }

    #[test]
    fn what_was_gathered_comes_out_once_and_in_order() {
        let content: Vec<u8> = (0..ENOUGH + 3 * BLOCK + 17).map(|at| (at % 251) as u8).collect();
        for chunk in [1_000_003, 300_000, 65_536, 10_007] {
            let (mut gathered, mut came, mut next) = (Gathered::default(), Vec::new(), 13);
            for bytes in content.chunks(chunk) {
                let offset = 13 + (came.len() as u64) + gathered.len;
                assert!(gathered.goes_on_at(offset));
                gathered.push(offset, Bytes::copy_from_slice(bytes));
                assert!(gathered.len == 0 || !gathered.goes_on_at(offset + 1_000_000_000));
                if gathered.is_full() {
                    let (offset, piece) = gathered.take(Part::Aligned);
                    assert_eq!(offset, next);
                    came.extend(all(&piece));
                    next = 13 + came.len() as u64;
                    assert_eq!(next % BLOCK, 0);
                    assert!(!gathered.is_full());
                }
            }
            let (offset, piece) = gathered.take(Part::All);
            assert_eq!(offset, next);
            came.extend(all(&piece));
            assert!(came == content, "by {chunk}");
            assert!(gathered.take(Part::All).1.is_empty() && gathered.goes_on_at(5));
        }
    }
}
