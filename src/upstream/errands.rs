//! What upstreams have to do while nobody waits for it: probes, renewals.
//!
//! One for the process, kept by the [`Uplink`](super::Uplink), because an upstream may be replaced while it runs. Every
//! errand is short by itself, and ends at once when the process does.

use std::future::Future;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Tasks of all upstreams. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Errands {
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Errands {
    /// Has it done. It is dropped where it stands when the process ends.
    pub(super) fn run(&self, errand: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = errand => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Drops what is under way, and waits until it is gone.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stop_waits_for_errands_and_not_for_their_end() {
        let errands = Errands::default();
        let held = std::sync::Arc::new(());
        let kept = std::sync::Arc::clone(&held);
        errands.run(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        errands.stop().await;
        assert_eq!(std::sync::Arc::strong_count(&held), 1);
    }
}
