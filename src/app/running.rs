//! A started mirror, and how it stops.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinSet, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::api::Desk;
use crate::clock::Clock;
use crate::config::{self, Changes, Config};
use crate::desk::{Given, Office, trouble};
use crate::http::window;
use crate::mirror::{Contact, Ending, Job, Mirror, Mode, Options, RoundState, UpstreamMode};
use crate::server::admin::{AdminState, Phase, Readiness};
use crate::server::api::Api;
use crate::server::{self, Crowd, Door, Drained, FileSocket, Sending, Service, SocketError, Terms, TlsError};
use crate::store::fs::{Disk, RealDisk};
use crate::store::{OpenError, Store};
use crate::telemetry::{Metrics, StoreFigures, Warmed};
use crate::upstream;

use super::admin;
use super::build::{self, Shared};
use super::doors::Doors;
use super::proofs;
use super::sending;
use super::trust::Trust;

/// The rights of a socket that is for its owner alone.
const FOR_ITS_OWNER: u32 = 0o600;

/// Starts mirrors.
#[derive(Debug)]
pub struct App;

/// A mirror that serves.
#[derive(Debug)]
pub struct Running {
    config: Arc<Mutex<Config>>,
    addresses: Vec<SocketAddr>,
    tls_addresses: Vec<SocketAddr>,
    doors: Doors,
    trust: Trust,
    sending: Sending,
    /// How many clients may be here.
    crowd: Crowd,
    /// How long they may take.
    terms: watch::Sender<Terms>,
    admin_address: Option<SocketAddr>,
    mirror: Mirror,
    store: Store,
    metrics: Metrics,
    shared: Arc<Shared>,
    listeners: JoinSet<Drained>,
    stop_listeners: CancellationToken,
    admin: JoinSet<()>,
    stop_admin: CancellationToken,
    draining: Arc<AtomicBool>,
    started: SystemTime,
    runtime: Handle,
    /// How the proof is made now.
    proofs: watch::Sender<config::Verify>,
}

