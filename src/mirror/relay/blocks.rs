//! The bytes of a window, in blocks of one size that are allocated one by one: a reader who is slow to pass its bytes on
//! keeps one block alive, and not whatever came from the network together with it.

use std::collections::VecDeque;

use bytes::Bytes;

use super::window::BLOCK;

/// A run of bytes that grows at its end and is dropped at its start.
#[derive(Debug)]
pub(super) struct Blocks {
    /// Where in the blob the first block begins.
    start: u64,
    full: VecDeque<Bytes>,
    /// The block that is being filled.
    last: Vec<u8>,
}

impl Blocks {
    pub(super) fn new(start: u64) -> Self {
        Self { start, full: VecDeque::new(), last: Vec::new() }
    }

    /// Adds bytes at the end.
    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        let block = usize::try_from(BLOCK).unwrap_or(usize::MAX);
        while !bytes.is_empty() {
            if self.last.capacity() == 0 {
                self.last.reserve_exact(block);
            }
            let (now, later) = bytes.split_at(bytes.len().min(block - self.last.len()));
            self.last.extend_from_slice(now);
            bytes = later;
            if self.last.len() == block {
                self.full.push_back(std::mem::take(&mut self.last).into());
            }
        }
    }

    /// Drops the blocks before `start`, which is where one begins.
    pub(super) fn drop_before(&mut self, start: u64) {
        while self.start < start {
            if self.full.pop_front().is_none() {
                self.last = Vec::new();
            }
            self.start += BLOCK;
        }
    }

    /// The bytes at `position`, up to the end of its block.
    pub(super) fn at(&self, position: u64) -> Option<Bytes> {
        let from = position.checked_sub(self.start)?;
        let (block, within) = (usize::try_from(from / BLOCK).ok()?, usize::try_from(from % BLOCK).ok()?);
        if let Some(full) = self.full.get(block) {
            return Some(full.slice(within..));
        }
        let last = self.last.get(within..).filter(|last| block == self.full.len() && !last.is_empty())?;
        Some(Bytes::copy_from_slice(last))
    }

    #[cfg(test)]
    pub(super) fn allocated(&self) -> u64 {
        self.full.len() as u64 * BLOCK + self.last.capacity() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What byte `at` of the blob is.
    fn byte(at: u64) -> u8 {
        (at % 251) as u8
    }

    fn bytes(from: u64, to: u64) -> Vec<u8> {
        (from..to).map(byte).collect()
    }

    #[test]
    fn what_was_pushed_in_any_pieces_is_found_at_its_place() {
        for piece in [1, 7, 1_000, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK] {
            let mut blocks = Blocks::new(100);
            let (mut at, end) = (100, 100 + 3 * BLOCK + 5);
            while at < end {
                let to = end.min(at + piece);
                blocks.push(&bytes(at, to));
                at = to;
                assert_eq!(blocks.at(at), None, "what has not come");
                assert_eq!(blocks.at(at - 1).unwrap()[0], byte(at - 1));
            }
            assert!(blocks.allocated() <= 4 * BLOCK);
            let mut position = 100;
            while let Some(found) = blocks.at(position) {
                assert!(found.len() as u64 <= BLOCK);
                assert_eq!(found, bytes(position, position + found.len() as u64));
                position += found.len() as u64;
            }
            assert_eq!(position, end);
        }
    }

    #[test]
    fn what_is_dropped_is_gone_and_the_rest_stays_at_its_place() {
        let mut blocks = Blocks::new(0);
        blocks.push(&bytes(0, 2 * BLOCK + 10));
        blocks.drop_before(BLOCK);
        assert_eq!((blocks.at(BLOCK - 1), blocks.at(BLOCK).unwrap()[0]), (None, byte(BLOCK)));
        assert_eq!(blocks.allocated(), 2 * BLOCK);
        blocks.drop_before(2 * BLOCK);
        blocks.push(&bytes(2 * BLOCK + 10, 3 * BLOCK + 1));
        assert_eq!(blocks.at(2 * BLOCK).unwrap(), bytes(2 * BLOCK, 3 * BLOCK));
        assert_eq!(blocks.at(3 * BLOCK).unwrap(), bytes(3 * BLOCK, 3 * BLOCK + 1));
        assert_eq!(blocks.at(9 * BLOCK), None);
    }
}
