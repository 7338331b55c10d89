//! Where a fill may fetch its blob.

use std::sync::Arc;

use crate::oci::Repository;
use crate::upstream::Whereabouts;

use super::super::site::{Site, Target};

/// One (upstream, repository) pair through which a blob may be fetched.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Source {
    pub(in crate::mirror) site: Arc<Site>,
    pub(in crate::mirror) repository: Repository,
    /// Where its bytes were found, while the fill runs.
    pub(in crate::mirror) whereabouts: Whereabouts,
}

impl Source {
    pub(in crate::mirror) fn of(target: &Target) -> Self {
        Self {
            site: Arc::clone(&target.site),
            repository: target.repository.clone(),
            whereabouts: Whereabouts::default(),
        }
    }
}

/// Two sources are one when they name the same upstream and repository, also across a reload of the configuration.
impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.site.name() == other.site.name() && self.repository == other.repository
    }
}

impl Eq for Source {}

/// What is known of a source's right to the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::mirror) enum Right {
    /// Nothing yet: its own upstream is being asked, and only its yes will do.
    Asked,
    /// No request came through it: a manifest of it names the blob, and so it may have the blob to give.
    Elsewhere,
    /// One of its manifests names the blob, which is enough while everything comes without credentials.
    Named,
    /// Its upstream has said yes.
    Confirmed,
}
