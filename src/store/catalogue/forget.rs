//! Forgetting: what an operator takes away.
//!
//! **Guarantees.** What is pinned is not forgotten. Whoever reads a blob reads on: its file loses its name alone. What
//! an image shares with others stays. When a call returns without an error, what it took away does not come back after
//! a crash: first memory forgets, so that nobody begins to read, then names go from the disk and sidecars lose what they
//! said, and the index last. A fill under way is left alone.
//! **Leaves to others** the memory of the mirror above, which asks here who belongs to a repository, and patterns.

use super::shelf::{Leaving, Rack};
use crate::oci::{Digest, Reference, Repository, Tag};
use crate::store::Store;
use crate::store::core::Core;
use crate::store::layout::Tree;
use crate::store::model::{Manifest, Model, RepoId};
use crate::store::room::Evicted;
use std::collections::HashSet;
use std::fmt;
use std::io;
use std::time::Duration;
use tracing::{info, warn};

/// How long it is waited for what a crash has left to be read.
const PATIENCE: Duration = Duration::from_secs(30);

/// What was taken away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// Tags that no longer stand for anything.
    pub tags: Vec<(String, Repository, Tag)>,
    /// Manifests and blobs that are no longer here.
    pub objects: u64,
    /// Their bytes; those of blobs that somebody reads are free when he has done.
    pub bytes: u64,
}

/// Why something was not forgotten.
#[derive(Debug)]
pub enum ForgetError {
    /// It is pinned, or a part of what is.
    Pinned,
    /// It is forgotten, but a crash might bring it back: the disk failed.
    NotDurable(io::Error),
}

/// What is to go, by what memory knows.
#[derive(Debug, Default)]
struct Plan {
    repo: Option<RepoId>,
    leaving: Leaving,
}

impl Store {
    /// Forgets a tag, and nothing of what it stands for; that goes when room is needed, as all else that is not used. None
    /// when it stood for nothing. Blocks.
    pub fn forget_tag(
        &self,
        upstream: &str,
        repository: &Repository,
        tag: &Tag,
    ) -> Result<Option<Digest>, ForgetError> {
        let bound = self.binding(upstream, repository, tag).map(|binding| binding.digest);
        self.core().forget(|model| {
            let Some(repo) = model.names.find(upstream, repository) else { return Ok(Plan::default()) };
            if model.pins.is_pinned(repo, tag) {
                return Err(ForgetError::Pinned);
            }
            Ok(Plan { repo: Some(repo), leaving: Leaving { tags: vec![tag.clone()], ..Leaving::default() } })
        })?;
        Ok(bound)
    }

    /// Forgets an image in a repository: its manifest or index, the tags that stand for it, what is attached to it, and
    /// all below it that nothing else needs. What another repository has stays there. Blocks.
    pub fn forget_image(
        &self,
        upstream: &str,
        repository: &Repository,
        root: &Digest,
    ) -> Result<Forgotten, ForgetError> {
        self.core().forget(|model| plan_of_image(model, upstream, repository, root))
    }

    /// What [`Store::forget_image`] would take away. From memory.
    pub fn would_forget_image(
        &self,
        upstream: &str,
        repository: &Repository,
        root: &Digest,
    ) -> Result<Forgotten, ForgetError> {
        let state = self.core().state();
        let model = &state.model;
        let plan = plan_of_image(model, upstream, repository, root)?;
        let mut would = Forgotten::default();
        for digest in &plan.leaving.objects {
            let blob = model.blob(digest).map(|entry| entry.size);
            let manifest = model.manifest(digest).map(Manifest::size);
            for size in blob.into_iter().chain(manifest) {
                would.objects += 1;
                would.bytes += size;
            }
        }
        would
            .tags
            .extend(plan.leaving.tags.into_iter().map(|tag| (upstream.to_owned(), repository.clone(), tag)));
        Ok(would)
    }

    /// Forgets a blob or a manifest everywhere, whoever needs it; of a manifest the tags as well. Blocks.
    pub fn forget_blob(&self, digest: &Digest) -> Result<Forgotten, ForgetError> {
        self.core().forget(|model| {
            if model.pinned().contains_key(digest) {
                return Err(ForgetError::Pinned);
            }
            Ok(Plan { repo: None, leaving: Leaving { objects: vec![digest.clone()], ..Leaving::default() } })
        })
    }
}

/// What goes with an image, unless it is pinned.
fn plan_of_image(
    model: &Model,
    upstream: &str,
    repository: &Repository,
    root: &Digest,
) -> Result<Plan, ForgetError> {
    let Some(repo) = model.names.find(upstream, repository) else { return Ok(Plan::default()) };
    let pinned: HashSet<Digest> = model.pinned().into_keys().collect();
    let leaving = Rack::new(model, repo).leaving(root, &pinned);
    let is_pinned = |tag: &Tag| model.pins.is_pinned(repo, tag);
    let named = model.pins.by_name.contains_key(&(repo, Reference::Digest(root.clone())));
    if named || pinned.contains(root) || leaving.tags.iter().any(is_pinned) {
        return Err(ForgetError::Pinned);
    }
    Ok(Plan { repo: Some(repo), leaving })
}

