//! How often a broken transfer is taken up again: a budget that progress refills.

use std::time::Duration;

use tokio::time::Instant;

use crate::upstream::Failure;

/// The waits before the attempts that follow one another without a byte between them; then the fill gives up.
const WAITS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_600),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// How long a transfer may be without a byte, attempts included, before no other attempt is begun: whoever waits for its
/// bytes has somewhere else to ask. With the last attempt it is half a minute at the most.
const SILENCE: Duration = Duration::from_secs(20);

/// The budget of one transfer.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Budget {
    spent: usize,
    /// Since when nothing came.
    since: Option<Instant>,
}

impl Budget {
    /// Bytes came: the budget is whole again.
    pub(in crate::mirror) fn refill(&mut self) {
        *self = Self::default();
    }

    /// How long to wait before the next attempt after this failure, or none when there is none. What upstream limits is not
    /// sent before its time is over; who reads meanwhile has bytes already, and waits for a while.
    pub(in crate::mirror) fn spend_on(
        &mut self,
        failure: &Failure,
        now: Instant,
        rest: Option<Duration>,
    ) -> Option<Duration> {
        match failure {
            Failure::Limited { retry_after } => self.spend(now, rest.max(*retry_after)),
            _ => self.spend(now, rest),
        }
    }

    /// How long to wait before the next attempt, or none when there is none. `rest` is for how long upstream is not asked
    /// anything: an attempt before that would be wasted.
    pub(in crate::mirror) fn spend(&mut self, now: Instant, rest: Option<Duration>) -> Option<Duration> {
        let since = *self.since.get_or_insert(now);
        let wait = WAITS.get(self.spent).copied()?.max(rest.unwrap_or_default());
        self.spent += 1;
        (now + wait < since + SILENCE).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::SaidNo;

    #[test]
    fn t28_progress_refills_the_budget_and_silence_spends_it() {
        let now = Instant::now();
        let mut budget = Budget::default();
        assert_eq!(budget.spend(now, None), Some(Duration::ZERO), "the first break is taken up at once");
        for _ in 1..WAITS.len() {
            assert!(budget.spend(now, None).is_some());
        }
        assert_eq!(budget.spend(now, None), None, "then it is over");
        budget.refill();
        assert_eq!(budget.spend(now, None), Some(Duration::ZERO));
    }

    #[test]
    fn t28_attempts_that_take_their_time_are_fewer() {
        let (begun, second) = (Instant::now(), Duration::from_secs(1));
        let mut budget = Budget::default();
        assert!(budget.spend(begun, None).is_some());
        assert!(budget.spend(begun + 19 * second, None).is_some());
        assert_eq!(budget.spend(begun + 20 * second, None), None);
        budget.refill();
        assert!(budget.spend(begun + 21 * second, None).is_some(), "bytes begin it anew");
    }

    #[test]
    fn g6_no_attempt_is_wasted_on_an_upstream_that_is_left_alone() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        for (rest, wait) in
            [(0, Some(Duration::ZERO)), (2, Some(2 * second)), (19, Some(19 * second)), (20, None)]
        {
            assert_eq!(Budget::default().spend(now, Some(rest * second)), wait, "{rest}");
        }
    }

    #[test]
    fn t62_a_transfer_goes_on_when_a_short_limit_is_over_and_ends_at_a_long_one() {
        let limited = |seconds| Failure::Limited { retry_after: Some(Duration::from_secs(seconds)) };
        let (now, mut budget) = (Instant::now(), Budget::default());
        let mut spend = |failure: &Failure| budget.spend_on(failure, now, None);
        assert_eq!(spend(&limited(7)), Some(Duration::from_secs(7)));
        assert_eq!(spend(&Failure::SaidNo(SaidNo { status: 404 })), Some(WAITS[1]));
        assert_eq!(spend(&limited(0)), Some(WAITS[2]));
        assert_eq!(spend(&limited(21)), None);
    }
}
