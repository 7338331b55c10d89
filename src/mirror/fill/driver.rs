//! The task behind a fill: asks upstream, opens the file, keeps transfers running, and ends it one way or the other.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use tokio::task::{Id, JoinError, spawn_blocking};
use tokio_util::task::TaskTracker;

use crate::oci::Digest;
use crate::store::{Partial, Ranges, StoreError};
use crate::telemetry::FillResult;

use super::super::answer::Refusal;
use super::coding::Reading;
use super::crew::Crew;
use super::fetch::{Ended, Work};
use super::opening::Opened;
use super::plan;
use super::progress::Phase;
use super::recorder::Recorder;
use super::sink::{self, Sink};
use super::source::Source;
use super::table::{Fill, Fills};

/// Transfers of one fill at a time: one at the lowest missing byte, one where a reader waits or to follow the first.
const CONNECTIONS: usize = 2;

pub(super) struct Driver {
    pub(super) fills: Fills,
    pub(super) fill: Arc<Fill>,
}

/// How a fill ends without a blob in the store.
pub(super) enum End {
    Refused(Refusal),
    /// The disk would not take it.
    Unstored(String),
    WrongDigest(String),
    Stopped,
}

impl Driver {
    pub(super) fn new(fills: Fills, fill: Arc<Fill>) -> Self {
        Self { fills, fill }
    }

    /// Runs the fill to its end. Whatever happens, a panic included, readers learn of it and the table forgets it.
    pub(super) async fn run(self) {
        let gauge = self.fills.metrics.fill();
        let result = match self.drive().await {
            Ok(true) => FillResult::Committed,
            Ok(false) | Err(End::Refused(_)) => FillResult::Failed,
            Err(End::WrongDigest(_)) => FillResult::WrongDigest,
            Err(End::Stopped) => FillResult::Stopped,
            Err(End::Unstored(_)) => FillResult::Bypassed,
        };
        gauge.end(result);
    }

    /// Whether the blob was committed; it came whole and right in any case.
    async fn drive(&self) -> Result<bool, End> {
        let mut wrong = false;
        loop {
            let opened = tokio::select! {
                opened = self.open() => opened,
                () = self.fills.stop.cancelled() => Err(End::Stopped),
            };
            let ended = match opened {
                Ok(opened) => self.generation(opened).await,
                Err(end) => Err(end),
            };
            match ended {
                Err(End::WrongDigest(reason)) if !wrong && self.fill.wants.any_untouched() => {
                    wrong = true;
                    tracing::error!(digest = %self.fill.digest, reason, "wrong content; the blob is fetched once more");
                }
                Err(end) => {
                    self.tell(&end);
                    log(&self.fill.digest, &end);
                    return Err(end);
                }
                committed => return committed,
            }
        }
    }

    /// Tells the readers how the fill ended, the moment that is known: what is still to be done on the disk is none of
    /// theirs. What has been verified stays so.
    fn tell(&self, end: &End) {
        let phase = match end {
            End::Refused(refusal) => Phase::Failed(refusal.clone()),
            End::WrongDigest(reason) => Phase::Failed(Refusal::WrongContent { reason: reason.clone() }),
            End::Stopped => {
                Phase::Failed(Refusal::Internal { reason: "the mirror is shutting down".to_owned() })
            }
            End::Unstored(_) => Phase::Unstored,
        };
        self.fill.progress.send_if_modified(|progress| {
            let running = progress.phase == Phase::Running;
            if running {
                progress.phase = phase;
            }
            running
        });
    }

    /// Takes bytes that are known to be wrong away from the readers, at once.
    fn condemn(&self) {
        self.fill.progress.send_modify(|progress| {
            progress.generation += 1;
            // Who sends wrong bytes may have told a wrong size too.
            progress.size = None;
            progress.present = Ranges::new();
            progress.file = None;
        });
    }

