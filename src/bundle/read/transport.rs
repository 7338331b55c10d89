//! What skopeo's `dir:` writes: one image, `manifest.json`, `<hex>.manifest.json` for each of an index, blobs by their
//! bare digits. It has no name.

use std::collections::BTreeMap;

use crate::bundle::error::{Error, Refusal};
use crate::oci::{Algorithm, Digest};

use super::Limits;
use super::contents::{Contents, Root};
use super::gather::{Wanted, Whereabouts, documents, gather, verified};
use super::source::{Listing, Source};

const MANIFEST: &str = "manifest.json";
const VERSION: &str = "version";
const KNOWN: &[u8] = b"Directory Transport Version: 1.";

/// Whether it is such a directory.
pub(super) fn is_one(listing: &Listing) -> bool {
    listing.files.contains_key(VERSION) && listing.files.contains_key(MANIFEST)
}

pub(super) fn read(source: &Source, listing: &Listing, limits: &Limits) -> Result<Contents, Error> {
    let mut documents = documents(source, listing, &[VERSION, MANIFEST])?;
    let version = documents.remove(VERSION).unwrap_or_default();
    if !version.starts_with(KNOWN) {
        let version = String::from_utf8_lossy(&version).into_owned();
        return Err(Error::entry(VERSION, Refusal::Version(version)));
    }
    let bytes = documents.remove(MANIFEST).ok_or_else(|| Error::entry(MANIFEST, Refusal::Missing))?;
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let (digest, found) = verified(MANIFEST, &digest, "", bytes)?;
    let size = found.document.bytes.len() as u64;
    let mut contents = Contents { roots: vec![Root::unnamed(digest.clone())], ..Contents::default() };
    let root = Wanted { media_type: found.document.media_type, size, root: true };
    let whereabouts = Whereabouts {
        blob: &flat,
        manifest: &|of| if *of == digest { MANIFEST.to_owned() } else { flat(of) + ".manifest.json" },
    };
    gather(source, listing, BTreeMap::from([(digest.clone(), root)]), &whereabouts, limits, &mut contents)?;
    Ok(contents)
}

fn flat(digest: &Digest) -> String {
    match digest.algorithm() {
        Algorithm::Sha256 => digest.hex(),
        other => format!("{other}-{}", digest.hex()),
    }
}
