//! How many pulls are left.
//!
//! A registry tells it with an answer, by when that was counted. Answers overtake each other, and some questions are still
//! on their way: those are taken off what was told last, so that none is sent that would be one too many.

use std::time::{Duration, Instant};

use super::words::Allowance;

/// While few pulls are left, cached tags are not asked about; but when nothing was told for so long they are, until an
/// answer tells how many there are by now. That they are only looked at costs no pull.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(10 * 60);

/// The pulls of one endpoint and account.
#[derive(Debug, Default)]
pub(super) struct Budget {
    told: Option<Told>,
    /// Pulls that were sent and are not answered.
    under_way: u64,
    /// Answers that were heard so far.
    heard: u64,
}

#[derive(Debug)]
struct Told {
    allowance: Allowance,
    at: Instant,
}

/// What is known when a question is sent, to judge its answer by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    heard: u64,
}

impl Budget {
    /// A question goes out. Pulls are to be answered by [`Budget::end`].
    pub(super) fn begin(&mut self, pull: bool) -> Ticket {
        self.under_way += u64::from(pull);
        Ticket { heard: self.heard }
    }

    /// A pull is over. One whose answer told nothing has counted.
    pub(super) fn end(&mut self, told: bool) {
        self.under_way = self.under_way.saturating_sub(1);
        if !told && let Some(known) = &mut self.told {
            known.allowance.left = known.allowance.left.saturating_sub(1);
        }
    }

    /// An answer told how many are left.
    pub(super) fn tell(&mut self, ticket: Ticket, mut allowance: Allowance, now: Instant) {
        // What may have been counted by the registry before what was told last, and may not have been told.
        let drift = self.heard.saturating_sub(ticket.heard) + self.under_way;
        self.heard += 1;
        if let Some(known) = self.known(now) {
            let before = known.allowance.left;
            // More than that can explain: the registry has begun to count anew.
            if allowance.left <= before + drift {
                allowance.left = allowance.left.min(before);
            }
            allowance.source = allowance.source.or_else(|| known.allowance.source.take());
            allowance.limit = allowance.limit.or(known.allowance.limit);
        }
        self.told = Some(Told { allowance, at: now });
    }

    /// The registry says that there is nothing left, whatever it said before.
    pub(super) fn spend(&mut self) {
        if let Some(known) = &mut self.told {
            known.allowance.left = 0;
        }
    }

    /// Nothing is known any more.
    pub(super) fn forget(&mut self) {
        self.told = None;
    }

    /// What was told last, while it is of use, and how long ago.
    pub(super) fn told(&mut self, now: Instant) -> Option<(&Allowance, Duration)> {
        self.known(now).map(|known| (&known.allowance, now.saturating_duration_since(known.at)))
    }

    /// How many pulls may go out now, if that is known, and how many are under way.
    pub(super) fn free(&mut self, now: Instant) -> Option<(u64, u64)> {
        let under_way = self.under_way;
        self.known(now).map(|known| (known.allowance.left.saturating_sub(under_way), under_way))
    }

    /// Whether fewer are left than `reserve`, or none at all, by what was told lately.
    pub(super) fn is_scarce(&mut self, reserve: u64, now: Instant) -> bool {
        self.told(now).is_some_and(|(known, ago)| known.left < reserve.max(1) && ago < LOOK_AGAIN)
    }

    /// What was told, unless its window is over.
    fn known(&mut self, now: Instant) -> Option<&mut Told> {
        self.told.take_if(|told| now.saturating_duration_since(told.at) >= told.allowance.window);
        self.told.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const WINDOW: Duration = Duration::from_secs(21_600);

    fn allowance(left: u64) -> Allowance {
        Allowance { limit: Some(100), left, window: WINDOW, source: None }
    }

    fn with(left: u64, now: Instant) -> Budget {
        let mut budget = Budget::default();
        let ticket = budget.begin(false);
        budget.tell(ticket, allowance(left), now);
        budget
    }

    #[test]
    fn pulls_under_way_are_taken_off_what_was_told() {
        let now = Instant::now();
        let mut budget = with(3, now);
        let (one, two) = (budget.begin(true), budget.begin(true));
        assert_eq!(budget.free(now), Some((1, 2)));
        budget.tell(one, allowance(2), now);
        budget.end(true);
        assert_eq!(budget.free(now), Some((1, 1)));
        budget.tell(two, allowance(1), now);
        budget.end(true);
        assert_eq!(budget.free(now), Some((1, 0)));
        budget.begin(true);
        budget.end(false);
        assert_eq!(budget.free(now), Some((0, 0)), "what told nothing has counted");
    }

    #[test]
    fn an_answer_that_was_overtaken_does_not_give_pulls_back() {
        let now = Instant::now();
        let mut budget = with(50, now);
        let (one, two, three) = (budget.begin(true), budget.begin(true), budget.begin(true));
        for (ticket, told, left) in [(three, 47, 47), (one, 49, 47), (two, 48, 47)] {
            budget.tell(ticket, allowance(told), now);
            budget.end(true);
            assert_eq!(budget.told(now).map(|(known, _)| known.left), Some(left), "{told}");
        }
    }

    #[test]
    fn more_than_was_overtaken_is_a_new_window() {
        let now = Instant::now();
        let mut budget = with(2, now);
        let (one, two) = (budget.begin(true), budget.begin(true));
        budget.tell(one, allowance(100), now);
        assert_eq!(budget.told(now).map(|(known, _)| known.left), Some(100));
        budget.tell(two, allowance(99), now);
        assert_eq!(budget.told(now).map(|(known, _)| known.left), Some(99));
        budget.end(true);
        budget.end(true);
        let later = budget.begin(false);
        budget.tell(later, allowance(100), now);
        assert_eq!(budget.told(now).map(|(known, _)| known.left), Some(100), "a window that slides");
    }

    #[test]
    fn what_was_told_is_forgotten_with_its_window() {
        let now = Instant::now();
        let mut budget = with(7, now);
        assert!(budget.told(now + WINDOW - SECOND).is_some());
        assert!(budget.told(now + WINDOW).is_none());
        assert_eq!(budget.free(now + WINDOW), None);
    }

    #[test]
    fn few_are_scarce_until_it_is_time_to_look_again() {
        let now = Instant::now();
        for (left, reserve, scarce) in [(10, 10, false), (9, 10, true), (1, 0, false), (0, 0, true)] {
            assert_eq!(with(left, now).is_scarce(reserve, now), scarce, "{left} of {reserve}");
        }
        assert!(!Budget::default().is_scarce(10, now), "nothing is known");
        let mut budget = with(3, now);
        let later = now + LOOK_AGAIN;
        assert!(budget.is_scarce(10, later - SECOND));
        assert!(!budget.is_scarce(10, later));
        let look = budget.begin(false);
        budget.tell(look, allowance(3), later);
        assert!(budget.is_scarce(10, later));
    }
}
