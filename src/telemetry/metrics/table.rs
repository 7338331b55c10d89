//! Every metric: its name, unit, labels, and what it is. What is registered, and `docs/metrics.md`, are made of this.

use prometheus_client::registry::{Metric, Registry, Unit};

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Described {
    /// Without `roadstead_`, unit and `_total`.
    name: &'static str,
    kind: MetricKind,
    unit: Option<MetricUnit>,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it is, as a sentence without its end.
    pub what: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricKind {
    Counter,
    Gauge,
    Histogram,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MetricUnit {
    Bytes,
    Seconds,
}

impl Described {
    /// The name by which it is asked for: `roadstead_requests_total`. That of a histogram has `_bucket`, `_sum` and
    /// `_count` behind it.
    #[must_use]
    pub fn full_name(&self) -> String {
        // What every process has is named as everywhere.
        let prefix = if self.name.starts_with("process_") { "" } else { "roadstead_" };
        let unit = match self.unit {
            Some(MetricUnit::Bytes) => "_bytes",
            Some(MetricUnit::Seconds) => "_seconds",
            None => "",
        };
        let total = if self.kind == MetricKind::Counter { "_total" } else { "" };
        format!("{prefix}{}{unit}{total}", self.name)
    }

    /// `counter`, `gauge` or `histogram`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }

    pub(super) fn register(&self, registry: &mut Registry, metric: impl Metric) {
        match self.unit {
            Some(MetricUnit::Bytes) => registry.register_with_unit(self.name, self.what, Unit::Bytes, metric),
            Some(MetricUnit::Seconds) => {
                registry.register_with_unit(self.name, self.what, Unit::Seconds, metric)
            }
            None => registry.register(self.name, self.what, metric),
        }
    }

    const fn bytes(self) -> Self {
        Self { unit: Some(MetricUnit::Bytes), ..self }
    }

    const fn seconds(self) -> Self {
        Self { unit: Some(MetricUnit::Seconds), ..self }
    }

    const fn by(self, labels: &'static [&'static str]) -> Self {
        Self { labels, ..self }
    }
}

const fn counter(name: &'static str, what: &'static str) -> Described {
    Described { name, kind: MetricKind::Counter, unit: None, labels: &[], what }
}

const fn gauge(name: &'static str, what: &'static str) -> Described {
    Described { name, kind: MetricKind::Gauge, unit: None, labels: &[], what }
}

const fn histogram(name: &'static str, what: &'static str) -> Described {
    Described { name, kind: MetricKind::Histogram, unit: Some(MetricUnit::Seconds), labels: &[], what }
}

/// Declares the metrics, and the table of all of them, in one order.
macro_rules! metrics {
    ($($name:ident = $described:expr;)*) => {
        $(pub(super) const $name: Described = $described;)*
        /// All of them.
        pub const TABLE: &[Described] = &[$($name),*];
    };
}

metrics! {
    REQUESTS = counter("requests", "Requests answered").by(&["upstream", "outcome"]);
    RESPONSE = counter("response", "Bytes of bodies sent to clients").bytes().by(&["upstream", "outcome"]);
    SAVED = counter("saved", "Bytes of bodies sent to clients for which nothing had to be fetched").bytes().by(&["upstream"]);
    FIRST_BYTE = histogram("first_byte", "Time from a request's head to the first byte of the answer's body")
        .by(&["upstream", "outcome"]);
    REQUEST_DURATION = histogram("request_duration", "Time from a request's head to the last byte of the answer")
        .by(&["upstream", "outcome"]);
    READERS = gauge("readers", "Bodies that are being sent to clients now");
    BODY_BUFFERS = gauge("body_buffers", "Bytes of stored blobs that are in memory now, on their way to clients").bytes();
    CLIENT_CONNECTIONS = gauge("client_connections", "Connections of clients now, by the way they come").by(&["way"]);
    CLIENT_REQUESTS_WAITING = gauge(
        "client_requests_waiting",
        "Requests that wait: for others to end, because as many as may be answered at a time are, or because their address asks more often than it may",
    );
    CLIENT_CONNECTIONS_REFUSED = counter(
        "client_connections_refused",
        "Connections of clients that were not taken, by where they came from (`network`), how many there were (`all`, `address`) or how often their address came (`rate`)",
    ).by(&["reason"]);
    CLIENT_HELD_BACK = counter(
        "client_held_back",
        "New connections and requests that were held back for a while, because their address came more often than it may",
    ).by(&["what"]);
    LOGINS = counter(
        "logins",
        "Users and passwords that were compared, by what came of it; those that are known are not compared again",
    ).by(&["result"]);
    TLS_HANDSHAKES = counter("tls_handshakes", "Times TLS was to be agreed on with a client, by what came of it")
        .by(&["result"]);
    TLS_CERTIFICATE_ENDS = gauge(
        "tls_certificate_ends",
        "When the first of the certificates ends that clients are shown, since 1970; 0: there is none",
    ).seconds();
    FILES_SENT_BY_KERNEL = gauge(
        "files_sent_by_kernel",
        "1 while the kernel sends files to clients without TLS, 0 while they are copied",
    );
    FILES_REFUSED = gauge(
        "files_refused",
        "1 while files have changed and cannot be used, so that what was in them before is in use",
    ).by(&["files"]);
    UPSTREAM_REQUESTS = counter("upstream_requests", "Requests sent to upstreams, by what was asked and what came of it")
        .by(&["upstream", "kind", "result"]);
    UPSTREAM = counter("upstream", "Bytes of bodies received from upstreams").bytes().by(&["upstream"]);
    UPSTREAM_LATENCY = histogram("upstream_latency", "Time until an upstream had answered with the head of what it was asked for")
        .by(&["upstream"]);
    UPSTREAM_FAILURES = counter("upstream_failures", "Requests to which an upstream gave no answer that could be used, by why")
        .by(&["upstream", "cause"]);
    UPSTREAM_CREDENTIALS_REFUSED = counter(
        "upstream_credentials_refused",
        "Times an upstream refused the configured credentials, or us without any",
    ).by(&["upstream"]);
    UPSTREAM_ACCOUNTS_REFUSED = gauge(
        "upstream_accounts_refused",
        "Endpoints of an upstream that refuse an account now, by the repositories that the account is for",
    ).by(&["upstream", "account"]);
    UPSTREAM_CONNECTIONS = gauge("upstream_connections", "Connections to upstreams that are taken for transfers of blobs now")
        .by(&["upstream"]);
    UPSTREAM_WAITING = gauge("upstream_waiting", "Transfers of blobs that wait for a connection to be free").by(&["upstream"]);
    UPSTREAM_WITHHELD = counter(
        "upstream_withheld",
        "Requests that were not sent to upstreams because they had told us to ask less",
    ).by(&["upstream"]);
    UPSTREAM_LIMITED = gauge(
        "upstream_limited",
        "For how long something is not asked of an upstream because it told us to ask less; 0: it may be asked everything",
    ).seconds().by(&["upstream"]);
    UPSTREAM_PULLS_LEFT = gauge(
        "upstream_pulls_left",
        "Pulls that are left, by what the upstream last told; none: it has told nothing",
    ).by(&["upstream"]);
    UPSTREAM_PULLS_LIMIT = gauge(
        "upstream_pulls_limit",
        "Pulls that the upstream grants in a window; none: it has told nothing",
    ).by(&["upstream"]);
    UPSTREAM_ENDPOINT_UP = gauge(
        "upstream_endpoint_up",
        "Whether an endpoint is asked (1), or is left alone because it did not answer (0)",
    ).by(&["upstream", "endpoint"]);
    UPSTREAM_MODE = gauge("upstream_mode", "In which mode an upstream is (1), by the configuration or by a switch")
        .by(&["upstream", "mode"]);
    UPSTREAM_OFFLINE = gauge(
        "upstream_offline",
        "Whether an upstream is not asked (1), by its mode or because it does not answer in mode auto",
    ).by(&["upstream"]);
    FILLS_RUNNING = gauge("fills_running", "Transfers of blobs from upstream that run now");
    FILLS = counter("fills", "Transfers of blobs from upstream that ended").by(&["result"]);
    RELAYS_RUNNING = gauge("relays_running", "Transfers of blobs that are not stored, each for all who read nearby");
    STORE_USED = gauge("store_used", "Bytes in use, with what is reserved, by what they are").bytes().by(&["kind"]);
    STORE_BUDGET = gauge("store_budget", "Bytes that may be in use").bytes();
    STORE_BLOBS = gauge("store_blobs", "Blobs stored");
    STORE_MANIFESTS = gauge("store_manifests", "Manifests stored");
    STORE_UNFINISHED = gauge("store_unfinished", "Blobs of which a part is stored");
    STORE_DEGRADED = gauge(
        "store_degraded",
        "1 while the index of the store cannot be written; what is served does not depend on it",
    );
    STORE_WRITES_FAILING = gauge(
        "store_writes_failing",
        "1 while the disk does not take what is to be stored; it is streamed past the store",
    );
    STORE_EVICTIONS = counter("store_evictions", "What had to go, by what it was and why").by(&["kind", "reason"]);
    STORE_QUARANTINED = counter("store_quarantined", "Files put aside because they could not be trusted");
    STORE_SCRUBBED = counter("store_scrubbed", "Bytes read again in the background, to see whether they are still right").bytes();
    STORE_SCRUB_CORRUPT = counter(
        "store_scrub_corrupt",
        "Files that were found not to be what their name says when they were read again",
    );
    STORE_PINS = gauge("store_pins", "Tags and digests that are pinned");
    STORE_PINNED = gauge(
        "store_pinned",
        "Bytes of what is pinned, here or known to be missing; above the budget not all of it can be kept",
    ).bytes();
    STORE_PINS_LOST = gauge("store_pins_lost", "1 when the file that says what is pinned could not be read at the start");
    MEMORY_USED = gauge("memory_used", "Bytes of manifests and small blobs that are kept in memory").bytes().by(&["kind"]);
    MEMORY_BUDGET = gauge("memory_budget", "Bytes that they may take").bytes();
    WARM_INCOMPLETE = gauge(
        "warm_incomplete",
        "Images of a list of the configuration that were not whole when upstream was last asked for them",
    ).by(&["list"]);
    WARM_ENDED = gauge("warm_ended", "When a list of the configuration was last brought in, since 1970").seconds().by(&["list"]);
    WARM_WAITING = gauge(
        "warm_waiting",
        "Whether a list of the configuration waits (1) for an upstream that cannot be asked; what is said of it is of before",
    ).by(&["list"]);
    VERIFY_IMAGES = gauge("verify_images", "Images that the last proof looked at");
    VERIFY_INCOMPLETE = gauge(
        "verify_incomplete",
        "Images that could not be pulled from here, whole, were upstream gone, by the last proof",
    );
    VERIFY_GAPS = gauge(
        "verify_gaps",
        "What images that could not be pulled lack, by the last proof, each as often as an image lacks it",
    ).by(&["reason"]);
    VERIFY_ENDED = gauge("verify_ended", "When the last proof ended, since 1970; 0 before the first").seconds();
    LOG_LINES_DROPPED = counter("log_lines_dropped", "Lines of the log that standard error did not take in time");
    BUILD_INFO = gauge("build_info", "1; its label says which version this is").by(&["version"]);
    PROCESS_START_TIME = gauge("process_start_time", "When the process started, since 1970").seconds();
    PROCESS_CPU = counter("process_cpu", "Processor time that the process has used").seconds();
    PROCESS_RESIDENT_MEMORY = gauge("process_resident_memory", "Memory that the process has, as the system counts it").bytes();
    PROCESS_OPEN_FDS = gauge("process_open_fds", "Files and sockets that are open");
    PROCESS_MAX_FDS = gauge("process_max_fds", "Files and sockets that may be open");
    PROCESS_THREADS = gauge("process_threads", "Threads of the process");
}

/// Where the values of each label come from: what bounds how many series there are.
pub const LABELS: &[(&str, &str)] = &[
    ("upstream", "the names of configured upstreams; empty for requests that belong to none"),
    ("outcome", "how a request was answered; the words below"),
    (
        "kind",
        "of asking: `manifest`, `manifest_head`, `blob`, `blob_head`, `tags`, `referrers`, `token`; of what the store has: `blob`, `manifest`, `unfinished`, `quarantine` (put aside), `index`, `lingering` (gone, and still read); of what had to go: `blob`, `manifest`, `unfinished`; of what is in memory: `blob`, `manifest`",
    ),
    (
        "result",
        "of asking: `ok`, `said_no`, `refused_us`, `limited`, `did_not_answer`; of a transfer: `committed`, `failed`, `wrong_digest`, `stopped`, `bypassed`; of a handshake: `ok`, `failed`, `late`; of a login: `right`, `wrong`, `busy`",
    ),
    (
        "cause",
        "`resolve`, `connect`, `proxy`, `tls`, `timeout`, `status`, `cut`, `resting`, `offline`, `garbage`, `redirect`, `too_large`",
    ),
    ("way", "`plain`, `tls`, `socket`"),
    ("files", "`tls`: certificates, keys, authorities of clients; `users`: users and their passwords"),
    ("endpoint", "the configured endpoints"),
    ("account", "the prefixes of configured accounts, and the endpoints that have their own"),
    ("mode", "`online`, `offline`, `auto`"),
    ("reason", "of an eviction: `space`; of a connection: `network`, `all`, `address`, `rate`"),
    ("what", "`connection`, `request`"),
    ("list", "the names of the configured lists of images"),
    ("version", "the version of the program"),
];
