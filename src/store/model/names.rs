//! Repositories of upstreams, as small numbers.

use crate::oci::Repository;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// A repository of an upstream, by number; the index keeps what the number means.
pub(crate) type RepoId = u32;

/// No repository has this number or a greater one; sets of them have another use for these.
const TOO_GREAT: RepoId = 1 << 31;

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

    /// Gives a repository the number that the index has for it, unless that was never given to any: then the index is
    /// damaged there, and the repository gets another when it is asked for.
    pub(in crate::store) fn restore(&mut self, id: RepoId, upstream: &str, repository: Repository) {
        if id >= TOO_GREAT {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_was_never_given_is_not_taken_from_the_index() {
        let mut names = Names::default();
        let repository: Repository = "team/app".parse().expect("a repository");
        names.restore(TOO_GREAT | 5, "a.test", repository.clone());
        assert_eq!(names.find("a.test", &repository), None);
        assert_eq!(names.intern("a.test", &repository), (0, true));
        names.restore(7, "b.test", repository.clone());
        assert_eq!(names.intern("c.test", &repository), (8, true));
    }
}
