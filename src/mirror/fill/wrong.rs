//! A short memory of upstreams that sent something else than a digest, so that clients who insist do not have the same
//! wrong bytes fetched over and over.
//!
//! Once may be an accident on the way, and the blob is fetched again for whoever asks, of another endpoint first where there
//! is one. When each of them has had its second chance it is left alone for a while, as a blob is that is not there, and
//! each time for longer.

use std::sync::Arc;
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use crate::oci::Digest;

use super::super::answer::Refusal;
use super::super::site::Site;

/// What is doubled where a 404 is remembered for less, or not at all: that is no reason to fetch wrong bytes for ever.
const LEAST: Duration = Duration::from_secs(1);
/// How often the pause is doubled at the most.
const MOST_DOUBLED: u32 = 5;
/// After which time without another it is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(15 * 60);
/// Bounds the memory.
const MOST_REMEMBERED: u64 = 10_000;

/// Wrong contents, by upstream and digest. Clones are the same memory.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Wrong(Cache<(Arc<str>, Digest), Seen>);

#[derive(Clone, Debug)]
struct Seen {
    times: u32,
    until: Instant,
    what: Arc<str>,
}

impl Wrong {
    pub(super) fn new() -> Self {
        Self(Cache::builder().max_capacity(MOST_REMEMBERED).time_to_live(FORGOTTEN_AFTER).build())
    }

    /// An upstream sent something else; `what`, for the operator.
    pub(in crate::mirror) fn note(&self, site: &Site, digest: &Digest, what: &str) {
        let (ttl, endpoints) = (site.policy().negative_ttl, site.upstream().endpoint_count());
        self.note_of(site.name(), digest, ttl, endpoints, what);
    }

    /// How often an upstream sent something else lately: so many of its endpoints come last.
    pub(in crate::mirror) fn times(&self, upstream: &str, digest: &Digest) -> u32 {
        self.0.get(&(upstream.into(), digest.clone())).map_or(0, |seen| seen.times)
    }

    fn note_of(&self, upstream: &str, digest: &Digest, ttl: Duration, endpoints: usize, what: &str) {
        let key = (upstream.into(), digest.clone());
        let times = self.0.get(&key).map_or(0, |seen| seen.times) + 1;
        let until = Instant::now() + pause_after(times, endpoints, ttl);
        self.0.insert(key, Seen { times, until, what: what.into() });
    }

    /// It sent the right content.
    pub(in crate::mirror) fn forget(&self, upstream: &str, digest: &Digest) {
        self.0.invalidate(&(upstream.into(), digest.clone()));
    }

    /// Why nothing is fetched now, if nothing is.
    pub(super) fn recall(&self, upstream: &str, digest: &Digest) -> Option<Refusal> {
        let seen = self.0.get(&(upstream.into(), digest.clone()))?;
        let left = seen.until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        let reason = format!(
            "{upstream} sent wrong content for {digest} {} times, lately this: {}; it is asked again in {} s",
            seen.times,
            seen.what,
            left.as_secs() + 1
        );
        Some(Refusal::WrongContent { reason })
    }
}

/// How long nothing is fetched after so many times, of an upstream with so many endpoints.
fn pause_after(times: u32, endpoints: usize, ttl: Duration) -> Duration {
    let chances = u32::try_from(endpoints).unwrap_or(u32::MAX).max(1).saturating_mul(2);
    match times.checked_sub(chances) {
        None => Duration::ZERO,
        Some(0) => ttl,
        Some(more) => ttl.max(LEAST).saturating_mul(1 << more.min(MOST_DOUBLED)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TTL: Duration = Duration::from_secs(5);

    #[test]
    fn g2_the_pause_after_wrong_content_grows_and_is_bounded() {
        for (times, seconds) in
            [(0, 0), (1, 0), (2, 5), (3, 10), (4, 20), (5, 40), (6, 80), (7, 160), (99, 160)]
        {
            assert_eq!(pause_after(times, 1, TTL), Duration::from_secs(seconds), "{times}");
            assert_eq!(
                pause_after(times + 2, 2, TTL),
                Duration::from_secs(seconds),
                "{times} of two endpoints"
            );
        }
    }

    #[test]
    fn g2_where_no_404_is_remembered_wrong_content_is_from_the_third_time_on() {
        for (times, seconds) in [(1, 0), (2, 0), (3, 2), (4, 4), (5, 8), (99, 32)] {
            assert_eq!(pause_after(times, 1, Duration::ZERO), Duration::from_secs(seconds), "{times}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn g2_wrong_content_twice_is_not_fetched_a_third_time_at_once() {
        let (wrong, digest) = (Wrong::new(), Digest::of(crate::oci::Algorithm::Sha256, b"x"));
        wrong.note_of("u", &digest, TTL, 1, "the first");
        assert_eq!(wrong.recall("u", &digest), None, "once may be an accident");
        wrong.note_of("u", &digest, TTL, 1, "the second");
        assert!(wrong.recall("u", &digest).is_some());
        assert_eq!(wrong.recall("v", &digest), None, "another upstream may have it right");
        tokio::time::advance(TTL).await;
        assert_eq!(wrong.recall("u", &digest), None, "it may be mended");
        wrong.note_of("u", &digest, TTL, 1, "the third");
        wrong.forget("u", &digest);
        assert_eq!(wrong.recall("u", &digest), None, "it was mended");
    }
}
