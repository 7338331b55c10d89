//! Fills under way, and who may join them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oci::Digest;
use crate::store::Store;
use crate::telemetry::Metrics;

use super::super::answer::{Refusal, Wanted};
use super::driver::Driver;
use super::progress::{Phase, Progress};
use super::source::Source;
use super::wants::Wants;

/// One blob on its way.
#[derive(Debug)]
pub(in crate::mirror) struct Fill {
    pub(super) digest: Digest,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) wants: Arc<Wants>,
    sources: Mutex<Vec<Source>>,
    /// Whether some source, also one that is dropped by now, needs credentials: then what came may be private.
    private: AtomicBool,
    /// What its first reader wants, before anybody knows the size.
    pub(super) opening: Wanted,
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
    /// A source that upstream refused gets that refusal, even where another source goes on to fill the blob.
    pub(in crate::mirror) async fn verdict(&self, source: &Source) -> Result<Verdict, Refusal> {
        let mut progress = self.progress.subscribe();
        let decided = progress.wait_for(|progress| decide(progress, source).is_some()).await;
        match decided {
            Ok(progress) => decide(&progress, source).unwrap_or_else(|| Err(lost())),
            Err(_) => Err(lost()),
        }
    }

    pub(in crate::mirror) fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The size, if upstream has told it already.
    pub(in crate::mirror) fn size(&self) -> Option<u64> {
        self.progress.borrow().size
    }

    /// Adds a pair through which the blob may be fetched as well.
    pub(in crate::mirror) fn add_source(&self, source: Source) {
        self.private.fetch_or(!source.site.upstream().anonymous(), Ordering::Relaxed);
        let mut sources = self.sources();
        if !sources.contains(&source) {
            sources.push(source);
        }
    }

    /// Whether the blob is being fetched through this very pair.
    pub(in crate::mirror) fn has_source(&self, source: &Source) -> bool {
        self.sources().contains(source)
    }

    /// Whether no pair that it is fetched through needs credentials.
    pub(in crate::mirror) fn is_anonymous(&self) -> bool {
        !self.private.load(Ordering::Relaxed)
    }

    pub(super) fn first_source(&self) -> Option<Source> {
        self.sources().first().cloned()
    }

    /// Upstream said no to this pair, or it failed beyond its budget: it is asked no more.
    pub(super) fn drop_source(&self, source: &Source, refusal: Refusal) {
        self.sources().retain(|other| other != source);
        self.progress.send_modify(|progress| progress.refused.push((source.clone(), refusal)));
    }

    fn sources(&self) -> std::sync::MutexGuard<'_, Vec<Source>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn decide(progress: &Progress, source: &Source) -> Option<Result<Verdict, Refusal>> {
    if let Some((_, refusal)) = progress.refused.iter().find(|(refused, _)| refused == source) {
        return Some(Err(refusal.clone()));
    }
    let verdict = |unstored| Some(Ok(Verdict { size: progress.size, unstored }));
    match &progress.phase {
        Phase::Failed(refusal) => Some(Err(refusal.clone())),
        Phase::Unstored => verdict(true),
        Phase::Verified => verdict(false),
        Phase::Running => progress.size.and_then(|_| verdict(false)),
    }
}

fn lost() -> Refusal {
    Refusal::Internal { reason: "the fill ended without a word".to_owned() }
}

/// The table of fills under way: at most one per digest.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Fills {
    running: Arc<Mutex<HashMap<Digest, Arc<Fill>>>>,
    pub(super) store: Store,
    pub(super) metrics: Metrics,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

/// Where a request for a blob goes.
pub(in crate::mirror) enum Place {
    /// A fill was under way.
    Joined(Arc<Fill>),
    /// A fill was started for this request.
    Started(Arc<Fill>),
    /// The blob was committed in the meantime.
    Stored,
}

impl Fills {
    pub(in crate::mirror) fn new(
        store: Store,
        metrics: Metrics,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self { running: Arc::default(), store, metrics, tasks, stop }
    }

    /// The fill of this digest that is under way.
    pub(in crate::mirror) fn find(&self, digest: &Digest) -> Option<Arc<Fill>> {
        self.locked().get(digest).cloned()
    }

    /// Starts a fill through `source`, unless one runs or the blob has arrived: a fill leaves this table only after
    /// the store shows its blob, and both are looked at under the one lock.
    pub(in crate::mirror) fn start(&self, digest: &Digest, source: Source, opening: Wanted) -> Place {
        let mut running = self.locked();
        if let Some(fill) = running.get(digest) {
            return Place::Joined(Arc::clone(fill));
        }
        if self.store.blob(digest).is_some() {
            return Place::Stored;
        }
        let fill = Arc::new(Fill {
            digest: digest.clone(),
            progress: Arc::new(watch::channel(Progress::default()).0),
            wants: Arc::default(),
            private: AtomicBool::new(!source.site.upstream().anonymous()),
            sources: Mutex::new(vec![source]),
            opening,
        });
        running.insert(digest.clone(), Arc::clone(&fill));
        drop(running);
        self.tasks.spawn(Driver::new(self.clone(), Arc::clone(&fill)).run());
        Place::Started(fill)
    }

    /// Takes this very fill out of the table.
    pub(super) fn leave(&self, fill: &Arc<Fill>) {
        let mut running = self.locked();
        if running.get(&fill.digest).is_some_and(|entry| Arc::ptr_eq(entry, fill)) {
            running.remove(&fill.digest);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Fill>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
