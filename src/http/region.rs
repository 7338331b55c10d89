//! A run of bytes that comes out of open files, possibly while those files are still being written.
//!
//! A producer implements [`Spans`]: it names, one after the other, the byte runs that are present *now* ([`Span`]), or
//! hands over bytes that it has in memory. A [`Region`] holds a producer to its promise and serves it in two ways:
//!
//! - [`Region::poll_sendable`] gives the spans themselves, at most [`SENT`] bytes at a time, for a transport that has the
//!   kernel send a file. They are in memory when they are given ([`cached`](super::cached)); what is not is brought there
//!   on the runtime's blocking threads. Spans of [`SMALL`] bytes and less come as bytes, and so does what has no descriptor.
//! - [`Region::poll_bytes`] copies. What is in memory is read at once, at most [`AT_HAND`] bytes at a time; the rest on the
//!   runtime's blocking threads, at most [`COPY`] bytes at a time with one read ahead. It has no more than two buffers at a
//!   time ([`window`](super::window)): the bytes of one have to be let go before the next but one comes.
//!
//! Both must be polled inside a tokio runtime, and may be used on one region in turn; bytes come out once and in order.
//!
//! Guaranteed: a region of known length delivers exactly that length, or ends in an error. It never ends cleanly before,
//! and never delivers more. After an error nothing follows. A region may be dropped at any moment: a read that is under
//! way ends by itself into a buffer that nobody takes.
//!
//! Left to others: whether the bytes are right, and when they become present.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Sleep, sleep};

use super::buffers::Buffer;
use super::cached;
use super::window::{Claim, Window};

/// The largest run of bytes that is read at once when a region is copied: large enough that the hop to a blocking thread
/// is small beside the read.
pub const COPY: usize = 256 * 1024;

/// The longest span that is given to be sent: what a client may get of a file after it was found to be wrong, and what may
/// be lost with its connection after it was counted.
pub const SENT: u64 = 1 << 20;

/// Up to so many bytes a copy is cheaper than a call of its own that sends them.
pub const SMALL: u64 = 16 * 1024;

/// The largest run of bytes that is copied at once where it needs no wait: little enough to be still in the processor's
/// nearest cache when it is encrypted and when the kernel takes it, and for others not to wait for it. Twice as much costs
/// a fifth more over TLS; half of it as well, by the calls.
pub const AT_HAND: usize = 32 * 1024;

/// How long one read may take before its producer is asked for another way.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open file that can be read at any offset, by many readers at once. Calls block.
pub trait ReadAt: Send + Sync {
    /// Reads into `buf` from `offset`. Fewer bytes than `buf` holds may come; none means that the file ends there.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;

