//! The tables by number, against plain maps of digests.

use super::digests::{Digests, Id};
use super::recent::Recent;
use super::sets::Sets;
use super::*;
use crate::oci::Algorithm;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn digest(number: u8) -> Digest {
    let algorithm = if number.is_multiple_of(5) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    Digest::of(algorithm, &[number])
}

fn link(number: u8, size: u64) -> Link {
    let platform = (number.is_multiple_of(3)).then(|| format!("linux/{number}"));
    Link { digest: digest(number), size, platform, role: Role::Part }
}

fn blob(size: u64, accessed: Millis) -> BlobEntry {
    BlobEntry { size, inode: size + 1, mtime: -5, anonymous: size.is_multiple_of(2), accessed }
}

fn manifest(links: &[u8], subject: Option<u8>, accessed: Millis) -> ManifestEntry {
    let (children, blobs): (Vec<u8>, Vec<u8>) = links.iter().partition(|number| **number < 4);
    let links = |numbers: Vec<u8>| numbers.into_iter().map(|number| link(number, accessed)).collect();
    let artifact_type = (accessed.is_multiple_of(2)).then(|| "x/y".to_owned());
    let subject = subject.map(digest);
    let graph = Graph { children: links(children), blobs: links(blobs), subject, artifact_type };
    let media_type =
        if accessed.is_multiple_of(3) { "m/t" } else { "application/vnd.oci.image.index.v1+json" };
    ManifestEntry {
        media_type: media_type.to_owned(),
        size: 7,
        anonymous: accessed.is_multiple_of(2),
        graph,
        accessed,
    }
}

/// What a model should hold, in maps; lists of use have the most recent last.
#[derive(Debug, Default)]
struct Plain {
    blobs: Vec<(Digest, BlobEntry)>,
    manifests: Vec<(Digest, ManifestEntry)>,
    members: BTreeMap<Digest, BTreeSet<RepoId>>,
}

fn take<T>(list: &mut Vec<(Digest, T)>, digest: &Digest) -> Option<T> {
    let at = list.iter().position(|(known, _)| known == digest)?;
    Some(list.remove(at).1)
}

impl Plain {
    fn parents(&self, digest: &Digest) -> BTreeSet<Digest> {
        let naming =
            self.manifests.iter().filter(|(_, entry)| entry.graph.links().any(|link| link.digest == *digest));
        naming.map(|(parent, _)| parent.clone()).collect()
    }

    fn referrers(&self, digest: &Digest) -> BTreeSet<Digest> {
        let about = self.manifests.iter().filter(|(_, entry)| entry.graph.subject.as_ref() == Some(digest));
        about.map(|(referrer, _)| referrer.clone()).collect()
    }

    /// As [`Model::drop_idle_membership`].
    fn drop_idle(&mut self, digest: &Digest) {
        let here = self.blobs.iter().any(|(known, _)| known == digest)
            || self.manifests.iter().any(|(known, _)| known == digest)
            || !self.parents(digest).is_empty();
        if !here {
            self.members.remove(digest);
        }
    }

    fn put_manifest(&mut self, digest: &Digest, entry: ManifestEntry) {
        let entry = match take(&mut self.manifests, digest) {
            Some(known) => ManifestEntry {
                accessed: known.accessed.max(entry.accessed),
                anonymous: known.anonymous || entry.anonymous,
                ..known
            },
            None => entry,
        };
        self.manifests.push((digest.clone(), entry));
    }

    fn remove_manifest(&mut self, digest: &Digest) {
        let Some(entry) = take(&mut self.manifests, digest) else { return };
        for link in entry.graph.links() {
            self.drop_idle(&link.digest);
        }
    }

    fn assert_is(&self, model: &Model) {
        let blobs: Vec<_> = model.blobs().rev().map(|(digest, entry)| (digest.clone(), entry)).collect();
        assert_eq!(blobs, self.blobs);
        let manifests = model.manifests().rev();
        let manifests: Vec<_> =
            manifests.map(|(digest, manifest)| (digest.clone(), manifest.entry())).collect();
        assert_eq!(manifests, self.manifests);
        assert_eq!((model.blob_count(), model.manifest_count()), (blobs.len(), manifests.len()));
        let members =
            model.members().map(|(digest, repos)| (digest.clone(), repos.iter().copied().collect()));
        assert_eq!(members.collect::<BTreeMap<_, _>>(), self.members);
        let mut known = 0;
        for digest in (0..=u8::MAX).map(digest) {
            assert_eq!(model.parents_of(&digest).cloned().collect::<BTreeSet<_>>(), self.parents(&digest));
            assert_eq!(
                model.referrers_of(&digest).cloned().collect::<BTreeSet<_>>(),
                self.referrers(&digest)
            );
            let is_blob = self.blobs.iter().any(|(known, _)| *known == digest);
            let is_manifest = self.manifests.iter().any(|(known, _)| *known == digest);
            assert_eq!((model.has_blob(&digest), model.has_manifest(&digest)), (is_blob, is_manifest));
            let is_known = is_blob
                || is_manifest
                || self.members.contains_key(&digest)
                || !self.parents(&digest).is_empty()
                || !self.referrers(&digest).is_empty();
            // Nothing has a number that nothing is known of: what is remembered is bounded by what is here.
            assert_eq!(model.id(&digest).is_some(), is_known, "{digest}");
            known += usize::from(is_known);
        }
        assert_eq!(model.digests.ids().count(), known);
    }
}

