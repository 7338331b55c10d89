//! Which bytes a fill asks upstream for next: a pure decision.
//!
//! Every range it names is missing and under way nowhere else, so that what it brings is brought once (G1). One
//! transfer always works at the lowest missing byte, because the hash runs along the prefix and whole readers read
//! it; others go only where a reader would wait, or follow a transfer that is about to end. Two that share a link for
//! long would only keep the prefix from moving at its speed.

use std::ops::Range;

use crate::store::Ranges;

/// The most that one request to upstream asks for.
///
/// A response cannot be shortened once it runs, so a reader who wants bytes in the middle of one waits for it, and a
/// transfer that meets bytes which are here already would fetch them twice. Both are bounded by this. Larger saves
/// round trips: at 100 Mbit/s and 40 ms one piece takes 1.3 s.
pub(super) const PIECE: u64 = 16 << 20;

/// How far ahead of the transfer before it one that follows may begin, where what lies between is here already: the
/// hash should not have long to go when the last byte has come.
pub(super) const SPREAD: u64 = 64 << 20;

/// How much of a transfer is left when the one that follows it is sent out: enough to hide a round trip on a link of
/// 100 Mbit/s and 100 ms, and little enough that the two hardly share it.
const HANDOVER: u64 = 2 << 20;

/// The next range to fetch, or none while everything that should be fetched now is under way.
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
    let is_served = |position: u64| under_way.iter().any(|range| range.contains(&position));
    if prefix < size && !is_served(prefix) {
        return first_missing(&taken, prefix..size);
    }
    // What is missing first from a position on, unless it is on its way.
    let missing_from = |position: u64, end: u64| {
        let stop = present.run_end(position).unwrap_or(position);
        if is_served(stop) { None } else { first_missing(&taken, stop..end.min(size)) }
    };
    wants.iter().find_map(|want| missing_from(want.start, want.end)).or_else(|| {
        under_way.iter().filter(|range| is_near_its_end(present, range)).find_map(|range| {
            let follows_a_reader = |want: &&Range<u64>| want.contains(&range.start) && want.end > range.end;
            let end = match wants.iter().find(follows_a_reader) {
                Some(want) => want.end,
                None if range.contains(&prefix) => size,
                None => return None,
            };
            missing_from(range.end, end).filter(|next| next.start < range.end.saturating_add(SPREAD))
        })
    })
}

/// Whether so little of some transfer is left that the next may be sent out.
pub(super) fn is_handover_due(present: &Ranges, under_way: &[Range<u64>]) -> bool {
    under_way.iter().any(|range| is_near_its_end(present, range))
}

fn is_near_its_end(present: &Ranges, range: &Range<u64>) -> bool {
    let reached = present.run_end(range.start).unwrap_or(range.start);
    range.end.saturating_sub(reached) < HANDOVER
}

/// The first request of a fill whose size nobody knows yet: what its first reader wants, no more than a piece.
pub(super) fn opening(want: &Range<u64>) -> Range<u64> {
    want.start..want.end.min(want.start.saturating_add(PIECE))
}

