//! How a model is filled from the index: row by row, with nothing to tell the index of.
//!
//! Rows may come in any order; [`Model::restored`] ends it.

use super::objects::Blob;
use super::stored::Stored;
use super::{BlobEntry, Bound, Dirty, ManifestEntry, Millis, Model, RepoId};
use crate::oci::{Digest, Tag};

impl Model {
    /// Makes room for so many blobs and manifests.
    pub(in crate::store) fn expect(&mut self, blobs: usize, manifests: usize) {
        let digests = blobs + manifests;
        self.digests.reserve(digests);
        self.blobs.reserve(blobs);
        self.manifests.reserve(manifests);
        for sets in [&mut self.members, &mut self.parents] {
            sets.reserve(digests);
        }
    }

    pub(in crate::store) fn restore_blobs(&mut self, rows: &[(Digest, BlobEntry)]) {
        let digests: Vec<Digest> = rows.iter().map(|(digest, _)| digest.clone()).collect();
        for (id, (_, entry)) in self.digests.intern_all(&digests).into_iter().zip(rows) {
            self.ledger.blobs += entry.space();
            self.blobs.insert(id, Blob::from(entry));
        }
    }

    pub(in crate::store) fn restore_manifest(&mut self, digest: &Digest, entry: ManifestEntry) {
        let id = self.digests.intern(digest);
        let stored = Stored::of(entry, &mut self.digests);
        self.enter(id, stored);
    }

    pub(in crate::store) fn restore_members(&mut self, rows: &[(Digest, RepoId)]) {
        let digests: Vec<Digest> = rows.iter().map(|(digest, _)| digest.clone()).collect();
        for (id, (_, repo)) in self.digests.intern_all(&digests).into_iter().zip(rows) {
            self.members.insert(id, *repo);
        }
    }

    /// What a tag stands for, since it was confirmed, as far as is known here.
    pub(in crate::store) fn restore_binding(
        &mut self,
        repo: RepoId,
        tag: Tag,
        digest: Digest,
        confirmed: Millis,
    ) {
        let id = self.digests.intern(&digest);
        self.members.insert(id, repo);
        let bound = Bound { digest, confirmed, gone: None, since: confirmed };
        self.bindings.entry(repo).or_default().insert(tag, bound);
    }

    /// All rows were there.
    pub(in crate::store) fn restored(&mut self) {
        self.blobs.order_by(|blob| blob.entry().accessed);
        self.manifests.order_by(|manifest| manifest.accessed);
        self.dirty = Dirty::default();
    }
}
