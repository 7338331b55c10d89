//! The task of a relay: moves bytes from upstream into the window, as far as its readers want them.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep, timeout_at};

use crate::telemetry::Counted;
use crate::upstream::{Ask, Cause, Failure, Share, Transfer};

use super::super::fill::{Budget, ReadError, Source};
use super::stream::Stream;
use super::table::Relays;
use super::window::Next;

/// For so long a relay waits for a reader when it has none: for the next range of a client that reads in ranges, and for
/// clients that pull together, but not quite.
const LINGER: Duration = Duration::from_secs(2);

/// Readers that have enough before them for so long are slower than upstream: the connection is given back, and what
/// they still need is asked for in pieces there is room for. It costs what is on its way at that moment, once.
const STANDING: Duration = Duration::from_secs(5);

/// The task, with all it needs.
pub(super) struct Pump {
    relays: Relays,
    stream: Arc<Stream>,
    share: Share,
    transfer: Option<Box<Transfer>>,
    /// Where in the blob the next byte of the transfer belongs.
    position: u64,
    /// Where the transfer was to go on.
    asked_at: u64,
    /// What came and has found no room yet.
    rest: Bytes,
    budget: Budget,
    /// Upstream has ignored a range: whatever is asked, it begins at 0.
    ranges_ignored: bool,
    /// How often upstream has said that the blob ends before what is asked for, though it should not.
    denied: usize,
    /// Since when the readers have had enough, and not been short of it.
    full: Option<Instant>,
    _counted: (OwnedSemaphorePermit, Counted),
}

impl Pump {
    pub(super) fn new(
        relays: Relays,
        stream: Arc<Stream>,
        transfer: Option<Box<Transfer>>,
        counted: (OwnedSemaphorePermit, Counted),
    ) -> Self {
        let position = transfer.as_ref().map_or(0, |transfer| transfer.start);
        Self {
            relays,
            stream,
            share: Share::new(),
            transfer,
            position,
            asked_at: position,
            rest: Bytes::new(),
            budget: Budget::default(),
            ranges_ignored: false,
            denied: 0,
            full: None,
            _counted: counted,
        }
    }

    /// Runs until its last reader has left, or upstream has failed beyond its budget, or the mirror stops. Its readers
    /// learn of each, and of a panic.
    pub(super) async fn run(mut self) {
        let stop = self.relays.stopping().clone();
        let ended = tokio::select! {
            ended = self.work() => ended,
            () = stop.cancelled() => Err(ReadError("the mirror is shutting down".to_owned())),
        };
        if let Err(error) = ended {
            tracing::warn!(digest = %self.stream.digest, %error, "a blob could not be passed on to its end");
            self.stream.fail(error);
        }
    }

