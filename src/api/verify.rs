//! The proof that images could be pulled from here, were upstream gone.

use serde::{Deserialize, Serialize};

use super::{Gap, Problem};

/// What is to be proven.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// An image, a pattern, an upstream or a digest; without it, everything that is here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<String>,
    /// Only what is pinned.
    #[serde(default)]
    pub pinned: bool,
    /// Only what was pulled, or came, in the last so many seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_within: Option<u64>,
    /// For which machines, as in `linux/arm64`; empty for all that an index lists.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// Whether signatures, attestations, SBOMs and what else is attached is left out.
    #[serde(default)]
    pub without_referrers: bool,
    /// Whether every byte is hashed again.
    #[serde(default)]
    pub deep: bool,
}

/// How far a proof is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// Images that are looked at.
    pub images: u64,
    /// Those of them that are finished.
    pub finished: u64,
    /// The one that is looked at now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Bytes that are to be hashed, as far as is known; 0 where none are.
    pub bytes: u64,
    /// Those of them that were.
    pub read: u64,
}

/// One line of an answer that tells how far a proof is: any number of times that, and at the end what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VerifyLine {
    /// It goes on.
    Progress(VerifyProgress),
    /// It is over.
    Verified(Verified),
    /// It could not be made.
    Error(Problem),
}

/// What was proven.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Whether all of it could be pulled.
    pub whole: bool,
    /// Each image that was looked at.
    pub images: Vec<VerifiedImage>,
}

/// One image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifiedImage {
    /// How one pulls it.
    pub reference: String,
    /// What it is, if that is known here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether all of it could be pulled.
    pub whole: bool,
    /// Manifests and blobs that it needs, as far as they are known.
    pub objects: u64,
    /// Their bytes, as far as sizes are known.
    pub bytes: u64,
    /// Those that would not be given to a client.
    pub gaps: Vec<Gap>,
    /// Wanted machines that its index has no image for.
    pub unoffered: Vec<String>,
}
