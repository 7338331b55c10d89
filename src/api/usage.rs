//! What is kept takes.

use serde::{Deserialize, Serialize};

/// The disk, and who takes how much of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes that count against the budget.
    pub used_bytes: u64,
    /// The budget.
    pub max_bytes: u64,
    /// Bytes that images need, each counted once: the rest is what no image needs any more, and what is on its way.
    pub images_bytes: u64,
    /// Repositories that were asked about, the largest first.
    pub repositories: Vec<RepositoryUsage>,
}

/// What one repository takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryUsage {
    /// Its upstream.
    pub upstream: String,
    /// Its name there.
    pub repository: String,
    /// How many images of it are here, in whole or in part.
    pub images: u64,
    /// The bytes that its images need and that are here, each counted once.
    pub size: u64,
    /// Those among them that no image of another repository needs.
    pub alone: u64,
}
