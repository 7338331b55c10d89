//! Counters, gauges and histograms, with a typed method for each thing that can happen.
//!
//! Series are made when an upstream is first named, with all their label values, so that a rate is zero before the first
//! event rather than absent. What happens a request is an atomic addition: handles are kept in [`UpstreamMetrics`], and
//! nothing is looked up by label. Gauges of things that run are moved by guards, and so come back to zero whatever
//! becomes of the task that held one.

mod clients;
mod guard;
mod labels;
mod upstream;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::Outcome;
pub use clients::{Handshake, Watched, Way};
pub use guard::{Counted, FillGuard, ReaderGuard, Up};
use labels::{
    ByEndpoint, ByList, ByOutcome, ByReason, ByResult, ByUpstream, ByUpstreamAndAccount, ByUpstreamAndMode,
    ByUpstreamAndOutcome, ByUpstreamKindAndResult,
};
pub use labels::{FillResult, Kind, UpstreamResult};
pub use upstream::UpstreamMetrics;

/// The `Content-Type` of what [`Metrics::encode`] gives.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of the process. Clones are handles to the same figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    families: Families,
    upstreams: RwLock<HashMap<String, UpstreamMetrics>>,
    times: Times,
    fills_running: Gauge,
    fills: [Counter; FillResult::ALL.len()],
    readers: Gauge,
    relays: Gauge,
    body_buffers: Gauge,
    store: Store,
    ahead: Ahead,
    clients: clients::Clients,
    log_dropped: Counter,
}

/// What [`UpstreamMetrics`] takes its handles from.
#[derive(Clone, Debug, Default)]
struct Families {
    requests: Family<ByUpstreamAndOutcome, Counter>,
    bytes: Family<ByUpstreamAndOutcome, Counter>,
    upstream_requests: Family<ByUpstreamKindAndResult, Counter>,
    upstream_bytes: Family<ByUpstream, Counter>,
    credentials_refused: Family<ByUpstream, Counter>,
    accounts_refused: Family<ByUpstreamAndAccount, Gauge>,
    connections: Family<ByUpstream, Gauge>,
    waiting: Family<ByUpstream, Gauge>,
    withheld: Family<ByUpstream, Counter>,
    limited: Family<ByUpstream, Gauge>,
    pulls_left: Family<ByUpstream, Gauge>,
    pulls_limit: Family<ByUpstream, Gauge>,
    endpoint_up: Family<ByEndpoint, Gauge>,
    mode: Family<ByUpstreamAndMode, Gauge>,
    offline: Family<ByUpstream, Gauge>,
}

/// Times by outcome; the index is the outcome's place in [`Outcome::ALL`].
#[derive(Clone, Debug)]
struct Times {
    first_byte: [Histogram; Outcome::ALL.len()],
    total: [Histogram; Outcome::ALL.len()],
}

#[derive(Debug, Default)]
struct Store {
    bytes: Gauge,
    budget: Gauge,
    blobs: Gauge,
    manifests: Gauge,
    degraded: Gauge,
    writes_failing: Gauge,
    evictions: Family<ByReason, Counter>,
    quarantined: Counter,
    scrubbed: Counter,
    scrub_corrupt: Counter,
    pins: Gauge,
    pinned: Gauge,
    pins_lost: Gauge,
}

/// What is known of an outage beforehand.
#[derive(Debug, Default)]
struct Ahead {
    warm_incomplete: Family<ByList, Gauge>,
    verify_images: Gauge,
    verify_incomplete: Gauge,
    verify_ended: Gauge,
}

/// The store's figures at a moment, as whoever watches it reads them off. Totals count from the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFigures<'a> {
    /// Bytes in use, with what fills have reserved.
    pub bytes: u64,
    /// The budget in bytes.
    pub budget: u64,
    /// Blobs stored.
    pub blobs: u64,
    /// Manifests stored.
    pub manifests: u64,
    /// Whether the store's index cannot be written. What is served does not depend on it; the next start takes longer.
    pub degraded: bool,
    /// Whether the disk does not take blobs and manifests, which are streamed past it.
    pub writes_failing: bool,
    /// Blobs evicted so far, by reason; reasons are a fixed set.
    pub evictions: &'a [(&'static str, u64)],
    /// Files put aside so far because they could not be read, or were not what their name says.
    pub quarantined: u64,
    /// Bytes read again so far, to see whether they are still right.
    pub scrubbed: u64,
    /// Files that were not.
    pub scrub_corrupt: u64,
    /// Tags and digests that are pinned.
    pub pins: u64,
    /// Bytes that they take, or would if all of them were here.
    pub pinned: u64,
    /// Whether it is not known any more what was pinned.
    pub pins_lost: bool,
}

