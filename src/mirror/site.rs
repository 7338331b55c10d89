//! The mirror itself and the upstreams it stands for.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::oci::{Namespaces, Repository, SelectError};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::upstream::Upstream;

use super::absent::{Absent, Question};
use super::answer::{BlobHead, ManifestAnswer, Refusal};
use super::fill::{FillProgress, Fills};
use super::flight::Flights;
use super::lists::Lists;
use super::memory::Memory;
use super::mode::{Contact, Mode, contact};
use super::policy::{Denied, Policy};
use super::ready::Ready;
use super::recent::Recent;
use super::relay::Relays;
use super::switch::Switch;
use super::tags::Resolution;
use super::warm::{Jobs, Rounds};

/// What the mirror is built from.
#[derive(Debug)]
pub struct Options {
    /// The verified bytes, owned by the caller, who closes it after the mirror has stopped.
    pub store: Store,
    /// Which request means which upstream; its indices are those of `sites`.
    pub namespaces: Namespaces,
    /// The upstreams.
    pub sites: Vec<SiteSettings>,
    /// The budget of the memory tier, in bytes.
    pub memory_max_bytes: u64,
    /// Whether a part of that is for answers as they were given.
    pub prepared_answers: bool,
    /// How many blobs may be on their way at a time.
    pub max_fills: usize,
    /// Where figures go.
    pub metrics: Metrics,
    /// How old things are is told by this.
    pub clock: Clock,
}

/// One upstream and how it is to be treated.
#[derive(Debug)]
pub struct SiteSettings {
    /// The registry.
    pub upstream: Upstream,
    /// How its content is treated.
    pub policy: Policy,
}

/// A configured upstream.
#[derive(Debug)]
pub struct Site {
    name: Arc<str>,
    upstream: Upstream,
    policy: Policy,
    /// Its place in [`Mode::ALL`].
    mode: AtomicUsize,
}

impl Site {
    /// The name clients know it by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What clients are told of what it does not let us have.
    pub fn denied(&self) -> Denied {
        self.policy.denied
    }

    pub(super) fn shared_name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    pub(super) fn upstream(&self) -> &Upstream {
        &self.upstream
    }

    pub(super) fn policy(&self) -> &Policy {
        &self.policy
    }

    pub(super) fn mode(&self) -> Mode {
        Mode::ALL.get(self.mode.load(Ordering::Relaxed)).copied().unwrap_or_default()
    }

    /// Whether it can be asked at the moment.
    pub(super) fn contact(&self) -> Contact {
        contact(self.mode(), || self.upstream.is_left_alone())
    }

    /// What it is taken for by who has found that it does not answer.
    pub(super) fn silence(&self) -> Contact {
        if self.mode() == Mode::Offline { Contact::Offline } else { Contact::Away }
    }

    /// Puts it into a mode; whether it is asked again from now on, and was not before.
    pub(super) fn turn(&self, mode: Mode) -> bool {
        let before = Mode::ALL.get(self.mode.swap(mode as usize, Ordering::Relaxed)).copied();
        if before != Some(mode) {
            tracing::info!(upstream = self.name(), %mode, "the mode of an upstream");
        }
        self.upstream.watch(mode == Mode::Auto);
        if mode == Mode::Offline {
            self.upstream.shut();
        } else {
            self.upstream.open();
        }
        before == Some(Mode::Offline) && mode != Mode::Offline
    }
}

/// What a request is about: an upstream and a repository in it.
///
/// It holds its upstream, so a reload of the configuration does not change a request that is under way.
#[derive(Clone, Debug)]
pub struct Target {
    /// The upstream.
    pub site: Arc<Site>,
    /// The repository, as upstream calls it.
    pub repository: Repository,
    /// Whether `ns=` named the upstream, which the answer has to confirm.
    pub by_ns: bool,
}

impl Target {
    /// What who asks is told where it takes upstream to answer him, and it cannot be asked.
    pub(super) fn may_ask(&self) -> Result<(), Refusal> {
        self.site.contact().may_ask()
    }

    /// The refusal as this upstream's policy wants it told.
    pub(super) fn told(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Offline { why, .. } => Refusal::Offline { why, miss: self.site.policy.offline_miss },
            other => other,
        }
    }

    pub(super) fn question(&self, kind: &str, reference: &dyn fmt::Display) -> Question {
        Question {
            upstream: Arc::clone(&self.site.name),
            object: format!("{}/{kind}/{reference}", self.repository),
        }
    }
}

/// The upstreams of one configuration.
pub(super) struct Sites {
    namespaces: Namespaces,
    list: Vec<Arc<Site>>,
    /// Ends what keeps their tokens fresh.
    _tended: DropGuard,
}

