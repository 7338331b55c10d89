//! Which bytes a fill asks upstream for next: a pure decision.
//!
//! Every range it names is missing and under way nowhere else, so that what it brings is brought once (G1). One transfer
//! always works at the lowest missing byte, because the hash runs along the prefix and whole readers read it. The others
//! go where a reader waits, to whoever has had least first, so that a glance at the tail never waits behind somebody who
//! reads on for hours. What is left of them reads ahead, for whoever has least ahead of him. A fill that is given one
//! connection at a time, because others want them too, goes to the one and to the others by turns.

use std::ops::Range;

use crate::store::Ranges;

use super::pace::{LARGEST, SMALLEST};

/// How far ahead of who reads it, or of the prefix, bytes are fetched that nobody waits for: the hash should not have
/// long to go when the last byte has come, nor a reader find that the others were served before him.
pub(super) const SPREAD: u64 = 64 << 20;

/// How much of what is under way is left when the next is sent out for a blob that is not split: enough to hide a round
/// trip on a link of 100 Mbit/s and 100 ms, and little enough that the two hardly share it.
const HANDOVER: u64 = 2 << 20;

/// The most that is fetched at once for a reader who waits ahead of the prefix: others may come to wait as well.
const AWAITED: u64 = 8 << 20;

/// The most that is fetched at once, and ahead of who reads it, where nothing is to be fetched that is not read: he may
/// leave at any moment.
const UNSURE: u64 = 4 << 20;

/// The least that is fetched at once where all of the blob is wanted in the end: readers that go from one small range to
/// the next would otherwise cost a request each.
const LEAST: u64 = 256 << 10;

/// What a reader has still to read, and how much he has had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanting {
    pub(super) position: u64,
    pub(super) end: u64,
    pub(super) had: u64,
}

/// How a blob is to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ways {
    /// The most transfers at once.
    pub(super) slots: usize,
    /// Where somebody waits comes before the lowest missing byte.
    pub(super) readers_first: bool,
    /// Large enough to be fetched in several places at once where nobody waits.
    pub(super) split: bool,
    /// All of it is to be fetched, and not only what is asked.
    pub(super) whole: bool,
    /// How much to ask for at once.
    pub(super) piece: u64,
}

/// How far a fill has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outlook<'a> {
    pub(super) size: u64,
    pub(super) present: &'a Ranges,
    pub(super) under_way: &'a [Range<u64>],
    /// In the order in which the readers came.
    pub(super) wants: &'a [Wanting],
}

/// The next range to fetch, or none while everything that should be fetched now is under way.
pub(super) fn next(outlook: &Outlook<'_>, ways: &Ways) -> Option<Range<u64>> {
    let mut taken = outlook.present.clone();
    for range in outlook.under_way {
        taken.insert(range.clone());
    }
    let plan = Plan { outlook, ways, taken };
    let needed = if ways.readers_first {
        plan.awaited().or_else(|| plan.lowest())
    } else {
        plan.lowest().or_else(|| plan.awaited())
    };
    // With one connection for all, nothing is fetched for who does not wait.
    needed.or_else(|| if ways.slots > 1 { plan.ahead() } else { None })
}

/// Whether so little of some transfer is left that the next may be sent out.
pub(super) fn is_handover_due(present: &Ranges, under_way: &[Range<u64>]) -> bool {
    let left =
        |range: &Range<u64>| range.end - present.run_end(range.start).unwrap_or(range.start).min(range.end);
    under_way.iter().any(|range| left(range) < HANDOVER)
}

/// The first request of a fill whose size nobody knows yet: what its first reader wants, no more than a piece.
pub(super) fn opening(want: &Range<u64>, whole: bool) -> Range<u64> {
    want.start..want.end.min(want.start.saturating_add(if whole { LARGEST } else { UNSURE }))
}

struct Plan<'a> {
    outlook: &'a Outlook<'a>,
    ways: &'a Ways,
    /// What is present or under way.
    taken: Ranges,
}