    /// Fills one file to its end.
    async fn generation(&self, opened: Opened) -> Result<bool, End> {
        let Opened { partial, size, source, transfer, reading } = opened;
        let partial = Arc::new(partial);
        let digest = self.fill.digest.clone();
        let sink = Arc::new(Sink::new(digest.clone(), size, partial.file(), Arc::clone(&self.fill.progress)));
        let (progress, writes) = (Arc::clone(&self.fill.progress), TaskTracker::new());
        let share = self.fill.share.clone();
        let work = Work { digest, size, sink: Arc::clone(&sink), progress, reading, share, writes };
        let mut crew = Crew::new(Arc::new(work));
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
        let recorded = self.fill.progress.borrow().present.total();
        let mut recorder = Recorder::new(Arc::clone(&partial), recorded);
        let end = self.fill_up(&mut crew, &mut recorder).await;
        let present = self.fill.progress.borrow().present.clone();
        match &end {
            Ok(()) => {}
            Err(End::WrongDigest(_)) => self.condemn(),
            Err(end) => self.tell(end),
        }
        if end.is_err() {
            sink.give_up();
        }
        crew.recall().await;
        recorder.settle().await;
        // It has nothing left to do, or an error has ended it.
        let _ = catching_up.await;
        self.finish(end, partial, present).await
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
                // A blob that is whole is whole, whatever else happens in the same moment.
                biased;
                verdict = &mut verdict => return match verdict {
                    sink::Verdict::Matches => Ok(()),
                    sink::Verdict::Differs(found) => Err(End::WrongDigest(format!(
                        "{} bytes came for {} whose digest is {found}", crew.work.size, crew.work.digest
                    ))),
                    sink::Verdict::Unreadable(error) => Err(End::Unstored(error)),
                },
                Some(ended) = crew.transfers.join_next() => self.take_back(crew, ended).await?,
                () = self.fills.stop.cancelled() => return Err(End::Stopped),
                () = self.fill.wants.changed() => {}
                _ = recorder.due.tick() => {}
                _ = present.changed() => {
                    // Every write comes by here, so the full plan is made only when it may change something.
                    let here = &present.borrow_and_update().present;
                    plan_anew = crew.transfers.len() < CONNECTIONS && plan::is_handover_due(here, &crew.ranges());
                }
            }
            recorder.record_if_due(&self.fill);
        }
    }

    /// Sends out transfers for what is to be fetched next.
    fn staff(&self, crew: &mut Crew) -> Result<(), End> {
        while !crew.sequential && crew.transfers.len() < CONNECTIONS {
            let Some(range) = self.next_range(crew) else { break };
            let Some(source) = self.fill.next_source() else {
                return Err(End::Refused(self.fill.last_refusal()));
            };
            crew.send(source, range, None);
        }
        Ok(())
    }

    /// Looks at the progress and lets go of it, before anybody else's lock is taken.
    fn next_range(&self, crew: &Crew) -> Option<Range<u64>> {
        let wants = self.fill.wants.snapshot();
        plan::next(crew.work.size, &self.fill.progress.borrow().present, &crew.ranges(), &wants)
    }

    async fn take_back(
        &self,
        crew: &mut Crew,
        ended: Result<(Id, Source, Ended), JoinError>,
    ) -> Result<(), End> {
        let (id, source, ended) = ended.map_err(|error| {
            End::Refused(Refusal::Internal { reason: format!("a transfer's task ended early: {error}") })
        })?;
        let range = crew.forget(id).unwrap_or(0..crew.work.size);
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
                match self.fill.next_source() {
                    None => Err(End::Refused(refusal)),
                    Some(other) if crew.work.reading != Reading::AsSent => {
                        // Ranges of a coding are no ranges of the content.
                        crew.send(other, range, None);
                        Ok(())
                    }
                    Some(_) => {
                        // It may take ranges; if not, that will be seen.
                        crew.sequential = false;
                        Ok(())
                    }
                }
            }
        }
    }

    /// Commits, keeps or drops the file, as the fill ended.
    async fn finish(
        &self,
        end: Result<(), End>,
        partial: Arc<Partial>,
        present: Ranges,
    ) -> Result<bool, End> {
        let anonymous = self.fill.is_anonymous();
        let sources = self.fill.confirmed();
        if end.is_ok() {
            // Proven now: what came through them is what they were asked for.
            for Source { site, repository, .. } in &sources {
                self.fills.store.add_member(site.name(), repository, &self.fill.digest);
            }
        }
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
            match sources.first() {
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
}

fn log(digest: &Digest, end: &End) {
    match end {
        End::Unstored(reason) => {
            tracing::warn!(%digest, reason, "the store does not take a blob; it is streamed");
        }
        End::Refused(refusal) => tracing::warn!(%digest, ?refusal, "a fill failed"),
        End::WrongDigest(reason) => tracing::error!(%digest, reason, "a fill failed on wrong content"),
        End::Stopped => tracing::info!(%digest, "a fill stops; what it brought stays"),
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
