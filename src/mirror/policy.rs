//! How the content of one upstream is treated: values of the configuration, no decisions.

use std::time::Duration;

use super::mode::{Modes, OfflineMiss};
use super::tag_rules::TagRules;
use crate::oci::Platform;

/// How the content of one upstream is treated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How its tags are treated.
    pub tags: TagRules,
    /// After which time a cached tag is served without waiting for upstream any longer.
    pub revalidate_timeout: Duration,
    /// How long a true 404 is remembered; zero: never.
    pub negative_ttl: Duration,
    /// What clients are told of what upstream does not let us have.
    pub denied: Denied,
    /// How its blobs are brought in.
    pub fill: FillPolicy,
    /// What the configuration says of whether it is asked.
    pub modes: Modes,
    /// What a miss is while it is not asked.
    pub offline_miss: OfflineMiss,
    /// Whether an image that is not whole here is a miss while it is not asked or does not answer.
    pub complete_only: bool,
    /// The machines for which an index has to be whole then; empty: those that it is pulled for here.
    pub complete_platforms: Vec<Platform>,
}

/// What clients are told of what upstream does not let us have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// That we may not have it.
    Tell,
    /// That it is not there. It is remembered no longer for that, and covered by nothing else.
    Hide,
}

/// How the blobs of one upstream are brought in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FillPolicy {
    /// The most transfers that one fill has under way; at least one.
    pub connections: usize,
    /// Blobs of more bytes than this are fetched by as many transfers as are allowed.
    pub split_above: u64,
    /// How much of a blob is fetched when a part of it is asked for.
    pub extent: Extent,
    /// What a fill does when nobody reads from it.
    pub unread: Unread,
    /// How long nobody has to read from it before it pauses. One that fetches only what is asked pauses as well.
    pub unread_after: Duration,
    /// When a fill goes on that a restart has interrupted.
    pub resume: Resume,
}

/// How much of a blob is fetched when a part of it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it, the asked part first.
    Whole,
    /// Only what is asked, until that is most of it or somebody asks for all.
    Asked,
}

/// What a fill does when nobody reads from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It goes on to the end.
    Finish,
    /// It stops after a while, and goes on where it was when somebody asks.
    Pause,
}

/// When a fill goes on that a restart has interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// When somebody asks for its blob.
    Request,
    /// At the start of the mirror.
    Start,
}

impl Default for FillPolicy {
    fn default() -> Self {
        Self {
            connections: 4,
            split_above: 32 << 20,
            extent: Extent::Whole,
            unread: Unread::Finish,
            unread_after: Duration::from_secs(30),
            resume: Resume::Request,
        }
    }
}
