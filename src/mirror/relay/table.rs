//! The relays under way, and who may read from which.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oci::Digest;
use crate::telemetry::Metrics;
use crate::upstream::{Trail, Transfer};

use super::super::answer::Wanted;
use super::super::fill::{ReadError, Source};
use super::pump::Pump;
use super::shares::{PLACES, share_out};
use super::stream::Stream;
use super::tap::Tap;

/// The table of relays. Clones are the same.
#[derive(Clone)]
pub(in crate::mirror) struct Relays(Arc<Table>);

struct Table {
    running: Mutex<Running>,
    places: Arc<Semaphore>,
    metrics: Metrics,
    tasks: TaskTracker,
    stop: CancellationToken,
}

#[derive(Default)]
struct Running {
    by_digest: HashMap<Digest, Vec<Arc<Stream>>>,
}

impl Relays {
    pub(in crate::mirror) fn new(metrics: Metrics, tasks: TaskTracker, stop: CancellationToken) -> Self {
        let (running, places) = (Mutex::default(), Arc::new(Semaphore::new(PLACES)));
        Self(Arc::new(Table { running, places, metrics, tasks, stop }))
    }

    pub(in crate::mirror) fn tasks(&self) -> &TaskTracker {
        &self.0.tasks
    }

    pub(in crate::mirror) fn stopping(&self) -> &CancellationToken {
        &self.0.stop
    }

    /// The bytes of a blob from `at` to `end` (`u64::MAX`: to its end, wherever that is), with whoever reads them too.
    pub(in crate::mirror) fn tap(
        &self,
        digest: &Digest,
        size: Option<u64>,
        source: &Source,
        at: u64,
        end: u64,
    ) -> Tap {
        Tap::new(self.clone(), digest.clone(), size, source.clone(), at, end)
    }

    /// Goes on with a transfer that runs already: its bytes wait for who taps the blob in the next moments.
    pub(in crate::mirror) fn adopt(
        &self,
        digest: &Digest,
        size: Option<u64>,
        source: &Source,
        transfer: Box<Transfer>,
    ) {
        // Ranges of a coding are no ranges of the content.
        if transfer.encoded.is_some() || self.0.stop.is_cancelled() {
            return;
        }
        let Ok(place) = Arc::clone(&self.0.places).try_acquire_owned() else { return };
        let stream = Stream::new(digest.clone(), size, source.clone(), transfer.start);
        let mut running = self.locked();
        let mut alike = running.of(digest, source).filter(|other| other.covers(transfer.start).is_some());
        // What is left of an older one gives way to this. One that is read from does as well as this.
        let is_needed = alike.all(|other| other.end_unread());
        drop(alike);
        if !is_needed {
            return;
        }
        let pump = self.enter(&mut running, Arc::new(stream), place, Some(transfer));
        drop(running);
        self.0.tasks.spawn(Trail::carried(pump.run()));
    }

    /// The relay, of this very source, in which a request finds the bytes that it will be sent first; and the size.
    pub(in crate::mirror) fn covering(
        &self,
        digest: &Digest,
        source: &Source,
        wanted: &Wanted,
    ) -> Option<Option<u64>> {
        let running = self.locked();
        let here = running.of(digest, source).find(|stream| {
            let first = match wanted {
                // To prove it right takes all of it.
                Wanted::Whole | Wanted::From(_) => Some(0),
                Wanted::Closed { first, .. } => Some(*first),
                Wanted::Suffix(length) => stream.size.map(|size| size.saturating_sub(*length)),
                Wanted::Several(ranges) => ranges.first().map(|(first, _)| *first),
            };
            first.is_some_and(|first| stream.is_under_way(first))
        })?;
        Some(here.size)
    }

    /// A relay for a reader who stands at `at`, and counts as its reader from now on. Waits where there are too many.
    pub(super) async fn join(&self, tap: &Tap) -> Result<Arc<Stream>, ReadError> {
        let mut place = None;
        loop {
            if let Some(stream) = self.joined(tap, &mut place) {
                return Ok(stream);
            }
            let got = Arc::clone(&self.0.places).acquire_owned().await;
            place = Some(got.map_err(|_| ReadError("the mirror is shutting down".to_owned()))?);
        }
    }

