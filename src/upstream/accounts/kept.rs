//! What was looked up outside, kept for a while and looked up again once for all who ask.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::Trouble;

/// One thing that is looked up from time to time.
pub(super) struct Kept<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    held: Option<Held<T>>,
    under_way: Option<Arc<OnceCell<Held<T>>>>,
}

/// What was found, and what is thought of it.
#[derive(Clone)]
pub(super) struct Held<T> {
    pub(super) value: Result<T, Trouble>,
    /// Upstream would not have it, or what came of it.
    pub(super) doubted: bool,
    found: Instant,
    until: Instant,
}

impl<T: Clone> Kept<T> {
    pub(super) fn new() -> Self {
        Self { state: Mutex::new(State { held: None, under_way: None }) }
    }

    /// The thing, by `look` where it is time to. That is given what was held before, and gives what is held from then on
    /// and for how long. Of those who ask at the same time one looks; if it leaves, the next one does.
    pub(super) async fn get<F>(&self, look: impl FnOnce(Option<Held<T>>) -> F) -> Result<T, Trouble>
    where
        F: Future<Output = (Result<T, Trouble>, Duration)>,
    {
        let (slot, former) = {
            let mut state = self.lock();
            if let Some(held) = state.held.as_ref().filter(|held| Instant::now() < held.until) {
                return held.value.clone();
            }
            (Arc::clone(state.under_way.get_or_insert_default()), state.held.clone())
        };
        let found = slot.get_or_init(|| async {
            let (value, good_for) = look(former).await;
            let found = Instant::now();
            Held { value, doubted: false, found, until: found + good_for }
        });
        let held = found.await.clone();
        let mut state = self.lock();
        if state.under_way.as_ref().is_some_and(|other| Arc::ptr_eq(other, &slot)) {
            state.under_way = None;
            state.held = Some(held.clone());
        }
        held.value
    }

    /// Has it looked up again by whoever asks next, unless that was done within `just_now`.
    pub(super) fn doubt(&self, just_now: Duration) {
        let mut state = self.lock();
        if let Some(held) = state.held.as_mut().filter(|held| held.found.elapsed() >= just_now) {
            held.doubted = true;
            held.until = held.found;
        }
    }

    /// What is held at this moment, right or not.
    pub(super) fn peek(&self) -> Option<T> {
        self.lock().held.as_ref().and_then(|held| held.value.as_ref().ok().cloned())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kept(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn it_is_looked_up_once_for_all_and_again_when_it_is_time() {
        let (kept, looks) = (Kept::new(), AtomicUsize::new(0));
        let get = || {
            kept.get(|_| async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                (Ok(looks.fetch_add(1, Ordering::Relaxed)), MINUTE)
            })
        };
        assert_eq!(tokio::join!(get(), get(), get()), (Ok(0), Ok(0), Ok(0)));
        assert_eq!(get().await, Ok(0));
        tokio::time::advance(MINUTE).await;
        assert_eq!(tokio::join!(get(), get()), (Ok(1), Ok(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_leaves_hands_the_look_over() {
        let kept = Kept::new();
        let mut never = Box::pin(kept.get(|_| std::future::pending()));
        assert!(tokio::time::timeout(MINUTE, &mut never).await.is_err());
        let other = kept.get(|_| async { (Ok("found"), MINUTE) });
        let (other, ()) = tokio::join!(other, async { drop(never) });
        assert_eq!(other, Ok("found"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_doubted_thing_is_looked_up_at_once_but_not_all_the_time() {
        let kept = Kept::new();
        let find = |value: &'static str| kept.get(move |_| async move { (Ok(value), MINUTE) });
        assert_eq!(find("one").await, Ok("one"));
        kept.doubt(Duration::from_secs(5));
        assert_eq!(find("two").await, Ok("one"));
        tokio::time::advance(Duration::from_secs(5)).await;
        kept.doubt(Duration::from_secs(5));
        let doubted = kept.get(|former| async move {
            (Ok(if former.is_some_and(|h| h.doubted) { "three" } else { "?" }), MINUTE)
        });
        assert_eq!(doubted.await, Ok("three"));
        assert_eq!(kept.peek(), Some("three"));
    }
}
