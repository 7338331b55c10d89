//! The end of a listener: running answers may finish, up to a limit.
//!
//! Owns the connections' tasks: every one is tracked here, so that when `finish` returns none is left. A connection
//! learns of the end twice: `stop` asks it to take no further request, `cut` makes it end where it is.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still sending when the time was over, and were cut.
    pub cut: usize,
}

/// The connections of one listener and the two signals that end them.
#[derive(Debug)]
pub(super) struct Connections {
    tasks: TaskTracker,
    /// No further request on any connection.
    pub(super) stop: CancellationToken,
    /// Ends a connection wherever it is.
    pub(super) cut: CancellationToken,
}

impl Connections {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { tasks: TaskTracker::new(), stop, cut: CancellationToken::new() }
    }

    /// Runs a connection as a task of its own.
    pub(super) fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(connection);
    }

    /// Waits until all connections have ended, at most for `patience`; then cuts the rest and waits for them to be gone.
    pub(super) async fn finish(self, patience: Duration) -> Drained {
        self.tasks.close();
        if timeout(patience, self.tasks.wait()).await.is_ok() {
            return Drained { cut: 0 };
        }
        let cut = self.tasks.len();
        self.cut.cancel();
        self.tasks.wait().await;
        Drained { cut }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_finishes_in_time_is_waited_for() {
        let connections = Connections::new(CancellationToken::new());
        connections.spawn(sleep(PATIENCE / 2));
        let begun = Instant::now();
        assert_eq!(connections.finish(PATIENCE).await, Drained { cut: 0 });
        assert_eq!(begun.elapsed(), PATIENCE / 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_finish_is_cut_and_counted() {
        let connections = Connections::new(CancellationToken::new());
        let cut = connections.cut.clone();
        connections.spawn(async move { cut.cancelled().await });
        connections.spawn(sleep(PATIENCE / 2));
        assert_eq!(connections.finish(PATIENCE).await, Drained { cut: 1 });
    }
}
