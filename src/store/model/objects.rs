//! Committed blobs and manifests: entering, using and removing them.

use super::partials::{BLOCK, space_of};
use super::{Graph, Millis, Model, RepoId, now};
use crate::oci::{Digest, Repository, Tag};
use crate::store::fs::Meta;

/// How much later than the last noted use the next one is worth noting.
const USE_GRAIN: Millis = 1_000;

/// A committed blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct BlobEntry {
    pub(in crate::store) size: u64,
    /// The file's number and time of change when it was last known to be right.
    pub(in crate::store) inode: u64,
    pub(in crate::store) mtime: i64,
    /// Whether every byte came without credentials.
    pub(in crate::store) anonymous: bool,
    pub(in crate::store) accessed: Millis,
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

impl ManifestEntry {
    /// What it takes on the disk, with its sidecar.
    pub(in crate::store) fn space(&self) -> u64 {
        Self::space_for(self.size)
    }

    /// The same, of one that is to come.
    pub(in crate::store) fn space_for(size: u64) -> u64 {
        space_of(size) + BLOCK
    }
}

impl Model {
    pub(in crate::store) fn insert_blob(&mut self, digest: &Digest, entry: BlobEntry) {
        self.ledger.blobs += entry.space();
        if let Some(former) = self.blobs.put(digest.clone(), entry) {
            self.ledger.blobs -= former.space();
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
        if self.members.get(digest).is_some_and(|known| known.len() > through.len()) {
            self.outdate_sidecar(digest);
        }
    }

    pub(in crate::store) fn remove_blob(&mut self, digest: &Digest) -> Option<BlobEntry> {
        let entry = self.blobs.pop(digest)?;
        self.ledger.blobs -= entry.space();
        self.dirty.blobs.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
        self.drop_idle_membership(digest);
        Some(entry)
    }

    /// Enters a manifest; one that is there already only gains the knowledge that it may be had without credentials.
    pub(in crate::store) fn insert_manifest(&mut self, digest: &Digest, entry: ManifestEntry) {
        if let Some(known) = self.manifests.get_mut(digest) {
            known.accessed = known.accessed.max(entry.accessed);
            if entry.anonymous && !known.anonymous {
                known.anonymous = true;
                self.version += 1;
                self.dirty.manifests.insert(digest.clone());
                self.dirty.sidecars.insert(digest.clone());
            }
            return;
        }
        for link in entry.graph.links() {
            let parents = self.parents.entry(link.digest.clone()).or_default();
            // A manifest may name the same layer twice.
            if parents.last() != Some(digest) {
                parents.push(digest.clone());
            }
        }
        if let Some(subject) = &entry.graph.subject {
            self.referrers.entry(subject.clone()).or_default().push(digest.clone());
        }
        self.ledger.manifests += entry.space();
        self.manifests.put(digest.clone(), entry);
        self.version += 1;
        self.dirty.manifests.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
    }

    /// Removes a manifest whose bytes cannot be used. The tags that stand for it still do: they say what upstream said.
    pub(in crate::store) fn remove_manifest(&mut self, digest: &Digest) -> Option<ManifestEntry> {
        let entry = self.manifests.pop(digest)?;
        self.version += 1;
        self.ledger.manifests -= entry.space();
        self.dirty.manifests.insert(digest.clone());
        self.dirty.access.insert(digest.clone());
        self.dirty.sidecars.remove(digest);
        if let Some(subject) = &entry.graph.subject
            && let Some(referrers) = self.referrers.get_mut(subject)
        {
            referrers.retain(|referrer| referrer != digest);
            if referrers.is_empty() {
                self.referrers.remove(subject);
            }
        }
        for link in entry.graph.links() {
            if let Some(parents) = self.parents.get_mut(&link.digest) {
                parents.retain(|parent| parent != digest);
                if parents.is_empty() {
                    self.parents.remove(&link.digest);
                    self.drop_idle_membership(&link.digest);
                }
            }
        }
        Some(entry)
    }

    /// Removes a manifest with everything that is known of it.
    pub(in crate::store) fn forget_manifest(&mut self, digest: &Digest) -> Option<ManifestEntry> {
        let entry = self.remove_manifest(digest)?;
        let repos: Vec<RepoId> = self.members.get(digest).into_iter().flatten().copied().collect();
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
        // Promotes: the lists are in order of use.
        if let Some(entry) = self.blobs.get_mut(digest) {
            note_use(&mut entry.accessed, digest, &mut self.dirty);
        }
        self.touch_manifest(digest);
    }

    /// The same for a manifest alone.
    pub(in crate::store) fn touch_manifest(&mut self, digest: &Digest) {
        if let Some(entry) = self.manifests.get_mut(digest) {
            note_use(&mut entry.accessed, digest, &mut self.dirty);
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
