//! How asking an upstream can fail, kept apart by what the mirror does about it.
//!
//! *Said no* is an answer and is passed on. *Refused us* and *did not answer* are not, and are covered by what is cached.
//! Upstream's own error bodies go no further than the debug log.

use std::fmt;
use std::time::{Duration, SystemTime};

use http::header::CONTENT_RANGE;
use http::{HeaderMap, StatusCode};

use crate::http::{ReceivedRange, parse_content_range};

use super::limit::retry_after;

/// Why upstream gave nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It refused this object: not there, or not for us although our credentials work.
    SaidNo(SaidNo),
    /// It, or its token server, refused our credentials: for the operator to mend.
    RefusedUs {
        /// The status it refused us with.
        status: u16,
    },
    /// It asks who we are, and there is nothing that could or may be shown: for the operator to mend as well.
    NoLogin {
        /// What stood in the way. It holds no secret.
        why: String,
    },
    /// It told us to ask less often.
    Limited {
        /// How long it told us to wait, if it said.
        retry_after: Option<Duration>,
    },
    /// It gave no answer that could be used.
    DidNotAnswer(Cause),
    /// The asked range begins behind the end of the blob.
    RangeNotSatisfiable {
        /// The size of the whole, if upstream said.
        total: Option<u64>,
    },
}

/// Upstream's refusal of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaidNo {
    /// The status it said no with.
    pub status: u16,
}

/// Why there was no usable answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name of this host could not be resolved.
    Resolve {
        /// The host.
        host: String,
        /// Why not.
        why: Unresolved,
    },
    /// No connection could be made.
    Connect(String),
    /// The proxy on the way could not be reached, or did not let us through: nothing is known of upstream.
    Proxy(String),
    /// The TLS handshake failed.
    Tls(String),
    /// Resolving, connecting and the TLS handshake took too long together.
    ConnectTimeout,
    /// The head of the response did not come in time.
    HeaderTimeout,
    /// The body stopped coming.
    IdleTimeout,
    /// A status that says nothing about the object.
    Status(u16),
    /// The connection ended before the answer did.
    Cut,
    /// It was not asked: it did not answer several times, lately for this reason, and is left alone for a moment.
    Resting(Box<Self>),
    /// It was not asked: this mirror is offline as far as it goes.
    Offline,
    /// The answer is not what a registry answers.
    Garbage(String),
    /// It sent us where we do not go.
    RedirectRefused(String),
    /// The manifest is larger than this.
    TooLarge {
        /// The most bytes that are taken.
        limit: usize,
    },
}

impl Cause {
    /// One word of a fixed set, for the metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Resolve { .. } => "resolve",
            Self::Connect(_) => "connect",
            Self::Proxy(_) => "proxy",
            Self::Tls(_) => "tls",
            Self::ConnectTimeout | Self::HeaderTimeout | Self::IdleTimeout => "timeout",
            Self::Status(_) => "status",
            Self::Cut => "cut",
            Self::Resting(_) => "resting",
            Self::Offline => "offline",
            Self::Garbage(_) => "garbage",
            Self::RedirectRefused(_) => "redirect",
            Self::TooLarge { .. } => "too_large",
        }
    }
}

/// Why a name has no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unresolved {
    /// There is no such name, or it has no address.
    Unknown,
    /// The resolver cannot tell at the moment.
    ForNow,
    /// The resolver did not answer.
    TimedOut,
    /// The resolver failed in another way, in its own words.
    Failed(String),
}

impl SaidNo {
    /// Whether it is about who asks, and not about whether the object is there.
    #[must_use]
    pub fn is_about_access(self) -> bool {
        matches!(self.status, 401 | 403)
    }
}

impl Failure {
    pub(super) fn garbage(what: impl Into<String>) -> Self {
        Self::DidNotAnswer(Cause::Garbage(what.into()))
    }
}

impl From<Cause> for Failure {
    fn from(cause: Cause) -> Self {
        Self::DidNotAnswer(cause)
    }
}

impl std::error::Error for Failure {}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SaidNo(SaidNo { status }) => write!(f, "upstream said no with status {status}"),
            Self::RefusedUs { status } => write!(
                f,
                "upstream refused our credentials with status {status}: check them, and `realm_hosts`, in the configuration"
            ),
            Self::NoLogin { why } => write!(f, "there is no account to show to upstream: {why}"),
            Self::Limited { retry_after: Some(wait) } => {
                write!(f, "upstream limits our requests for {} s", wait.as_secs())
            }
            Self::Limited { retry_after: None } => f.write_str("upstream limits our requests"),
            Self::DidNotAnswer(cause) => write!(f, "upstream did not answer: {cause}"),
            Self::RangeNotSatisfiable { .. } => f.write_str("the range begins behind the end of the blob"),
        }
    }
}

