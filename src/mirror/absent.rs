//! A short memory of true 404s, so that a client that insists does not become a storm upstream (T63).
//!
//! Only an upstream's 404 or 410 is remembered, per repository and reference, for the upstream's `negative_ttl`.
//! Anything else (401, 403, 429, 5xx, silence) is never taken for absence.

use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;

use super::answer::Refusal;
use super::site::{Mirror, Target};

/// Bounds the memory however many different names are asked for.
const MOST_REMEMBERED: u64 = 10_000;

/// What was asked for and not there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    /// The upstream's name.
    pub(super) upstream: std::sync::Arc<str>,
    /// The repository and what was asked in it, as one text that cannot be mistaken for another kind's.
    pub(super) object: String,
}

#[derive(Debug)]
pub(super) struct Absent {
    memory: Cache<Question, (u16, Duration)>,
}

struct PerEntry;

impl Expiry<Question, (u16, Duration)> for PerEntry {
    fn expire_after_create(&self, _: &Question, entry: &(u16, Duration), _: Instant) -> Option<Duration> {
        Some(entry.1)
    }
}

impl Absent {
    pub(super) fn new() -> Self {
        Self { memory: Cache::builder().max_capacity(MOST_REMEMBERED).expire_after(PerEntry).build() }
    }

    /// The status upstream gave, if it said so lately.
    pub(super) fn recall(&self, question: &Question) -> Option<u16> {
        self.memory.get(question).map(|(status, _)| status)
    }

    /// Remembers a refusal, if it is one that may be remembered.
    pub(super) fn remember(&self, question: Question, status: u16, ttl: Duration) {
        if matches!(status, 404 | 410) && !ttl.is_zero() {
            self.memory.insert(question, (status, ttl));
        }
    }

    /// Forgets everything.
    pub(super) fn forget_all(&self) {
        self.memory.invalidate_all();
    }

    /// Forgets, because the object has been seen.
    pub(super) fn forget(&self, question: &Question) {
        self.memory.invalidate(question);
    }
}

impl Mirror {
    /// Remembers what upstream said to a question, if that is a refusal that may be remembered.
    pub(super) fn note_refusal(&self, target: &Target, question: Question, refusal: &Refusal) {
        if let Refusal::SaidNo { status } = refusal {
            self.absent().remember(question, *status, target.site.policy().negative_ttl);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t63_only_true_absence_is_remembered() {
        let absent = Absent::new();
        let question = Question { upstream: "u".into(), object: "r/blobs/d".to_owned() };
        for status in [401, 403, 429, 500, 502, 503, 504] {
            absent.remember(question.clone(), status, Duration::from_secs(60));
            assert_eq!(absent.recall(&question), None, "{status}");
        }
        absent.remember(question.clone(), 404, Duration::ZERO);
        assert_eq!(absent.recall(&question), None, "a zero ttl means never");
        for status in [404, 410] {
            absent.remember(question.clone(), status, Duration::from_secs(60));
            assert_eq!(absent.recall(&question), Some(status));
        }
        absent.forget(&question);
        assert_eq!(absent.recall(&question), None);
    }
}
