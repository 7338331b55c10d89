//! What is known of a list that is brought in again and again, from all of its runs.
//!
//! A run while an upstream is away confirms nothing of what is of that upstream; what the last one found that asked it
//! stands. So an outage does not make images incomplete that are here, nor whole those that are not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use super::tally::{Verdict, Warmed};

/// What the runs have shown.
#[derive(Clone, Debug, Default)]
pub(super) struct Proven {
    /// Each image, and whether something of it was missing.
    images: BTreeMap<String, bool>,
    /// When the last run ended.
    pub(super) ended: Option<SystemTime>,
}

impl Proven {
    /// Takes what a run came to. `was_asked` tells of an image whether its upstream could be asked; `all` that each image of
    /// the list was in the run.
    pub(super) fn take(
        &mut self,
        warmed: &[Arc<Warmed>],
        was_asked: impl Fn(&str) -> bool,
        all: bool,
        ended: SystemTime,
    ) {
        let mut images = BTreeMap::new();
        for warmed in warmed {
            let is_missing = warmed.verdict == Verdict::Missing;
            let before = self.images.get(&warmed.image).copied();
            let is_unknown = is_missing && (warmed.unanswered || !was_asked(&warmed.image));
            let known = if is_unknown { before } else { Some(is_missing) };
            images.insert(warmed.image.clone(), known.unwrap_or(is_missing));
        }
        // What was left out stays; so does what a pattern of an upstream meant that did not list its tags.
        let former = std::mem::take(&mut self.images).into_iter();
        let stays = former.filter(|(image, _)| !images.contains_key(image) && (!all || !was_asked(image)));
        let stays: Vec<_> = stays.collect();
        images.extend(stays);
        (self.images, self.ended) = (images, Some(ended));
    }

    /// How many images are known.
    pub(super) fn images(&self) -> u64 {
        self.images.len() as u64
    }

    /// Of how many of them something was missing.
    pub(super) fn incomplete(&self) -> u64 {
        self.images.values().filter(|is_missing| **is_missing).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(images: &[(&str, Verdict)]) -> Vec<Arc<Warmed>> {
        let warmed = |(image, verdict): &(&str, Verdict)| {
            Arc::new(Warmed { verdict: *verdict, ..Warmed::of((*image).to_owned()) })
        };
        images.iter().map(warmed).collect()
    }

    #[test]
    fn g6_what_nobody_could_be_asked_about_stays_as_it_was_last_proven() {
        use Verdict::{AlreadyHere, Done, Missing};
        let (at, mut proven) = (SystemTime::UNIX_EPOCH, Proven::default());
        let away = |image: &str| !image.starts_with("away");
        let takes = |proven: &mut Proven, warmed: &[(&str, Verdict)], all: bool, is_away: bool| {
            proven.take(&run(warmed), |image| !is_away || away(image), all, at);
            (proven.images(), proven.incomplete())
        };
        let proven = &mut proven;
        assert_eq!(takes(proven, &[("away/a:1", Done), ("here/b:1", Missing)], true, false), (2, 1));
        // Nobody confirms the tag of what is here; what is not here is missing.
        let unconfirmed = [("away/a:1", Missing), ("away/c:1", Missing), ("here/b:1", AlreadyHere)];
        assert_eq!(takes(proven, &unconfirmed, true, true), (3, 1));
        // What is left out altogether stays as it was.
        assert_eq!(takes(proven, &[("here/b:1", Missing)], false, true), (3, 2));
        // What came to be whole without a word counts.
        assert_eq!(takes(proven, &[("away/c:1", AlreadyHere), ("here/b:1", Done)], true, true), (3, 0));
        // A word that did not come says nothing, also where nothing else is known against upstream.
        let warmed = Warmed { verdict: Missing, unanswered: true, ..Warmed::of("here/b:1".to_owned()) };
        proven.take(&[Arc::new(warmed)], |_| true, false, at);
        assert_eq!((proven.images(), proven.incomplete()), (3, 0));
        // What no pattern means any more goes with the next run that asked.
        assert_eq!(takes(proven, &[("away/a:1", Done)], true, false), (1, 0));
    }
}
