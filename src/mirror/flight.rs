//! Questions under way: whoever asks the same one while it is asked waits for the one answer.
//!
//! The work is a task of its own, so a client that leaves neither stops it nor takes the answer from the others. An
//! entry leaves the table with its task, however that ends, and only its own task removes it. A task that vanished
//! without an answer is a failure that every waiter learns of, never a hang.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::task::TaskTracker;

/// The table of questions under way.
pub(super) struct Flights<K, T> {
    entries: Arc<Mutex<Entries<K, T>>>,
    tasks: TaskTracker,
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
    /// An empty table whose tasks are owned by `tasks`.
    pub(super) fn new(tasks: TaskTracker) -> Self {
        Self { entries: Arc::new(Mutex::new(Entries { next_id: 0, running: HashMap::new() })), tasks }
    }

    /// Joins the work for `key`, starting it with `work` if none is under way.
    pub(super) fn join<F>(&self, key: K, work: impl FnOnce() -> F) -> Waiter<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, answer)) = entries.running.get(&key) {
            return Waiter { started: false, answer: answer.clone() };
        }
        let id = entries.next_id;
        entries.next_id += 1;
        let (tell, answer) = watch::channel(None);
        entries.running.insert(key.clone(), (id, answer.clone()));
        drop(entries);
        let leave = Leave { entries: Arc::clone(&self.entries), key, id };
        let work = work();
        self.tasks.spawn(async move {
            let _leave = leave;
            let answer = work.await;
            tell.send_replace(Some(answer));
        });
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

    async fn drained<K, T>(flights: &Flights<K, T>, tasks: &TaskTracker)
    where
        K: Clone + Eq + Hash + Send + 'static,
        T: Clone + Send + Sync + 'static,
    {
        tasks.close();
        tasks.wait().await;
        assert_eq!(flights.len(), 0, "an entry outlived its task");
    }

    #[tokio::test]
    async fn many_who_ask_the_same_start_one_piece_of_work() {
        let tasks = TaskTracker::new();
        let flights = Flights::new(tasks.clone());
        let runs = Arc::new(AtomicUsize::new(0));
        let (open, gate) = oneshot::channel::<()>();
        let mut gate = Some(gate);
        let waiters: Vec<_> = (0..50)
            .map(|_| {
                flights.join("key", || {
                    runs.fetch_add(1, Ordering::SeqCst);
                    let gate = gate.take().expect("the work starts once");
                    async move { gate.await.map_or(0, |()| 7) }
                })
            })
            .collect();
        assert_eq!(waiters.iter().filter(|w| w.started).count(), 1);
        open.send(()).expect("the work waits");
        for waiter in waiters {
            assert_eq!(waiter.answer().await, Ok(7));
        }
        assert_eq!(runs.load(Ordering::SeqCst), 1);
        drained(&flights, &tasks).await;
    }

    #[tokio::test]
    async fn the_one_who_started_it_may_leave() {
        let tasks = TaskTracker::new();
        let flights = Flights::new(tasks.clone());
        let (open, gate) = oneshot::channel::<u32>();
        let first = flights.join(1, || async move { gate.await.unwrap_or(0) });
        let second = flights.join(1, || async { unreachable!("already under way") });
        drop(first.answer());
        open.send(3).expect("the work waits");
        assert_eq!(second.answer().await, Ok(3));
        drained(&flights, &tasks).await;
    }

    #[tokio::test]
    async fn work_that_panics_is_told_to_every_waiter_and_leaves_the_table_empty() {
        let tasks = TaskTracker::new();
        let flights: Flights<u8, u8> = Flights::new(tasks.clone());
        let first = flights.join(1, || async { panic!("on purpose") });
        let second = flights.join(1, || async { panic!("on purpose") });
        assert_eq!(first.answer().await, Err(Lost));
        assert_eq!(second.answer().await, Err(Lost));
        let again = flights.join(1, || async { 5 });
        assert!(again.started);
        assert_eq!(again.answer().await, Ok(5));
        drained(&flights, &tasks).await;
    }
}
