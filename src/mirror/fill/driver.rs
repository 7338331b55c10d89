//! The task behind a fill: asks upstream, opens the file, keeps transfers running, and ends it one way or the other.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::task::TaskTracker;

use crate::store::{Partial, StoreError};
use crate::telemetry::FillResult;
use crate::upstream::{Ask, Failure, RedirectMemo, Transfer};

use super::super::answer::{Refusal, Wanted};
use super::coding::{self, Reading};
use super::fetch::{Ended, Order, Work};
use super::plan;
use super::progress::Phase;
use super::sink::{self, Sink};
use super::source::Source;
use super::table::{Fill, Fills};

/// Transfers of one fill at a time: one at the lowest missing byte, one where a reader waits or to follow the first.
const CONNECTIONS: usize = 2;

/// Present ranges are recorded at least this often, in bytes and in time, so that little is fetched again after a
/// crash.
const RECORD_EVERY_BYTES: u64 = 16 << 20;
const RECORD_EVERY: Duration = Duration::from_secs(2);

pub(super) struct Driver {
    fills: Fills,
    fill: Arc<Fill>,
    memo: Arc<RedirectMemo>,
}

/// What a generation starts with.
struct Opened {
    partial: Partial,
    size: u64,
    source: Source,
    /// The transfer that brought upstream's word, unless everything was on the disk already.
    transfer: Option<Box<Transfer>>,
    reading: Reading,
}

/// How a fill ends without a blob in the store.
enum End {
    Refused(Refusal),
    /// The disk would not take it.
    Unstored(String),
    WrongDigest(String),
    Stopped,
}

impl Driver {
    pub(super) fn new(fills: Fills, fill: Arc<Fill>) -> Self {
        Self { fills, fill, memo: Arc::default() }
    }

    /// Runs the fill to its end. Whatever happens, a panic included, readers learn of it and the table forgets it.
    pub(super) async fn run(self) {
        let gauge = self.fills.metrics.fill();
        let result = match self.drive().await {
            Ok(true) => FillResult::Committed,
            Ok(false) => FillResult::Failed,
            Err(End::Refused(refusal)) => self.fail(refusal, FillResult::Failed),
            Err(End::WrongDigest(reason)) => {
                self.fail(Refusal::WrongContent { reason }, FillResult::WrongDigest)
            }
            Err(End::Stopped) => {
                let reason = "the mirror is shutting down".to_owned();
                self.fail(Refusal::Internal { reason }, FillResult::Stopped)
            }
            Err(End::Unstored(reason)) => {
                tracing::warn!(digest = %self.fill.digest, reason, "the store does not take a blob; it is streamed");
                self.fill.progress.send_modify(|progress| progress.phase = Phase::Unstored);
                FillResult::Bypassed
            }
        };
        gauge.end(result);
    }

    fn fail(&self, refusal: Refusal, result: FillResult) -> FillResult {
        tracing::warn!(digest = %self.fill.digest, ?refusal, "a fill failed");
        self.fill.progress.send_modify(|progress| progress.phase = Phase::Failed(refusal));
        result
    }

    /// Whether the blob was committed; it came whole and right in any case.
    async fn drive(&self) -> Result<bool, End> {
        let mut wrong = false;
        loop {
            let opened = self.open().await?;
            match self.generation(opened).await {
                Err(End::WrongDigest(reason)) if !wrong && self.fill.wants.any_untouched() => {
                    wrong = true;
                    tracing::error!(digest = %self.fill.digest, reason, "wrong content; the blob is fetched once more");
                    self.fill.progress.send_modify(|progress| {
                        progress.generation += 1;
                        progress.present = crate::store::Ranges::new();
                        progress.file = None;
                    });
                }
                ended => return ended,
            }
        }
    }

