//! What memory knows, as one repository sees it.

use super::closure::{Closure, Kind, Needed, Shelf, Standing, Wanted, Why, closure};
use crate::oci::{Digest, Repository, Tag};
use crate::store::model::{Bound, Graph, Manifest, Model, RepoId};
use std::collections::{HashMap, HashSet};

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
        self.model.belongs(repo, digest)
    }

    fn is_elsewhere(&self, digest: &Digest) -> bool {
        self.model.members_of(digest).iter().copied().any(|repo| Some(repo) != self.repo)
    }

    /// The stored manifests that name a digest.
    fn parents(&self, digest: &Digest) -> impl Iterator<Item = &'a Digest> + use<'a> {
        self.model.parents_of(digest)
    }

    /// As [`super::super::Store::untagged`].
    pub(super) fn untagged(&self) -> impl Iterator<Item = &'a Digest> + '_ {
        let bound: HashSet<&Digest> = self.tags().map(|(_, bound)| &bound.digest).collect();
        let manifests = self.model.manifests().map(|(digest, _)| digest);
        manifests.filter(move |digest| {
            let listed = || self.parents(digest).any(|parent| self.is_member(parent));
            self.is_member(digest) && !bound.contains(*digest) && !listed()
        })
    }

    /// What of a closure would stay if its root went away from the repository. `pinned` stays in any case.
    pub(super) fn survivors<'c>(&self, closure: &'c Closure, pinned: &HashSet<Digest>) -> Survivors<'c> {
        let own: HashSet<&Digest> = closure.objects.iter().map(|needed| &needed.digest).collect();
        let root = closure.objects.first().map(|needed| &needed.digest);
        let tagged: HashSet<&Digest> =
            self.tags().filter(|(tag, _)| !tag.is_attached()).map(|(_, bound)| &bound.digest).collect();
        let is_kept_here = |digest: &&Digest| {
            let mut outside = self.parents(digest).filter(|parent| !own.contains(parent));
            outside.any(|parent| self.is_member(parent))
                || (Some(*digest) != root && tagged.contains(*digest))
                || pinned.contains(*digest)
        };
        let here = self.spread(closure, &own, own.iter().copied().filter(is_kept_here).collect());
        let is_kept = |digest: &&Digest| {
            let outside = || self.parents(digest).any(|parent| !own.contains(parent));
            here.contains(digest) || self.is_elsewhere(digest) || outside()
        };
        let anywhere = self.spread(closure, &own, own.iter().copied().filter(is_kept).collect());
        Survivors { here, anywhere }
    }

    /// These, and all of the closure that they need.
    fn spread<'c>(
        &self,
        closure: &'c Closure,
        own: &HashSet<&'c Digest>,
        mut ahead: Vec<&'c Digest>,
    ) -> HashSet<&'c Digest> {
        let mut attached: HashMap<&Digest, Vec<&'c Digest>> = HashMap::new();
        for needed in &closure.objects {
            if let (Some(parent), Why::Referrer | Why::Attached(_)) = (&needed.parent, &needed.why) {
                attached.entry(parent).or_default().push(&needed.digest);
            }
        }
        let mut stays = HashSet::new();
        while let Some(digest) = ahead.pop() {
            if !stays.insert(digest) {
                continue;
            }
            let links = self.model.manifest(digest).into_iter().flat_map(Manifest::links);
            ahead.extend(links.filter_map(|link| own.get(link.digest).copied()));
            ahead.extend(attached.get(digest).into_iter().flatten().copied());
        }
        stays
    }

    /// The tags of the repository that stand for something.
    fn tags(&self) -> impl Iterator<Item = (&'a Tag, &'a Bound)> {
        self.repo.and_then(|repo| self.model.bindings.get(&repo)).into_iter().flatten()
    }

    /// What of a closure is here and kept by others.
    pub(super) fn shared<'c>(&self, closure: &'c Closure) -> impl Iterator<Item = &'c Needed> {
        let Survivors { anywhere, .. } = self.survivors(closure, &HashSet::new());
        let here = closure.objects.iter().filter(|needed| needed.standing != Standing::Absent);
        here.filter(move |needed| anywhere.contains(&needed.digest))
    }

    /// What goes when an image is forgotten in the repository.
    pub(super) fn leaving(&self, root: &Digest, pinned: &HashSet<Digest>) -> Leaving {
        let closure = closure(self, root, &Wanted { foreign: true, ..Wanted::ALL });
        let Survivors { here, anywhere } = self.survivors(&closure, pinned);
        let goes: HashSet<&Digest> = closure.objects.iter().map(|needed| &needed.digest).collect();
        let goes = |digest: &Digest| goes.contains(digest) && !here.contains(digest);
        let tags = self
            .tags()
            .filter(|(tag, bound)| bound.digest == *root || (tag.is_attached() && goes(&bound.digest)));
        let mut tags: Vec<Tag> = tags.map(|(tag, _)| tag.clone()).collect();
        tags.sort();
        let without = |stays: &HashSet<&Digest>| -> Vec<Digest> {
            let digests = closure.objects.iter().map(|needed| &needed.digest);
            let mut gone: Vec<_> = digests.filter(|digest| !stays.contains(digest)).cloned().collect();
            // One may be asked for as a manifest and as a blob.
            gone.sort();
            gone.dedup();
            gone
        };
        Leaving { tags, members: without(&here), objects: without(&anywhere) }
    }
}

/// What of an image stays when it is forgotten in its repository.
pub(super) struct Survivors<'c> {
    /// What the repository needs for other images, and what is pinned.
    here: HashSet<&'c Digest>,
    /// That, and what other repositories have or need.
    anywhere: HashSet<&'c Digest>,
}

/// What goes with an image.
#[derive(Debug, Default)]
pub(super) struct Leaving {
    /// The tags of its repository that stand for it, and those that attach something to it.
    pub(super) tags: Vec<Tag>,
    /// What no longer belongs to the repository.
    pub(super) members: Vec<Digest>,
    /// What nothing needs any more.
    pub(super) objects: Vec<Digest>,
}

impl Shelf for Rack<'_> {
    fn manifest(&self, digest: &Digest) -> Option<Graph> {
        self.model.manifest(digest).map(Manifest::graph)
    }

    fn standing(&self, kind: Kind, digest: &Digest, by_name: bool) -> (Standing, Option<u64>) {
        let (size, anonymous) = match kind {
            Kind::Manifest => {
                let Some(manifest) = self.model.manifest(digest) else { return (Standing::Absent, None) };
                (manifest.size(), manifest.anonymous())
            }
            Kind::Blob => match (self.model.blob(digest), self.model.unfinished.get(digest)) {
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
        let referrers = self.model.referrers_of(subject);
        let mut referrers: Vec<_> = referrers.filter(|digest| self.is_member(digest)).cloned().collect();
        referrers.sort();
        referrers
    }

    fn bound(&self, tag: &Tag) -> Option<Digest> {
        self.model.bindings.get(&self.repo?)?.get(tag).map(|bound| bound.digest.clone())
    }
}
