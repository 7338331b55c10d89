//! How much of its file a region has in memory: two buffers, whose size follows the pace of whoever takes them.
//!
//! A buffer counts from the moment its read begins until the last clone of its bytes is gone, which is when they have
//! been handed to the kernel. So a client that takes nothing keeps two buffers and no more.
//!
//! Large buffers make fast clients cheap, and only those: what is larger than need be comes out of one of two pools, one
//! for clients that have begun and one for those that have been seen to be fast. Where a pool is used up, everybody who
//! depends on it gets the least. Clients that began and then stood still use up their own pool and not the other, so
//! they slow nobody who is fast. What many readers cost is bounded by the pools and twice the least for each.
//!
//! Whoever takes bytes from a region has to let go of them, or no more will come.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::region::COPY;

/// The first read of a region: small blobs come in one.
const FIRST: usize = 64 * 1024;

/// Buffers of one region: one that is being sent, one that is being read.
pub const AT_ONCE: usize = 2;

/// Who takes a whole buffer within this time gets larger ones: 256 KiB within it is a client of 100 Mbit/s.
const QUICK: Duration = Duration::from_millis(20);
/// Who takes longer than this gets smaller ones.
const SLOW: Duration = Duration::from_millis(100);

/// After so many bytes a client's pace is its own, and not that of the buffers of the systems between.
const PROVEN_AFTER: u64 = 4 << 20;

/// Memory for buffers larger than the least.
#[derive(Debug)]
pub struct Pool {
    /// What everybody may have.
    pub least: usize,
    /// How much there is of what is larger.
    pub size: usize,
    used: AtomicUsize,
}

/// For clients that have begun, and those that are slow.
pub static BEGUN: Pool = Pool { least: 16 * 1024, size: 16 << 20, used: AtomicUsize::new(0) };
/// For clients that have been fast.
pub static PROVEN: Pool = Pool { least: 64 * 1024, size: 32 << 20, used: AtomicUsize::new(0) };

/// Bytes in the buffers of all regions.
static BUFFERED: AtomicUsize = AtomicUsize::new(0);

/// How many bytes of files are in memory now, on their way to clients.
pub fn buffered() -> usize {
    BUFFERED.load(Ordering::Relaxed)
}

impl Pool {
    /// How large a buffer may be for which `size` would be right.
    fn allow(&self, size: usize) -> usize {
        if size > self.least && self.used.load(Ordering::Relaxed) >= self.size { self.least } else { size }
    }

    /// What a buffer of this length takes of it.
    fn share(&self, len: usize) -> usize {
        if len > self.least { len } else { 0 }
    }
}

/// The window of one region.
#[derive(Debug)]
pub(super) struct Window(Arc<State>);

#[derive(Debug)]
struct State {
    /// How much is read next, by the pace.
    size: AtomicUsize,
    /// Bytes that were taken.
    taken: AtomicU64,
    /// Buffers that are being read or sent.
    out: AtomicUsize,
    waker: AtomicWaker,
}

impl Window {
    pub(super) fn new() -> Self {
        let (size, taken, out) = (AtomicUsize::new(FIRST), AtomicU64::new(0), AtomicUsize::new(0));
        Self(Arc::new(State { size, taken, out, waker: AtomicWaker::new() }))
    }

    /// Whether another buffer may be begun.
    pub(super) fn has_room(&self) -> bool {
        self.0.out.load(Ordering::Acquire) < AT_ONCE
    }