    /// Gets upstream's word on the blob, through one source after the other, and the file to fill.
    async fn open(&self) -> Result<Opened, End> {
        let mut partial = self.leftover().await;
        loop {
            let source = self.fill.first_source().ok_or_else(|| {
                let refused = self.fill.progress.borrow().refused.last().map(|(_, refusal)| refusal.clone());
                End::Refused(refused.unwrap_or(Refusal::SaidNo { status: 404 }))
            })?;
            let first = match &partial {
                Some((partial, size)) => {
                    match plan::next(*size, &partial.present(), &[], &self.fill.wants.snapshot()) {
                        Some(range) => First::Range(range),
                        None => First::Nothing,
                    }
                }
                None => self.first_of_nothing(&source),
            };
            let FirstAnswer { size: told, transfer, reading } =
                match self.first_transfer(&source, first).await {
                    Ok(found) => found,
                    Err(failure) => {
                        self.fill.drop_source(&source, failure.into());
                        continue;
                    }
                };
            self.fills.store.add_member(source.site.name(), &source.repository, &self.fill.digest);
            let known = partial.as_ref().map(|(_, size)| *size);
            let Some(size) = told.or(known).or_else(|| self.hint(&source)) else {
                return Err(End::Unstored("upstream does not tell its size".to_owned()));
            };
            if size == 0 && !self.fill.digest.is_empty_content() {
                // No reader may be told so, not even the first: an empty body would be complete at once (T31).
                return Err(End::WrongDigest(format!("upstream says that {} is empty", self.fill.digest)));
            }
            let partial = match partial.take() {
                Some((partial, known)) if known == size => partial,
                _ => self.reserve(size).await?,
            };
            partial.set_anonymous(self.fill.is_anonymous());
            let (file, present) = (partial.file(), partial.present());
            self.fill.progress.send_modify(|progress| {
                progress.size = Some(size);
                progress.file = Some(file);
                progress.present = present;
            });
            return Ok(Opened { partial, size, source, transfer, reading });
        }
    }

    /// What a former run, or a former fill, left of this blob.
    async fn leftover(&self) -> Option<(Partial, u64)> {
        if self.fill.progress.borrow().generation > 0 {
            return None;
        }
        let (store, digest) = (self.fills.store.clone(), self.fill.digest.clone());
        let left = spawn_blocking(move || {
            let (size, _) = store.recorded(&digest)?;
            Some((store.partial(&digest, size).ok()?, size))
        });
        left.await.ok().flatten()
    }

    /// Reserves room for the blob and opens its file. Where there is no room the size is told all the same, since readers
    /// who stream for themselves need it; in one step with that there is none, or one of them would be told that the blob
    /// is being stored.
    async fn reserve(&self, size: u64) -> Result<Partial, End> {
        let (store, digest) = (self.fills.store.clone(), self.fill.digest.clone());
        let reserved = spawn_blocking(move || store.partial(&digest, size)).await;
        reserved.unwrap_or_else(|error| Err(lost_task("reserve room", error))).map_err(|error| {
            self.fill.progress.send_modify(|progress| {
                progress.size = Some(size);
                progress.phase = Phase::Unstored;
            });
            End::Unstored(error.to_string())
        })
    }

    /// What to ask first where nothing is here: what the first reader wants, in one piece.
    fn first_of_nothing(&self, source: &Source) -> First {
        let hint = self.hint(source);
        let within = |start: u64, end: u64| match hint {
            Some(size) if start >= size => First::Range(0..size.min(plan::PIECE)),
            Some(size) => First::Range(plan::opening(&(start..end.min(size)))),
            None => First::Range(plan::opening(&(start..end))),
        };
        match &self.fill.opening {
            Wanted::Whole | Wanted::From(0) if hint.is_some_and(|size| size <= plan::PIECE) => First::Whole,
            Wanted::Whole => within(0, u64::MAX),
            Wanted::From(first) => within(*first, u64::MAX),
            Wanted::Closed { first, last } => within(*first, last.saturating_add(1)),
            Wanted::Suffix(length) => match hint {
                Some(size) => within(size.saturating_sub(*length), size),
                None => First::Suffix((*length).min(plan::PIECE)),
            },
            Wanted::Several(ranges) => match ranges.first() {
                Some((first, last)) => within(*first, last.saturating_add(1)),
                None => within(0, u64::MAX),
            },
        }
    }

    /// The size by a manifest of the repository: for planning, and for upstreams that tell none.
    fn hint(&self, source: &Source) -> Option<u64> {
        let named = self.fills.store.is_named(source.site.name(), &source.repository, &self.fill.digest);
        named.filter(|size| *size > 0)
    }

