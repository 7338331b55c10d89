//! The figures of one upstream, with their handles at hand.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::guard::{Counted, Up};
use super::labels::{
    ByEndpoint, ByUpstream, ByUpstreamAndAccount, ByUpstreamAndCause, ByUpstreamAndMode,
    ByUpstreamAndOutcome, ByUpstreamKindAndResult,
};
use super::{Families, Kind, Times, UpstreamResult};
use crate::telemetry::Outcome;

/// The figures of one upstream. Cheap to clone, cheap to use: keep one beside whatever serves that upstream.
#[derive(Clone, Debug)]
pub struct UpstreamMetrics {
    inner: Arc<Handles>,
}

#[derive(Debug)]
struct Handles {
    requests: [Counter; Outcome::ALL.len()],
    bytes: [Counter; Outcome::ALL.len()],
    saved: Counter,
    /// Requests whose outcome is that of a hit, and who were given nothing.
    empty_handed: Counter,
    first_byte: ByOutcome,
    total: ByOutcome,
    latency: OnceLock<Histogram>,
    latencies: Times<ByUpstream>,
    failures: Family<ByUpstreamAndCause, Counter>,
    upstream_requests: [[Counter; UpstreamResult::ALL.len()]; Kind::ALL.len()],
    upstream_bytes: Counter,
    credentials_refused: Counter,
    name: String,
    accounts_refused: Family<ByUpstreamAndAccount, Gauge>,
    connections: Gauge,
    waiting: Gauge,
    withheld: Counter,
    limited: Gauge,
    pulls: Pulls,
    endpoint_up: Family<ByEndpoint, Gauge>,
    mode: Family<ByUpstreamAndMode, Gauge>,
    offline: Gauge,
}

/// What was counted of an upstream so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were served.
    pub requests: u64,
    /// Those for which nothing had to be fetched.
    pub hits: u64,
    /// Bytes of bodies sent to clients.
    pub sent: u64,
    /// Bytes of bodies that came from upstream.
    pub fetched: u64,
    /// Bytes of bodies of hits.
    pub saved: u64,
}

/// Times of one upstream. A histogram is made when an outcome first comes up: most never do, and each is many lines.
#[derive(Debug)]
struct ByOutcome {
    family: Times<ByUpstreamAndOutcome>,
    made: [OnceLock<Histogram>; Outcome::ALL.len()],
}

impl ByOutcome {
    fn new(family: &Times<ByUpstreamAndOutcome>) -> Self {
        Self { family: family.clone(), made: std::array::from_fn(|_| OnceLock::new()) }
    }

    fn observe(&self, upstream: &str, outcome: Outcome, took: Duration) {
        let make = || {
            let labels = ByUpstreamAndOutcome { upstream: upstream.to_owned(), outcome: outcome.as_str() };
            self.family.get_or_create_owned(&labels)
        };
        self.made[outcome as usize].get_or_init(make).observe(took.as_secs_f64());
    }
}

/// What is there only while it is known.
#[derive(Debug)]
struct Pulls {
    of: ByUpstream,
    left: Family<ByUpstream, Gauge>,
    limit: Family<ByUpstream, Gauge>,
}

/// The outcomes of requests for which nothing has to be fetched.
const HITS: [Outcome; 5] =
    [Outcome::Hit, Outcome::Revalidated, Outcome::Join, Outcome::Stale, Outcome::Offline];

impl UpstreamMetrics {
    pub(super) fn new(name: &str, families: &Families) -> Self {
        let upstream = || name.to_owned();
        let by_outcome =
            |outcome: Outcome| ByUpstreamAndOutcome { upstream: upstream(), outcome: outcome.as_str() };
        let by_result = |kind: Kind, result: UpstreamResult| ByUpstreamKindAndResult {
            upstream: upstream(),
            kind: kind.as_str(),
            result: result.as_str(),
        };
        let by_upstream = ByUpstream { upstream: upstream() };
        let inner = Arc::new(Handles {
            requests: Outcome::ALL.map(|o| families.requests.get_or_create_owned(&by_outcome(o))),
            bytes: Outcome::ALL.map(|o| families.bytes.get_or_create_owned(&by_outcome(o))),
            saved: families.saved.get_or_create_owned(&by_upstream),
            empty_handed: Counter::default(),
            first_byte: ByOutcome::new(&families.first_byte),
            total: ByOutcome::new(&families.total),
            latency: OnceLock::new(),
            latencies: families.latency.clone(),
            failures: families.failures.clone(),
            upstream_requests: Kind::ALL.map(|kind| {
                UpstreamResult::ALL
                    .map(|r| families.upstream_requests.get_or_create_owned(&by_result(kind, r)))
            }),
            upstream_bytes: families.upstream_bytes.get_or_create_owned(&by_upstream),
            credentials_refused: families.credentials_refused.get_or_create_owned(&by_upstream),
            name: upstream(),
            accounts_refused: families.accounts_refused.clone(),
            connections: families.connections.get_or_create_owned(&by_upstream),
            waiting: families.waiting.get_or_create_owned(&by_upstream),
            withheld: families.withheld.get_or_create_owned(&by_upstream),
            limited: families.limited.get_or_create_owned(&by_upstream),
            pulls: Pulls {
                of: by_upstream,
                left: families.pulls_left.clone(),
                limit: families.pulls_limit.clone(),
            },
            endpoint_up: families.endpoint_up.clone(),
            mode: families.mode.clone(),
            offline: families.offline.get_or_create_owned(&ByUpstream { upstream: upstream() }),
        });
        Self { inner }
    }

