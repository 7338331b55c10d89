//! Where a fill may fetch its blob.

use std::sync::Arc;

use crate::oci::Repository;
use crate::upstream::RedirectMemo;

use super::super::site::{Site, Target};

/// One (upstream, repository) pair through which a blob may be fetched.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Source {
    pub(in crate::mirror) site: Arc<Site>,
    pub(in crate::mirror) repository: Repository,
    /// Where this source's redirects led, while the fill runs.
    pub(in crate::mirror) memo: Arc<RedirectMemo>,
}

impl Source {
    pub(in crate::mirror) fn of(target: &Target) -> Self {
        Self { site: Arc::clone(&target.site), repository: target.repository.clone(), memo: Arc::default() }
    }
}

/// Two sources are one when they name the same upstream and repository, also across a reload of the configuration.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.site.name() == other.site.name() && self.repository == other.repository
    }
}

impl Eq for Source {}
