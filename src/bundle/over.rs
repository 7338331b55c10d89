//! A mirror as either side of a bundle, asked by the words of the admin API: one in this process, or one that runs elsewhere.

use std::fmt;
use std::io::Read;

use bytes::Bytes;

use crate::api::{self, Content, ManifestContent, NewBlob, NewManifest, Problem, ProblemCode, Spot};
use crate::oci::{Digest, Namespace};

use super::naming::Naming;
use super::side::{
    Committed, Destination, Document, Held, Image, Lost, Origin, Place, Room, Shown, SideError, TagChange,
};

/// See the module.
#[derive(Clone, Copy)]
pub struct OverDesk<'a>(&'a dyn Content);

impl<'a> OverDesk<'a> {
    /// Asks this one.
    pub fn new(content: &'a dyn Content) -> Self {
        Self(content)
    }

    /// What names of images mean there.
    ///
    /// # Errors
    /// It cannot say so.
    pub fn naming(&self) -> Result<Naming, Problem> {
        let names = self.0.names()?.upstreams.into_iter();
        let namespaces: Vec<_> = names
            .map(|upstream| Namespace {
                aliases: upstream.aliases.into_iter().filter(|alias| *alias != upstream.name).collect(),
                name: upstream.name,
                path: None,
                hosts: Vec::new(),
                default: upstream.default,
            })
            .collect();
        Naming::new(&namespaces).map_err(|conflicts| {
            let conflicts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
            Problem::new(ProblemCode::Internal, conflicts.join("; "))
        })
    }
}

impl Origin for OverDesk<'_> {
    fn images(&mut self) -> Result<Vec<Image>, SideError> {
        let images = self.0.listed()?.images.into_iter();
        images
            .map(|image| {
                Ok(Image {
                    place: Place { upstream: image.upstream, repository: read(&image.repository)? },
                    tag: image.tag.as_deref().map(read).transpose()?,
                    digest: read(&image.digest)?,
                })
            })
            .collect()
    }

    fn referrers(&mut self, place: &Place, subject: &Digest) -> Result<Vec<Digest>, SideError> {
        self.0.referrers(&spot(place, subject))?.digests.iter().map(|digest| read(digest)).collect()
    }

    fn is_member(&mut self, place: &Place, digest: &Digest) -> Result<bool, SideError> {
        Ok(self.0.is_member(&spot(place, digest))?.member)
    }

    fn manifest(&mut self, digest: &Digest) -> Result<Option<Document>, SideError> {
        let Some(found) = if_here(self.0.manifest(&digest.to_string()))? else { return Ok(None) };
        let ManifestContent { media_type, anonymous, bytes } = found;
        let bytes = Bytes::from(bytes);
        let is = Digest::of(digest.algorithm(), &bytes);
        if is != *digest {
            return Err(SideError::Failed(format!("what came is {is}")));
        }
        Ok(Some(Document { media_type, bytes, anonymous }))
    }

    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        known(self.0, digest)
    }

    fn open(&mut self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, SideError> {
        let content = if_here(self.0.open_blob(&digest.to_string()))?;
        Ok(content.map(|content| content as Box<dyn Read>))
    }
}

impl Destination for OverDesk<'_> {
    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        known(self.0, digest)
    }

    fn put_blob(
        &mut self,
        digest: &Digest,
        held: Held,
        place: &Place,
        content: &mut dyn Read,
    ) -> Result<(), SideError> {
        let Held { size, anonymous } = held;
        self.0.put_blob(&NewBlob { spot: spot(place, digest), size, anonymous }, content)?;
        Ok(())
    }

    fn put_manifest(&mut self, digest: &Digest, document: &Document, place: &Place) -> Result<(), SideError> {
        let Document { media_type, bytes, anonymous } = document.clone();
        let content = ManifestContent { media_type, anonymous, bytes: bytes.into() };
        self.0.put_manifest(&NewManifest { spot: spot(place, digest), content })?;
        Ok(())
    }

    fn add_members(&mut self, parts: &[Shown]) -> Result<(), SideError> {
        // What has no tag is not shown by that.
        self.commit(parts, false).map(drop)
    }

    fn commit(&mut self, shown: &[Shown], move_back: bool) -> Result<Committed, SideError> {
        let tag = |(tag, digest): &(crate::oci::Tag, Digest)| api::ShowTag {
            tag: tag.to_string(),
            digest: digest.to_string(),
        };
        let of = |shown: &Shown| api::ShowIn {
            upstream: shown.place.upstream.clone(),
            repository: shown.place.repository.to_string(),
            members: shown.members.iter().map(ToString::to_string).collect(),
            tags: shown.tags.iter().map(tag).collect(),
        };
        let asked = api::Show { repositories: shown.iter().map(of).collect(), move_back };
        let api::Shown { moved, kept, .. } = self.0.show(&asked)?;
        let read = |changes: Vec<api::TagMoved>| changes.into_iter().map(change).collect::<Result<_, _>>();
        Ok(Committed { moved: read(moved)?, kept: read(kept)? })
    }

    fn room(&mut self, keep: &[Digest]) -> Result<Option<Room>, SideError> {
        let keep = keep.iter().map(ToString::to_string).collect();
        let api::Room { free_bytes, evictable_bytes, mark } = self.0.room(&api::RoomAsked { keep })?;
        Ok(Some(Room { free: free_bytes, evictable: evictable_bytes, mark }))
    }

    fn lost_since(&mut self, mark: u64) -> Result<Lost, SideError> {
        let api::Evicted { images, and_more } = self.0.evicted(mark)?;
        Ok(Lost { images, and_more })
    }
}

fn change(told: api::TagMoved) -> Result<TagChange, SideError> {
    let place = Place { upstream: told.upstream, repository: read(&told.repository)? };
    Ok(TagChange {
        place,
        tag: read(&told.tag)?,
        from: read(&told.from)?,
        to: read(&told.to)?,
        back: told.back,
    })
}

fn known(content: &dyn Content, digest: &Digest) -> Result<Option<Held>, SideError> {
    let found = if_here(content.blob(&digest.to_string()))?;
    Ok(found.map(|api::BlobKnown { size, anonymous }| Held { size, anonymous }))
}

fn spot(place: &Place, digest: &Digest) -> Spot {
    Spot {
        upstream: place.upstream.clone(),
        repository: place.repository.to_string(),
        digest: digest.to_string(),
    }
}

fn if_here<T>(asked: Result<T, Problem>) -> Result<Option<T>, SideError> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(problem) if problem.code == ProblemCode::NotFound => Ok(None),
        Err(problem) => Err(problem.into()),
    }
}

/// A word of the other side, which is not believed to be one.
fn read<T: std::str::FromStr<Err: fmt::Display>>(text: &str) -> Result<T, SideError> {
    text.parse().map_err(|error| SideError::Failed(format!("it says {text:?}: {error}")))
}

impl From<Problem> for SideError {
    fn from(problem: Problem) -> Self {
        match problem.code {
            ProblemCode::NoSpace => Self::NoSpace,
            ProblemCode::TooLarge => Self::TooLarge,
            _ => Self::Failed(problem.to_string()),
        }
    }
}

impl fmt::Debug for OverDesk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OverDesk")
    }
}