    /// A request was answered, and was given what it asked for or not: `bytes` of body sent, the time until the first of them
    /// and until the last.
    pub fn request(&self, outcome: Outcome, given: bool, bytes: u64, first_byte: Duration, total: Duration) {
        let place = outcome as usize;
        self.inner.requests[place].inc();
        self.inner.bytes[place].inc_by(bytes);
        match (HITS.contains(&outcome), given) {
            (true, true) => {
                self.inner.saved.inc_by(bytes);
            }
            // An upstream that is not asked gives nothing of what is not here.
            (true, false) => {
                self.inner.empty_handed.inc();
            }
            (false, _) => {}
        }
        self.inner.first_byte.observe(&self.inner.name, outcome, first_byte);
        self.inner.total.observe(&self.inner.name, outcome, total);
    }

    /// What was counted so far.
    pub(super) fn counts(&self) -> Counts {
        let of = |outcomes: &[Outcome]| outcomes.iter().map(|o| self.inner.requests[*o as usize].get()).sum();
        let hits: u64 = of(&HITS);
        let hits = hits.saturating_sub(self.inner.empty_handed.get());
        Counts {
            requests: hits + of(&[Outcome::Miss, Outcome::Bypass]),
            hits,
            sent: self.inner.bytes.iter().map(Counter::get).sum(),
            fetched: self.inner.upstream_bytes.get(),
            saved: self.inner.saved.get(),
        }
    }

    /// Upstream had answered with the head of what it was asked for, after this time.
    pub fn upstream_latency(&self, took: Duration) {
        let of = || ByUpstream { upstream: self.inner.name.clone() };
        let histogram = self.inner.latency.get_or_init(|| self.inner.latencies.get_or_create_owned(&of()));
        histogram.observe(took.as_secs_f64());
    }

    /// Upstream gave no answer that could be used, for one of a fixed set of causes.
    pub fn upstream_failure(&self, cause: &'static str) {
        self.inner
            .failures
            .get_or_create(&ByUpstreamAndCause { upstream: self.inner.name.clone(), cause })
            .inc();
    }

    /// Upstream was asked. A refusal of our credentials is counted on its own as well, for an alarm to watch.
    pub fn upstream_request(&self, kind: Kind, result: UpstreamResult) {
        self.inner.upstream_requests[kind as usize][result as usize].inc();
        if result == UpstreamResult::RefusedUs {
            self.inner.credentials_refused.inc();
        }
    }

    /// There is an account of this name, which is one of few that the configuration gives: it is shown to be refused by
    /// no endpoint.
    pub fn account(&self, account: &str) {
        self.accounts_refused(account);
    }

    /// An endpoint refuses this account, until the guard is dropped.
    #[must_use]
    pub fn account_refused(&self, account: &str) -> Counted {
        Counted::new(self.accounts_refused(account))
    }

    fn accounts_refused(&self, account: &str) -> Gauge {
        let labels = ByUpstreamAndAccount { upstream: self.inner.name.clone(), account: account.to_owned() };
        self.inner.accounts_refused.get_or_create_owned(&labels)
    }

    /// Bytes of a body came from upstream.
    pub fn upstream_bytes(&self, bytes: u64) {
        self.inner.upstream_bytes.inc_by(bytes);
    }

    /// A connection is taken for a transfer of a blob, until the guard is dropped.
    #[must_use]
    pub fn connection(&self) -> Counted {
        Counted::new(self.inner.connections.clone())
    }

    /// A transfer of a blob waits for a connection, until the guard is dropped.
    #[must_use]
    pub fn waiting(&self) -> Counted {
        Counted::new(self.inner.waiting.clone())
    }

    /// A request was not sent, because upstream had told us to ask less.
    pub fn withheld(&self) {
        self.inner.withheld.inc();
    }

    /// For how long something is not asked, how many pulls are left, and of how many.
    pub fn limits(&self, limited: Duration, left: Option<u64>, limit: Option<u64>) {
        let inner = &self.inner;
        inner.limited.set(super::signed(limited.as_secs_f64().ceil() as u64));
        for (family, known) in [(&inner.pulls.left, left), (&inner.pulls.limit, limit)] {
            match known {
                Some(known) => {
                    family.get_or_create(&inner.pulls.of).set(super::signed(known));
                }
                None => {
                    family.remove(&inner.pulls.of);
                }
            }
        }
    }

    /// In which of these modes it is, and whether it is not asked at the moment.
    pub fn mode(&self, modes: &[(&'static str, bool)], offline: bool) {
        for &(mode, is_it) in modes {
            let labels = ByUpstreamAndMode { upstream: self.inner.name.clone(), mode };
            self.inner.mode.get_or_create(&labels).set(i64::from(is_it));
        }
        self.inner.offline.set(i64::from(offline));
    }

    /// Whether one of its endpoints is up. `endpoint` must come from the configuration: each new one stays for the life
    /// of the process.
    #[must_use]
    pub fn endpoint(&self, endpoint: &str) -> Up {
        let labels = ByEndpoint { upstream: self.inner.name.clone(), endpoint: endpoint.to_owned() };
        Up::new(self.inner.endpoint_up.get_or_create_owned(&labels))
    }
}