/// Why the mirror did not start.
#[derive(Debug)]
pub enum StartError {
    /// The store could not be opened.
    Store(OpenError),
    /// An address could not be listened on.
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// A socket in the file system could not be listened at.
    Socket {
        /// The key that it is configured by.
        key: &'static str,
        /// Its path.
        path: PathBuf,
        /// Why not.
        error: SocketError,
    },
    /// The upstreams of the configuration do not go together, or cannot be set up.
    Upstreams(String),
    /// TLS cannot be spoken as it is configured.
    Tls(TlsError),
    /// The log or a signal handler could not be set up.
    Process(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Store(error) => write!(f, "the store could not be opened: {error}"),
            Self::Listen { address, error } => write!(
                f,
                "cannot listen on {address}: {error}; is another roadstead running, or should another address be \
                 configured (server.listen, tls.listen, admin.listen)?"
            ),
            Self::Socket { key, path, error } => {
                write!(f, "cannot listen at the socket {} ({key}): {error}", path.display())
            }
            Self::Tls(error) => write!(f, "TLS cannot be spoken as it is configured: {error}"),
            Self::Upstreams(why) => f.write_str(why),
            Self::Process(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for StartError {}

impl App {
    /// Starts a mirror on the file system.
    ///
    /// # Errors
    /// What keeps it from starting; never that an upstream is away.
    pub async fn start(config: Config) -> Result<Running, StartError> {
        Self::start_on(config, Arc::new(RealDisk), Clock::system()).await
    }

    /// Starts a mirror whose store is on `disk`, and for which it is what `clock` says.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn start_on(config: Config, disk: Arc<dyn Disk>, clock: Clock) -> Result<Running, StartError> {
        let mut running = Self::build(config.clone(), disk, clock).await?;
        match running.listen(&config).await {
            Ok(()) => {
                running.watch_files();
                prepare_tls(&config);
                running.mirror.resume();
                running.mirror.warm_regularly(config.warms.iter().map(build::regular).collect());
                running.prove_regularly();
                Ok(running)
            }
            Err(error) => {
                running.stop().await;
                Err(error)
            }
        }
    }

    /// Opens a mirror for a command: it listens nowhere and begins nothing by itself, but what is in its store is its own
    /// as long as it runs. All that is in the store is known when it is there.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn open(config: Config) -> Result<Running, StartError> {
        let config = Config { store: config::Store { scrub_rate: 0, ..config.store }, ..config };
        let running = Self::build(config, Arc::new(RealDisk), Clock::system()).await?;
        let store = running.store.clone();
        // A walk over all files, after a crash.
        if let Err(error) = spawn_blocking(move || store.await_manifests(Duration::MAX)).await {
            tracing::warn!(%error, "it is not known whether all of the store is known");
        }
        Ok(running)
    }

    /// Whether there is a store where the configuration says. Blocks.
    #[must_use]
    pub fn has_store(config: &Config) -> bool {
        Store::is_at(&RealDisk, &config.store.path)
    }

    async fn build(config: Config, disk: Arc<dyn Disk>, clock: Clock) -> Result<Running, StartError> {
        let metrics = Metrics::new();
        let shared = Arc::new(build::shared(&config.uplink, &clock));
        let (namespaces, sites) = build::sites(&config.upstreams, &shared, &metrics)?;
        let doors = Doors::new(&config, metrics.clone()).map_err(StartError::Tls)?;
        let options = build::store_options(&config.store, &config.upstreams);
        let started = clock.now();
        let store = spawn_blocking(move || Store::open(disk, options))
            .await
            .map_err(|error| StartError::Process(error.to_string()))?
            .map_err(StartError::Store)?;
        let mirror = Mirror::new(Options {
            store: store.clone(),
            namespaces,
            sites,
            memory_max_bytes: config.memory.max_bytes,
            prepared_answers: config.server.prepared_answers,
            max_fills: config.limits.max_fills,
            metrics: metrics.clone(),
            clock,
        });
        let sending = sending::decide(config.server.send_files, &store).await;
        let crowd = Crowd::new(build::crowd_limits(&config.limits));
        let terms = watch::Sender::new(build::terms(&config));
        let proofs = watch::Sender::new(config.verify.clone());
        let config = Arc::new(Mutex::new(config));
        let trust = Trust::new(Arc::clone(&config), mirror.clone(), Arc::clone(&shared), metrics.clone());
        Ok(Running {
            addresses: Vec::new(),
            tls_addresses: Vec::new(),
            doors,
            trust,
            sending,
            crowd,
            terms,
            admin_address: None,
            mirror,
            store,
            metrics,
            shared,
            listeners: JoinSet::new(),
            stop_listeners: CancellationToken::new(),
            admin: JoinSet::new(),
            stop_admin: CancellationToken::new(),
            draining: Arc::default(),
            started,
            runtime: Handle::current(),
            proofs,
            config,
        })
    }
}

impl Running {
    /// The addresses it serves on, in the order configured; ports that were 0 are what the system gave.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The addresses where it serves by TLS, likewise.
    pub fn tls_addresses(&self) -> &[SocketAddr] {
        &self.tls_addresses
    }

    /// Looks now at the files that are looked at every few seconds. Blocks.
    pub fn look_at_files(&self) {
        self.doors.look();
        self.trust.look();
    }

    /// The address of the admin listener, if there is one.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin_address
    }