    async fn first_transfer(&self, source: &Source, first: First) -> Result<FirstAnswer, Failure> {
        let (upstream, repository, digest) = (source.site.upstream(), &source.repository, &self.fill.digest);
        let memo = &self.memo;
        let ask = match first {
            First::Nothing => {
                // All bytes are here from a former run; upstream is asked only for its word on the repository.
                if !self.fills.store.is_member(source.site.name(), repository, digest) {
                    upstream.head_blob(repository, digest).await?;
                }
                return Ok(FirstAnswer { size: None, transfer: None, reading: Reading::AsSent });
            }
            First::Whole => Ask::Whole,
            First::Range(range) => Ask::Range { start: range.start, end: range.end },
            First::Suffix(length) => Ask::Suffix(length),
        };
        let transfer = match upstream.blob(repository, digest, ask, memo).await {
            Ok(transfer) => transfer,
            // A first guess beyond the end of the blob, or any range of an empty one: begin at the start.
            Err(Failure::RangeNotSatisfiable { total }) => {
                let ask = match total {
                    Some(total) if total > plan::PIECE => Ask::Range { start: 0, end: plan::PIECE },
                    _ => Ask::Whole,
                };
                upstream.blob(repository, digest, ask, memo).await?
            }
            Err(failure) => return Err(failure),
        };
        let hint = self.hint(source);
        let reading = coding::reading_of(&transfer, hint, upstream, repository, digest).await;
        if let Reading::Decoded { size } = reading {
            let transfer = upstream.blob_decoded(repository, digest, memo).await?;
            return Ok(FirstAnswer { size: Some(size), transfer: Some(Box::new(transfer)), reading });
        }
        let total = match transfer.total {
            Some(total) => Some(total),
            // A HEAD may cost a body where ranges are ignored, so the manifest's word will do.
            None if hint.is_some() => hint,
            None => upstream.head_blob(repository, digest).await.ok().and_then(|head| head.size),
        };
        Ok(FirstAnswer { size: total, transfer: Some(Box::new(transfer)), reading })
    }

    /// Fills one file to its end.
    async fn generation(&self, opened: Opened) -> Result<bool, End> {
        let Opened { partial, size, source, transfer, reading } = opened;
        let partial = Arc::new(partial);
        let digest = self.fill.digest.clone();
        let sink = Arc::new(Sink::new(digest.clone(), size, partial.file(), Arc::clone(&self.fill.progress)));
        let memo = Arc::clone(&self.memo);
        let progress = Arc::clone(&self.fill.progress);
        let work = Arc::new(Work {
            digest,
            size,
            sink: Arc::clone(&sink),
            progress,
            memo,
            reading,
            writes: TaskTracker::new(),
        });
        let mut crew = Crew { work, transfers: JoinSet::new(), under_way: Vec::new(), sequential: false };
        if let Some(transfer) = transfer {
            let decoded = reading != Reading::AsSent;
            let range = if decoded { 0..size } else { transfer.start..transfer.end.unwrap_or(size) };
            // More than was asked: upstream ignores ranges. Ranges of a coding are no ranges of the content.
            crew.sequential = decoded || (range == (0..size) && size > plan::PIECE);
            crew.send(source, range, Some(transfer));
        }
        // Hashes what a former run left, and settles an empty blob, which no transfer will.
        let catching_up = {
            let sink = Arc::clone(&sink);
            spawn_blocking(move || sink.catch_up())
        };
        let mut recorder = Recorder::new(Arc::clone(&partial), self.present_total());
        let end = self.fill_up(&mut crew, &mut recorder).await;
        crew.recall().await;
        recorder.settle().await;
        // It has nothing left to do, or an error has ended it.
        let _ = catching_up.await;
        self.finish(end, partial).await
    }

    async fn fill_up(&self, crew: &mut Crew, recorder: &mut Recorder) -> Result<(), End> {
        let sink = Arc::clone(&crew.work.sink);
        let verdict = sink.verdict();
        tokio::pin!(verdict);
        let mut present = self.fill.progress.subscribe();
        let mut plan_anew = true;
        loop {
            if plan_anew {
                self.staff(crew)?;
            }
            plan_anew = true;
            tokio::select! {
                verdict = &mut verdict => return match verdict {
                    sink::Verdict::Matches => Ok(()),
                    sink::Verdict::Differs(found) => Err(End::WrongDigest(format!(
                        "{} bytes came for {} whose digest is {found}", crew.work.size, crew.work.digest
                    ))),
                    sink::Verdict::Unreadable(error) => Err(End::Unstored(error)),
                },
                Some(ended) = crew.transfers.join_next() => self.take_back(crew, ended).await?,
                () = self.fill.wants.changed() => {}
                _ = present.changed() => {
                    // Every write comes by here, so the full plan is made only when it may change something.
                    let here = &present.borrow_and_update().present;
                    plan_anew = crew.transfers.len() < CONNECTIONS && plan::is_handover_due(here, &crew.ranges());
                }
                _ = recorder.due.tick() => {}
                () = self.fills.stop.cancelled() => return Err(End::Stopped),
            }
            recorder.record_if_due(self);
        }
    }

