//! From what went wrong to what the client is told: the one place where errors get a status, a code and a log level.
//!
//! Guarantees: what is said is true (G10) and chosen for what clients do with it. A 404 makes them believe that the
//! object does not exist, so it is said only when upstream, or a rule of the operator, said so. Upstream's *no* to us is
//! 403 and never a challenge, because clients would answer one with credentials that are meant for somebody else (T76);
//! the one challenge is this mirror's own, to log in here.
//! What cannot be known is 503 or 504, upon which clients turn to their next host.
//!
//! A client reads a fixed sentence, or its own words. Why upstream or the mirror failed, which may name hosts and paths,
//! goes to the log.

use std::borrow::Cow;
use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{ALLOW, CONNECTION, CONTENT_RANGE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use tracing::Level;

use super::access::Subject;
use super::limit::Full;
use super::reply::{JSON, Reply, ascii};
use crate::api::ProblemCode;
use crate::http::content_range::unsatisfied;
use crate::mirror::{Denied, OfflineMiss, Refusal, Why};
use crate::oci::{Code, RouteError, SelectError, error_body};
use crate::telemetry::Outcome;

/// Why a request gets no content.
#[derive(Debug)]
pub(super) enum Rejection {
    /// A method that would write, or a path that only takes part in writing.
    Write,
    /// The path or the query cannot be right.
    Route(RouteError),
    /// No upstream, or more than one, is meant.
    Select(SelectError),
    /// The catalogue is asked for, which would show the names of what others pulled (T80).
    Catalog,
    /// The request has been here before: this mirror is an endpoint of its own, maybe by others in between (T93).
    Loop,
    /// The client would have to log in.
    Unauthorized,
    /// The rules do not give it to the client.
    Forbidden,
    /// Too many logins are being looked at.
    Busy,
    /// As many as may be here are here.
    Full(Full),
    /// The mirror has no answer.
    Refused(Object, Refusal),
    /// Upstream does not let us have it, and the operator wants nobody to know that it is there.
    Hidden(Object),
    /// The asked range lies outside the blob.
    Unsatisfiable {
        /// The size of the blob.
        size: u64,
    },
    /// The size of the blob is not known yet, and the client (HTTP/1.0) could not tell a cut body from a whole one.
    LengthUnknown,
    /// No verdict in the time that a client waits for one.
    OutOfTime,
}

/// What was asked for; the code of a 404 depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    Manifest,
    Blob,
    /// A list that a repository has.
    Repository,
}

/// How a rejection is told.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Verdict {
    status: StatusCode,
    code: Code,
    level: Level,
    outcome: Outcome,
    says: Cow<'static, str>,
}

impl Verdict {
    /// The request cannot be granted, with the status that usually goes with the code. Nothing that an operator has to
    /// know: every client could fill the log with it.
    fn refused(code: Code, says: impl Into<Cow<'static, str>>) -> Self {
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, level: Level::DEBUG, outcome: Outcome::Refused, says: says.into() }
    }

    /// It could be granted, but not now.
    fn failed(status: StatusCode, level: Level, says: &'static str) -> Self {
        Self { status, code: Code::Unavailable, level, outcome: Outcome::Failed, says: says.into() }
    }
}

impl Rejection {
    /// The same as this upstream's operator wants clients to be told it.
    pub(super) fn told_as(self, denied: Denied) -> Self {
        match self {
            Self::Refused(object, Refusal::SaidNo { status: 401 | 403 }) if denied == Denied::Hide => {
                Self::Hidden(object)
            }
            other => other,
        }
    }

