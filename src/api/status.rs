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
    /// What clients got since the start.
    #[serde(default)]
    pub traffic: Traffic,
    /// The registries that are mirrored.
    pub upstreams: Vec<UpstreamStatus>,
    /// Blobs that are on their way from upstream.
    #[serde(default)]
    pub fills: Vec<FillStatus>,
}

/// What clients got since the start, and what of it came from upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests for manifests, blobs and lists that were served.
    pub requests: u64,
    /// Those of them that began no transfer from upstream.
    pub hits: u64,
    /// Bytes of bodies sent to clients.
    pub sent_bytes: u64,
    /// Bytes of bodies that came from upstream.
    pub fetched_bytes: u64,
    /// Bytes of bodies of hits: what would have come from upstream without this mirror.
    pub saved_bytes: u64,
}

/// A blob that is on its way from upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillStatus {
    /// Its digest.
    pub digest: String,
    /// The upstream that it is fetched from.
    pub upstream: String,
    /// The repository that it is fetched through.
    pub repository: String,
    /// Its size, where upstream has told it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Bytes of it that are here.
    pub present_bytes: u64,
    /// Clients that read it.
    pub readers: u64,
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
    /// Pulls that are left, where it tells that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls_left: Option<u64>,
    /// Of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulls_limit: Option<u64>,
    /// What clients got of it since the start.
    #[serde(default)]
    pub traffic: Traffic,
}