    /// Sends out transfers for what is to be fetched next.
    fn staff(&self, crew: &mut Crew) -> Result<(), End> {
        while !crew.sequential && crew.transfers.len() < CONNECTIONS {
            let Some(range) = self.next_range(crew) else { break };
            let Some(source) = self.fill.first_source() else {
                return Err(End::Refused(self.last_refusal()));
            };
            crew.send(source, range, None);
        }
        Ok(())
    }

    fn next_range(&self, crew: &Crew) -> Option<Range<u64>> {
        let wants = self.fill.wants.snapshot();
        plan::next(crew.work.size, &self.fill.progress.borrow().present, &crew.ranges(), &wants)
    }

    fn last_refusal(&self) -> Refusal {
        let refused = self.fill.progress.borrow().refused.last().map(|(_, refusal)| refusal.clone());
        refused.unwrap_or(Refusal::SaidNo { status: 404 })
    }

    async fn take_back(
        &self,
        crew: &mut Crew,
        ended: Result<(tokio::task::Id, Source, Ended), tokio::task::JoinError>,
    ) -> Result<(), End> {
        let (id, source, ended) = ended.map_err(|error| {
            End::Refused(Refusal::Internal { reason: format!("a transfer's task ended early: {error}") })
        })?;
        let range = crew.forget(id);
        match ended {
            Ended::Done => {
                // The one sequential transfer is at its end, or the plan goes on.
                crew.sequential = false;
                Ok(())
            }
            Ended::RangeIgnored(transfer) => {
                if !crew.sequential {
                    tracing::info!(digest = %self.fill.digest, "upstream ignores ranges; one transfer brings all of it");
                    crew.recall().await;
                    crew.sequential = true;
                    crew.send(source, 0..crew.work.size, Some(transfer));
                }
                Ok(())
            }
            Ended::Disk(error) => Err(End::Unstored(error.to_string())),
            Ended::Broken(failure) => {
                let refusal = Refusal::from(failure);
                self.fill.drop_source(&source, refusal.clone());
                match self.fill.first_source() {
                    None => Err(End::Refused(refusal)),
                    Some(other) if crew.sequential => {
                        crew.send(other, range.unwrap_or(0..crew.work.size), None);
                        Ok(())
                    }
                    Some(_) => Ok(()),
                }
            }
        }
    }

    /// Commits, keeps or drops the file, as the fill ended.
    async fn finish(&self, end: Result<(), End>, partial: Arc<Partial>) -> Result<bool, End> {
        let present = self.fill.progress.borrow().present.clone();
        let anonymous = self.fill.is_anonymous();
        let source = self.fill.first_source();
        let digest = self.fill.digest.clone();
        let wrong = matches!(end, Err(End::WrongDigest(_)));
        let unstored = matches!(end, Err(End::Unstored(_)));
        let matches = end.is_ok();
        let finished = spawn_blocking(move || {
            // Only the recorder ever shares it, and the recorder has ended with the loop.
            let Some(partial) = Arc::into_inner(partial) else {
                let error = io::Error::other("the unfinished file is still in use");
                return Err(StoreError::Io { doing: "end a fill", error });
            };
            match source {
                Some(source) if matches => {
                    return partial.commit(anonymous, source.site.name(), &source.repository);
                }
                _ if wrong => partial.set_aside(),
                _ if unstored => partial.discard(),
                _ => {
                    partial.set_anonymous(anonymous);
                    partial.keep(&present);
                }
            }
            Ok(())
        });
        let finished = finished.await;
        let kept = matches!(finished, Ok(Ok(())));
        match finished {
            Ok(Ok(())) => {}
            Ok(Err(error)) if matches => {
                tracing::error!(%digest, %error, "a blob came whole but could not be committed; it is fetched again");
            }
            Ok(Err(error)) => tracing::warn!(%digest, %error, "what was fetched of a blob could not be kept"),
            Err(error) => tracing::error!(%digest, %error, "the task that finishes a fill ended early"),
        }
        end.map(|()| kept)
    }

