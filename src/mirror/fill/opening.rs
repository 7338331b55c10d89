//! How a fill begins: upstream's word on the blob, through one source after the other, and the file to fill.

use std::io;
use std::ops::Range;
use std::pin::pin;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::timeout;

use crate::oci::Repository;
use crate::store::{Partial, Recorded, StoreError};
use crate::upstream::{Ask, BlobHead, Cause, Failure, Transfer, Turn};

use super::super::answer::Wanted;
use super::coding::{self, Reading};
use super::driver::{Driver, End};
use super::pace::LARGEST;
use super::plan::{self, Outlook, Wanting, Ways};
use super::progress::Phase;
use super::source::Source;
use super::ways::is_whole;

/// How long the headers of waiting requests are held back for the disk (G3). After that they go out all the same.
const DISK_HOLDS_HEADERS: Duration = Duration::from_secs(1);

/// How long they are held back for a connection.
const TURN_HOLDS_HEADERS: Duration = Duration::from_secs(2);

/// After which time a disk that does not answer is taken for one that refuses (G7).
const DISK_IS_LOST: Duration = Duration::from_secs(10);

/// What a generation starts with.
pub(super) struct Opened {
    pub(super) partial: Partial,
    pub(super) size: u64,
    pub(super) source: Source,
    /// The transfer that brought upstream's word, and its connection, unless upstream did not have to be asked for bytes.
    pub(super) first: Option<(Box<Transfer>, Turn)>,
    pub(super) reading: Reading,
}

/// What a former fill left of the blob.
struct Left {
    partial: Partial,
    recorded: Recorded,
}

/// Upstream's word on the blob.
struct FirstAnswer {
    /// The size, where upstream told one.
    size: Option<u64>,
    /// The transfer that came with it.
    transfer: Option<(Box<Transfer>, Turn)>,
    /// How to read its bytes.
    reading: Reading,
}

/// What a fill asks first.
#[derive(Clone, Debug, PartialEq, Eq)]
enum First {
    Whole,
    Range(Range<u64>),
    Suffix(u64),
    /// Every byte that is asked is here already.
    Nothing,
}

impl Driver {
    /// Gets upstream's word and the file.
    pub(super) async fn open(&self) -> Result<Opened, End> {
        let (mut left, mut late) = self.leftover().await;
        loop {
            let Some(source) = self.fill.next_source() else {
                // Letting go of a file may wait for the disk.
                drop(spawn_blocking(move || drop(left)));
                return Err(End::Refused(self.fill.last_refusal()));
            };
            let first = match &left {
                Some(Left { recorded, .. }) => self.first_beside(recorded, &source),
                None => self.first_of_nothing(&source),
            };
            let is_known = left.as_ref().is_some_and(|left| left.has(&source));
            let FirstAnswer { size: told, transfer, reading } =
                match self.first_transfer(&source, first, is_known).await {
                    Ok(found) => found,
                    Err(failure) => {
                        self.fill.drop_source(&source, failure.into());
                        continue;
                    }
                };
            self.fill.confirm(&source);
            let known = left.as_ref().map(|left| left.recorded.size);
            let Some(size) = told.or(known).or_else(|| self.hint(&source)) else {
                self.pass_on(None, &source, transfer, reading);
                return Err(End::Unstored("upstream does not tell its size".to_owned()));
            };
            if size == 0 && !self.fill.digest.is_empty_content() {
                // No reader may be told so, not even the first: an empty body would be complete at once (T31).
                return Err(End::WrongDigest(format!("upstream says that {} is empty", self.fill.digest)));
            }
            if let Some(late) = late.take() {
                // Who waits for no more than a head should not wait for the disk.
                self.fill.progress.send_modify(|progress| progress.size = Some(size));
                // Two at once would be one too many for the store.
                left = timeout(DISK_IS_LOST, late).await.ok().and_then(Result::ok).flatten();
            }
            let partial = match self.place(left.take(), size).await {
                Ok(partial) => partial,
                Err(error) => {
                    // First the transfer, then the word: who goes on by itself finds it.
                    self.pass_on(Some(size), &source, transfer, reading);
                    self.tell_unstored(size);
                    return Err(End::Unstored(error.to_string()));
                }
            };
            partial.set_anonymous(self.fill.is_anonymous());
            let (file, present) = (partial.file(), partial.present());
            self.fill.progress.send_modify(|progress| {
                progress.size = Some(size);
                progress.file = Some(file);
                progress.present = present;
            });
            return Ok(Opened { partial, size, source, first: transfer, reading });
        }
    }

    /// What a former run, or a former fill, left of this blob; or the look for it, where the disk takes its time.
    async fn leftover(&self) -> (Option<Left>, Option<JoinHandle<Option<Left>>>) {
        let is_first = self.fill.progress.borrow().generation == 0;
        if !is_first || !self.fills.store.is_unfinished(&self.fill.digest) {
            return (None, None);
        }
        let (store, digest) = (self.fills.store.clone(), self.fill.digest.clone());
        let mut left = spawn_blocking(move || {
            let recorded = store.recorded(&digest)?;
            let partial = store.partial(&digest, recorded.size).ok()?;
            // What the file has is what counts.
            let recorded = Recorded { present: partial.present(), ..recorded };
            Some(Left { partial, recorded })
        });
        match timeout(DISK_HOLDS_HEADERS, &mut left).await {
            Ok(left) => (left.ok().flatten(), None),
            Err(_) => (None, Some(left)),
        }
    }