impl Core {
    /// Takes away what a plan says, made under the lock.
    fn forget(
        &self,
        plan: impl FnOnce(&Model) -> Result<Plan, ForgetError>,
    ) -> Result<Forgotten, ForgetError> {
        // What a crash has left to be read may need what goes.
        self.await_manifests(PATIENCE);
        let room = self.room();
        let mut gone = Evicted::default();
        let (outdated, forgotten) = self.change(|model| {
            let plan = plan(model)?;
            let outdated = model.spoken_of(&plan);
            let tags = self.take_out(model, &plan, &mut gone);
            Ok((outdated, Forgotten { tags, objects: gone.objects, bytes: gone.bytes }))
        })?;
        self.remove_files(&gone);
        let removed = self.sync_removed();
        let outdated = self.rewrite_outdated(&outdated);
        drop(room);
        let indexed = self.flush();
        if forgotten != Forgotten::default() {
            let Forgotten { tags, objects, bytes } = &forgotten;
            info!(target: "roadstead::store", tags = tags.len(), objects, bytes, "forgotten by order");
        }
        removed.and(outdated).map_err(ForgetError::NotDurable)?;
        if !indexed {
            return Err(ForgetError::NotDurable(io::Error::other("the index cannot be written")));
        }
        Ok(forgotten)
    }

    /// Takes a plan's objects out of the model; the tags that stand for nothing any more.
    fn take_out(&self, model: &mut Model, plan: &Plan, gone: &mut Evicted) -> Vec<(String, Repository, Tag)> {
        let mut tags = Vec::new();
        if let Some(repo) = plan.repo {
            for tag in &plan.leaving.tags {
                if model.bindings.get(&repo).is_some_and(|tags| tags.contains_key(tag)) {
                    tags.push((repo, tag.clone()));
                    model.unbind(repo, tag);
                }
            }
            for digest in &plan.leaving.members {
                model.remove_member(repo, digest);
            }
        }
        for digest in &plan.leaving.objects {
            if let Some(entry) = model.remove_blob(digest) {
                gone.count(entry.size);
                gone.files.push(self.layout.content(Tree::Blobs, digest));
                if !entry.anonymous {
                    gone.private.push(digest.clone());
                }
                if let Some(file) = self.open.take(digest) {
                    model.linger(file, entry.size);
                }
            }
            if let Some(left) = model.unfinished.get(digest).filter(|left| !left.filling).cloned() {
                model.end_unfinished(digest);
                model.linger(left.file, left.counted);
                gone.unfinished.push(digest.clone());
            }
            if model.has_manifest(digest) {
                tags.extend(model.tags_everywhere(digest));
            }
            if let Some(entry) = model.forget_manifest(digest) {
                gone.count(entry.size);
                gone.files
                    .extend([self.layout.content(Tree::Manifests, digest), self.layout.sidecar(digest)]);
            }
        }
        model.let_go();
        let names = tags.into_iter().filter_map(|(repo, tag)| {
            let (upstream, repository) = model.names.get(repo)?;
            Some((upstream.to_string(), repository.clone(), tag))
        });
        names.collect()
    }

    /// Writes anew what files of surviving objects say of the repository and its tags.
    fn rewrite_outdated(&self, outdated: &HashSet<Digest>) -> io::Result<()> {
        let mut shelves = HashSet::new();
        for digest in outdated {
            let (manifest, mark) = {
                let model = &self.state().model;
                (model.has_manifest(digest), model.is_private(digest))
            };
            if manifest {
                self.refresh_sidecar(digest)?;
                shelves.insert(self.layout.shelf(Tree::Manifests, digest));
            }
            if mark {
                self.refresh_mark(digest)?;
                shelves.insert(self.layout.shelf(Tree::Blobs, digest));
            }
        }
        shelves.iter().try_for_each(|shelf| self.disk.sync_dir(shelf))
    }

    fn sync_removed(&self) -> io::Result<()> {
        if !self.sync_partials() {
            return Err(io::Error::other("the directory of unfinished blobs cannot be synced"));
        }
        self.sync_thinned().inspect_err(|error| {
            warn!(target: "roadstead::store", %error, "what was forgotten by order may come back after a power loss");
        })
    }
}

impl Model {
    /// The objects of which files say what a plan takes back.
    fn spoken_of(&self, plan: &Plan) -> HashSet<Digest> {
        let tags = plan.repo.and_then(|repo| self.bindings.get(&repo));
        let bound = plan.leaving.tags.iter().filter_map(|tag| Some(&tags?.get(tag)?.digest));
        bound.chain(&plan.leaving.members).cloned().collect()
    }

    /// The tags that stand for a manifest, in whatever repository.
    pub(in crate::store) fn tags_everywhere(&self, digest: &Digest) -> Vec<(RepoId, Tag)> {
        let repos = self.members_of(digest).iter();
        let tags =
            repos.flat_map(|&repo| self.tags(repo, digest).into_iter().map(move |(tag, _)| (repo, tag)));
        tags.collect()
    }
}

impl fmt::Display for ForgetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pinned => f.write_str("it is pinned, or a part of what is"),
            Self::NotDurable(error) => {
                write!(
                    f,
                    "it is forgotten, but may come back after a crash, because the disk failed: {error}"
                )
            }
        }
    }
}

impl std::error::Error for ForgetError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Pinned => None,
            Self::NotDurable(error) => Some(error),
        }
    }
}
