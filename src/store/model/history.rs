//! What tags have stood for: each change that the mirror has seen, as far as it is kept.

use super::{Bound, Millis, Model, RepoId};
use crate::oci::{Digest, Tag};
use std::collections::HashMap;

/// So many changes of one tag are kept, beside what it stands for now.
const MOST_OF_A_TAG: usize = 32;
/// So many of all tags; when there are more, the oldest quarter is forgotten.
const MOST: usize = 1 << 16;

/// What tags stood for before, by tag, the oldest first, with the time when that began.
#[derive(Debug, Default)]
pub(in crate::store) struct History {
    former: HashMap<(RepoId, Tag), Vec<(Digest, Millis)>>,
    entries: usize,
}

impl History {
    fn push(&mut self, key: (RepoId, Tag), digest: Digest, since: Millis) {
        let former = self.former.entry(key).or_default();
        former.push((digest, since));
        self.entries += 1;
        if former.len() > MOST_OF_A_TAG {
            former.remove(0);
            self.entries -= 1;
        }
    }

    /// Takes back the last that a tag stood for, if it was this.
    fn take_last(&mut self, key: &(RepoId, Tag), digest: &Digest) -> Option<Millis> {
        let former = self.former.get_mut(key)?;
        let (_, since) = former.pop_if(|(last, _)| last == digest)?;
        self.entries -= 1;
        if former.is_empty() {
            self.former.remove(key);
        }
        Some(since)
    }

    pub(in crate::store) fn keys(&self) -> impl Iterator<Item = &(RepoId, Tag)> {
        self.former.keys()
    }
}

impl Model {
    /// All that a tag is known to have stood for, the oldest first, and what it stands for now at the end.
    pub(in crate::store) fn changes_of(&self, repo: RepoId, tag: &Tag) -> Vec<(Digest, Millis)> {
        let former = self.history.former.get(&(repo, tag.clone())).into_iter().flatten().cloned();
        let bound = self.bindings.get(&repo).and_then(|tags| tags.get(tag));
        former.chain(bound.map(|bound| (bound.digest.clone(), bound.since))).collect()
    }

    /// A tag no longer stands for what it did.
    pub(super) fn note_former(&mut self, repo: RepoId, tag: &Tag, former: &Bound) {
        let key = (repo, tag.clone());
        self.history.push(key.clone(), former.digest.clone(), former.since);
        self.dirty.history.insert(key);
        if self.history.entries > MOST {
            self.forget_old_changes();
        }
    }

    /// Since when a tag stands for what it is bound to now, which it was not a moment ago.
    pub(super) fn since(&mut self, repo: RepoId, tag: &Tag, digest: &Digest, now: Millis) -> Millis {
        let key = (repo, tag.clone());
        // It may have been forgotten meanwhile, and not have changed.
        let since = self.history.take_last(&key, digest).unwrap_or(now);
        self.dirty.history.insert(key);
        since
    }

    /// Takes what the index has of a tag.
    pub(in crate::store) fn restore_changes(
        &mut self,
        repo: RepoId,
        tag: &Tag,
        mut changes: Vec<(Digest, Millis)>,
    ) {
        if let Some(bound) = self.bindings.get_mut(&repo).and_then(|tags| tags.get_mut(tag))
            && let Some((_, since)) = changes.pop_if(|(last, _)| *last == bound.digest)
        {
            bound.since = since;
        }
        for (digest, since) in changes {
            self.history.push((repo, tag.clone()), digest, since);
        }
    }

    fn forget_old_changes(&mut self) {
        let mut times: Vec<Millis> =
            self.history.former.values().flatten().map(|(_, since)| *since).collect();
        let (_, &mut oldest, _) = times.select_nth_unstable(MOST / 4);
        let (history, dirty) = (&mut self.history, &mut self.dirty.history);
        history.former.retain(|key, former| {
            let before = former.len();
            former.retain(|(_, since)| *since > oldest);
            history.entries -= before - former.len();
            if former.len() < before {
                dirty.insert(key.clone());
            }
            !former.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    fn digest(number: usize) -> Digest {
        Digest::of(Algorithm::Sha256, number.to_string().as_bytes())
    }

    fn numbers(model: &Model, repo: RepoId, tag: &Tag) -> Vec<Millis> {
        let changes = model.changes_of(repo, tag);
        assert!(
            changes.iter().all(|(digest, since)| *digest == self::digest(usize::try_from(*since).unwrap()))
        );
        changes.into_iter().map(|(_, since)| since).collect()
    }

    fn model() -> (Model, RepoId, Tag) {
        let mut model = Model::new();
        let repo = model.intern("docker.io", &"a".parse().unwrap());
        (model, repo, "t".parse().unwrap())
    }

    #[test]
    fn a_change_is_another_digest_and_not_another_confirmation() {
        let (mut model, repo, tag) = model();
        model.bind(repo, &tag, &digest(1), 1);
        model.bind(repo, &tag, &digest(1), 50);
        model.bind(repo, &tag, &digest(60), 60);
        model.unbind(repo, &tag);
        assert_eq!(numbers(&model, repo, &tag), [1, 60]);
        // It was away for a while, and is what it was.
        model.bind(repo, &tag, &digest(60), 80);
        assert_eq!(numbers(&model, repo, &tag), [1, 60]);
        model.unbind(repo, &tag);
        model.bind(repo, &tag, &digest(90), 90);
        assert_eq!(numbers(&model, repo, &tag), [1, 60, 90]);
    }

    #[test]
    fn the_oldest_are_forgotten_of_a_tag_and_of_all() {
        let (mut model, repo, tag) = model();
        for number in 0..100_usize {
            model.bind(repo, &tag, &digest(number), number as Millis);
        }
        let expected: Vec<Millis> = (67..100).collect();
        assert_eq!(numbers(&model, repo, &tag), expected);

        let (digests, mut time) = ([digest(0), digest(1)], 0);
        for tag in 0..MOST / 8 {
            let tag: Tag = format!("t{tag}").parse().unwrap();
            for round in 0..10 {
                time += 1;
                model.bind(repo, &tag, &digests[round % 2], time);
            }
        }
        let kept: usize = model.history.former.values().map(Vec::len).sum();
        assert_eq!(kept, model.history.entries);
        assert!((MOST / 2..=MOST).contains(&kept), "{kept}");
        assert!(model.changes_of(repo, &"t0".parse().unwrap()).len() == 1);
        let last: Tag = format!("t{}", MOST / 8 - 1).parse().unwrap();
        assert_eq!(model.changes_of(repo, &last).len(), 10);
    }
}
