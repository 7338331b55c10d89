//! What the store knows, in memory: the authority for every question that is not about bytes.
//!
//! Plain data under one lock; no method here does I/O. It is loaded from the index once, at start; every change marks
//! what the index has to be told (see [`Dirty`]). Invariants: `parents` is the reverse of every manifest's graph, and
//! `referrers` that of their subjects; the ledger's sums are those of the entries; a binding's digest is a member of its repository.

mod dirty;
mod graph;
mod history;
mod names;
mod objects;
mod partials;
mod pins;

pub(in crate::store) use dirty::Dirty;
pub(in crate::store) use graph::{Graph, GraphRow};
pub use graph::{Link, Role};
pub(in crate::store) use history::History;
pub(in crate::store) use names::{Names, RepoId};
pub(in crate::store) use objects::{BlobEntry, ManifestEntry};
#[cfg(test)]
pub(in crate::store) use partials::space_of;
pub(in crate::store) use partials::{Ledger, Unfinished, space_to_fill};
pub use pins::PinRule;
pub(in crate::store) use pins::Pins;

use super::blobs::BlobFile;
use crate::oci::{Digest, Repository, Tag};
use lru::LruCache;
use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Weak;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970: all times that the store writes down.
pub(in crate::store) type Millis = u64;

/// What a tag stood for, and when upstream last said so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The manifest.
    pub digest: Digest,
    /// When upstream last confirmed it.
    pub confirmed: SystemTime,
    /// Since when upstream says that there is no such tag, where it is kept in spite of that.
    pub gone: Option<SystemTime>,
}

/// The same as it is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Bound {
    pub(in crate::store) digest: Digest,
    pub(in crate::store) confirmed: Millis,
    pub(in crate::store) gone: Option<Millis>,
    /// Since when it is known to have stood for that.
    pub(in crate::store) since: Millis,
}

#[derive(Debug)]
pub(in crate::store) struct Model {
    pub(in crate::store) names: Names,
    pub(in crate::store) bindings: HashMap<RepoId, HashMap<Tag, Bound>>,
    /// The repositories that a digest is a member of; read the other way round, the sources it may be fetched through.
    pub(in crate::store) members: HashMap<Digest, BTreeSet<RepoId>>,
    /// Committed blobs, the least recently used last.
    pub(in crate::store) blobs: LruCache<Digest, BlobEntry>,
    /// Stored manifests, the least recently used last.
    pub(in crate::store) manifests: LruCache<Digest, ManifestEntry>,
    /// The stored manifests that name a digest.
    pub(in crate::store) parents: HashMap<Digest, Vec<Digest>>,
    /// The stored manifests that have a digest for their subject.
    pub(in crate::store) referrers: HashMap<Digest, Vec<Digest>>,
    /// Blobs that are not whole, filling or left by an earlier fill.
    pub(in crate::store) unfinished: HashMap<Digest, Unfinished>,
    /// Files without a name that somebody still reads, with what they take.
    lingering: Vec<(Weak<BlobFile>, u64)>,
    /// Files put aside, the oldest first, with what they take.
    pub(in crate::store) quarantine: VecDeque<(String, u64)>,
    pub(in crate::store) pins: Pins,
    pub(in crate::store) history: History,
    pub(in crate::store) ledger: Ledger,
    pub(in crate::store) dirty: Dirty,
    /// How often it has changed what tags stand for, what belongs where, or which manifests are here.
    pub(in crate::store) version: u64,
}

impl Model {
    pub(in crate::store) fn new() -> Self {
        Self {
            names: Names::default(),
            bindings: HashMap::new(),
            members: HashMap::new(),
            blobs: LruCache::unbounded(),
            manifests: LruCache::unbounded(),
            parents: HashMap::new(),
            referrers: HashMap::new(),
            unfinished: HashMap::new(),
            lingering: Vec::new(),
            quarantine: VecDeque::new(),
            pins: Pins::default(),
            history: History::default(),
            ledger: Ledger::default(),
            dirty: Dirty::default(),
            version: 0,
        }
    }

    pub(in crate::store) fn intern(&mut self, upstream: &str, repository: &Repository) -> RepoId {
        let (id, new) = self.names.intern(upstream, repository);
        if new {
            self.dirty.repos.insert(id);
        }
        id
    }