impl Metrics {
    /// Metrics with everything at zero.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("roadstead");
        let families = register_families(&mut registry);
        let times = register_times(&mut registry);
        let (fills_running, fills, readers) = register_fills(&mut registry);
        let relays = register_relays(&mut registry);
        let store = register_store(&mut registry);
        let ahead = register_ahead(&mut registry);
        let clients = clients::Clients::register(&mut registry);
        let body_buffers = Gauge::default();
        registry.register_with_unit(
            "body_buffers",
            "Bytes of stored blobs that are in memory now, on their way to clients",
            Unit::Bytes,
            body_buffers.clone(),
        );
        let log_dropped = Counter::default();
        registry.register(
            "log_lines_dropped",
            "Lines of the log that standard error did not take in time",
            log_dropped.clone(),
        );
        let upstreams = RwLock::default();
        Self {
            inner: Arc::new(Inner {
                registry,
                families,
                upstreams,
                times,
                fills_running,
                fills,
                readers,
                relays,
                body_buffers,
                store,
                ahead,
                clients,
                log_dropped,
            }),
        }
    }

    /// The handles of one upstream. `name` must come from the configuration, or be empty for requests that belong to
    /// no upstream: each new name stays for the life of the process.
    #[must_use]
    pub fn for_upstream(&self, name: &str) -> UpstreamMetrics {
        let known = self.inner.upstreams.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        known.unwrap_or_else(|| {
            let mut upstreams = self.inner.upstreams.write().unwrap_or_else(PoisonError::into_inner);
            upstreams
                .entry(name.to_owned())
                .or_insert_with(|| UpstreamMetrics::new(name, &self.inner.families, &self.inner.times))
                .clone()
        })
    }

    /// A request was answered: `bytes` of body sent, the time until the first of them and until the last.
    pub fn request(
        &self,
        upstream: &str,
        outcome: Outcome,
        bytes: u64,
        first_byte: Duration,
        total: Duration,
    ) {
        self.for_upstream(upstream).request(outcome, bytes, first_byte, total);
    }

    /// Upstream was asked.
    pub fn upstream_request(&self, upstream: &str, kind: Kind, result: UpstreamResult) {
        self.for_upstream(upstream).upstream_request(kind, result);
    }

    /// A fill runs until the guard is told how it ended; a guard that is merely dropped counts as failed.
    #[must_use]
    pub fn fill(&self) -> FillGuard {
        FillGuard::new(self.inner.fills_running.clone(), self.inner.fills.clone())
    }

    /// A body is being sent, until the guard is dropped.
    #[must_use]
    pub fn reader(&self) -> ReaderGuard {
        ReaderGuard::new(self.inner.readers.clone())
    }

    /// A client is connected, until the guard is dropped.
    #[must_use]
    pub fn client_connection(&self, way: Way) -> Counted {
        Counted::new(self.inner.clients.connections(way))
    }

    /// TLS was to be agreed on with a client.
    pub fn handshake(&self, result: Handshake) {
        self.inner.clients.handshake(result);
    }

    /// The first of the certificates that clients are shown ends at this many seconds after 1970.
    pub fn certificate_ends(&self, seconds: u64) {
        self.inner.clients.certificate_ends(signed(seconds));
    }

    /// Whether files that have changed cannot be used.
    pub fn files_refused(&self, files: Watched, refused: bool) {
        self.inner.clients.files_refused(files, refused);
    }

    /// A transfer of a blob that is not stored runs, or stays for its readers, until the guard is dropped.
    #[must_use]
    pub fn relay(&self) -> Counted {
        Counted::new(self.inner.relays.clone())
    }

    /// Sets the store's figures to what they are now. Totals never go back.
    pub fn store(&self, now: &StoreFigures<'_>) {
        let store = &self.inner.store;
        store.bytes.set(signed(now.bytes));
        store.budget.set(signed(now.budget));
        store.blobs.set(signed(now.blobs));
        store.manifests.set(signed(now.manifests));
        store.degraded.set(i64::from(now.degraded));
        store.writes_failing.set(i64::from(now.writes_failing));
        store.pins.set(signed(now.pins));
        store.pinned.set(signed(now.pinned));
        store.pins_lost.set(i64::from(now.pins_lost));
        let totals = [
            (&store.quarantined, now.quarantined),
            (&store.scrubbed, now.scrubbed),
            (&store.scrub_corrupt, now.scrub_corrupt),
        ];
        for (total, now) in totals {
            total.inner().fetch_max(now, Ordering::Relaxed);
        }
        for &(reason, total) in now.evictions {
            store.evictions.get_or_create(&ByReason { reason }).inner().fetch_max(total, Ordering::Relaxed);
        }
    }

    /// So many images of a list of the configuration were not brought in whole the last time.
    pub fn warmed(&self, list: &str, incomplete: u64) {
        let by = ByList { list: list.to_owned() };
        self.inner.ahead.warm_incomplete.get_or_create(&by).set(signed(incomplete));
    }

    /// The configuration has this list no more.
    pub fn unwarmed(&self, list: &str) {
        self.inner.ahead.warm_incomplete.remove(&ByList { list: list.to_owned() });
    }

    /// What the proof came to that is made again and again, at this many seconds after 1970.
    pub fn verified(&self, images: u64, incomplete: u64, ended: u64) {
        let ahead = &self.inner.ahead;
        ahead.verify_images.set(signed(images));
        ahead.verify_incomplete.set(signed(incomplete));
        ahead.verify_ended.set(signed(ended));
    }

    /// Sets how many bytes of bodies are in memory now.
    pub fn body_buffers(&self, bytes: u64) {
        self.inner.body_buffers.set(signed(bytes));
    }

    /// How many fills run now.
    #[must_use]
    pub fn fills_running(&self) -> i64 {
        self.inner.fills_running.get()
    }

    /// How many bodies are being sent now.
    #[must_use]
    pub fn readers(&self) -> i64 {
        self.inner.readers.get()
    }

    /// The text that is served under [`CONTENT_TYPE`].
    #[must_use]
    pub fn encode(&self) -> String {
        self.inner.log_dropped.inner().fetch_max(super::log::dropped(), Ordering::Relaxed);
        let mut text = String::new();
        let written = prometheus_client::encoding::text::encode(&mut text, &self.inner.registry);
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

fn register_families(registry: &mut Registry) -> Families {
    let families = Families::default();
    registry.register("requests", "Requests answered, by upstream and outcome", families.requests.clone());
    registry.register_with_unit(
        "response",
        "Bytes of bodies sent to clients, by upstream and outcome",
        Unit::Bytes,
        families.bytes.clone(),
    );
    registry.register(
        "upstream_requests",
        "Requests sent to upstreams, by what was asked and what came of it",
        families.upstream_requests.clone(),
    );
    registry.register_with_unit(
        "upstream",
        "Bytes of bodies received from upstreams",
        Unit::Bytes,
        families.upstream_bytes.clone(),
    );
    registry.register(
        "upstream_credentials_refused",
        "Times an upstream refused the configured credentials, or us without any",
        families.credentials_refused.clone(),
    );
    registry.register(
        "upstream_accounts_refused",
        "Endpoints of an upstream that refuse an account now, by the repositories that the account is for",
        families.accounts_refused.clone(),
    );
    registry.register(
        "upstream_connections",
        "Connections to upstreams that are taken for transfers of blobs now",
        families.connections.clone(),
    );
    registry.register(
        "upstream_waiting",
        "Transfers of blobs that wait for a connection to be free",
        families.waiting.clone(),
    );
    registry.register(
        "upstream_withheld",
        "Requests that were not sent to upstreams because they had told us to ask less",
        families.withheld.clone(),
    );
    registry.register_with_unit(
        "upstream_limited",
        "For how long something is not asked of an upstream because it told us to ask less; 0: it may be asked everything",
        Unit::Seconds,
        families.limited.clone(),
    );
    registry.register(
        "upstream_pulls_left",
        "Pulls that are left, by what the upstream last told; none: it has told nothing",
        families.pulls_left.clone(),
    );
    registry.register(
        "upstream_pulls_limit",
        "Pulls that the upstream grants in a window; none: it has told nothing",
        families.pulls_limit.clone(),
    );
    registry.register(
        "upstream_endpoint_up",
        "Whether an endpoint is asked (1), or is left alone because it did not answer (0)",
        families.endpoint_up.clone(),
    );
    registry.register(
        "upstream_mode",
        "In which mode an upstream is (1), by the configuration or by a switch",
        families.mode.clone(),
    );
    registry.register(
        "upstream_offline",
        "Whether an upstream is not asked (1), by its mode or because it does not answer in mode auto",
        families.offline.clone(),
    );
    families
}

fn register_times(registry: &mut Registry) -> Times {
    let first_byte = Family::new_with_constructor(first_byte_histogram as fn() -> Histogram);
    let total = Family::new_with_constructor(total_histogram as fn() -> Histogram);
    registry.register_with_unit(
        "first_byte",
        "Time from a request's head to the first byte of the answer's body, by outcome",
        Unit::Seconds,
        first_byte.clone(),
    );
    registry.register_with_unit(
        "request_duration",
        "Time from a request's head to the last byte of the answer, by outcome",
        Unit::Seconds,
        total.clone(),
    );
    let by = |family: &Family<ByOutcome, Histogram, fn() -> Histogram>| {
        Outcome::ALL.map(|outcome| family.get_or_create_owned(&ByOutcome { outcome: outcome.as_str() }))
    };
    Times { first_byte: by(&first_byte), total: by(&total) }
}

fn register_fills(registry: &mut Registry) -> (Gauge, [Counter; FillResult::ALL.len()], Gauge) {
    let running = Gauge::default();
    let readers = Gauge::default();
    let ended: Family<ByResult, Counter> = Family::default();
    registry.register("fills_running", "Transfers of blobs from upstream that run now", running.clone());
    registry.register("fills", "Transfers of blobs from upstream that ended, by result", ended.clone());
    registry.register("readers", "Bodies that are being sent to clients now", readers.clone());
    let ended =
        FillResult::ALL.map(|result| ended.get_or_create_owned(&ByResult { result: result.as_str() }));
    (running, ended, readers)
}

fn register_relays(registry: &mut Registry) -> Gauge {
    let relays = Gauge::default();
    registry.register(
        "relays_running",
        "Transfers of blobs that are not stored, each for all who read nearby",
        relays.clone(),
    );
    relays
}

fn register_store(registry: &mut Registry) -> Store {
    let store = Store::default();
    let bytes = Unit::Bytes;
    registry.register_with_unit(
        "store_used",
        "Bytes in use, with what is reserved",
        bytes,
        store.bytes.clone(),
    );
    registry.register_with_unit(
        "store_budget",
        "Bytes that may be in use",
        Unit::Bytes,
        store.budget.clone(),
    );
    registry.register("store_blobs", "Blobs stored", store.blobs.clone());
    registry.register("store_manifests", "Manifests stored", store.manifests.clone());
    registry.register(
        "store_degraded",
        "1 while the index of the store cannot be written; what is served does not depend on it",
        store.degraded.clone(),
    );
    registry.register(
        "store_writes_failing",
        "1 while the disk does not take what is to be stored; it is streamed past the store",
        store.writes_failing.clone(),
    );
    registry.register("store_evictions", "Blobs evicted, by reason", store.evictions.clone());
    registry.register(
        "store_quarantined",
        "Files put aside because they could not be trusted",
        store.quarantined.clone(),
    );
    registry.register_with_unit(
        "store_scrubbed",
        "Bytes read again in the background, to see whether they are still right",
        Unit::Bytes,
        store.scrubbed.clone(),
    );
    registry.register(
        "store_scrub_corrupt",
        "Files that were found not to be what their name says when they were read again",
        store.scrub_corrupt.clone(),
    );
    registry.register("store_pins", "Tags and digests that are pinned", store.pins.clone());
    registry.register_with_unit(
        "store_pinned",
        "Bytes of what is pinned, here or known to be missing; above the budget not all of it can be kept",
        Unit::Bytes,
        store.pinned.clone(),
    );
    registry.register(
        "store_pins_lost",
        "1 when the file that says what is pinned could not be read at the start",
        store.pins_lost.clone(),
    );
    store
}

fn register_ahead(registry: &mut Registry) -> Ahead {
    let ahead = Ahead::default();
    registry.register(
        "warm_incomplete",
        "Images of a list of the configuration that were not brought in whole the last time",
        ahead.warm_incomplete.clone(),
    );
    registry.register("verify_images", "Images that the last proof looked at", ahead.verify_images.clone());
    registry.register(
        "verify_incomplete",
        "Images that could not be pulled from here, whole, were upstream gone, by the last proof",
        ahead.verify_incomplete.clone(),
    );
    registry.register_with_unit(
        "verify_ended",
        "When the last proof ended, since 1970; 0 before the first",
        Unit::Seconds,
        ahead.verify_ended.clone(),
    );
    ahead
}

fn first_byte_histogram() -> Histogram {
    Histogram::new(FIRST_BYTE_SECONDS)
}

fn total_histogram() -> Histogram {
    Histogram::new(TOTAL_SECONDS)
}

const FIRST_BYTE_SECONDS: [f64; 15] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0];
const TOTAL_SECONDS: [f64; 15] =
    [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0];

#[cfg(test)]
mod tests;
