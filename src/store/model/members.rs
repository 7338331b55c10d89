//! Which repositories a digest belongs to, and which manifests name it.

use super::digests::Id;
use super::{Model, RepoId};
use crate::oci::{Digest, Repository};
use std::collections::{BTreeSet, HashSet};

impl Model {
    pub(in crate::store) fn is_member(
        &self,
        upstream: &str,
        repository: &Repository,
        digest: &Digest,
    ) -> bool {
        self.names.find(upstream, repository).is_some_and(|repo| self.belongs(repo, digest))
    }

    /// The same of a repository by number.
    pub(in crate::store) fn belongs(&self, repo: RepoId, digest: &Digest) -> bool {
        self.digests.find(digest).is_some_and(|id| self.members.contains(id, repo))
    }

    /// The repositories that a digest is a member of, in order.
    pub(in crate::store) fn members_of(&self, digest: &Digest) -> &[RepoId] {
        self.digests.find(digest).map_or(&[], |id| self.members.get(id))
    }

    /// The digests that are members of anything, with the repositories.
    pub(in crate::store) fn members(&self) -> impl Iterator<Item = (&Digest, &[RepoId])> {
        let members = self.digests.ids().map(|id| (self.digests.get(id), self.members.get(id)));
        members.filter(|(_, repos)| !repos.is_empty())
    }

    /// The repositories that the digest is a member of.
    pub(in crate::store) fn repositories_of(&self, digest: &Digest) -> Vec<(String, Repository)> {
        self.names_of_repositories(self.members_of(digest).iter().copied())
    }

    /// The repositories that the digest is a member of, and then those whose manifests name it.
    pub(in crate::store) fn holders(&self, digest: &Digest) -> Vec<(String, Repository)> {
        let Some(id) = self.digests.find(digest) else { return Vec::new() };
        let own = self.members.get(id);
        let naming = self.parents_by_id(id).flat_map(|parent| self.members.get(parent));
        let mut seen = BTreeSet::new();
        let repos = own.iter().chain(naming).copied().filter(|&repo| seen.insert(repo));
        self.names_of_repositories(repos)
    }

    fn names_of_repositories(&self, repos: impl Iterator<Item = RepoId>) -> Vec<(String, Repository)> {
        let names = repos.filter_map(|repo| self.names.get(repo));
        names.map(|(upstream, repository)| (upstream.to_string(), repository.clone())).collect()
    }

    pub(in crate::store) fn add_member(&mut self, repo: RepoId, digest: &Digest) {
        let id = self.digests.intern(digest);
        if self.members.insert(id, repo) {
            self.version += 1;
            self.dirty.members.insert((digest.clone(), repo));
            self.outdate_sidecar(digest);
        }
    }

    /// The opposite of [`Self::add_member`].
    pub(in crate::store) fn remove_member(&mut self, repo: RepoId, digest: &Digest) {
        let Some(id) = self.digests.find(digest) else { return };
        if self.members.remove(id, repo) {
            self.version += 1;
            self.dirty.members.insert((digest.clone(), repo));
            self.outdate_sidecar(digest);
            self.release(id);
        }
    }

    /// The stored manifests that name a digest.
    pub(in crate::store) fn parents_of<'a>(
        &'a self,
        digest: &Digest,
    ) -> impl Iterator<Item = &'a Digest> + use<'a> {
        let parents = self.digests.find(digest).into_iter().flat_map(|id| self.parents_by_id(id));
        parents.map(|parent| self.digests.get(parent))
    }

    fn parents_by_id(&self, id: Id) -> impl Iterator<Item = Id> + '_ {
        self.parents.get(id).iter().copied().map(Id::from_raw)
    }

    /// The stored manifests that have a digest for their subject.
    pub(in crate::store) fn referrers_of<'a>(
        &'a self,
        digest: &Digest,
    ) -> impl Iterator<Item = &'a Digest> + use<'a> {
        let referrers = self.digests.find(digest).map_or(&[][..], |id| self.referrers.get(id));
        referrers.iter().map(|referrer| self.digests.get(Id::from_raw(*referrer)))
    }

    /// The size that a member manifest of the repository gives for a digest that it names.
    pub(in crate::store) fn named(
        &self,
        upstream: &str,
        repository: &Repository,
        digest: &Digest,
    ) -> Option<u64> {
        let repo = self.names.find(upstream, repository)?;
        let id = self.digests.find(digest)?;
        let parents = self.parents_by_id(id).filter(|parent| self.members.contains(*parent, repo));
        let mut sizes = parents.filter_map(|parent| self.manifests.get(parent)?.size_of(id));
        let first = sizes.next()?;
        // A manifest without sizes (schema 1) says less than another one that has them.
        Some(if first > 0 { first } else { sizes.find(|&size| size > 0).unwrap_or(0) })
    }

    /// Forgets the memberships of a digest that is not here and that nothing here names any more, so that what is
    /// remembered is bounded by what is stored.
    pub(in crate::store) fn drop_idle_membership(&mut self, digest: &Digest) {
        let Some(id) = self.digests.find(digest) else { return };
        if self.is_needed(id) || self.unfinished.contains_key(digest) {
            return;
        }
        for repo in self.members.take(id) {
            self.version += 1;
            self.dirty.members.insert((digest.clone(), repo));
        }
        self.release(id);
    }

    /// Whether it is here, or something here names it.
    fn is_needed(&self, id: Id) -> bool {
        self.blobs.contains(id) || self.manifests.contains(id) || !self.parents.is_empty(id)
    }

    /// Takes back the number of a digest that nothing is known of any more.
    pub(super) fn release(&mut self, id: Id) {
        if !self.is_needed(id) && self.members.is_empty(id) && self.referrers.is_empty(id) {
            self.digests.release(id);
        }
    }

    /// Drops, after a load, the memberships that nothing refers to, save those that a binding needs.
    pub(in crate::store) fn prune(&mut self) {
        let idle = self.digests.ids().filter(|id| !self.is_needed(*id));
        let idle: Vec<Digest> = idle.map(|id| self.digests.get(id).clone()).collect();
        if idle.is_empty() {
            return;
        }
        let tags = self.bindings.values().flat_map(std::collections::HashMap::values);
        let bound: HashSet<Digest> = tags.map(|bound| bound.digest.clone()).collect();
        for digest in idle.iter().filter(|digest| !bound.contains(*digest)) {
            self.drop_idle_membership(digest);
        }
    }
}
