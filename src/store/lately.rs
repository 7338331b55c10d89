//! What of an open file was found in memory a moment ago.
//!
//! Who has the kernel send a file asks before whether it is in memory, so as not to wait for the disk. To ask costs a call for
//! every quarter of a mebibyte, a twentieth of what it costs to send it; and what has just been sent is what the system gives
//! up last. So what was found stays found for a second.
//!
//! Owns the memory of that. Left to others: how it is found out.

use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What is found is remembered in parts of so many bytes.
const PART: u64 = 1 << 20;

/// For how long.
const MOMENT: Duration = Duration::from_secs(1);

/// When each part of a file was found last.
#[derive(Debug)]
pub(super) struct Lately {
    opened: Instant,
    /// In milliseconds since the file was opened, and one; 0: never. Made when something is found: most files that are open
    /// are never sent.
    found: OnceLock<Box<[AtomicU32]>>,
}

impl Lately {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), found: OnceLock::new() }
    }

    /// Whether all of this was found a moment ago.
    pub(super) fn was_found(&self, range: &Range<u64>) -> bool {
        self.found.get().is_some_and(|found| {
            let now = self.now();
            let parts = found.get(parts_of(range));
            parts.is_some_and(|parts| parts.iter().all(|at| is_lately(at.load(Ordering::Relaxed), now)))
        })
    }

    /// All of this, in a file of so many bytes, is found now.
    pub(super) fn find(&self, range: &Range<u64>, size: u64) {
        let empty = || (0..size.div_ceil(PART)).map(|_| AtomicU32::new(0)).collect();
        let (found, now) = (self.found.get_or_init(empty), self.now());
        for part in found.get(whole_parts_of(range, size)).unwrap_or_default() {
            part.store(now, Ordering::Relaxed);
        }
    }

    /// It comes round after 49 days, and something is then held to be in memory that may not be: whoever sends it waits.
    fn now(&self) -> u32 {
        (self.opened.elapsed().as_millis() as u32).wrapping_add(1).max(1)
    }
}

fn is_lately(at: u32, now: u32) -> bool {
    at != 0 && u128::from(now.wrapping_sub(at)) < MOMENT.as_millis()
}

/// The parts that have a byte of the range.
fn parts_of(range: &Range<u64>) -> Range<usize> {
    (range.start / PART) as usize..range.end.div_ceil(PART) as usize
}

/// The parts of a file of which there is nothing outside the range.
fn whole_parts_of(range: &Range<u64>, size: u64) -> Range<usize> {
    let end = if range.end >= size { size.div_ceil(PART) } else { range.end / PART };
    let start = range.start.div_ceil(PART).min(end);
    start as usize..end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_parts_that_were_found_whole_are_remembered() {
        const SIZE: u64 = 5 * PART + 7;
        let rows = [
            (0..PART, 0..1),
            (0..PART - 1, 0..0),
            (1..PART, 1..1),
            (PART - 1..3 * PART, 1..3),
            (PART..3 * PART + 1, 1..3),
            (5 * PART..SIZE, 5..6),
            (5 * PART + 1..SIZE, 6..6),
            (0..SIZE, 0..6),
            (3..4, 0..0),
        ];
        for (range, whole) in rows {
            assert_eq!(whole_parts_of(&range, SIZE), whole, "{range:?}");
        }
    }

    #[test]
    fn a_range_is_known_where_each_part_that_it_touches_is() {
        let lately = Lately::new();
        let size = 3 * PART + 5;
        assert!(!lately.was_found(&(0..1)), "nothing was found yet");
        lately.find(&(PART..2 * PART), size);
        assert!(lately.was_found(&(PART..2 * PART)) && lately.was_found(&(PART + 7..PART + 8)));
        assert!(!lately.was_found(&(PART - 1..PART + 1)) && !lately.was_found(&(PART..2 * PART + 1)));
        lately.find(&(2 * PART..size), size);
        assert!(lately.was_found(&(PART..size)));
        assert!(
            !lately.was_found(&(0..size)) && !lately.was_found(&(size - 1..9 * PART)),
            "nor what no file has"
        );
    }

    #[test]
    fn what_was_found_is_forgotten_after_a_moment() {
        let millis = MOMENT.as_millis() as u32;
        let rows = [
            (0, 1, false, "never found"),
            (1, 1, true, "just now"),
            (5, 4 + millis, true, "a moment ago"),
            (5, 5 + millis, false, "longer ago"),
            (u32::MAX, 3, true, "the count has come round"),
        ];
        for (at, now, lately, case) in rows {
            assert_eq!(is_lately(at, now), lately, "{case}");
        }
    }
}
