//! Fills under way, and who may join them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oci::{Digest, Repository};
use crate::store::Store;
use crate::telemetry::Metrics;
use crate::upstream::{Share, Trail};

use super::super::answer::{Refusal, Wanted};
use super::super::mode::Contact;
use super::super::recent::Recent;
use super::super::relay::Relays;
use super::driver::Driver;
use super::progress::{Dropped, Phase, Progress};
use super::source::{Right, Source};
use super::wants::{Client, Wants};
use super::wrong::Wrong;

/// One blob on its way.
#[derive(Debug)]
pub(in crate::mirror) struct Fill {
    pub(super) digest: Digest,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) wants: Arc<Wants>,
    /// Its claim on connections.
    pub(super) share: Share,
    sources: Mutex<Sources>,
    /// Tells that the fill has left the table.
    gone: CancellationToken,
    /// Whether some source, also one that is dropped by now, needs credentials: then what came may be private.
    private: AtomicBool,
    /// What its first reader wants, before anybody knows the size.
    pub(super) opening: Wanted,
}

/// How far a fill is.
#[derive(Clone, Debug)]
pub struct FillProgress {
    /// The blob.
    pub digest: Digest,
    /// The upstream that it is asked of first.
    pub upstream: Arc<str>,
    /// The repository that it is asked for through.
    pub repository: Repository,
    /// Its size, where upstream has told it.
    pub size: Option<u64>,
    /// Bytes of it that are here.
    pub present: u64,
    /// Clients that read it.
    pub readers: usize,
}

/// The pairs that a fill may use, in the order in which they are asked.
#[derive(Debug)]
struct Sources {
    list: Vec<(Source, Right)>,
    /// Those whose upstream has said yes, dropped or not.
    confirmed: Vec<Source>,
    /// Pairs of other upstreams that have the blob as well: asked where those that requests came through do not answer.
    elsewhere: Vec<(Source, Right)>,
    /// The fill found the list empty and is ending: who comes now has to start another.
    closed: bool,
}

/// Why a fill gives a request nothing.
#[derive(Clone, Debug)]
pub(in crate::mirror) enum Turned {
    /// The answer for this request's repository.
    Refused(Refusal),
    /// The fill ended for reasons of other repositories: look again, or start one, when it is gone.
    Away,
}

/// What upstream said to a fill: enough to send headers.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Verdict {
    pub(in crate::mirror) size: Option<u64>,
    /// The disk will not take it; readers stream for themselves.
    pub(in crate::mirror) unstored: bool,
}

impl Fill {
    /// Waits for upstream's word on the blob, as asked through `source`.
    ///
    /// A source that said no gets that, even where another goes on to fill the blob; one whose right was known and that
    /// did not answer is served by the others. Nobody is given what upstream said about somebody else's repository,
    /// neither its no nor its yes.
    pub(in crate::mirror) async fn verdict(&self, source: &Source) -> Result<Verdict, Turned> {
        let mut progress = self.progress.subscribe();
        let decided =
            progress.wait_for(|progress| decide(progress, source, self.is_anonymous()).is_some()).await;
        match decided {
            Ok(progress) => decide(&progress, source, self.is_anonymous()).unwrap_or_else(|| Err(lost())),
            Err(_) => Err(lost()),
        }
    }

    /// Whether it has ended without the blob: who comes now has to start another, when it is gone.
    pub(in crate::mirror) fn is_over(&self) -> bool {
        matches!(self.progress.borrow().phase, Phase::Failed(_) | Phase::Paused)
    }

    /// Waits until the fill is out of the table.
    pub(in crate::mirror) async fn gone(&self) {
        self.gone.cancelled().await;
    }

    /// Whether nobody who has the blob can be asked at the moment.
    pub(in crate::mirror) fn is_cut_off(&self) -> bool {
        self.cut_off().is_some()
    }

    /// Why nobody who has the blob can be asked at the moment; none where somebody can.
    pub(in crate::mirror) fn cut_off(&self) -> Option<Refusal> {
        let sources = self.sources();
        let mut asked = sources.list.iter().chain(&sources.elsewhere);
        let first = asked.next()?.0.site.contact().may_ask().err()?;
        asked.all(|(source, _)| source.site.contact() != Contact::Open).then_some(first)
    }

    /// Somebody can be asked again: who reads from now on waits for what is not there.
    pub(in crate::mirror) fn reopen(&self) {
        self.progress.send_if_modified(|progress| {
            let was_cut_off = matches!(progress.phase, Phase::CutOff(_));
            if was_cut_off {
                progress.phase = Phase::Running;
            }
            was_cut_off
        });
    }

