//! The body of every response.
//!
//! It owns the joining of its kinds into one byte stream, and the truth about its length: while the length is known, the
//! size hint is exact at every moment. A body that cannot be completed yields an error, upon which hyper closes the
//! connection, so that the client sees a broken transfer; it never ends early as if it were complete.
//!
//! Polled as an [`http_body::Body`] it copies out of files. [`Body::poll_sendable`] gives spans of files instead, for a
//! transport that can send those.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::region::{BodyError, Piece, Region};

/// The body of a response. Dropping it at any moment is safe.
#[derive(Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes out of open files, while they arrive.
    Region(Region),
    /// Bytes and regions in turn: a multipart body.
    Parts(Parts),
}

impl Body {
    /// The next piece to be sent, with spans of files that are in memory. Pieces are never empty; after an error nothing
    /// follows.
    pub fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => Poll::Ready(take(bytes).map(|bytes| Ok(Piece::Bytes(bytes)))),
            Self::Region(region) => region.poll_sendable(cx),
            Self::Parts(parts) => parts.poll(cx, Piece::Bytes, Region::poll_sendable),
        }
    }

    /// How many bytes are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Region(region) => region.remaining(),
            Self::Parts(parts) => parts.remaining(),
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Region> for Body {
    fn from(region: Region) -> Self {
        Self::Region(region)
    }
}

impl From<Parts> for Body {
    fn from(parts: Parts) -> Self {
        Self::Parts(parts)
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        let next = match self.get_mut() {
            Self::Empty => None,
            Self::Bytes(bytes) => take(bytes).map(Ok),
            Self::Region(region) => ready!(region.poll_bytes(cx)),
            Self::Parts(parts) => ready!(parts.poll(cx, |bytes| bytes, Region::poll_bytes)),
        };
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Region(region) => region.is_ended(),
            Self::Parts(parts) => parts.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.remaining().map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// One part of [`Parts`].
#[derive(Debug)]
pub enum Part {
    /// Bytes in memory, such as the head of a part.
    Bytes(Bytes),
    /// Bytes out of open files.
    Region(Region),
}

impl Part {
    fn remaining(&self) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Region(region) => region.remaining(),
        }
    }
}

/// Parts one after the other.
#[derive(Debug)]
pub struct Parts {
    queue: VecDeque<Part>,
    /// What the parts behind the first have still to bring, where that is known of all of them.
    behind: Option<u64>,
    failed: bool,
}

impl Parts {
    /// The parts in their order. The length is known when that of every part is.
    pub fn new(parts: impl IntoIterator<Item = Part>) -> Self {
        let queue: VecDeque<_> = parts.into_iter().collect();
        let behind =
            queue.iter().skip(1).try_fold(0u64, |sum, part| Some(sum.saturating_add(part.remaining()?)));
        Self { queue, behind, failed: false }
    }

    fn remaining(&self) -> Option<u64> {
        let first = self.queue.front().map_or(Some(0), Part::remaining)?;
        Some(first.saturating_add(self.behind?))
    }

    fn is_ended(&self) -> bool {
        !self.failed && (self.queue.is_empty() || self.remaining() == Some(0))
    }

    /// Takes from the first part until it is used up, then from the next.
    fn poll<T>(
        &mut self,
        cx: &mut Context<'_>,
        in_memory: impl Fn(Bytes) -> T,
        poll_region: impl Fn(&mut Region, &mut Context<'_>) -> Poll<Option<Result<T, BodyError>>>,
    ) -> Poll<Option<Result<T, BodyError>>> {
        loop {
            let next = match self.queue.front_mut() {
                None => return Poll::Ready(None),
                Some(Part::Bytes(bytes)) => take(bytes).map(|bytes| Ok(in_memory(bytes))),
                Some(Part::Region(region)) => ready!(poll_region(region, cx)),
            };
            match next {
                None => self.advance(),
                Some(Ok(bytes)) => return Poll::Ready(Some(Ok(bytes))),
                Some(Err(error)) => {
                    self.failed = true;
                    self.queue.clear();
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
    }

    fn advance(&mut self) {
        self.queue.pop_front();
        let first = self.queue.front().and_then(Part::remaining);
        self.behind = self.behind.map(|n| n.saturating_sub(first.unwrap_or(0)));
    }
}

/// The bytes, once; none if there are none.
fn take(bytes: &mut Bytes) -> Option<Bytes> {
    (!bytes.is_empty()).then(|| std::mem::take(bytes))
}

#[cfg(test)]
mod tests;
