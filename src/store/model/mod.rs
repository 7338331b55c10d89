//! What the store knows, in memory: the authority for every question that is not about bytes.
//!
//! Plain data under one lock; no method here does I/O. It is loaded from the index once, at start; every change marks
//! what the index has to be told (see [`Dirty`]). Invariants: `parents` is the reverse of every manifest's graph, and
//! `referrers` that of their subjects; the ledger's sums are those of the entries; a binding's digest is a member of its repository.
//!
//! A store may have millions of blobs, so what is held of each is small: a digest is in memory once and has a number (see
//! [`digests`]), and the tables of what is here, who names it and where it belongs hold numbers. A digest has one for as long as
//! any of them knows it. Nobody outside sees that, save who goes over all of them.

mod digests;
mod dirty;
mod graph;
mod history;
mod members;
mod names;
mod objects;
mod partials;
mod pins;
mod recent;
mod restore;
mod sets;
mod stored;

#[cfg(test)]
mod tests;

pub(in crate::store) use digests::Id;
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
pub(in crate::store) use stored::Manifest;

use super::blobs::BlobFile;
use crate::oci::{Digest, Repository, Tag};
use digests::Digests;
use objects::Blob;
use recent::Recent;
use sets::Sets;
use std::collections::{HashMap, VecDeque};
use std::sync::Weak;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use stored::Stored;

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
    digests: Digests,
    /// The repositories that a digest is a member of; read the other way round, the sources it may be fetched through.
    members: Sets,
    /// Committed blobs.
    blobs: Recent<Blob>,
    /// Stored manifests.
    manifests: Recent<Stored>,
    /// The stored manifests that name a digest.
    parents: Sets,
    /// The stored manifests that have a digest for their subject.
    referrers: Sets,
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
            digests: Digests::default(),
            members: Sets::default(),
            blobs: Recent::default(),
            manifests: Recent::default(),
            parents: Sets::default(),
            referrers: Sets::default(),
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

    /// The tags that stand for a digest, by repository, for its sidecar.
    pub(in crate::store) fn tags(&self, repo: RepoId, digest: &Digest) -> Vec<(Tag, &Bound)> {
        let tags = self.bindings.get(&repo).into_iter().flatten();
        tags.filter(|(_, bound)| bound.digest == *digest).map(|(tag, bound)| (tag.clone(), bound)).collect()
    }

    /// What the file beside a manifest or a private blob says of it is no longer all that is known.
    pub(in crate::store) fn outdate_sidecar(&mut self, digest: &Digest) {
        if self.has_manifest(digest) || self.is_private(digest) {
            self.dirty.sidecars.insert(digest.clone());
        }
    }

    /// Whether it is a stored blob that came with credentials.
    pub(in crate::store) fn is_private(&self, digest: &Digest) -> bool {
        self.blob(digest).is_some_and(|entry| !entry.anonymous)
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
