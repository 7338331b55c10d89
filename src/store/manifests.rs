//! Bytes of manifests: small files with a sidecar each, verified whenever they are read.

use super::core::{Core, found};
use super::error::StoreError;
use super::fs;
use super::layout::Tree;
use super::model::{Bound, Graph, ManifestEntry, Millis, Model, now};
use super::sidecar::{ManifestSidecar, SeenIn, SeenTag};
use crate::oci::{Digest, Repository, Tag};
use bytes::Bytes;
use std::io;

/// A manifest, verbatim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredManifest {
    /// Its bytes as upstream sent them.
    pub bytes: Bytes,
    /// The `Content-Type` that upstream sent them with.
    pub media_type: String,
    /// Whether it came without credentials.
    pub anonymous: bool,
}

/// Where a manifest came through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The upstream's name.
    pub upstream: String,
    /// The repository.
    pub repository: Repository,
    /// The tag it was asked by, if it was.
    pub tag: Option<Tag>,
}

impl Core {
    /// Reads a manifest and notes the use.
    pub(super) fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, StoreError> {
        let stored = self.inspect_manifest(digest)?;
        if stored.is_some() {
            self.change(|model| model.touch(digest));
        }
        Ok(stored)
    }

    /// Reads and verifies a manifest. One that is not what it was is dropped, and is as if it had never been here.
    pub(super) fn inspect_manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, StoreError> {
        let known = self
            .state()
            .model
            .manifest(digest)
            .map(|manifest| (manifest.media_type().to_owned(), manifest.anonymous()));
        let Some((media_type, anonymous)) = known else { return Ok(None) };
        let read = fs::read(&*self.disk, &self.layout.content(Tree::Manifests, digest));
        let bytes = match found(read, "read a manifest")? {
            Some(bytes) if Digest::of(digest.algorithm(), &bytes) == *digest => bytes,
            Some(_) => {
                self.distrust_manifest(digest, "its content has changed");
                return Ok(None);
            }
            None => {
                self.distrust_manifest(digest, "it is gone");
                return Ok(None);
            }
        };
        Ok(Some(StoredManifest { bytes: bytes.into(), media_type, anonymous }))
    }

    /// Keeps a verified manifest, as a member of the repository it came through, with what it names.
    pub(super) fn put_manifest(
        &self,
        digest: &Digest,
        media_type: &str,
        bytes: &Bytes,
        anonymous: bool,
        seen: &Seen,
    ) -> Result<(), StoreError> {
        let confirmed = now();
        let mut written = None;
        // What a crash has left of it says where else it was seen; written anew it would not.
        let known = self.state().model.has_manifest(digest)
            || (!self.knows_manifests() && self.adopt_manifest(digest).unwrap_or(false));
        if !known {
            let space = ManifestEntry::space_for(bytes.len() as u64);
            // Counted while its files are made; what is not entered in the end gives it back.
            self.reserve(space, None, |model| {
                model.ledger.manifests += space;
                Ok(())
            })?;
            let tags =
                seen.tag.iter().map(|tag| SeenTag { tag: tag.to_string(), confirmed, gone: None }).collect();
            let seen =
                SeenIn { upstream: seen.upstream.clone(), repository: seen.repository.to_string(), tags };
            let sidecar = ManifestSidecar { media_type: media_type.to_owned(), anonymous, seen: vec![seen] };
            let done = self.write_manifest(digest, bytes, &sidecar);
            self.change(|model| model.ledger.manifests -= space);
            done.map_err(StoreError::io("write a manifest"))?;
            written = Some(sidecar);
        }
        let graph = Graph::of(media_type, bytes);
        let size = bytes.len() as u64;
        let media_type = media_type.to_owned();
        let entry = ManifestEntry { media_type, size, anonymous, graph, accessed: confirmed };
        self.change(|model| {
            note_seen(model, digest, seen, confirmed);
            model.insert_manifest(digest, entry);
            // It may have been known as a member elsewhere before its bytes were here.
            if written.is_some() && sidecar_of(model, digest) != written {
                model.dirty.sidecars.insert(digest.clone());
            }
        });
        Ok(())
    }

