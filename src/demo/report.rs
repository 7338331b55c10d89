//! What the play showed: a table and the guarantees, as text or as JSON.

use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use super::acts::{Acts, Figures};
use super::checks::{Check, checks};
use super::image::Image;
use super::{LATENCY, LINK_MBIT, MB};
use crate::load::units::{bytes, time};

/// The figures of the whole play. As text it is what a person reads; [`Report::to_json`] is for programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    pub(super) nodes: usize,
    pub(super) layers: usize,
    /// All bytes of the image: manifest, configuration and layers.
    pub(super) image_bytes: u64,
    /// How many bodies those are.
    pub(super) image_bodies: u64,
    pub(super) acts: Acts,
}

impl Report {
    pub(super) fn new(nodes: usize, image: &Image, acts: Acts) -> Self {
        let (layers, image_bytes, image_bodies) = (image.layers().len(), image.bytes(), image.bodies());
        Self { nodes, layers, image_bytes, image_bodies, acts }
    }

    /// Whether every guarantee held.
    #[must_use]
    pub fn holds(&self) -> bool {
        checks(self).iter().all(|check| check.holds)
    }

    /// The same as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let acts: Vec<_> = self.rows().map(|(name, _, act)| self.act_json(name, act)).collect();
        let guarantees: Vec<_> = checks(self).iter().map(check_json).collect();
        json!({
            "nodes": self.nodes,
            "image": { "bytes": self.image_bytes, "layers": self.layers },
            "link": { "mbit_per_second": LINK_MBIT, "latency_ms": LATENCY.as_millis() },
            "acts": acts,
            "guarantees": guarantees,
            "holds": self.holds(),
        })
    }

    /// How many times the size of the image came from upstream.
    pub(super) fn ratio(&self, act: &Figures) -> f64 {
        act.upstream.bytes as f64 / self.image_bytes as f64
    }

    fn rows(&self) -> impl Iterator<Item = (&'static str, String, &Figures)> {
        let (acts, nodes) = (&self.acts, self.nodes);
        [
            ("direct", "1 node, no mirror".to_owned(), &acts.direct),
            ("cold", format!("{nodes} nodes at once"), &acts.cold),
            ("warm", format!("{nodes} nodes again"), &acts.warm),
            ("gone", format!("{nodes} nodes, no upstream"), &acts.gone),
        ]
        .into_iter()
    }

    fn act_json(&self, name: &str, act: &Figures) -> Value {
        let ms = |duration: Duration| (duration.as_secs_f64() * 1e4).round() / 10.0;
        json!({
            "act": name,
            "seconds": (act.time.as_secs_f64() * 1e3).round() / 1e3,
            "bytes_to_nodes": act.served,
            "bytes_from_upstream": act.upstream.bytes,
            "ratio": (self.ratio(act) * 1e4).round() / 1e4,
            "upstream_requests": {
                "all": act.upstream.requests,
                "manifest_head": act.upstream.manifest_heads,
                "manifest_get": act.upstream.manifest_gets,
                "blob": act.upstream.blobs,
            },
            "first_byte_ms": { "median": ms(act.first_byte_median), "worst": ms(act.first_byte_worst) },
            "bodies": { "right": act.right, "wrong": act.wrong },
            "troubles": act.troubles,
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, layers, image_bytes, .. } = self;
        let (image, latency) = (bytes(*image_bytes), time(LATENCY));
        let all = *nodes as u64 * image_bytes;
        let long = Duration::from_secs_f64(all as f64 / (LINK_MBIT * MB / 8) as f64);
        writeln!(
            f,
            "{nodes} nodes, an image of {image} in {layers} layers, a link of {LINK_MBIT} Mbit/s and {latency}."
        )?;
        writeln!(
            f,
            "Past the mirror, {nodes} pulls are {} on the link: {} at the least.",
            bytes(all),
            time(long)
        )?;
        writeln!(f, "The tag's time to live is 0, so that every pull has to ask whether it moved.\n")?;
        for (title, note, columns) in TITLES {
            writeln!(f, "{}", row(title, note, columns))?;
        }
        for (name, who, act) in self.rows() {
            let columns = [
                &time(act.time),
                &bytes(act.served),
                &bytes(act.upstream.bytes),
                &format!("{:.2}", self.ratio(act)),
                &act.upstream.requests.to_string(),
                &time(act.first_byte_median),
                &time(act.first_byte_worst),
            ];
            writeln!(f, "{}", row(name, &who, columns.map(String::as_str)))?;
        }
        writeln!(f)?;
        for Check { guarantee, says, seen, holds } in checks(self) {
            let verdict = if holds { "holds" } else { "BROKEN" };
            writeln!(f, "{guarantee} {verdict:<7} {says}: {seen}")?;
        }
        for (name, _, act) in self.rows() {
            for trouble in act.troubles.iter().take(SHOWN) {
                writeln!(f, "{name}: {trouble}")?;
            }
            if act.troubles.len() > SHOWN {
                writeln!(f, "{name}: and {} more", act.troubles.len() - SHOWN)?;
            }
        }
        Ok(())
    }
}

