//! Repositories of upstreams, as small numbers.

use crate::oci::Repository;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A repository of an upstream, by number; the index keeps what the number means.
pub(crate) type RepoId = u32;

/// The repositories that anything is known of.
#[derive(Debug, Default)]
pub(in crate::store) struct Names {
    ids: HashMap<Arc<str>, HashMap<Repository, RepoId>>,
    names: BTreeMap<RepoId, (Arc<str>, Repository)>,
}

impl Names {
    /// The number of a repository, if it has one; asking gives it none.
    pub(in crate::store) fn find(&self, upstream: &str, repository: &Repository) -> Option<RepoId> {
        self.ids.get(upstream)?.get(repository).copied()
    }

    /// The number of a repository, and whether it is new.
    pub(in crate::store) fn intern(&mut self, upstream: &str, repository: &Repository) -> (RepoId, bool) {
        if let Some(id) = self.find(upstream, repository) {
            return (id, false);
        }
        let id = self.names.last_key_value().map_or(0, |(last, _)| last + 1);
        self.restore(id, upstream, repository.clone());
        (id, true)
    }

    /// Gives a repository the number that the index has for it.
    pub(in crate::store) fn restore(&mut self, id: RepoId, upstream: &str, repository: Repository) {
        let upstream: Arc<str> =
            self.ids.get_key_value(upstream).map_or_else(|| upstream.into(), |(name, _)| name.clone());
        self.ids.entry(upstream.clone()).or_default().insert(repository.clone(), id);
        self.names.insert(id, (upstream, repository));
    }

    pub(in crate::store) fn get(&self, id: RepoId) -> Option<&(Arc<str>, Repository)> {
        self.names.get(&id)
    }

    pub(in crate::store) fn ids(&self) -> impl Iterator<Item = RepoId> + '_ {
        self.names.keys().copied()
    }
}