    /// The mirror itself, for whoever asks it in this process.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The figures of this mirror.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Takes a new configuration into use, as far as that can be done without a restart; tells what was changed and
    /// what was not.
    ///
    /// # Errors
    /// The new upstreams, or TLS, cannot be set up; what was not taken yet stays as it was.
    pub fn reload(&self, new: Config) -> Result<Changes, StartError> {
        let mut config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        // What its files say may be newer than the configuration that was read last.
        {
            let made_of = self.doors.made_of().clone();
            (config.tls, config.access) = (made_of.tls, made_of.access);
        }
        let changes = config.changes(&new);
        self.doors.take(&new).map_err(StartError::Tls)?;
        warn(&new);
        if config.upstreams != new.upstreams {
            self.trust.replace(&new.upstreams)?;
            self.store.pin_by(build::pin_rules(&new.upstreams));
            config.upstreams = new.upstreams;
        }
        if config.warms != new.warms {
            self.mirror.warm_regularly(new.warms.iter().map(build::regular).collect());
            let stays = |name: &str| new.warms.iter().any(|warm| warm.name == name);
            let gone = config.warms.iter().filter(|warm| !stays(&warm.name));
            gone.for_each(|warm| self.metrics.unwarmed(&warm.name));
            config.warms = new.warms;
        }
        if config.verify != new.verify {
            self.proofs.send_replace(new.verify.clone());
            config.verify = new.verify;
        }
        if config.limits != new.limits {
            self.crowd.limit(build::crowd_limits(&new.limits));
            self.mirror.limit_fills(new.limits.max_fills);
        }
        (config.limits, config.log) = (new.limits, new.log);
        config.tls.handshake_timeout = new.tls.handshake_timeout;
        (config.server.header_timeout, config.server.stall_timeout) =
            (new.server.header_timeout, new.server.stall_timeout);
        self.terms.send_replace(build::terms(&config));
        Ok(changes)
    }

    /// Drains: no new connections, bodies under way finish up to `server.drain_timeout`, fills stop and keep what
    /// they have, the store is closed.
    pub async fn stop(mut self) {
        self.draining.store(true, Ordering::Relaxed);
        self.stop_listeners.cancel();
        let mut cut = 0;
        while let Some(drained) = self.listeners.join_next().await {
            cut += drained.map_or(0, |drained| drained.cut);
        }
        if cut > 0 {
            tracing::warn!(connections = cut, "the drain timeout was over; connections were cut");
        }
        self.mirror.stop().await;
        self.shared.uplink.stop().await;
        let store = self.store.clone();
        if let Err(error) = spawn_blocking(move || store.close()).await {
            tracing::error!(%error, "the store could not be closed; the next start checks it");
        }
        self.stop_admin.cancel();
        // A listener that panicked has nothing left to stop.
        while self.admin.join_next().await.is_some() {}
    }

