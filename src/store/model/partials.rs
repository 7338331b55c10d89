//! What takes space without being content yet, and the sum of everything that does.

use super::{Millis, Model, now};
use crate::oci::Digest;
use crate::store::Used;
use crate::store::blobs::BlobFile;
use std::sync::Weak;

/// Disks give out space in blocks; most in such.
pub(in crate::store) const BLOCK: u64 = 4096;

/// What a file of that length takes.
pub(in crate::store) fn space_of(length: u64) -> u64 {
    length.div_ceil(BLOCK).saturating_mul(BLOCK)
}

/// What a blob takes while it is filled: its whole size, and the record of what is present, in whose place may come the
/// mark of a private one.
pub(in crate::store) fn space_to_fill(size: u64) -> u64 {
    space_of(size).saturating_add(BLOCK)
}

/// A blob that is not whole.
#[derive(Clone, Debug)]
pub(in crate::store) struct Unfinished {
    /// The size of the whole blob.
    pub(in crate::store) size: u64,
    /// What it is counted as: its whole size while it is filled, what it takes on the disk when nobody fills it.
    pub(in crate::store) counted: u64,
    /// Whether somebody fills it.
    pub(in crate::store) filling: bool,
    /// The file that is filled, or was; whoever reads it may have it open still.
    pub(in crate::store) file: Weak<BlobFile>,
    /// When a fill last had it.
    pub(in crate::store) left: Millis,
}

impl Unfinished {
    /// Whether somebody has it open.
    pub(in crate::store) fn is_held(&self) -> bool {
        self.file.strong_count() > 0
    }
}

/// Who takes how many bytes of the budget.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Ledger {
    pub(in crate::store) blobs: u64,
    pub(in crate::store) manifests: u64,
    pub(in crate::store) unfinished: u64,
    pub(in crate::store) quarantine: u64,
    pub(in crate::store) index: u64,
    /// Files without a name that somebody still reads.
    pub(in crate::store) lingering: u64,
}

impl Ledger {
    /// By what it is.
    pub(in crate::store) fn by_kind(&self) -> Used {
        let Self { blobs, manifests, unfinished, quarantine, index, lingering } = *self;
        Used { blobs, manifests, unfinished, quarantine, index, lingering }
    }

    /// All of it.
    pub(in crate::store) fn used(&self) -> u64 {
        self.blobs + self.manifests + self.unfinished + self.quarantine + self.index + self.lingering
    }
}

impl Model {
    /// Counts a fill at its full size.
    pub(in crate::store) fn start_filling(&mut self, digest: &Digest, size: u64) {
        self.stop_counting(digest);
        let counted = space_to_fill(size);
        self.ledger.unfinished += counted;
        let entry = Unfinished { size, counted, filling: true, file: Weak::new(), left: now() };
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
        let file = self.stop_counting(digest).map(|former| former.file).unwrap_or_default();
        let counted = space_to_fill(allocated.min(size));
        self.ledger.unfinished += counted;
        self.unfinished.insert(digest.clone(), Unfinished { size, counted, filling: false, file, left });
    }

    pub(in crate::store) fn end_unfinished(&mut self, digest: &Digest) {
        self.stop_counting(digest);
        self.drop_idle_membership(digest);
    }

    /// The unfinished blobs that nobody fills, the last left first.
    pub(in crate::store) fn idle_unfinished(&self) -> Vec<Digest> {
        let idle = self.unfinished.iter().filter(|(_, entry)| !entry.filling);
        // After a crash one may be both for a while.
        let mut idle: Vec<_> = idle.filter(|(digest, _)| !self.has_blob(digest)).collect();
        idle.sort_by_key(|(digest, entry)| (std::cmp::Reverse(entry.left), *digest));
        idle.into_iter().map(|(digest, _)| digest.clone()).collect()
    }

    /// A file loses its name while somebody may still read it; until nobody does, it takes space.
    pub(in crate::store) fn linger(&mut self, file: Weak<BlobFile>, taken: u64) {
        let taken = space_of(taken);
        self.ledger.lingering += taken;
        self.lingering.push((file, taken));
    }

    /// Forgets the files that nobody reads any more.
    pub(in crate::store) fn let_go(&mut self) {
        let ledger = &mut self.ledger;
        self.lingering.retain(|(file, taken)| {
            let held = file.strong_count() > 0;
            ledger.lingering -= if held { 0 } else { *taken };
            held
        });
    }

    fn stop_counting(&mut self, digest: &Digest) -> Option<Unfinished> {
        let entry = self.unfinished.remove(digest)?;
        self.ledger.unfinished -= entry.counted;
        Some(entry)
    }

    pub(in crate::store) fn quarantine(&mut self, name: String, size: u64) {
        let taken = space_of(size);
        self.ledger.quarantine += taken;
        self.quarantine.push_back((name, taken));
    }

    /// Takes the oldest file out of the quarantine's list.
    pub(in crate::store) fn pop_quarantine(&mut self) -> Option<String> {
        let (name, taken) = self.quarantine.pop_front()?;
        self.ledger.quarantine -= taken;
        Some(name)
    }
}
