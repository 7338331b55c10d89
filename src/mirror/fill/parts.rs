//! The parts of one answer that its reader has not come to yet: a few of them are wanted before he does, so that many small
//! ranges of a blob that is not here do not cost a round trip each, one after the other.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::answer::Wanted;
use super::wants::{Client, Want};

/// How many parts are wanted ahead of the one that is read: more than any fill has connections.
const AHEAD: usize = 16;

/// What is still to be read of an answer in parts; nothing of one in a single part.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Parts(Mutex<Coming>);

#[derive(Debug, Default)]
struct Coming {
    client: Option<Arc<Client>>,
    later: VecDeque<(u64, u64)>,
    /// The next ones, in the order in which they are read.
    soon: VecDeque<Soon>,
}

#[derive(Debug)]
struct Soon {
    start: u64,
    _want: Want,
}

impl Parts {
    /// What a client asks for, as far as it can be told before the size is known: otherwise whatever reads ahead would have
    /// taken the connections by then.
    pub(in crate::mirror) fn asked(client: &Arc<Client>, wanted: &Wanted) -> Self {
        let parts = Self(Mutex::new(Coming { client: Some(Arc::clone(client)), ..Coming::default() }));
        if let Wanted::Several(ranges) = wanted {
            parts.expect(ranges.iter().map(|&(first, last)| (first, last.saturating_add(1))));
        }
        parts
    }

    /// These are read one after the other, from a start to an end each, and nothing else.
    pub(in crate::mirror) fn expect(&self, parts: impl Iterator<Item = (u64, u64)>) {
        let mut coming = self.coming();
        coming.later = parts.collect();
        // The new ones come before the old ones go, so that no plan finds none.
        let old = std::mem::take(&mut coming.soon);
        coming.look_ahead();
        drop(coming);
        drop(old);
    }

    /// The one from `start` on is being read, and wanted by its reader from now on.
    pub(in crate::mirror) fn begin(&self, start: u64) {
        let mut coming = self.coming();
        if let Some(at) = coming.soon.iter().position(|soon| soon.start == start) {
            coming.soon.drain(..=at);
            coming.look_ahead();
        }
    }

    fn coming(&self) -> MutexGuard<'_, Coming> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Coming {
    fn look_ahead(&mut self) {
        let Some(client) = &self.client else { return };
        while self.soon.len() < AHEAD
            && let Some((start, end)) = self.later.pop_front()
        {
            self.soon.push_back(Soon { start, _want: client.wants_later(start, end) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wants::Wants;
    use super::*;

    fn places(wants: &Wants) -> Vec<u64> {
        wants.snapshot().iter().map(|want| want.position).collect()
    }

    #[test]
    fn t46_sixteen_parts_are_wanted_ahead_of_the_one_that_is_read() {
        let wants = Arc::new(Wants::default());
        let client = Wants::client(&wants, false).unwrap();
        let parts = Parts::asked(&client, &Wanted::Several((0..40).map(|n| (n * 10, n * 10 + 4)).collect()));
        let all: Vec<u64> = (0..40).map(|n| n * 10).collect();
        assert_eq!(places(&wants), all[..AHEAD]);
        assert!(wants.looks_ahead());
        for read in 0..40 {
            parts.begin(all[read]);
            assert_eq!(places(&wants), all[read + 1..(read + 1 + AHEAD).min(40)], "when {read} is read");
        }
        assert!(!wants.looks_ahead());
    }

    #[test]
    fn t46_what_is_told_when_the_size_is_known_takes_the_place_of_what_was_asked() {
        let wants = Arc::new(Wants::default());
        let client = Wants::client(&wants, false).unwrap();
        let parts = Parts::asked(&client, &Wanted::Several(vec![(7, 9), (50, u64::MAX)]));
        assert_eq!(places(&wants), [7, 50]);
        parts.expect([(7, 10), (95, 100), (50, 100)].into_iter());
        assert_eq!(places(&wants), [7, 95, 50]);
        parts.begin(7);
        parts.begin(8);
        assert_eq!(places(&wants), [95, 50], "what nobody has told of changes nothing");
        drop(parts);
        assert!(places(&wants).is_empty() && !wants.looks_ahead());
    }

    #[test]
    fn of_an_answer_in_one_part_nothing_is_wanted_ahead() {
        let wants = Arc::new(Wants::default());
        let client = Wants::client(&wants, false).unwrap();
        for wanted in
            [Wanted::Whole, Wanted::From(5), Wanted::Closed { first: 1, last: 2 }, Wanted::Suffix(3)]
        {
            let _parts = Parts::asked(&client, &wanted);
            assert!(places(&wants).is_empty(), "{wanted:?}");
        }
    }
}
