//! How much of a connection under TLS is sealed before it is sent.
//!
//! A large batch makes fast clients cheap, and costs memory for each that does not take it. So what is beyond the least comes
//! out of one pool, for connections that have taken much and took the last of it quickly; where the pool is used up, and for
//! everybody else, it is the least.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What everybody may have, in bytes.
pub(super) const LEAST: usize = 16 * 1024;

/// The largest batch, in bytes. Twice as much is dearer again: it does not stay in the processor's caches.
pub(super) const MOST: usize = 256 * 1024;

/// How many connections may have that at a time.
const PLACES: usize = 48;

/// After so many bytes a client's pace is its own, and not that of the buffers of the systems between.
const PROVEN_AFTER: u64 = 1 << 20;

/// Who takes longer than this for [`MOST`] is slow.
const SLOW: Duration = Duration::from_millis(100);

/// How many have it.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// The batches of one connection, one after the other.
#[derive(Debug)]
pub(super) struct Batch {
    /// Bytes since the connection began.
    all: u64,
    /// How much that was when its pace was looked at.
    looked_at: u64,
    when: Instant,
    is_fast: bool,
    place: Option<Place>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Self { all: 0, looked_at: 0, when: Instant::now(), is_fast: false, place: None }
    }

    /// For how many more bytes there is room beside those that wait.
    pub(super) fn room(&mut self, waiting: usize) -> usize {
        if waiting >= LEAST && self.is_fast && self.place.is_none() {
            self.place = Place::take();
        }
        let size = if self.place.is_some() { MOST } else { LEAST };
        size.saturating_sub(waiting)
    }

    /// So many were added to those that wait.
    pub(super) fn add(&mut self, len: usize) {
        self.all += len as u64;
        if self.all - self.looked_at >= MOST as u64 {
            let now = Instant::now();
            self.is_fast = self.all >= PROVEN_AFTER && now - self.when <= SLOW;
            (self.looked_at, self.when) = (self.all, now);
        }
    }

    /// None wait any more.
    pub(super) fn sent(&mut self) {
        self.place = None;
    }
}

/// A place in the pool.
#[derive(Debug)]
struct Place;

impl Place {
    fn take() -> Option<Self> {
        let place = Self;
        (TAKEN.fetch_add(1, Ordering::Relaxed) < PLACES).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places are the process's, and so one test at a time has them.
    static ALONE: std::sync::Mutex<()> = std::sync::Mutex::new(());

    #[test]
    fn a_batch_is_large_for_who_has_taken_much_and_quickly() {
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let second = Duration::from_secs(1);
        for (before, ago, expected, why) in [
            (0, Duration::ZERO, LEAST, "nothing is known of who has just begun"),
            (PROVEN_AFTER, Duration::ZERO, MOST, "fast"),
            (PROVEN_AFTER, second, LEAST, "slow"),
        ] {
            let mut batch = Batch::new();
            batch.all = before;
            batch.looked_at = before;
            if let Some(when) = Instant::now().checked_sub(ago) {
                batch.when = when;
            }
            assert_eq!(batch.room(0), LEAST, "{why}");
            batch.add(MOST);
            assert_eq!(batch.room(LEAST), expected - LEAST, "{why}");
            assert_eq!(batch.room(MOST + 1), 0, "{why}");
            batch.sent();
            assert!(batch.place.is_none(), "{why}");
        }
    }

    #[test]
    fn places_are_bounded_and_given_back() {
        let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // Other tests have some at the same time.
        let taken: Vec<Option<Place>> = (0..2 * PLACES).map(|_| Place::take()).collect();
        assert!(taken.iter().flatten().count() <= PLACES);
        drop(taken);
        assert!(TAKEN.load(Ordering::Relaxed) <= PLACES);
    }
}