    /// Waits until one may.
    pub(super) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.0.waker.register(cx.waker());
        // One may have gone before the waker was there.
        if self.has_room() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes a place for a buffer of at most `most` bytes.
    pub(super) fn claim(&self, most: u64) -> Claim {
        let state = &self.0;
        let size = state.size.load(Ordering::Relaxed);
        let fast = state.taken.load(Ordering::Relaxed) >= PROVEN_AFTER && size >= PROVEN.least;
        let pool = if fast { &PROVEN } else { &BEGUN };
        let size = pool.allow(size);
        let len = usize::try_from(most).map_or(size, |most| most.min(size));
        state.out.fetch_add(1, Ordering::AcqRel);
        pool.used.fetch_add(pool.share(len), Ordering::Relaxed);
        BUFFERED.fetch_add(len, Ordering::Relaxed);
        Claim { window: Arc::clone(state), pool, len, filled: None }
    }
}

/// The place of one buffer, given back when dropped.
#[derive(Debug)]
pub(super) struct Claim {
    window: Arc<State>,
    pool: &'static Pool,
    len: usize,
    filled: Option<Instant>,
}

impl Claim {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The buffer is full: from now on it waits for the client.
    pub(super) fn filled(&mut self) {
        self.filled = Some(Instant::now());
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if let Some(filled) = self.filled {
            let size = self.window.size.load(Ordering::Relaxed);
            self.window.size.store(paced(size, self.len, filled.elapsed()), Ordering::Relaxed);
            self.window.taken.fetch_add(self.len as u64, Ordering::Relaxed);
        }
        self.pool.used.fetch_sub(self.pool.share(self.len), Ordering::Relaxed);
        BUFFERED.fetch_sub(self.len, Ordering::Relaxed);
        self.window.out.fetch_sub(1, Ordering::AcqRel);
        self.window.waker.wake();
    }
}

/// How much to read next, after a buffer of `len` bytes was taken in this time. A pool that is used up makes buffers
/// shorter than they should be, and is not the client's doing.
fn paced(size: usize, len: usize, took: Duration) -> usize {
    if took >= SLOW {
        (size / 2).max(BEGUN.least)
    } else if took <= QUICK && len >= size.min(BEGUN.least) {
        (size * 2).min(COPY)
    } else {
        size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_grow_while_they_are_taken_quickly_and_shrink_when_they_are_not() {
        let between = QUICK * 2;
        for (size, len, took, expected, why) in [
            (FIRST, FIRST, QUICK, 2 * FIRST, "taken at once"),
            (COPY, COPY, Duration::ZERO, COPY, "as large as they get"),
            (FIRST, BEGUN.least - 1, QUICK, FIRST, "a short one says nothing of the client"),
            (FIRST, BEGUN.least, QUICK, 2 * FIRST, "no more was to be had"),
            (FIRST, FIRST, between, FIRST, "as it should be"),
            (FIRST, FIRST, SLOW, FIRST / 2, "slow"),
            (FIRST, 1, SLOW, FIRST / 2, "slow with little"),
            (BEGUN.least, 1, SLOW * 100, BEGUN.least, "as small as they get"),
        ] {
            assert_eq!(paced(size, len, took), expected, "{why}");
        }
    }

    #[test]
    fn a_pool_that_is_used_up_leaves_everybody_the_least() {
        let pool = Pool { least: 16, size: 100, used: AtomicUsize::new(0) };
        assert_eq!((pool.allow(64), pool.allow(8)), (64, 8));
        pool.used.store(100, Ordering::Relaxed);
        assert_eq!((pool.allow(64), pool.allow(8)), (16, 8));
        assert_eq!((pool.share(17), pool.share(16)), (17, 0), "the least is nobody's loss");
    }

    #[tokio::test]
    async fn a_window_has_two_places_and_tells_when_one_is_free_again() {
        let window = Window::new();
        let first = window.claim(10);
        assert!(window.has_room());
        let second = window.claim(u64::MAX);
        assert_eq!(first.len(), 10);
        assert!(second.len() <= FIRST);
        assert!(!window.has_room());
        let waiting = std::future::poll_fn(|cx| window.poll_room(cx));
        let (room, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), waiting), async {
            tokio::task::yield_now().await;
            drop(first);
        });
        assert_eq!(room, Ok(()));
    }
}
