//! What an earlier bundle brought, for a difference to it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::bundle::error::Error;
use crate::oci::Digest;

use super::Limits;
use super::layout::{INDEX, digest_at, sheet};
use super::source::Source;

/// The content that is there where an earlier bundle was imported.
#[derive(Debug)]
pub(in crate::bundle) struct Base {
    has: BTreeSet<Digest>,
}

impl Base {
    /// Reads what is in a bundle, and what it needed itself: without that it would not have been imported.
    pub(in crate::bundle) fn read(paths: &[PathBuf], limits: &Limits) -> Result<Self, Error> {
        let mut source = Source::open(paths, limits)?;
        let listing = source.list()?;
        if !listing.files.contains_key(INDEX) {
            return Err(Error::UnknownFormat(source.path()));
        }
        let needs = sheet(&source, &listing)?.and_then(|sheet| sheet.needs).unwrap_or_default();
        let needed = needs.iter().filter_map(|need| need.digest.parse().ok());
        let has = listing.files.keys().filter_map(|path| digest_at(path)).chain(needed).collect();
        Ok(Self { has })
    }

    pub(in crate::bundle) fn has(&self, digest: &Digest) -> bool {
        self.has.contains(digest)
    }
}
