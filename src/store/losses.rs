//! Which images have lost something to make room, for whoever wants to tell it.

use std::collections::VecDeque;

/// So many are remembered.
const MOST: usize = 4096;

/// The images that were whole and are not any more, in their order.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// How many there were in all.
    count: u64,
    last: VecDeque<String>,
}

/// What was evicted since a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The images that were whole then, by their names, each once.
    pub images: Vec<String>,
    /// There were more, and nobody remembers which.
    pub and_more: bool,
}

impl Losses {
    /// A moment, for [`Losses::since`].
    pub(super) fn mark(&self) -> u64 {
        self.count
    }

    pub(super) fn note(&mut self, images: Vec<String>) {
        self.count += images.len() as u64;
        self.last.extend(images);
        let surplus = self.last.len().saturating_sub(MOST);
        self.last.drain(..surplus);
    }

    /// What was noted since that moment. One of another process, or in the future, is the beginning.
    pub(super) fn since(&self, mark: u64) -> Lost {
        let wanted = self.count.checked_sub(mark).unwrap_or(self.count);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let kept = self.last.len();
        let mut images: Vec<_> = self.last.iter().skip(kept.saturating_sub(wanted)).cloned().collect();
        images.sort();
        images.dedup();
        Lost { images, and_more: wanted > kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_lost_since_a_moment_is_told_each_once_as_far_as_it_is_remembered() {
        let mut losses = Losses::default();
        let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
        losses.note(names(&["a"]));
        let mark = losses.mark();
        assert_eq!(losses.since(mark), Lost::default());
        losses.note(names(&["c", "b", "c"]));
        assert_eq!(losses.since(mark), Lost { images: names(&["b", "c"]), and_more: false });
        // The moment is of a process that is gone.
        assert_eq!(losses.since(9).images, names(&["a", "b", "c"]));
        losses.note((0..MOST).map(|number| format!("many{number}")).collect());
        let lost = losses.since(mark);
        assert_eq!((lost.images.len(), lost.and_more), (MOST, true));
    }
}