proptest! {
    #[test]
    fn the_model_knows_what_plain_maps_would(
        steps in proptest::collection::vec(
            (0_u8..9, 0_u8..24, proptest::collection::vec(0_u8..24, 0..5), proptest::option::of(0_u8..24)), 1..120),
    ) {
        let (mut model, mut plain) = (Model::new(), Plain::default());
        let repos = ["a", "b", "c"].map(|name| model.intern("docker.io", &name.parse().unwrap()));
        for (time, (step, number, links, subject)) in steps.into_iter().enumerate() {
            let (digest, time, repo) = (digest(number), time as Millis, repos[time % 3]);
            match step {
                0 | 1 => {
                    let entry = blob(u64::from(number), time);
                    model.insert_blob(&digest, entry);
                    take(&mut plain.blobs, &digest);
                    plain.blobs.push((digest.clone(), entry));
                }
                2 => {
                    let former = model.remove_blob(&digest);
                    let expected = take(&mut plain.blobs, &digest);
                    prop_assert_eq!(former, expected);
                    if former.is_some() {
                        plain.drop_idle(&digest);
                    }
                }
                3 | 4 => {
                    let entry = manifest(&links, subject, time);
                    model.insert_manifest(&digest, entry.clone());
                    plain.put_manifest(&digest, entry);
                }
                5 => {
                    let expected = plain.manifests.iter().find(|(known, _)| *known == digest);
                    let expected = expected.map(|(_, entry)| entry.clone());
                    prop_assert_eq!(model.remove_manifest(&digest), expected);
                    plain.remove_manifest(&digest);
                }
                6 | 7 => {
                    model.add_member(repo, &digest);
                    plain.members.entry(digest).or_default().insert(repo);
                }
                _ => {
                    model.remove_member(repo, &digest);
                    if let Some(repos) = plain.members.get_mut(&digest) {
                        repos.remove(&repo);
                    }
                    plain.members.retain(|_, repos| !repos.is_empty());
                }
            }
            plain.assert_is(&model);
        }
        let space = |entry: &BlobEntry| entry.space();
        prop_assert_eq!(model.ledger.blobs, plain.blobs.iter().map(|(_, entry)| space(entry)).sum::<u64>());
        let manifests = plain.manifests.len() as u64 * ManifestEntry::space_for(7);
        prop_assert_eq!(model.ledger.manifests, manifests);
    }

    #[test]
    fn numbers_are_found_taken_back_and_given_again(
        steps in proptest::collection::vec((any::<bool>(), 0_u8..40), 1..200),
    ) {
        let (mut digests, mut plain) = (Digests::default(), BTreeMap::<u8, Id>::new());
        let mut most = 0;
        for (is_new, number) in steps {
            if is_new {
                let id = digests.intern(&digest(number));
                prop_assert_eq!(*plain.entry(number).or_insert(id), id);
            } else if let Some(id) = plain.remove(&number) {
                digests.release(id);
                digests.release(id);
            }
            most = most.max(plain.len());
            for number in 0..40 {
                prop_assert_eq!(digests.find(&digest(number)), plain.get(&number).copied());
            }
            for (number, id) in &plain {
                prop_assert_eq!(digests.get(*id), &digest(*number));
            }
            prop_assert_eq!(digests.ids().collect::<BTreeSet<_>>(), plain.values().copied().collect());
            prop_assert!(digests.places() <= most);
            let all: Vec<Digest> = (0..40).map(digest).collect();
            let expected: Vec<_> = (0..40).map(|number| plain.get(&number).copied()).collect();
            prop_assert_eq!(digests.find_all(&all), expected);
        }
    }

    #[test]
    fn sets_are_sets(
        steps in proptest::collection::vec((0_u8..8, 0_u32..4, 0_u32..6), 1..200),
    ) {
        let (mut sets, mut plain) = (Sets::default(), BTreeMap::<u32, BTreeSet<u32>>::new());
        for (step, of, element) in steps {
            let (id, of) = (Id::from_raw(of), plain.entry(of).or_default());
            match step {
                0..5 => prop_assert_eq!(sets.insert(id, element), of.insert(element)),
                5..7 => prop_assert_eq!(sets.remove(id, element), of.remove(&element)),
                _ => prop_assert_eq!(sets.take(id), std::mem::take(of).into_iter().collect::<Vec<_>>()),
            }
            for (of, elements) in &plain {
                let (id, expected) = (Id::from_raw(*of), elements.iter().copied().collect::<Vec<_>>());
                prop_assert_eq!(sets.get(id), expected);
                prop_assert_eq!(sets.is_empty(id), elements.is_empty());
                prop_assert!((0..6).all(|element| sets.contains(id, element) == elements.contains(&element)));
            }
        }
    }

    #[test]
    fn values_are_in_the_order_of_their_use(
        steps in proptest::collection::vec((0_u8..6, 0_u32..12, 0_u64..9), 1..200),
    ) {
        let (mut recent, mut plain) = (Recent::default(), Vec::<(u32, u64)>::new());
        for (step, number, value) in steps {
            let id = Id::from_raw(number);
            let at = plain.iter().position(|(known, _)| *known == number);
            let former = at.map(|at| plain[at].1);
            match step {
                0..2 => {
                    prop_assert_eq!(recent.insert(id, value), former);
                    at.map(|at| plain.remove(at));
                    plain.push((number, value));
                }
                2 => {
                    prop_assert_eq!(recent.use_mut(id).copied(), former);
                    let used = at.map(|at| plain.remove(at));
                    plain.extend(used);
                }
                3 => {
                    prop_assert_eq!(recent.remove(id), former);
                    at.map(|at| plain.remove(at));
                }
                4 => {
                    prop_assert_eq!(recent.get_mut(id).map(|known| std::mem::replace(known, value)), former);
                    if let Some(at) = at {
                        plain[at].1 = value;
                    }
                }
                _ => {
                    recent.order_by(|value| *value);
                    let before: Vec<_> = recent.iter().rev().map(|(id, value)| (id.raw(), *value)).collect();
                    prop_assert!(before.is_sorted_by_key(|(_, value)| *value));
                    plain.sort_by_key(|(id, _)| before.iter().position(|(known, _)| known == id));
                }
            }
            let list = || recent.iter().map(|(id, value)| (id.raw(), *value));
            prop_assert_eq!(list().rev().collect::<Vec<_>>(), plain.clone());
            prop_assert!(list().eq(plain.iter().rev().copied()));
            prop_assert_eq!(recent.len(), plain.len());
            prop_assert_eq!(recent.get(id).copied(), plain.iter().find(|(known, _)| *known == number).map(|(_, value)| *value));
            prop_assert_eq!(recent.contains(id), recent.get(id).is_some());
        }
    }
}

