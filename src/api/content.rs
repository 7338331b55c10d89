//! Content, object by object: what bundles are made of, and what they bring.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::Problem;

/// What a mirror has, and what can be added to it. All calls block.
///
/// What is added can be had by its digest, as soon as all that it names is here. No tag leads there before
/// [`Content::show`].
///
/// # Errors
/// Every call tells what could not be done; what is not here is [`NotFound`](super::ProblemCode::NotFound).
pub trait Content: Send + Sync {
    /// What upstreams are called.
    fn names(&self) -> Result<Names, Problem>;

    /// All tags, with what they stand for.
    fn listed(&self) -> Result<ContentImages, Problem>;

    /// What is here of a repository and says that it is about this digest.
    fn referrers(&self, of: &Spot) -> Result<Digests, Problem>;

    /// Whether a digest belongs to a repository.
    fn is_member(&self, of: &Spot) -> Result<Member, Problem>;

    /// A manifest, verified.
    fn manifest(&self, digest: &str) -> Result<ManifestContent, Problem>;

    /// What is known of a blob that is here, whole.
    fn blob(&self, digest: &str) -> Result<BlobKnown, Problem>;

    /// Its bytes; they need not have been verified lately.
    fn open_blob(&self, digest: &str) -> Result<Box<dyn Read + Send>, Problem>;

    /// Takes a blob. It is kept only if its bytes are so many and have its digest.
    fn put_blob(&self, blob: &NewBlob, content: &mut dyn Read) -> Result<Kept, Problem>;

    /// Takes a manifest, by its digest alone. The blobs that it names have been put before.
    fn put_manifest(&self, manifest: &NewManifest) -> Result<Kept, Problem>;

    /// Shows what was put, all at once, if everything of it is here.
    fn show(&self, asked: &Show) -> Result<Shown, Problem>;

    /// What there is room for.
    fn room(&self, asked: &RoomAsked) -> Result<Room, Problem>;

    /// What was evicted since a moment, by whomever.
    fn evicted(&self, since: u64) -> Result<Evicted, Problem>;
}

/// What upstreams are called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Names {
    /// Each of them.
    pub upstreams: Vec<UpstreamNames>,
}

/// What one upstream is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamNames {
    /// Its name.
    pub name: String,
    /// What else clients call it.
    pub aliases: Vec<String>,
    /// Whether what has no registry in its name is of it, where docker.io is none.
    pub default: bool,
}

/// A digest in a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spot {
    /// The upstream, by its name.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// What is meant.
    pub digest: String,
}

/// All images.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentImages {
    /// In any order.
    pub images: Vec<ContentImage>,
}

/// An image as it is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentImage {
    /// The upstream.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// The tag; none: it is asked for by its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Its manifest.
    pub digest: String,
}

/// Some digests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digests {
    /// In any order.
    pub digests: Vec<String>,
}

/// Whether something belongs to a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Whether it does.
    pub member: bool,
}

/// A manifest with all that belongs to its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestContent {
    /// What it is served as.
    pub media_type: String,
    /// Whether it may be had without credentials.
    pub anonymous: bool,
    /// The bytes, verbatim.
    pub bytes: Vec<u8>,
}

/// What is known of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobKnown {
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be had without credentials.
    pub anonymous: bool,
}

/// A blob that is brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// Where it belongs, and its digest.
    pub spot: Spot,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it may be had without credentials.
    pub anonymous: bool,
}

/// A manifest that is brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewManifest {
    /// Where it belongs, and its digest.
    pub spot: Spot,
    /// Its bytes, and what they are.
    pub content: ManifestContent,
}

/// What became of something that was brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// It was here already, and was not written again.
    pub already: bool,
}

/// What is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Show {
    /// Of each repository.
    pub repositories: Vec<ShowIn>,
    /// Whether tags that have moved on from what is brought are moved back.
    #[serde(default)]
    pub move_back: bool,
}

/// What is to be shown of one repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowIn {
    /// The upstream.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// The manifests and blobs that belong to it.
    pub members: Vec<String>,
    /// What its tags stand for.
    #[serde(default)]
    pub tags: Vec<ShowTag>,
}

/// A tag that is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShowTag {
    /// The tag.
    pub tag: String,
    /// The manifest that it stands for.
    pub digest: String,
}

/// What is shown now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// How many tags.
    pub tags: u64,
    /// How many manifests and blobs.
    pub members: u64,
    /// Tags that stood for something else.
    #[serde(default)]
    pub moved: Vec<TagMoved>,
    /// Tags that have moved on from what was brought, and stay.
    #[serde(default)]
    pub kept: Vec<TagMoved>,
}

/// A tag that stood for something else than was brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagMoved {
    /// The upstream.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// What it stood for.
    pub from: String,
    /// What was brought.
    pub to: String,
    /// Whether it has stood for what was brought before, and for something later since.
    pub back: bool,
}

/// Room that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoomAsked {
    /// Blobs that have to stay.
    #[serde(default)]
    pub keep: Vec<String>,
}

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that nothing takes.
    pub free_bytes: u64,
    /// Bytes that would be evicted for others: what is neither pinned nor read, nor has to stay.
    pub evictable_bytes: u64,
    /// This moment, to ask what was evicted since.
    pub mark: u64,
}

/// What was evicted since a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evicted {
    /// The images that were whole then, and are not any more.
    pub images: Vec<String>,
    /// Whether there were more, and nobody remembers which.
    pub and_more: bool,
}