    /// The answer, after the reason was logged.
    pub(super) fn reply(&self, subject: &Subject) -> Reply {
        let Verdict { status, code, level, outcome, says } = self.verdict();
        self.log(level, status, &says, subject);
        let reply = Reply::new(status, outcome, error_body(code, &says, None))
            .content_type(JSON)
            .forwarded(self.fwd_status());
        match self {
            Self::Write => reply.header(ALLOW, HeaderValue::from_static(ALLOWED)),
            Self::Unsatisfiable { size } => reply.header(CONTENT_RANGE, ascii(&unsatisfied(*size))),
            Self::Unauthorized => reply.header(WWW_AUTHENTICATE, CHALLENGE),
            // Whoever goes on asking comes anew, as often as his address may.
            Self::Full(Full::Often { again }) => {
                reply.header(RETRY_AFTER, seconds(Some(*again)).into()).header(CONNECTION, CLOSE)
            }
            Self::Full(Full::Address) => reply.header(RETRY_AFTER, SOON.into()).header(CONNECTION, CLOSE),
            Self::Busy | Self::Full(Full::All) | Self::Refused(_, Refusal::Crowded) => {
                reply.header(RETRY_AFTER, SOON.into())
            }
            Self::Refused(_, Refusal::Limited { retry_after }) => {
                reply.header(RETRY_AFTER, seconds(*retry_after).into())
            }
            _ => reply,
        }
    }

    /// The table.
    fn verdict(&self) -> Verdict {
        match self {
            Self::Write => {
                Verdict::refused(Code::Unsupported, "this registry is a mirror: it only serves pulls")
            }
            Self::Route(error) => Verdict::refused(error.code(), error.to_string()),
            Self::Select(error) => Verdict::refused(error.code(), error.to_string()),
            // Not 405, which would deny GET as a method: the specification knows only 404 for a list that is not there.
            Self::Catalog => Verdict {
                status: StatusCode::NOT_FOUND,
                ..Verdict::refused(Code::Unsupported, "this mirror has no catalogue")
            },
            // No answer about the object: whoever asks goes on to its next endpoint.
            Self::Loop => Verdict::failed(
                StatusCode::LOOP_DETECTED,
                Level::WARN,
                "the request has come back to this mirror: it is configured as an endpoint of its own, maybe by way of others",
            ),
            Self::Unauthorized => Verdict::refused(
                Code::Unauthorized,
                "log in to this mirror; a login at another registry is none here",
            ),
            Self::Forbidden => {
                Verdict::refused(Code::Denied, "the rules of this mirror do not give you this")
            }
            Self::Busy => {
                limited(Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE, "too many log in at this moment")
            }
            Self::Full(full) => crowded(*full),
            Self::Refused(object, refusal) => verdict_of(*object, refusal),
            Self::Hidden(object) => absent(*object),
            Self::Unsatisfiable { .. } => {
                Verdict::refused(Code::RangeInvalid, "the range lies outside the blob")
            }
            Self::LengthUnknown => Verdict::failed(
                StatusCode::SERVICE_UNAVAILABLE,
                Level::DEBUG,
                "the size of the blob is not known yet; ask again, or with HTTP/1.1",
            ),
            Self::OutOfTime => {
                Verdict::failed(StatusCode::GATEWAY_TIMEOUT, Level::ERROR, "no answer was ready in time")
            }
        }
    }

    /// Why, for the operator.
    fn reason(&self) -> Option<&str> {
        if let Self::Hidden(_) = self {
            return Some("upstream does not let this mirror have it, which `denied` says to hide");
        }
        let Self::Refused(_, refusal) = self else { return None };
        match refusal {
            Refusal::DidNotAnswer { reason, .. }
            | Refusal::OutOfTime { reason }
            | Refusal::WrongContent { reason }
            | Refusal::Internal { reason } => Some(reason),
            Refusal::SaidNo { .. }
            | Refusal::RefusedUs
            | Refusal::Crowded
            | Refusal::Limited { .. }
            | Refusal::Offline { .. } => None,
        }
    }

