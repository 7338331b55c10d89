//! One access line a request, and its figures in the metrics.
//!
//! A [`Line`] is begun when a request has been read and says what it knows when it is dropped: once, whatever became of
//! the request. It travels with the response body ([`Recorded`]), so that it knows how much was sent and whether the
//! body came to its end. Bytes that are copied count when the HTTP server takes them, those of files that the kernel sends
//! when it has them; what then waits in buffers, at most a few MiB, may still be lost with the connection.
//!
//! Never in the line: the query, which may carry tokens, and any header but the three that are named here (T77).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body as _, Frame, SizeHint};
use hyper::header::{HeaderMap, HeaderName, RANGE, USER_AGENT};
use hyper::http::request;
use tokio::time::Instant;

use super::carried::Pieces;
use super::lane::Waiting;
use super::limit::Turn;
use crate::http::{Body, BodyError, Piece};
use crate::telemetry::{Metrics, Outcome};

/// What is known of a request so far; dropping it writes the access line.
#[derive(Debug)]
pub(super) struct Line {
    metrics: Metrics,
    began: Instant,
    asked: Arc<Asked>,
    client: Arc<str>,
    /// What was asked for, as far as it could be read.
    pub(super) subject: Subject,
    answer: Option<Answer>,
    /// As whom the client has logged in.
    pub(super) user: Option<Arc<str>>,
    /// The client's place among those that are answered, until it has its answer.
    pub(super) turn: Option<Turn>,
    first_byte: Option<Duration>,
    bytes: u64,
    ended: bool,
}

/// What a request says of itself.
#[derive(Debug)]
pub(super) struct Asked {
    method: String,
    path: String,
    user_agent: Option<String>,
    range: Option<String>,
}

/// Which object of which upstream a request is about.
#[derive(Clone, Debug, Default)]
pub(super) struct Subject {
    pub(super) upstream: Option<Arc<str>>,
    pub(super) repository: Option<Arc<str>>,
    /// A tag or a digest.
    pub(super) reference: Option<Arc<str>>,
    /// Whether `ns=` chose the upstream, which the answer then confirms (T74).
    pub(super) by_ns: bool,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    status: u16,
    outcome: Outcome,
}

impl Line {
    pub(super) fn begin(head: &request::Parts, client: impl fmt::Display, metrics: Metrics) -> Self {
        let asked = Asked {
            method: shortened(head.method.as_str()),
            path: shortened(head.uri.path()),
            user_agent: header(&head.headers, USER_AGENT),
            range: header(&head.headers, RANGE),
        };
        Self::of(Arc::new(asked), client.to_string().into(), metrics)
    }

    /// Of a request in the words of an earlier one.
    pub(super) fn of(asked: Arc<Asked>, client: Arc<str>, metrics: Metrics) -> Self {
        Self {
            metrics,
            began: Instant::now(),
            asked,
            client,
            subject: Subject::default(),
            answer: None,
            user: None,
            turn: None,
            first_byte: None,
            bytes: 0,
            ended: false,
        }
    }

    /// The response is ready, and `body` is what will be sent of it.
    pub(super) fn answered(mut self, status: u16, outcome: Outcome, body: Body) -> Recorded {
        self.answer = Some(Answer { status, outcome });
        self.ended = body.is_end_stream();
        Recorded { body, line: self, failure: None }
    }

    /// What the request said of itself.
    pub(super) fn asked(&self) -> &Arc<Asked> {
        &self.asked
    }

    /// Whether the answer is a hit.
    pub(super) fn was_hit(&self) -> bool {
        self.answer.is_some_and(|answer| answer.outcome == Outcome::Hit)
    }

    /// The answer is a hit, and on its way.
    pub(super) fn is_hit(&mut self) {
        self.answer = Some(Answer { status: 200, outcome: Outcome::Hit });
    }

    /// All of the answer is sent.
    pub(super) fn end(mut self) {
        self.ended = true;
    }

    /// So much more of the body was sent.
    pub(super) fn took(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.first_byte.get_or_insert_with(|| self.began.elapsed());
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let total = self.began.elapsed();
        let first_byte = self.first_byte.unwrap_or(total);
        // Without an answer the client or the drain ended it: nothing was given.
        let outcome = self.answer.map_or(Outcome::Failed, |answer| answer.outcome);
        let given = self.answer.is_some_and(|answer| answer.status < 400);
        let cut = !self.ended;
        let upstream = self.subject.upstream.as_deref();
        tracing::info!(
            target: "access",
            method = self.asked.method,
            path = self.asked.path,
            upstream,
            repository = self.subject.repository.as_deref(),
            reference = self.subject.reference.as_deref(),
            status = self.answer.map(|answer| answer.status),
            outcome = outcome.as_str(),
            bytes = self.bytes,
            ttfb_ms = milliseconds(first_byte),
            total_ms = milliseconds(total),
            range = self.asked.range,
            client = %self.client,
            user = self.user.as_deref(),
            user_agent = self.asked.user_agent,
            cut = cut.then_some(true),
        );
        self.metrics.request(upstream.unwrap_or_default(), outcome, given, self.bytes, first_byte, total);
    }
}

/// A response body that carries its request's [`Line`] to the end.
///
/// An error is given one poll late. HTTP servers let go of all they have not sent when a body fails, its head included,
/// and flush when a body has nothing yet: so whoever is cut has had the head and whatever was ready for it.
#[derive(Debug)]
pub(super) struct Recorded {
    body: Body,
    line: Line,
    failure: Option<BodyError>,
}

impl Recorded {
    /// What is known of its request.
    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// What `next` gives of the body, noted in the line.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        next: impl FnOnce(&mut Body, &mut Context<'_>) -> Poll<Option<Result<T, BodyError>>>,
        len: impl FnOnce(&T) -> u64,
    ) -> Poll<Option<Result<T, BodyError>>> {
        if let Some(failure) = self.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        let given = ready!(next(&mut self.body, cx));
        match given {
            None => self.line.ended = true,
            Some(Ok(ref given)) => {
                self.line.took(len(given));
                // Nobody asks further after the last byte of a body whose length is known.
                self.line.ended = self.body.is_end_stream();
            }
            Some(Err(reason)) => {
                tracing::warn!(%reason, path = self.line.asked.path, "a body could not be completed; its connection is cut");
                self.failure = Some(reason);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        Poll::Ready(given)
    }
}

impl hyper::body::Body for Recorded {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.poll(
            cx,
            |body, cx| Pin::new(body).poll_frame(cx),
            |frame| frame.data_ref().map_or(0, |data| data.len() as u64),
        )
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Pieces for Recorded {
    fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        self.poll(cx, Body::poll_sendable, Piece::len)
    }
}

impl Waiting for Recorded {
    fn unsent(&mut self, bytes: u64) {
        self.line.bytes = self.line.bytes.saturating_sub(bytes);
        self.line.ended = false;
    }
}

fn header(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    headers.get(name).map(|value| shortened(&String::from_utf8_lossy(value.as_bytes())))
}

/// Clients may send what they like; the log keeps the beginning of it.
fn shortened(said: &str) -> String {
    const MOST: usize = 512;
    said.char_indices().nth(MOST).map_or_else(|| said.to_owned(), |(end, _)| format!("{}...", &said[..end]))
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
pub(super) mod tests;
