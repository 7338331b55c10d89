//! The body of a response, and the connection that it comes over.
//!
//! Owns when a connection is left. HTTP/1.1 gives up one that a message broke on; one of HTTP/2 is shared, and the next
//! request would go over it again. So whatever breaks on a connection keeps new requests from it, those that run on it go
//! on. Leaves to others what a broken body means.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper_util::client::legacy::connect::CaptureConnection;

/// The connection of one request, when it has one.
pub(super) struct Line(CaptureConnection);

impl Line {
    pub(super) fn new(captured: CaptureConnection) -> Self {
        Self(captured)
    }

    /// No request is begun on it from now on.
    pub(super) fn leave(&self) {
        if let Some(connected) = &*self.0.connection_metadata() {
            connected.poison();
        }
    }
}

/// A request that has no head yet. Where it never gets one, its connection is left.
pub(super) struct Waiting(Option<Line>);

impl Waiting {
    pub(super) fn on(line: Line) -> Self {
        Self(Some(line))
    }

    /// The head came: the connection does what it should, so far.
    pub(super) fn answered(mut self, body: Incoming) -> Received {
        Received { body, line: self.0.take() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(line) = &self.0 {
            line.leave();
        }
    }
}

/// A body as it comes. What breaks it keeps its connection from being used again.
pub(super) struct Received {
    body: Incoming,
    line: Option<Line>,
}

impl Received {
    /// It stood still for too long: the next try is not to depend on the same connection.
    pub(super) fn leave(&self) {
        if let Some(line) = &self.line {
            line.leave();
        }
    }
}

impl Body for Received {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Err(_))) = &polled {
            self.leave();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl fmt::Debug for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received").field("body", &self.body).finish_non_exhaustive()
    }
}
