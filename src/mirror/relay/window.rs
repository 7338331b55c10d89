//! Which bytes a relay keeps, who may still read them, and whether more may come: decisions without bytes, clock and
//! runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use super::patience::Patience;

/// The unit in which bytes are kept and dropped. A reader that is slow keeps a few of them alive, so it is small.
pub(super) const BLOCK: u64 = 16 << 10;

/// For so long a relay keeps its first bytes, whatever its readers do: clients that pull the same image ask for the same
/// blob within this. On a link that takes longer for a window it costs nobody anything.
pub(super) const GATHER: Duration = Duration::from_millis(500);

/// Who stands so far before what has come waits for it, if it is coming anyway, rather than have a transfer of its own.
const SKIP: u64 = 1 << 20;

/// A run of bytes that moves along a blob, and the readers along it.
///
/// A reader is counted while it stands in the window or before it. One whose place has been dropped has *fallen out*,
/// and whatever it says is passed over.
#[derive(Debug)]
pub(super) struct Window {
    /// The first byte that is kept.
    start: u64,
    /// Behind the last byte that has come.
    reach: u64,
    /// How many bytes may be kept, in blocks.
    capacity: u64,
    /// How many readers stand where, and want to get where.
    readers: BTreeMap<(u64, u64), usize>,
    /// How many want to get where.
    ends: BTreeMap<u64, usize>,
    patience: Patience,
}

/// What a relay is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Nobody reads.
    Nobody,
    /// So many bytes may come, at the most.
    Read(u64),
    /// Its readers have enough before them.
    Enough,
    /// Until this age, it waits for those who lag, or who may still come.
    Hold(Duration),
}

impl Window {
    /// A window of up to `capacity` bytes, empty, at `start`.
    pub(super) fn new(start: u64, capacity: u64) -> Self {
        Self {
            start,
            reach: start,
            capacity,
            readers: BTreeMap::new(),
            ends: BTreeMap::new(),
            patience: Patience::default(),
        }
    }

    pub(super) fn start(&self) -> u64 {
        self.start
    }

    pub(super) fn reach(&self) -> u64 {
        self.reach
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// What is kept at the most, in whole blocks.
    pub(super) fn kept(&self) -> u64 {
        (self.reach - self.start).next_multiple_of(BLOCK)
    }

    pub(super) fn has_readers(&self) -> bool {
        !self.readers.is_empty()
    }

    /// Where the readers want to get.
    pub(super) fn target(&self) -> u64 {
        self.ends.last_key_value().map_or(self.reach, |(end, _)| *end)
    }

    /// Whether a reader at `at` finds its bytes here, or soon will.
    pub(super) fn covers(&self, at: u64) -> bool {
        let coming = self.reach.saturating_add(SKIP.min(self.capacity / 4)).min(self.target());
        (self.start..=self.reach.max(coming)).contains(&at)
    }

    /// A reader comes.
    pub(super) fn join(&mut self, at: u64, end: u64) {
        *self.readers.entry((at, end)).or_default() += 1;
        *self.ends.entry(end).or_default() += 1;
    }

    /// A reader has taken the bytes before `to`.
    pub(super) fn advance(&mut self, from: u64, to: u64, end: u64) {
        if from >= self.start {
            take_one(&mut self.readers, (from, end));
            *self.readers.entry((to, end)).or_default() += 1;
        }
    }

    /// A reader leaves.
    pub(super) fn leave(&mut self, at: u64, end: u64) {
        if at >= self.start {
            take_one(&mut self.readers, (at, end));
            take_one(&mut self.ends, end);
        }
    }

    /// What to do at this age.
    pub(super) fn next(&mut self, age: Duration) -> Next {
        let (Some(tail), Some(lead)) = (self.tail(), self.lead()) else {
            self.patience.go_on(age);
            return Next::Nobody;
        };
        let wanted = lead.saturating_add(self.ahead()).min(self.target()).saturating_sub(self.reach);
        if wanted == 0 {
            self.patience.go_on(age);
            return Next::Enough;
        }
        let room = self.capacity.saturating_sub(self.reach - self.start);
        let read = (tail.min(self.reach) - self.start) / BLOCK * BLOCK;
        let free = if age < GATHER { room } else { room + read };
        if free > 0 {
            self.patience.go_on(age);
            return Next::Read(wanted.min(free));
        }
        match self.patience.hold(age) {
            _ if age < GATHER => Next::Hold(GATHER),
            until if until > age => Next::Hold(until),
            _ => {
                self.patience.go_on(age);
                // Whoever stands in the first block falls out.
                Next::Read(wanted.min(BLOCK))
            }
        }
    }

    /// Bytes have come, no more than [`Next::Read`] said. Drops what they need the room of.
    pub(super) fn arrive(&mut self, bytes: u64) {
        self.reach += bytes;
        self.drop_first(self.kept().saturating_sub(self.capacity));
    }

    /// What to ask of upstream when nothing is on its way: as much as anybody wants where a reader waits, else only what
    /// there is room for, so that no connection stands still meanwhile. None: not now.
    pub(super) fn ask(&mut self, age: Duration) -> Option<u64> {
        let Next::Read(most) = self.next(age) else { return None };
        if self.lead()? >= self.reach {
            return Some(self.target());
        }
        let worth_it = most >= self.ahead() / 2 || self.reach + most == self.target();
        worth_it.then_some(self.reach + most)
    }

    /// Whether the fastest reader has less than half of what it may have before it.
    pub(super) fn is_short(&self) -> bool {
        self.lead().is_some_and(|lead| self.reach.saturating_sub(lead) <= self.ahead() / 2)
    }

    /// Keeps no more than `capacity` from now on, or no more than what its readers still need.
    pub(super) fn fit(&mut self, capacity: u64) {
        let read = (self.tail().map_or(self.reach, |tail| tail.min(self.reach)) - self.start) / BLOCK * BLOCK;
        self.drop_first(self.kept().saturating_sub(capacity).min(read));
        self.capacity = capacity.max(self.kept());
    }

    /// How far the fastest reader is read ahead of: half of the window, the other half is for who comes behind it.
    fn ahead(&self) -> u64 {
        self.capacity / 2
    }

    fn tail(&self) -> Option<u64> {
        self.readers.first_key_value().map(|((at, _), _)| *at)
    }

    fn lead(&self) -> Option<u64> {
        self.readers.last_key_value().map(|((at, _), _)| *at)
    }

    fn drop_first(&mut self, bytes: u64) {
        self.start += bytes;
        while let Some(first) = self.readers.first_entry().filter(|first| first.key().0 < self.start) {
            let ((_, end), count) = first.remove_entry();
            (0..count).for_each(|_| take_one(&mut self.ends, end));
        }
    }
}

fn take_one<K: Ord>(counts: &mut BTreeMap<K, usize>, key: K) {
    if let Some(count) = counts.get_mut(&key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
