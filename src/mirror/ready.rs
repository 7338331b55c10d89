//! What tags stand for, as it was last answered: the short way of a hit.
//!
//! Nearly all pulls of a fleet ask for the same tags, and the answer to one is decided from what the store, what was
//! learned lately, the policy and the clock say. So an answer is kept with the state that it was decided from, and given
//! again as long as that state is the same: nothing in the store changed, nothing was learned, the upstream is configured as
//! it was, and the tag's time is not over. Whatever changes, the long way decides anew; nobody has to say what a change was
//! about.
//!
//! Kept is only what the memory tier has too, and only small manifests, so that this adds little to its budget. What shares a
//! full place is given up in turn: what is lost here costs the long way once.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, SystemTime};

use crate::oci::{Repository, Tag};

use super::answer::ManifestAnswer;
use super::site::{Mirror, Site, Sites, Target};

/// The largest manifest that is kept.
const LARGEST: usize = 16 << 10;

/// How many answers share a place.
const WAYS: usize = 8;

/// How many bytes of manifests they may have together.
const OF_A_SET: usize = 2 * LARGEST;

/// How many places there are at the most.
const MOST_SETS: u64 = 1024;

/// What an answer was decided from, as far as that changes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AsOf {
    store: u64,
    recent: u64,
}

/// Until when something is served without a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fresh {
    Always,
    For(SystemTime, Duration),
}

impl Fresh {
    fn holds(self, now: SystemTime) -> bool {
        match self {
            Self::Always => true,
            Self::For(since, time) => now.duration_since(since).is_ok_and(|age| age < time),
        }
    }
}

/// An answer that can be given again as long as it holds.
#[derive(Clone, Debug)]
pub struct AtHand(Arc<Answer>);

/// The configuration of a moment.
#[derive(Clone, Debug)]
pub struct Configured(Weak<Sites>);

/// Answers at hand.
#[derive(Debug)]
pub(super) struct Ready {
    sets: Box<[Mutex<Set>]>,
}

#[derive(Debug, Default)]
struct Set {
    answers: [Option<Arc<Answer>>; WAYS],
    /// Which of them goes next.
    next: usize,
}

#[derive(Debug)]
struct Answer {
    /// Not held: what is configured no more is to go.
    site: Weak<Site>,
    repository: Repository,
    tag: Tag,
    as_of: AsOf,
    fresh: Fresh,
    manifest: ManifestAnswer,
}

impl Answer {
    fn is_of(&self, target: &Target, tag: &Tag) -> bool {
        std::ptr::eq(self.site.as_ptr(), Arc::as_ptr(&target.site))
            && self.repository == target.repository
            && self.tag == *tag
    }
}

impl Ready {
    /// Nothing yet. All together may take no more than this.
    pub(super) fn new(max_bytes: u64) -> Self {
        let sets = (max_bytes / OF_A_SET as u64).min(MOST_SETS);
        Self { sets: (0..sets).map(|_| Mutex::default()).collect() }
    }

    fn set(&self, target: &Target, tag: &Tag) -> Option<&Mutex<Set>> {
        let mut hasher = DefaultHasher::new();
        (Arc::as_ptr(&target.site).addr(), target.repository.as_str(), tag.as_str()).hash(&mut hasher);
        let sets = self.sets.len() as u64;
        self.sets.get(usize::try_from(hasher.finish().checked_rem(sets)?).ok()?)
    }

    fn get(&self, target: &Target, tag: &Tag) -> Option<Arc<Answer>> {
        let set = self.set(target, tag)?.lock().unwrap_or_else(PoisonError::into_inner);
        set.answers.iter().flatten().find(|answer| answer.is_of(target, tag)).cloned()
    }

    fn put(&self, target: &Target, tag: &Tag, answer: Answer) {
        let Some(set) = self.set(target, tag) else { return };
        let mut set = set.lock().unwrap_or_else(PoisonError::into_inner);
        let known =
            set.answers.iter().position(|kept| kept.as_ref().is_some_and(|kept| kept.is_of(target, tag)));
        let given_up = set.put(known, Arc::new(answer));
        drop(set);
        drop(given_up);
    }
}

impl Set {
    /// Keeps an answer in the place of its former one, or in an empty one, or in that of the one whose turn it is to go; others
    /// go in turn until there is room for its bytes. Those that go.
    fn put(&mut self, known: Option<usize>, answer: Arc<Answer>) -> Vec<Arc<Answer>> {
        debug_assert!(answer.manifest.bytes.len() <= OF_A_SET, "one alone has room");
        let empty = || self.answers.iter().position(Option::is_none);
        let place = known.or_else(empty).unwrap_or_else(|| self.turn());
        let mut given_up: Vec<Arc<Answer>> = self.answers[place].replace(answer).into_iter().collect();
        while self.bytes() > OF_A_SET {
            let next = self.turn();
            if next != place {
                given_up.extend(self.answers[next].take());
            }
        }
        given_up
    }