impl std::error::Error for Cause {}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve { host, why } => write!(f, "the name {host} {why}"),
            Self::Connect(why) => write!(f, "no connection: {why}"),
            Self::Proxy(why) => write!(f, "the proxy {why}"),
            Self::Tls(why) => write!(f, "TLS failed: {why}"),
            Self::ConnectTimeout => f.write_str("no connection within `connect_timeout`"),
            Self::HeaderTimeout => f.write_str("no response within `header_timeout`"),
            Self::IdleTimeout => f.write_str("the body stopped for longer than `idle_timeout`"),
            Self::Status(status) => write!(f, "status {status}"),
            Self::Cut => f.write_str("the connection was cut before the end"),
            Self::Resting(last) => {
                write!(f, "it is left alone for a moment, after this several times: {last}")
            }
            Self::Offline => f.write_str("it is not asked: its mode is offline"),
            Self::Garbage(what) => write!(f, "not a registry's answer: {what}"),
            Self::RedirectRefused(why) => write!(f, "redirect not followed: {why}"),
            Self::TooLarge { limit } => write!(f, "the manifest is larger than {limit} bytes"),
        }
    }
}

impl fmt::Display for Unresolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => {
                f.write_str("does not exist, or has no address (check how it is written, and the zone)")
            }
            Self::ForNow => {
                f.write_str("cannot be resolved at the moment: name servers do not answer, or fail")
            }
            Self::TimedOut => f.write_str("was not resolved in time: the resolver does not answer"),
            Self::Failed(why) => write!(f, "could not be resolved: {why}"),
        }
    }
}

/// Who gave the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voice {
    /// A registry: its word on the object counts.
    Registry,
    /// Storage that the registry redirected to. That it does not let us in says nothing about the object.
    Storage,
}

/// What a status that is no success means.
pub(super) fn of_status(status: StatusCode, headers: &HeaderMap, voice: Voice, now: SystemTime) -> Failure {
    match (status.as_u16(), voice) {
        (status @ (404 | 410), _) | (status @ (401 | 403), Voice::Registry) => {
            Failure::SaidNo(SaidNo { status })
        }
        (429, _) => Failure::Limited { retry_after: retry_after(headers, now) },
        (416, _) => Failure::RangeNotSatisfiable { total: total_of_unsatisfied(headers) },
        (status, _) => Failure::DidNotAnswer(Cause::Status(status)),
    }
}

/// `Content-Range: bytes */1234` of a 416.
fn total_of_unsatisfied(headers: &HeaderMap) -> Option<u64> {
    match parse_content_range(headers.get(CONTENT_RANGE)?.to_str().ok()?)? {
        ReceivedRange::Unsatisfied { size } => size,
        ReceivedRange::Bytes { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, voice: Voice, headers: &[(&'static str, &str)]) -> Failure {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().expect("a value"));
        }
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        of_status(StatusCode::from_u16(status).expect("a status"), &map, voice, now)
    }

    #[test]
    fn g6_only_an_answer_about_the_object_is_said_no() {
        for (status, voice, failure) in [
            (404, Voice::Registry, Failure::SaidNo(SaidNo { status: 404 })),
            (410, Voice::Registry, Failure::SaidNo(SaidNo { status: 410 })),
            (401, Voice::Registry, Failure::SaidNo(SaidNo { status: 401 })),
            (403, Voice::Registry, Failure::SaidNo(SaidNo { status: 403 })),
            (404, Voice::Storage, Failure::SaidNo(SaidNo { status: 404 })),
            (401, Voice::Storage, Failure::DidNotAnswer(Cause::Status(401))),
            (403, Voice::Storage, Failure::DidNotAnswer(Cause::Status(403))),
            (400, Voice::Storage, Failure::DidNotAnswer(Cause::Status(400))),
            (400, Voice::Registry, Failure::DidNotAnswer(Cause::Status(400))),
            (304, Voice::Registry, Failure::DidNotAnswer(Cause::Status(304))),
            (500, Voice::Registry, Failure::DidNotAnswer(Cause::Status(500))),
            (502, Voice::Registry, Failure::DidNotAnswer(Cause::Status(502))),
            (503, Voice::Storage, Failure::DidNotAnswer(Cause::Status(503))),
            (504, Voice::Registry, Failure::DidNotAnswer(Cause::Status(504))),
            (429, Voice::Registry, Failure::Limited { retry_after: None }),
            (416, Voice::Registry, Failure::RangeNotSatisfiable { total: None }),
        ] {
            assert_eq!(judged(status, voice, &[]), failure, "{status} {voice:?}");
        }
    }

    #[test]
    fn t62_retry_after_is_seconds_or_a_date() {
        for (value, seconds) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("99999999999", Some(24 * 60 * 60)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let failure = judged(429, Voice::Registry, &[("retry-after", value)]);
            assert_eq!(
                failure,
                Failure::Limited { retry_after: seconds.map(Duration::from_secs) },
                "{value}"
            );
        }
    }

    #[test]
    fn a_416_tells_the_size() {
        for (value, total) in [("bytes */1234", Some(1234)), ("bytes */*", None), ("bytes 0-1/2", None)] {
            let failure = judged(416, Voice::Storage, &[("content-range", value)]);
            assert_eq!(failure, Failure::RangeNotSatisfiable { total }, "{value}");
        }
    }
}
