//! What was learned a moment ago and is not in the store yet, because no answer waits for the disk (G3).
//!
//! A client that has a manifest asks for its layers at once, and the next node for the same tag; both have to find what
//! the first request brought. Where the disk takes nothing, this is all there is. Bounded, and of no use after a
//! restart: what counts then is what the store holds.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use moka::Entry;
use moka::ops::compute::Op;
use moka::sync::Cache;

use crate::oci::{Digest, Manifest, Repository, Tag};
use crate::store::{Binding, Store};

use super::answer::ManifestAnswer;
use super::site::{Site, Target};

/// Bounds what is remembered of digests that manifests name; an image has some tens.
const MOST_NAMED: u64 = 100_000;
const MOST_BOUND: u64 = 10_000;
/// The store has it long before.
const NAMED_FOR: Duration = Duration::from_secs(600);

/// How often the store is offered a manifest that it has refused.
const OFFERED_EVERY: Duration = Duration::from_secs(5);

/// A repository of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    upstream: Arc<str>,
    repository: Repository,
}

/// Knowledge on its way to the store. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    named: Cache<(Place, Digest), u64>,
    bound: Cache<(Place, Tag), Binding>,
    /// Manifests that are on their way to the store, or that it has refused lately.
    offered: Cache<Digest, ()>,
    /// How often there was a change of what tags are bound to.
    version: Arc<AtomicU64>,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self {
            named: Cache::builder().max_capacity(MOST_NAMED).time_to_live(NAMED_FOR).build(),
            bound: Cache::builder().max_capacity(MOST_BOUND).build(),
            offered: Cache::builder().max_capacity(MOST_BOUND).time_to_live(OFFERED_EVERY).build(),
            version: Arc::default(),
        }
    }

    /// Remembers what a manifest of this repository names.
    pub(super) fn learn(&self, target: &Target, manifest: &ManifestAnswer) {
        let Ok(parsed) = Manifest::parse(&manifest.media_type, &manifest.bytes) else { return };
        for descriptor in parsed.blobs().chain(parsed.children()) {
            let key = (place(&target.site, &target.repository), descriptor.digest.clone());
            self.named.insert(key, descriptor.size);
        }
    }

    /// Whether a manifest of this repository names the digest, and the size that it gives, 0 where it gives none.
    pub(super) fn named(
        &self,
        store: &Store,
        site: &Arc<Site>,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<u64> {
        let stored = store.is_named(site.name(), repository, digest);
        stored.or_else(|| self.named.get(&(place(site, repository), digest.clone())))
    }

    /// Binds a tag, as upstream said then, until the store does.
    pub(super) fn bind(&self, target: &Target, tag: &Tag, digest: &Digest, confirmed: SystemTime) {
        let key = (place(&target.site, &target.repository), tag.clone());
        self.bound.insert(key, Binding { digest: digest.clone(), confirmed, gone: None });
        self.changed();
    }

    /// How often there was a change of what tags are bound to here. It is told once it is made.
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Upstream says that there is no such tag any more, and it is kept for a while.
    pub(super) fn mark_gone(&self, store: &Store, target: &Target, tag: &Tag, since: SystemTime) {
        let key = (place(&target.site, &target.repository), tag.clone());
        self.bound.entry(key).and_compute_with(|entry| match entry.map(Entry::into_value) {
            Some(bound) if bound.gone.is_none() => Op::Put(Binding { gone: Some(since), ..bound }),
            _ => Op::Nop,
        });
        self.changed();
        store.mark_gone(target.site.name(), &target.repository, tag, since);
    }

    /// Binds a tag in the store, by the time that upstream said so, if it still is bound to this digest here: another
    /// answer may have come while the manifest was being stored.
    pub(super) fn hand_over(&self, store: &Store, target: &Target, tag: &Tag, digest: &Digest) {
        let key = (place(&target.site, &target.repository), tag.clone());
        self.bound.entry(key).and_compute_with(|entry| match entry.map(Entry::into_value) {
            Some(bound) if bound.digest == *digest => {
                let (upstream, repository) = (target.site.name(), &target.repository);
                // It may have been confirmed since, which the store knows at once.
                let is_latest = store.bind_unless_newer(upstream, repository, tag, digest, bound.confirmed);
                if let Some(since) = bound.gone.filter(|_| is_latest) {
                    store.mark_gone(upstream, repository, tag, since);
                }
                Op::Remove
            }
            _ => Op::Nop,
        });
        self.changed();
    }

    /// The tags of the target's repository that are bound to this digest here, and not yet in the store.
    pub(super) fn bound_to(&self, target: &Target, digest: &Digest) -> Vec<Tag> {
        let here = place(&target.site, &target.repository);
        let bound = self.bound.iter().filter(|(key, bound)| key.0 == here && bound.digest == *digest);
        bound.map(|(key, _)| key.1.clone()).collect()
    }

    /// A manifest is on its way to the store.
    pub(super) fn is_being_stored(&self, digest: &Digest) {
        self.offered.insert(digest.clone(), ());
    }

    /// The store has it.
    pub(super) fn is_stored(&self, digest: &Digest) {
        self.offered.invalidate(digest);
    }

    /// Whether the store may be offered a manifest that it does not have.
    pub(super) fn may_store(&self, digest: &Digest) -> bool {
        !self.offered.contains_key(digest)
    }

    /// Upstream says that there is no such tag.
    pub(super) fn release(&self, target: &Target, tag: &Tag) {
        self.bound.invalidate(&(place(&target.site, &target.repository), tag.clone()));
        self.changed();
    }

    /// The tags of a repository that the store may not have yet.
    pub(super) fn tags(&self, target: &Target) -> Vec<Tag> {
        let here = place(&target.site, &target.repository);
        self.bound.iter().filter(|(key, _)| key.0 == here).map(|(key, _)| key.1.clone()).collect()
    }

    /// What a tag stands for, by the last that was heard.
    pub(super) fn binding(&self, store: &Store, target: &Target, tag: &Tag) -> Option<Binding> {
        // In this order: what is handed over meanwhile is in the store before it is not here.
        let recent = self.bound.get(&(place(&target.site, &target.repository), tag.clone()));
        let stored = store.binding(target.site.name(), &target.repository, tag);
        match (stored, recent) {
            (Some(stored), Some(recent)) if stored.confirmed >= recent.confirmed => Some(stored),
            (_, Some(recent)) => Some(recent),
            (stored, None) => stored,
        }
    }
}

fn place(site: &Site, repository: &Repository) -> Place {
    Place { upstream: site.shared_name(), repository: repository.clone() }
}
