//! The short way of requests that were answered before: below the HTTP server, from the bytes of their heads.
//!
//! Most of what a hit of a manifest costs is the way through the HTTP server and back. Clients ask in the same words again
//! and again; so words whose meaning is known ([`super::known`]) are answered at once when it is nobody's turn
//! ([`Talk`]), and the server never hears of them. It hears everything else, as if this were not here.
//!
//! Guaranteed: what is answered here is one request, the same bytes that the server has once taken for one; nothing is written
//! between the bytes of the server, and nothing of the server's before an answer that was begun here is whole.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::access::Line;
use super::talk::Talk;

/// Who knows answers, by the bytes of a head.
pub(super) type Knows = Box<dyn Fn(&[u8]) -> Option<Answer> + Send>;

/// A whole answer, and the line that is written for it.
pub(super) struct Answer {
    pub(super) head: Bytes,
    pub(super) body: Bytes,
    pub(super) line: Line,
}

/// A client's connection below the HTTP server.
pub(super) struct Brief<T> {
    transport: T,
    talk: Talk,
    knows: Option<Knows>,
    /// What is being written.
    answer: Option<Answer>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Brief<T> {
    pub(super) fn new(transport: T, talk: Talk, knows: Option<Knows>) -> Self {
        Self { transport, talk, knows, answer: None }
    }

    /// Writes what is left of an answer.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Ok(())) };
        while answer.head.has_remaining() || answer.body.has_remaining() {
            let slices = [IoSlice::new(&answer.head), IoSlice::new(&answer.body)];
            let first = usize::from(answer.head.is_empty());
            let last = 2 - usize::from(answer.body.is_empty());
            let transport = Pin::new(&mut self.transport);
            let written = ready!(transport.poll_write_vectored(cx, &slices[first..last]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            let of_head = written.min(answer.head.len());
            answer.head.advance(of_head);
            answer.body.advance(written - of_head);
            if written > of_head {
                answer.line.took((written - of_head) as u64);
            }
        }
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        if let Some(answer) = self.answer.take() {
            answer.line.end();
            self.talk.answered();
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Brief<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            ready!(this.poll_answer(cx))?;
            let before = into.filled().len();
            ready!(Pin::new(&mut this.transport).poll_read(cx, into))?;
            let came = &into.filled()[before..];
            if came.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let knows = this.knows.as_ref().filter(|_| this.talk.is_quiet());
            this.answer = knows.and_then(|knows| knows(came));
            if this.answer.is_none() {
                this.talk.hand_on(came);
                return Poll::Ready(Ok(()));
            }
            into.set_filled(before);
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Brief<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.transport).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.transport).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
        self.talk.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_answer(cx))?;
        Pin::new(&mut self.transport).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests;
