//! A body as a connection takes it: with regions of its files put on the [`Lane`] of the connection, where it has one.
//!
//! Only bodies of known length go by the lane: of others hyper writes in chunks whose marks would be counted as their bytes,
//! and whose ends nobody could prove.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::lane::{Lane, Waiting};
use crate::http::{BodyError, Piece};

/// A body that can say where its bytes are instead of giving them.
pub(super) trait Pieces: Body<Data = Bytes, Error = BodyError> + Waiting + Unpin + 'static {
    /// The next piece, as of [`crate::http::Body::poll_sendable`].
    fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>>;
}

/// A body on a connection.
#[derive(Debug)]
pub(super) struct Carried<B: Pieces> {
    /// Always there; it goes elsewhere when this is dropped.
    body: Option<B>,
    lane: Option<Lane>,
}

impl<B: Pieces> Carried<B> {
    /// The body, on a connection with that lane.
    pub(super) fn new(body: B, lane: Option<&Lane>) -> Self {
        let lane = lane.filter(|lane| lane.is_open() && body.size_hint().exact().is_some()).cloned();
        Self { body: Some(body), lane }
    }
}

impl<B: Pieces> Body for Carried<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Self { body, lane } = &mut *self;
        let Some(body) = body else { return Poll::Ready(None) };
        let Some(lane) = lane else { return Pin::new(body).poll_frame(cx) };
        let polled = body.poll_sendable(cx);
        lane.tell_follows(matches!(&polled, Poll::Ready(Some(Ok(_)))) && !body.is_end_stream());
        Poll::Ready(ready!(polled).map(|piece| {
            piece.map(|piece| {
                Frame::data(match piece {
                    Piece::Bytes(bytes) => bytes,
                    Piece::Span(span) => lane.put(span),
                })
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Pieces> Drop for Carried<B> {
    fn drop(&mut self) {
        if let (Some(body), Some(lane)) = (self.body.take(), &self.lane) {
            lane.tell_follows(false);
            lane.wait(body);
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
