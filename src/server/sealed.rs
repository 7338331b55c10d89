//! A client's connection under TLS, once that is agreed on.
//!
//! Owns how plain bytes become records, and when those are written. Records are filled before they are sealed, whatever the
//! pieces in which HTTP writes, and many go out in one call, which costs more than to seal them. HTTP flushes after every
//! piece, also where the next one follows at once. So what is flushed waits until the batch is full or the connection has
//! come to rest: whoever polls it tells by [`Rest::settle`] ([`super::turns`]).
//!
//! How much of a connection waits here is for [`super::batch`] to say; beyond that nothing is taken.
//!
//! What waits when a connection is dropped is lost with it; who drops one before it was shut down cuts an answer anyway.
//!
//! Left to others: handshakes ([`super::tls`]), clients that take nothing ([`super::stall`]), and TLS itself (rustls).

use std::io::{self, BufRead as _, IoSlice, Read, Write};
use std::ops::Range;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use rustls::ServerConnection;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::batch::Batch;

/// The most that a record holds (RFC 8446, section 5.1).
pub(super) const RECORD: usize = 16 * 1024;

/// About what a record has beside that: its head, its kind and its tag.
const SEAL: usize = 22;

/// How many slices of one write are looked at.
const SLICES: usize = 32;

/// A connection whose handshake is over.
#[derive(Debug)]
pub(super) struct Sealed<S>(Arc<Mutex<Inner<S>>>);

/// Who tells it that it has come to rest.
#[derive(Debug)]
pub(super) struct Rest<S>(Weak<Mutex<Inner<S>>>);

