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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_take_their_time_behind_those_before_them() {
        let now = Instant::now() + Duration::from_secs(10);
        let at = |milliseconds: i64| {
            let offset = Duration::from_millis(milliseconds.unsigned_abs());
            if milliseconds < 0 { now - offset } else { now + offset }
        };
        const KB: u64 = 1_000;
        for (what, busy, bytes, rate, end) in [
            ("the first has the burst to its good", None, 1000 * KB, 1000 * KB, at(900)),
            ("what fits into the burst goes at once", None, 100 * KB, 1000 * KB, at(0)),
            ("less than that leaves some of it", None, 40 * KB, 1000 * KB, at(-60)),
            ("a long pause saves no more than the burst", Some(at(-5000)), 1000 * KB, 1000 * KB, at(900)),
            ("a short one what it was", Some(at(-50)), 1000 * KB, 1000 * KB, at(950)),
            ("behind others", Some(at(3000)), 500 * KB, 1000 * KB, at(3500)),
            ("slowly", Some(at(0)), 64 * KB, 64 * KB, at(1000)),
            ("nothing takes no time", Some(at(70)), 0, KB, at(70)),
            ("a rate of nothing is one of a byte", Some(at(0)), 2, 0, at(2000)),
        ] {
            assert_eq!(after(busy, now, bytes, rate), end, "{what}");
        }
    }
}
