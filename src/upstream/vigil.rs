//! Watching the endpoints behind everybody's back, where that is wanted: in the mode that follows their health.
//!
//! Without it an endpoint that did not answer is asked whether it is back when somebody wants something of it, and who has
//! nowhere else to go waits for that. With it nobody does: a task of its own asks at the end of each rest. It also asks at
//! once where a request was not answered, so that an outage is known after one request and one question, and not only when
//! three requests have waited for their time. An endpoint that answers costs nothing.

use futures_util::future::join_all;
use tokio::sync::watch;

use super::Upstream;
use super::endpoint::Endpoint;
use super::health::Duty;

/// Whether the endpoints are watched.
#[derive(Debug)]
pub(super) struct Vigil(watch::Sender<bool>);

impl Vigil {
    /// Nobody watches.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn is_kept(&self) -> bool {
        *self.0.borrow()
    }
}

impl Upstream {
    /// Has the endpoints watched from now on, or no longer, by whoever tends this upstream.
    pub fn watch(&self, watched: bool) {
        self.vigil.0.send_if_modified(|is_kept| std::mem::replace(is_kept, watched) != watched);
    }

    /// Sends nothing there from now on. What is under way ends, and every connection is closed.
    pub fn shut(&self) {
        self.gate.shut();
    }

    /// Asks it again, if it was shut. What was known of its endpoints' health is of another time.
    pub fn open(&self) {
        if self.gate.open() {
            self.endpoints.iter().for_each(|endpoint| endpoint.health.forget());
        }
    }

    /// Waits until nothing is sent there.
    pub async fn until_shut(&self) {
        if let Some(pass) = self.gate.pass() {
            pass.cancelled().await;
        }
    }

    /// Watches the endpoints while that is wanted, for as long as it is polled.
    pub(super) async fn keep_watch(&self) {
        let mut kept = self.vigil.0.subscribe();
        // The sender is our own: the waits do not end with it.
        while kept.wait_for(|kept| *kept).await.is_ok() {
            tokio::select! {
                _ = kept.wait_for(|kept| !*kept) => {}
                _ = join_all(self.endpoints.iter().map(|endpoint| self.watch_one(endpoint))) => {}
            }
        }
    }

    async fn watch_one(&self, endpoint: &Endpoint) {
        let (limit, mut asked) = (self.longest_probe(), 0);
        loop {
            match endpoint.health.duty(&mut asked).await {
                Duty::Nothing => {}
                Duty::Doubt { failures } => {
                    asked = failures;
                    endpoint.be_doubted(&self.net, limit).await;
                }
                Duty::Probe { .. } => match endpoint.health.probe() {
                    Some(probe) => {
                        endpoint.be_probed(probe, &self.net, limit).await;
                        // What a probe leaves behind is no new failure.
                        asked = u32::MAX;
                    }
                    // Somebody else asks: what he finds is told.
                    None => drop(endpoint.health.is_back().await),
                },
            }
        }
    }
}
