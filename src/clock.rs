//! What time it is: the system's, or one that is put forward by hand.
//!
//! Owns the one seam between the machine's clock and decisions about minutes and hours: how old a tag is, for how long
//! an upstream limits us. With a clock by hand an hour of them is over in a moment, and nothing happens in it that was not
//! asked for. Timeouts and paces do not ask here: they are about how long something really takes.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// A clock. Clones tell the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Option<Arc<Hand>>);

/// A clock that stands still, but for what it is put forward.
#[derive(Debug)]
struct Hand {
    wall: SystemTime,
    began: Instant,
    forward: Mutex<Duration>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self(None)
    }

    /// A clock that stands at this time until it is put forward.
    #[must_use]
    pub fn by_hand(wall: SystemTime) -> Self {
        Self(Some(Arc::new(Hand { wall, began: Instant::now(), forward: Mutex::default() })))
    }

    /// Puts a clock by hand forward. The system's goes on by itself.
    pub fn advance(&self, by: Duration) {
        if let Some(hand) = &self.0 {
            *hand.forward.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }

    /// The date and the time, which people and other machines know as well; it may be set back.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.0.as_ref().map_or_else(SystemTime::now, |hand| hand.wall + hand.forward())
    }

    /// A moment to measure from; it never goes back.
    #[must_use]
    pub fn instant(&self) -> Instant {
        self.0.as_ref().map_or_else(Instant::now, |hand| hand.began + hand.forward())
    }
}

impl Hand {
    fn forward(&self) -> Duration {
        *self.forward.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_by_hand_stands_still_until_it_is_put_forward() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let clock = Clock::by_hand(noon);
        let (other, began) = (clock.clone(), clock.instant());
        assert_eq!(clock.now(), noon);
        clock.advance(Duration::from_secs(3600));
        assert_eq!(other.now(), noon + Duration::from_secs(3600));
        assert_eq!(other.instant() - began, Duration::from_secs(3600));
    }

    #[test]
    fn the_systems_clock_is_not_put_forward() {
        let clock = Clock::system();
        let before = SystemTime::now();
        clock.advance(Duration::from_secs(3600));
        assert!(clock.now() < before + Duration::from_secs(3600));
    }
}
