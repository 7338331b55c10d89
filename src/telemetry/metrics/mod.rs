//! Counters, gauges and histograms, with a typed method for each thing that can happen.
//!
//! Series are made when an upstream is first named, with all their label values, so that a rate is zero before the first
//! event rather than absent. What happens a request is an atomic addition: handles are kept in [`UpstreamMetrics`], and
//! nothing is looked up by label. Gauges of things that run are moved by guards, and so come back to zero whatever
//! becomes of the task that held one.

mod clients;
mod guard;
mod labels;
mod process;
mod table;
mod text;
mod upstream;

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use super::Outcome;
use clients::ByReason;
pub use clients::{Handshake, Held, LoginResult, Refused, Watched, Way};
pub use guard::{Counted, FillGuard, ReaderGuard, Up};
use labels::{
    ByEndpoint, ByKind, ByKindAndReason, ByList, ByResult, ByUpstream, ByUpstreamAndAccount,
    ByUpstreamAndCause, ByUpstreamAndMode, ByUpstreamAndOutcome, ByUpstreamKindAndResult, ByVersion,
};
pub use labels::{FillResult, Kind, UpstreamResult};
use process::Process;
pub use table::{Described, LABELS, TABLE};
pub use text::TextFormat;
pub use upstream::{Counts, UpstreamMetrics};

/// All metrics of the process. Clones are handles to the same figures.
#[derive(Clone, Debug)]
pub struct Metrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// What every process has, under names without ours before them.
    general: Registry,
    process: Process,
    families: Families,
    upstreams: RwLock<HashMap<String, UpstreamMetrics>>,
    fills_running: Gauge,
    fills: [Counter; FillResult::ALL.len()],
    readers: Gauge,
    relays: Gauge,
    body_buffers: Gauge,
    store: Store,
    memory_used: Family<ByKind, Gauge>,
    memory_budget: Gauge,
    ahead: Ahead,
    clients: clients::Clients,
    log_dropped: Counter,
}

/// What [`UpstreamMetrics`] takes its handles from.
#[derive(Clone, Debug)]
struct Families {
    requests: Family<ByUpstreamAndOutcome, Counter>,
    bytes: Family<ByUpstreamAndOutcome, Counter>,
    saved: Family<ByUpstream, Counter>,
    first_byte: Times<ByUpstreamAndOutcome>,
    total: Times<ByUpstreamAndOutcome>,
    latency: Times<ByUpstream>,
    failures: Family<ByUpstreamAndCause, Counter>,
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

/// Times, with the buckets that their histograms are made with.
type Times<By> = Family<By, Histogram, fn() -> Histogram>;

#[derive(Debug, Default)]
struct Store {
    bytes: Family<ByKind, Gauge>,
    budget: Gauge,
    blobs: Gauge,
    manifests: Gauge,
    unfinished: Gauge,
    degraded: Gauge,
    writes_failing: Gauge,
    evictions: Family<ByKindAndReason, Counter>,
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
    warm_ended: Family<ByList, Gauge>,
    warm_waiting: Family<ByList, Gauge>,
    verify_images: Gauge,
    verify_incomplete: Gauge,
    verify_gaps: Family<ByReason, Gauge>,
    verify_ended: Gauge,
}

/// How a list of the configuration is that is brought in again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// How many of its images were not whole when upstream was last asked for them.
    pub incomplete: u64,
    /// When the last run ended, in seconds since 1970.
    pub ended: Option<u64>,
    /// Whether it waits for an upstream that cannot be asked.
    pub waits: bool,
}