    async fn listen(&mut self, config: &Config) -> Result<(), StartError> {
        warn(config);
        let (access, crowd, terms) = (self.doors.access(), self.crowd.clone(), self.terms.subscribe());
        let (mirror, metrics) = (self.mirror.clone(), self.metrics.clone());
        let service = Service::new(mirror, access.clone(), crowd.clone(), self.shared.pseudonym, metrics);
        let admin = match config.admin.listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        };
        let mut listeners = Vec::new();
        for address in &config.server.listen {
            listeners.push((bind(*address).await?, false));
        }
        for address in &config.tls.listen {
            listeners.push((bind(*address).await?, true));
        }
        let (sending, metrics) = (self.sending.clone(), self.metrics.clone());
        let door = Door { service, terms, access, crowd, tls: None, sending, metrics };
        if let Some(path) = &config.server.socket {
            let socket = file_socket("server.socket", path, config.server.socket_mode)?;
            self.listeners.spawn(door.clone().serve(socket, self.stop_listeners.clone()));
        }
        for ((listener, address), by_tls) in listeners {
            let (addresses, tls) = match by_tls {
                true => (&mut self.tls_addresses, self.doors.tls()),
                false => (&mut self.addresses, None),
            };
            addresses.push(address);
            let door = Door { tls, ..door.clone() };
            self.listeners.spawn(door.serve(listener, self.stop_listeners.clone()));
        }
        let desk = self.desk();
        if let Some((listener, address)) = admin {
            self.admin_address = Some(address);
            let state = self.admin_state(admin::at_address(&config.admin, address, &desk));
            self.admin.spawn(server::admin::run(listener, state, self.stop_admin.clone()));
        }
        if let Some(path) = &config.admin.socket {
            let socket = file_socket("admin.socket", path, FOR_ITS_OWNER)?;
            let state = self.admin_state(admin::at_socket(&config.admin, &desk));
            self.admin.spawn(server::admin::run(socket, state, self.stop_admin.clone()));
        }
        Ok(())
    }

    /// Where operators ask what this mirror has, and have things done.
    pub fn desk(&self) -> Arc<dyn Desk> {
        let config = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::new(Office {
            store: self.store.clone(),
            mirror: self.mirror.clone(),
            runtime: self.runtime.clone(),
            metrics: self.metrics.clone(),
            path: config.store.path.clone(),
            started: self.started,
            draining: Arc::clone(&self.draining),
            given: self.given(),
        })
    }

    fn given(&self) -> Given {
        let access = self.doors.access();
        Given(Arc::new(move |upstream, repository| access.gives_to_anybody(upstream, repository)))
    }

    /// Proves again and again what is here, when the configuration says so.
    fn prove_regularly(&mut self) {
        let proving = proofs::run(self.desk(), self.proofs.subscribe(), self.metrics.clone());
        let stop = self.stop_listeners.clone();
        self.admin.spawn(async move {
            stop.run_until_cancelled(proving).await;
        });
    }

    /// Sees to what files say, for as long as clients come.
    fn watch_files(&mut self) {
        let (doors, trust) = (self.doors.clone(), self.trust.clone());
        let stop = self.stop_listeners.clone();
        self.admin.spawn(async move {
            stop.run_until_cancelled(async { tokio::join!(doors.watch(), trust.watch()) }).await;
        });
    }

    fn admin_state(&self, api: Option<Api>) -> AdminState {
        let (store, mirror, metrics) = (self.store.clone(), self.mirror.clone(), self.metrics.clone());
        let sending = self.sending.clone();
        let encode = move || {
            show_store(&store, &metrics);
            mirror.show_limits();
            mirror.show_modes();
            metrics.body_buffers(window::buffered() as u64);
            metrics.files_sent_by_kernel(sending.by_kernel());
            let (used, budget) = mirror.memory_in_use();
            metrics.memory(&used, budget);
            for round in mirror.rounds_of_warming() {
                let ended = round.ended.and_then(|ended| ended.duration_since(SystemTime::UNIX_EPOCH).ok());
                metrics.warmed(
                    &round.name,
                    &Warmed {
                        incomplete: round.incomplete,
                        ended: ended.map(|ended| ended.as_secs()),
                        waits: !round.waits_for.is_empty(),
                    },
                );
            }
            metrics.encode()
        };
        let (store, mirror, draining) = (self.store.clone(), self.mirror.clone(), Arc::clone(&self.draining));
        let readiness = move || Readiness {
            phase: if draining.load(Ordering::Relaxed) { Phase::Draining } else { Phase::Ready },
            parts: parts(&store, &mirror),
        };
        AdminState { metrics: Arc::new(encode), readiness: Arc::new(readiness), api }
    }
}

/// Has what connections by TLS need made ready, beside the first requests. Nobody waits for it: it reads files, and a disk that
/// hangs must not hold up the end.
fn prepare_tls(config: &Config) {
    let mut endpoints = config.upstreams.iter().flat_map(|upstream| &upstream.endpoints);
    if endpoints.any(|endpoint| endpoint.url.scheme() == "https") {
        drop(spawn_blocking(upstream::prepare_tls));
    }
}

async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let failed = |error| StartError::Listen { address, error };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

/// Says what an operator should know of who may have what.
fn warn(config: &Config) {
    for exposure in config.exposures() {
        tracing::warn!("{exposure}");
    }
}

fn file_socket(key: &'static str, path: &Path, mode: u32) -> Result<FileSocket, StartError> {
    let socket = FileSocket::bind(path, mode);
    socket.map_err(|error| StartError::Socket { key, path: path.to_owned(), error })
}

