//! How the mirror is.

use serde::{Deserialize, Serialize};

use super::{Contact, Mode, Time};

/// The whole of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the program.
    pub version: String,
    /// The process that has the store.
    pub process: u32,
    /// When it has started.
    pub started: Time,
    /// Where it is in its life.
    pub phase: Phase,
    /// What is kept on disk.
    pub store: StoreStatus,
    /// The registries that are mirrored.
    pub upstreams: Vec<UpstreamStatus>,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Requests are taken.
    Serving,
    /// It was told to stop; running answers finish.
    Draining,
}

/// What is kept on disk, and how that fares.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The directory.
    pub path: String,
    /// Bytes that count against the budget.
    pub used_bytes: u64,
    /// The budget.
    pub max_bytes: u64,
    /// Whole blobs.
    pub blobs: u64,
    /// Manifests.
    pub manifests: u64,
    /// Blobs on their way.
    pub unfinished: u64,
    /// What is wrong with it; nothing where it is well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// One registry that is mirrored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// What clients call it.
    pub name: String,
    /// Whether it is asked.
    pub mode: Mode,
    /// Whether it can be at the moment.
    pub contact: Contact,
    /// What is wrong with it, its limits among that; empty where it is well, as far as is known.
    pub trouble: Vec<String>,
}
