//! Which bytes a fill asks upstream for next: a pure decision.
//!
//! Every range it names is missing and under way nowhere else, so that what it brings is brought once (G1). One
//! transfer always works at the lowest missing byte, because the hash runs along the prefix and whole readers read
//! it; the others go where readers wait, then ahead of the prefix, but never so far that the hash would still be
//! running long after the last byte came.

use std::ops::Range;

use crate::store::Ranges;

/// The most that one request to upstream asks for.
///
/// A response cannot be shortened once it runs, so a reader who wants bytes in the middle of one waits for it, and a
/// transfer that meets bytes which are here already would fetch them twice. Both are bounded by this. Larger saves
/// round trips: at 100 Mbit/s and 40 ms one piece takes 1.3 s.
pub(super) const PIECE: u64 = 16 << 20;

/// How far beyond the prefix anything is fetched that nobody asked for.
pub(super) const SPREAD: u64 = 64 << 20;

/// The next range to fetch, or none while everything missing is under way or nothing more may run.
///
/// `wants` are what readers have still to read, in the order in which the readers came.
pub(super) fn next(
    size: u64,
    present: &Ranges,
    under_way: &[Range<u64>],
    wants: &[Range<u64>],
) -> Option<Range<u64>> {
    let mut taken = present.clone();
    for range in under_way {
        taken.insert(range.clone());
    }
    let prefix = present.prefix();
    let lowest_is_served = prefix >= size || under_way.iter().any(|range| range.contains(&prefix));
    if !lowest_is_served {
        return first_missing(&taken, prefix..size);
    }
    wants
        .iter()
        .find_map(|want| first_missing(&taken, want.start.min(size)..want.end.min(size)))
        .filter(|piece| piece.start < prefix.saturating_add(SPREAD) || is_awaited(wants, piece))
        .or_else(|| first_missing(&taken, prefix..size.min(prefix.saturating_add(SPREAD))))
}

/// The first request of a fill whose size nobody knows yet: what its first reader wants, no more than a piece.
pub(super) fn opening(want: &Range<u64>) -> Range<u64> {
    want.start..want.end.min(want.start.saturating_add(PIECE))
}

fn first_missing(taken: &Ranges, within: Range<u64>) -> Option<Range<u64>> {
    let gap = taken.missing_in(within).next()?;
    Some(gap.start..gap.end.min(gap.start + PIECE))
}

/// Whether some reader is about to read this piece: what was asked is fetched however far ahead of the prefix it is,
/// but ahead of a reader, too, only so far as it will soon get.
fn is_awaited(wants: &[Range<u64>], piece: &Range<u64>) -> bool {
    wants.iter().any(|want| want.start <= piece.start && piece.start < want.start.saturating_add(SPREAD))
}
