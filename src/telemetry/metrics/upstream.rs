//! The figures of one upstream, with their handles at hand.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;

use super::guard::{Counted, Up};
use super::labels::{
    ByEndpoint, ByUpstream, ByUpstreamAndAccount, ByUpstreamAndMode, ByUpstreamAndOutcome,
    ByUpstreamKindAndResult,
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
    times: Times,
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

/// What is there only while it is known.
#[derive(Debug)]
struct Pulls {
    of: ByUpstream,
    left: Family<ByUpstream, Gauge>,
    limit: Family<ByUpstream, Gauge>,
}

impl UpstreamMetrics {
    pub(super) fn new(name: &str, families: &Families, times: &Times) -> Self {
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
            times: times.clone(),
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

    /// A request was answered: `bytes` of body sent, the time until the first of them and until the last.
    pub fn request(&self, outcome: Outcome, bytes: u64, first_byte: Duration, total: Duration) {
        let place = outcome as usize;
        self.inner.requests[place].inc();
        self.inner.bytes[place].inc_by(bytes);
        self.inner.times.first_byte[place].observe(first_byte.as_secs_f64());
        self.inner.times.total[place].observe(total.as_secs_f64());
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
