//! The acts of the play: who pulls, from where, and what was measured.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use super::image::Image;
use super::tally::Asked;
use super::upstream::StandIn;
use crate::load::{Progress, Pull, Show, Source, pull_at_once};

/// What clients call the stand-in.
pub(super) const NAMESPACE: &str = "registry.example";

/// All that an act needs.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) image: Arc<Image>,
    pub(super) upstream: StandIn,
    /// The image at the stand-in, past the mirror.
    pub(super) past: Source,
    /// The image at the mirror.
    pub(super) through: Source,
    pub(super) nodes: usize,
    pub(super) show: Show,
}

/// What an act was like.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    /// From the start to the end of the last pull.
    pub(super) time: Duration,
    /// Bytes of bodies that came to nodes.
    pub(super) served: u64,
    /// What upstream was asked meanwhile.
    pub(super) upstream: Asked,
    /// Bodies that came whole and had the right digest.
    pub(super) right: u64,
    /// Bodies that had not.
    pub(super) wrong: u64,
    /// From a request for a layer to its first byte: the median of all.
    pub(super) first_byte_median: Duration,
    /// And the longest.
    pub(super) first_byte_worst: Duration,
    /// What ended pulls early.
    pub(super) troubles: Vec<String>,
}

/// The figures of the whole play.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Acts {
    /// One node, past the mirror.
    pub(super) direct: Figures,
    /// All nodes at once, the mirror empty.
    pub(super) cold: Figures,
    /// All nodes at once again.
    pub(super) warm: Figures,
    /// And once more, with upstream gone.
    pub(super) gone: Figures,
}

impl Stage {
    pub(super) async fn play(&self) -> Acts {
        let (past, through) = (&self.past, &self.through);
        let direct = self.act("direct", 1, past).await;
        let cold = self.act("cold", self.nodes, through).await;
        let warm = self.act("warm", self.nodes, through).await;
        self.upstream.vanish().await;
        let gone = self.act("gone", self.nodes, through).await;
        Acts { direct, cold, warm, gone }
    }

    async fn act(&self, name: &str, nodes: usize, source: &Source) -> Figures {
        let received = Arc::new(AtomicU64::new(0));
        let before = self.upstream.asked();
        let progress = || Progress {
            served: received.load(Ordering::Relaxed),
            fetched: Some((self.upstream.asked() - before).bytes),
        };
        let start = Instant::now();
        let pulls = pull_at_once(nodes, source, &received);
        let pulls = self.show.during(name, self.image.bytes() * nodes as u64, progress, pulls).await;
        let (time, upstream) = (start.elapsed(), self.upstream.asked() - before);
        Figures::new(time, received.load(Ordering::Relaxed), upstream, &pulls)
    }
}

impl Figures {
    fn new(time: Duration, served: u64, upstream: Asked, pulls: &[Pull]) -> Self {
        let mut first_bytes: Vec<_> = pulls.iter().flat_map(|pull| &pull.first_bytes).copied().collect();
        first_bytes.sort_unstable();
        let troubles = || pulls.iter().filter_map(|pull| pull.trouble.as_ref());
        Self {
            time,
            served,
            upstream,
            right: pulls.iter().map(|pull| pull.right).sum(),
            wrong: troubles().filter(|trouble| trouble.is_wrong_content()).count() as u64,
            first_byte_median: first_bytes.get(first_bytes.len() / 2).copied().unwrap_or_default(),
            first_byte_worst: first_bytes.last().copied().unwrap_or_default(),
            troubles: troubles().map(ToString::to_string).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up_all_pulls() {
        let ms = Duration::from_millis;
        let pull = |first_bytes| Pull { right: 6, first_bytes, ..Pull::default() };
        let pulls = [pull(vec![ms(40), ms(90)]), pull(vec![ms(10)])];
        let figures = Figures::new(ms(500), 7, Asked::default(), &pulls);
        assert_eq!((figures.right, figures.wrong, figures.troubles.len()), (12, 0, 0));
        assert_eq!((figures.first_byte_median, figures.first_byte_worst), (ms(40), ms(90)));
    }

    #[test]
    fn figures_of_no_pulls_are_zero() {
        let figures = Figures::new(Duration::ZERO, 0, Asked::default(), &[]);
        assert_eq!((figures.right, figures.first_byte_median), (0, Duration::ZERO));
    }
}