#[test]
fn many_are_given_numbers_at_once_and_the_same_one_twice() {
    let mut digests = Digests::default();
    let many: Vec<Digest> = (0..=u8::MAX).chain(0..9).map(digest).collect();
    let ids = digests.intern_all(&many);
    assert_eq!(ids[..9], ids[256..]);
    assert_eq!(digests.intern_all(&many), ids);
    assert!(many.iter().zip(&ids).all(|(digest, id)| digests.get(*id) == digest));
    assert_eq!(digests.ids().count(), 256);
}

/// What comes from the index in any order is as if it had been entered in the order of use.
#[test]
fn a_model_that_is_restored_is_in_the_order_of_use() {
    let mut model = Model::new();
    model.expect(3, 2);
    let blobs = [(11, 5), (12, 3), (13, 4)];
    model.restore_blobs(&blobs.map(|(number, accessed)| (digest(number), blob(u64::from(number), accessed))));
    for (number, accessed) in [(1, 8), (2, 7)] {
        model.restore_manifest(&digest(number), manifest(&[11, 12], None, accessed));
    }
    model.restored();
    let order: Vec<_> = model.blobs().map(|(digest, _)| digest.clone()).collect();
    assert_eq!(order, [11, 13, 12].map(digest));
    let order: Vec<_> = model.manifests().map(|(digest, _)| digest.clone()).collect();
    assert_eq!(order, [1, 2].map(digest));
    assert_eq!(model.parents_of(&digest(11)).count(), 2);
    assert!(model.dirty.is_empty());
    assert!(model.ledger.blobs > 0 && model.ledger.manifests > 0);
}
