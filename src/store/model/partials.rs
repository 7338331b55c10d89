//! What takes space without being content yet, and the sum of everything that does.

use super::{Millis, Model, now};
use crate::oci::Digest;
use crate::store::blobs::BlobFile;
use std::sync::Weak;

/// A blob that is not whole.
#[derive(Clone, Debug)]
pub(in crate::store) struct Unfinished {
    /// What the whole blob will take.
    pub(in crate::store) size: u64,
    /// What it is counted as: its whole size while it is filled, what it takes on the disk when nobody fills it.
    pub(in crate::store) counted: u64,
    /// The file, while it is filled.
    pub(in crate::store) filling: Option<Weak<BlobFile>>,
    /// When a fill last had it.
    pub(in crate::store) left: Millis,
}

/// Who takes how many bytes of the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Ledger {
    pub(in crate::store) blobs: u64,
    pub(in crate::store) manifests: u64,
    pub(in crate::store) unfinished: u64,
    pub(in crate::store) quarantine: u64,
    pub(in crate::store) index: u64,
}

impl Ledger {
    /// All of it.
    pub(in crate::store) fn used(&self) -> u64 {
        self.blobs + self.manifests + self.unfinished + self.quarantine + self.index
    }
}

impl Model {
    /// Counts a fill at its full size.
    pub(in crate::store) fn start_filling(&mut self, digest: &Digest, size: u64) {
        self.stop_counting(digest);
        self.ledger.unfinished += size;
        let entry = Unfinished { size, counted: size, filling: Some(Weak::new()), left: now() };
        self.unfinished.insert(digest.clone(), entry);
    }

    /// Counts what a fill left at what it takes.
    pub(in crate::store) fn leave_unfinished(
        &mut self,
        digest: &Digest,
        size: u64,
        allocated: u64,
        left: Millis,
    ) {
        self.stop_counting(digest);
        let counted = allocated.min(size);
        self.ledger.unfinished += counted;
        self.unfinished.insert(digest.clone(), Unfinished { size, counted, filling: None, left });
    }

    pub(in crate::store) fn end_unfinished(&mut self, digest: &Digest) {
        self.stop_counting(digest);
        self.drop_idle_membership(digest);
    }

    /// The unfinished blobs that nobody fills, the last left first.
    pub(in crate::store) fn idle_unfinished(&self) -> Vec<Digest> {
        let mut idle: Vec<_> = self.unfinished.iter().filter(|(_, entry)| entry.filling.is_none()).collect();
        idle.sort_by_key(|(digest, entry)| (std::cmp::Reverse(entry.left), *digest));
        idle.into_iter().map(|(digest, _)| digest.clone()).collect()
    }

    fn stop_counting(&mut self, digest: &Digest) {
        if let Some(entry) = self.unfinished.remove(digest) {
            self.ledger.unfinished -= entry.counted;
        }
    }

    pub(in crate::store) fn quarantine(&mut self, name: String, size: u64) {
        self.ledger.quarantine += size;
        self.quarantine.push_back((name, size));
    }

    /// Takes the oldest file out of the quarantine's list.
    pub(in crate::store) fn pop_quarantine(&mut self) -> Option<String> {
        let (name, size) = self.quarantine.pop_front()?;
        self.ledger.quarantine -= size;
        Some(name)
    }
}
