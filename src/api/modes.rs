//! Whether upstreams are asked.

use serde::{Deserialize, Serialize};

/// The mode of each upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Modes {
    /// In the order of the configuration.
    pub upstreams: Vec<UpstreamMode>,
}

/// The mode of one upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UpstreamMode {
    /// What clients call it.
    pub upstream: String,
    /// The mode.
    pub mode: Mode,
    /// Who has said so.
    pub said_by: SaidBy,
    /// Whether it can be asked at the moment.
    pub contact: Contact,
}

/// Whether an upstream is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Whenever something is not here, or may have changed.
    Online,
    /// Never: nothing is sent to it.
    Offline,
    /// While it answers.
    Auto,
}

/// Who has said which mode it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SaidBy {
    /// Somebody, of this upstream, while the mirror runs.
    Switch,
    /// Somebody, of all upstreams, while the mirror runs.
    SwitchForAll,
    /// The upstream's part of the configuration.
    Upstream,
    /// The configuration, for all upstreams.
    All,
}

/// How an upstream can be asked at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Contact {
    /// It can.
    Open,
    /// Its mode is offline.
    Offline,
    /// Its mode is auto, and none of its endpoints answers.
    Away,
}

/// A switch of modes, which holds until it is taken back or the process ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModeSwitch {
    /// The upstream; without one, all of which nothing is said by themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The mode; without one, what the configuration says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
}
