//! What of a response the kernel sends out of files: a lane of regions beside the bytes that hyper writes.
//!
//! hyper moves bytes and knows no files. So a body that wants a region of a file to be sent puts the region on the lane and
//! gives hyper a *mark* in its place: as many bytes out of one static buffer that nobody ever reads or writes. The transport
//! knows marks by their address, and has the kernel send the region instead.
//!
//! Guaranteed: no byte of a mark reaches a client, and no byte of a file in a wrong place. Each time hyper writes, what it
//! writes is held against the lane: the marks in it must be those of all regions that are not sent yet, whole but for
//! what went before, in their order. That is so as long as hyper hands on what it was given, without a copy and all of it
//! at once. Where it is not so ([`Doubt`]) the connection is cut.
//!
//! Left to others: what the regions are, and how bytes and regions are sent ([`super::stall`]).

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::http::Span;
use crate::http::region::SENT;

/// How many bytes marks are taken from. Address space and nothing else: what is never touched takes no memory.
const MARKS: usize = 16 * SENT as usize;

static MARK: LazyLock<&'static [u8]> = LazyLock::new(|| Box::leak(vec![0; MARKS].into_boxed_slice()));

/// Where in the buffer of marks a slice begins; `None`: it is not of it.
fn place(slice: &[u8]) -> Option<usize> {
    let marks = MARK.as_ptr_range();
    let first = slice.as_ptr();
    (!slice.is_empty() && marks.contains(&first)).then(|| first.addr() - marks.start.addr())
}

/// Whether these bytes stand for others.
pub(super) fn is_mark(slice: &[u8]) -> bool {
    place(slice).is_some()
}

/// Whether the kernel sends files. Clones are the same.
#[derive(Clone, Debug)]
pub struct Sending(Arc<AtomicBool>);

impl Sending {
    /// Files are sent by the kernel, or else copied.
    #[must_use]
    pub fn new(by_kernel: bool) -> Self {
        Self(Arc::new(AtomicBool::new(by_kernel)))
    }

    /// Whether they are sent by the kernel.
    #[must_use]
    pub fn by_kernel(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// They are copied from now on. Whether that is news.
    pub(super) fn give_up(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

/// A body whose last regions are on their way.
pub(super) trait Waiting: Send {
    /// So many bytes that it gave were not sent, and will not be.
    fn unsent(&mut self, bytes: u64);
}

/// The regions of one connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Lane {
    queue: Arc<Mutex<Queue>>,
    sending: Sending,
}

#[derive(Default)]
struct Queue {
    regions: VecDeque<Region>,
    /// Where the next mark begins.
    next: usize,
    /// The body that these regions are the last of.
    waiting: Option<Box<dyn Waiting>>,
    /// Whether the body that is being sent has more that can be had at once, as far as it has told.
    follows: bool,
}

struct Region {
    /// What is left of it.
    span: Span,
    /// Where the mark of what is left begins.
    mark: usize,
}

impl Drop for Queue {
    fn drop(&mut self) {
        if let Some(mut waiting) = self.waiting.take() {
            waiting.unsent(self.left());
        }
    }
}

impl Queue {
    fn left(&self) -> u64 {
        self.regions.iter().map(|region| region.span.len()).sum()
    }
}

impl Lane {
    /// A lane without regions, as long as `sending` says.
    pub(super) fn new(sending: Sending) -> Self {
        Self { queue: Arc::default(), sending }
    }

    /// Whether new regions may come.
    pub(super) fn is_open(&self) -> bool {
        self.sending.by_kernel()
    }

    /// No more regions, on this lane and all others: the kernel does not send these files.
    pub(super) fn give_up(&self) -> bool {
        self.sending.give_up()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a region on the lane, of [`SENT`] bytes at most; the mark that stands for it.
    pub(super) fn put(&self, span: Span) -> Bytes {
        let len = usize::try_from(span.len()).map_or(MARKS, |len| len.min(MARKS));
        debug_assert!(
            len as u64 == span.len() && len <= SENT as usize,
            "spans are cut before they come here"
        );
        let mut queue = self.queue();
        let mark = if queue.next + len > MARKS { 0 } else { queue.next };
        queue.next = mark + len;
        queue.regions.push_back(Region { span, mark });
        Bytes::from_static(&MARK[mark..mark + len])
    }

    /// Whether a body has more behind what it gave last. One that has to wait for it says so by asking for it in vain.
    pub(super) fn tell_follows(&self, follows: bool) {
        self.queue().follows = follows;
    }

    /// Whether there is more to come at once.
    pub(super) fn follows(&self) -> bool {
        self.queue().follows
    }

    /// A body that gives nothing any more. It is let go when its regions are sent, or will not be.
    pub(super) fn wait(&self, body: impl Waiting + 'static) {
        let mut queue = self.queue();
        if !queue.regions.is_empty() {
            queue.waiting = Some(Box::new(body));
        }
    }

    /// Whether there is nothing on it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.queue().regions.is_empty()
    }

    /// Holds what is written against what is on the lane; whether there are regions in it.
    pub(super) fn reconcile(&self, written: &[IoSlice<'_>]) -> Result<bool, Doubt> {
        let queue = self.queue();
        let mut regions = queue.regions.iter();
        for slice in written {
            let Some(at) = place(slice) else { continue };
            let region = regions.next().ok_or(Doubt::NoRegion)?;
            if at != region.mark || slice.len() as u64 != region.span.len() {
                return Err(Doubt::Another);
            }
        }
        if regions.next().is_some() { Err(Doubt::NoMark) } else { Ok(!queue.regions.is_empty()) }
    }

    /// What is sent next.
    pub(super) fn first(&self) -> Option<Span> {
        self.queue().regions.front().map(|region| region.span.clone())
    }

    /// So many bytes of the first region were sent.
    pub(super) fn sent(&self, bytes: usize) {
        let mut queue = self.queue();
        if let Some(first) = queue.regions.front_mut() {
            drop(first.span.split_to(bytes as u64));
            first.mark += bytes;
            if first.span.is_empty() {
                queue.regions.pop_front();
            }
        }
        let done = if queue.regions.is_empty() { queue.waiting.take() } else { None };
        drop(queue);
        // It may have much to say at its end.
        drop(done);
    }
}

impl fmt::Debug for Lane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lane").field("left", &self.queue().left()).finish_non_exhaustive()
    }
}

/// What is written does not fit what is on the lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// A mark without a region.
    NoRegion,
    /// A region without a mark: it was copied, or left out.
    NoMark,
    /// A mark of something else than what is to be sent next.
    Another,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRegion => "a mark is written for which there is no region of a file",
            Self::NoMark => "a region of a file is left for which no mark is written",
            Self::Another => "a mark is written that is not that of the next region of a file",
        })
    }
}

impl From<Doubt> for io::Error {
    fn from(doubt: Doubt) -> Self {
        Self::other(doubt.to_string())
    }
}

#[cfg(test)]
mod tests;
