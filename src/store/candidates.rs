//! From what the model knows to the plain values that eviction chooses from, and back.
//!
//! Unfinished blobs that nobody fills are candidates beside the committed ones. They are parts of images that are not
//! whole, no more and no less: one that was left long ago goes before any whole image, one that was left a moment ago,
//! which is most likely gone on with, stays as long as what else was used then.
//!
//! The model is locked meanwhile, so nothing is looked up by digest; and one choice makes room for many blobs.

use super::evict::{Candidate, Image, victims};
use super::model::{Id, Millis, Model};
use crate::oci::Digest;
use std::collections::HashSet;

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
    let mut places = Places::new(model);
    let mut candidates = Vec::with_capacity(model.blob_count());
    let mut committed = Vec::with_capacity(model.blob_count());
    for (id, entry) in model.blobs_by_id().rev() {
        places.put(id, candidates.len());
        candidates.push(Candidate { size: entry.space(), accessed: entry.accessed, held: false });
        committed.push(id);
    }
    for place in held.iter().filter_map(|digest| places.get(model.id(digest)?)) {
        candidates[place].held = true;
    }
    let mut left = Vec::new();
    for (digest, entry) in &model.unfinished {
        if entry.filling || own == Some(digest) {
            continue;
        }
        // One that is both, for a moment, is taken for what is committed of it; one without a number is named by nobody.
        if let Some(id) = model.id(digest).filter(|id| places.get(*id).is_none()) {
            places.put(id, candidates.len());
        }
        let held = entry.is_held() || held.contains(digest);
        candidates.push(Candidate { size: entry.counted, accessed: entry.left, held });
        left.push(digest);
    }
    let images = images(model, &places, committed.len());

    let mut choice = Choice::default();
    for place in victims(&candidates, &images, need, recent) {
        choice.freed += candidates[place].size;
        match committed.get(place) {
            Some(id) => choice.blobs.push(model.digest(*id).clone()),
            None => choice.left.push(left[place - committed.len()].clone()),
        }
    }
    choice
}

/// The stored images, with the places of their blobs among the candidates, of which the first so many are committed.
fn images(model: &Model, places: &Places, committed: usize) -> Vec<Image> {
    let manifests = model.manifests().rev().filter(|(_, manifest)| manifest.blob_ids().len() > 0);
    let images = manifests.map(|(_, manifest)| {
        let links = manifest.blob_ids();
        let mut blobs = Vec::with_capacity(links.len());
        let mut whole = true;
        for id in links {
            let place = places.get(id);
            whole &= place.is_some_and(|place| place < committed);
            blobs.extend(place);
        }
        blobs.sort_unstable();
        blobs.dedup();
        Image { accessed: manifest.accessed(), blobs, whole }
    });
    images.collect()
}

/// Where digests are among the candidates.
struct Places(Vec<u32>);

impl Places {
    const NONE: u32 = u32::MAX;

    fn new(model: &Model) -> Self {
        Self(vec![Self::NONE; model.places()])
    }

    fn put(&mut self, id: Id, place: usize) {
        self.0[id.place()] = u32::try_from(place).unwrap_or(Self::NONE);
    }

    fn get(&self, id: Id) -> Option<usize> {
        Some(self.0[id.place()]).filter(|place| *place != Self::NONE).map(|place| place as usize)
    }
}
