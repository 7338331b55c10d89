//! What memory knows and the index does not know yet.
//!
//! Keys, not operations: whatever is written later is read from the model at that moment, so that any number of
//! changes to one thing wait as one, and the queue is never longer than the model is large.

use super::RepoId;
use crate::oci::{Digest, Tag};
use std::collections::{BTreeSet, HashSet};

/// The keys of rows that have to be written, or removed.
#[derive(Debug, Default)]
pub(crate) struct Dirty {
    pub(in crate::store) repos: BTreeSet<RepoId>,
    pub(in crate::store) bindings: HashSet<(RepoId, Tag)>,
    pub(in crate::store) members: HashSet<(Digest, RepoId)>,
    pub(in crate::store) manifests: HashSet<Digest>,
    pub(in crate::store) blobs: HashSet<Digest>,
    pub(in crate::store) access: HashSet<Digest>,
    /// Manifests and private blobs whose sidecar no longer says what is known of them.
    pub(in crate::store) sidecars: HashSet<Digest>,
    /// Tags of whose changes there is more, or less, to tell.
    pub(in crate::store) history: HashSet<(RepoId, Tag)>,
    /// What is pinned; a file of its own, which is written before the index.
    pub(in crate::store) pins: bool,
    /// Blobs to report as committed once this is durable.
    pub(in crate::store) committed: Vec<(Digest, u64)>,
}

impl Dirty {
    /// Whether anything waits that a crash should not undo.
    pub(in crate::store) fn is_urgent(&self) -> bool {
        !(self.repos.is_empty()
            && self.bindings.is_empty()
            && self.members.is_empty()
            && self.manifests.is_empty()
            && self.blobs.is_empty()
            && self.sidecars.is_empty()
            && self.history.is_empty()
            && !self.pins
            && self.committed.is_empty())
    }

    pub(in crate::store) fn is_empty(&self) -> bool {
        !self.is_urgent() && self.access.is_empty()
    }

    /// Takes back what could not be written.
    pub(in crate::store) fn merge(&mut self, other: Self) {
        self.repos.extend(other.repos);
        self.bindings.extend(other.bindings);
        self.members.extend(other.members);
        self.manifests.extend(other.manifests);
        self.blobs.extend(other.blobs);
        self.access.extend(other.access);
        self.sidecars.extend(other.sidecars);
        self.history.extend(other.history);
        self.pins |= other.pins;
        self.committed.extend(other.committed);
    }
}
