//! A connection that is polled again at once when it woke itself.
//!
//! The parts of a connection wake each other within one poll: a buffer that is free again, an answer that has room. Told to the
//! runtime, each of these would have another thread woken, and the connection taken over by it, away from the memory that
//! its bytes were just in. So they are told to [`Bell`], which rings the runtime only when nobody is at work here.
//!
//! When nothing is left to be done, and only then, the connection has come to rest, and is told so.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use tokio::task::coop::has_budget_remaining;

/// After so many rounds others have their turn.
const ROUNDS: usize = 32;

/// Nobody is at work.
const RESTING: u8 = 0;
/// The connection is being polled.
const AT_WORK: u8 = 1;
/// Meanwhile it was woken.
const RUNG: u8 = 2;

#[derive(Debug, Default)]
struct Bell {
    state: AtomicU8,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let heard = self.state.compare_exchange(AT_WORK, RUNG, Ordering::SeqCst, Ordering::SeqCst);
        if heard == Err(RESTING) {
            self.task.wake();
        }
    }
}

/// The same future; `at_rest` is called whenever it waits for something outside, or others have their turn.
pub(super) async fn in_turns<F: Future>(future: F, mut at_rest: impl FnMut(&mut Context<'_>)) -> F::Output {
    let mut future = pin!(future);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    std::future::poll_fn(move |cx| {
        bell.task.register(cx.waker());
        let inside = &mut Context::from_waker(&waker);
        for round in 1.. {
            bell.state.store(AT_WORK, Ordering::SeqCst);
            if let Poll::Ready(output) = future.as_mut().poll(inside) {
                return Poll::Ready(output);
            }
            let rests = bell.state.swap(RESTING, Ordering::SeqCst) == AT_WORK;
            if rests || round == ROUNDS || !has_budget_remaining() {
                at_rest(inside);
                if !rests {
                    cx.waker().wake_by_ref();
                }
                break;
            }
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::time::timeout;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Task(std::sync::atomic::AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn who_wakes_himself_is_polled_again_and_the_runtime_does_not_hear_of_it() {
        for (wakes, polls, told) in [(0, 1, 0), (1, 2, 0), (5, 6, 0), (1000, ROUNDS, 1)] {
            let (polled, rested) = (Cell::new(0), Cell::new(0));
            let future = poll_fn(|cx| {
                polled.set(polled.get() + 1);
                if polled.get() <= wakes {
                    cx.waker().wake_by_ref();
                }
                Poll::<()>::Pending
            });
            let mut future = pin!(in_turns(future, |_| rested.set(rested.get() + 1)));
            let task = Arc::new(Task::default());
            assert!(
                future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task)))).is_pending()
            );
            assert_eq!((polled.get(), rested.get()), (polls, 1), "{wakes} wakes");
            assert_eq!(task.0.load(Ordering::SeqCst), told, "{wakes} wakes");
        }
    }

    #[test]
    fn who_rests_is_woken_by_what_comes_from_outside() {
        let kept = std::sync::Mutex::new(None::<Waker>);
        let future = poll_fn(|cx| {
            *kept.lock().unwrap() = Some(cx.waker().clone());
            Poll::<()>::Pending
        });
        let mut future = pin!(in_turns(future, |_| {}));
        let task = Arc::new(Task::default());
        assert!(future.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(&task)))).is_pending());
        assert_eq!(task.0.load(Ordering::SeqCst), 0);
        kept.lock().unwrap().take().unwrap().wake();
        assert_eq!(task.0.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn no_wake_from_another_thread_is_lost() {
        for _ in 0..2000 {
            let (tell, told) = oneshot::channel();
            let hearing = tokio::spawn(in_turns(told, |_| {}));
            tokio::spawn(async move { tell.send(7).unwrap() });
            assert_eq!(timeout(Duration::from_secs(30), hearing).await.unwrap().unwrap(), Ok(7));
        }
    }
}
