//! Warmings that go on in the background: begun by somebody who may leave, looked at by whoever knows their number.
//!
//! They are the mirror's own tasks: its end is theirs. What they came to is kept for a while, the last ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::SystemTime;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::super::site::Mirror;
use super::Warming;
use super::ledger::Ledger;
use super::tally::Verdict;

/// How many that are over are kept to be looked at.
const MOST_KEPT: usize = 64;

/// How many go on at a time.
const MOST_RUNNING: usize = 16;

/// A warming in the background.
#[derive(Debug)]
pub struct Job {
    /// Its number, from 1.
    pub id: u64,
    /// What it is called, where the configuration has it.
    pub name: Option<String>,
    /// When it began.
    pub started: SystemTime,
    /// How far it is.
    pub ledger: Ledger,
    stop: CancellationToken,
    ended: OnceLock<(Ending, SystemTime)>,
    over: Notify,
}

/// How a warming ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All of every image is here.
    Whole,
    /// Something is missing.
    Missing,
    /// It was told to stop, or the mirror was.
    Stopped,
}

/// So many go on already that no other is begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany(pub usize);

/// The warmings of a mirror.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Jobs(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    last: u64,
    jobs: BTreeMap<u64, Arc<Job>>,
}

impl Job {
    /// How it ended and when; none while it goes on.
    pub fn ended(&self) -> Option<(Ending, SystemTime)> {
        self.ended.get().copied()
    }

    /// Lets it end. Fills that it has begun go on, as when a client leaves.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Waits for its end.
    pub async fn over(&self) {
        loop {
            let notified = self.over.notified();
            if self.ended.get().is_some() {
                return;
            }
            notified.await;
        }
    }

    fn end(&self, ending: Ending, now: SystemTime) {
        // It ends once.
        let _ = self.ended.set((ending, now));
        self.over.notify_waiters();
    }
}

impl Mirror {
    /// Begins a warming in the background.
    ///
    /// # Errors
    /// So many go on already.
    pub fn begin_warming(&self, warming: Warming, name: Option<String>) -> Result<Arc<Job>, TooMany> {
        let job = self.warmings_table().enter(name, self.now())?;
        let (mirror, begun) = (self.clone(), Arc::clone(&job));
        self.tasks().spawn(async move {
            let stopping = mirror.stopping().clone();
            let warm = mirror.warm(warming, begun.ledger.clone());
            let warmed = begun.stop.run_until_cancelled(warm).await;
            let ending = match warmed {
                Some(warmed) if !stopping.is_cancelled() => {
                    let missing = warmed.iter().any(|warmed| warmed.verdict == Verdict::Missing);
                    if missing { Ending::Missing } else { Ending::Whole }
                }
                _ => Ending::Stopped,
            };
            begun.end(ending, mirror.now());
        });
        Ok(job)
    }

    /// The warming of this number, while it is known.
    pub fn warming(&self, id: u64) -> Option<Arc<Job>> {
        self.warmings_table().table().jobs.get(&id).cloned()
    }

    /// The warmings that go on, and the last that are over, in the order in which they began.
    pub fn warmings(&self) -> Vec<Arc<Job>> {
        self.warmings_table().table().jobs.values().cloned().collect()
    }
}

impl Jobs {
    fn enter(&self, name: Option<String>, now: SystemTime) -> Result<Arc<Job>, TooMany> {
        let mut table = self.table();
        let running = table.jobs.values().filter(|job| job.ended.get().is_none()).count();
        if running >= MOST_RUNNING {
            return Err(TooMany(running));
        }
        while table.jobs.len() - running >= MOST_KEPT {
            // The last runs of regular ones are looked at for longer than what somebody once asked for.
            let over = || table.jobs.values().filter(|job| job.ended.get().is_some());
            let oldest = over().find(|job| job.name.is_none()).or_else(|| over().next()).map(|job| job.id);
            let Some(oldest) = oldest else { break };
            table.jobs.remove(&oldest);
        }
        table.last += 1;
        let job = Arc::new(Job {
            id: table.last,
            name,
            started: now,
            ledger: Ledger::default(),
            stop: CancellationToken::new(),
            ended: OnceLock::new(),
            over: Notify::new(),
        });
        table.jobs.insert(job.id, Arc::clone(&job));
        Ok(job)
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} warmings go on already", self.0)
    }
}

impl std::error::Error for TooMany {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_that_are_over_are_kept_and_only_so_many_go_on() {
        let (jobs, now) = (Jobs::default(), SystemTime::UNIX_EPOCH);
        let first = jobs.enter(None, now).unwrap();
        for _ in 0..200 {
            jobs.enter(None, now).unwrap().end(Ending::Whole, now);
        }
        let known: Vec<u64> = jobs.table().jobs.keys().copied().collect();
        assert_eq!((known.len(), known[0], known[1]), (MOST_KEPT + 1, first.id, 201 - MOST_KEPT as u64 + 1));
        for _ in 1..MOST_RUNNING {
            jobs.enter(None, now).unwrap();
        }
        assert_eq!(jobs.enter(None, now).unwrap_err(), TooMany(MOST_RUNNING));
        first.end(Ending::Stopped, now);
        assert!(jobs.enter(None, now).is_ok());
    }
}
