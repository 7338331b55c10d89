//! The task behind a fill: asks upstream, opens the file, keeps transfers running, and ends it one way or the other.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio::task::spawn_blocking;
use tokio_util::task::TaskTracker;

use crate::oci::{Digest, Repository};
use crate::store::{Partial, Ranges, StoreError};
use crate::telemetry::FillResult;

use super::super::answer::Refusal;
use super::coding::Reading;
use super::crew::Crew;
use super::fetch::Work;
use super::opening::Opened;
use super::pace::LARGEST;
use super::progress::Phase;
use super::recorder::Recorder;
use super::sink::Sink;
use super::source::Source;
use super::table::{Fill, Fills};

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
    /// Nobody reads.
    Paused,
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
            Err(End::Stopped | End::Paused) => FillResult::Stopped,
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
            if let Err(End::WrongDigest(reason)) = &ended {
                self.blame(reason);
            }
            match ended {
                Err(End::WrongDigest(reason)) if !wrong && self.fill.wants.any_untouched() => {
                    wrong = true;
                    tracing::error!(digest = %self.fill.digest, reason, "wrong content; the blob is fetched once more");
                    self.fill.rotate_sources();
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

    /// Remembers who sent wrong content.
    fn blame(&self, reason: &str) {
        for Source { site, .. } in self.fill.confirmed() {
            self.fills.wrong.note(&site, &self.fill.digest, reason);
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
            End::Paused => Phase::Paused,
        };
        self.fill.progress.send_if_modified(|progress| {
            let running = matches!(progress.phase, Phase::Running | Phase::CutOff(_));
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
        let Opened { partial, size, source, first, reading } = opened;
        let partial = Arc::new(partial);
        let digest = self.fill.digest.clone();
        let sink = Arc::new(Sink::new(digest.clone(), size, partial.file(), Arc::clone(&self.fill.progress)));
        let (progress, writes) = (Arc::clone(&self.fill.progress), TaskTracker::new());
        let given = std::sync::Mutex::default();
        let work = Work {
            fill: Arc::clone(&self.fill),
            digest,
            size,
            sink: Arc::clone(&sink),
            progress,
            reading,
            given,
            busy_us: AtomicU64::new(0),
            writes,
        };
        let mut crew = Crew::new(Arc::new(work));
        let policy = source.site.policy().fill;
        if let Some((transfer, turn)) = first {
            let decoded = reading != Reading::AsSent;
            let range = if decoded { 0..size } else { transfer.start..transfer.end.unwrap_or(size) };
            // More than was asked: upstream ignores ranges. Ranges of a coding are no ranges of the content.
            crew.sequential = decoded || (range == (0..size) && size > LARGEST);
            crew.send(source, range, turn, Some(transfer));
        }
        let recorded = self.fill.progress.borrow().present.total();
        // Hashes what a former run left, and settles an empty blob, which no transfer will.
        let catching_up = (recorded > 0 || size == 0).then(|| {
            let sink = Arc::clone(&sink);
            spawn_blocking(move || sink.catch_up())
        });
        let mut recorder = Recorder::new(Arc::clone(&partial), recorded);
        let end = self.fill_up(&mut crew, &mut recorder, policy).await;
        let present = self.fill.progress.borrow().present.clone();
        match &end {
            Ok(()) => {}
            Err(End::WrongDigest(_)) => self.condemn(),
            Err(end) => self.tell(end),
        }
        if end.is_err() {
            sink.give_up();
        }
        if !matches!(end, Err(End::WrongDigest(_))) {
            self.fill.wants.end();
        }
        crew.recall().await;
        recorder.settle().await;
        if let Some(catching_up) = catching_up {
            // It has nothing left to do, or an error has ended it.
            let _ = catching_up.await;
        }
        self.finish(end, partial, present).await
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
                self.fills.wrong.forget(site.name(), &self.fill.digest);
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
                    partial.add_sources(named(sources));
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
            Ok(Err(error)) => {
                tracing::debug!(%digest, %error, "what was fetched of a blob could not be kept")
            }
            Err(error) => tracing::error!(%digest, %error, "the task that finishes a fill ended early"),
        }
        end.map(|()| kept)
    }
}

/// Sources as the store knows them.
pub(super) fn named(sources: Vec<Source>) -> impl Iterator<Item = (String, Repository)> {
    sources.into_iter().map(|Source { site, repository, .. }| (site.name().to_owned(), repository))
}

fn log(digest: &Digest, end: &End) {
    match end {
        End::Unstored(reason) => {
            // Where that is trouble and no setting, the store has said so, once for all blobs.
            tracing::info!(%digest, reason, "the store does not take a blob; it is streamed");
        }
        End::Refused(refusal @ Refusal::Offline { .. }) => {
            tracing::info!(%digest, ?refusal, "a fill ends, since nobody can be asked; what it brought stays");
        }
        End::Refused(refusal) => tracing::warn!(%digest, ?refusal, "a fill failed"),
        End::WrongDigest(reason) => tracing::error!(%digest, reason, "a fill failed on wrong content"),
        End::Stopped => tracing::info!(%digest, "a fill stops; what it brought stays"),
        End::Paused => tracing::debug!(%digest, "nobody reads from a fill; it goes on when somebody asks"),
    }
}

/// Takes the fill out of the table and makes sure that its readers know of its end, however its task ends; also when it
/// is dropped before it ran at all.
impl Drop for Driver {
    fn drop(&mut self) {
        self.fill.progress.send_if_modified(|progress| {
            let lost = matches!(progress.phase, Phase::Running | Phase::CutOff(_));
            if lost {
                progress.phase =
                    Phase::Failed(Refusal::Internal { reason: "the fill's task ended early".to_owned() });
            }
            lost
        });
        self.fill.wants.end();
        self.fills.leave(&self.fill);
    }
}