    fn turn(&mut self) -> usize {
        self.next = (self.next + 1) % WAYS;
        self.next
    }

    fn bytes(&self) -> usize {
        self.answers.iter().flatten().map(|answer| answer.manifest.bytes.len()).sum()
    }
}

impl AtHand {
    /// What is answered.
    pub fn manifest(&self) -> &ManifestAnswer {
        &self.0.manifest
    }
}

impl Mirror {
    /// What answers are decided from now.
    pub(super) fn as_of(&self) -> AsOf {
        AsOf { store: self.store().version(), recent: self.recent().version() }
    }

    /// What a tag stands for, if that was answered before and nothing has changed since.
    pub(super) fn ready(&self, target: &Target, tag: &Tag) -> Option<ManifestAnswer> {
        let answer = self.answers().get(target, tag)?;
        self.holds(&answer).then(|| answer.manifest.clone())
    }

    /// Whether an answer would be given again. It counts as used, then.
    fn holds(&self, answer: &Answer) -> bool {
        answer.fresh.holds(self.now())
            && answer.as_of.recent == self.recent().version()
            && self.store().touch_as_of(answer.as_of.store, &answer.manifest.digest)
    }

    /// Whether any answer is kept.
    pub fn keeps_answers(&self) -> bool {
        !self.answers().sets.is_empty()
    }

    /// The answer that is given again for a tag.
    pub fn at_hand(&self, target: &Target, tag: &Tag) -> Option<AtHand> {
        self.answers().get(target, tag).map(AtHand)
    }

    /// How it is configured now.
    pub fn configured(&self) -> Configured {
        Configured(Arc::downgrade(&self.sites()))
    }

    /// An answer from before, if it still holds, and it is configured as it was then. It counts as used.
    pub fn still<'a>(
        &self,
        AtHand(answer): &'a AtHand,
        configured: &Configured,
    ) -> Option<&'a ManifestAnswer> {
        let is_the_same = std::ptr::eq(configured.0.as_ptr(), Arc::as_ptr(&self.sites()));
        (is_the_same && self.holds(answer)).then_some(&answer.manifest)
    }

    /// Keeps what was answered, decided from the state of that moment.
    pub(super) fn is_ready(
        &self,
        target: &Target,
        tag: &Tag,
        as_of: AsOf,
        fresh: Fresh,
        manifest: &ManifestAnswer,
    ) {
        // Elsewhere there is more to decide: whether an image is whole, or whether the disk still has it.
        let is_simple = !target.site.policy().complete_only
            && manifest.bytes.len() <= LARGEST
            && self.memory().has_manifest(&manifest.digest)
            && self.store().has_manifest(&manifest.digest)
            && self.as_of() == as_of;
        if is_simple {
            let (site, repository) = (Arc::downgrade(&target.site), target.repository.clone());
            let answer =
                Answer { site, repository, tag: tag.clone(), as_of, fresh, manifest: manifest.clone() };
            self.answers().put(target, tag, answer);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::oci::{Algorithm, Digest};

    fn answer(len: usize) -> Arc<Answer> {
        let bytes = Bytes::from(vec![0; len]);
        let manifest = ManifestAnswer {
            digest: Digest::of(Algorithm::Sha256, &bytes),
            media_type: "application/json".into(),
            bytes,
        };
        Arc::new(Answer {
            site: Weak::new(),
            repository: "library/a".parse().unwrap(),
            tag: "1".parse().unwrap(),
            as_of: AsOf { store: 0, recent: 0 },
            fresh: Fresh::Always,
            manifest,
        })
    }

    #[test]
    fn answers_that_share_a_place_have_a_number_and_a_size_at_the_most() {
        for (sizes, kept, why) in [
            (&[100; WAYS][..], WAYS, "as many as there are ways"),
            (&[100; WAYS + 3], WAYS, "then one goes for each that comes"),
            (&[LARGEST; 2], 2, "as much as there may be"),
            (&[LARGEST; 5], 2, "then as many go as make room"),
            (&[LARGEST, 1, LARGEST], 2, "those go whose turn it is"),
            (&[1, 1, 1, LARGEST, LARGEST], 2, "all that are in the way"),
        ] {
            let mut set = Set::default();
            let mut gone = 0;
            for len in sizes {
                gone += set.put(None, answer(*len)).len();
                assert!(set.bytes() <= OF_A_SET, "{why}");
                let last = set.answers.iter().flatten().any(|kept| kept.manifest.bytes.len() == *len);
                assert!(last, "{why}: what came last is there");
            }
            let left = set.answers.iter().flatten().count();
            assert_eq!((left, gone), (kept, sizes.len() - kept), "{why}");
        }
    }

    #[test]
    fn an_answer_takes_the_place_of_its_former_one() {
        let mut set = Set::default();
        set.put(None, answer(7));
        let place = set.answers.iter().position(Option::is_some);
        assert_eq!(set.put(place, answer(9)).len(), 1);
        assert_eq!((set.bytes(), set.answers.iter().flatten().count()), (9, 1));
    }
}