    /// What upstream answered, as clients may know it.
    fn fwd_status(&self) -> Option<u16> {
        if let Self::Hidden(_) = self {
            return Some(NOT_FOUND.as_u16());
        }
        let Self::Refused(_, refusal) = self else { return None };
        match refusal {
            Refusal::SaidNo { status } => Some(*status),
            Refusal::DidNotAnswer { status, .. } => *status,
            Refusal::Limited { .. } => Some(StatusCode::TOO_MANY_REQUESTS.as_u16()),
            Refusal::RefusedUs => Some(StatusCode::UNAUTHORIZED.as_u16()),
            Refusal::OutOfTime { .. }
            | Refusal::WrongContent { .. }
            | Refusal::Crowded
            | Refusal::Offline { .. }
            | Refusal::Internal { .. } => None,
        }
    }

    fn log(&self, level: Level, status: StatusCode, says: &str, subject: &Subject) {
        let (status, reason) = (status.as_u16(), self.reason());
        let Subject { upstream, repository, reference, .. } = subject;
        let (upstream, repository, reference) =
            (upstream.as_deref(), repository.as_deref(), reference.as_deref());
        match level {
            Level::ERROR => tracing::error!(upstream, repository, reference, status, reason, "{says}"),
            Level::WARN => tracing::warn!(upstream, repository, reference, status, reason, "{says}"),
            _ => tracing::debug!(upstream, repository, reference, status, reason, "{says}"),
        }
    }
}

/// A limit of this mirror's. 503 where all share it, upon which clients turn to their next host; 429 where it is the
/// client's own.
fn crowded(full: Full) -> Verdict {
    match full {
        Full::All => limited(
            Code::Unavailable,
            StatusCode::SERVICE_UNAVAILABLE,
            "as many as this mirror lets in are here",
        ),
        Full::Address => limited(
            Code::TooManyRequests,
            StatusCode::TOO_MANY_REQUESTS,
            "as many as this mirror lets in from your address are here",
        ),
        Full::Often { .. } => limited(
            Code::TooManyRequests,
            StatusCode::TOO_MANY_REQUESTS,
            "your address asks more often than this mirror lets one",
        ),
    }
}

fn limited(code: Code, status: StatusCode, says: &'static str) -> Verdict {
    Verdict { status, code, level: Level::DEBUG, outcome: Outcome::Limited, says: says.into() }
}

