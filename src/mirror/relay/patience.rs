//! How long a relay is held back for readers that lag: bounded in total, so that a slow one never slows a fast one
//! beyond that.

use std::time::Duration;

/// What every relay may be held back for: clients that pull together start and stumble within about this.
const AT_ONCE: Duration = Duration::from_secs(2);

/// And one part in so many of the time it runs, so that the thousandth stumble in a long pull is waited for as well.
const SHARE: u32 = 20;

/// What is left of a relay's patience. Times are ages of the relay.
#[derive(Debug, Default)]
pub(super) struct Patience {
    spent: Duration,
    /// Since when it is being held back.
    since: Option<Duration>,
}

impl Patience {
    /// It is held back now: until when at the most, which may be over already.
    pub(super) fn hold(&mut self, age: Duration) -> Duration {
        let since = *self.since.get_or_insert(age);
        let owed = (AT_ONCE + since / SHARE).saturating_sub(self.spent);
        // While it is held back, patience grows as well.
        since + owed + owed / (SHARE - 1)
    }

    /// It is not, or no longer.
    pub(super) fn go_on(&mut self, age: Duration) {
        if let Some(since) = self.since.take() {
            self.spent += age.saturating_sub(since);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn it_is_two_seconds_and_a_twentieth_of_the_time_however_it_is_cut() {
        for pieces in [1, 2, 7, 100] {
            let mut patience = Patience::default();
            let (mut age, mut held) = (ms(0), ms(0));
            // Until nothing is left, in pieces of a length that does not divide it.
            loop {
                let until = patience.hold(age);
                if until <= age {
                    break;
                }
                let step = (until - age).min(ms(2_003) / pieces);
                (age, held) = (age + step, held + step);
                patience.go_on(age);
            }
            assert!(held <= AT_ONCE + age / SHARE + ms(1), "{held:?} in {age:?}, {pieces} pieces");
            assert!(held + ms(30) >= AT_ONCE + age / SHARE, "{held:?} in {age:?}, {pieces} pieces");
        }
    }

    #[test]
    fn it_comes_back_with_time_and_not_by_asking() {
        let mut patience = Patience::default();
        let until = patience.hold(ms(0));
        assert_eq!(patience.hold(ms(1_000)), until, "asked again while it is held back");
        patience.go_on(until);
        assert!(patience.hold(until) <= until + ms(1));
        patience.go_on(until);
        let later = until + ms(60_000);
        let again = patience.hold(later);
        assert!(again >= later + ms(2_900) && again <= later + ms(3_200), "{again:?}");
    }
}