fn row(name: &str, who: &str, columns: [&str; 7]) -> String {
    let [took, served, fetched, ratio, requests, median, worst] = columns;
    format!(
        "{name:<7}{who:<21}{took:>7}{served:>10}{fetched:>11}{ratio:>7}{requests:>10}{median:>9}{worst:>9}"
    )
}

fn check_json(check: &Check) -> Value {
    json!({ "guarantee": check.guarantee, "says": check.says, "seen": check.seen, "holds": check.holds })
}

const TITLES: [(&str, &str, [&str; 7]); 2] = [
    ("", "", ["", "bytes", "from", "", "upstream", "first", "byte"]),
    ("act", "", ["time", "to nodes", "upstream", "ratio", "requests", "median", "worst"]),
];

/// Troubles of an act that are told as text. All nodes tend to have the same one.
const SHOWN: usize = 3;

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::demo::tally::Asked;

    pub(crate) fn good() -> Report {
        let act = |nodes: u64, millis, upstream: Asked| Figures {
            time: Duration::from_millis(millis),
            served: nodes * 120_001_337,
            upstream,
            right: nodes * 6,
            wrong: 0,
            first_byte_median: Duration::from_millis(millis / 100),
            first_byte_worst: Duration::from_millis(millis / 50),
            troubles: Vec::new(),
        };
        let all = |heads, requests| Asked {
            requests,
            manifest_heads: heads,
            manifest_gets: 1,
            blobs: 5,
            bytes: 120_001_337,
        };
        let one = Asked { requests: 1, manifest_heads: 1, ..Asked::default() };
        Report {
            nodes: 16,
            layers: 4,
            image_bytes: 120_001_337,
            image_bodies: 6,
            acts: Acts {
                direct: act(1, 9_800, all(1, 7)),
                cold: act(16, 10_100, all(0, 6)),
                warm: act(16, 1_250, one),
                gone: act(16, 1_200, Asked::default()),
            },
        }
    }

    #[test]
    fn the_text_is_a_table_and_the_guarantees() {
        assert_eq!(good().to_string(), GOLDEN);
    }

    #[test]
    fn a_report_with_twice_the_bytes_says_which_guarantee_is_broken() {
        let mut report = good();
        report.acts.cold.upstream.bytes *= 2;
        report.acts.cold.troubles = vec!["blobs/sha256:00: answered 503 Service Unavailable".to_owned(); 5];
        assert!(!report.holds());
        let text = report.to_string();
        assert!(text.contains(
            "G1 BROKEN  cold: upstream sends each byte once: 240002674 of 120001337 bytes, ratio 2.00"
        ));
        assert!(text.contains("cold: blobs/sha256:00: answered 503 Service Unavailable\ncold: and 2 more\n"));
        assert_eq!(report.to_json()["holds"], false);
        assert_eq!(report.to_json()["acts"][1]["ratio"], 2.0);
    }

    #[test]
    fn json_has_the_same_figures() {
        let json = good().to_json();
        assert_eq!(json["holds"], true);
        assert_eq!(json["acts"][1]["act"], "cold");
        assert_eq!(json["acts"][1]["ratio"], 1.0);
        assert_eq!(json["acts"][1]["bytes_to_nodes"], 16 * 120_001_337_u64);
        assert_eq!(json["acts"][2]["upstream_requests"]["manifest_head"], 1);
        assert_eq!(json["acts"][3]["first_byte_ms"]["worst"], 24.0);
        assert_eq!(json["guarantees"][0]["guarantee"], "G1");
    }

    const GOLDEN: &str = "\
16 nodes, an image of 120.0 MB in 4 layers, a link of 100 Mbit/s and 40 ms.
Past the mirror, 16 pulls are 1.92 GB on the link: 153.6 s at the least.
The tag's time to live is 0, so that every pull has to ask whether it moved.

                                        bytes       from         upstream    first     byte
act                            time  to nodes   upstream  ratio  requests   median    worst
direct 1 node, no mirror      9.8 s  120.0 MB   120.0 MB   1.00         7    98 ms   196 ms
cold   16 nodes at once      10.1 s   1.92 GB   120.0 MB   1.00         6   101 ms   202 ms
warm   16 nodes again         1.2 s   1.92 GB        0 B   0.00         1    12 ms    25 ms
gone   16 nodes, no upstream  1.2 s   1.92 GB        0 B   0.00         0    12 ms    24 ms

G1 holds   cold: upstream sends each byte once: 120001337 of 120001337 bytes, ratio 1.00
G2 holds   every body has the digest it was asked by: 288 of 288 right, 0 wrong
G3 holds   cold: no layer waits to be whole: first byte after 202 ms, 1.0 s allowed
G4 holds   cold: all share one transfer, as fast as one alone: 10.1 s, 9.8 s alone, 12.0 s allowed
G5 holds   warm: upstream is asked only for the tag: 1 HEAD, 5 allowed, 0 other requests, 0 B
G6 holds   gone: what was pulled once is there: 16 of 16 pulls, by a tag past its time
";
}
