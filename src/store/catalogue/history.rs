//! What tags have stood for.

use crate::oci::{Digest, Repository, Tag};
use crate::store::{Store, model};
use std::time::SystemTime;

/// What a tag stood for from some time on, until the next change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The manifest.
    pub digest: Digest,
    /// Since when the mirror knows that.
    pub since: SystemTime,
}

impl Store {
    /// What a tag is known to have stood for, the oldest first, and what it stands for now at the end, where it does. So
    /// much is kept: the last 32 changes of a tag, 65,536 of all. That a tag was away for a while does
    /// not show.
    pub fn history(&self, upstream: &str, repository: &Repository, tag: &Tag) -> Vec<Change> {
        let state = self.core().state();
        let Some(repo) = state.model.names.find(upstream, repository) else { return Vec::new() };
        let changes = state.model.changes_of(repo, tag).into_iter();
        changes.map(|(digest, since)| Change { digest, since: model::time(since) }).collect()
    }
}
