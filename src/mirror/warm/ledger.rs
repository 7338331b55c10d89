//! What can be seen of a warming while it goes on.
//!
//! A ledger and not a queue of events: whoever looks sees how things stand at that moment, a late one as well, and one that
//! looks seldom misses nothing but moments. Nothing waits for anybody who looks.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::oci::Digest;

use super::super::fill::Reached;
use super::tally::Warmed;

/// How many blobs under way a look shows.
const MOST_SHOWN: usize = 32;

/// How things stand. Clones are the same ledger.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// Images that are known; those of a pattern are when its tags have been listed.
    images: u64,
    finished: Vec<Arc<Warmed>>,
    blobs: HashMap<Digest, Blob>,
    /// In which order blobs under way began.
    begun: u64,
    /// What is being waited for, by upstream, and by how many.
    waits: BTreeMap<String, (String, u64)>,
}

#[derive(Debug)]
struct Blob {
    image: Arc<str>,
    size: u64,
    present: u64,
    /// What was there when it was first looked at.
    before: u64,
    began: Option<u64>,
    over: bool,
}

/// A look at the ledger.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Images that are known.
    pub images: u64,
    /// Those that are finished, well or not.
    pub finished: u64,
    /// Blobs that are known to be needed.
    pub blobs: u64,
    /// Their bytes, as far as sizes are known.
    pub bytes: u64,
    /// The bytes of them that are here.
    pub present: u64,
    /// The bytes that came since the beginning.
    pub fetched: u64,
    /// Blobs on their way, in the order in which they began.
    pub under_way: Vec<UnderWay>,
    /// What is being waited for.
    pub waits: Vec<String>,
}

/// A blob on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    /// The blob.
    pub digest: Digest,
    /// The image that asked for it first.
    pub image: Arc<str>,
    /// Its size, as far as it is known.
    pub size: u64,
    /// How much of it is here.
    pub present: u64,
}

impl Ledger {
    /// How things stand.
    pub fn look(&self) -> Snapshot {
        let state = self.state();
        let mut under_way: Vec<_> = state
            .blobs
            .iter()
            .filter(|(_, blob)| !blob.over)
            .filter_map(|(digest, blob)| Some((blob.began?, digest, blob)))
            .collect();
        under_way.sort_by_key(|(began, ..)| *began);
        let shown = under_way.into_iter().take(MOST_SHOWN).map(|(_, digest, blob)| UnderWay {
            digest: digest.clone(),
            image: Arc::clone(&blob.image),
            size: blob.size,
            present: blob.present,
        });
        let sum = |of: fn(&Blob) -> u64| state.blobs.values().map(of).sum();
        Snapshot {
            images: state.images,
            finished: state.finished.len() as u64,
            blobs: state.blobs.len() as u64,
            bytes: sum(|blob| blob.size),
            present: sum(|blob| blob.present),
            fetched: sum(|blob| blob.present - blob.before),
            under_way: shown.collect(),
            waits: state.waits.iter().map(|(upstream, (why, _))| format!("{upstream}: {why}")).collect(),
        }
    }

    /// The images that are finished, from the `seen`th on.
    pub fn finished_since(&self, seen: usize) -> Vec<Arc<Warmed>> {
        self.state().finished.get(seen..).unwrap_or_default().to_vec()
    }

    /// So many more images are known.
    pub(super) fn expect(&self, images: u64) {
        self.state().images += images;
    }

    /// An image is finished.
    pub(super) fn finish(&self, warmed: Warmed) {
        self.state().finished.push(Arc::new(warmed));
    }

    /// A blob is needed, of this size by the word of a manifest.
    pub(super) fn need(&self, digest: &Digest, size: u64, image: &Arc<str>) {
        let mut state = self.state();
        state.blobs.entry(digest.clone()).or_insert_with(|| Blob {
            image: Arc::clone(image),
            size,
            present: 0,
            before: 0,
            began: None,
            over: false,
        });
    }

    /// A blob was here, all of it.
    pub(super) fn was_here(&self, digest: &Digest, size: u64) {
        if let Some(blob) = self.state().blobs.get_mut(digest).filter(|blob| !blob.over) {
            // What came while another image waited for it has been counted.
            let before = if blob.began.is_some() { blob.before } else { size };
            (blob.size, blob.present, blob.before, blob.over) = (size, size, before, true);
        }
    }

    /// So much of a blob has come.
    pub(super) fn reached(&self, digest: &Digest, reached: Reached) {
        let mut state = self.state();
        let next = state.begun;
        let Some(blob) = state.blobs.get_mut(digest) else { return };
        if let Some(size) = reached.size {
            blob.size = size;
        }
        let is_first = blob.began.is_none();
        if is_first {
            blob.before = reached.present;
            blob.began = Some(next);
        }
        blob.present = reached.present;
        // A file that turned out wrong is begun anew.
        blob.before = blob.before.min(reached.present);
        if is_first {
            state.begun += 1;
        }
    }

    /// A blob that was on its way is here, or will not come: it is shown no more. The bytes that came for it.
    pub(super) fn over(&self, digest: &Digest) -> u64 {
        self.state().blobs.get_mut(digest).map_or(0, |blob| {
            blob.over = true;
            blob.present - blob.before
        })
    }

    /// Shows that somebody waits for an upstream, until what is given back is dropped.
    pub(super) fn wait(&self, upstream: &str, why: String) -> Waiting {
        let mut state = self.state();
        let entry = state.waits.entry(upstream.to_owned()).or_insert_with(|| (String::new(), 0));
        entry.0 = why;
        entry.1 += 1;
        Waiting { ledger: self.clone(), upstream: upstream.to_owned() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody waits, while it lives.
#[derive(Debug)]
pub(super) struct Waiting {
    ledger: Ledger,
    upstream: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut state = self.ledger.state();
        if let Some((_, waiting)) = state.waits.get_mut(&self.upstream) {
            *waiting -= 1;
            if *waiting == 0 {
                state.waits.remove(&self.upstream);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::oci::Algorithm;

    use super::*;

    fn digest(of: u8) -> Digest {
        Digest::of(Algorithm::Sha256, &[of])
    }

    #[test]
    fn what_was_here_is_present_and_not_fetched() {
        let ledger = Ledger::default();
        ledger.expect(1);
        ledger.need(&digest(1), 100, &"a".into());
        ledger.need(&digest(1), 100, &"b".into());
        ledger.need(&digest(2), 50, &"a".into());
        ledger.was_here(&digest(1), 100);
        ledger.reached(&digest(2), Reached { present: 20, size: Some(60) });
        ledger.reached(&digest(2), Reached { present: 50, size: Some(60) });
        let look = ledger.look();
        assert_eq!((look.blobs, look.bytes, look.present, look.fetched), (2, 160, 150, 30));
        let under_way = UnderWay { digest: digest(2), image: "a".into(), size: 60, present: 50 };
        assert_eq!(look.under_way, [under_way]);
        ledger.reached(&digest(2), Reached { present: 60, size: Some(60) });
        assert_eq!(ledger.over(&digest(2)), 40);
        assert_eq!(ledger.look().under_way, []);
    }

    #[test]
    fn waits_are_shown_while_somebody_waits() {
        let ledger = Ledger::default();
        let one = ledger.wait("docker.io", "a limit".to_owned());
        let two = ledger.wait("docker.io", "a limit".to_owned());
        drop(one);
        assert_eq!(ledger.look().waits, ["docker.io: a limit"]);
        drop(two);
        assert!(ledger.look().waits.is_empty());
    }
}
