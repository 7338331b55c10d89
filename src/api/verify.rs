//! The proof that images could be pulled from here, were upstream gone.

use serde::{Deserialize, Serialize};

use super::Gap;

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
