//! A response before it is written: status, headers, outcome, body.
//!
//! It is made as the answer to a GET. [`Reply::send`] turns it into the answer to a HEAD by taking the body away and
//! nothing else, so that the two can have no different headers (T3). Only headers that are set here or by the callers
//! reach a client; none of upstream's is ever copied (T76, T100).

use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap, HeaderName, HeaderValue, WARNING};
use hyper::{Response, StatusCode};

use super::access::{Line, Recorded};
use crate::http::{Body, CacheStatus, Forward};
use crate::oci::Digest;
use crate::telemetry::Outcome;

/// The answer to one request.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    outcome: Outcome,
    /// What upstream answered, where it decided the outcome.
    fwd_status: Option<u16>,
    /// Whether there may be more than is told.
    partial: bool,
    headers: HeaderMap,
    /// The length of the body that a GET gets, where that is known.
    length: Option<u64>,
    body: Body,
}

impl Reply {
    /// An answer whose length is that of its body.
    pub(super) fn new(status: StatusCode, outcome: Outcome, body: impl Into<Body>) -> Self {
        let body = body.into();
        let length = body.remaining();
        Self { status, outcome, fwd_status: None, partial: false, headers: HeaderMap::new(), length, body }
    }

    /// An answer without a body in any case: what would have been its length is said if it is known.
    pub(super) fn bodiless(status: StatusCode, outcome: Outcome, length: Option<u64>) -> Self {
        Self { length, ..Self::new(status, outcome, Body::Empty) }
    }

    /// With what upstream answered.
    pub(super) fn forwarded(mut self, status: Option<u16>) -> Self {
        self.fwd_status = status;
        self
    }

    /// Says that there may be more than is told, since upstream was not there to be asked.
    pub(super) fn partial(mut self, partial: bool) -> Self {
        self.partial = partial;
        self
    }

    pub(super) fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    pub(super) fn content_type(self, value: HeaderValue) -> Self {
        self.header(CONTENT_TYPE, value)
    }

    /// Names the content by its digest, which is also its strong validator.
    pub(super) fn content(mut self, digest: &Digest) -> Self {
        self.headers.insert(DOCKER_CONTENT_DIGEST, ascii(&digest.to_string()));
        self.headers.insert(ETAG, ascii(&format!("\"{digest}\"")));
        self
    }

    /// The response, with everything that each answer carries; its access line is written when its body ends.
    pub(super) fn send(mut self, head: bool, line: Line) -> Response<Recorded> {
        let mut said = cache_status(self.outcome, self.status, self.fwd_status);
        if self.partial {
            said = said.detail(format!("{}/partial", self.outcome));
            self.headers.insert(WARNING, PARTIAL);
        }
        self.headers.insert(CACHE_STATUS, ascii(&said.to_string()));
        // Optional for a long time, but there are old clients that look at it, and it costs nothing.
        self.headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
        if let Some(length) = self.length {
            self.headers.insert(CONTENT_LENGTH, length.into());
        }
        let body = if head { Body::Empty } else { self.body };
        let mut response = Response::new(line.answered(self.status.as_u16(), self.outcome, body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

/// The outcome in the words of RFC 9211.
fn cache_status(outcome: Outcome, status: StatusCode, fwd_status: Option<u16>) -> CacheStatus {
    let said = match outcome {
        Outcome::Hit => CacheStatus::hit(),
        Outcome::Revalidated | Outcome::Stale => CacheStatus::hit().detail(outcome.as_str()),
        Outcome::Offline if status.is_success() => CacheStatus::hit().detail(outcome.as_str()),
        Outcome::Join => CacheStatus::forwarded(Forward::Miss).collapsed(),
        Outcome::Miss => CacheStatus::forwarded(Forward::Miss).stored(),
        Outcome::Bypass => CacheStatus::forwarded(Forward::Bypass),
        Outcome::Refused | Outcome::Failed | Outcome::Limited if fwd_status.is_some() => {
            CacheStatus::forwarded(Forward::Miss)
        }
        Outcome::Offline | Outcome::Refused | Outcome::Failed | Outcome::Limited | Outcome::Ping => {
            CacheStatus::unsaid().detail(outcome.as_str())
        }
    };
    fwd_status.into_iter().fold(said, CacheStatus::fwd_status)
}

/// A header value of text that we composed. What cannot stand in a header is left out as a whole.
pub(super) fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Of the code that is for everything without one of its own.
const PARTIAL: HeaderValue =
    HeaderValue::from_static("199 roadstead \"upstream did not answer: there may be more than is listed\"");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");
pub(super) const DOCKER_CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(super) const OCI_NAMESPACE: HeaderName = HeaderName::from_static("oci-namespace");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_outcome_is_one_cache_status() {
        let table = [
            (Outcome::Hit, 200, None, "hit"),
            (Outcome::Revalidated, 200, None, "hit; detail=revalidated"),
            (Outcome::Join, 200, None, "fwd=miss; collapsed"),
            (Outcome::Miss, 200, None, "fwd=miss; stored"),
            (Outcome::Stale, 200, Some(503), "hit; detail=stale; fwd-status=503"),
            (Outcome::Stale, 200, None, "hit; detail=stale"),
            (Outcome::Offline, 200, None, "hit; detail=offline"),
            (Outcome::Offline, 503, None, "detail=offline"),
            (Outcome::Bypass, 206, None, "fwd=bypass"),
            (Outcome::Refused, 404, Some(404), "fwd=miss; fwd-status=404"),
            (Outcome::Refused, 400, None, "detail=refused"),
            (Outcome::Failed, 503, None, "detail=failed"),
            (Outcome::Limited, 429, Some(429), "fwd=miss; fwd-status=429"),
            (Outcome::Ping, 200, None, "detail=ping"),
        ];
        for (outcome, status, fwd_status, said) in table {
            let status = StatusCode::from_u16(status).unwrap();
            let expected = format!("roadstead; {said}");
            assert_eq!(cache_status(outcome, status, fwd_status).to_string(), expected);
        }
        let covered = |outcome| table.iter().any(|row| row.0 == outcome);
        assert!(Outcome::ALL.into_iter().all(covered));
    }
}
