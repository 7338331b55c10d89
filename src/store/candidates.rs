//! From what the model knows to the plain values that eviction chooses from, and back.
//!
//! Unfinished blobs that nobody fills are candidates beside the committed ones. They are parts of images that are not
//! whole, no more and no less: one that was left long ago goes before any whole image, one that was left a moment ago,
//! which is most likely gone on with, stays as long as what else was used then.
//!
//! The model is locked meanwhile, so each digest is looked up once, by a hash that is a piece of the digest itself: with
//! 100,000 blobs in 10,000 images a choice takes 23 ms, with a million 0.4 s, and one choice makes room for many blobs.

use super::evict::{Candidate, Image, victims};
use super::model::{Millis, Model};
use crate::oci::Digest;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

/// What is to go.
#[derive(Debug, Default)]
pub(super) struct Choice {
    pub(super) blobs: Vec<Digest>,
    pub(super) left: Vec<Digest>,
    /// The bytes that this frees.
    pub(super) freed: u64,
}

/// Chooses what frees `need` bytes, or as many as can be. What is `held`, by readers or by pins, stays, and so does `own`, for which it is done.
pub(super) fn choose(
    model: &Model,
    held: &HashSet<Digest>,
    own: Option<&Digest>,
    need: u64,
    recent: Millis,
) -> Choice {
    if need == 0 {
        return Choice::default();
    }
    let blobs = model.blobs.iter().rev().map(|(digest, entry)| {
        let held = held.contains(digest);
        (digest, Candidate { size: entry.space(), accessed: entry.accessed, held })
    });
    let left = model.unfinished.iter().filter(|(digest, entry)| !entry.filling && own != Some(*digest));
    let left = left.map(|(digest, entry)| {
        (
            digest,
            Candidate {
                size: entry.counted,
                accessed: entry.left,
                held: entry.is_held() || held.contains(digest),
            },
        )
    });
    let (digests, candidates): (Vec<&Digest>, Vec<Candidate>) = blobs.chain(left).unzip();
    let committed = model.blobs.len();
    let images = images(model, &digests, committed);

    let mut choice = Choice::default();
    for place in victims(&candidates, &images, need, recent) {
        choice.freed += candidates[place].size;
        let list = if place < committed { &mut choice.blobs } else { &mut choice.left };
        list.push(digests[place].clone());
    }
    choice
}

/// The stored images, with the places of their blobs among `digests`, of which the first so many are committed.
fn images(model: &Model, digests: &[&Digest], committed: usize) -> Vec<Image> {
    let mut places: Places<'_> =
        HashMap::with_capacity_and_hasher(digests.len(), BuildHasherDefault::default());
    // A blob that is both, for a moment, is taken for what is committed of it.
    for (place, digest) in digests.iter().enumerate().rev() {
        places.insert(digest, place);
    }
    let manifests = model.manifests.iter().rev().filter(|(_, manifest)| !manifest.graph.blobs.is_empty());
    let images = manifests.map(|(_, manifest)| {
        let links = &manifest.graph.blobs;
        let mut blobs = Vec::with_capacity(links.len());
        let mut whole = true;
        for link in links {
            let place = places.get(&link.digest).copied();
            whole &= place.is_some_and(|place| place < committed);
            blobs.extend(place);
        }
        blobs.sort_unstable();
        blobs.dedup();
        Image { accessed: manifest.accessed, blobs, whole }
    });
    images.collect()
}

type Places<'a> = HashMap<&'a Digest, usize, BuildHasherDefault<Piece>>;

/// Takes eight bytes of a digest for its hash: they are as good as any, and nobody can choose many that are equal.
#[derive(Default)]
struct Piece(u64);

impl Hasher for Piece {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(piece) = bytes.first_chunk() {
            self.0 = u64::from_ne_bytes(*piece);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
