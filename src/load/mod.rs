//! Nodes that pull an image as container runtimes do, many at once, and how that goes.
//!
//! Nothing here rests on what a mirror says of itself: nodes count what comes, take the time, and check every digest.
//! Left to others: which image, from where, how often, and what the figures mean.

mod node;
mod progress;
mod source;
pub(crate) mod units;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use tokio::task::JoinSet;

pub use node::Trouble;
pub(crate) use node::{Answered, Contents, Pull, look, pull};
pub(crate) use progress::Progress;
pub use progress::Show;
pub use source::{Door, DoorError, Login, Source};

/// So many nodes pull at once, each a task of its own, with connections of its own. If this is dropped, they stop. Bytes of
/// bodies are added to `received` as they come.
pub(crate) async fn pull_at_once(nodes: usize, source: &Source, received: &Arc<AtomicU64>) -> Vec<Pull> {
    let mut running = JoinSet::new();
    for _ in 0..nodes {
        let (source, received) = (source.clone(), Arc::clone(received));
        running.spawn(async move { pull(&source, &received).await });
    }
    running.join_all().await
}

/// The value below which so many percent of the times are, and the longest of none is nothing.
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_times_that_were_taken() {
        let times: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        let at = |percent| percentile(&times, percent).as_millis();
        assert_eq!((at(0), at(50), at(99), at(100)), (1, 101, 199, 200));
        assert_eq!(percentile(&times[..1], 99).as_millis(), 1);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