/// The store's figures at a moment, as whoever watches it reads them off. Totals count from the start of the process.
#[derive(Clone, Copy, Debug, Default)]
pub struct StoreFigures<'a> {
    /// Bytes in use by kind, with what fills have reserved; kinds are a fixed set.
    pub bytes: &'a [(&'static str, u64)],
    /// The budget in bytes.
    pub budget: u64,
    /// Blobs stored.
    pub blobs: u64,
    /// Manifests stored.
    pub manifests: u64,
    /// Blobs of which a part is stored.
    pub unfinished: u64,
    /// Whether the store's index cannot be written. What is served does not depend on it; the next start takes longer.
    pub degraded: bool,
    /// Whether the disk does not take blobs and manifests, which are streamed past it.
    pub writes_failing: bool,
    /// What was evicted so far, by kind and reason, each a fixed set.
    pub evictions: &'a [(&'static str, &'static str, u64)],
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
        let (fills_running, fills, readers) = register_fills(&mut registry);
        let relays = Gauge::default();
        table::RELAYS_RUNNING.register(&mut registry, relays.clone());
        let store = register_store(&mut registry);
        let ahead = register_ahead(&mut registry);
        let clients = clients::Clients::register(&mut registry);
        let (body_buffers, memory_used, memory_budget) =
            (Gauge::default(), Family::default(), Gauge::default());
        table::BODY_BUFFERS.register(&mut registry, body_buffers.clone());
        table::MEMORY_USED.register(&mut registry, memory_used.clone());
        table::MEMORY_BUDGET.register(&mut registry, memory_budget.clone());
        let log_dropped = Counter::default();
        table::LOG_LINES_DROPPED.register(&mut registry, log_dropped.clone());
        let build: Family<ByVersion, Gauge> = Family::default();
        build.get_or_create(&ByVersion { version: env!("CARGO_PKG_VERSION") }).set(1);
        table::BUILD_INFO.register(&mut registry, build);
        let mut general = Registry::default();
        let process = Process::register(&mut general);
        Self {
            inner: Arc::new(Inner {
                registry,
                general,
                process,
                families,
                upstreams: RwLock::default(),
                fills_running,
                fills,
                readers,
                relays,
                body_buffers,
                store,
                memory_used,
                memory_budget,
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
                .or_insert_with(|| UpstreamMetrics::new(name, &self.inner.families))
                .clone()
        })
    }

    /// A request was answered, and was given what it asked for or not: `bytes` of body sent, the time until the first of them
    /// and until the last.
    pub fn request(
        &self,
        upstream: &str,
        outcome: Outcome,
        given: bool,
        bytes: u64,
        first_byte: Duration,
        total: Duration,
    ) {
        self.for_upstream(upstream).request(outcome, given, bytes, first_byte, total);
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

    /// A request waits for its turn, until the guard is dropped.
    #[must_use]
    pub fn client_waits(&self) -> Counted {
        Counted::new(self.inner.clients.waiting())
    }

    /// A connection was not taken.
    pub fn client_refused(&self, why: Refused) {
        self.inner.clients.refused(why);
    }

    /// Somebody is held back, because his address comes more often than it may.
    pub fn held_back(&self, held: Held) {
        self.inner.clients.held_back(held);
    }

    /// A login was compared.
    pub fn login(&self, result: LoginResult) {
        self.inner.clients.login(result);
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

    /// Whether the kernel sends files to clients without TLS.
    pub fn files_sent_by_kernel(&self, are: bool) {
        self.inner.clients.files_sent_by_kernel(are);
    }

    /// A transfer of a blob that is not stored runs, or stays for its readers, until the guard is dropped.
    #[must_use]
    pub fn relay(&self) -> Counted {
        Counted::new(self.inner.relays.clone())
    }

    /// Sets the store's figures to what they are now. Totals never go back.
    pub fn store(&self, now: &StoreFigures<'_>) {
        let store = &self.inner.store;
        set_by_kind(&store.bytes, now.bytes);
        store.budget.set(signed(now.budget));
        store.blobs.set(signed(now.blobs));
        store.manifests.set(signed(now.manifests));
        store.unfinished.set(signed(now.unfinished));
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
        for &(kind, reason, total) in now.evictions {
            let by = ByKindAndReason { kind, reason };
            store.evictions.get_or_create(&by).inner().fetch_max(total, Ordering::Relaxed);
        }
    }

    /// How a list of the configuration is. Before its first run has ended, what that is to come to is not there.
    pub fn warmed(&self, list: &str, now: &Warmed) {
        let (by, ahead) = (ByList { list: list.to_owned() }, &self.inner.ahead);
        ahead.warm_waiting.get_or_create(&by).set(i64::from(now.waits));
        if let Some(ended) = now.ended {
            ahead.warm_incomplete.get_or_create(&by).set(signed(now.incomplete));
            ahead.warm_ended.get_or_create(&by).set(signed(ended));
        }
    }

    /// The configuration has this list no more.
    pub fn unwarmed(&self, list: &str) {
        let (by, ahead) = (ByList { list: list.to_owned() }, &self.inner.ahead);
        for family in [&ahead.warm_incomplete, &ahead.warm_ended, &ahead.warm_waiting] {
            family.remove(&by);
        }
    }

    /// What the proof came to that is made again and again, at this many seconds after 1970. Of gaps there are so many for
    /// each reason.
    pub fn verified(&self, images: u64, incomplete: u64, gaps: &[(&'static str, u64)], ended: u64) {
        let ahead = &self.inner.ahead;
        for &(reason, gaps) in gaps {
            ahead.verify_gaps.get_or_create(&ByReason { reason }).set(signed(gaps));
        }
        ahead.verify_images.set(signed(images));
        ahead.verify_incomplete.set(signed(incomplete));
        ahead.verify_ended.set(signed(ended));
    }

    /// Sets how many bytes of each kind are kept in memory, and how many may be in all; kinds are a fixed set.
    pub fn memory(&self, used: &[(&'static str, u64)], budget: u64) {
        set_by_kind(&self.inner.memory_used, used);
        self.inner.memory_budget.set(signed(budget));
    }

    /// What was counted of each upstream so far; that of none in particular has no name.
    #[must_use]
    pub fn traffic(&self) -> Vec<(String, Counts)> {
        let upstreams = self.inner.upstreams.read().unwrap_or_else(PoisonError::into_inner);
        upstreams.iter().map(|(name, upstream)| (name.clone(), upstream.counts())).collect()
    }

    /// How many pulls an upstream last told to be left, and of how many.
    #[must_use]
    pub fn pulls(&self, upstream: &str) -> (Option<u64>, Option<u64>) {
        let of = ByUpstream { upstream: upstream.to_owned() };
        let families = &self.inner.families;
        let told = |family: &Family<ByUpstream, Gauge>| u64::try_from(family.get(&of)?.get()).ok();
        (told(&families.pulls_left), told(&families.pulls_limit))
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

    /// All of them as OpenMetrics; [`TextFormat`] makes other formats of it.
    #[must_use]
    pub fn encode(&self) -> String {
        self.inner.log_dropped.inner().fetch_max(super::log::dropped(), Ordering::Relaxed);
        self.inner.process.look();
        let mut text = String::new();
        let written = encode_registry(&mut text, &self.inner.registry)
            .and_then(|()| encode_registry(&mut text, &self.inner.general))
            .and_then(|()| encode_eof(&mut text));
        debug_assert!(written.is_ok(), "writing to a string does not fail");
        text
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn set_by_kind(family: &Family<ByKind, Gauge>, figures: &[(&'static str, u64)]) {
    for &(kind, figure) in figures {
        family.get_or_create(&ByKind { kind }).set(signed(figure));
    }
}

fn signed(figure: u64) -> i64 {
    i64::try_from(figure).unwrap_or(i64::MAX)
}

fn register_families(registry: &mut Registry) -> Families {
    let families = Families {
        requests: Family::default(),
        bytes: Family::default(),
        saved: Family::default(),
        first_byte: Family::new_with_constructor(first_byte_histogram),
        total: Family::new_with_constructor(total_histogram),
        latency: Family::new_with_constructor(first_byte_histogram),
        failures: Family::default(),
        upstream_requests: Family::default(),
        upstream_bytes: Family::default(),
        credentials_refused: Family::default(),
        accounts_refused: Family::default(),
        connections: Family::default(),
        waiting: Family::default(),
        withheld: Family::default(),
        limited: Family::default(),
        pulls_left: Family::default(),
        pulls_limit: Family::default(),
        endpoint_up: Family::default(),
        mode: Family::default(),
        offline: Family::default(),
    };
    table::REQUESTS.register(registry, families.requests.clone());
    table::RESPONSE.register(registry, families.bytes.clone());
    table::SAVED.register(registry, families.saved.clone());
    table::FIRST_BYTE.register(registry, families.first_byte.clone());
    table::REQUEST_DURATION.register(registry, families.total.clone());
    table::UPSTREAM_REQUESTS.register(registry, families.upstream_requests.clone());
    table::UPSTREAM.register(registry, families.upstream_bytes.clone());
    table::UPSTREAM_LATENCY.register(registry, families.latency.clone());
    table::UPSTREAM_FAILURES.register(registry, families.failures.clone());
    table::UPSTREAM_CREDENTIALS_REFUSED.register(registry, families.credentials_refused.clone());
    table::UPSTREAM_ACCOUNTS_REFUSED.register(registry, families.accounts_refused.clone());
    table::UPSTREAM_CONNECTIONS.register(registry, families.connections.clone());
    table::UPSTREAM_WAITING.register(registry, families.waiting.clone());
    table::UPSTREAM_WITHHELD.register(registry, families.withheld.clone());
    table::UPSTREAM_LIMITED.register(registry, families.limited.clone());
    table::UPSTREAM_PULLS_LEFT.register(registry, families.pulls_left.clone());
    table::UPSTREAM_PULLS_LIMIT.register(registry, families.pulls_limit.clone());
    table::UPSTREAM_ENDPOINT_UP.register(registry, families.endpoint_up.clone());
    table::UPSTREAM_MODE.register(registry, families.mode.clone());
    table::UPSTREAM_OFFLINE.register(registry, families.offline.clone());
    families
}

fn register_fills(registry: &mut Registry) -> (Gauge, [Counter; FillResult::ALL.len()], Gauge) {
    let running = Gauge::default();
    let readers = Gauge::default();
    let ended: Family<ByResult, Counter> = Family::default();
    table::FILLS_RUNNING.register(registry, running.clone());
    table::FILLS.register(registry, ended.clone());
    table::READERS.register(registry, readers.clone());
    let ended =
        FillResult::ALL.map(|result| ended.get_or_create_owned(&ByResult { result: result.as_str() }));
    (running, ended, readers)
}

fn register_store(registry: &mut Registry) -> Store {
    let store = Store::default();
    table::STORE_USED.register(registry, store.bytes.clone());
    table::STORE_BUDGET.register(registry, store.budget.clone());
    table::STORE_BLOBS.register(registry, store.blobs.clone());
    table::STORE_MANIFESTS.register(registry, store.manifests.clone());
    table::STORE_UNFINISHED.register(registry, store.unfinished.clone());
    table::STORE_DEGRADED.register(registry, store.degraded.clone());
    table::STORE_WRITES_FAILING.register(registry, store.writes_failing.clone());
    table::STORE_EVICTIONS.register(registry, store.evictions.clone());
    table::STORE_QUARANTINED.register(registry, store.quarantined.clone());
    table::STORE_SCRUBBED.register(registry, store.scrubbed.clone());
    table::STORE_SCRUB_CORRUPT.register(registry, store.scrub_corrupt.clone());
    table::STORE_PINS.register(registry, store.pins.clone());
    table::STORE_PINNED.register(registry, store.pinned.clone());
    table::STORE_PINS_LOST.register(registry, store.pins_lost.clone());
    store
}

fn register_ahead(registry: &mut Registry) -> Ahead {
    let ahead = Ahead::default();
    table::WARM_INCOMPLETE.register(registry, ahead.warm_incomplete.clone());
    table::WARM_ENDED.register(registry, ahead.warm_ended.clone());
    table::WARM_WAITING.register(registry, ahead.warm_waiting.clone());
    table::VERIFY_IMAGES.register(registry, ahead.verify_images.clone());
    table::VERIFY_INCOMPLETE.register(registry, ahead.verify_incomplete.clone());
    table::VERIFY_GAPS.register(registry, ahead.verify_gaps.clone());
    table::VERIFY_ENDED.register(registry, ahead.verify_ended.clone());
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
