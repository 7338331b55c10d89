//! Whether a tag's binding may be served as it is: a pure decision over plain values and a clock.

use std::time::{Duration, SystemTime};

/// What to do about a tag that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freshness {
    /// Confirmed within its time to live: serve, ask nobody (G5).
    Fresh,
    /// Older than that: confirm with one HEAD, serve the old one if upstream does not answer.
    Stale,
}

/// Decides for a binding that was last `confirmed`, at `now`.
///
/// A clock that was set back makes `confirmed` lie in the future; such a binding is stale, because nothing bounds how
/// long it would look fresh otherwise.
pub(super) fn freshness(confirmed: SystemTime, ttl: Duration, now: SystemTime) -> Freshness {
    match now.duration_since(confirmed) {
        Ok(age) if age < ttl => Freshness::Fresh,
        _ => Freshness::Stale,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g5_a_binding_is_fresh_strictly_within_its_time_to_live() {
        let confirmed = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let ttl = Duration::from_secs(300);
        for (offset, expected, why) in [
            (0i64, Freshness::Fresh, "just confirmed"),
            (299, Freshness::Fresh, "the last second"),
            (300, Freshness::Stale, "exactly its time to live"),
            (100_000, Freshness::Stale, "long ago"),
            (-1, Freshness::Stale, "a clock that went back"),
        ] {
            let now = confirmed
                .checked_add(Duration::from_secs(offset.max(0).unsigned_abs()))
                .and_then(|t| t.checked_sub(Duration::from_secs(offset.min(0).unsigned_abs())))
                .expect("in range");
            assert_eq!(freshness(confirmed, ttl, now), expected, "{why}");
        }
        assert_eq!(
            freshness(confirmed, Duration::ZERO, confirmed),
            Freshness::Stale,
            "a zero ttl always asks"
        );
    }
}
