//! Upstream's limits, kept.
//!
//! Owns a tap for every endpoint and account: what may be sent, for how long something may not, and how many pulls are
//! left. It guarantees that a question which a limit is about is not sent before the time that upstream gave is over, and
//! that then one goes first; whoever asks meanwhile is told at once how long it takes. It leaves to others what is served
//! instead, and which endpoint is asked next.
//!
//! Taps outlive the upstreams that they are for, so that a reload of the configuration is no reason to begin anew.

mod budget;
mod pass;
mod reach;
mod report;
mod tap;
mod words;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use lru::LruCache;
use tokio::sync::watch;
use tokio::time::timeout_at;
use url::Url;

use crate::clock::Clock;

use super::accounts::Who;
use reach::Sort;
use tap::{Going, Leave, Tap};

pub(super) use pass::Pass;
pub(super) use report::Prospect;
pub(super) use words::retry_after;

/// How long is waited for what another question hears.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many taps are kept; beyond that the one used longest ago is begun anew. Configurations have a few, but upstreams name
/// the servers that grant their tokens, and changed accounts are others.
const KEPT: NonZeroUsize = NonZeroUsize::new(1024).expect("not zero");

/// The limits of all upstreams. Clones are the same.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    clock: Clock,
    posts: Mutex<LruCache<Place, Arc<Post>>>,
}

/// What a tap is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Place {
    upstream: String,
    endpoint: Url,
    who: Who,
}

/// A tap, and those who wait at it.
#[derive(Debug)]
struct Post {
    tap: Mutex<Tap>,
    changed: watch::Sender<()>,
}

impl Limits {
    /// None so far, by this clock.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self(Arc::new(Shared { clock, posts: Mutex::new(LruCache::new(KEPT)) }))
    }

    /// Forgets what an upstream has said, so that it is asked, and says it again where it holds.
    fn forget(&self, upstream: &str) {
        let mut posts = self.posts();
        let its: Vec<_> = posts
            .iter()
            .map(|(place, _)| place)
            .filter(|place| place.upstream == upstream)
            .cloned()
            .collect();
        its.iter().for_each(|place| drop(posts.pop(place)));
    }

    fn now(&self) -> SystemTime {
        self.0.clock.now()
    }

    fn instant(&self) -> Instant {
        self.0.clock.instant()
    }

    fn post(&self, place: Place) -> Arc<Post> {
        Arc::clone(self.posts().get_or_insert(place, Arc::default))
    }

    fn posts(&self) -> MutexGuard<'_, LruCache<Place, Arc<Post>>> {
        self.0.posts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Post {
    fn default() -> Self {
        Self { tap: Mutex::new(Tap::new()), changed: watch::Sender::new(()) }
    }
}

impl Post {
    fn tap(&self) -> MutexGuard<'_, Tap> {
        self.tap.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a question may be sent, or it is known for how long it may not.
    async fn enter(&self, sort: Sort, limits: &Limits) -> Result<Going, Duration> {
        let mut changed = self.changed.subscribe();
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let mut patient = true;
        loop {
            let leave = self.tap().enter(sort, patient, limits.instant());
            match leave {
                Leave::Go(going) => return Ok(going),
                Leave::No(left) => return Err(left),
                Leave::Wait => patient = timeout_at(deadline, changed.changed()).await.is_ok(),
            }
        }
    }

    fn leave(&self, going: &Going, answered: bool, told: bool, now: Instant) {
        self.tap().leave(going, answered, told, now);
        self.changed.send_replace(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_not_more_taps_than_are_of_use() {
        let limits = Limits::new(Clock::system());
        let place = |number: usize| Place {
            upstream: "registry.example".to_owned(),
            endpoint: format!("https://auth.example/{number}").parse().expect("a URL"),
            who: Who::Anybody,
        };
        let first = limits.post(place(0));
        for number in 1..2 * KEPT.get() {
            limits.post(place(number));
            assert!(Arc::ptr_eq(&first, &limits.post(place(0))), "one that is used stays");
        }
        assert_eq!(limits.posts().len(), KEPT.get());
    }
}
