//! Questions under way: whoever asks the same one while it is asked waits for the one answer.
//!
//! The work is a task of its own, so a client that leaves neither stops it nor takes the answer from the others. It may
//! tell its answer before it is done: what is left to do then is waited for by nobody. An entry leaves the table with
//! the answer, or with its task, however that ends, and only its own task removes it. A task that vanished without an
//! answer, at shutdown or by a panic, is a failure that every waiter learns of, never a hang.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::upstream::Trail;

/// The table of questions under way.
pub(super) struct Flights<K, T> {
    entries: Arc<Mutex<Entries<K, T>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

/// Tells the waiters; dropped without, they learn that nobody will.
pub(super) struct Tell<K: Eq + Hash, T> {
    // Dropped before the channel, so that no entry is ever found whose waiters have been left alone.
    leave: Leave<K, T>,
    answer: watch::Sender<Option<T>>,
}

impl<K: Eq + Hash, T> Tell<K, T> {
    /// Gives every waiter this answer. Who asks from now on starts anew: what the work has left to do is for the disk.
    pub(super) fn answer(self, answer: T) {
        drop(self.leave);
        self.answer.send_replace(Some(answer));
    }
}

struct Entries<K, T> {
    next_id: u64,
    running: HashMap<K, (u64, watch::Receiver<Option<T>>)>,
}

/// One waiter's place.
pub(super) struct Waiter<T> {
    /// Whether this waiter's call started the work.
    pub(super) started: bool,
    answer: watch::Receiver<Option<T>>,
}

/// The work ended without an answer: it panicked, or the mirror is shutting down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lost;

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task that asked upstream ended without an answer")
    }
}

struct Leave<K: Eq + Hash, T> {
    entries: Arc<Mutex<Entries<K, T>>>,
    key: K,
    id: u64,
}

impl<K, T> Flights<K, T>
where
    K: Clone + Eq + Hash + Send + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// An empty table whose tasks are owned by `tasks` and end with `stop`.
    pub(super) fn new(tasks: TaskTracker, stop: CancellationToken) -> Self {
        let entries = Arc::new(Mutex::new(Entries { next_id: 0, running: HashMap::new() }));
        Self { entries, tasks, stop }
    }

    /// Joins the work for `key`, starting it with `work` if none is under way.
    pub(super) fn join<F>(&self, key: K, work: impl FnOnce(Tell<K, T>) -> F) -> Waiter<T>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = entries.running.get(&key) {
            return Waiter { started: false, answer: answer.clone() };
        }
        let id = entries.next_id;
        entries.next_id += 1;
        let (sender, answer) = watch::channel(None);
        entries.running.insert(key.clone(), (id, answer.clone()));
        drop(entries);
        let leave = Leave { entries: Arc::clone(&self.entries), key, id };
        let work = work(Tell { leave, answer: sender });
        let stop = self.stop.clone();
        self.tasks.spawn(Trail::carried(async move {
            tokio::select! {
                () = work => {}
                () = stop.cancelled() => {}
            }
        }));
        Waiter { started: true, answer }
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).running.len()
    }
}

impl<T: Clone> Waiter<T> {
    /// The answer, for this waiter as for all others. Dropping this future leaves the work running.
    pub(super) async fn answer(mut self) -> Result<T, Lost> {
        match self.answer.wait_for(Option::is_some).await {
            Ok(answer) => answer.clone().ok_or(Lost),
            Err(_) => Err(Lost),
        }
    }
}

impl<K: Eq + Hash, T> Drop for Leave<K, T> {
    fn drop(&mut self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.running.get(&self.key).is_some_and(|(id, _)| *id == self.id) {
            entries.running.remove(&self.key);
        }
    }
}

impl<K, T> fmt::Debug for Flights<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::sync::oneshot;

    struct Scene<T> {
        tasks: TaskTracker,
        stop: CancellationToken,
        flights: Flights<u8, T>,
    }

    impl<T: Clone + Send + Sync + 'static> Scene<T> {
        fn new() -> Self {
            let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
            Self { flights: Flights::new(tasks.clone(), stop.clone()), tasks, stop }
        }

        async fn end(self) {
            self.tasks.close();
            self.tasks.wait().await;
            assert_eq!(self.flights.len(), 0, "an entry outlived its task");
        }
    }

    #[tokio::test]
    async fn many_who_ask_the_same_start_one_piece_of_work() {
        let scene = Scene::new();
        let runs = AtomicUsize::new(0);
        let (open, gate) = oneshot::channel::<()>();
        let mut gate = Some(gate);
        let waiters: Vec<_> = (0..50)
            .map(|_| {
                scene.flights.join(1, |tell| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    let gate = gate.take().expect("the work starts once");
                    async move { tell.answer(gate.await.map_or(0, |()| 7)) }
                })
            })
            .collect();
        assert_eq!(waiters.iter().filter(|w| w.started).count(), 1);
        open.send(()).expect("the work waits");
        for waiter in waiters {
            assert_eq!(waiter.answer().await, Ok(7));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        scene.end().await;
    }

    #[tokio::test]
    async fn the_one_who_started_it_may_leave() {
        let scene = Scene::new();
        let (open, gate) = oneshot::channel::<u32>();
        let first = scene.flights.join(1, |tell| async move { tell.answer(gate.await.unwrap_or(0)) });
        let second = scene.flights.join(1, |_| async { unreachable!("already under way") });
        drop(first.answer());
        open.send(3).expect("the work waits");
        assert_eq!(second.answer().await, Ok(3));
        scene.end().await;
    }

    #[tokio::test]
    async fn an_answer_waits_for_nothing_that_comes_after_it() {
        let scene = Scene::new();
        let (open, gate) = oneshot::channel::<()>();
        let first = scene.flights.join(1, |tell| async move {
            tell.answer(5);
            let _ = gate.await;
        });
        assert_eq!(first.answer().await, Ok(5));
        let next = scene.flights.join(1, |tell| async move { tell.answer(6) });
        assert!(next.started, "who asks after the answer asks anew");
        assert_eq!(next.answer().await, Ok(6));
        open.send(()).expect("the work waits");
        scene.end().await;
    }

    #[tokio::test]
    async fn work_that_panics_is_told_to_every_waiter_and_leaves_the_table_empty() {
        let scene: Scene<u8> = Scene::new();
        let first = scene.flights.join(1, |_| async { panic!("on purpose") });
        let second = scene.flights.join(1, |_| async { panic!("on purpose") });
        assert_eq!(first.answer().await, Err(Lost));
        assert_eq!(second.answer().await, Err(Lost));
        let again = scene.flights.join(1, |tell| async move { tell.answer(5) });
        assert!(again.started);
        assert_eq!(again.answer().await, Ok(5));
        scene.end().await;
    }

    #[tokio::test]
    async fn a_shutdown_ends_work_that_would_never_end() {
        let scene: Scene<u8> = Scene::new();
        let waiter = scene.flights.join(1, |tell| async move {
            std::future::pending::<()>().await;
            drop(tell);
        });
        scene.stop.cancel();
        assert_eq!(waiter.answer().await, Err(Lost));
        scene.end().await;
    }
}
