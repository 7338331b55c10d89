//! What memory knows, as one repository sees it.

use super::closure::{Closure, Kind, Shelf, Standing};
use crate::oci::{Digest, Repository, Tag};
use crate::store::model::{Bound, Graph, Model, RepoId};
use std::collections::HashSet;

/// The model, for the clients of one repository.
pub(in crate::store) struct Rack<'a> {
    model: &'a Model,
    /// None is a repository that nothing is known of.
    repo: Option<RepoId>,
}

impl<'a> Rack<'a> {
    pub(in crate::store) fn new(model: &'a Model, repo: RepoId) -> Self {
        Self { model, repo: Some(repo) }
    }

    /// None where nothing is known of the repository.
    pub(super) fn of(model: &'a Model, upstream: &str, repository: &Repository) -> Option<Self> {
        Some(Self::new(model, model.names.find(upstream, repository)?))
    }

    /// For a repository that nothing is known of.
    pub(super) fn of_none(model: &'a Model) -> Self {
        Self { model, repo: None }
    }

    fn is_member(&self, digest: &Digest) -> bool {
        let Some(repo) = self.repo else { return false };
        self.model.members.get(digest).is_some_and(|repos| repos.contains(&repo))
    }

    fn is_elsewhere(&self, digest: &Digest) -> bool {
        let repos = self.model.members.get(digest).into_iter().flatten();
        repos.copied().any(|repo| Some(repo) != self.repo)
    }

    /// The stored manifests that name a digest.
    fn parents(&self, digest: &Digest) -> impl Iterator<Item = &'a Digest> {
        self.model.parents.get(digest).into_iter().flatten()
    }

    /// As [`super::super::Store::untagged`].
    pub(super) fn untagged(&self) -> impl Iterator<Item = &'a Digest> + '_ {
        let bound: HashSet<&Digest> = self.tags().map(|(_, bound)| &bound.digest).collect();
        let manifests = self.model.manifests.iter().map(|(digest, _)| digest);
        manifests.filter(move |digest| {
            let listed = || self.parents(digest).any(|parent| self.is_member(parent));
            self.is_member(digest) && !bound.contains(*digest) && !listed()
        })
    }

    /// The objects of a closure that something outside of it keeps: an image that is not part of it, a tag that stands for
    /// a part of it, another repository.
    pub(super) fn kept_by_others<'c>(&self, closure: &'c Closure) -> HashSet<&'c Digest> {
        let own: HashSet<&Digest> = closure.objects.iter().map(|needed| &needed.digest).collect();
        let root = closure.objects.first().map(|needed| &needed.digest);
        let tagged: HashSet<&Digest> =
            self.tags().filter(|(tag, _)| !tag.is_attached()).map(|(_, bound)| &bound.digest).collect();
        let kept = |digest: &Digest| {
            self.is_elsewhere(digest)
                || self.parents(digest).any(|parent| !own.contains(parent))
                || (Some(digest) != root && tagged.contains(digest))
        };
        let mut stays = HashSet::new();
        let mut ahead: Vec<&'c Digest> =
            closure.objects.iter().map(|needed| &needed.digest).filter(|digest| kept(digest)).collect();
        while let Some(digest) = ahead.pop() {
            if !stays.insert(digest) {
                continue;
            }
            let links = self.model.manifests.peek(digest).into_iter().flat_map(|entry| entry.graph.links());
            let below = links.filter_map(|link| own.get(&link.digest).copied());
            ahead.extend(below);
        }
        stays
    }

    /// The tags of the repository that stand for something.
    fn tags(&self) -> impl Iterator<Item = (&'a Tag, &'a Bound)> {
        self.repo.and_then(|repo| self.model.bindings.get(&repo)).into_iter().flatten()
    }

    /// The bytes of a closure that are here and that others keep.
    pub(super) fn shared(&self, closure: &Closure) -> u64 {
        let stays = self.kept_by_others(closure);
        let here = closure.objects.iter().filter(|needed| stays.contains(&needed.digest));
        here.filter(|needed| !matches!(needed.standing, Standing::Absent)).map(|needed| needed.size).sum()
    }
}

impl Shelf for Rack<'_> {
    fn manifest(&self, digest: &Digest) -> Option<&Graph> {
        self.model.manifests.peek(digest).map(|entry| &entry.graph)
    }

    fn standing(&self, kind: Kind, digest: &Digest, by_name: bool) -> (Standing, Option<u64>) {
        let (size, anonymous) = match kind {
            Kind::Manifest => {
                let Some(entry) = self.model.manifests.peek(digest) else { return (Standing::Absent, None) };
                (entry.size, entry.anonymous)
            }
            Kind::Blob => match (self.model.blobs.peek(digest), self.model.unfinished.get(digest)) {
                (Some(entry), _) => (entry.size, entry.anonymous),
                (None, Some(entry)) => return (Standing::Unfinished, Some(entry.size)),
                (None, None) => return (Standing::Absent, None),
            },
        };
        let named = || by_name || self.parents(digest).any(|parent| self.is_member(parent));
        let standing = if self.is_member(digest) || (anonymous && named()) {
            Standing::Here
        } else {
            Standing::NoMember
        };
        (standing, Some(size))
    }

    fn referrers(&self, subject: &Digest) -> Vec<Digest> {
        let referrers = self.model.referrers.get(subject).into_iter().flatten();
        let mut referrers: Vec<_> = referrers.filter(|digest| self.is_member(digest)).cloned().collect();
        referrers.sort();
        referrers
    }

    fn bound(&self, tag: &Tag) -> Option<Digest> {
        self.model.bindings.get(&self.repo?)?.get(tag).map(|bound| bound.digest.clone())
    }
}
