//! One transfer of a fill: a range of the blob, from upstream into the sink, taken up again where it breaks.

use std::io;
use std::ops::Range;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::TaskTracker;

use crate::oci::Digest;
use crate::upstream::{Ask, Cause, Failure, Transfer, Turn};

use super::super::mode::Contact;
use super::coding::Reading;
use super::gathered::{Gathered, Part};
use super::progress::Progress;
use super::retry::Budget;
use super::sink::Sink;
use super::source::Source;
use super::table::Fill;

/// Pieces of a transfer go to the disk no closer together than this, unless there is enough for one. Each costs threads that are
/// woken, and a place of its own in the system's memory; a reader gets bytes later by so much, and at the most by twice that.
const MOMENT: Duration = Duration::from_millis(5);

/// What all transfers of one generation of a fill share.
pub(super) struct Work {
    pub(super) fill: Arc<Fill>,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) sink: Arc<Sink>,
    pub(super) progress: Arc<watch::Sender<Progress>>,
    pub(super) reading: Reading,
    /// Through whom some of it came already.
    pub(super) given: Mutex<Vec<Source>>,
    /// For how many microseconds something was on its way to the disk, of all transfers together.
    pub(super) busy_us: AtomicU64,
    /// Writes that may outlive the transfer that ordered them; the file is not done with before they are.
    pub(super) writes: TaskTracker,
}

impl Work {
    /// For how long something was on its way to the disk, of all transfers together.
    pub(super) fn busy(&self) -> Duration {
        Duration::from_micros(self.busy_us.load(Ordering::Relaxed))
    }

    fn note(&self, source: &Source) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        if !given.contains(source) {
            given.push(source.clone());
        }
    }

    fn has_come_by(&self, source: &Source) -> bool {
        self.given.lock().unwrap_or_else(PoisonError::into_inner).contains(source)
    }
}

/// How a transfer ended.
pub(super) enum Ended {
    /// Its range is present.
    Done,
    /// Upstream answered the whole blob to a range: this is the one transfer to go on with.
    RangeIgnored(Box<Transfer>),
    /// Upstream tells another size now, and nobody of it goes on with the one before: what was sent, or what would be, is
    /// something else.
    Resized(u64),
    /// Upstream is left alone for a moment, and there is somebody else to ask; or it is not asked at all any more.
    Away,
    /// Upstream could not or would not, and the budget is spent.
    Broken(Failure),
    /// The disk did not take it.
    Disk(io::Error),
}

/// One transfer's orders.
pub(super) struct Order {
    pub(super) source: Source,
    /// What to bring. Nothing else brings any of it meanwhile, except bytes that are present already, which are
    /// passed over when `sequential`.
    pub(super) range: Range<u64>,
    /// A transfer that runs already, for the start of the range or before it.
    pub(super) running: Option<Box<Transfer>>,
    /// Upstream sends the whole blob or nothing.
    pub(super) sequential: bool,
}

