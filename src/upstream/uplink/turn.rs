//! Turns: waited for, held, given back.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::telemetry::Counted;

use super::desk::Claim;
use super::{Lane, Uplink};
use crate::upstream::Upstream;

/// One fill's claim on connections, over all upstreams. Clones are the same claim.
#[derive(Clone, Debug, Default)]
pub struct Share(
    /// Turns held. Changed only by the desk.
    Arc<AtomicUsize>,
);

impl Share {
    /// A claim that holds nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    pub(super) fn held(&self) -> &AtomicUsize {
        &self.0
    }
}

/// The right to one connection to one upstream, for one transfer of a blob. Given back when it and the transfer that
/// was begun with it are dropped.
#[derive(Debug)]
pub struct Turn(Arc<Held>);

#[derive(Debug)]
struct Held {
    claim: Claim,
    _shown: Counted,
}

impl Upstream {
    /// Waits for a connection to be free for this share. Whoever holds fewest is served first, then whoever came first.
    /// Dropping the future leaves the queue.
    pub async fn turn(&self, share: &Share) -> Turn {
        self.lane.turn(share).await
    }
}

impl Lane {
    pub(super) async fn turn(&self, share: &Share) -> Turn {
        let claim = Claim { lane: self.clone(), share: share.clone() };
        loop {
            // A place is lost only by leaving it.
            if let Some(turn) = Place::take(&self.0.uplink, claim.clone()).turn().await {
                return turn;
            }
        }
    }
}

impl Turn {
    pub(in crate::upstream) fn is_of(&self, lane: &Lane) -> bool {
        Arc::ptr_eq(&self.0.claim.lane.0.traffic, &lane.0.traffic)
    }

    /// The same turn, for the transfer that is begun with it: nobody else gets it while either is there.
    pub(in crate::upstream) fn keep(&self) -> Self {
        Self(Arc::clone(&self.0))
    }

    /// Bytes came on this turn's connection. When they may go on, if not at once.
    pub(in crate::upstream) fn came(&self, bytes: u64) -> Option<Instant> {
        self.0.claim.lane.came(bytes)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let uplink = &self.claim.lane.0.uplink;
        uplink.desk().take_back(&self.claim);
        uplink.settle();
    }
}

impl Uplink {
    /// Gives out what can be given. Nobody is told under the lock, since a turn that nobody takes comes back by it.
    fn settle(&self) {
        loop {
            let granted = self.desk().grant();
            let Some((claim, tell)) = granted else { return };
            let shown = claim.lane.0.metrics.connection();
            // Who has left in this moment gives it back.
            let _ = tell.send(Turn(Arc::new(Held { claim, _shown: shown })));
        }
    }
}

/// A place in the queue, or the turn that it came to.
struct Place {
    lane: Lane,
    ticket: u64,
    told: oneshot::Receiver<Turn>,
}

impl Place {
    fn take(uplink: &Uplink, claim: Claim) -> Self {
        let (tell, told) = oneshot::channel();
        let lane = claim.lane.clone();
        let ticket = uplink.desk().ask(claim, tell);
        let place = Self { lane, ticket, told };
        uplink.settle();
        place
    }

    async fn turn(mut self) -> Option<Turn> {
        if let Ok(turn) = self.told.try_recv() {
            return Some(turn);
        }
        let _shown = self.lane.0.metrics.waiting();
        (&mut self.told).await.ok()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Only then the channel, with a turn that may be in it.
        self.lane.0.uplink.desk().leave(self.ticket);
    }
}