impl Sites {
    fn new(
        namespaces: Namespaces,
        sites: Vec<SiteSettings>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) -> Self {
        let list: Vec<_> = sites
            .into_iter()
            .map(|SiteSettings { upstream, policy }| {
                let mode = AtomicUsize::new(Mode::default() as usize);
                Arc::new(Site { name: upstream.name().into(), upstream, policy, mode })
            })
            .collect();
        let stop = stop.child_token();
        for site in &list {
            let (site, stop) = (Arc::clone(site), stop.clone());
            tasks.spawn(async move { stop.run_until_cancelled(site.upstream.tend()).await });
        }
        Self { namespaces, list, _tended: stop.drop_guard() }
    }

    pub(super) fn list(&self) -> &[Arc<Site>] {
        &self.list
    }
}

/// The mirror: cheap to clone, one per process.
#[derive(Clone)]
pub struct Mirror(Arc<Parts>);

struct Parts {
    store: Store,
    sites: RwLock<Arc<Sites>>,
    switch: Switch,
    memory: Memory,
    ready: Ready,
    absent: Absent,
    recent: Recent,
    manifests: Flights<Question, Result<ManifestAnswer, Refusal>>,
    tags: Flights<Question, Resolution>,
    blob_heads: Flights<Question, Result<BlobHead, Refusal>>,
    admissions: Flights<Question, Result<(), Refusal>>,
    lists: Lists,
    fills: Fills,
    relays: Relays,
    warmings: Jobs,
    rounds: Rounds,
    tasks: TaskTracker,
    stop: CancellationToken,
    metrics: Metrics,
    clock: Clock,
}

impl Mirror {
    /// A mirror that has asked nobody anything yet.
    pub fn new(options: Options) -> Self {
        let Options {
            store,
            namespaces,
            sites,
            memory_max_bytes,
            prepared_answers,
            max_fills,
            metrics,
            clock,
        } = options;
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let recent = Recent::new();
        // Most of the memory is for what pulls need.
        let for_lists = memory_max_bytes / 8;
        let for_answers = if prepared_answers { memory_max_bytes / 8 } else { 0 };
        let memory = Memory::new(memory_max_bytes - for_lists - for_answers);
        let relays = Relays::new(metrics.clone(), tasks.clone(), stop.clone());
        let (sites, switch) = (Sites::new(namespaces, sites, &tasks, &stop), Switch::new());
        switch.begin(&sites.list);
        let fills = Fills::new(
            store.clone(),
            recent.clone(),
            relays.clone(),
            metrics.clone(),
            tasks.clone(),
            stop.clone(),
            switch.turns(),
        );
        fills.at_most(max_fills);
        Self(Arc::new(Parts {
            fills,
            relays,
            warmings: Jobs::default(),
            rounds: Rounds::default(),
            store,
            sites: RwLock::new(Arc::new(sites)),
            switch,
            memory,
            ready: Ready::new(for_answers),
            absent: Absent::new(),
            recent,
            manifests: Flights::new(tasks.clone(), stop.clone()),
            tags: Flights::new(tasks.clone(), stop.clone()),
            blob_heads: Flights::new(tasks.clone(), stop.clone()),
            admissions: Flights::new(tasks.clone(), stop.clone()),
            lists: Lists::new(for_lists, &tasks, &stop),
            tasks,
            stop,
            metrics,
            clock,
        }))
    }

    /// Finds what a request is about, by `ns=`, the path in front of `/v2`, the `Host` header and the name, as the
    /// configuration says.
    ///
    /// # Errors
    /// Names that mean no upstream, or two.
    pub fn select(
        &self,
        ns: Option<&str>,
        before: Option<&str>,
        host: Option<&str>,
        name: &str,
    ) -> Result<Target, SelectError> {
        let sites = self.sites();
        let selected = sites.namespaces.select(ns, before, host, name)?;
        let site = Arc::clone(&sites.list[selected.index]);
        Ok(Target { site, repository: selected.repository, by_ns: selected.by_ns })
    }

    /// Finds what an image that somebody names is: its upstream and its repository there. The name is what stands behind
    /// the registry.
    ///
    /// # Errors
    /// Images of upstreams that are not configured.
    pub fn select_image(&self, registry: Option<&str>, name: &str) -> Result<Target, SelectError> {
        let sites = self.sites();
        let selected = sites.namespaces.select_image(registry, name)?;
        let site = Arc::clone(&sites.list[selected.index]);
        Ok(Target { site, repository: selected.repository, by_ns: selected.by_ns })
    }

    /// Whether a ping under these names means an upstream that is configured, or none in particular.
    ///
    /// # Errors
    /// Names that mean no upstream, or two.
    pub fn select_ping(&self, ns: Option<&str>, before: Option<&str>) -> Result<(), SelectError> {
        self.sites().namespaces.select_ping(before, ns)
    }

    /// The configured upstreams' names, in their order.
    pub fn upstreams(&self) -> Vec<Arc<str>> {
        self.sites().list.iter().map(|site| Arc::clone(&site.name)).collect()
    }