impl Order {
    /// Fetches it. `turn` is the connection that it may have.
    pub(super) async fn run(mut self, work: Arc<Work>, turn: &Turn) -> Ended {
        let mut at = self.range.start;
        let mut budget = Budget::default();
        let (mut other_size, mut denied) = (None, 0);
        // Without anybody to go on with, what is here was put where another size said, and nothing will make it right.
        let without = |failure, other_size: Option<u64>| match other_size {
            Some(total) => Ended::Resized(total),
            None => Ended::Broken(failure),
        };
        loop {
            let opened = self.open(&work, at, turn).await;
            let told = opened.as_ref().ok().and_then(|transfer| resized(transfer, &work));
            let broken = match (opened, told) {
                (Ok(transfer), Some(total)) => {
                    if !transfer.disagrees() {
                        return Ended::Resized(total);
                    }
                    other_size = told;
                    Failure::DidNotAnswer(Cause::Garbage("another size of the blob than was told".into()))
                }
                (Ok(transfer), None) if transfer.start > at => {
                    Failure::DidNotAnswer(Cause::Garbage("the range begins beyond what was asked".into()))
                }
                (Ok(transfer), None) if transfer.start < at && !self.sequential => {
                    return Ended::RangeIgnored(transfer);
                }
                (Ok(transfer), None) => {
                    denied = 0;
                    work.note(&self.source);
                    match self.pump(&work, transfer, &mut at, &mut budget).await {
                        Ok(()) => return Ended::Done,
                        Err(Stopped::Disk(error)) => return Ended::Disk(error),
                        Err(Stopped::Broken(cause)) => Failure::DidNotAnswer(cause),
                    }
                }
                // The size that was told is wrong, or this one is. Where all say so, it is no use to go on asking.
                (Err(Failure::RangeNotSatisfiable { total: Some(total) }), _)
                    if (1..=at).contains(&total) =>
                {
                    let upstream = self.source.site.upstream();
                    denied += 1;
                    if denied >= upstream.endpoint_count() {
                        return Ended::Resized(total);
                    }
                    other_size = Some(total);
                    upstream.distrust(&self.source.whereabouts);
                    Failure::RangeNotSatisfiable { total: Some(total) }
                }
                // A refusal of what upstream was sending a moment ago is more likely a trouble of its own.
                (Err(failure @ Failure::SaidNo(no)), _)
                    if at == self.range.start
                        && !(no.is_about_access() && work.has_come_by(&self.source)) =>
                {
                    return without(failure, other_size);
                }
                (Err(failure), _) => failure,
            };
            let upstream = self.source.site.upstream();
            if self.source.site.contact() == Contact::Offline {
                return Ended::Away;
            }
            let rest = upstream.rest();
            if rest.is_some() && work.fill.has_another(&self.source) {
                return Ended::Away;
            }
            let Some(wait) = budget.spend_on(&broken, Instant::now(), rest) else {
                return without(broken, other_size);
            };
            tracing::info!(
                digest = %work.digest, at, upstream = self.source.site.name(), error = %broken,
                "a transfer broke; it goes on at the byte it reached"
            );
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = upstream.until_shut() => return Ended::Away,
            }
        }
    }

    async fn open(&mut self, work: &Work, at: u64, turn: &Turn) -> Result<Box<Transfer>, Failure> {
        if let Some(transfer) = self.running.take() {
            return Ok(transfer);
        }
        let ask = match at {
            0 if self.range.end == work.size => Ask::Whole,
            _ => Ask::Range { start: at, end: self.range.end },
        };
        let upstream = self.source.site.upstream();
        if work.reading != Reading::AsSent {
            let transfer = upstream
                .blob_decoded(&self.source.repository, &work.digest, &self.source.whereabouts, turn)
                .await?;
            return Ok(Box::new(transfer));
        }
        upstream
            .blob(&self.source.repository, &work.digest, ask, &self.source.whereabouts, turn)
            .await
            .map(Box::new)
    }

    /// Moves bytes until the range is there. While one piece is on its way to the disk, and until a moment after it was handed
    /// over, the next is gathered. The first goes at once, since somebody waits for it, and so does what is left at an end.
    async fn pump(
        &self,
        work: &Arc<Work>,
        mut transfer: Box<Transfer>,
        at: &mut u64,
        budget: &mut Budget,
    ) -> Result<(), Stopped> {
        let mut position = transfer.start;
        let mut gathered = Gathered::default();
        let mut writing: Option<Writing> = None;
        let (mut due, mut has_come) = (Instant::now(), false);
        let mut waiting = pin!(sleep_until(due));
        let ended = loop {
            if *at >= self.range.end {
                break Ok(());
            }
            if writing.is_none() && !gathered.is_empty() {
                let now = Instant::now();
                if gathered.is_full() || now >= due {
                    // Nothing may follow for long.
                    let part = if has_come { Part::Aligned } else { Part::All };
                    writing = land(work, &mut gathered, part);
                    (due, has_come) = (now + MOMENT, false);
                    waiting.as_mut().reset(due);
                }
            }
            let arrived = tokio::select! {
                biased;
                landed = finish(work, &mut writing), if writing.is_some() => {
                    landed?;
                    continue;
                }
                () = &mut waiting, if writing.is_none() && !gathered.is_empty() => continue,
                arrived = transfer.chunk(), if !gathered.is_full() => arrived,
            };
            let chunk = match arrived {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break Err(Stopped::Broken(Cause::Cut)),
                Err(cause) => break Err(Stopped::Broken(cause)),
            };
            has_come = true;
            for (offset, bytes) in self.wanted(work, position, &chunk) {
                if !gathered.goes_on_at(offset) {
                    finish(work, &mut writing).await?;
                    writing = land(work, &mut gathered, Part::All);
                }
                gathered.push(offset, bytes);
            }
            position += chunk.len() as u64;
            // Bytes that were present count as reached.
            let reached = position.min(self.range.end);
            if reached > *at {
                *at = reached;
                // Progress, and not merely bytes: an upstream that begins at 0 each time and ends early has none.
                budget.refill();
            }
        };
        finish(work, &mut writing).await?;
        writing = land(work, &mut gathered, Part::All);
        finish(work, &mut writing).await?;
        ended
    }

    /// The parts of a chunk at `position` that this order is to bring and that are not present.
    fn wanted(&self, work: &Work, position: u64, chunk: &Bytes) -> Vec<(u64, Bytes)> {
        let end = (position + chunk.len() as u64).min(self.range.end);
        let start = position.max(self.range.start);
        if start >= end {
            return Vec::new();
        }
        let cut = |from: u64, to: u64| {
            let range =
                usize::try_from(from - position).unwrap_or(0)..usize::try_from(to - position).unwrap_or(0);
            (from, chunk.slice(range))
        };
        // What is present may be hashed already, so nothing is ever written over it.
        work.progress.borrow().present.missing_in(start..end).map(|gap| cut(gap.start, gap.end)).collect()
    }
}

/// The size that an answer tells, if it is not that of the blob which is being filled.
fn resized(transfer: &Transfer, work: &Work) -> Option<u64> {
    transfer.total.filter(|total| work.reading == Reading::AsSent && *total != work.size)
}

enum Stopped {
    Broken(Cause),
    Disk(io::Error),
}

/// A piece on its way to the disk.
struct Writing {
    landing: JoinHandle<io::Result<()>>,
    since: Instant,
}

/// Hands a part of what was gathered to the disk, which has nothing else of this transfer to do.
fn land(work: &Arc<Work>, gathered: &mut Gathered, part: Part) -> Option<Writing> {
    let (offset, piece) = gathered.take(part);
    if piece.is_empty() {
        return None;
    }
    let sink = Arc::clone(&work.sink);
    let landing = work.writes.spawn_blocking(move || sink.land(offset, &piece));
    Some(Writing { landing, since: Instant::now() })
}

/// Waits for what is on its way to the disk. Nothing is lost when the future is dropped.
async fn finish(work: &Work, writing: &mut Option<Writing>) -> Result<(), Stopped> {
    let Some(Writing { landing, since }) = writing else { return Ok(()) };
    let landed = landing.await;
    let took = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
    work.busy_us.fetch_add(took, Ordering::Relaxed);
    *writing = None;
    match landed {
        Ok(landed) => landed.map_err(Stopped::Disk),
        Err(_) => Err(Stopped::Disk(io::Error::other("the task that writes ended early"))),
    }
}