    /// The descriptor behind it, for transports that let the kernel do the sending.
    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// Bytes `start..end` of an open file, all of which are there now.
#[derive(Clone)]
pub struct Span {
    /// The file, kept open by whoever holds the span.
    pub file: Arc<dyn ReadAt>,
    /// The first byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

impl Span {
    /// How many bytes it names.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes up to `max` bytes off its front.
    #[must_use]
    pub fn split_to(&mut self, max: u64) -> Self {
        let cut = self.start + self.len().min(max);
        let front = Self { file: Arc::clone(&self.file), start: self.start, end: cut };
        self.start = cut;
        front
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Span({}..{})", self.start, self.end)
    }
}

/// What a producer has next.
#[derive(Clone, Debug)]
pub enum Piece {
    /// Bytes of an open file.
    Span(Span),
    /// Bytes in memory.
    Bytes(Bytes),
}

impl Piece {
    /// How many bytes it carries.
    pub fn len(&self) -> u64 {
        match self {
            Self::Span(span) => span.len(),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Whether it carries none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The producer of a [`Region`].
pub trait Spans: Send {
    /// The next piece; `None` after the last one; pending while the next bytes are not there yet.
    ///
    /// After an error or `None` it is not called again.
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>>;

    /// The last span that it gave cannot be read from this offset of its file on. A producer that can bring these bytes in
    /// another way says so, and is asked for them next.
    fn unreadable(&mut self, _at: u64) -> bool {
        false
    }

    /// The last span that it gave has been read for long, from this offset of its file on, without an answer. A producer that
    /// can bring these bytes in another way says so, and is asked for them next; of another it is waited for.
    fn hanging(&mut self, _at: u64) -> bool {
        false
    }

    /// How many bytes are still to come, where that is known. Asked once, before the first piece: it is the promise that
    /// the region holds the producer to.
    fn remaining(&self) -> Option<u64>;
}

/// Why a body ended without being complete. The connection is cut, so that the client sees that it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// A file ended before the end of a span that was said to be present.
    Truncated {
        /// Where the file ended.
        at: u64,
        /// Where the span ended.
        expected: u64,
    },
    /// A file could not be read.
    Read(String),
    /// The producer ended before the length that it had promised.
    EndedEarly {
        /// How many bytes were still to come.
        missing: u64,
    },
    /// The producer had more bytes than it had promised.
    TooLong,
    /// The producer gave up, for the reason that it states.
    Source(String),
    /// The runtime is shutting down, and took the read with it.
    Stopped,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated { at, expected } => {
                write!(
                    f,
                    "the file ends at byte {at}, but was said to reach byte {expected}: it was cut from outside"
                )
            }
            Self::Read(why) => write!(f, "the file could not be read: {why}"),
            Self::EndedEarly { missing } => {
                write!(f, "the source ended {missing} bytes before its promised length")
            }
            Self::TooLong => f.write_str("the source had more bytes than its promised length"),
            Self::Source(why) => f.write_str(why),
            Self::Stopped => f.write_str("reading stopped, because the process is shutting down"),
        }
    }
}

impl std::error::Error for BodyError {}

/// A producer, held to its promise. See the module's text.
pub struct Region {
    spans: Box<dyn Spans>,
    /// What the producer has still to bring, where that is known.
    promised: Option<u64>,
    /// What the producer has brought and the copier has not begun to read.
    span: Option<Span>,
    /// What the copier reads now; always in front of `span`.
    reading: Option<Reading>,
    /// The front of `span` is on its way from the disk into memory.
    bringing: Option<Bringing>,
    window: Window,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    Failed,
}

impl Region {
    /// A region of as many bytes as the producer says are remaining.
    pub fn new(spans: impl Spans + 'static) -> Self {
        let promised = spans.remaining();
        let (spans, window) = (Box::new(spans), Window::new());
        Self { spans, promised, span: None, reading: None, bringing: None, window, state: State::Open }
    }

    /// How many bytes have not been delivered yet, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        let held = self.span.as_ref().map_or(0, Span::len) + self.reading.as_ref().map_or(0, |r| r.len);
        self.promised.map(|n| n + held)
    }

    /// Whether everything has been delivered. A region that failed has not ended.
    pub fn is_ended(&self) -> bool {
        match self.state {
            State::Open => self.remaining() == Some(0),
            State::Ended => true,
            State::Failed => false,
        }
    }

    /// The next piece to be sent, never empty: bytes, or a span that is in memory now.
    pub fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        loop {
            if let Some(bringing) = &mut self.bringing {
                let (start, len) = (bringing.start, bringing.len);
                let brought = Pin::new(&mut bringing.task).poll(cx);
                if brought.is_pending() && bringing.late.is_over(cx) && self.spans.hanging(start) {
                    self.bringing = None;
                    self.owe(0);
                    continue;
                }
                let brought = ready!(brought).unwrap_or(Err(BodyError::Stopped));
                self.bringing = None;
                match brought {
                    Ok(()) => return Poll::Ready(self.front(len).map(|span| Ok(Piece::Span(span)))),
                    Err(error) if self.goes_on_without(&error, start, 0) => {}
                    Err(error) => return Poll::Ready(Some(self.settle(Err(error)))),
                }
            }
            let span = match ready!(self.poll_piece(cx)) {
                Some(Ok(Piece::Span(span))) => self.span.insert(span),
                other => return Poll::Ready(other),
            };
            let front = span.clone().split_to(SENT);
            if span.len() > SMALL && span.file.as_fd().is_some() {
                if cached::is_here(&front) {
                    return Poll::Ready(self.front(front.len()).map(|span| Ok(Piece::Span(span))));
                }
                self.bringing = Some(Bringing::begin(front));
            } else if let Some(bytes) = cached::take_now(span) {
                self.span = None;
                return Poll::Ready(Some(Ok(Piece::Bytes(bytes))));
            } else {
                return self.poll_bytes(cx).map(|bytes| bytes.map(|bytes| bytes.map(Piece::Bytes)));
            }
        }
    }