    /// What upstreams are called, in their order: the name, all names, and whether it is the default.
    pub fn names(&self) -> Vec<(Arc<str>, Vec<String>, bool)> {
        let sites = self.sites();
        let default = sites.namespaces.default_index();
        let called = |index| sites.namespaces.names_of(index).into_iter().map(str::to_owned).collect();
        let list = sites.list.iter().enumerate();
        list.map(|(index, site)| (Arc::clone(&site.name), called(index), default == Some(index))).collect()
    }

    /// Forgets what upstreams said they do not have: something has come in by another way.
    pub fn forget_absences(&self) {
        self.absent().forget_all();
    }

    /// The accounts that upstreams refuse at this moment: of which upstream, which account, and why.
    pub fn refused_accounts(&self) -> Vec<(Arc<str>, String, String)> {
        self.of_upstreams(Upstream::refused)
    }

    /// What upstreams have told of their limits: which upstream, where, and what.
    pub fn limits(&self) -> Vec<(Arc<str>, String, String)> {
        self.of_upstreams(Upstream::limits)
    }

    /// Endpoints that are left alone because they did not answer: of which upstream, which, and why.
    pub fn away(&self) -> Vec<(Arc<str>, String, String)> {
        self.of_upstreams(Upstream::away)
    }

    fn of_upstreams(
        &self,
        told: impl Fn(&Upstream) -> Vec<(String, String)>,
    ) -> Vec<(Arc<str>, String, String)> {
        let sites = self.sites();
        let of = |site: &Arc<Site>| {
            let name = site.shared_name();
            told(&site.upstream).into_iter().map(move |(what, how)| (Arc::clone(&name), what, how))
        };
        sites.list.iter().flat_map(of).collect()
    }

    /// How many bytes of each kind are kept in memory, and how many may be in all.
    pub fn memory_in_use(&self) -> ([(&'static str, u64); 2], u64) {
        self.0.memory.in_use()
    }

    /// The blobs that are on their way from upstream.
    pub fn fills_under_way(&self) -> Vec<FillProgress> {
        self.fills().under_way()
    }

    /// Puts into the metrics what upstreams have told of their limits.
    pub fn show_limits(&self) {
        self.sites().list.iter().for_each(|site| site.upstream.show_limits());
    }

    /// The upstream of that name, if it is still configured.
    pub(super) fn site(&self, name: &str) -> Option<Arc<Site>> {
        self.sites().list.iter().find(|site| site.name() == name).cloned()
    }

    /// From now on so many blobs may be on their way at a time; those that are go on.
    pub fn limit_fills(&self, most: usize) {
        self.0.fills.at_most(most);
    }

    /// Puts other upstreams in place of the present ones. Requests and fills under way go on with what they began; the
    /// modes are what was said while the mirror runs, and else what these say.
    pub fn replace_sites(&self, namespaces: Namespaces, sites: Vec<SiteSettings>) {
        let sites = Arc::new(Sites::new(namespaces, sites, &self.0.tasks, &self.0.stop));
        self.0.switch.replaced(&sites.list, || {
            let mut present = self.0.sites.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *present, Arc::clone(&sites)).list.clone()
        });
    }

    /// Stops fills, whose bytes stay on the disk, and waits for every task of the mirror.
    pub async fn stop(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    pub(super) fn switch(&self) -> &Switch {
        &self.0.switch
    }

    pub(super) fn sites(&self) -> Arc<Sites> {
        Arc::clone(&self.0.sites.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(super) fn memory(&self) -> &Memory {
        &self.0.memory
    }

    pub(super) fn answers(&self) -> &Ready {
        &self.0.ready
    }

    pub(super) fn absent(&self) -> &Absent {
        &self.0.absent
    }

    pub(super) fn recent(&self) -> &Recent {
        &self.0.recent
    }

    pub(super) fn manifest_flights(&self) -> &Flights<Question, Result<ManifestAnswer, Refusal>> {
        &self.0.manifests
    }

    pub(super) fn tag_flights(&self) -> &Flights<Question, Resolution> {
        &self.0.tags
    }

    pub(super) fn blob_head_flights(&self) -> &Flights<Question, Result<BlobHead, Refusal>> {
        &self.0.blob_heads
    }

    pub(super) fn admission_flights(&self) -> &Flights<Question, Result<(), Refusal>> {
        &self.0.admissions
    }

    pub(super) fn lists(&self) -> &Lists {
        &self.0.lists
    }

    pub(super) fn fills(&self) -> &Fills {
        &self.0.fills
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(super) fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    pub(super) fn relays(&self) -> &Relays {
        &self.0.relays
    }

    pub(super) fn warmings_table(&self) -> &Jobs {
        &self.0.warmings
    }

    pub(super) fn rounds(&self) -> &Rounds {
        &self.0.rounds
    }

    pub(super) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The date and the time.
    pub(super) fn now(&self) -> SystemTime {
        self.0.clock.now()
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("upstreams", &self.upstreams()).finish_non_exhaustive()
    }
}
