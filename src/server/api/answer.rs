//! What a call says, as a response.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Response, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::super::respond;
use super::lines::{self, Lines};
use crate::api::{Desk, ManifestContent, Problem, ProblemCode};
use crate::http::Body;

/// A request that was admitted, for whoever turns it into a call.
pub(super) struct Asking {
    pub(super) desk: Arc<dyn Desk>,
    pub(super) query: String,
    pub(super) content: Bytes,
}

/// What a call came to.
pub(super) enum Answer {
    /// One document.
    Json(Vec<u8>),
    /// A manifest, as it is.
    Manifest(ManifestContent),
    /// So many bytes.
    Bytes(u64, Box<dyn Read + Send>),
    /// A document a line, while they come.
    Lines(Lines),
}

impl Answer {
    /// This document.
    pub(super) fn of(document: &impl Serialize) -> Result<Self, Problem> {
        serde_json::to_vec(document).map(Self::Json).map_err(|error| {
            Problem::new(ProblemCode::Internal, format!("the answer cannot be written: {error}"))
        })
    }
}

pub(super) fn response(answer: Answer) -> Response<Body> {
    match answer {
        Answer::Json(bytes) => with(StatusCode::OK, JSON, bytes.into()),
        Answer::Manifest(ManifestContent { media_type, anonymous, bytes }) => {
            let mut response = with(StatusCode::OK, BYTES, bytes.into());
            let headers = response.headers_mut();
            if let Ok(media_type) = HeaderValue::from_str(&media_type) {
                headers.insert(MEDIA_TYPE, media_type);
            }
            headers.insert(ANONYMOUS, HeaderValue::from_static(if anonymous { "true" } else { "false" }));
            response
        }
        Answer::Bytes(size, content) => with(StatusCode::OK, BYTES, lines::body_of(size, content)),
        Answer::Lines(lines) => with(StatusCode::OK, JSON_LINES, lines.into_body()),
    }
}

pub(super) fn problem(problem: &Problem) -> Response<Body> {
    let body = json!({ "error": problem }).to_string().into_bytes();
    let mut response = with(respond::of_problem(problem.code), JSON, body.into());
    match problem.code {
        ProblemCode::Unauthorized => {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        ProblemCode::MethodNotAllowed => {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
        }
        _ => {}
    }
    response
}

fn with(status: StatusCode, content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a manifest is served as. Not the type of the answer: it is nothing that a browser should look into.
const MEDIA_TYPE: &str = "roadstead-media-type";
/// Whether a manifest may be had without credentials.
const ANONYMOUS: &str = "roadstead-anonymous";

const BYTES: &str = "application/octet-stream";
const JSON: &str = "application/json";
const JSON_LINES: &str = "application/x-ndjson";
