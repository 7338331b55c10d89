//! What is here, image by image.

use serde::{Deserialize, Serialize};

use super::{Change, Time};

/// Images, by upstream, repository and tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Images {
    /// All that were asked for.
    pub images: Vec<Image>,
}

/// A tag with what it stands for, or an image that was asked for by its digest alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// How one pulls it: `docker.io/library/nginx:1.27`.
    pub reference: String,
    /// The upstream.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// The tag, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// The digest of its manifest or index.
    pub digest: String,
    /// The media type of that, if it is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<String>,
    /// How much of it is here.
    pub state: State,
    /// How much of it is here for each platform that its index lists; without an index, for the one that its configuration
    /// names, where that is here.
    pub platforms: Vec<Platform>,
    /// What is missing of it, for all of its platforms.
    pub missing: Missing,
    /// The bytes of it that are here.
    pub size: u64,
    /// Those among them that would stay if it went: others need them too.
    pub shared_size: u64,
    /// Whether it is never evicted, by its tag or its digest.
    pub pinned: bool,
    /// What the tag has stood for, as far as is known, the oldest first; empty without a tag.
    pub history: Vec<Change>,
    /// When it was last pulled, or came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled: Option<Time>,
    /// When upstream last said that the tag stands for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirmed: Option<Time>,
    /// Since when upstream has no such tag, where it is kept in spite of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Time>,
}

/// How much of something is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// All of it: it can be pulled while upstream is away.
    Complete,
    /// Its manifest, but not all that this needs.
    Partial,
    /// Not even its manifest.
    Absent,
}

/// One platform of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `linux/arm64`.
    pub platform: String,
    /// The digest of its manifest.
    pub digest: String,
    /// How much of it is here.
    pub state: State,
    /// What is missing of it, as far as sizes are known.
    pub missing_bytes: u64,
}

/// What of an image is not here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// How many objects, as far as they are known: what a manifest needs that is not here is not.
    pub objects: u64,
    /// Their bytes, as far as sizes are known.
    pub bytes: u64,
    /// The first of them.
    pub first: Vec<Gap>,
}

/// One object that is not here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Its digest.
    pub digest: String,
    /// What it is.
    pub kind: GapKind,
    /// Its size, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The platform that it is for, where it is for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// The tag, where the gap is that it would not be given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Why it would not be given to a client.
    pub why: GapReason,
}

/// What an object is to an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapKind {
    /// An index or the manifest of a platform.
    Manifest,
    /// The configuration of a platform.
    Config,
    /// A layer.
    Layer,
    /// A signature, an attestation, an SBOM, or something else that was attached to it.
    Referrer,
    /// A tag; the digest is that of what it stands for.
    Tag,
    /// The list of what is attached to the digest.
    List,
}

/// Why an object would not be given to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapReason {
    /// It is not here.
    Absent,
    /// A part of it is.
    Unfinished,
    /// It is here, but only upstream can tell whether this repository has it.
    NoMember,
    /// It is here, but nobody has confirmed it for longer than `max_stale` allows.
    TooOld,
    /// It is here, but upstream has deleted it, and it is kept no longer.
    Deleted,
    /// It is here, but its upstream is configured no more.
    NoUpstream,
    /// It is here, but `complete_only` keeps it back.
    NotWhole,
    /// It is here, but the rules give it to nobody.
    Denied,
}

impl GapReason {
    /// Every reason.
    pub const ALL: [Self; 8] = [
        Self::Absent,
        Self::Unfinished,
        Self::NoMember,
        Self::TooOld,
        Self::Deleted,
        Self::NoUpstream,
        Self::NotWhole,
        Self::Denied,
    ];

    /// The word for it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Unfinished => "unfinished",
            Self::NoMember => "no_member",
            Self::TooOld => "too_old",
            Self::Deleted => "deleted",
            Self::NoUpstream => "no_upstream",
            Self::NotWhole => "not_whole",
            Self::Denied => "denied",
        }
    }
}