    /// The file to fill: what a former run left, if that is of this size, else a new one.
    async fn place(&self, left: Option<Left>, size: u64) -> Result<Partial, StoreError> {
        match left {
            Some(Left { partial, recorded }) if recorded.size == size => {
                if !recorded.anonymous {
                    self.fill.make_private();
                }
                Ok(partial)
            }
            Some(Left { partial: other, .. }) => {
                // Upstream told another size in a former run; that file is of no use.
                let dropped = spawn_blocking(move || other.discard()).await;
                dropped.map_err(|error| lost_task("drop an unfinished file", error))?;
                self.reserve(size).await
            }
            None => self.reserve(size).await,
        }
    }

    /// Reserves room for the blob and opens its file. The size is told to those who wait when the disk takes its time.
    async fn reserve(&self, size: u64) -> Result<Partial, StoreError> {
        let (store, digest) = (self.fills.store.clone(), self.fill.digest.clone());
        let mut reserved = spawn_blocking(move || store.partial(&digest, size));
        let reserved = match timeout(DISK_HOLDS_HEADERS, &mut reserved).await {
            Ok(reserved) => Ok(reserved),
            Err(_) => {
                self.fill.progress.send_modify(|progress| progress.size = Some(size));
                timeout(DISK_IS_LOST, reserved).await
            }
        };
        match reserved {
            Ok(reserved) => reserved.unwrap_or_else(|error| Err(lost_task("reserve room", error))),
            Err(_) => Err(StoreError::Io { doing: "reserve room", error: io::ErrorKind::TimedOut.into() }),
        }
    }

    /// Lets readers go on past the store; they need the size for that. In one step, or somebody would be told that the
    /// blob is being stored.
    fn tell_unstored(&self, size: u64) {
        self.fill.progress.send_modify(|progress| {
            progress.size = Some(size);
            progress.phase = Phase::Unstored;
        });
    }

    /// Leaves a transfer to those who will read past the store.
    fn pass_on(
        &self,
        size: Option<u64>,
        source: &Source,
        transfer: Option<(Box<Transfer>, Turn)>,
        reading: Reading,
    ) {
        let Some((transfer, _)) = transfer.filter(|_| reading == Reading::AsSent) else { return };
        // To prove the rest of a blob right takes its beginning as well.
        if transfer.start == 0 || !matches!(self.fill.opening, Wanted::From(_)) {
            self.fills.relays.adopt(&self.fill.digest, size, source, transfer);
        }
    }

    /// What to ask first where something is here: what the first reader wants and is missing, else what comes next.
    fn first_beside(&self, recorded: &Recorded, source: &Source) -> First {
        let Recorded { size, present, .. } = recorded;
        let asked = asked(&self.fill.opening, *size);
        let is_here = asked.iter().all(|range| present.contains(range.clone()));
        let wants: Vec<_> =
            asked.into_iter().map(|Range { start, end }| Wanting { position: start, end, had: 0 }).collect();
        let whole = is_whole(&self.fill, source.site.policy().fill, *size);
        let outlook = Outlook { size: *size, present, under_way: &[], wants: &wants };
        // As if for one connection: what is asked comes before all else.
        match plan::next(
            &outlook,
            &Ways { slots: 1, readers_first: true, split: false, whole, piece: LARGEST },
        ) {
            Some(range) if !is_here => First::Range(range),
            // A range that is here needs nobody's word but for whose it is. The rest follows.
            _ => First::Nothing,
        }
    }

    /// What to ask first where nothing is here: what the first reader wants, in one piece.
    fn first_of_nothing(&self, source: &Source) -> First {
        if self.fill.progress.borrow().generation > 0 {
            // Whatever mixed up the ranges, or the places they came from, has no say in this.
            return First::Whole;
        }
        let hint = self.hint(source);
        let whole = is_whole(&self.fill, source.site.policy().fill, u64::MAX);
        let within = |start: u64, end: u64| match hint {
            Some(size) if start >= size => First::Range(0..size.min(LARGEST)),
            Some(size) => First::Range(plan::opening(&(start..end.min(size)), whole)),
            None => First::Range(plan::opening(&(start..end), whole)),
        };
        match &self.fill.opening {
            Wanted::Whole | Wanted::From(0) if whole && hint.is_some_and(|size| size <= LARGEST) => {
                First::Whole
            }
            Wanted::Whole => within(0, u64::MAX),
            Wanted::From(first) => within(*first, u64::MAX),
            Wanted::Closed { first, last } => within(*first, last.saturating_add(1)),
            Wanted::Suffix(length) => match hint {
                Some(size) => within(size.saturating_sub(*length), size),
                None => First::Suffix((*length).min(LARGEST)),
            },
            Wanted::Several(ranges) => match ranges.first() {
                Some((first, last)) => within(*first, last.saturating_add(1)),
                None => within(0, u64::MAX),
            },
        }
    }

