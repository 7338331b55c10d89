//! Makes what is present survive a crash, beside the fill.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::store::Partial;

use super::driver::named;
use super::table::Fill;

/// Present ranges are recorded at least this often, in bytes and in time, so that little is fetched again after a
/// crash.
const RECORD_EVERY_BYTES: u64 = 16 << 20;
const RECORD_EVERY: Duration = Duration::from_secs(2);

/// Records present ranges, one recording at a time, after their data is synced.
pub(super) struct Recorder {
    partial: Arc<Partial>,
    pub(super) due: tokio::time::Interval,
    recorded: u64,
    since: Instant,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Recorder {
    pub(super) fn new(partial: Arc<Partial>, recorded: u64) -> Self {
        let mut due = interval_at(Instant::now() + RECORD_EVERY, RECORD_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { partial, due, recorded, since: Instant::now(), running: None }
    }

    /// Lets go of the file.
    pub(super) async fn settle(mut self) {
        if let Some(running) = self.running.take() {
            // A recording that failed has said so.
            let _ = running.await;
        }
    }

    /// Records what `fill` has, if enough has come since the last time.
    pub(super) fn record_if_due(&mut self, fill: &Fill) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let total = fill.progress.borrow().present.total();
        let fresh = total.saturating_sub(self.recorded);
        if fresh == 0 || (fresh < RECORD_EVERY_BYTES && self.since.elapsed() < RECORD_EVERY) {
            return;
        }
        self.recorded = total;
        self.since = Instant::now();
        let present = fill.progress.borrow().present.clone();
        let partial = Arc::clone(&self.partial);
        partial.set_anonymous(fill.is_anonymous());
        partial.add_sources(named(fill.confirmed()));
        let digest = fill.digest.clone();
        self.running = Some(spawn_blocking(move || {
            if let Err(error) = partial.record(&present) {
                tracing::debug!(%digest, %error, "the progress of a fill could not be recorded");
            }
        }));
    }
}
