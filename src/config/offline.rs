//! What an upstream's configuration says of being offline.

use crate::oci::Platform;

/// Whether an upstream is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Whenever something is not here, or may have changed.
    #[default]
    Online,
    /// Never: nothing is sent to it.
    Offline,
    /// While it answers; while it does not, a task of its own finds out when it does again.
    Auto,
}

/// What is answered where something is not here and cannot be asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OfflineMiss {
    /// 503.
    #[default]
    Unavailable,
    /// 404.
    NotFound,
}

/// How an upstream is treated while it is not asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offline {
    /// Its own mode; `None`: that of all.
    pub own: Option<Mode>,
    /// The mode of those that have none of their own.
    pub all: Mode,
    /// What a miss is.
    pub miss: OfflineMiss,
    /// Whether an image that is not whole here is a miss.
    pub complete_only: bool,
    /// The machines for which an index has to be whole then; empty: those that it is pulled for here.
    pub complete_platforms: Vec<Platform>,
}
