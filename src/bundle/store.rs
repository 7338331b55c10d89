//! A store as either side of a bundle.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::SystemTime;

use crate::oci::{Digest, Tag};
use crate::store::{self, BlobFile, Partial, Seen, Store, StoreError, StoredManifest};

use super::side::{
    Committed, Destination, Document, Held, Image, Lost, Origin, Place, Room, Shown, SideError, TagChange,
};

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
#[derive(Clone)]
pub struct IntoStore {
    store: Store,
    due: Due,
}

/// When a tag that nobody but an archive speaks of counts as confirmed.
type Due = Arc<dyn Fn(&Place, &Tag) -> SystemTime + Send + Sync>;

impl IntoStore {
    /// Into this one. A tag that is brought counts as confirmed at this moment.
    pub fn new(store: Store) -> Self {
        Self { store, due: Arc::new(|_: &Place, _: &Tag| SystemTime::now()) }
    }

    /// The same, with another moment for each tag.
    #[must_use]
    pub fn due_by(self, due: impl Fn(&Place, &Tag) -> SystemTime + Send + Sync + 'static) -> Self {
        Self { due: Arc::new(due), ..self }
    }
}

impl std::fmt::Debug for IntoStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IntoStore").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What becomes of a tag that is brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was not known, or stood for the same.
    Bound,
    /// It stood for something else.
    Moved {
        /// What it stood for came after what is brought.
        back: bool,
    },
    /// It stays where it is.
    Kept,
}

/// What a tag stands for, what it has stood for before that, and what is brought. Archives have no time that could be
/// believed: what a tag has stood for here before is older, and anything else newer.
fn fate(stands_for: Option<&Digest>, before: &[Digest], brought: &Digest, move_back: bool) -> Fate {
    match stands_for {
        None => Fate::Bound,
        Some(digest) if digest == brought => Fate::Bound,
        Some(_) => match before.contains(brought) {
            true if !move_back => Fate::Kept,
            back => Fate::Moved { back },
        },
    }
}

impl Destination for IntoStore {
    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        let info = self.store.adopt_blob(digest)?;
        Ok(info.map(|info| Held { size: info.size, anonymous: info.anonymous }))
    }

    fn put_blob(
        &mut self,
        digest: &Digest,
        held: Held,
        place: &Place,
        content: &mut dyn Read,
    ) -> Result<(), SideError> {
        let partial = self.store.partial(digest, held.size)?;
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
        Ok(self.store.put_manifest(digest, media_type, bytes, *anonymous, &seen)?)
    }

    fn add_members(&mut self, parts: &[Shown]) -> Result<(), SideError> {
        self.commit(parts, false).map(drop)
    }

    fn commit(&mut self, shown: &[Shown], move_back: bool) -> Result<Committed, SideError> {
        let members = shown.iter().flat_map(|shown| {
            let Place { upstream, repository } = &shown.place;
            shown.members.iter().map(move |digest| (upstream.as_str(), repository, digest))
        });
        let (mut bindings, mut committed) = (Vec::new(), Committed::default());
        for Shown { place, tags, .. } in shown {
            let Place { upstream, repository } = place;
            for (tag, digest) in tags {
                let bound = self.store.binding(upstream, repository, tag);
                let history = self.store.history(upstream, repository, tag).into_iter();
                let before: Vec<Digest> = history.map(|change| change.digest).collect();
                let fate = fate(bound.as_ref().map(|bound| &bound.digest), &before, digest, move_back);
                let mut confirmed = (self.due)(place, tag);
                if let Some(bound) = bound {
                    let (place, tag, from, to) = (place.clone(), tag.clone(), bound.digest, digest.clone());
                    match fate {
                        // Upstream may have said so later.
                        Fate::Bound => confirmed = confirmed.max(bound.confirmed),
                        Fate::Moved { back } => {
                            committed.moved.push(TagChange { place, tag, from, to, back });
                        }
                        Fate::Kept => {
                            committed.kept.push(TagChange { place, tag, from, to, back: true });
                            continue;
                        }
                    }
                }
                bindings.push((upstream.as_str(), repository, tag, digest, confirmed));
            }
        }
        self.store.enter(members, bindings);
        match self.store.flush() {
            true => Ok(committed),
            false => Err(SideError::Failed("the index cannot be written; look at the disk".to_owned())),
        }
    }

    fn room(&mut self, keep: &[Digest]) -> Result<Option<Room>, SideError> {
        let store::Room { free, evictable, mark } = self.store.room_beside(&keep.iter().cloned().collect());
        Ok(Some(Room { free, evictable, mark }))
    }

    fn lost_since(&mut self, mark: u64) -> Result<Lost, SideError> {
        let store::Lost { images, and_more } = self.store.lost_since(mark);
        Ok(Lost { images, and_more })
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;

    #[test]
    fn a_tag_that_has_moved_on_stays_unless_it_is_to_be_moved_back() {
        let digest = |name: &str| Digest::of(Algorithm::Sha256, name.as_bytes());
        let [first, second, third] = ["first", "second", "third"].map(digest);
        let [once, twice] = [vec![first.clone()], vec![first.clone(), second.clone()]];
        for (stands_for, before, brought, move_back, expected) in [
            (None, &[][..], &first, false, Fate::Bound),
            // It was forgotten, and nothing is in the way.
            (None, &once[..], &first, false, Fate::Bound),
            (Some(&first), &once[..], &first, false, Fate::Bound),
            (Some(&first), &once[..], &second, false, Fate::Moved { back: false }),
            (Some(&first), &once[..], &second, true, Fate::Moved { back: false }),
            (Some(&second), &twice[..], &first, false, Fate::Kept),
            (Some(&second), &twice[..], &first, true, Fate::Moved { back: true }),
            (Some(&second), &twice[..], &third, false, Fate::Moved { back: false }),
        ] {
            assert_eq!(fate(stands_for, before, brought, move_back), expected);
        }
    }
}