    /// Whether all that a request wants is there.
    pub(in crate::mirror) fn has(&self, wanted: &Wanted) -> bool {
        let progress = self.progress.borrow();
        progress.size.is_some_and(|size| wanted.is_in(&progress.present, size))
    }

    /// Counts one more client, from before it knows anything; none when the fill is ending for want of them.
    pub(in crate::mirror) fn client(&self, wanted: &Wanted) -> Option<Arc<Client>> {
        Wants::client(&self.wants, *wanted == Wanted::Whole)
    }

    pub(in crate::mirror) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// How far it is; nothing while it is ending for want of sources.
    fn told(&self) -> Option<FillProgress> {
        // One lock at a time.
        let (source, _) = self.sources().list.first().cloned()?;
        let progress = self.progress.borrow();
        Some(FillProgress {
            digest: self.digest.clone(),
            upstream: source.site.shared_name(),
            repository: source.repository,
            size: progress.size,
            present: progress.present.total(),
            readers: self.wants.clients(),
        })
    }

    /// The size, if upstream has told it already.
    pub(in crate::mirror) fn size(&self) -> Option<u64> {
        self.progress.borrow().size
    }

    /// Adds a pair through which the blob may be fetched as well; false when the fill is ending for want of one.
    pub(in crate::mirror) fn add_source(&self, source: Source, right: Right) -> bool {
        let mut sources = self.sources();
        if sources.closed {
            return false;
        }
        self.private
            .fetch_or(!source.site.upstream().is_anonymous_for(&source.repository), Ordering::Relaxed);
        if right == Right::Confirmed && !sources.confirmed.contains(&source) {
            sources.confirmed.push(source.clone());
        }
        if !sources.has(&source) {
            sources.list.retain(|(other, _)| *other != source);
            sources.list.push((source.clone(), right));
        }
        // One lock at a time: who looks at the progress may ask for the sources.
        drop(sources);
        // It was asked about and confirmed just now, whatever it said, or did not say, before.
        self.progress.send_if_modified(|progress| {
            progress.dropped.retain(|dropped| dropped.source != source);
            false
        });
        true
    }

    /// Whether the blob is being fetched through this very pair.
    pub(in crate::mirror) fn has_source(&self, source: &Source) -> bool {
        self.sources().has(source)
    }

    /// Whether no pair that it is fetched through needs credentials.
    pub(in crate::mirror) fn is_anonymous(&self) -> bool {
        !self.private.load(Ordering::Relaxed)
    }

    /// The pair to ask next: the first whose upstream is not left alone at the moment. When there is none, there never will
    /// be: the fill has to end.
    pub(super) fn next_source(&self) -> Option<Source> {
        // One lock at a time. Who said no has said it of the blob, as far as that pair goes; who is silent has not.
        let silent = self.progress.borrow().dropped.iter().any(|dropped| dropped.refusal.may_be_covered());
        let mut sources = self.sources();
        let is_away = |source: &Source| {
            source.site.contact() != Contact::Open || source.site.upstream().rest().is_some()
        };
        let all_away = sources.list.iter().all(|(source, _)| is_away(source));
        if all_away && (silent || !sources.list.is_empty()) {
            for (source, right) in std::mem::take(&mut sources.elsewhere) {
                tracing::info!(
                    digest = %self.digest, upstream = source.site.name(), repository = %source.repository,
                    "a blob is asked of another upstream, which has it as well"
                );
                self.private.fetch_or(
                    !source.site.upstream().is_anonymous_for(&source.repository),
                    Ordering::Relaxed,
                );
                sources.list.push((source, right));
            }
        }
        sources.closed = sources.list.is_empty();
        // Who has not been answered yet is not passed over: what another says is not for him.
        let next = sources.list.iter().find(|(source, right)| *right == Right::Asked || !is_away(source));
        next.or_else(|| sources.list.first()).map(|(source, _)| source.clone())
    }

    /// A pair whose upstream is left alone at the moment comes after the others.
    pub(super) fn demote(&self, source: &Source) {
        let mut sources = self.sources();
        if let Some(at) = sources.list.iter().position(|(other, _)| other == source) {
            let entry = sources.list.remove(at);
            sources.list.push(entry);
        }
    }