/// What a client is told whose connection is not taken, on the wire.
pub(super) fn turned_away(full: Full) -> String {
    let Verdict { status, code, says, .. } = crowded(full);
    let body = String::from_utf8_lossy(&error_body(code, &says, None)).into_owned();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nretry-after: {SOON}\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// When whoever was turned away may come again, in seconds.
const SOON: u64 = 1;

/// What ends a connection with its answer.
const CLOSE: HeaderValue = HeaderValue::from_static("close");

/// How clients log in.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"roadstead\", charset=\"UTF-8\"");

/// What the mirror's refusal is to a client. *Said no* and *did not answer* never become the same (G10).
fn verdict_of(object: Object, refusal: &Refusal) -> Verdict {
    match refusal {
        Refusal::SaidNo { status: 401 | 403 } => {
            Verdict::refused(Code::Denied, "upstream does not let this mirror have it")
        }
        Refusal::SaidNo { .. } => absent(object),
        Refusal::Offline { why, miss } => offline(object, *why, *miss),
        Refusal::DidNotAnswer { .. } => Verdict::failed(
            StatusCode::SERVICE_UNAVAILABLE,
            Level::WARN,
            "upstream did not answer, and there is no copy here",
        ),
        Refusal::RefusedUs => Verdict::failed(
            StatusCode::SERVICE_UNAVAILABLE,
            // That it refuses us is said once, and loudly, by who asked it.
            Level::WARN,
            "upstream refused this mirror's access, and there is no copy here",
        ),
        Refusal::OutOfTime { .. } => Verdict::failed(
            StatusCode::GATEWAY_TIMEOUT,
            Level::WARN,
            "upstream did not answer in time, and there is no copy here",
        ),
        Refusal::WrongContent { .. } => Verdict::failed(
            StatusCode::BAD_GATEWAY,
            Level::ERROR,
            "upstream sent something else than what was asked for",
        ),
        Refusal::Limited { .. } => Verdict {
            level: Level::WARN,
            outcome: Outcome::Limited,
            ..Verdict::refused(
                Code::TooManyRequests,
                "upstream limits this mirror, and there is no copy here",
            )
        },
        Refusal::Crowded => limited(
            Code::Unavailable,
            StatusCode::SERVICE_UNAVAILABLE,
            "as many blobs as this mirror fetches at a time are on their way, and this one is not here",
        ),
        Refusal::Internal { .. } => Verdict {
            level: Level::ERROR,
            outcome: Outcome::Failed,
            ..Verdict::refused(Code::Unknown, "this mirror failed; its log says why")
        },
    }
}

/// It is not there, as far as the client is told.
fn absent(object: Object) -> Verdict {
    match object {
        Object::Manifest => Verdict::refused(Code::ManifestUnknown, "upstream has no such manifest"),
        Object::Blob => Verdict::refused(Code::BlobUnknown, "upstream has no such blob"),
        Object::Repository => Verdict::refused(Code::NameUnknown, "upstream has no such repository"),
    }
}

/// What is not here while nobody is asked. There is no `Retry-After`: who waits does not turn to his next mirror.
fn offline(object: Object, why: Why, miss: OfflineMiss) -> Verdict {
    let says = match why {
        Why::Offline => "this mirror is offline: it does not ask upstream, and there is no copy here",
        Why::Away => {
            "this mirror is offline: upstream does not answer at the moment, and there is no copy here"
        }
        Why::NotWhole => {
            "this mirror is offline: it has not all of this image, and cannot ask upstream for the rest"
        }
    };
    let unavailable = Verdict::failed(StatusCode::SERVICE_UNAVAILABLE, Level::DEBUG, says);
    let verdict = match (miss, object) {
        // That nobody could ask for a list must not pass for there being none.
        (OfflineMiss::Unavailable, _) | (OfflineMiss::NotFound, Object::Repository) => unavailable,
        (OfflineMiss::NotFound, Object::Manifest) => Verdict::refused(Code::ManifestUnknown, says),
        (OfflineMiss::NotFound, Object::Blob) => Verdict::refused(Code::BlobUnknown, says),
    };
    Verdict { outcome: Outcome::Offline, ..verdict }
}

/// Whole seconds for `Retry-After`: never none, and half a minute where upstream did not say.
fn seconds(wait: Option<Duration>) -> u64 {
    wait.map_or(30, |wait| wait.as_millis().div_ceil(1000).clamp(1, 86_400) as u64)
}

/// What `Allow` says with a 405.
pub(super) const ALLOWED: &str = "GET, HEAD";

/// The status of a problem of the admin API.
pub(super) fn of_problem(code: ProblemCode) -> StatusCode {
    match code {
        ProblemCode::BadRequest => StatusCode::BAD_REQUEST,
        ProblemCode::UnknownPath | ProblemCode::NotFound => StatusCode::NOT_FOUND,
        ProblemCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ProblemCode::NotJson | ProblemCode::NotBytes => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ProblemCode::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
        ProblemCode::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ProblemCode::Unauthorized => StatusCode::UNAUTHORIZED,
        ProblemCode::Forbidden => StatusCode::FORBIDDEN,
        ProblemCode::Conflict => StatusCode::CONFLICT,
        ProblemCode::Refused | ProblemCode::Unreachable => StatusCode::BAD_GATEWAY,
        ProblemCode::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        ProblemCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

// For the admin listener, whose answers are no registry's.
pub(super) const METHOD_NOT_ALLOWED: StatusCode = StatusCode::METHOD_NOT_ALLOWED;
pub(super) const NOT_FOUND: StatusCode = StatusCode::NOT_FOUND;
pub(super) const NOT_READY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

#[cfg(test)]
mod tests;
