//! What is here, as an operator asks for it: repositories, tags, images, what of them is missing.
//!
//! **Owns** the questions that go beyond one object. **Guarantees** that they are answered from memory: no call here
//! touches the disk unless it says so. The lock around what memory knows is held for one image at a time, or for one list.
//! **Leaves to others** how an answer is shown, and what is done about it.
//!
//! Of what a manifest names, memory holds digests, sizes, roles and platforms; media types and annotations are in its bytes, which [`Store::manifest`] reads.

mod closure;
mod forget;
mod history;
mod pins;
mod shelf;

pub use closure::{Closure, Kind, Needed, Standing, Wanted, Why};
pub(super) use closure::{attached_tags, closure};
pub use forget::{ForgetError, Forgotten};
pub use history::Change;
pub use pins::{Pin, PinError};
pub(super) use shelf::Rack;

use super::Store;
use super::model::{self, Graph, Link, Manifest};
use crate::oci::{Digest, Reference, Repository, Tag};
use std::time::SystemTime;

/// A tag, and what it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// The tag.
    pub tag: Tag,
    /// The manifest that it stands for, which need not be here.
    pub digest: Digest,
    /// When upstream last confirmed it.
    pub confirmed: SystemTime,
    /// Since when upstream says that there is no such tag, where it is kept in spite of that.
    pub gone: Option<SystemTime>,
}

/// A stored manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its digest.
    pub digest: Digest,
    /// The `Content-Type` that upstream sent it with.
    pub media_type: String,
    /// Its own size.
    pub size: u64,
    /// When it was last asked for, or came.
    pub accessed: SystemTime,
    /// Whether it came without credentials.
    pub anonymous: bool,
    /// The manifest that it is about.
    pub subject: Option<Digest>,
    /// What kind of artifact it is: by its own word, else by the type of its configuration where that is no image's.
    pub artifact_type: Option<String>,
    /// The manifests that it lists.
    pub children: Vec<Link>,
    /// Its configuration and layers.
    pub blobs: Vec<Link>,
}

impl Kept {
    fn of(digest: &Digest, manifest: Manifest<'_>) -> Self {
        let Graph { children, blobs, subject, artifact_type } = manifest.graph();
        Self {
            digest: digest.clone(),
            media_type: manifest.media_type().to_owned(),
            size: manifest.size(),
            accessed: model::time(manifest.accessed()),
            anonymous: manifest.anonymous(),
            subject,
            artifact_type,
            children,
            blobs,
        }
    }
}

impl Store {
    /// The repositories that anything is known of, with their upstreams, in order. Of some there may be nothing here.
    pub fn repositories(&self) -> Vec<(String, Repository)> {
        let state = self.core().state();
        let names = state.model.names.ids().filter_map(|repo| state.model.names.get(repo));
        let mut names: Vec<_> =
            names.map(|(upstream, repository)| (upstream.to_string(), repository.clone())).collect();
        drop(state);
        names.sort();
        names
    }

    /// The tags of a repository that stand for something, in order.
    pub fn tagged(&self, upstream: &str, repository: &Repository) -> Vec<Tagged> {
        let state = self.core().state();
        let repo = state.model.names.find(upstream, repository);
        let tags = repo.and_then(|repo| state.model.bindings.get(&repo)).into_iter().flatten();
        let tagged = tags.map(|(tag, bound)| Tagged {
            tag: tag.clone(),
            digest: bound.digest.clone(),
            confirmed: model::time(bound.confirmed),
            gone: bound.gone.map(model::time),
        });
        let mut tagged: Vec<_> = tagged.collect();
        drop(state);
        tagged.sort_by(|one, other| one.tag.cmp(&other.tag));
        tagged
    }

    /// The manifests and blobs that are known to belong to a repository, in order; they need not be here. Takes time for
    /// all that is in the store.
    pub fn members(&self, upstream: &str, repository: &Repository) -> Vec<Digest> {
        let state = self.core().state();
        let Some(repo) = state.model.names.find(upstream, repository) else { return Vec::new() };
        let members = state.model.members().filter(|(_, repos)| repos.contains(&repo));
        let mut members: Vec<_> = members.map(|(digest, _)| digest.clone()).collect();
        drop(state);
        members.sort();
        members
    }

    /// The stored manifests of a repository that no tag of it stands for and no index of it lists, in order: what was
    /// asked for by digest, what its tag has left, and what is attached to others by its subject. Takes time for all
    /// manifests in the store.
    pub fn untagged(&self, upstream: &str, repository: &Repository) -> Vec<Digest> {
        let state = self.core().state();
        let Some(rack) = Rack::of(&state.model, upstream, repository) else { return Vec::new() };
        let mut untagged: Vec<_> = rack.untagged().cloned().collect();
        drop(state);
        untagged.sort();
        untagged
    }

    /// What is known of a stored manifest.
    pub fn kept(&self, digest: &Digest) -> Option<Kept> {
        self.core().state().model.manifest(digest).map(|manifest| Kept::of(digest, manifest))
    }

    /// When a committed blob or a stored manifest was last used.
    pub fn accessed(&self, digest: &Digest) -> Option<SystemTime> {
        let state = self.core().state();
        let blob = state.model.blob(digest).map(|entry| entry.accessed);
        let manifest = state.model.manifest(digest).map(Manifest::accessed);
        blob.max(manifest).map(model::time)
    }

    /// The stored manifests of a repository that say that they are about this one, in order.
    pub fn referrers(&self, upstream: &str, repository: &Repository, subject: &Digest) -> Vec<Kept> {
        let state = self.core().state();
        let Some(rack) = Rack::of(&state.model, upstream, repository) else { return Vec::new() };
        let digests = closure::Shelf::referrers(&rack, subject);
        digests.iter().filter_map(|digest| Some(Kept::of(digest, state.model.manifest(digest)?))).collect()
    }

    /// What an image of a repository needs, whether it is here or not. The lock is held for all of it, which is some
    /// hundred objects for an image and its platforms.
    pub fn closure(
        &self,
        upstream: &str,
        repository: &Repository,
        root: &Digest,
        wanted: &Wanted,
    ) -> Closure {
        let state = self.core().state();
        match Rack::of(&state.model, upstream, repository) {
            Some(rack) => closure(&rack, root, wanted),
            None => closure(&Rack::of_none(&state.model), root, wanted),
        }
    }

    /// The same of what a reference stands for; none of a tag that is bound to nothing.
    pub fn closure_of(
        &self,
        upstream: &str,
        repository: &Repository,
        reference: &Reference,
        wanted: &Wanted,
    ) -> Option<Closure> {
        let root = match reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(tag) => self.binding(upstream, repository, tag)?.digest,
        };
        Some(self.closure(upstream, repository, &root, wanted))
    }

    /// How many bytes of an image that are here would stay if it went away from its repository: because another image
    /// needs them, or another repository has them.
    pub fn shared_bytes(&self, upstream: &str, repository: &Repository, closure: &Closure) -> u64 {
        let state = self.core().state();
        let Some(rack) = Rack::of(&state.model, upstream, repository) else { return 0 };
        rack.shared(closure).map(|needed| needed.size).sum()
    }
}