#[derive(Debug)]
struct Inner<S> {
    socket: S,
    session: ServerConnection,
    /// What was written last and does not fill a record.
    tail: Vec<u8>,
    /// About how much is sealed and not sent.
    queued: usize,
    batch: Batch,
    /// Whether a flush was put off.
    owes_flush: bool,
    /// What went wrong while nobody was there to be told.
    failed: Option<io::Error>,
    /// Whether the client was told that nothing follows.
    is_closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Sealed<S> {
    /// The connection; what is flushed waits for the other.
    pub(super) fn new(socket: S, mut session: ServerConnection) -> (Self, Rest<S>) {
        // What waits is bounded by what is given to be sealed.
        session.set_buffer_limit(None);
        let (tail, batch) = (Vec::new(), Batch::new());
        let inner = Inner {
            socket,
            session,
            tail,
            queued: 0,
            batch,
            owes_flush: false,
            failed: None,
            is_closed: false,
        };
        let inner = Arc::new(Mutex::new(inner));
        let rest = Rest(Arc::downgrade(&inner));
        (Self(inner), rest)
    }

    fn inner(&self) -> MutexGuard<'_, Inner<S>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Rest<S> {
    /// Nothing more is written for now: what waits is sent, as far as the socket takes it. Whether nothing waits.
    ///
    /// A failure is told to who reads or writes next, which is asked for.
    pub(super) fn settle(&self, cx: &mut Context<'_>) -> bool {
        let Some(inner) = self.0.upgrade() else { return true };
        let mut inner = inner.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.owes_flush
            && let Poll::Ready(Err(error)) = inner.poll_send_all(cx)
        {
            inner.owes_flush = false;
            inner.failed = Some(error);
            cx.waker().wake_by_ref();
        }
        if inner.failed.is_some() {
            return true;
        }
        // How much waits is known only nearly; whether anything does is not to be guessed.
        let is_settled = !inner.owes_flush && inner.tail.is_empty() && !inner.session.wants_write();
        if is_settled {
            // Most connections are idle most of the time.
            inner.tail = Vec::new();
        }
        is_settled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inner<S> {
    /// Takes as much of these as the batch has room for: full records are sealed, the rest becomes the tail.
    fn seal(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let slices = &slices[..slices.len().min(SLICES)];
        let all: usize = slices.iter().map(|slice| slice.len()).sum();
        let waiting = self.waiting();
        let room = self.batch.room(waiting);
        // Beyond the batch by less than a record, so that where there is room something is taken.
        let taken = all.min(room.max(RECORD));
        let full = (self.tail.len() + taken) / RECORD * RECORD;
        let of_slices = full.saturating_sub(self.tail.len());
        if full > 0 {
            let mut run = [IoSlice::new(&[]); SLICES + 1];
            run[0] = IoSlice::new(&self.tail);
            let mut left = of_slices;
            for (to, slice) in run[1..].iter_mut().zip(slices) {
                let part = slice.len().min(left);
                *to = IoSlice::new(&slice[..part]);
                left -= part;
            }
            let first = usize::from(self.tail.is_empty());
            let sealed = self.session.writer().write_vectored(&run[first..=slices.len()])?;
            if sealed != full {
                return Err(io::Error::other("TLS took less than it was given"));
            }
            self.queued += full + full / RECORD * SEAL;
            self.tail.clear();
        }
        keep(&mut self.tail, slices, of_slices..taken);
        self.batch.add(taken);
        Ok(taken)
    }

    /// Seals the tail.
    fn seal_tail(&mut self) -> io::Result<()> {
        if !self.tail.is_empty() {
            self.session.writer().write_all(&self.tail)?;
            self.queued += self.tail.len() + SEAL;
            self.tail.clear();
        }
        Ok(())
    }

    /// Sends what is sealed.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.session.wants_write() {
            match self.session.write_tls(&mut At { socket: &mut self.socket, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(sent) => self.queued = self.queued.saturating_sub(sent),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
        self.queued = 0;
        self.batch.sent();
        Poll::Ready(Ok(()))
    }

    /// Sends everything.
    fn poll_send_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.seal_tail()?;
        ready!(self.poll_send(cx))?;
        ready!(Pin::new(&mut self.socket).poll_flush(cx))?;
        self.owes_flush = false;
        Poll::Ready(Ok(()))
    }

    /// What went wrong before.
    fn check(&mut self) -> io::Result<()> {
        self.failed.take().map_or(Ok(()), Err)
    }

    fn waiting(&self) -> usize {
        self.queued + self.tail.len()
    }

    /// Takes records from the socket, and opens them.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.session.read_tls(&mut At { socket: &mut self.socket, cx }) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
            Err(error) => return Poll::Ready(Err(error)),
        }
        Poll::Ready(match self.session.process_new_packets() {
            Ok(_) => Ok(()),
            Err(wrong) => {
                // The client is told, if it listens. What is returned is what was wrong.
                let _told = self.poll_send(cx);
                Err(io::Error::new(io::ErrorKind::InvalidData, wrong))
            }
        })
    }
}

/// Keeps so much of what these hold together.
fn keep(tail: &mut Vec<u8>, slices: &[IoSlice<'_>], Range { start, end }: Range<usize>) {
    let mut at = 0;
    for slice in slices {
        let [from, to] = [start, end].map(|place| place.saturating_sub(at).min(slice.len()));
        tail.extend_from_slice(&slice[from..to]);
        at += slice.len();
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Sealed<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut this = self.inner();
        this.check()?;
        loop {
            match this.session.reader().fill_buf() {
                // Nothing is the end, of which the client has told.
                Ok(plain) => {
                    let amount = plain.len().min(into.remaining());
                    into.put_slice(&plain[..amount]);
                    this.session.reader().consume(amount);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
            ready!(this.poll_receive(cx))?;
            // It may have an answer of its own, as to a change of keys.
            this.owes_flush |= this.session.wants_write();
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Sealed<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if slices.iter().all(|slice| slice.is_empty()) {
            return Poll::Ready(Ok(0));
        }
        let mut this = self.inner();
        this.check()?;
        let waiting = this.waiting();
        if this.batch.room(waiting) == 0 {
            // Whoever is let wait here is woken by the socket.
            let sent = this.poll_send(cx)?;
            let waiting = this.waiting();
            if sent.is_pending() && this.batch.room(waiting) == 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(this.seal(slices))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.inner();
        this.check()?;
        let waiting = this.waiting();
        if this.batch.room(waiting) > 0 {
            this.owes_flush |= waiting > 0 || this.session.wants_write();
            return Poll::Ready(Ok(()));
        }
        this.poll_send_all(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut this = self.inner();
        this.check()?;
        if !this.is_closed {
            this.seal_tail()?;
            this.session.send_close_notify();
            this.is_closed = true;
        }
        ready!(this.poll_send_all(cx))?;
        match ready!(Pin::new(&mut this.socket).poll_shutdown(cx)) {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Poll::Ready(Ok(())),
            ended => Poll::Ready(ended),
        }
    }
}

/// A socket for who knows no tasks: what is not ready would block.
struct At<'a, 'c, S> {
    socket: &'a mut S,
    cx: &'a mut Context<'c>,
}

fn or_block<T>(polled: Poll<io::Result<T>>) -> io::Result<T> {
    match polled {
        Poll::Ready(result) => result,
        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
    }
}

impl<S: AsyncRead + Unpin> Read for At<'_, '_, S> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut into = ReadBuf::new(into);
        or_block(Pin::new(&mut *self.socket).poll_read(self.cx, &mut into))?;
        Ok(into.filled().len())
    }
}

impl<S: AsyncWrite + Unpin> Write for At<'_, '_, S> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        or_block(Pin::new(&mut *self.socket).poll_write(self.cx, bytes))
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        or_block(Pin::new(&mut *self.socket).poll_write_vectored(self.cx, slices))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
