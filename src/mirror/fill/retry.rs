//! How often a broken transfer is taken up again: a budget that progress refills.

use std::time::Duration;

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

/// The longest time of a limit that is waited for.
const LONGEST_LIMIT: Duration = Duration::from_secs(30);

/// The budget of one transfer.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Budget {
    spent: usize,
}

impl Budget {
    /// Bytes came: the budget is whole again.
    pub(in crate::mirror) fn refill(&mut self) {
        self.spent = 0;
    }

    /// How long to wait before the next attempt after this failure, or none when there is none. What upstream limits is not
    /// sent before its time is over; who reads meanwhile has bytes already, and waits for a while.
    pub(in crate::mirror) fn spend_on(&mut self, failure: &Failure) -> Option<Duration> {
        let wait = self.spend()?;
        match failure {
            Failure::Limited { retry_after: Some(left) } if *left > LONGEST_LIMIT => None,
            Failure::Limited { retry_after: Some(left) } => Some(wait.max(*left)),
            _ => Some(wait),
        }
    }

    /// How long to wait before the next attempt, or none when there is none.
    pub(in crate::mirror) fn spend(&mut self) -> Option<Duration> {
        let wait = WAITS.get(self.spent).copied();
        self.spent += 1;
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::SaidNo;

    #[test]
    fn t28_progress_refills_the_budget_and_silence_spends_it() {
        let mut budget = Budget::default();
        assert_eq!(budget.spend(), Some(Duration::ZERO), "the first break is taken up at once");
        for _ in 1..WAITS.len() {
            assert!(budget.spend().is_some());
        }
        assert_eq!(budget.spend(), None, "then it is over");
        budget.refill();
        assert_eq!(budget.spend(), Some(Duration::ZERO));
    }

    #[test]
    fn t62_a_transfer_goes_on_when_a_short_limit_is_over_and_ends_at_a_long_one() {
        let limited = |seconds| Failure::Limited { retry_after: Some(Duration::from_secs(seconds)) };
        let mut budget = Budget::default();
        assert_eq!(budget.spend_on(&limited(7)), Some(Duration::from_secs(7)));
        assert_eq!(budget.spend_on(&Failure::SaidNo(SaidNo { status: 404 })), Some(WAITS[1]));
        assert_eq!(budget.spend_on(&limited(0)), Some(WAITS[2]));
        assert_eq!(budget.spend_on(&limited(31)), None);
    }
}