    /// Takes so many bytes off the span at hand.
    fn front(&mut self, len: u64) -> Option<Span> {
        let span = self.span.as_mut()?;
        let front = span.split_to(len);
        if span.is_empty() {
            self.span = None;
        }
        Some(front)
    }

    /// The next piece as the producer gave it, never empty. The caller takes charge of a whole span.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        if self.state != State::Open {
            return Poll::Ready(None);
        }
        if let Some(read) = ready!(self.poll_reading(cx)) {
            return Poll::Ready(Some(self.settle(read.map(Piece::Bytes))));
        }
        if let Some(span) = self.span.take() {
            return Poll::Ready(Some(Ok(Piece::Span(span))));
        }
        let next = ready!(self.poll_source(cx)).transpose();
        if let Ok(None) = next {
            self.state = State::Ended;
        }
        Poll::Ready(next.transpose().map(|piece| self.settle(piece)))
    }

    /// The next bytes, read from the file where the producer named one. Must be polled inside a tokio runtime.
    pub fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.bringing = None;
        loop {
            if self.reading.is_none() {
                match ready!(self.poll_piece(cx)) {
                    Some(Ok(Piece::Span(span))) => {
                        self.span = Some(span);
                        ready!(self.window.poll_room(cx));
                        if let Some(bytes) = self.copy_now() {
                            return Poll::Ready(Some(Ok(bytes)));
                        }
                        self.read_on();
                    }
                    Some(Ok(Piece::Bytes(bytes))) => return Poll::Ready(Some(Ok(bytes))),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    None => return Poll::Ready(None),
                }
            }
            if let Some(read) = ready!(self.poll_reading(cx)) {
                if read.is_ok() && self.window.has_room() {
                    self.read_on();
                }
                return Poll::Ready(Some(self.settle(read)));
            }
        }
    }

    /// Asks the producer, and measures what it answers against its promise. Empty pieces are passed over.
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        loop {
            // Not asked past its promise: the last byte is the end, whatever the producer does afterwards.
            if self.promised == Some(0) {
                return Poll::Ready(None);
            }
            let piece = match ready!(self.spans.poll_span(cx)) {
                Some(Ok(piece)) => piece,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => {
                    return Poll::Ready(self.promised.map(|missing| Err(BodyError::EndedEarly { missing })));
                }
            };
            if let Some(promised) = &mut self.promised {
                match promised.checked_sub(piece.len()) {
                    Some(rest) => *promised = rest,
                    None => return Poll::Ready(Some(Err(BodyError::TooLong))),
                }
            }
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(piece)));
            }
        }
    }

    /// The read under way, when it is done; `None` when there is none, or the producer brings its bytes in another way.
    fn poll_reading(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(reading) = &mut self.reading else { return Poll::Ready(None) };
        let (start, len) = (reading.start, reading.len);
        let read = Pin::new(&mut reading.task).poll(cx);
        if read.is_pending() && reading.late.is_over(cx) && self.spans.hanging(start) {
            self.reading = None;
            self.owe(len);
            return Poll::Ready(None);
        }
        let read = ready!(read).unwrap_or(Err(BodyError::Stopped));
        self.reading = None;
        match read {
            Err(error) if self.goes_on_without(&error, start, len) => Poll::Ready(None),
            read => Poll::Ready(Some(read)),
        }
    }

    /// Whether the producer brings in another way what cannot be read: `len` bytes from `start` on, and the span behind
    /// them.
    fn goes_on_without(&mut self, error: &BodyError, start: u64, len: u64) -> bool {
        let unreadable = matches!(error, BodyError::Read(_) | BodyError::Truncated { .. });
        if !(unreadable && self.spans.unreadable(start)) {
            return false;
        }
        self.owe(len);
        true
    }

    /// The producer has to bring `len` bytes again, and the span behind them.
    fn owe(&mut self, len: u64) {
        let lost = len + self.span.take().map_or(0, |span| span.len());
        self.promised = self.promised.map(|promised| promised + lost);
    }

    /// The next bytes of the span at hand, if they can be had without a wait.
    fn copy_now(&mut self) -> Option<Bytes> {
        let span = self.span.as_ref().filter(|span| span.file.as_fd().is_some())?;
        let mut buffer = Buffer::new(self.window.claim(span.len().min(AT_HAND as u64)));
        let len = buffer.as_mut().len() as u64;
        if !cached::read_all_now(span, buffer.as_mut()) {
            return None;
        }
        self.front(len).map(|_| buffer.freeze())
    }

    /// Begins the next read of the span at hand, if there is something left of it.
    fn read_on(&mut self) {
        let Some(span) = &self.span else { return };
        let claim = self.window.claim(span.len());
        self.reading = self.front(claim.len() as u64).map(|front| Reading::begin(front, claim));
    }

    /// Lets nothing follow an error, and gives up what is held.
    fn settle<T>(&mut self, result: Result<T, BodyError>) -> Result<T, BodyError> {
        if result.is_err() {
            self.state = State::Failed;
            self.span = None;
            self.reading = None;
            self.bringing = None;
        }
        result
    }
}