    /// The size by a manifest of the repository: for planning, and for upstreams that tell none.
    fn hint(&self, source: &Source) -> Option<u64> {
        let Source { site, repository, .. } = source;
        let named = self.fills.recent.named(&self.fills.store, site, repository, &self.fill.digest);
        named.filter(|size| *size > 0)
    }

    /// A connection to begin with. Where all are taken for a while, those who wait have their heads before it, by a HEAD,
    /// which takes no turn.
    async fn first_turn(&self, source: &Source) -> Result<Turn, Failure> {
        let upstream = source.site.upstream();
        let mut turn = pin!(upstream.turn(&self.fill.share));
        tokio::select! {
            turn = timeout(TURN_HOLDS_HEADERS, &mut turn) => {
                if let Ok(turn) = turn {
                    return Ok(turn);
                }
            }
            () = upstream.until_shut() => return Err(Cause::Offline.into()),
        }
        match upstream.head_blob(&source.repository, &self.fill.digest).await {
            Ok(BlobHead { size: Some(size) }) if size > 0 => {
                self.fill.confirm(source);
                self.fill.progress.send_modify(|progress| progress.size = Some(size));
            }
            Err(failure @ Failure::SaidNo(_)) => return Err(failure),
            // Who did not answer may do so when it is our turn.
            _ => {}
        }
        tokio::select! {
            turn = turn => Ok(turn),
            () = upstream.until_shut() => Err(Cause::Offline.into()),
        }
    }

    /// Asks upstream. `is_known`: it has said yes to this source in a former run.
    async fn first_transfer(
        &self,
        source: &Source,
        first: First,
        is_known: bool,
    ) -> Result<FirstAnswer, Failure> {
        let (upstream, repository, digest) = (source.site.upstream(), &source.repository, &self.fill.digest);
        let whereabouts = &source.whereabouts;
        let ask = match first {
            First::Nothing => {
                if !is_known && !self.fills.store.is_member(source.site.name(), repository, digest) {
                    upstream.head_blob(repository, digest).await?;
                }
                return Ok(FirstAnswer { size: None, transfer: None, reading: Reading::AsSent });
            }
            First::Whole => Ask::Whole,
            First::Range(range) => Ask::Range { start: range.start, end: range.end },
            First::Suffix(length) => Ask::Suffix(length),
        };
        let turn = self.first_turn(source).await?;
        let transfer = match upstream.blob(repository, digest, ask, whereabouts, &turn).await {
            Ok(transfer) => transfer,
            // A first guess beyond the end of the blob, or any range of an empty one: begin at the start.
            Err(Failure::RangeNotSatisfiable { total }) => {
                let ask = match total {
                    Some(total) if total > LARGEST => Ask::Range { start: 0, end: LARGEST },
                    _ => Ask::Whole,
                };
                upstream.blob(repository, digest, ask, whereabouts, &turn).await?
            }
            Err(failure) => return Err(failure),
        };
        let hint = self.hint(source);
        let reading = coding::reading_of(&transfer, hint, upstream, repository, digest, &turn).await;
        if let Reading::Decoded { size } = reading {
            let transfer = upstream.blob_decoded(repository, digest, whereabouts, &turn).await?;
            return Ok(FirstAnswer { size: Some(size), transfer: Some((Box::new(transfer), turn)), reading });
        }
        let size = match transfer.total {
            Some(total) => Some(total),
            // A HEAD may cost a body where ranges are ignored, so the manifest's word will do.
            None if hint.is_some() => hint,
            None => upstream.head_blob(repository, digest).await.ok().and_then(|head| head.size),
        };
        Ok(FirstAnswer { size, transfer: Some((Box::new(transfer), turn)), reading })
    }
}

impl Left {
    /// Whether upstream has said yes to this source when it was fetched.
    fn has(&self, source: &Source) -> bool {
        let known = |(upstream, repository): &(String, Repository)| {
            upstream == source.site.name() && *repository == source.repository
        };
        self.recorded.sources.iter().any(known)
    }
}

/// Which bytes of a blob of that size a request asks for.
#[expect(clippy::single_range_in_vec_init, reason = "most requests ask for one range")]
fn asked(wanted: &Wanted, size: u64) -> Vec<Range<u64>> {
    let closed = |first: u64, last: u64| first.min(size)..last.saturating_add(1).min(size);
    match wanted {
        Wanted::Whole => vec![0..size],
        Wanted::From(first) => vec![(*first).min(size)..size],
        Wanted::Closed { first, last } => vec![closed(*first, *last)],
        Wanted::Suffix(length) => vec![size.saturating_sub(*length)..size],
        Wanted::Several(ranges) => ranges.iter().map(|&(first, last)| closed(first, last)).collect(),
    }
}

fn lost_task(doing: &'static str, error: JoinError) -> StoreError {
    StoreError::Io { doing, error: io::Error::other(error) }
}
