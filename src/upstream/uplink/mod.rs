//! The way to upstreams as something that is shared: how many connections bring blobs, and at which rate.
//!
//! Owns the limits of one upstream and of all together. It guarantees that neither is ever exceeded, that a connection
//! which becomes free goes to the fill that has fewest, so that a large blob never keeps a small one waiting for longer
//! than one transfer takes, and that nobody who waits is forgotten, also when somebody leaves the queue or dies.
//!
//! Only transfers of blobs take turns. Manifests, HEADs and tokens are small and clients wait for them, so they never do;
//! their bytes are counted against the rate, which the blobs then make up for.

mod desk;
mod pace;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::telemetry::UpstreamMetrics;
use crate::upstream::errands::Errands;

use desk::Desk;
use pace::Clock;
pub use turn::{Share, Turn};

/// What all upstreams share. Clones are the same; there is one in a process, and it outlives a reload of the
/// configuration, as the transfers do that run meanwhile.
#[derive(Clone)]
pub struct Uplink(Arc<Parts>);

struct Parts {
    max_rate: Option<u64>,
    errands: Errands,
    desk: Mutex<Desk<oneshot::Sender<Turn>>>,
    clock: Clock,
    /// By name, so that an upstream that is configured anew goes on with what its former self has under way.
    traffic: Mutex<HashMap<String, Arc<Traffic>>>,
}

/// What one upstream has under way.
#[derive(Debug, Default)]
struct Traffic {
    /// Turns held. Changed only by the desk.
    held: AtomicUsize,
    clock: Clock,
}

/// One upstream's part of the uplink, with its own limits.
#[derive(Clone, Debug)]
pub(super) struct Lane(Arc<LaneParts>);

#[derive(Debug)]
struct LaneParts {
    uplink: Uplink,
    traffic: Arc<Traffic>,
    max_connections: usize,
    max_rate: Option<u64>,
    metrics: UpstreamMetrics,
}

impl Uplink {
    /// An uplink with so many connections, and so many bytes a second; `None`: as many as come.
    #[must_use]
    pub fn new(max_connections: usize, max_rate: Option<u64>) -> Self {
        Self(Arc::new(Parts {
            max_rate,
            errands: Errands::default(),
            desk: Mutex::new(Desk::new(max_connections)),
            clock: Clock::default(),
            traffic: Mutex::default(),
        }))
    }

    /// An uplink without limits.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(usize::MAX, None)
    }

    /// Ends what upstreams do while nobody waits for it. Before the end of the process.
    pub async fn stop(&self) {
        self.0.errands.stop().await;
    }

    /// The part of one upstream.
    pub(super) fn lane(
        &self,
        upstream: &str,
        max_connections: usize,
        max_rate: Option<u64>,
        metrics: UpstreamMetrics,
    ) -> Lane {
        let mut all = self.0.traffic.lock().unwrap_or_else(PoisonError::into_inner);
        let traffic = Arc::clone(all.entry(upstream.to_owned()).or_default());
        drop(all);
        let uplink = self.clone();
        Lane(Arc::new(LaneParts { uplink, traffic, max_connections, max_rate, metrics }))
    }

    fn desk(&self) -> MutexGuard<'_, Desk<oneshot::Sender<Turn>>> {
        self.0.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Uplink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Uplink").field("max_rate", &self.0.max_rate).finish_non_exhaustive()
    }
}

impl Lane {
    /// Where to leave what nobody waits for.
    pub(super) fn errands(&self) -> &Errands {
        &self.0.uplink.0.errands
    }

    /// Whether bytes may have to wait.
    pub(super) fn is_paced(&self) -> bool {
        self.0.max_rate.is_some() || self.0.uplink.0.max_rate.is_some()
    }

    /// Bytes came. When they may go on, if not at once.
    pub(super) fn came(&self, bytes: u64) -> Option<Instant> {
        let (own, all) = (self.0.max_rate, self.0.uplink.0.max_rate);
        if !self.is_paced() {
            return None;
        }
        let now = Instant::now();
        let own = own.map(|rate| self.0.traffic.clock.take(now, bytes, rate));
        let all = all.map(|rate| self.0.uplink.0.clock.take(now, bytes, rate));
        own.max(all).filter(|due| *due > now)
    }
}
