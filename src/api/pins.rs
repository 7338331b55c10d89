//! What is never evicted.

use serde::{Deserialize, Serialize};

use super::Time;

/// What is pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pins {
    /// All of it, or what a request has changed.
    pub pins: Vec<Pin>,
    /// The bytes that all that is pinned takes.
    pub pinned_bytes: u64,
    /// The budget of the store.
    pub max_bytes: u64,
}

/// One tag or digest of a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// How one pulls it.
    pub reference: String,
    /// The upstream.
    pub upstream: String,
    /// The repository there.
    pub repository: String,
    /// Who has said so.
    pub by: PinnedBy,
    /// Since when, where it was said by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
}

/// Who has said that something is pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PinnedBy {
    /// Somebody, by its name.
    Name,
    /// A rule of the configuration.
    Rule,
}

/// What is to be pinned, or no longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PinRequest {
    /// An image, which need not be here; or a pattern, for the tags that are known here.
    pub of: String,
}
