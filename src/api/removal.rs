//! Taking images away.

use serde::{Deserialize, Serialize};

/// What is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removal {
    /// An image, a pattern, an upstream, or a digest, of a blob as well.
    pub of: String,
    /// Only tells what would go.
    #[serde(default)]
    pub dry_run: bool,
}

/// What went, or would go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// Whether it would only.
    pub dry_run: bool,
    /// The images, and blobs that were named by their digest.
    pub removed: Vec<Taken>,
    /// What was meant as well, and stays.
    pub kept: Vec<Stayed>,
    /// How many manifests and blobs are no longer here. Of what would go it is no more than an estimate: images that go
    /// together may have something in common.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Something that is no longer here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// How one pulled it; of a blob its digest.
    pub reference: String,
    /// Its digest.
    pub digest: String,
    /// Whether only the tag went, because another tag stands for the same image.
    pub tag_only: bool,
}

/// Something that stays.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stayed {
    /// How one pulls it.
    pub reference: String,
    /// Why.
    pub why: String,
}
