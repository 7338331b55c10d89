//! Bringing images in before anybody pulls them.

use serde::{Deserialize, Serialize};

use super::Time;

/// Images that are to be brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warm {
    /// As one would pull them, or patterns of tags, as in `ghcr.io/org/app:v1.*`.
    pub images: Vec<String>,
    /// How many tags of each pattern, the highest versions first; all where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<u32>,
    /// For which machines, as in `linux/arm64`; empty for all.
    #[serde(default)]
    pub platforms: Vec<String>,
    /// Whether signatures, attestations, SBOMs and what else is attached is left out.
    #[serde(default)]
    pub without_referrers: bool,
    /// How many objects are asked for at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_once: Option<u16>,
    /// How many seconds one object waits, in all, for a limit of its upstream to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patience: Option<u32>,
}

/// A warming that is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopWarming {
    /// Its number.
    pub job: u64,
}

/// The warmings that go on, and the last that are over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmJobs {
    /// In the order in which they began.
    pub jobs: Vec<WarmJob>,
    /// The lists of the configuration.
    #[serde(default)]
    pub lists: Vec<WarmList>,
}

/// A list of the configuration, which is brought in again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmList {
    /// What it is called.
    pub name: String,
    /// How many images were looked at, each by the last run that could ask upstream for it.
    pub images: u64,
    /// Of how many of them something was missing then.
    pub incomplete: u64,
    /// When the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// The upstreams that cannot be asked, and are waited for.
    pub waits_for: Vec<String>,
}

/// A warming, at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmJob {
    /// Its number.
    pub job: u64,
    /// What it is called, where it is one of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it goes on, or how it ended.
    pub state: WarmState,
    /// When it began.
    pub started: Time,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Time>,
    /// How far it is.
    pub progress: WarmProgress,
    /// Images that are finished, from the place that was asked for on.
    pub images: Vec<WarmedImage>,
}

/// How a warming is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmState {
    /// It goes on.
    Running,
    /// Every image is here, whole.
    Done,
    /// Something is missing.
    Missing,
    /// It was stopped.
    Stopped,
}

/// How far a warming is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmProgress {
    /// Images that are known.
    pub images: u64,
    /// Those that are finished.
    pub finished: u64,
    /// Blobs that are known to be needed.
    pub blobs: u64,
    /// Their bytes, as far as sizes are known.
    pub bytes: u64,
    /// The bytes of them that are here.
    pub present: u64,
    /// The bytes that came since it began.
    pub fetched: u64,
    /// Blobs on their way.
    pub under_way: Vec<WarmBlob>,
    /// What is being waited for, as a limit of an upstream.
    pub waits: Vec<String>,
}

/// A blob on its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmBlob {
    /// The blob.
    pub digest: String,
    /// The image that it is for.
    pub image: String,
    /// Its size, 0 where nobody knows it.
    pub size: u64,
    /// How much of it is here.
    pub present: u64,
}

/// What became of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmedImage {
    /// The image; a pattern that came to nothing, as it was written.
    pub image: String,
    /// What it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether it is here.
    pub verdict: WarmVerdict,
    /// What could not be brought in.
    pub missing: Vec<WarmLack>,
    /// What there is to know beside it.
    pub notes: Vec<String>,
    /// Manifests and blobs that are here for it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them had to be fetched.
    pub fetched: u64,
    /// The bytes of those.
    pub fetched_bytes: u64,
}

/// Whether an image is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WarmVerdict {
    /// It is now.
    Done,
    /// It was before.
    AlreadyHere,
    /// Something of it is missing.
    Missing,
}

/// Something that could not be brought in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WarmLack {
    /// What, as in `layer sha256:...`.
    pub what: String,
    /// Why not.
    pub why: String,
}
