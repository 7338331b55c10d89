//! A registry that counts pulls as Docker Hub does: manifests that are had, not those that are looked at, nor blobs; so
//! many in a window, and 429 with JSON beyond.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use roadstead::clock::Clock;

use crate::support::upstream::{Act, Asked, Kind, Tokens, Upstream, act, status};

/// How long its windows are.
pub(super) const WINDOW: Duration = Duration::from_secs(6 * 60 * 60);

/// What it answers when nothing is left.
const NOTHING_LEFT: &str =
    r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;

/// What it has counted.
#[derive(Debug)]
pub(super) struct Hub {
    meter: Arc<Mutex<Meter>>,
}

#[derive(Debug)]
struct Meter {
    clock: Clock,
    limit: u64,
    says_when: bool,
    ends: SystemTime,
    pulled: u64,
    counted: Vec<String>,
    refused: usize,
}

impl Hub {
    /// From now on the upstream counts by this clock, and asks for tokens; `says_when` says that it tells with a 429 when
    /// its window ends.
    pub(super) fn of(upstream: &Upstream, clock: &Clock, limit: u64, says_when: bool) -> Self {
        let tokens = Tokens::default();
        upstream.serve_tokens(&tokens);
        upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
        let meter = Arc::new(Mutex::new(Meter {
            clock: clock.clone(),
            limit,
            says_when,
            ends: clock.now() + WINDOW,
            pulled: 0,
            counted: Vec::new(),
            refused: 0,
        }));
        let counting = Arc::clone(&meter);
        upstream.decide(move |asked| counting.lock().unwrap().decide(asked));
        Self { meter }
    }

    /// Others have pulled all that was left, and the window ends after this time.
    pub(super) fn exhaust(&self, ends_in: Duration) {
        let mut meter = self.meter.lock().unwrap();
        meter.pulled = meter.limit;
        meter.ends = meter.clock.now() + ends_in;
    }

    /// Others have pulled until so many are left.
    pub(super) fn leave(&self, left: u64) {
        let mut meter = self.meter.lock().unwrap();
        meter.pulled = meter.limit - left;
    }

    /// The references that were pulled, as often as they were.
    pub(super) fn counted(&self) -> Vec<String> {
        self.meter.lock().unwrap().counted.clone()
    }

    /// How many pulls were refused.
    pub(super) fn refused(&self) -> usize {
        self.meter.lock().unwrap().refused
    }
}

impl Meter {
    fn decide(&mut self, asked: &Asked) -> Option<Act> {
        // Who has no token is asked for one before anything is counted.
        if asked.kind != Kind::Manifest || asked.header("authorization").is_none() {
            return None;
        }
        let now = self.clock.now();
        if now >= self.ends {
            (self.pulled, self.ends) = (0, now + WINDOW);
        }
        if asked.method == "GET" && self.pulled >= self.limit {
            self.refused += 1;
            let answer = status(429).body(NOTHING_LEFT).header("Content-Type", "application/json");
            let left = self.ends.duration_since(now).unwrap().as_secs();
            let answer =
                if self.says_when { answer.header("Retry-After", &left.to_string()) } else { answer };
            return Some(self.told(answer));
        }
        if asked.method == "GET" {
            self.pulled += 1;
            self.counted.push(asked.reference.clone());
        }
        Some(self.told(act()))
    }

    fn told(&self, answer: Act) -> Act {
        let window = WINDOW.as_secs();
        answer
            .header("ratelimit-limit", &format!("{};w={window}", self.limit))
            .header("ratelimit-remaining", &format!("{};w={window}", self.limit - self.pulled))
            .header("docker-ratelimit-source", "203.0.113.7")
    }
}
