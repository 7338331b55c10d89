//! A set of byte positions, kept as the ranges it is made of.
//!
//! This is how a partly present blob is written down: sorted, disjoint, never empty, never touching. Positions are
//! `u64`, ends are exclusive.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

/// A set of byte positions.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Start to end. No two touch: inserting merges.
    runs: BTreeMap<u64, u64>,
}

impl Ranges {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range; an empty one changes nothing.
    pub fn insert(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let Range { mut start, mut end } = range;
        // The run that begins at or before us swallows our start when it reaches it.
        if let Some((&before, &until)) = self.runs.range(..=start).next_back()
            && until >= start
        {
            start = before;
            end = end.max(until);
        }
        while let Some((&next, &until)) = self.runs.range(start..=end).next() {
            end = end.max(until);
            self.runs.remove(&next);
        }
        self.runs.insert(start, end);
    }

    /// Adds every position of another set.
    pub fn extend(&mut self, other: &Self) {
        for range in other.iter() {
            self.insert(range);
        }
    }

    /// Whether every position of the range is in the set; true for an empty range.
    pub fn contains(&self, range: Range<u64>) -> bool {
        range.is_empty() || self.run_end(range.start).is_some_and(|end| end >= range.end)
    }

    /// Where the run that holds `position` ends, if one does.
    pub fn run_end(&self, position: u64) -> Option<u64> {
        let (_, &end) = self.runs.range(..=position).next_back()?;
        (position < end).then_some(end)
    }

    /// How far the set reaches from position 0 without a gap.
    pub fn prefix(&self) -> u64 {
        self.run_end(0).unwrap_or(0)
    }

    /// The parts of `within` that are not in the set, in order.
    pub fn missing_in(&self, within: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut position = within.start;
        std::iter::from_fn(move || {
            if let Some(end) = self.run_end(position) {
                position = end;
            }
            if position >= within.end {
                return None;
            }
            let next =
                self.runs.range(position..).next().map_or(within.end, |(&start, _)| start.min(within.end));
            let gap = position..next;
            position = next;
            Some(gap)
        })
    }

    /// How many positions there are.
    pub fn total(&self) -> u64 {
        self.runs.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether there is nothing in the set.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The end of the last run; 0 for the empty set.
    pub fn end(&self) -> u64 {
        self.runs.last_key_value().map_or(0, |(_, &end)| end)
    }

    /// The runs, in order.
    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.runs.iter().map(|(&start, &end)| start..end)
    }
}

impl FromIterator<Range<u64>> for Ranges {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut set = Self::new();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

impl fmt::Debug for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(ranges: &[Range<u64>]) -> Ranges {
        ranges.iter().cloned().collect()
    }

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        let runs =
            |ranges: &[Range<u64>]| set(ranges).iter().map(|run| (run.start, run.end)).collect::<Vec<_>>();
        assert_eq!(runs(&[0..10, 10..20]), [(0, 20)]);
        assert_eq!(runs(&[10..20, 0..10]), [(0, 20)]);
        assert_eq!(runs(&[0..10, 20..30, 5..25]), [(0, 30)]);
        assert_eq!(runs(&[0..100, 20..30]), [(0, 100)]);
        assert_eq!(runs(&[3..3, 7..9]), [(7, 9)]);
    }

    #[test]
    fn what_is_missing_is_found_in_order() {
        let present = set(&[10..20, 30..40]);
        let missing = |within: Range<u64>| {
            present.missing_in(within).map(|gap| (gap.start, gap.end)).collect::<Vec<_>>()
        };
        assert_eq!(missing(0..50), [(0, 10), (20, 30), (40, 50)]);
        assert_eq!(missing(15..35), [(20, 30)]);
        assert!(missing(12..18).is_empty());
        assert!(missing(10..20).is_empty());
        assert!(missing(5..5).is_empty());
        assert_eq!(missing(40..41), [(40, 41)]);
    }

    #[test]
    fn a_run_is_followed_to_its_end() {
        let present = set(&[0..10, 30..40]);
        assert_eq!(present.run_end(0), Some(10));
        assert_eq!(present.run_end(9), Some(10));
        assert_eq!(present.run_end(10), None);
        assert_eq!(present.run_end(35), Some(40));
        assert_eq!((present.prefix(), present.total(), present.end()), (10, 20, 40));
        assert_eq!(set(&[1..2, 5..6]).prefix(), 0);
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set_of_positions(
            inserts in proptest::collection::vec((0u64..64, 0u64..64), 0..24),
            ask in (0u64..70, 0u64..70),
        ) {
            let mut naive = [false; 70];
            let mut ranges = Ranges::new();
            for (start, end) in inserts {
                ranges.insert(start..end);
                for position in start..end {
                    naive[position as usize] = true;
                }
            }
            let asked = ask.0..ask.1;
            prop_assert_eq!(ranges.contains(asked.clone()), asked.clone().all(|at| naive[at as usize]));
            let missing: Vec<u64> = ranges.missing_in(asked.clone()).flatten().collect();
            let expected: Vec<u64> = asked.filter(|&at| !naive[at as usize]).collect();
            prop_assert_eq!(missing, expected);
            prop_assert_eq!(ranges.total() as usize, naive.iter().filter(|&&here| here).count());
            let runs: Vec<_> = ranges.iter().collect();
            prop_assert!(runs.iter().all(|run| !run.is_empty()));
            prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            for position in 0..70u64 {
                let mut end = position;
                while end < 70 && naive[end as usize] { end += 1; }
                prop_assert_eq!(ranges.run_end(position), (end > position).then_some(end));
            }
        }
    }
}