fn show_store(store: &Store, metrics: &Metrics) {
    let stats = store.stats();
    let used = stats.used;
    metrics.store(&StoreFigures {
        bytes: &[
            ("blob", used.blobs),
            ("manifest", used.manifests),
            ("unfinished", used.unfinished),
            ("quarantine", used.quarantine),
            ("index", used.index),
            ("lingering", used.lingering),
        ],
        budget: stats.max_bytes,
        blobs: stats.blobs,
        manifests: stats.manifests,
        unfinished: stats.unfinished,
        degraded: stats.index_degraded,
        writes_failing: stats.writes_failing,
        scrubbed: stats.scrubbed_bytes,
        scrub_corrupt: stats.scrub_found,
        pins: stats.pins,
        pinned: stats.pinned_bytes,
        pins_lost: stats.pins_lost,
        evictions: &[
            ("blob", "space", stats.evicted.saturating_sub(stats.evicted_manifests)),
            ("manifest", "space", stats.evicted_manifests),
            ("unfinished", "space", stats.evicted_unfinished),
        ],
        quarantined: stats.quarantined,
    });
}

fn pins(pins: u64, bytes: u64, budget: u64, lost: bool) -> String {
    let state = match (lost, bytes > budget) {
        (true, _) => "what was pinned by name could not be read at the start",
        (false, true) => "more than there is room for",
        (false, false) => "ok",
    };
    format!("{state}, {pins} pinned, {bytes} of {budget} bytes")
}

fn parts(store: &Store, mirror: &Mirror) -> Vec<(String, String)> {
    let stats = store.stats();
    let state = trouble(stats.writes_failing, stats.index_degraded).unwrap_or("ok");
    let mut parts = vec![(
        "store".to_owned(),
        format!(
            "{state}, {} of {} bytes, {} blobs, {} manifests",
            stats.used_bytes, stats.max_bytes, stats.blobs, stats.manifests
        ),
    )];
    if stats.pins > 0 || stats.pins_lost {
        parts.push((
            "pins".to_owned(),
            pins(stats.pins, stats.pinned_bytes, stats.max_bytes, stats.pins_lost),
        ));
    }
    let jobs = mirror.regular_warmings();
    for round in mirror.rounds_of_warming() {
        let job = jobs.iter().find(|(name, _)| *name == round.name).map(|(_, job)| &**job);
        parts.extend(warmed(&round, job).map(|told| (format!("warm {}", round.name), told)));
    }
    let (limits, away, refused) = (mirror.limits(), mirror.away(), mirror.refused_accounts());
    for UpstreamMode { upstream: name, mode, contact, .. } in mirror.modes() {
        parts.push((format!("upstream {name}"), said_of(mode, contact)));
        let own = away.iter().chain(&limits).filter(|(of, ..)| *of == name);
        parts.extend(own.map(|(_, at, what)| (format!("upstream {name} at {at}"), what.clone())));
        let refused = refused.iter().filter(|(of, ..)| *of == name);
        parts.extend(
            refused.map(|(_, account, why)| (format!("upstream {name}, account {account}"), why.clone())),
        );
    }
    parts
}

/// How a regular warming is; nothing before the first run has begun.
fn warmed(round: &RoundState, job: Option<&Job>) -> Option<String> {
    let proven = format!("{} images, {} of them incomplete", round.images, round.incomplete);
    let came_to = match job.map(|job| (job.ended(), job.ledger.look())) {
        Some((None, look)) => Some(format!("goes on, {} of {} images", look.finished, look.images)),
        Some((Some((Ending::Stopped, _)), _)) => Some("was stopped".to_owned()),
        _ => round.ended.map(|_| proven),
    };
    let waits = (!round.waits_for.is_empty()).then(|| format!("waits for {}", round.waits_for.join(", ")));
    match (waits, came_to) {
        (Some(waits), Some(came_to)) => Some(format!("{waits}; {came_to}")),
        (waits, came_to) => waits.or(came_to),
    }
}

/// Whether an upstream is asked, for people.
fn said_of(mode: Mode, contact: Contact) -> String {
    match contact {
        Contact::Open | Contact::Offline => format!("mode {mode}"),
        Contact::Away => format!("mode {mode}, taken for offline: no endpoint answers"),
    }
}
