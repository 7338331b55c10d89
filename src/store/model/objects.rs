//! Committed blobs and manifests: entering, using and removing them.

use super::partials::{BLOCK, space_of};
use super::stored::{Manifest, Stored};
use super::{Graph, Id, Millis, Model, RepoId, now};
use crate::oci::{Digest, Repository, Tag};
use crate::store::fs::Meta;

/// How much later than the last noted use the next one is worth noting.
const USE_GRAIN: Millis = 1_000;

/// A committed blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct BlobEntry {
    pub(in crate::store) size: u64,
    /// The file's number and time of change when it was last known to be right.
    pub(in crate::store) inode: u64,
    pub(in crate::store) mtime: i64,
    /// Whether every byte came without credentials.
    pub(in crate::store) anonymous: bool,
    pub(in crate::store) accessed: Millis,
}

/// The same as memory holds it: a flag would take eight bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blob {
    size: u64,
    inode: u64,
    mtime: i64,
    /// The time, and in the last bit whether it came without credentials.
    accessed: u64,
}

/// A stored manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct ManifestEntry {
    pub(in crate::store) media_type: String,
    pub(in crate::store) size: u64,
    pub(in crate::store) anonymous: bool,
    pub(in crate::store) graph: Graph,
    pub(in crate::store) accessed: Millis,
}

impl BlobEntry {
    /// The entry of a file that was just found or made to be right.
    pub(in crate::store) fn of(meta: &Meta, anonymous: bool) -> Self {
        Self { size: meta.len, inode: meta.inode, mtime: meta.mtime, anonymous, accessed: now() }
    }

    /// What it takes on the disk, with the mark that a private one has.
    pub(in crate::store) fn space(&self) -> u64 {
        space_of(self.size) + if self.anonymous { 0 } else { BLOCK }
    }

    /// Whether the file is, as far as can be seen, still the one that was verified.
    pub(in crate::store) fn is_same_file(&self, meta: &Meta) -> bool {
        (self.size, self.inode, self.mtime) == (meta.len, meta.inode, meta.mtime)
    }
}

impl From<&BlobEntry> for Blob {
    fn from(entry: &BlobEntry) -> Self {
        let BlobEntry { size, inode, mtime, anonymous, accessed } = *entry;
        // The bit that is lost is that of times in hundreds of millions of years.
        Self { size, inode, mtime, accessed: accessed << 1 | u64::from(anonymous) }
    }
}

impl Blob {
    pub(super) fn entry(&self) -> BlobEntry {
        let Self { size, inode, mtime, accessed } = *self;
        BlobEntry { size, inode, mtime, anonymous: accessed & 1 == 1, accessed: accessed >> 1 }
    }
}

impl ManifestEntry {
    /// What one of that size takes on the disk, with its sidecar.
    pub(in crate::store) fn space_for(size: u64) -> u64 {
        space_of(size) + BLOCK
    }
}

impl Model {
    /// A committed blob.
    pub(in crate::store) fn blob(&self, digest: &Digest) -> Option<BlobEntry> {
        Some(self.blobs.get(self.digests.find(digest)?)?.entry())
    }

    pub(in crate::store) fn has_blob(&self, digest: &Digest) -> bool {
        self.digests.find(digest).is_some_and(|id| self.blobs.contains(id))
    }

    pub(in crate::store) fn blob_count(&self) -> usize {
        self.blobs.len()
    }

    /// Committed blobs, the least recently used last.
    pub(in crate::store) fn blobs(&self) -> impl DoubleEndedIterator<Item = (&Digest, BlobEntry)> {
        self.blobs.iter().map(|(id, blob)| (self.digests.get(id), blob.entry()))
    }

    /// The same by number.
    pub(in crate::store) fn blobs_by_id(&self) -> impl DoubleEndedIterator<Item = (Id, BlobEntry)> {
        self.blobs.iter().map(|(id, blob)| (id, blob.entry()))
    }

    /// Changes what is known of a blob that is here; its size stays. This is no use of it.
    pub(in crate::store) fn change_blob(&mut self, digest: &Digest, change: impl FnOnce(&mut BlobEntry)) {
        let blob = self.digests.find(digest).and_then(|id| self.blobs.get_mut(id));
        if let Some(blob) = blob {
            let mut entry = blob.entry();
            change(&mut entry);
            *blob = Blob::from(&entry);
            self.dirty.blobs.insert(digest.clone());
        }
    }

