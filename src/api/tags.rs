//! Tags, and what they have stood for.

use serde::{Deserialize, Serialize};

use super::Time;

/// The tags of a repository that are known here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// The upstream.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// Its tags, in order.
    pub tags: Vec<TagState>,
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagState {
    /// The tag.
    pub tag: String,
    /// What it stands for.
    pub digest: String,
    /// When upstream last said so.
    pub confirmed: Time,
    /// Since when upstream has no such tag, where it is kept in spite of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<Time>,
    /// What it has stood for, as far as is known, the oldest first, and what it stands for now at the end.
    pub history: Vec<Change>,
}

/// What a tag stood for from some time on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its digest.
    pub digest: String,
    /// Since when the mirror knows that.
    pub since: Time,
}

/// A tag that upstream is to be asked about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// As one would pull it; without a tag it is `latest`.
    pub reference: String,
}

/// What upstream said of a tag a moment ago.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refreshed {
    /// How one pulls it.
    pub reference: String,
    /// What it stands for now.
    pub digest: String,
    /// What it stood for here before, if it did for anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Whether the two are different.
    pub changed: bool,
}
