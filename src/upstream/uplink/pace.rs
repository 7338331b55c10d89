//! A rate, held by making bytes wait after they came: whoever reads slowly is sent slowly.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much may come at once after a pause, as time at the full rate.
const BURST: Duration = Duration::from_millis(100);

/// Up to when the link is taken by what came already.
#[derive(Debug, Default)]
pub(super) struct Clock(Mutex<Option<Instant>>);

impl Clock {
    /// Takes the time that `bytes` need at `rate` bytes a second, behind those who came before; gives its end.
    pub(super) fn take(&self, now: Instant, bytes: u64, rate: u64) -> Instant {
        let mut busy = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let end = after(*busy, now, bytes, rate);
        *busy = Some(end);
        end
    }
}

fn after(busy: Option<Instant>, now: Instant, bytes: u64, rate: u64) -> Instant {
    // The clock of a machine that has just started may be younger than the burst.
    let earliest = now.checked_sub(BURST).unwrap_or(now);
    let start = busy.map_or(earliest, |busy| busy.max(earliest));
    start + Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1))
}
