//! How often a broken transfer is taken up again: a budget that progress refills.

use std::time::Duration;

/// The waits before the attempts that follow one another without a byte between them; then the fill gives up.
const WAITS: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_millis(1_600),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

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
}