    pub(in crate::store) fn binding(
        &self,
        upstream: &str,
        repository: &Repository,
        tag: &Tag,
    ) -> Option<Binding> {
        let bound = self.bindings.get(&self.names.find(upstream, repository)?)?.get(tag)?;
        let (confirmed, gone) = (time(bound.confirmed), bound.gone.map(time));
        Some(Binding { digest: bound.digest.clone(), confirmed, gone })
    }

    pub(in crate::store) fn tags_of(&self, upstream: &str, repository: &Repository) -> Vec<Tag> {
        let tags = self.names.find(upstream, repository).and_then(|repo| self.bindings.get(&repo));
        tags.into_iter().flat_map(HashMap::keys).cloned().collect()
    }

    pub(in crate::store) fn bind(&mut self, repo: RepoId, tag: &Tag, digest: &Digest, confirmed: Millis) {
        let former = self.bindings.get(&repo).and_then(|tags| tags.get(tag)).cloned();
        let moved = former.as_ref().is_none_or(|former| former.digest != *digest);
        let since = match &former {
            Some(former) if !moved => former.since,
            Some(former) => {
                self.note_moved_tag(repo, tag, &former.digest, false);
                self.note_former(repo, tag, former);
                self.since(repo, tag, digest, confirmed)
            }
            None => self.since(repo, tag, digest, confirmed),
        };
        let bound = Bound { digest: digest.clone(), confirmed, gone: None, since };
        self.version += 1;
        self.bindings.entry(repo).or_default().insert(tag.clone(), bound);
        self.dirty.bindings.insert((repo, tag.clone()));
        if moved || former.as_ref().is_some_and(|former| former.gone.is_some()) {
            // Both sidecars list the tags that stand for them.
            self.outdate_sidecar(digest);
            if let Some(former) = &former {
                self.outdate_sidecar(&former.digest);
            }
        }
        if former.is_none() {
            self.note_new_tag(repo, tag);
        }
        self.add_member(repo, digest);
    }

    /// Upstream says that there is no such tag any more. What it stands for stays; that it is gone does until it is bound
    /// or unbound.
    pub(in crate::store) fn mark_gone(&mut self, repo: RepoId, tag: &Tag, since: Millis) {
        let bound = self.bindings.get_mut(&repo).and_then(|tags| tags.get_mut(tag));
        if let Some(bound) = bound.filter(|bound| bound.gone.is_none()) {
            bound.gone = Some(since);
            self.version += 1;
            let digest = bound.digest.clone();
            self.dirty.bindings.insert((repo, tag.clone()));
            self.outdate_sidecar(&digest);
        }
    }

    pub(in crate::store) fn unbind(&mut self, repo: RepoId, tag: &Tag) {
        if let Some(former) = self.bindings.get_mut(&repo).and_then(|tags| tags.remove(tag)) {
            self.version += 1;
            self.dirty.bindings.insert((repo, tag.clone()));
            self.outdate_sidecar(&former.digest);
            self.note_moved_tag(repo, tag, &former.digest, true);
            self.note_former(repo, tag, &former);
        }
    }

    pub(in crate::store) fn is_member(
        &self,
        upstream: &str,
        repository: &Repository,
        digest: &Digest,
    ) -> bool {
        self.names
            .find(upstream, repository)
            .is_some_and(|repo| self.members.get(digest).is_some_and(|repos| repos.contains(&repo)))
    }

    /// The repositories that the digest is a member of.
    pub(in crate::store) fn repositories_of(&self, digest: &Digest) -> Vec<(String, Repository)> {
        let repos = self.members.get(digest).into_iter().flatten();
        let names = repos.filter_map(|&repo| self.names.get(repo));
        names.map(|(upstream, repository)| (upstream.to_string(), repository.clone())).collect()
    }

    /// The repositories that the digest is a member of, and then those whose manifests name it.
    pub(in crate::store) fn holders(&self, digest: &Digest) -> Vec<(String, Repository)> {
        let own = self.members.get(digest).into_iter().flatten();
        let parents = self.parents.get(digest).into_iter().flatten();
        let naming = parents.filter_map(|parent| self.members.get(parent)).flatten();
        let mut seen = BTreeSet::new();
        let repos = own.chain(naming).filter(|&&repo| seen.insert(repo));
        let names = repos.filter_map(|&repo| self.names.get(repo));
        names.map(|(upstream, repository)| (upstream.to_string(), repository.clone())).collect()
    }