    fn joined(&self, tap: &Tap, place: &mut Option<OwnedSemaphorePermit>) -> Option<Arc<Stream>> {
        let mut running = self.locked();
        // The one that has come least far beyond it is the last to leave it behind.
        let of_size = running.of(&tap.digest, &tap.source).filter(|stream| stream.size == tap.size);
        let nearest = of_size.filter_map(|stream| Some((stream.covers(tap.at)?, stream)));
        if let Some((_, stream)) = nearest.min_by_key(|(reach, _)| *reach)
            && stream.join(tap.at, tap.end)
        {
            return Some(Arc::clone(stream));
        }
        let place = match place.take() {
            Some(place) => place,
            None => match Arc::clone(&self.0.places).try_acquire_owned() {
                Ok(place) => place,
                Err(_) => {
                    // Those that nobody reads have to go at once.
                    running.all().for_each(|stream| stream.wake());
                    return None;
                }
            },
        };
        let stream = Stream::new(tap.digest.clone(), tap.size, tap.source.clone(), tap.at);
        stream.lock().window.join(tap.at, tap.end);
        let stream = Arc::new(stream);
        let pump = self.enter(&mut running, Arc::clone(&stream), place, None);
        drop(running);
        self.0.tasks.spawn(Trail::carried(pump.run()));
        Some(stream)
    }

    /// Enters a relay. Its task must not be begun, nor dropped, before the table is let go.
    fn enter(
        &self,
        running: &mut Running,
        stream: Arc<Stream>,
        place: OwnedSemaphorePermit,
        transfer: Option<Box<Transfer>>,
    ) -> Pump {
        running.by_digest.entry(stream.digest.clone()).or_default().push(Arc::clone(&stream));
        running.share_out();
        let gauge = self.0.metrics.relay();
        Pump::new(self.clone(), stream, transfer, (place, gauge))
    }

    /// Whether somebody waits for a place.
    pub(super) fn is_crowded(&self) -> bool {
        self.0.places.available_permits() == 0
    }

    /// Takes this very relay out of the table.
    pub(super) fn remove(&self, stream: &Arc<Stream>) {
        let mut running = self.locked();
        if let Some(others) = running.by_digest.get_mut(&stream.digest) {
            others.retain(|other| !Arc::ptr_eq(other, stream));
            if others.is_empty() {
                running.by_digest.remove(&stream.digest);
            }
        }
        running.share_out();
    }

    /// How many relays there are, what they keep in memory, and what they may.
    #[cfg(test)]
    pub(in crate::mirror) fn held(&self) -> (usize, u64, u64) {
        let running = self.locked();
        let held = running.all().map(|stream| {
            let state = stream.lock();
            (state.blocks.allocated(), state.window.capacity())
        });
        held.fold((0, 0, 0), |(count, kept, room), (more, part)| (count + 1, kept + more, room + part))
    }

    fn locked(&self) -> MutexGuard<'_, Running> {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn all(&self) -> impl Iterator<Item = &Arc<Stream>> {
        self.by_digest.values().flatten()
    }

    fn of<'a>(&'a self, digest: &Digest, source: &'a Source) -> impl Iterator<Item = &'a Arc<Stream>> {
        self.by_digest.get(digest).into_iter().flatten().filter(move |stream| stream.source == *source)
    }

    /// Divides the memory anew. No other place holds the locks of two relays.
    fn share_out(&self) {
        let mut states: Vec<_> = self.all().map(|stream| stream.lock()).collect();
        let mut windows: Vec<_> = states.iter_mut().map(|state| &mut state.window).collect();
        share_out(&mut windows);
        states.iter_mut().for_each(|state| state.trim());
        drop(states);
        self.all().for_each(|stream| stream.wake());
    }
}

impl fmt::Debug for Relays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relays").field("running", &self.locked().all().count()).finish_non_exhaustive()
    }
}