    fn present_total(&self) -> u64 {
        self.fill.progress.borrow().present.total()
    }
}

/// Upstream's word on the blob.
struct FirstAnswer {
    /// The size, where upstream told one.
    size: Option<u64>,
    /// The transfer that came with it.
    transfer: Option<Box<Transfer>>,
    /// How to read its bytes.
    reading: Reading,
}

fn lost_task(doing: &'static str, error: tokio::task::JoinError) -> StoreError {
    StoreError::Io { doing, error: io::Error::other(error) }
}

/// What a fill asks first.
enum First {
    Whole,
    Range(Range<u64>),
    Suffix(u64),
    /// Every byte is here already.
    Nothing,
}

/// The transfers under way.
struct Crew {
    work: Arc<Work>,
    transfers: JoinSet<(tokio::task::Id, Source, Ended)>,
    under_way: Vec<(tokio::task::Id, Range<u64>)>,
    sequential: bool,
}

impl Crew {
    fn send(&mut self, source: Source, range: Range<u64>, running: Option<Box<Transfer>>) {
        let sequential = self.sequential;
        let order = Order { source: source.clone(), range: range.clone(), running, sequential };
        let work = Arc::clone(&self.work);
        let handle = self.transfers.spawn(async move { (tokio::task::id(), source, order.run(work).await) });
        self.under_way.push((handle.id(), range));
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        self.under_way.iter().map(|(_, range)| range.clone()).collect()
    }

    fn forget(&mut self, id: tokio::task::Id) -> Option<Range<u64>> {
        let at = self.under_way.iter().position(|(other, _)| *other == id)?;
        Some(self.under_way.swap_remove(at).1)
    }

    /// Calls all transfers off, and waits until none of their bytes are on their way to the file: what comes late
    /// would lie over bytes that are hashed already.
    async fn recall(&mut self) {
        self.transfers.shutdown().await;
        self.under_way.clear();
        self.work.writes.close();
        self.work.writes.wait().await;
        self.work.writes.reopen();
    }
}

/// Makes what is present survive a crash, beside the fill.
struct Recorder {
    partial: Arc<Partial>,
    due: tokio::time::Interval,
    recorded: u64,
    since: Instant,
    running: Option<tokio::task::JoinHandle<()>>,
}

impl Recorder {
    fn new(partial: Arc<Partial>, recorded: u64) -> Self {
        let mut due = interval_at(Instant::now() + RECORD_EVERY, RECORD_EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { partial, due, recorded, since: Instant::now(), running: None }
    }

    /// Lets go of the file.
    async fn settle(mut self) {
        if let Some(running) = self.running.take() {
            // A recording that failed has said so.
            let _ = running.await;
        }
    }

    fn record_if_due(&mut self, driver: &Driver) {
        if self.running.as_ref().is_some_and(|running| !running.is_finished()) {
            return;
        }
        let total = driver.present_total();
        let fresh = total.saturating_sub(self.recorded);
        if fresh == 0 || (fresh < RECORD_EVERY_BYTES && self.since.elapsed() < RECORD_EVERY) {
            return;
        }
        self.recorded = total;
        self.since = Instant::now();
        let present = driver.fill.progress.borrow().present.clone();
        let partial = Arc::clone(&self.partial);
        partial.set_anonymous(driver.fill.is_anonymous());
        let digest = driver.fill.digest.clone();
        self.running = Some(spawn_blocking(move || {
            if let Err(error) = partial.record(&present) {
                tracing::warn!(%digest, %error, "the progress of a fill could not be recorded");
            }
        }));
    }
}

/// Takes the fill out of the table and makes sure that its readers know of its end, however its task ends; also when it
/// is dropped before it ran at all.
impl Drop for Driver {
    fn drop(&mut self) {
        self.fill.progress.send_if_modified(|progress| {
            let lost = progress.phase == Phase::Running;
            if lost {
                progress.phase =
                    Phase::Failed(Refusal::Internal { reason: "the fill's task ended early".to_owned() });
            }
            lost
        });
        self.fills.leave(&self.fill);
    }
}
