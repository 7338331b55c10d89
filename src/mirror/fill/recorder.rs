//! Makes what is present survive a crash, beside the fill.

use std::sync::Arc;
use std::time::Duration;

use tokio::select;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use crate::store::Partial;

use super::driver::named;
use super::table::Fill;

/// Present ranges are recorded at least this often, in bytes and in time, so that little is fetched again after a
/// crash.
const RECORD_EVERY_BYTES: u64 = 8 << 20;
const RECORD_EVERY: Duration = Duration::from_secs(2);

/// Records present ranges, one recording at a time, after their data is synced.
pub(super) struct Recorder {
    partial: Arc<Partial>,
    due: Interval,
    /// How much was present when it was last recorded.
    recorded: u64,
    since: Instant,
    /// The last recording failed.
    failed: bool,
    running: Option<Running>,
}

/// A recording under way, and how much the one before had.
struct Running {
    task: JoinHandle<bool>,
    before: u64,
}

impl Recorder {
    pub(super) fn new(partial: Arc<Partial>, recorded: u64) -> Self {
        let mut due = interval_at(Instant::now() + RECORD_EVERY, RECORD_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { partial, due, recorded, since: Instant::now(), failed: false, running: None }
    }

    /// Lets go of the file.
    pub(super) async fn settle(mut self) {
        if let Some(Running { task, .. }) = self.running.take() {
            // A recording that failed has said so.
            let _ = task.await;
        }
    }

    /// Resolves when it is time to look whether something is due: now and then, and when a recording has ended, during
    /// which enough for the next may have come.
    pub(super) async fn look(&mut self) {
        let Self { due, running, .. } = self;
        let ended = async {
            match running {
                Some(Running { task, .. }) => task.await.unwrap_or(false),
                None => std::future::pending().await,
            }
        };
        select! {
            recorded = ended => {
                self.failed = !recorded;
                let before = self.running.take().map(|running| running.before);
                if self.failed && let Some(before) = before {
                    // The disk may take it the next time, though nothing comes meanwhile.
                    self.recorded = before;
                }
            }
            _ = due.tick() => {}
        }
    }

    /// Records what `fill` has, if enough has come since the last time.
    pub(super) fn record_if_due(&mut self, fill: &Fill) {
        if self.running.is_some() {
            return;
        }
        let total = fill.progress.borrow().present.total();
        if !is_due(total.saturating_sub(self.recorded), self.since.elapsed(), self.failed) {
            return;
        }
        let before = std::mem::replace(&mut self.recorded, total);
        self.since = Instant::now();
        let present = fill.progress.borrow().present.clone();
        let partial = Arc::clone(&self.partial);
        partial.set_anonymous(fill.is_anonymous());
        partial.add_sources(named(fill.confirmed()));
        let digest = fill.digest.clone();
        let task = spawn_blocking(move || {
            let recorded = partial.record(&present);
            if let Err(error) = &recorded {
                tracing::debug!(%digest, %error, "the progress of a fill could not be recorded");
            }
            recorded.is_ok()
        });
        self.running = Some(Running { task, before });
    }
}

/// Whether so much that is not recorded, so long after the last recording began, is worth another.
fn is_due(fresh: u64, elapsed: Duration, failed: bool) -> bool {
    let is_much = fresh >= RECORD_EVERY_BYTES && !failed;
    fresh > 0 && (is_much || elapsed >= RECORD_EVERY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_is_recorded_by_bytes_and_by_time_and_what_failed_by_time() {
        const SHORTLY: Duration = Duration::from_millis(100);
        for (fresh, elapsed, failed, expected) in [
            (0, RECORD_EVERY, false, false),
            (0, RECORD_EVERY, true, false),
            (1, SHORTLY, false, false),
            (1, RECORD_EVERY, false, true),
            (RECORD_EVERY_BYTES - 1, SHORTLY, false, false),
            (RECORD_EVERY_BYTES, SHORTLY, false, true),
            (RECORD_EVERY_BYTES, SHORTLY, true, false),
            (1, RECORD_EVERY, true, true),
        ] {
            assert_eq!(is_due(fresh, elapsed, failed), expected, "{fresh} in {elapsed:?}, {failed}");
        }
    }
}
