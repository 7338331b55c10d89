//! From the roots of an archive down: reads and verifies the manifests, level by level, and finds the blobs.

use std::collections::{BTreeMap, BTreeSet, btree_map};
use std::io::Read;

use bytes::Bytes;

use crate::bundle::error::{Error, Refusal};
use crate::bundle::side::Document;
use crate::oci::{Descriptor, Digest, MAX_MANIFEST_BYTES, Manifest, ManifestKind};

use super::Limits;
use super::contents::{Blob, Contents, Found, is_foreign};
use super::source::{Listing, Source};

/// How deep manifests name each other.
const DEEPEST: usize = 8;

/// Where an archive keeps things.
pub(super) struct Whereabouts<'a> {
    pub(super) blob: &'a dyn Fn(&Digest) -> String,
    pub(super) manifest: &'a dyn Fn(&Digest) -> String,
}

/// A manifest that is wanted: its type and its size, as far as somebody says them.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    pub(super) media_type: String,
    pub(super) size: u64,
    /// It has to be there.
    pub(super) root: bool,
}

/// Reads what can be reached from `roots` into `contents`.
pub(super) fn gather(
    source: &Source,
    listing: &Listing,
    roots: BTreeMap<Digest, Wanted>,
    at: &Whereabouts<'_>,
    limits: &Limits,
    contents: &mut Contents,
) -> Result<(), Error> {
    let mut level = roots;
    let mut total: u64 = contents.manifests.values().map(|found| found.document.bytes.len() as u64).sum();
    for _ in 0..DEEPEST {
        let mut paths = BTreeMap::new();
        for (digest, wanted) in &level {
            let path = (at.manifest)(digest);
            let Some(has) = listing.file(&path)? else {
                if wanted.root {
                    return Err(Error::entry(path, Refusal::Missing));
                }
                contents.sparse += 1;
                continue;
            };
            if wanted.size > 0 && has != wanted.size {
                return Err(Error::entry(path, Refusal::Size { said: wanted.size, has }));
            }
            total += has;
            if total > limits.documents {
                return Err(Error::entry(path, Refusal::LargeDocuments(limits.documents)));
            }
            paths.insert(path, (digest, wanted));
        }
        let mut found = Vec::new();
        source.visit(&paths.keys().cloned().collect(), &mut |path, size, content| {
            let bytes = document(source, path, size, content)?;
            if let Some((digest, wanted)) = paths.get(path) {
                found.push(verified(path, digest, &wanted.media_type, bytes)?);
            }
            Ok(())
        })?;
        let mut next = BTreeMap::new();
        for (digest, manifest) in found {
            for blob in manifest.manifest.blobs() {
                note_blob(listing, &(at.blob)(&blob.digest), blob, &mut contents.blobs)?;
            }
            for child in manifest.manifest.children() {
                let wanted = Wanted { media_type: child.media_type.clone(), size: child.size, root: false };
                next.insert(child.digest.clone(), wanted);
            }
            contents.manifests.insert(digest, manifest);
        }
        next.retain(|digest, _| !contents.manifests.contains_key(digest));
        if next.is_empty() {
            return Ok(());
        }
        level = next;
    }
    let deepest = level.keys().next().map(at.manifest).unwrap_or_default();
    Err(Error::entry(deepest, Refusal::Deep(DEEPEST)))
}

/// A whole document, if it is no larger than one may be.
pub(super) fn document(
    source: &Source,
    path: &str,
    size: u64,
    content: &mut dyn Read,
) -> Result<Bytes, Error> {
    if size > MAX_MANIFEST_BYTES as u64 {
        return Err(Error::entry(path, Refusal::LargeDocument(size)));
    }
    let mut bytes = Vec::new();
    content.take(size + 1).read_to_end(&mut bytes).map_err(|error| source.broken(path, error))?;
    if bytes.len() as u64 != size {
        return Err(Error::entry(path, Refusal::Size { said: size, has: bytes.len() as u64 }));
    }
    Ok(bytes.into())
}

/// Documents of the archive that go by their paths and not by digests; those that are not there are not given.
pub(super) fn documents(
    source: &Source,
    listing: &Listing,
    paths: &[&str],
) -> Result<BTreeMap<String, Bytes>, Error> {
    let mut wanted = BTreeSet::new();
    for path in paths {
        if listing.file(path)?.is_some() {
            wanted.insert((*path).to_owned());
        }
    }
    let mut documents = BTreeMap::new();
    source.visit(&wanted, &mut |path, size, content| {
        documents.insert(path.to_owned(), document(source, path, size, content)?);
        Ok(())
    })?;
    Ok(documents)
}

/// A manifest that is what its digest says.
pub(super) fn verified(
    path: &str,
    digest: &Digest,
    media_type: &str,
    bytes: Bytes,
) -> Result<(Digest, Found), Error> {
    let found = Digest::of(digest.algorithm(), &bytes);
    if found != *digest {
        return Err(Error::entry(path, Refusal::Digest { expected: digest.clone(), found }));
    }
    let manifest = Manifest::parse(media_type, &bytes);
    let manifest = manifest.map_err(|error| Error::entry(path, Refusal::Document(error.to_string())))?;
    let media_type =
        if media_type.is_empty() { type_of(&manifest).to_owned() } else { media_type.to_owned() };
    Ok((digest.clone(), Found { document: Document { media_type, bytes, anonymous: false }, manifest }))
}

/// What a manifest is served as, of which nobody said what it is.
fn type_of(manifest: &Manifest) -> &str {
    match (&manifest.media_type, manifest.kind) {
        (Some(media_type), _) => media_type,
        (None, ManifestKind::Index) => "application/vnd.oci.image.index.v1+json",
        (None, ManifestKind::Schema1) => "application/vnd.docker.distribution.manifest.v1+prettyjws",
        (None, ManifestKind::Image | ManifestKind::Other) => "application/vnd.oci.image.manifest.v1+json",
    }
}

fn note_blob(
    listing: &Listing,
    path: &str,
    named: &Descriptor,
    blobs: &mut BTreeMap<Digest, Blob>,
) -> Result<(), Error> {
    let has = listing.file(path)?;
    if let Some(has) = has.filter(|&has| named.size > 0 && has != named.size) {
        return Err(Error::entry(path, Refusal::Size { said: named.size, has }));
    }
    let foreign = is_foreign(&named.media_type);
    match blobs.entry(named.digest.clone()) {
        btree_map::Entry::Vacant(entry) => {
            let path = has.map(|_| path.to_owned());
            entry.insert(Blob { path, size: has.unwrap_or(named.size), foreign });
        }
        btree_map::Entry::Occupied(mut entry) => {
            let known = entry.get_mut();
            known.size = known.size.max(named.size);
            known.foreign &= foreign;
        }
    }
    Ok(())
}