    pub(in crate::store) fn add_member(&mut self, repo: RepoId, digest: &Digest) {
        if self.members.entry(digest.clone()).or_default().insert(repo) {
            self.version += 1;
            self.dirty.members.insert((digest.clone(), repo));
            self.outdate_sidecar(digest);
        }
    }

    /// The opposite of [`Self::add_member`].
    pub(in crate::store) fn remove_member(&mut self, repo: RepoId, digest: &Digest) {
        let Some(repos) = self.members.get_mut(digest) else { return };
        if repos.remove(&repo) {
            self.version += 1;
            if repos.is_empty() {
                self.members.remove(digest);
            }
            self.dirty.members.insert((digest.clone(), repo));
            self.outdate_sidecar(digest);
        }
    }

    /// The size that a member manifest of the repository gives for a digest that it names.
    pub(in crate::store) fn named(
        &self,
        upstream: &str,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<u64> {
        let repo = self.names.find(upstream, repository)?;
        let mut sizes = self.parents.get(digest)?.iter().filter_map(|parent| {
            self.members.get(parent)?.contains(&repo).then(|| self.size_in(parent, digest)).flatten()
        });
        let first = sizes.next()?;
        // A manifest without sizes (schema 1) says less than another one that has them.
        Some(if first > 0 { first } else { sizes.find(|&size| size > 0).unwrap_or(0) })
    }

    fn size_in(&self, parent: &Digest, digest: &Digest) -> Option<u64> {
        self.manifests.peek(parent)?.graph.links().find(|link| link.digest == *digest).map(|link| link.size)
    }

    /// The tags that stand for a digest, by repository, for its sidecar.
    pub(in crate::store) fn tags(&self, repo: RepoId, digest: &Digest) -> Vec<(Tag, &Bound)> {
        let tags = self.bindings.get(&repo).into_iter().flatten();
        tags.filter(|(_, bound)| bound.digest == *digest).map(|(tag, bound)| (tag.clone(), bound)).collect()
    }

    /// Forgets the memberships of a digest that is not here and that nothing here names any more, so that what is
    /// remembered is bounded by what is stored.
    pub(in crate::store) fn drop_idle_membership(&mut self, digest: &Digest) {
        let here = self.blobs.contains(digest)
            || self.manifests.contains(digest)
            || self.unfinished.contains_key(digest)
            || self.parents.contains_key(digest);
        if here {
            return;
        }
        for repo in self.members.remove(digest).unwrap_or_default() {
            self.version += 1;
            self.dirty.members.insert((digest.clone(), repo));
        }
    }

    /// Drops, after a load, the memberships that nothing refers to, save those that a binding needs.
    pub(in crate::store) fn prune(&mut self) {
        let bound: HashSet<&Digest> =
            self.bindings.values().flat_map(HashMap::values).map(|bound| &bound.digest).collect();
        let idle: Vec<Digest> =
            self.members.keys().filter(|digest| !bound.contains(digest)).cloned().collect();
        for digest in idle {
            self.drop_idle_membership(&digest);
        }
    }

    /// What the file beside a manifest or a private blob says of it is no longer all that is known.
    pub(in crate::store) fn outdate_sidecar(&mut self, digest: &Digest) {
        if self.manifests.contains(digest) || self.is_private(digest) {
            self.dirty.sidecars.insert(digest.clone());
        }
    }

    /// Whether it is a stored blob that came with credentials.
    pub(in crate::store) fn is_private(&self, digest: &Digest) -> bool {
        self.blobs.peek(digest).is_some_and(|entry| !entry.anonymous)
    }
}

/// A time as it is written down.
pub(in crate::store) fn millis(time: SystemTime) -> Millis {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A time that was written down; one that no clock can show is the beginning of time.
pub(in crate::store) fn time(millis: Millis) -> SystemTime {
    UNIX_EPOCH.checked_add(Duration::from_millis(millis)).unwrap_or(UNIX_EPOCH)
}

/// Now, as it is written down.
pub(in crate::store) fn now() -> Millis {
    millis(SystemTime::now())
}
