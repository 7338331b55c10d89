//! `roadstead bench`: nodes pull an image through a mirror that runs, round by round, and a report says how it went.
//!
//! The nodes are those of the demonstration: they pull as containerd does and check every digest, so the time that this
//! takes on their machine is in the figures. The first round is cold where the mirror has not had the image yet.

mod report;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::load::{
    Answered, Contents, Progress, Pull, Show, Source, Trouble, look, percentile, pull_at_once,
};

pub use report::Report;

/// What is to be pulled, and how often.
#[derive(Debug)]
pub struct Options {
    /// The image, at the mirror.
    pub source: Source,
    /// What the report calls the image.
    pub image: String,
    /// What it calls the mirror.
    pub mirror: String,
    /// How many nodes pull at once.
    pub nodes: usize,
    /// How many times they do, one after the other.
    pub rounds: usize,
    /// How progress is shown.
    pub show: Show,
}

/// Why nothing was measured: the image cannot be looked at.
#[derive(Debug)]
pub struct BenchError {
    image: String,
    mirror: String,
    trouble: Trouble,
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, mirror, trouble } = self;
        write!(f, "{mirror} does not give {image}: {trouble}")
    }
}

impl std::error::Error for BenchError {}

/// What one round was like.
#[derive(Clone, Debug, PartialEq)]
struct Round {
    /// From the start to the end of the last pull.
    time: Duration,
    /// Bytes of bodies that came.
    served: u64,
    /// Pulls that came whole.
    whole: usize,
    /// How long pulls took.
    pulls: Spread,
    /// From the request for a manifest to all of it.
    manifests: Spread,
    /// From the request for a layer to its first byte.
    first_bytes: Spread,
    answered: Answered,
    /// What ended pulls early.
    troubles: Vec<String>,
}

/// How times are spread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Spread {
    median: Duration,
    /// Which one in a hundred exceeds.
    p99: Duration,
    worst: Duration,
}

impl Spread {
    fn of(times: impl Iterator<Item = Duration>) -> Self {
        let mut times: Vec<_> = times.collect();
        times.sort_unstable();
        let at = |percent| percentile(&times, percent);
        Self { median: at(50), p99: at(99), worst: at(100) }
    }
}

impl Round {
    fn of(time: Duration, served: u64, pulls: &[Pull]) -> Self {
        let mut answered = Answered::default();
        for pull in pulls {
            answered.add(pull.answered);
        }
        let whole = || pulls.iter().filter(|pull| pull.trouble.is_none());
        Self {
            time,
            served,
            whole: whole().count(),
            pulls: Spread::of(whole().map(|pull| pull.took)),
            manifests: Spread::of(pulls.iter().flat_map(|pull| pull.manifests.iter().copied())),
            first_bytes: Spread::of(pulls.iter().flat_map(|pull| pull.first_bytes.iter().copied())),
            answered,
            troubles: pulls
                .iter()
                .filter_map(|pull| pull.trouble.as_ref())
                .map(ToString::to_string)
                .collect(),
        }
    }
}

/// Pulls, and returns what it was like. A pull that did not come whole is part of the report.
///
/// # Errors
/// That the manifests of the image, which are looked at first, do not come.
pub async fn run(options: Options) -> Result<Report, BenchError> {
    let Options { source, image, mirror, nodes, rounds, show } = options;
    let contents = match look(&source).await {
        Ok(contents) => contents,
        Err(trouble) => return Err(BenchError { image, mirror, trouble }),
    };
    let mut done = Vec::new();
    for number in 1..=rounds {
        done.push(round(&source, nodes, contents, number, show).await);
    }
    Ok(Report { image, mirror, nodes, contents, rounds: done })
}

async fn round(source: &Source, nodes: usize, contents: Contents, number: usize, show: Show) -> Round {
    let received = Arc::new(AtomicU64::new(0));
    let progress = || Progress { served: received.load(Ordering::Relaxed), fetched: None };
    let (start, all) = (Instant::now(), contents.bytes * nodes as u64);
    let pulls = pull_at_once(nodes, source, &received);
    let pulls = show.during(&format!("round {number}"), all, progress, pulls).await;
    Round::of(start.elapsed(), received.load(Ordering::Relaxed), &pulls)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_adds_up_all_pulls_and_times_those_that_came_whole() {
        let ms = Duration::from_millis;
        let answered = Answered { hits: 3, ..Answered::default() };
        let pull = |took, manifests: Vec<Duration>, first: Vec<Duration>| Pull {
            took,
            right: 2,
            manifests,
            first_bytes: first,
            answered,
            trouble: None,
        };
        let pulls = [
            pull(ms(300), vec![ms(3), ms(4)], vec![ms(40), ms(90)]),
            pull(ms(100), vec![ms(1)], vec![ms(10)]),
            pull(ms(200), vec![ms(2)], vec![]),
        ];
        let round = Round::of(ms(500), 7, &pulls);
        assert_eq!((round.whole, round.served, round.answered.hits), (3, 7, 9));
        assert_eq!(round.pulls, Spread { median: ms(200), p99: ms(300), worst: ms(300) });
        assert_eq!((round.manifests.median, round.first_bytes.worst), (ms(3), ms(90)));
        assert_eq!(Round::of(ms(1), 0, &[]).pulls, Spread::default());
    }
}