fn first_missing(taken: &Ranges, within: Range<u64>) -> Option<Range<u64>> {
    let gap = taken.missing_in(within).next()?;
    Some(gap.start..gap.end.min(gap.start + PIECE))
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one range are what these tables are about")]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SIZE: u64 = 1 << 30;

    fn present(ranges: &[Range<u64>]) -> Ranges {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn the_lowest_missing_byte_always_has_a_transfer() {
        let tail = SIZE - 100..SIZE;
        for (there, under_way, wants, expected, why) in [
            (vec![], vec![], vec![], Some(0..PIECE), "nothing is here and nobody waits"),
            (vec![], vec![], vec![tail], Some(0..PIECE), "also when somebody waits elsewhere"),
            (vec![0..PIECE], vec![], vec![], Some(PIECE..2 * PIECE), "the prefix goes on"),
            (vec![0..10], vec![], vec![], Some(10..10 + PIECE), "from the very byte"),
            (vec![0..10, 20..30], vec![], vec![], Some(10..20), "up to what is there"),
            (vec![], vec![20..30], vec![], Some(0..20), "up to what is under way"),
            (vec![0..SIZE], vec![], vec![], None, "everything is there"),
        ] {
            assert_eq!(next(SIZE, &present(&there), &under_way, &wants), expected, "{why}");
        }
    }

    #[test]
    fn g1_nothing_present_or_under_way_is_asked_for_again() {
        let first = || 0..PIECE;
        let tail = || SIZE - 100..SIZE;
        let far = || 40 * MIB..50 * MIB;
        for (there, under_way, wants, expected, why) in [
            (vec![], vec![first()], vec![tail()], Some(tail()), "who waits far ahead is served"),
            (vec![tail()], vec![first()], vec![tail()], None, "but not again when it is there"),
            (vec![], vec![first(), tail()], vec![tail()], None, "or coming"),
            (vec![], vec![first()], vec![5..90], None, "nor who waits inside a running transfer"),
            (vec![], vec![first()], vec![0..SIZE], None, "nor a whole reader"),
            (
                vec![far()],
                vec![first()],
                vec![30 * MIB..60 * MIB],
                Some(30 * MIB..40 * MIB),
                "up to what is there",
            ),
            (
                vec![far()],
                vec![first()],
                vec![45 * MIB..60 * MIB],
                Some(50 * MIB..60 * MIB),
                "from where it will wait",
            ),
        ] {
            assert_eq!(next(SIZE, &present(&there), &under_way, &wants), expected, "{why}");
        }
    }

    #[test]
    fn a_transfer_is_followed_when_it_is_about_to_end() {
        let first = || 0..PIECE;
        let almost = || 0..PIECE - HANDOVER + 1;
        let after = PIECE..2 * PIECE;
        let mid = 500 * MIB..500 * MIB + PIECE;
        for (there, under_way, wants, expected, why) in [
            (vec![0..PIECE - HANDOVER], vec![first()], vec![], None, "not yet"),
            (vec![almost()], vec![first()], vec![], Some(after.clone()), "now"),
            (vec![almost()], vec![first(), after], vec![], None, "once"),
            (
                vec![almost(), PIECE..200 * MIB],
                vec![first()],
                vec![],
                None,
                "not where the hash would lag far behind",
            ),
            (
                vec![mid.start..mid.end - MIB],
                vec![first(), mid.clone()],
                vec![mid.start..SIZE],
                Some(mid.end..mid.end + PIECE),
                "a reader's transfer, too",
            ),
            (vec![mid.start..mid.end - MIB], vec![first(), mid], vec![], None, "but only while he reads"),
        ] {
            assert_eq!(next(SIZE, &present(&there), &under_way, &wants), expected, "{why}");
        }
    }

    #[test]
    fn a_want_beyond_the_end_is_cut_to_the_blob() {
        assert_eq!(next(100, &present(&[0..40]), &[40..50], &[60..500]), Some(60..100));
        assert_eq!(next(100, &present(&[0..40]), &[40..100], &[600..700]), None);
    }

    proptest::proptest! {
        #[test]
        fn g1_whatever_is_planned_until_the_end_covers_every_byte_once(
            size in 1u64..2_000_000_000,
            parts in proptest::collection::vec((0u64..2_000_000_000, 1u64..100_000_000), 0..5),
            wants in proptest::collection::vec((0u64..2_000_000_000, 1u64..200_000_000), 0..5),
            connections in 1usize..5,
        ) {
            let clip = |list: &[(u64, u64)]| -> Vec<Range<u64>> {
                list.iter().map(|(at, len)| at.min(&size).to_owned()..(at + len).min(size)).filter(|r| r.start < r.end).collect()
            };
            let mut there = present(&clip(&parts));
            let wants = clip(&wants);
            let mut fetched = size - there.total();
            let mut running: Vec<Range<u64>> = Vec::new();
            loop {
                while running.len() < connections {
                    let Some(range) = next(size, &there, &running, &wants) else { break };
                    proptest::prop_assert!(range.start < range.end && range.end - range.start <= PIECE);
                    proptest::prop_assert!(there.missing_in(range.clone()).eq([range.clone()]), "asked for what is there");
                    proptest::prop_assert!(running.iter().all(|r| r.end <= range.start || range.end <= r.start));
                    running.push(range);
                }
                let Some(done) = running.pop() else { break };
                fetched -= done.end - done.start;
                there.insert(done);
            }
            proptest::prop_assert_eq!(fetched, 0);
            proptest::prop_assert_eq!(there.total(), size);
        }
    }
}
