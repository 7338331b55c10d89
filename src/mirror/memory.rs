//! The memory tier: manifests and small blobs, which are most of what is asked for and little of what is stored.
//!
//! It holds only what was verified, and says nothing about who may have it or whether the store still has it: both are
//! asked before.

use bytes::Bytes;
use moka::sync::Cache;

use crate::oci::Digest;

use super::answer::ManifestAnswer;
use super::membership::Kind;

/// The largest blob that is kept: image configurations and signatures are smaller, layers are not.
pub(super) const SMALL_BLOB: u64 = 64 << 10;

/// What an entry costs beside its bytes: keys, counters, the cache's own nodes.
const OVERHEAD: usize = 256;

/// A manifest in memory.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) manifest: ManifestAnswer,
    /// Whether it was had without credentials.
    pub(super) anonymous: bool,
}

#[derive(Clone, Debug)]
enum Content {
    Manifest(Kept),
    Blob(Bytes),
}

/// Bounded by bytes; what was not used for longest goes first. Manifests and blobs are kept apart even where a digest
/// names both (T14).
#[derive(Debug)]
pub(super) struct Memory {
    cache: Cache<(Kind, Digest), Content>,
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigh = |_: &(Kind, Digest), content: &Content| {
            let bytes = match content {
                Content::Manifest(Kept { manifest, .. }) => manifest.bytes.len() + manifest.media_type.len(),
                Content::Blob(bytes) => bytes.len(),
            };
            u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX)
        };
        Self { cache: Cache::builder().max_capacity(max_bytes).weigher(weigh).build() }
    }

    /// How many bytes are in use, as of a moment ago, and how many may be.
    pub(super) fn in_use(&self) -> (u64, u64) {
        (self.cache.weighted_size(), self.cache.policy().max_capacity().unwrap_or_default())
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<Kept> {
        match self.cache.get(&(Kind::Manifest, digest.clone()))? {
            Content::Manifest(kept) => Some(kept),
            Content::Blob(_) => None,
        }
    }

    pub(super) fn keep_manifest(&self, kept: Kept) {
        self.cache.insert((Kind::Manifest, kept.manifest.digest.clone()), Content::Manifest(kept));
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<Bytes> {
        match self.cache.get(&(Kind::Blob, digest.clone()))? {
            Content::Blob(bytes) => Some(bytes),
            Content::Manifest(_) => None,
        }
    }

    pub(super) fn keep_blob(&self, digest: &Digest, bytes: Bytes) {
        self.cache.insert((Kind::Blob, digest.clone()), Content::Blob(bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[test]
    fn t14_a_blob_is_no_manifest_of_the_same_digest() {
        let memory = Memory::new(1 << 20);
        let digest = Digest::of(Algorithm::Sha256, b"{}");
        memory.keep_blob(&digest, Bytes::from_static(b"{}"));
        assert!(memory.manifest(&digest).is_none());
        let manifest = ManifestAnswer {
            digest: digest.clone(),
            media_type: "application/json".into(),
            bytes: Bytes::from_static(b"{}"),
        };
        memory.keep_manifest(Kept { manifest, anonymous: true });
        assert!(memory.manifest(&digest).is_some());
        assert_eq!(memory.blob(&digest).as_deref(), Some(&b"{}"[..]));
    }

    #[test]
    fn nothing_is_kept_in_no_memory() {
        let memory = Memory::new(0);
        let digest = Digest::of(Algorithm::Sha256, b"x");
        memory.keep_blob(&digest, Bytes::from_static(b"x"));
        memory.cache.run_pending_tasks();
        assert_eq!(memory.blob(&digest), None);
    }
}
