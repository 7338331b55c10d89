//! A body of upstream's, as it comes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep_until, timeout};

use crate::telemetry::UpstreamMetrics;

use super::body::Received;
use super::connect::broken;
use super::encoding::Gunzip;
use super::endpoint::Witness;
use super::failure::Cause;
use super::uplink::{Lane, Turn};
use super::whereabouts::Whereabouts;

/// Where the bytes of a response belong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) end: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) encoded: Option<String>,
}

/// By whom the bytes come, who learns how that went.
#[derive(Clone)]
pub(super) struct Origin {
    pub(super) witness: Witness,
    /// The endpoint's place in the list, and how many there are.
    pub(super) place: (usize, usize),
    /// Whether they come from where the endpoint redirected to, which says nothing of it.
    pub(super) crossed: bool,
    pub(super) whereabouts: Whereabouts,
}

impl Origin {
    fn gave_all(&self) {
        if !self.crossed {
            self.witness.answered();
        }
    }

    /// It sent something else than what was asked by digest. Whether there is another to ask.
    pub(super) fn sent_wrong(&self) -> bool {
        if !self.crossed {
            self.witness.failed(&Cause::Garbage("something else than was asked for".to_owned()));
        }
        let (place, all) = self.place;
        self.whereabouts.leave(place, all);
        all > 1
    }

    /// What it sends is something else than what others sent of it. Whether there is another to ask.
    fn disagrees(&self) -> bool {
        if !self.crossed {
            self.witness.failed(&Cause::Garbage("another size than was told of it".to_owned()));
        }
        let (place, all) = self.place;
        self.whereabouts.leave_out(place, all)
    }

    /// All of it took too long.
    pub(super) fn too_slow(&self) -> Cause {
        self.broke(&Cause::IdleTimeout);
        Cause::IdleTimeout
    }

    fn broke(&self, cause: &Cause) {
        if !self.witness.may_be_asked() {
            // It is we who have hung up.
            return;
        }
        if !self.crossed {
            self.witness.failed(cause);
        }
        let (place, all) = self.place;
        self.whereabouts.leave(place, all);
    }
}

/// What the bytes of a transfer are counted against.
pub(super) enum Road {
    /// A blob's: they wait for the rate, and hold a connection meanwhile.
    Paced(Turn),
    /// Counted, but never kept waiting.
    Counted(Lane),
}

/// Bytes on their way: a contiguous part of a blob, from `start` on. Dropping it closes the connection, unless the end
/// was reached.
pub struct Transfer {
    /// Where in the blob the first byte belongs. The start of what was asked, or 0 if upstream ignored the range.
    pub start: u64,
    /// Where the part ends, exclusive; `None`: unknown until it does.
    pub end: Option<u64>,
    /// The size of the whole blob, if upstream said.
    pub total: Option<u64>,
    /// The content coding that upstream says it used although it was asked for none. If it is true, then `end` and `total`
    /// count encoded bytes; which it is, the digest tells.
    pub encoded: Option<String>,
    body: Received,
    /// How many bytes are to come, as they are sent, if upstream promised a number.
    promised: Option<u64>,
    gunzip: Option<Gunzip>,
    road: Road,
    origin: Origin,
    /// Bytes that came and wait for the rate.
    held_up: Option<(Bytes, Instant)>,
    idle_timeout: Duration,
    metrics: UpstreamMetrics,
}

impl Transfer {
    pub(super) fn new(
        placed: Placed,
        body: Received,
        road: Road,
        origin: Origin,
        idle_timeout: Duration,
        metrics: UpstreamMetrics,
    ) -> Self {
        let Placed { start, end, total, encoded } = placed;
        let promised = end.map(|end| end - start);
        Self {
            start,
            end,
            total,
            encoded,
            body,
            promised,
            gunzip: None,
            road,
            origin,
            held_up: None,
            idle_timeout,
            metrics,
        }
    }

    /// Gives it up, because what it tells of the blob cannot be true together with what came of it before: the endpoint that
    /// it comes by is not asked for the blob any more. Whether there is another to ask.
    #[must_use]
    pub fn disagrees(self) -> bool {
        self.origin.disagrees()
    }

    /// Takes the gzip coding off while the bytes come. Where they end is then unknown until they do.
    pub(super) fn decoded(mut self) -> Self {
        (self.end, self.total) = (None, None);
        self.gunzip = Some(Gunzip::new());
        self
    }

    /// The next bytes, never empty. `None` only at the end: of the promised length where there is one, else of the
    /// response. A body that ends early, says more than it promised, or pauses for too long is an error; the time that
    /// bytes wait for the rate is no pause. Nothing is lost when the future is dropped.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let Some(bytes) = self.raw().await? else {
                let Some(mut gunzip) = self.gunzip.take() else { return Ok(None) };
                let rest = gunzip.finish().map_err(|_| Cause::Cut)?;
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let bytes = match &mut self.gunzip {
                None => bytes,
                Some(gunzip) => {
                    gunzip.push(&bytes).map_err(|_| Cause::Garbage("it is not gzip".to_owned()))?
                }
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    /// The next bytes, when the rate allows them.
    async fn raw(&mut self) -> Result<Option<Bytes>, Cause> {
        if self.held_up.is_none() {
            let Some(bytes) = self.arrival().await? else { return Ok(None) };
            let length = bytes.len() as u64;
            self.metrics.upstream_bytes(length);
            let due = match &self.road {
                Road::Paced(turn) => turn.came(length),
                Road::Counted(lane) => lane.came(length).and(None),
            };
            let Some(due) = due else { return Ok(Some(bytes)) };
            self.held_up = Some((bytes, due));
        }
        if let Some((_, due)) = &self.held_up {
            sleep_until(*due).await;
        }
        Ok(self.held_up.take().map(|(bytes, _)| bytes))
    }

    /// The next bytes, when they come.
    async fn arrival(&mut self) -> Result<Option<Bytes>, Cause> {
        let arrived = self.frame().await;
        match &arrived {
            Err(cause) => self.origin.broke(cause),
            Ok(None) => self.origin.gave_all(),
            // Who takes what was promised does not ask for the end.
            Ok(Some(_)) if self.promised == Some(0) => self.origin.gave_all(),
            Ok(Some(_)) => {}
        }
        arrived
    }

    async fn frame(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let frame = match timeout(self.idle_timeout, self.body.frame()).await {
                Err(_) => {
                    self.body.leave();
                    return Err(Cause::IdleTimeout);
                }
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if self.promised.is_some_and(|left| left > 0) => return Err(Cause::Cut),
                Ok(None) => return Ok(None),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            if bytes.is_empty() {
                continue;
            }
            let length = bytes.len() as u64;
            if let Some(left) = &mut self.promised {
                *left = left
                    .checked_sub(length)
                    .ok_or_else(|| Cause::Garbage("more bytes than the response promised".to_owned()))?;
            }
            return Ok(Some(bytes));
        }
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("start", &self.start)
            .field("end", &self.end)
            .field("total", &self.total)
            .field("encoded", &self.encoded)
            .field("promised", &self.promised)
            .finish_non_exhaustive()
    }
}
