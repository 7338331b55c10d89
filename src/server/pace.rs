//! How often one address may come: so many times a second, and after a pause as often at once as ten seconds allow.
//!
//! Owns the decision, which is by the time alone, and one moment for each address. Whoever comes too often is held back until
//! it is its turn, so that a rush is only slower, and is refused where that would take longer than anybody is let wait. So a
//! flood costs no more than what is let through of it, however fast its clients are.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// For how long what was not used counts.
const PAUSE: Duration = Duration::from_secs(10);

/// How often one address may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// How much of its time each coming takes.
    each: Duration,
    /// For how long it is held back at the most.
    patience: Duration,
}

/// What becomes of one who comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Visit {
    /// It goes on.
    Now,
    /// It goes on after so long.
    After(Duration),
    /// It is refused; after so long it would go on at once.
    Refused(Duration),
}

impl Pace {
    /// `None`: as often as anybody likes.
    fn of(a_second: usize, patience: Duration) -> Option<Self> {
        let each = Duration::from_secs(1).checked_div(u32::try_from(a_second).unwrap_or(u32::MAX))?;
        Some(Self { each, patience })
    }

    /// Somebody comes whose time is taken until `taken`; what becomes of it, and until when its time is taken then.
    fn visit(self, taken: Option<Instant>, now: Instant) -> (Visit, Instant) {
        let before = taken.unwrap_or(now).max(now);
        let then = before + self.each;
        let wait = then.duration_since(now).saturating_sub(PAUSE);
        match wait {
            Duration::ZERO => (Visit::Now, then),
            wait if wait <= self.patience => (Visit::After(wait), then),
            wait => (Visit::Refused(wait), before),
        }
    }

    /// The same where it has come to no good, which counts as coming so many times more. It is never so much that somebody
    /// who comes then would not be let in within the patience.
    fn blamed(self, taken: Option<Instant>, now: Instant, times: u32) -> Instant {
        let before = taken.unwrap_or(now).max(now);
        (before + self.each * times).min((now + PAUSE + self.patience).max(before))
    }
}

/// Who came when, as far as it still counts.
#[derive(Debug)]
pub(super) struct Visits {
    known: Mutex<Known>,
}

#[derive(Debug)]
struct Known {
    pace: Option<Pace>,
    taken: HashMap<IpAddr, Instant>,
    /// With how many of them it is seen who can be forgotten.
    many: usize,
}

/// How many addresses are known before any is forgotten.
const MANY: usize = 1024;

impl Visits {
    /// Nobody has come. Zero times a second means as often as anybody likes.
    pub(super) fn new(a_second: usize, patience: Duration) -> Self {
        let known = Known { pace: Pace::of(a_second, patience), taken: HashMap::new(), many: MANY };
        Self { known: Mutex::new(known) }
    }

    /// From now on so often.
    pub(super) fn limit(&self, a_second: usize, patience: Duration) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.pace = Pace::of(a_second, patience);
        if known.pace.is_none() {
            known.taken.clear();
        }
    }

    /// Somebody comes; `None` is somebody whose comings nobody counts.
    pub(super) fn visit(&self, address: Option<IpAddr>) -> Visit {
        self.with(address, |pace, taken, now| pace.visit(taken, now)).unwrap_or(Visit::Now)
    }

    /// The same for one who is not let wait.
    pub(super) fn visit_now(&self, address: Option<IpAddr>) -> bool {
        let at_once = |pace: Pace, taken, now| Pace { patience: Duration::ZERO, ..pace }.visit(taken, now);
        self.with(address, at_once).is_none_or(|visit| visit == Visit::Now)
    }

    /// What came from there was worth as much as coming so many times more.
    pub(super) fn blame(&self, address: Option<IpAddr>, times: u32) {
        self.with(address, |pace, taken, now| ((), pace.blamed(taken, now, times)));
    }

    fn with<T>(
        &self,
        address: Option<IpAddr>,
        decide: impl FnOnce(Pace, Option<Instant>, Instant) -> (T, Instant),
    ) -> Option<T> {
        let address = counted_as(address?);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = known.pace?;
        let now = Instant::now();
        if known.taken.len() >= known.many {
            known.taken.retain(|_, taken| *taken > now);
            known.many = (known.taken.len() * 2).max(MANY);
        }
        let (decided, taken) = decide(pace, known.taken.get(&address).copied(), now);
        known.taken.insert(address, taken);
        Some(decided)
    }
}

/// Whoever has one address of IPv6 has all that begin with the same 64 bits.
pub(super) fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[test]
    fn what_becomes_of_a_visit_follows_from_the_time_that_is_taken() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let pace = Pace::of(4, PATIENCE).unwrap();
        // Until when its time is taken, in milliseconds from now; what becomes of it; until when it is taken then.
        for (taken, expected, then) in [
            (None, Visit::Now, 250),
            (Some(0), Visit::Now, 250),
            (Some(9_750), Visit::Now, 10_000),
            (Some(9_751), Visit::After(ms(1)), 10_001),
            (Some(10_000), Visit::After(ms(250)), 10_250),
            (Some(14_750), Visit::After(ms(5_000)), 15_000),
            (Some(14_751), Visit::Refused(ms(5_001)), 14_751),
            (Some(60_000), Visit::Refused(ms(50_250)), 60_000),
        ] {
            let until = taken.map(|taken| now + ms(taken));
            assert_eq!(pace.visit(until, now), (expected, now + ms(then)), "{taken:?}");
        }
        assert_eq!(
            pace.visit(Some(now), now + ms(7)),
            (Visit::Now, now + ms(257)),
            "what is past is forgotten"
        );
        assert_eq!(Pace::of(0, PATIENCE), None);
    }

    #[test]
    fn blame_takes_time_but_never_so_much_that_nobody_is_let_wait() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let pace = Pace::of(4, PATIENCE).unwrap();
        for (taken, times, then) in
            [(None, 9, 2_250), (Some(1_000), 9, 3_250), (Some(14_000), 9, 15_000), (Some(16_000), 9, 16_000)]
        {
            let until = taken.map(|taken| now + ms(taken));
            assert_eq!(pace.blamed(until, now, times), now + ms(then), "{taken:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_address_has_a_pace_of_its_own_and_is_forgotten_when_it_was_away() {
        let visits = Visits::new(2, Duration::ZERO);
        let address = |n: u32| Some(IpAddr::V4(n.into()));
        let at_once = |n| (0..100).take_while(|_| visits.visit(address(n)) == Visit::Now).count();
        assert_eq!((at_once(1), at_once(2), at_once(1)), (20, 20, 0));
        tokio::time::advance(Duration::from_millis(1500)).await;
        assert_eq!(at_once(1), 3);
        assert!((0..100).all(|_| visits.visit(None) == Visit::Now));
        visits.limit(0, Duration::ZERO);
        assert_eq!(at_once(1), 100);
        visits.limit(2, Duration::ZERO);
        for n in 0..5000 {
            visits.visit(address(n));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        let known = visits.known.lock().unwrap().taken.len();
        assert!(known <= MANY, "{known}");
    }
}
