//! What the rounds were like: a table, or JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Round, Spread};
use crate::load::Contents;
use crate::load::units::{bytes, time};

/// The figures of all rounds. As text it is what a person reads; [`Report::to_json`] is for programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub(super) image: String,
    pub(super) mirror: String,
    pub(super) nodes: usize,
    pub(super) contents: Contents,
    pub(super) rounds: Vec<Round>,
}

impl Report {
    /// Whether every pull came whole.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.rounds.iter().all(|round| round.troubles.is_empty())
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "mirror": self.mirror,
            "image": { "name": self.image, "bytes": self.contents.bytes, "layers": self.contents.layers },
            "nodes": self.nodes,
            "rounds": self.rounds.iter().map(Round::to_json).collect::<Vec<_>>(),
            "whole": self.is_whole(),
        })
    }
}

impl Round {
    /// Bytes a second.
    fn rate(&self) -> u64 {
        (self.served as f64 / self.time.as_secs_f64().max(1e-9)) as u64
    }

    fn to_json(&self) -> Value {
        json!({
            "seconds": (self.time.as_secs_f64() * 1e3).round() / 1e3,
            "bytes": self.served,
            "bytes_per_second": self.rate(),
            "pulls": { "whole": self.whole, "failed": self.troubles.len() },
            "pull_ms": self.pulls.to_json(),
            "manifest_ms": self.manifests.to_json(),
            "first_byte_ms": self.first_bytes.to_json(),
            "answers": {
                "hit": self.answered.hits,
                "join": self.answered.joins,
                "forwarded": self.answered.forwarded,
                "unsaid": self.answered.unsaid,
            },
            "troubles": self.troubles,
        })
    }
}

impl Spread {
    fn to_json(self) -> Value {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
        json!({ "median": ms(self.median), "p99": ms(self.p99), "worst": ms(self.worst) })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { image, mirror, nodes, contents, .. } = self;
        let layers = contents.layers;
        writeln!(f, "{nodes} nodes at once, {image} ({} in {layers} layers)", bytes(contents.bytes))?;
        writeln!(f, "through {mirror}, every digest checked.\n")?;
        for titles in TITLES {
            writeln!(f, "{}", line(titles))?;
        }
        for (number, round) in self.rounds.iter().enumerate() {
            let Round { pulls, manifests, first_bytes, answered, .. } = round;
            let columns = [
                (number + 1).to_string(),
                time(round.time),
                bytes(round.served),
                format!("{}/s", bytes(round.rate())),
                time(pulls.median),
                time(pulls.worst),
                fine(manifests.median),
                fine(manifests.p99),
                fine(first_bytes.median),
                fine(first_bytes.p99),
                answered.hits.to_string(),
                answered.joins.to_string(),
                answered.forwarded.to_string(),
                round.troubles.len().to_string(),
            ];
            writeln!(f, "{}", line(columns.each_ref().map(String::as_str)))?;
        }
        if self.rounds.iter().all(|round| round.answered.unsaid > 0) {
            writeln!(f, "\nNot every answer says how it came about (Cache-Status).")?;
        }
        for (number, round) in self.rounds.iter().enumerate() {
            for trouble in round.troubles.iter().take(SHOWN) {
                writeln!(f, "round {}: {trouble}", number + 1)?;
            }
            if round.troubles.len() > SHOWN {
                writeln!(f, "round {}: and {} more", number + 1, round.troubles.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

/// Times that may be far below a millisecond.
fn fine(duration: Duration) -> String {
    match duration.as_secs_f64() {
        seconds if seconds < 0.01 => format!("{:.2} ms", seconds * 1e3),
        _ => time(duration),
    }
}

fn line(columns: [&str; 14]) -> String {
    let [round, took, served, rate, pull, slowest, manifest, late, first, later, hit, join, fetched, failed] =
        columns;
    format!(
        "{round:>5}{took:>9}{served:>11}{rate:>12}{pull:>9}{slowest:>9}{manifest:>10}{late:>9}{first:>10}{later:>9}\
         {hit:>7}{join:>6}{fetched:>9}{failed:>8}"
    )
}

const TITLES: [[&str; 14]; 2] = [
    ["", "", "", "", "pull", "", "manifest", "", "layer", "", "", "", "", "pulls"],
    [
        "round", "time", "to nodes", "rate", "median", "slowest", "median", "p99", "1st byte", "p99", "hits",
        "joins", "fetched", "failed",
    ],
];

/// Troubles of a round that are told as text. All nodes tend to have the same one.
const SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Answered;

    fn round(millis: u64, answered: Answered) -> Round {
        let spread = |millis: u64| Spread {
            median: Duration::from_millis(millis),
            p99: Duration::from_millis(2 * millis),
            worst: Duration::from_millis(3 * millis),
        };
        Round {
            time: Duration::from_millis(millis),
            served: 16 * 120_001_248,
            whole: 16,
            pulls: spread(millis / 3),
            manifests: Spread { median: Duration::from_micros(310), ..spread(2) },
            first_bytes: spread(5),
            answered,
            troubles: Vec::new(),
        }
    }

    fn report() -> Report {
        let cold = Answered { hits: 32, joins: 75, forwarded: 5, unsaid: 0 };
        let warm = Answered { hits: 112, ..Answered::default() };
        Report {
            image: "docker.io/library/alpine:3".to_owned(),
            mirror: "http://127.0.0.1:5000".to_owned(),
            nodes: 16,
            contents: Contents { bytes: 120_001_248, layers: 4 },
            rounds: vec![round(9_900, cold), round(900, warm)],
        }
    }

    #[test]
    fn the_text_is_a_table() {
        assert_eq!(report().to_string(), GOLDEN);
    }

    #[test]
    fn pulls_that_failed_are_told_and_make_it_less_than_whole() {
        let mut report = report();
        assert!(report.is_whole());
        report.rounds[1].troubles =
            vec!["GET blobs/sha256:00: answered 503 Service Unavailable".to_owned(); 5];
        assert!(!report.is_whole());
        let text = report.to_string();
        let told = "round 2: GET blobs/sha256:00: answered 503 Service Unavailable\n";
        assert!(text.ends_with(&format!("{}round 2: and 2 more\n", told.repeat(3))), "{text}");
        assert_eq!(report.to_json()["whole"], false);
        assert_eq!(report.to_json()["rounds"][1]["pulls"]["failed"], 5);
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = report().to_json();
        assert_eq!((&json["whole"], &json["nodes"]), (&json!(true), &json!(16)));
        assert_eq!(json["image"]["bytes"], 120_001_248_u64);
        assert_eq!(json["rounds"][0]["answers"]["join"], 75);
        assert_eq!(json["rounds"][1]["pull_ms"], json!({ "median": 300.0, "p99": 600.0, "worst": 900.0 }));
        assert_eq!(json["rounds"][1]["manifest_ms"]["median"], 0.3);
    }

    const GOLDEN: &str = "\
16 nodes at once, docker.io/library/alpine:3 (120.0 MB in 4 layers)
through http://127.0.0.1:5000, every digest checked.

                                          pull           manifest              layer                                  pulls
round     time   to nodes        rate   median  slowest    median      p99  1st byte      p99   hits joins  fetched  failed
    1    9.9 s    1.92 GB  193.9 MB/s    3.3 s    9.9 s   0.31 ms  4.00 ms   5.00 ms    10 ms     32    75        5       0
    2   900 ms    1.92 GB   2.13 GB/s   300 ms   900 ms   0.31 ms  4.00 ms   5.00 ms    10 ms    112     0        0       0
";
}
