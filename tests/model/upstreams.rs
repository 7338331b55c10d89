//! Upstream in its two parts: the registry, and the storage that it may redirect to.

use crate::support::images::Object;
use crate::support::upstream::{Seen, Upstream};

/// A registry and its storage, on two ports.
#[derive(Debug)]
pub(crate) struct Upstreams {
    pub(crate) registry: Upstream,
    pub(crate) storage: Upstream,
}

impl Upstreams {
    pub(crate) async fn start() -> Self {
        Self { registry: Upstream::start().await, storage: Upstream::start().await }
    }

    pub(crate) fn push(&self, repository: &str, blob: &Object) {
        self.parts().for_each(|part| part.push_blob(repository, blob));
    }

    /// What the line of each carries, in bytes a second; 0: no limit.
    pub(crate) fn set_line(&self, bytes_per_second: u64) {
        self.parts().for_each(|part| part.share_link(bytes_per_second));
    }

    /// What both saw, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        let mut seen: Vec<_> = self.parts().flat_map(|part| part.seen()).collect();
        seen.sort_by_key(|seen| seen.began);
        seen
    }

    pub(crate) fn open_connections(&self) -> usize {
        self.parts().map(|part| part.open_connections()).sum()
    }

    fn parts(&self) -> impl Iterator<Item = &Upstream> {
        [&self.registry, &self.storage].into_iter()
    }
}