    /// Whether there is somebody else to ask, who is not left alone at the moment or has not been asked yet.
    pub(super) fn has_another(&self, source: &Source) -> bool {
        let sources = self.sources();
        let awake = |(other, _): &(Source, Right)| {
            other != source && other.site.contact() == Contact::Open && other.site.upstream().rest().is_none()
        };
        !sources.elsewhere.is_empty() || sources.list.iter().any(awake)
    }

    /// Whether somebody else is known who may go on with what came so far.
    pub(super) fn has_more_sources(&self, source: &Source) -> bool {
        let sources = self.sources();
        !sources.elsewhere.is_empty() || sources.list.iter().any(|(other, _)| other != source)
    }

    /// Upstream has said yes to this pair, by sending, or when asked.
    pub(super) fn confirm(&self, source: &Source) {
        let mut sources = self.sources();
        for (other, right) in &mut sources.list {
            if other == source {
                *right = Right::Confirmed;
            }
        }
        if !sources.confirmed.contains(source) {
            sources.confirmed.push(source.clone());
        }
    }

    /// Lets another pair be asked first: what came through the one that was is wrong.
    pub(super) fn rotate_sources(&self) {
        let mut sources = self.sources();
        sources.list.iter().for_each(|(source, _)| source.whereabouts.begin_anew());
        if let Some((source, _)) = sources.list.first() {
            source.site.upstream().distrust(&source.whereabouts);
            sources.list.rotate_left(1);
        }
    }

    /// What is on the disk already came with credentials.
    pub(super) fn make_private(&self) {
        self.private.store(true, Ordering::Relaxed);
    }

    /// The pairs that upstream has said yes to, also those that failed later.
    pub(super) fn confirmed(&self) -> Vec<Source> {
        self.sources().confirmed.clone()
    }

    /// Upstream said no to this pair, or it failed beyond its budget: it is asked no more.
    pub(super) fn drop_source(&self, source: &Source, refusal: Refusal) {
        let mut sources = self.sources();
        let known = sources.list.iter().find(|(other, _)| other == source).map(|(_, right)| *right);
        sources.list.retain(|(other, _)| other != source);
        drop(sources);
        let dropped = Dropped { source: source.clone(), refusal, right: known.unwrap_or(Right::Asked) };
        self.progress.send_modify(|progress| progress.dropped.push(dropped));
    }

    /// Why the last pair was dropped.
    pub(super) fn last_refusal(&self) -> Refusal {
        let refusal = self.progress.borrow().dropped.last().map(|dropped| dropped.refusal.clone());
        refusal.unwrap_or_else(|| Refusal::Internal { reason: "a fill had nobody to ask".to_owned() })
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sources {
    /// Whether a request has come through this pair, or its upstream has said yes.
    fn has(&self, source: &Source) -> bool {
        self.list.iter().any(|(other, right)| other == source && *right != Right::Elsewhere)
    }
}

/// What a request through `source` is told. `anonymous`: nothing of the blob came, or will come, with credentials.
fn decide(progress: &Progress, source: &Source, anonymous: bool) -> Option<Result<Verdict, Turned>> {
    let own = progress.dropped.iter().find(|dropped| dropped.source == *source);
    if let Some(Dropped { refusal, right, .. }) = own {
        let entitled = match right {
            Right::Asked | Right::Elsewhere => false,
            Right::Named => anonymous,
            Right::Confirmed => true,
        };
        if !entitled || matches!(refusal, Refusal::SaidNo { .. }) {
            return Some(Err(Turned::Refused(refusal.clone())));
        }
    }
    let own = own.map(|dropped| &dropped.refusal);
    let verdict = |unstored| Some(Ok(Verdict { size: progress.size, unstored }));
    match (&progress.phase, own) {
        (Phase::Failed(_), Some(own)) => Some(Err(Turned::Refused(own.clone()))),
        // These are about the blob or about us, not about a repository.
        (Phase::Failed(refusal @ (Refusal::WrongContent { .. } | Refusal::Internal { .. })), None) => {
            Some(Err(Turned::Refused(refusal.clone())))
        }
        (Phase::Failed(_), None) | (Phase::Paused, _) => Some(Err(Turned::Away)),
        (Phase::Unstored, _) => verdict(true),
        (Phase::Verified, _) => verdict(false),
        (Phase::Running | Phase::CutOff(_), _) => progress.size.and_then(|_| verdict(false)),
    }
}

fn lost() -> Turned {
    Turned::Refused(Refusal::Internal { reason: "the fill ended without a word".to_owned() })
}

/// The table of fills under way: at most one per digest.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Fills {
    running: Arc<Mutex<HashMap<Digest, Arc<Fill>>>>,
    /// How many may be under way.
    most: Arc<AtomicUsize>,
    pub(super) store: Store,
    pub(super) recent: Recent,
    pub(super) relays: Relays,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Tells whenever somebody can be asked, or cannot, by a switch.
    pub(super) turns: watch::Receiver<()>,
    pub(in crate::mirror) wrong: Wrong,
}

/// What a fill begins with.
#[derive(Debug)]
pub(in crate::mirror) struct Begin {
    /// The pair that it is asked for through.
    pub(in crate::mirror) source: Source,
    /// What is known of that pair's right to the blob.
    pub(in crate::mirror) right: Right,
    /// Pairs of other upstreams that have it as well.
    pub(in crate::mirror) elsewhere: Vec<(Source, Right)>,
    /// What its first reader wants.
    pub(in crate::mirror) opening: Wanted,
}

/// Where a request for a blob goes.
pub(in crate::mirror) enum Place {
    /// A fill was under way.
    Joined(Arc<Fill>),
    /// A fill was started for this request.
    Started(Arc<Fill>),
    /// The blob was committed in the meantime.
    Stored,
    /// As many fills as may be are under way.
    Full,
}

impl Fills {
    pub(in crate::mirror) fn new(
        store: Store,
        recent: Recent,
        relays: Relays,
        metrics: Metrics,
        tasks: TaskTracker,
        stop: CancellationToken,
        turns: watch::Receiver<()>,
    ) -> Self {
        let (running, most, wrong) = (Arc::default(), Arc::new(AtomicUsize::new(usize::MAX)), Wrong::new());
        Self { running, most, store, recent, relays, metrics, tasks, stop, turns, wrong }
    }