impl fmt::Debug for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Region").field("remaining", &self.remaining()).field("state", &self.state).finish()
    }
}

/// A read on a blocking thread. Dropped before its turn came, it is not run at all.
struct Reading {
    task: JoinHandle<Result<Bytes, BodyError>>,
    start: u64,
    len: u64,
    late: Late,
}

impl Reading {
    fn begin(span: Span, claim: Claim) -> Self {
        let (start, len) = (span.start, span.len());
        Self { task: spawn_blocking(move || read(&span, claim)), start, len, late: Late::default() }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes on their way from the disk into the page cache. Dropped before its turn came, it is not run at all.
struct Bringing {
    task: JoinHandle<Result<(), BodyError>>,
    start: u64,
    len: u64,
    late: Late,
}

impl Bringing {
    fn begin(span: Span) -> Self {
        let (start, len) = (span.start, span.len());
        Self { task: spawn_blocking(move || cached::bring(&span)), start, len, late: Late::default() }
    }
}

impl Drop for Bringing {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Tells when a read has taken so long that another way is asked for; and again after as long.
#[derive(Default)]
struct Late(Option<Pin<Box<Sleep>>>);

impl Late {
    fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let over = self.sleep().poll(cx).is_ready();
        if over {
            self.0 = None;
            // So that the next time is noticed.
            let _ = self.sleep().poll(cx);
        }
        over
    }

    fn sleep(&mut self) -> Pin<&mut Sleep> {
        self.0.get_or_insert_with(|| Box::pin(sleep(PATIENCE))).as_mut()
    }
}

/// Reads the whole span, which is as long as was claimed.
fn read(span: &Span, claim: Claim) -> Result<Bytes, BodyError> {
    let len = claim.len();
    let mut buffer = Buffer::new(claim);
    let mut filled = 0;
    while filled < len {
        let at = span.start + filled as u64;
        match span.file.read_at(&mut buffer.as_mut()[filled..], at) {
            Ok(0) => return Err(BodyError::Truncated { at, expected: span.end }),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BodyError::Read(error.to_string())),
        }
    }
    Ok(buffer.freeze())
}

#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
