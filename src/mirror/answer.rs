//! What the mirror answers: values and refusals, before they become HTTP.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::oci::Digest;
use crate::store::Ranges;
use crate::telemetry::Outcome;
use crate::upstream::{Cause, Failure, Unresolved};

use super::mode::{OfflineMiss, Why};

/// An answer with the one word that log, metric and header will carry for it.
#[derive(Clone, Debug)]
pub struct Served<T> {
    /// How the answer came about.
    pub outcome: Outcome,
    /// The status that upstream gave, where it decided the outcome.
    pub fwd_status: Option<u16>,
    /// The answer itself.
    pub value: T,
}

impl<T> Served<T> {
    pub(super) fn new(outcome: Outcome, value: T) -> Self {
        Self { outcome, fwd_status: None, value }
    }
}

/// A manifest, verbatim.
#[derive(Clone, Debug)]
pub struct ManifestAnswer {
    /// The digest of `bytes`, computed here.
    pub digest: Digest,
    /// `Content-Type` as upstream sent it (T2).
    pub media_type: Arc<str>,
    /// The bytes as upstream sent them (T1).
    pub bytes: Bytes,
}

/// What a HEAD of a blob tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobHead {
    /// The size in bytes, where anybody knows it.
    pub size: Option<u64>,
}

/// What the asking request will read first. A hint for the order of a fill, never a limit of what may be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it, from the start.
    Whole,
    /// From this offset to the end.
    From(u64),
    /// These bytes, both ends included.
    Closed {
        /// The first byte.
        first: u64,
        /// The last byte.
        last: u64,
    },
    /// The last bytes, this many.
    Suffix(u64),
    /// Several ranges, in the order asked, both ends included; an end of `u64::MAX` is open.
    Several(Vec<(u64, u64)>),
}

impl Wanted {
    /// Whether all of it is among what is there of a blob of that size. What is to be proven takes all of the blob.
    pub(super) fn is_in(&self, present: &Ranges, size: u64) -> bool {
        let closed = |first: u64, last: u64| first.min(size)..last.saturating_add(1).min(size);
        match self {
            Self::Whole | Self::From(_) => present.contains(0..size),
            Self::Closed { first, last } => present.contains(closed(*first, *last)),
            Self::Suffix(length) => present.contains(size.saturating_sub(*length)..size),
            Self::Several(ranges) => {
                ranges.iter().all(|&(first, last)| present.contains(closed(first, last)))
            }
        }
    }
}

/// Why there is no answer. *Said no*, *refused us* and *did not answer* are never one (G6, G10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Upstream refused this object.
    SaidNo {
        /// 404, 410, or 401/403 although our credentials work.
        status: u16,
    },
    /// Our credentials or token failed, and nothing cached covers it.
    RefusedUs,
    /// Upstream gave no usable answer, and nothing cached covers it.
    DidNotAnswer {
        /// For the operator; may name hosts.
        reason: String,
        /// Upstream's status, where there was one.
        status: Option<u16>,
    },
    /// Upstream did not answer in time.
    OutOfTime {
        /// For the operator; may name hosts.
        reason: String,
    },
    /// Upstream sent something else than what was asked by digest.
    WrongContent {
        /// For the operator; may name hosts.
        reason: String,
    },
    /// A rate limit of upstream.
    Limited {
        /// How long upstream wants us to wait.
        retry_after: Option<Duration>,
    },
    /// As many blobs as may be are on their way, and this would be one more.
    Crowded,
    /// It is not here, or not whole, and upstream is not asked.
    Offline {
        /// Why it is not.
        why: Why,
        /// What that is to a client.
        miss: OfflineMiss,
    },
    /// Something of ours failed.
    Internal {
        /// For the operator; may name paths.
        reason: String,
    },
}

impl Refusal {
    /// Whether cached content may be served in place of this refusal (G6): not when upstream said no.
    pub(super) fn may_be_covered(&self) -> bool {
        !matches!(self, Self::SaidNo { .. })
    }

    /// Whether upstream says that there is no such thing. That we may not have it (401, 403) is another matter.
    pub(super) fn is_absence(&self) -> bool {
        matches!(self, Self::SaidNo { status: 404 | 410 })
    }

    /// The outcome of an answer that stands in for this refusal.
    pub(super) fn covered(&self) -> Outcome {
        if matches!(self, Self::Offline { .. }) { Outcome::Offline } else { Outcome::Stale }
    }

    /// The status of upstream behind this refusal.
    pub(super) fn fwd_status(&self) -> Option<u16> {
        match self {
            Self::SaidNo { status } => Some(*status),
            Self::DidNotAnswer { status, .. } => *status,
            Self::Limited { .. } => Some(429),
            Self::RefusedUs => Some(401),
            Self::OutOfTime { .. }
            | Self::WrongContent { .. }
            | Self::Crowded
            | Self::Offline { .. }
            | Self::Internal { .. } => None,
        }
    }
}

impl From<Failure> for Refusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::SaidNo(no) => Self::SaidNo { status: no.status },
            Failure::RefusedUs { .. } | Failure::NoLogin { .. } => Self::RefusedUs,
            Failure::Limited { retry_after } => Self::Limited { retry_after },
            Failure::RangeNotSatisfiable { .. } => Self::DidNotAnswer {
                reason: "upstream found a range of its own blob unsatisfiable".to_owned(),
                status: Some(416),
            },
            Failure::DidNotAnswer(cause) => cause.into(),
        }
    }
}

impl From<Cause> for Refusal {
    fn from(cause: Cause) -> Self {
        let reason = cause.to_string();
        // What is said of an upstream that is left alone is why it is.
        let cause = if let Cause::Resting(last) = cause { *last } else { cause };
        match cause {
            Cause::ConnectTimeout
            | Cause::HeaderTimeout
            | Cause::IdleTimeout
            | Cause::Resolve { why: Unresolved::TimedOut, .. } => Self::OutOfTime { reason },
            Cause::Status(status) => Self::DidNotAnswer { reason, status: Some(status) },
            Cause::Offline => Self::Offline { why: Why::Offline, miss: OfflineMiss::default() },
            Cause::Garbage(_) | Cause::TooLarge { .. } => Self::WrongContent { reason },
            _ => Self::DidNotAnswer { reason, status: None },
        }
    }
}
