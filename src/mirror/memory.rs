//! The memory tier: manifests and small blobs, which are most of what is asked for and little of what is stored.
//!
//! It holds only what was verified, and says nothing about who may have it or whether the store still has it: both are
//! asked before.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use moka::sync::Cache;

use crate::oci::Digest;

use super::answer::ManifestAnswer;
use super::membership::Kind;

/// The largest blob that is kept: image configurations and signatures are smaller, layers are not.
pub(super) const SMALL_BLOB: u64 = 64 << 10;

/// What an entry costs beside its bytes: keys, counters, the cache's own nodes.
const OVERHEAD: usize = 256;

/// Of so many blobs that there is no room for one is offered all the same.
const OFFERED: u64 = 16;

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
    used: Arc<Used>,
    /// How often a blob was asked about that there was no room for.
    turned_away: AtomicU64,
}

/// Bytes by kind.
#[derive(Debug, Default)]
struct Used {
    manifests: AtomicU64,
    blobs: AtomicU64,
}

impl Used {
    fn of(&self, content: &Content) -> &AtomicU64 {
        match content {
            Content::Manifest(_) => &self.manifests,
            Content::Blob(_) => &self.blobs,
        }
    }
}

impl Content {
    /// What it costs to keep it.
    fn weight(&self) -> u32 {
        let bytes = match self {
            Self::Manifest(Kept { manifest, .. }) => manifest.bytes.len() + manifest.media_type.len(),
            Self::Blob(bytes) => bytes.len(),
        };
        u32::try_from(bytes + OVERHEAD).unwrap_or(u32::MAX)
    }
}

impl Memory {
    pub(super) fn new(max_bytes: u64) -> Self {
        let used = Arc::<Used>::default();
        let left = Arc::clone(&used);
        let cache = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &(Kind, Digest), content: &Content| content.weight())
            .eviction_listener(move |_, content: Content, _| {
                left.of(&content).fetch_sub(content.weight().into(), Ordering::Relaxed);
            })
            .build();
        Self { cache, used, turned_away: AtomicU64::new(0) }
    }

    /// How many bytes of each kind are in use, as of a moment ago, and how many may be in all.
    pub(super) fn in_use(&self) -> ([(&'static str, u64); 2], u64) {
        let used = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let by_kind = [("manifest", used(&self.used.manifests)), ("blob", used(&self.used.blobs))];
        (by_kind, self.cache.policy().max_capacity().unwrap_or_default())
    }

    /// Whether a blob of so many bytes that is not here, and can be had otherwise, is to be brought here: where that costs no
    /// other its place, and else now and then, so that what has come to be asked for often is offered too.
    pub(super) fn takes(&self, size: u64) -> bool {
        let (used, most) = self.in_use();
        let used: u64 = used.iter().map(|(_, bytes)| bytes).sum();
        let needs = size.saturating_add(OVERHEAD as u64);
        if used.saturating_add(needs) <= most {
            return true;
        }
        needs <= most && self.turned_away.fetch_add(1, Ordering::Relaxed) % OFFERED == OFFERED - 1
    }

    /// What it replaces, or has no room for, is counted when it is let go.
    fn keep(&self, kind: Kind, digest: Digest, content: Content) {
        self.used.of(&content).fetch_add(content.weight().into(), Ordering::Relaxed);
        self.cache.insert((kind, digest), content);
    }

    pub(super) fn manifest(&self, digest: &Digest) -> Option<Kept> {
        match self.cache.get(&(Kind::Manifest, digest.clone()))? {
            Content::Manifest(kept) => Some(kept),
            Content::Blob(_) => None,
        }
    }

    pub(super) fn has_manifest(&self, digest: &Digest) -> bool {
        self.cache.contains_key(&(Kind::Manifest, digest.clone()))
    }

    pub(super) fn keep_manifest(&self, kept: Kept) {
        self.keep(Kind::Manifest, kept.manifest.digest.clone(), Content::Manifest(kept));
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<Bytes> {
        match self.cache.get(&(Kind::Blob, digest.clone()))? {
            Content::Blob(bytes) => Some(bytes),
            Content::Manifest(_) => None,
        }
    }

    pub(super) fn keep_blob(&self, digest: &Digest, bytes: Bytes) {
        self.keep(Kind::Blob, digest.clone(), Content::Blob(bytes));
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
    fn what_is_in_use_is_known_by_kind_whatever_is_replaced_and_let_go() {
        let memory = Memory::new(10_000);
        let blob = |of: u8| {
            let bytes = Bytes::from(vec![of; 1000]);
            memory.keep_blob(&Digest::of(Algorithm::Sha256, &bytes), bytes);
        };
        // The first is kept twice, and there is room for no more than seven.
        for of in [0, 0].into_iter().chain(0..100) {
            blob(of);
        }
        memory.cache.run_pending_tasks();
        let ([manifests, blobs], budget) = memory.in_use();
        assert_eq!((manifests, budget), (("manifest", 0), 10_000));
        assert_eq!(blobs, ("blob", memory.cache.weighted_size()));
        assert!((1256..=7 * 1256).contains(&blobs.1), "{blobs:?}");
    }

    #[test]
    fn a_blob_is_taken_where_there_is_room_and_else_now_and_then_if_it_fits_at_all() {
        let memory = Memory::new(10_000);
        let of_it = |size: u64| size - OVERHEAD as u64;
        assert!(memory.takes(of_it(10_000)) && !memory.takes(of_it(10_001)));
        let bytes = Bytes::from(vec![0; usize::try_from(of_it(4_000)).unwrap()]);
        memory.keep_blob(&Digest::of(Algorithm::Sha256, &bytes), bytes);
        assert!(memory.takes(of_it(6_000)));
        let taken = (0..2 * OFFERED).filter(|_| memory.takes(of_it(6_001))).count();
        assert_eq!(taken, 2);
        assert!((0..2 * OFFERED).all(|_| !memory.takes(of_it(10_001))), "it never fits");
        assert!((0..2 * OFFERED).all(|_| !Memory::new(0).takes(0)));
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