    fn write_manifest(&self, digest: &Digest, bytes: &[u8], sidecar: &ManifestSidecar) -> io::Result<()> {
        self.on_shelf(Tree::Manifests, digest, |shelf| {
            // A manifest without its media type cannot be served, so that comes first.
            sidecar.write(&*self.disk, &self.layout.sidecar(digest))?;
            fs::replace(&*self.disk, &self.layout.content(Tree::Manifests, digest), bytes)?;
            self.disk.sync_dir(shelf)
        })
    }

    /// Takes over a manifest's files that memory does not know, with what its sidecar says.
    pub(super) fn adopt_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        if self.state().model.has_manifest(digest) {
            return Ok(true);
        }
        let sidecar = ManifestSidecar::read(&*self.disk, &self.layout.sidecar(digest))
            .map_err(StoreError::io("read a manifest's sidecar"))?;
        let Some(sidecar) = sidecar else { return Ok(false) };
        let read = fs::read(&*self.disk, &self.layout.content(Tree::Manifests, digest));
        let Some(bytes) = found(read, "read a manifest")? else { return Ok(false) };
        if Digest::of(digest.algorithm(), &bytes) != *digest {
            let path = self.layout.content(Tree::Manifests, digest);
            self.quarantine(&path, digest, bytes.len() as u64, "its content has changed");
            return Ok(false);
        }
        let entry = ManifestEntry {
            graph: Graph::of(&sidecar.media_type, &bytes),
            size: bytes.len() as u64,
            anonymous: sidecar.anonymous,
            media_type: sidecar.media_type,
            accessed: now(),
        };
        self.change(|model| {
            for seen in &sidecar.seen {
                note_sidecar(model, digest, seen);
            }
            model.insert_manifest(digest, entry);
        });
        Ok(true)
    }

    /// Writes anew the sidecar of a manifest that was seen in more places or under other tags than it says. For who has
    /// the right to take names away.
    pub(super) fn refresh_sidecar(&self, digest: &Digest) -> io::Result<()> {
        let Some(sidecar) = sidecar_of(&self.state().model, digest) else { return Ok(()) };
        sidecar.write(&*self.disk, &self.layout.sidecar(digest))
    }
}

/// Enters where a manifest came through.
fn note_seen(model: &mut Model, digest: &Digest, seen: &Seen, confirmed: Millis) {
    let repo = model.intern(&seen.upstream, &seen.repository);
    match &seen.tag {
        Some(tag) => model.bind(repo, tag, digest, confirmed),
        None => model.add_member(repo, digest),
    }
}

/// Enters what a sidecar says, where nothing later is known.
fn note_sidecar(model: &mut Model, digest: &Digest, seen: &SeenIn) {
    let Some(repository) = seen.repository() else { return };
    let repo = model.intern(&seen.upstream, &repository);
    model.add_member(repo, digest);
    for claim in &seen.tags {
        let Some(tag) = claim.tag() else { continue };
        let known = model.bindings.get(&repo).and_then(|tags| tags.get(&tag)).map(|bound| bound.confirmed);
        if known.is_none_or(|known| known < claim.confirmed) {
            model.bind(repo, &tag, digest, claim.confirmed);
            if let Some(since) = claim.gone {
                model.mark_gone(repo, &tag, since);
            }
        }
    }
}

/// What the sidecar of a manifest should say.
fn sidecar_of(model: &Model, digest: &Digest) -> Option<ManifestSidecar> {
    let manifest = model.manifest(digest)?;
    let seen = model.members_of(digest).iter().filter_map(|&repo| {
        let (upstream, repository) = model.names.get(repo)?;
        let mut tags = model.tags(repo, digest);
        tags.sort_by(|(one, _), (other, _)| one.cmp(other));
        let seen = |(tag, bound): (Tag, &Bound)| SeenTag {
            tag: tag.to_string(),
            confirmed: bound.confirmed,
            gone: bound.gone,
        };
        let tags = tags.into_iter().map(seen).collect();
        Some(SeenIn { upstream: upstream.to_string(), repository: repository.to_string(), tags })
    });
    let seen = seen.collect();
    Some(ManifestSidecar {
        media_type: manifest.media_type().to_owned(),
        anonymous: manifest.anonymous(),
        seen,
    })
}
