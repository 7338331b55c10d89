//! Whether bytes of a file are in the system's page cache, and how they come to be there.
//!
//! A thread of the runtime may let the kernel send what is in memory, and must not wait for a disk. The question costs a
//! few reads of a byte each that may not wait; what is not there is read on a blocking thread, once, into nothing.
//!
//! What is in the cache may be gone again a moment later. Then somebody waits for the disk after all, for one piece.

use std::io::{self, IoSliceMut};
use std::num::NonZeroU64;
use std::os::fd::BorrowedFd;

use bytes::Bytes;
use rustix::fs::{Advice, fadvise, fstatfs};
use rustix::io::{Errno, ReadWriteFlags, preadv2};

use super::region::{BodyError, Span};

/// A byte in each so many is looked for: files are read in pieces of this size or larger, and given up in the order in
/// which they were read.
const STEP: u64 = 256 * 1024;

/// How far ahead of what is wanted now the disk is asked to read on.
const AHEAD: NonZeroU64 = NonZeroU64::new(4 << 20).unwrap();

/// How much is read at once into nothing.
const READ: usize = 64 * 1024;

/// Whether a byte can be had without a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Here,
    /// On the disk, or behind the end of the file: whoever reads it finds out.
    Away,
    /// The file system does not tell.
    Unknown,
}

/// Whether the span can be sent without waiting for the disk, as far as a few of its bytes show.
pub(super) fn is_here(span: &Span) -> bool {
    let Some(file) = span.file.as_fd() else { return false };
    let places = (span.start..span.end).step_by(STEP as usize).chain(span.end.checked_sub(1));
    for place in places {
        match look(file, place) {
            Found::Here => {}
            Found::Away => return false,
            Found::Unknown => return is_memory(file),
        }
    }
    true
}

fn look(file: BorrowedFd<'_>, place: u64) -> Found {
    match read_now(file, &mut [0], place) {
        Ok(0) | Err(Errno::AGAIN) => Found::Away,
        Ok(_) => Found::Here,
        Err(_) => Found::Unknown,
    }
}

fn read_now(file: BorrowedFd<'_>, into: &mut [u8], place: u64) -> rustix::io::Result<usize> {
    preadv2(file, &mut [IoSliceMut::new(into)], place, ReadWriteFlags::NOWAIT)
}

/// Whether the file is in a file system that has no disk.
fn is_memory(file: BorrowedFd<'_>) -> bool {
    const TMPFS: i64 = 0x0102_1994;
    const RAMFS: i64 = 0x8584_58f6;
    fstatfs(file).is_ok_and(|stat| stat.f_type == TMPFS || stat.f_type == RAMFS)
}

/// All bytes of a small span, if they can be had without a wait.
pub(super) fn take_now(span: &Span) -> Option<Bytes> {
    let mut bytes = vec![0; usize::try_from(span.len()).ok()?];
    read_all_now(span, &mut bytes).then(|| bytes.into())
}

/// Fills `into` from the span's front; whether that could be done without a wait.
pub(super) fn read_all_now(span: &Span, into: &mut [u8]) -> bool {
    let Some(file) = span.file.as_fd() else { return false };
    let mut filled = 0;
    while filled < into.len() {
        match read_now(file, &mut into[filled..], span.start + filled as u64) {
            Ok(0) | Err(_) => return false,
            Ok(read) => filled += read,
        }
    }
    true
}

/// Brings the span into the page cache. Blocks.
pub(super) fn bring(span: &Span) -> Result<(), BodyError> {
    if let Some(file) = span.file.as_fd() {
        // Advice: what cannot take it reads on without.
        let _ = fadvise(file, span.start, Some(AHEAD), Advice::WillNeed);
    }
    let mut nothing = vec![0; READ];
    let mut at = span.start;
    while at < span.end {
        let most = usize::try_from(span.end - at).map_or(READ, |left| left.min(READ));
        match span.file.read_at(&mut nothing[..most], at) {
            Ok(0) => return Err(BodyError::Truncated { at, expected: span.end }),
            Ok(read) => at += read as u64,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BodyError::Read(error.to_string())),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use super::super::region::ReadAt as _;
    use super::super::region::fixture::{OnDisk, content};
    use super::*;

    fn span(file: &Arc<OnDisk>, start: u64, end: u64) -> Span {
        Span { file: Arc::<OnDisk>::clone(file), start, end }
    }

    /// Not every file system does.
    fn tells(file: &Arc<OnDisk>) -> bool {
        look(file.as_fd().unwrap(), 0) != Found::Unknown
    }

    #[test]
    fn what_was_just_written_is_here_and_what_is_given_up_comes_again() {
        let all = content(1 << 20);
        let file = OnDisk::of(&all);
        file.0.sync_all().unwrap();
        assert!(is_here(&span(&file, 0, 1 << 20)) || !tells(&file));
        // Whether it is given up is for the system to say; after it was brought it is here.
        fadvise(&file.0, 0, None, Advice::DontNeed).unwrap();
        bring(&span(&file, 0, 1 << 20)).unwrap();
        if tells(&file) {
            assert!(is_here(&span(&file, 0, 1 << 20)));
            assert_eq!(take_now(&span(&file, 7, 5000)).unwrap(), all[7..5000]);
        }
    }

    #[test]
    fn what_is_behind_the_end_is_not_here_and_cannot_be_brought() {
        let file = OnDisk::of(b"0123456789");
        (&file.0).flush().unwrap();
        assert!(!is_here(&span(&file, 5, 11)) || !tells(&file));
        assert_eq!(take_now(&span(&file, 5, 11)), None);
        assert_eq!(bring(&span(&file, 5, 11)), Err(BodyError::Truncated { at: 10, expected: 11 }));
    }
}
