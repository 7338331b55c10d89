//! What archives hold: any of the formats, read into one picture of it.
//!
//! Where bytes lie ([`source`]) is one question, what they mean ([`contents`] and the formats) another. An archive that is
//! packed is read from its start as often as it takes, because its order is anybody's; nothing is unpacked to the disk.

mod base;
mod contents;
mod docker;
mod expand;
mod folder;
mod gather;
mod joined;
mod layout;
mod path;
mod registry;
mod source;
mod tape;
mod transport;
mod volumes;

pub(super) use base::Base;
pub use contents::is_foreign;
pub(super) use contents::{Contents, Loss, Root};
pub(super) use layout::{
    LAYOUT_VERSION, NAME, Need, OWN_NAME, REF_NAME, REPOSITORY, SUBJECT, Sheet, blob_path,
};
pub(super) use source::Source;
pub(super) use volumes::{HEAD as VOLUME_HEAD, Volume};

use std::io;
use std::path::PathBuf;

use super::error::{Error, Refusal};

/// What an archive may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many bytes may come out of each packed one. Layers are packed already, so that 1 is common and 20 is much.
    pub ratio: u64,
    /// How many bytes may come out before that counts.
    pub slack: u64,
    /// How many entries there may be.
    pub entries: usize,
    /// How many bytes all manifests together may have: they are held in memory.
    pub documents: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { ratio: 200, slack: 64 << 20, entries: 500_000, documents: 256 << 20 }
    }
}

/// Reads what an archive holds; its blobs are only seen to be there.
pub(super) fn read(
    source: &mut Source,
    naming: &super::naming::Naming,
    limits: &Limits,
) -> Result<Contents, Error> {
    let listing = source.list()?;
    if listing.files.contains_key(layout::INDEX) && listing.files.contains_key(layout::MARK) {
        layout::read(source, &listing, limits)
    } else if listing.files.contains_key(layout::INDEX) && !listing.files.contains_key(docker::MANIFEST) {
        // Some tools leave the mark out.
        layout::read(source, &listing, limits)
    } else if let Some(root) = registry::root(&listing) {
        registry::read(source, &listing, &root, naming, limits)
    } else if transport::is_one(&listing) {
        transport::read(source, &listing, limits)
    } else if listing.files.contains_key(docker::MANIFEST) {
        docker::read(source, &listing, limits)
    } else {
        Err(Error::UnknownFormat(source.path()))
    }
}

/// What a failed read of an entry means.
pub(super) fn broken(path: PathBuf, entry: &str, packed: bool, error: io::Error) -> Error {
    if let Some(refusal) = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        return Error::entry(entry, refusal.clone());
    }
    match error.kind() {
        _ if error.raw_os_error().is_some() => Error::Io { doing: "read", path, error },
        io::ErrorKind::UnexpectedEof => Error::entry(entry, Refusal::Truncated),
        _ if packed => Error::entry(entry, Refusal::Packing(error.to_string())),
        _ => Error::Io { doing: "read", path, error },
    }
}
