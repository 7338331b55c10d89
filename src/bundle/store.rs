//! A store as either side of a bundle.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use crate::oci::Digest;
use crate::store::{BlobFile, Partial, Seen, Store, StoreError, StoredManifest};

use super::side::{Destination, Document, Held, Image, Origin, Place, Shown, SideError};

/// How much is read before it is written.
const BUFFER: usize = 1 << 20;

/// A store that images are taken from.
#[derive(Clone, Debug)]
pub struct FromStore(Store);

impl FromStore {
    /// From this one.
    pub fn new(store: Store) -> Self {
        Self(store)
    }

    /// The bytes of a blob, for as long as somebody reads them; none if it is not here.
    ///
    /// # Errors
    /// The store's.
    pub fn content(&self, digest: &Digest) -> Result<Option<Box<dyn Read + Send>>, SideError> {
        let file = self.0.inspect_blob(digest)?;
        Ok(file.map(|file| Box::new(Content { file, at: 0 }) as Box<dyn Read + Send>))
    }
}

/// An open blob, from its first byte on.
struct Content {
    file: Arc<BlobFile>,
    at: u64,
}

impl Origin for FromStore {
    fn images(&mut self) -> Result<Vec<Image>, SideError> {
        let mut images = Vec::new();
        for (upstream, repository) in self.0.repositories() {
            let tagged = self.0.tagged(&upstream, &repository);
            let untagged = self.0.untagged(&upstream, &repository).into_iter();
            let is_about_nothing =
                |digest: &Digest| self.0.kept(digest).is_some_and(|kept| kept.subject.is_none());
            let untagged: Vec<_> = untagged.filter(is_about_nothing).collect();
            let place = Place { upstream, repository };
            let by_digest = |digest| Image { place: place.clone(), tag: None, digest };
            images.extend(untagged.into_iter().map(by_digest));
            images.extend(tagged.into_iter().map(|tagged| Image {
                place: place.clone(),
                tag: Some(tagged.tag),
                digest: tagged.digest,
            }));
        }
        Ok(images)
    }

    fn referrers(&mut self, place: &Place, subject: &Digest) -> Result<Vec<Digest>, SideError> {
        let referrers = self.0.referrers(&place.upstream, &place.repository, subject);
        Ok(referrers.into_iter().map(|kept| kept.digest).collect())
    }

    fn is_member(&mut self, place: &Place, digest: &Digest) -> Result<bool, SideError> {
        Ok(self.0.is_member(&place.upstream, &place.repository, digest))
    }

    fn manifest(&mut self, digest: &Digest) -> Result<Option<Document>, SideError> {
        let stored = self.0.inspect_manifest(digest)?;
        Ok(stored.map(|StoredManifest { bytes, media_type, anonymous }| Document {
            media_type,
            bytes,
            anonymous,
        }))
    }

    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        let info = self.0.adopt_blob(digest)?;
        Ok(info.map(|info| Held { size: info.size, anonymous: info.anonymous }))
    }

    fn open(&mut self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, SideError> {
        Ok(self.content(digest)?.map(|content| content as Box<dyn Read>))
    }
}

impl Read for Content {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A store that content goes into.
#[derive(Clone, Debug)]
pub struct IntoStore(Store);

impl IntoStore {
    /// Into this one.
    pub fn new(store: Store) -> Self {
        Self(store)
    }
}

impl Destination for IntoStore {
    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        let info = self.0.adopt_blob(digest)?;
        Ok(info.map(|info| Held { size: info.size, anonymous: info.anonymous }))
    }

    fn put_blob(
        &mut self,
        digest: &Digest,
        held: Held,
        place: &Place,
        content: &mut dyn Read,
    ) -> Result<(), SideError> {
        let partial = self.0.partial(digest, held.size)?;
        match write(&partial, content) {
            Ok(()) => Ok(partial.commit(held.anonymous, &place.upstream, &place.repository)?),
            Err(error) => {
                partial.discard();
                Err(error)
            }
        }
    }

    fn put_manifest(&mut self, digest: &Digest, document: &Document, place: &Place) -> Result<(), SideError> {
        let Document { media_type, bytes, anonymous } = document;
        let Place { upstream, repository } = place.clone();
        let seen = Seen { upstream, repository, tag: None };
        Ok(self.0.put_manifest(digest, media_type, bytes, *anonymous, &seen)?)
    }

    fn commit(&mut self, shown: &[Shown]) -> Result<(), SideError> {
        let now = SystemTime::now();
        let members = shown.iter().flat_map(|shown| {
            let Place { upstream, repository } = &shown.place;
            shown.members.iter().map(move |digest| (upstream.as_str(), repository, digest))
        });
        let bindings = shown.iter().flat_map(|shown| {
            let Place { upstream, repository } = &shown.place;
            shown.tags.iter().map(move |(tag, digest)| (upstream.as_str(), repository, tag, digest))
        });
        self.0.enter(members, bindings, now);
        match self.0.flush() {
            true => Ok(()),
            false => Err(SideError::Failed("the index cannot be written; look at the disk".to_owned())),
        }
    }
}

/// Writes all of it. What a former import left unfinished is written anew: nothing proves that it is right.
fn write(partial: &Partial, content: &mut dyn Read) -> Result<(), SideError> {
    let file = partial.file();
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    loop {
        let read = content.read(&mut buffer).map_err(|error| SideError::Failed(error.to_string()))?;
        if read == 0 {
            return Ok(());
        }
        file.write_at(&buffer[..read], at).map_err(StoreError::io("write a blob"))?;
        at += read as u64;
    }
}

impl From<StoreError> for SideError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace => Self::NoSpace,
            StoreError::TooLarge => Self::TooLarge,
            StoreError::Busy => Self::Busy,
            StoreError::Io { .. } => Self::Failed(error.to_string()),
        }
    }
}