    /// A stored manifest.
    pub(in crate::store) fn manifest(&self, digest: &Digest) -> Option<Manifest<'_>> {
        let stored = self.manifests.get(self.digests.find(digest)?)?;
        Some(Manifest { stored, digests: &self.digests })
    }

    pub(in crate::store) fn has_manifest(&self, digest: &Digest) -> bool {
        self.digests.find(digest).is_some_and(|id| self.manifests.contains(id))
    }

    pub(in crate::store) fn manifest_count(&self) -> usize {
        self.manifests.len()
    }

    /// Stored manifests, the least recently used last.
    pub(in crate::store) fn manifests(&self) -> impl DoubleEndedIterator<Item = (&Digest, Manifest<'_>)> {
        let digests = &self.digests;
        self.manifests.iter().map(|(id, stored)| (digests.get(id), Manifest { stored, digests }))
    }

    /// The number of a digest, where it has one.
    pub(in crate::store) fn id(&self, digest: &Digest) -> Option<Id> {
        self.digests.find(digest)
    }

    /// The digest of a number.
    pub(in crate::store) fn digest(&self, id: Id) -> &Digest {
        self.digests.get(id)
    }

    /// How many places a list with one for each number has.
    pub(in crate::store) fn places(&self) -> usize {
        self.digests.places()
    }

    pub(in crate::store) fn insert_blob(&mut self, digest: &Digest, entry: BlobEntry) {
        let id = self.digests.intern(digest);
        self.ledger.blobs += entry.space();
        if let Some(former) = self.blobs.insert(id, Blob::from(&entry)) {
            self.ledger.blobs -= former.entry().space();
        }
        self.dirty.blobs.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
    }

    /// Enters a blob that belongs to these repositories, which its mark says too where it is private.
    pub(in crate::store) fn insert_blob_of(
        &mut self,
        digest: &Digest,
        entry: BlobEntry,
        through: &[(String, Repository)],
    ) {
        for (upstream, repository) in through {
            let repo = self.intern(upstream, repository);
            self.add_member(repo, digest);
        }
        self.insert_blob(digest, entry);
        // It may have been known as a member elsewhere before.
        if self.members_of(digest).len() > through.len() {
            self.outdate_sidecar(digest);
        }
    }

    pub(in crate::store) fn remove_blob(&mut self, digest: &Digest) -> Option<BlobEntry> {
        let entry = self.blobs.remove(self.digests.find(digest)?)?.entry();
        self.ledger.blobs -= entry.space();
        self.dirty.blobs.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
        self.drop_idle_membership(digest);
        Some(entry)
    }

    /// Enters a manifest; one that is there already only gains the knowledge that it may be had without credentials.
    pub(in crate::store) fn insert_manifest(&mut self, digest: &Digest, entry: ManifestEntry) {
        let id = self.digests.intern(digest);
        if let Some(known) = self.manifests.use_mut(id) {
            known.accessed = known.accessed.max(entry.accessed);
            if entry.anonymous && !known.anonymous {
                known.anonymous = true;
                self.version += 1;
                self.dirty.manifests.insert(digest.clone());
                self.dirty.sidecars.insert(digest.clone());
            }
            return;
        }
        let stored = Stored::of(entry, &mut self.digests);
        self.enter(id, stored);
        self.version += 1;
        self.dirty.manifests.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
    }

    /// Enters a manifest that is not there, with what it names.
    pub(super) fn enter(&mut self, id: Id, stored: Stored) {
        for link in stored.links() {
            self.parents.insert(link, id.raw());
        }
        if let Some(subject) = stored.subject() {
            self.referrers.insert(subject, id.raw());
        }
        self.ledger.manifests += stored.space();
        self.manifests.insert(id, stored);
    }

    /// Removes a manifest whose bytes cannot be used; what it was. The tags that stand for it still do: they say what
    /// upstream said.
    pub(in crate::store) fn remove_manifest(&mut self, digest: &Digest) -> Option<ManifestEntry> {
        let id = self.digests.find(digest)?;
        let stored = self.manifests.remove(id)?;
        let entry = Manifest { stored: &stored, digests: &self.digests }.entry();
        self.version += 1;
        self.ledger.manifests -= stored.space();
        self.dirty.manifests.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
        self.dirty.sidecars.remove(digest);
        if let Some(subject) = stored.subject() {
            self.referrers.remove(subject, id.raw());
            self.release(subject);
        }
        for (link, named) in stored.links().zip(entry.graph.links()) {
            if self.parents.remove(link, id.raw()) && self.parents.is_empty(link) {
                self.drop_idle_membership(&named.digest);
            }
        }
        self.release(id);
        Some(entry)
    }

    /// Removes a manifest with everything that is known of it.
    pub(in crate::store) fn forget_manifest(&mut self, digest: &Digest) -> Option<ManifestEntry> {
        let entry = self.remove_manifest(digest)?;
        let repos: Vec<RepoId> = self.members_of(digest).to_vec();
        for repo in repos {
            let tags: Vec<Tag> = self.tags(repo, digest).into_iter().map(|(tag, _)| tag).collect();
            for tag in tags {
                self.unbind(repo, &tag);
            }
        }
        self.drop_idle_membership(digest);
        Some(entry)
    }

    /// Notes that a blob or manifest was used.
    pub(in crate::store) fn touch(&mut self, digest: &Digest) {
        let Some(id) = self.digests.find(digest) else { return };
        // Promotes: the lists are in order of use.
        if let Some(blob) = self.blobs.use_mut(id) {
            let mut entry = blob.entry();
            note_use(&mut entry.accessed, digest, &mut self.dirty);
            *blob = Blob::from(&entry);
        }
        self.touch_manifest(digest);
    }

    /// The same for a manifest alone.
    pub(in crate::store) fn touch_manifest(&mut self, digest: &Digest) {
        let manifest = self.digests.find(digest).and_then(|id| self.manifests.use_mut(id));
        if let Some(manifest) = manifest {
            note_use(&mut manifest.accessed, digest, &mut self.dirty);
        }
    }
}

#[cfg(test)]
impl Model {
    /// Says when a manifest was last used.
    pub(in crate::store) fn age_manifest(&mut self, digest: &Digest, accessed: Millis) {
        if let Some(manifest) = self.digests.find(digest).and_then(|id| self.manifests.get_mut(id)) {
            manifest.accessed = accessed;
        }
    }
}

fn note_use(accessed: &mut Millis, digest: &Digest, dirty: &mut super::Dirty) {
    let now = now();
    if now >= accessed.saturating_add(USE_GRAIN) {
        dirty.access.insert(digest.clone());
    }
    *accessed = now.max(*accessed);
}