    async fn work(&mut self) -> Result<(), ReadError> {
        loop {
            match self.stream.next() {
                Next::Read(_) if !self.rest.is_empty() => {
                    if self.stream.push(&mut self.rest) {
                        self.transfer = None;
                    }
                }
                Next::Read(_) => self.read().await?,
                Next::Enough => self.stand().await,
                Next::Hold(age) => {
                    let _ = timeout_at(self.stream.at_age(age), self.stream.woken()).await;
                }
                Next::Nobody => {
                    if self.is_left_for_good().await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Waits for somebody to come; true when nobody does, nor can any more.
    async fn is_left_for_good(&self) -> bool {
        let left = Instant::now();
        loop {
            let linger = if self.relays.is_crowded() { Duration::ZERO } else { LINGER };
            let over = timeout_at(left + linger, self.stream.woken()).await.is_err();
            if !matches!(self.stream.next(), Next::Nobody) {
                return false;
            }
            if over && self.stream.end_unread() {
                return true;
            }
        }
    }

    /// Waits for the readers, and no longer than is decent with a connection in hand.
    async fn stand(&mut self) {
        let since = *self.full.get_or_insert_with(Instant::now);
        if self.transfer.is_none() || self.ranges_ignored {
            self.stream.woken().await;
        } else if timeout_at(since + STANDING, self.stream.woken()).await.is_err() {
            self.transfer = None;
            self.rest.clear();
        }
    }

    async fn read(&mut self) -> Result<(), ReadError> {
        if self.stream.is_short() {
            self.full = None;
        }
        let Some(mut transfer) = self.transfer.take() else { return self.open().await };
        let chunk = tokio::select! {
            chunk = transfer.chunk() => chunk,
            () = self.stream.deserted() => {
                self.transfer = Some(transfer);
                return Ok(());
            }
        };
        match chunk {
            Ok(Some(chunk)) => self.land(transfer, chunk).await,
            Ok(None) if self.is_the_end(&transfer) => {
                self.stream.ends_here();
                Ok(())
            }
            Ok(None) => self.broken(&Cause::Cut.to_string()).await,
            Err(cause) => self.broken(&cause.to_string()).await,
        }
    }

    async fn land(&mut self, transfer: Box<Transfer>, mut chunk: Bytes) -> Result<(), ReadError> {
        // An upstream that ignores ranges sends again what was passed on already.
        let known = usize::try_from(self.stream.reach().saturating_sub(self.position)).unwrap_or(usize::MAX);
        self.position += chunk.len() as u64;
        chunk.advance(known.min(chunk.len()));
        if self.stream.size.is_some_and(|size| self.position > size) {
            return Err(ReadError("upstream sends more than the blob has".to_owned()));
        }
        if !chunk.is_empty() {
            self.budget.refill();
            self.rest = chunk;
        }
        if transfer.end != Some(self.position) {
            self.transfer = Some(transfer);
            return Ok(());
        }
        // It has brought what it promised, and is let go at once, for others to have the connection.
        drop(transfer);
        if self.rest.is_empty() && self.stream.reach() == self.asked_at {
            return self.broken("upstream sent nothing that was not here").await;
        }
        Ok(())
    }

    /// Whether a transfer that is over has brought the end of the blob.
    fn is_the_end(&self, transfer: &Transfer) -> bool {
        match self.stream.size.or(transfer.total) {
            Some(size) => self.position >= size,
            None => transfer.end.is_none(),
        }
    }

    async fn open(&mut self) -> Result<(), ReadError> {
        let Some((at, end)) = self.stream.ask() else {
            self.stream.woken().await;
            return Ok(());
        };
        let size = self.stream.size;
        let ask = match (at, end) {
            (at, end) if end < size.unwrap_or(u64::MAX) => Ask::Range { start: at, end },
            (0, _) => Ask::Whole,
            (at, _) => Ask::From(at),
        };
        let Source { site, repository, whereabouts } = &self.stream.source;
        let opened = async {
            let turn = tokio::select! {
                turn = site.upstream().turn(&self.share) => turn,
                () = site.upstream().until_shut() => return Err(Cause::Offline.into()),
            };
            site.upstream().blob(repository, &self.stream.digest, ask, whereabouts, &turn).await
        };
        let opened = tokio::select! {
            opened = opened => opened,
            () = self.stream.deserted() => return Ok(()),
        };
        let changed = "upstream tells another size of the blob than before";
        match opened {
            Ok(transfer) => {
                if let Some(coding) = transfer.encoded.as_deref().filter(|_| size != transfer.total) {
                    // Its ranges are no ranges of the content.
                    let reason = format!("upstream sends {coding} unasked, and the store cannot take it");
                    return Err(ReadError(reason));
                }
                if transfer.start > at {
                    return self.broken("the range begins beyond what was asked").await;
                }
                if transfer.total.zip(size).is_some_and(|(total, size)| total != size) {
                    // Another endpoint may go on with what was begun.
                    return match transfer.disagrees() {
                        true => self.broken(changed).await,
                        false => Err(ReadError(changed.to_owned())),
                    };
                }
                self.ranges_ignored |= transfer.start < at;
                self.denied = 0;
                (self.position, self.asked_at) = (transfer.start, at);
                self.transfer = Some(Box::new(transfer));
                Ok(())
            }
            Err(Failure::RangeNotSatisfiable { .. }) if size.is_none() && at > 0 => {
                self.stream.ends_here();
                Ok(())
            }
            Err(Failure::RangeNotSatisfiable { total: Some(total) }) if (1..=at).contains(&total) => {
                self.denied += 1;
                if self.denied >= site.upstream().endpoint_count() {
                    return Err(ReadError(changed.to_owned()));
                }
                site.upstream().distrust(whereabouts);
                self.broken(changed).await
            }
            Err(failure) => {
                let wait = self.budget.spend_on(&failure, Instant::now(), self.rest());
                self.wait(wait, &failure.to_string()).await
            }
        }
    }

    /// Waits before the next attempt as after any break.
    async fn broken(&mut self, cause: &str) -> Result<(), ReadError> {
        let wait = self.budget.spend(Instant::now(), self.rest());
        self.wait(wait, cause).await
    }

    /// For how long upstream is not asked anything.
    fn rest(&self) -> Option<Duration> {
        self.stream.source.site.upstream().rest()
    }

    /// Waits before the next attempt, which goes on at the byte that was reached; an error when there is none.
    async fn wait(&self, wait: Option<Duration>, cause: &str) -> Result<(), ReadError> {
        let Some(wait) = wait else { return Err(ReadError(cause.to_owned())) };
        let (digest, upstream) = (&self.stream.digest, self.stream.source.site.name());
        let at = self.stream.reach();
        tracing::info!(%digest, at, upstream, error = cause, "a transfer broke; it goes on at the byte it reached");
        let site = Arc::clone(&self.stream.source.site);
        tokio::select! {
            () = site.upstream().until_shut() => return Err(ReadError(Cause::Offline.to_string())),
            () = sleep(wait) => {}
            () = self.stream.deserted() => {}
        }
        Ok(())
    }
}

/// However it ends, its readers learn of it, and the table forgets it.
impl Drop for Pump {
    fn drop(&mut self) {
        self.stream.fail(ReadError("the transfer's task ended early".to_owned()));
        self.relays.remove(&self.stream);
    }
}