    /// From now on so many fills at the most; those under way go on.
    pub(in crate::mirror) fn at_most(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The fill of this digest that is under way.
    pub(in crate::mirror) fn find(&self, digest: &Digest) -> Option<Arc<Fill>> {
        self.locked().get(digest).cloned()
    }

    /// Why the blob is not fetched from an upstream for a while: it sent something else, and did so again.
    pub(in crate::mirror) fn refused_for_now(&self, upstream: &str, digest: &Digest) -> Option<Refusal> {
        self.wrong.recall(upstream, digest)
    }

    /// Starts a fill, unless one runs or the blob has arrived: a fill leaves this table only after
    /// the store shows its blob, and both are looked at under the one lock.
    pub(in crate::mirror) fn start(&self, digest: &Digest, begin: Begin) -> Place {
        let Begin { source, right, elsewhere, opening } = begin;
        for _ in 0..self.wrong.times(source.site.name(), digest) {
            source.site.upstream().distrust(&source.whereabouts);
        }
        let mut running = self.locked();
        if let Some(fill) = running.get(digest) {
            return Place::Joined(Arc::clone(fill));
        }
        if self.store.blob(digest).is_some() {
            return Place::Stored;
        }
        if running.len() >= self.most.load(Ordering::Relaxed) {
            return Place::Full;
        }
        let fill = Arc::new(Fill {
            digest: digest.clone(),
            progress: Arc::new(watch::channel(Progress::default()).0),
            wants: Arc::default(),
            private: AtomicBool::new(!source.site.upstream().is_anonymous_for(&source.repository)),
            sources: Mutex::new(Sources {
                list: vec![(source, right)],
                confirmed: Vec::new(),
                elsewhere,
                closed: false,
            }),
            gone: CancellationToken::new(),
            opening,
            share: Share::new(),
        });
        running.insert(digest.clone(), Arc::clone(&fill));
        drop(running);
        self.tasks.spawn(Trail::carried(Driver::new(self.clone(), Arc::clone(&fill)).run()));
        Place::Started(fill)
    }

    /// The fills that are under way at some moment of the call, in the order of their digests.
    pub(in crate::mirror) fn under_way(&self) -> Vec<FillProgress> {
        let running: Vec<_> = self.locked().values().cloned().collect();
        let mut found: Vec<_> = running.iter().filter_map(|fill| fill.told()).collect();
        found.sort_by_key(|fill| fill.digest.to_string());
        found
    }

    /// Takes this very fill out of the table.
    pub(super) fn leave(&self, fill: &Arc<Fill>) {
        let mut running = self.locked();
        if running.get(&fill.digest).is_some_and(|entry| Arc::ptr_eq(entry, fill)) {
            running.remove(&fill.digest);
        }
        drop(running);
        fill.gone.cancel();
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Fill>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
