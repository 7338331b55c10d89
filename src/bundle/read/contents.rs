//! The picture of an archive: what it has, where it lies, and what it is called.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::side::{Document, Place};
use crate::oci::{Digest, Manifest};

use super::layout::Need;

/// What an archive holds.
#[derive(Debug, Default)]
pub(in crate::bundle) struct Contents {
    /// What it shows, in its order.
    pub(in crate::bundle) roots: Vec<Root>,
    /// The manifests that can be reached from there and are in it, verified.
    pub(in crate::bundle) manifests: BTreeMap<Digest, Found>,
    /// The blobs that those name: where each lies, if it is here, and its size.
    pub(in crate::bundle) blobs: BTreeMap<Digest, Blob>,
    /// How many manifests an index names that are not in it.
    pub(in crate::bundle) sparse: usize,
    /// What an earlier bundle has to have brought; none for what stands by itself.
    pub(in crate::bundle) needs: Option<Vec<Need>>,
    /// What came with credentials; none where nobody says so.
    pub(in crate::bundle) private: Option<BTreeSet<Digest>>,
    /// Why digests may not be those of the registry that the images came from.
    pub(in crate::bundle) loss: Option<Loss>,
}

/// What an archive shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bundle) struct Root {
    pub(in crate::bundle) digest: Digest,
    /// What it is called: a whole reference, or a mere tag.
    pub(in crate::bundle) name: Option<String>,
    /// The repository that it is of, where it has no name of its own.
    pub(in crate::bundle) repository: Option<String>,
    /// Where it is, when that is already known.
    pub(in crate::bundle) place: Option<Place>,
    /// The manifest that it is about.
    pub(in crate::bundle) subject: Option<Digest>,
}

/// A manifest that was found.
#[derive(Clone, Debug)]
pub(in crate::bundle) struct Found {
    pub(in crate::bundle) document: Document,
    pub(in crate::bundle) manifest: Manifest,
}

/// A blob that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::bundle) struct Blob {
    pub(in crate::bundle) path: Option<String>,
    pub(in crate::bundle) size: u64,
    /// It need not be anywhere: registries do not hand it out either.
    pub(in crate::bundle) foreign: bool,
}

/// Why digests are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bundle) enum Loss {
    /// The archive has no manifests, so they were made here.
    Made,
    /// The archive has manifests over layers that were unpacked.
    Unpacked,
}

impl Root {
    pub(in crate::bundle) fn unnamed(digest: Digest) -> Self {
        Self { digest, name: None, repository: None, place: None, subject: None }
    }
}

/// Whether a layer is one that is fetched from elsewhere, and that mirrors and archives may lack.
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".foreign.") || media_type.contains(".nondistributable.")
}