impl Plan<'_> {
    /// The lowest missing byte, unless it is on its way or only what is asked is fetched.
    fn lowest(&self) -> Option<Range<u64>> {
        let (prefix, size) = (self.outlook.present.prefix(), self.outlook.size);
        if !self.ways.whole || self.is_under_way(prefix) {
            return None;
        }
        self.missing(prefix..size, self.share())
    }

    /// Where somebody waits, or is about to; who has had least is served first.
    fn awaited(&self) -> Option<Range<u64>> {
        let Outlook { size, present, .. } = *self.outlook;
        let places = self.outlook.wants.iter().filter_map(|want| {
            let stop = present.run_end(want.position).unwrap_or(want.position);
            let end = want.end.min(size);
            let waits = stop < end && stop - want.position < HANDOVER && !self.is_under_way(stop);
            waits.then_some((want.had, stop, end))
        });
        let (_, stop, end) = places.min_by_key(|&(had, ..)| had)?;
        let (end, most) = if self.ways.whole {
            (self.through(stop, end.max(stop + LEAST).min(size)), AWAITED)
        } else {
            (end, UNSURE)
        };
        self.missing(stop..end, self.ways.piece.min(most))
    }

    /// Where to end what begins at `start` and goes to `end` at least, so that one request serves all places that lie close
    /// behind one another: what lies between them is to be fetched anyway.
    fn through(&self, start: u64, mut end: u64) -> u64 {
        let enough = start.saturating_add(AWAITED);
        while end < enough {
            let near = start..=end.saturating_add(LEAST);
            let next = self.outlook.wants.iter().filter(|want| near.contains(&want.position));
            let further = next.map(|want| want.end.min(self.outlook.size)).max();
            match further.filter(|further| *further > end) {
                Some(further) => end = further,
                None => break,
            }
        }
        end
    }

    /// Beyond what is on its way already, for whoever has least ahead of him.
    fn ahead(&self) -> Option<Range<u64>> {
        let Outlook { size, present, .. } = *self.outlook;
        let Ways { split, whole, .. } = *self.ways;
        let of_all = whole.then(|| present.prefix()..size);
        let of_each = self.outlook.wants.iter().map(|want| want.position..want.end.min(size));
        let reach = if whole { SPREAD } else { UNSURE };
        let places = of_all.into_iter().chain(of_each).filter_map(|Range { start, end }| {
            let front = self.taken.run_end(start).unwrap_or(start);
            let lead = front - start;
            // Transfers that share a link for long keep each other from moving at its speed.
            let alone = (split && whole) || {
                let coming: u64 = present.missing_in(start..front).map(|gap| gap.end - gap.start).sum();
                coming < HANDOVER
            };
            (front < end && lead < reach && alone).then_some((lead, front, end))
        });
        let (_, front, end) = places.min_by_key(|&(lead, ..)| lead)?;
        self.missing(front..end, self.share())
    }

    fn is_under_way(&self, position: u64) -> bool {
        self.outlook.under_way.iter().any(|range| range.contains(&position))
    }

    /// How much to ask for where nobody waits. Towards the end of a blob that is split the pieces get smaller, so that
    /// all transfers end at about the same time, and none of them far behind the prefix.
    fn share(&self) -> u64 {
        if !self.ways.whole {
            return self.ways.piece.min(UNSURE);
        }
        if !self.ways.split {
            return self.ways.piece;
        }
        let left = self.outlook.size - self.taken.total().min(self.outlook.size);
        let share = left / (2 * self.ways.slots as u64) / SMALLEST * SMALLEST;
        self.ways.piece.min(share.max(SMALLEST))
    }

    /// The first gap, no more than `most` of it.
    fn missing(&self, within: Range<u64>, most: u64) -> Option<Range<u64>> {
        let gap = self.taken.missing_in(within).next()?;
        Some(gap.start..gap.end.min(gap.start + most))
    }
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "lists of one range are what these tables are about")]
mod tests;
