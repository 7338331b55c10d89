//! The two sides of a bundle: what it is made from, and where it goes.
//!
//! Both are small, because there is more than one of each: the store itself, and a running mirror that is asked for it.

use std::fmt;
use std::io::Read;

use bytes::Bytes;

use crate::oci::{Digest, Repository, Tag};

/// A repository of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The upstream, as clients name it.
    pub upstream: String,
    /// The repository there.
    pub repository: Repository,
}

/// A manifest as it is asked for: by a tag, or only by its digest.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// Where.
    pub place: Place,
    /// By which tag; none: by its digest.
    pub tag: Option<Tag>,
    /// Its manifest.
    pub digest: Digest,
}

/// A manifest with all that belongs to its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is served as.
    pub media_type: String,
    /// The bytes, verbatim.
    pub bytes: Bytes,
    /// Whether it may be had without credentials, and so under any repository that names it.
    pub anonymous: bool,
}

/// What is known of a blob without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be had without credentials.
    pub anonymous: bool,
}

/// What is to be shown under one repository once everything is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The repository.
    pub place: Place,
    /// The manifests and blobs that belong to it.
    pub members: Vec<Digest>,
    /// What its tags stand for.
    pub tags: Vec<(Tag, Digest)>,
}

/// What a destination has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that nothing takes.
    pub free: u64,
    /// Bytes that it would evict for others.
    pub evictable: u64,
    /// This moment, for [`Destination::lost_since`].
    pub mark: u64,
}

/// What a destination has evicted since a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// The images that were whole then, by their names.
    pub images: Vec<String>,
    /// There were more, and nobody remembers which.
    pub and_more: bool,
}

/// A tag that stood for something else than is brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    /// Where.
    pub place: Place,
    /// Which.
    pub tag: Tag,
    /// What it stood for.
    pub from: Digest,
    /// What is brought.
    pub to: Digest,
    /// It has stood for what is brought before, and for something later since.
    pub back: bool,
}

/// What became of tags that stood for something else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// They stand for what was brought.
    pub moved: Vec<TagChange>,
    /// They stay.
    pub kept: Vec<TagChange>,
}

/// Why one of the sides could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SideError {
    /// It has no room for this.
    NoSpace,
    /// The blob is larger than it takes.
    TooLarge,
    /// Somebody else brings the same blob at this moment. Nothing of what was to be put has been read.
    Busy,
    /// Anything else, in words.
    Failed(String),
}

/// What a bundle is made from.
pub trait Origin {
    /// All images that there are, in any order: one for each tag, and by their digests those that have none. What no tag
    /// names and is listed by another, or about another, is a part of that.
    fn images(&mut self) -> Result<Vec<Image>, SideError>;
    /// The manifests of a repository that are here and say that they are about this one.
    fn referrers(&mut self, place: &Place, subject: &Digest) -> Result<Vec<Digest>, SideError>;
    /// Whether a digest belongs to a repository.
    fn is_member(&mut self, place: &Place, digest: &Digest) -> Result<bool, SideError>;
    /// A manifest, verified; none if it is not here.
    fn manifest(&mut self, digest: &Digest) -> Result<Option<Document>, SideError>;
    /// What is known of a blob; none if it is not here, whole.
    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError>;
    /// The bytes of a blob; none if it is not here. They need not have been verified lately.
    fn open(&mut self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, SideError>;
}

/// Where the content of a bundle goes.
pub trait Destination {
    /// What is known of a blob that is here, whole.
    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError>;
    /// Takes a blob of that size, which came through that repository. `content` gives exactly so many bytes and verifies
    /// them: only when it has said that it is at its end is the blob right, and may be kept. An error of it ends the call.
    fn put_blob(
        &mut self,
        digest: &Digest,
        held: Held,
        place: &Place,
        content: &mut dyn Read,
    ) -> Result<(), SideError>;
    /// Blobs that are here belong to these repositories from now on, durably. That shows nothing yet: no manifest of theirs
    /// need be there.
    fn add_members(&mut self, parts: &[Shown]) -> Result<(), SideError>;
    /// Takes a verified manifest, as one of a repository, without a tag. What it names has been put before.
    fn put_manifest(&mut self, digest: &Digest, document: &Document, place: &Place) -> Result<(), SideError>;
    /// Everything is there: shows it, all at once, and makes it durable. A tag that has moved on from what is brought stays
    /// where it is, unless it is to be moved back.
    fn commit(&mut self, shown: &[Shown], move_back: bool) -> Result<Committed, SideError>;
    /// What it has room for where these blobs stay; none where nobody can tell.
    fn room(&mut self, _keep: &[Digest]) -> Result<Option<Room>, SideError> {
        Ok(None)
    }
    /// What it has evicted since a moment.
    fn lost_since(&mut self, _mark: u64) -> Result<Lost, SideError> {
        Ok(Lost::default())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.upstream, self.repository)
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "{}:{tag}", self.place),
            None => write!(f, "{}@{}", self.place, self.digest),
        }
    }
}

impl fmt::Display for SideError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => {
                f.write_str("the store has no room left: raise store.max_bytes, or remove what is not needed")
            }
            Self::TooLarge => f.write_str("the blob is larger than the store takes: raise store.max_blob"),
            Self::Busy => f.write_str("it is being fetched at this moment; run this again in a while"),
            Self::Failed(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for SideError {}
