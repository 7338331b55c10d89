//! How long one cold pull of a large blob takes, over one connection to upstream and over several.
//!
//! The real binary, an upstream and one client, each with threads of their own; upstream sends the same few megabytes
//! again and again, and the client throws away what it gets, so that the mirror is what is measured.
//!
//! `cargo bench --bench fill` runs all of it; a word after `--` picks lines by their name. The environment says more:
//! `ROADSTEAD_BENCH_MB` is the size of the blob in megabytes (1000), `ROADSTEAD_BENCH_RUNS` how often each line is
//! measured (3), `ROADSTEAD_BENCH_TRIP_MS` how long upstream takes for every answer (0), `TMPDIR` where the store is.

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot go on should stop with a trace")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

#[path = "fill/measure.rs"]
mod measure;
#[path = "kit/noise.rs"]
mod noise;
#[path = "fill/registry.rs"]
#[allow(dead_code, reason = "this needs a part of what it can")]
mod registry;
#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::time::{Duration, Instant};

use measure::{busy, number, read};
use registry::{Line, Registry};
use support::mirror::{REGISTRY, Setup};

/// How many bytes a second a connection carries in the first lines.
const PER_CONNECTION: u64 = 25_000_000;
/// What all share in the last ones: 100 Mbit/s.
const SHARED: u64 = 12_500_000;

/// One row of the table.
struct Row {
    name: &'static str,
    line: Line,
    /// As a part of what is asked for in all: slow lines take less.
    part: u64,
    connections: usize,
}

const ROWS: [Row; 6] = [
    Row { name: "25 MB/s a connection", line: Line::Each(PER_CONNECTION), part: 1, connections: 1 },
    Row { name: "25 MB/s a connection", line: Line::Each(PER_CONNECTION), part: 1, connections: 4 },
    Row { name: "no limit", line: Line::Free, part: 1, connections: 1 },
    Row { name: "no limit", line: Line::Free, part: 1, connections: 4 },
    Row { name: "12.5 MB/s in all", line: Line::Shared(SHARED), part: 4, connections: 1 },
    Row { name: "12.5 MB/s in all", line: Line::Shared(SHARED), part: 4, connections: 4 },
];

/// What one pull came to.
struct Pull {
    took: Duration,
    /// From upstream's last byte to the client's.
    behind: Duration,
    /// Processor time of the mirror.
    busy: Duration,
    /// Bytes that upstream sent beyond those of the blob.
    twice: u64,
}

fn main() {
    // Only `cargo bench` says so; whatever else runs this sees that it runs.
    let measures = env::args().any(|argument| argument == "--bench");
    let picked: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let (size, runs) =
        if measures { (number("MB", 1000) * 1_000_000, number("RUNS", 3)) } else { (1_000_000, 1) };
    let trip = Duration::from_millis(number("TRIP_MS", 0));
    println!(
        "{:<22} {:>9} {:>12} {:>8} {:>22} {:>10} {:>8}",
        "upstream", "MB", "connections", "MB/s", "seconds", "behind ms", "CPU s"
    );
    let mut before: Option<(&str, f64)> = None;
    for row in
        ROWS.iter().filter(|row| picked.is_empty() || picked.iter().any(|word| row.name.contains(word)))
    {
        let size = size / row.part;
        let registry = Registry::start(row.line, &[size], trip);
        let pulls: Vec<Pull> = (0..runs).map(|_| pull(row, &registry, size)).collect();
        let mut seconds: Vec<f64> = pulls.iter().map(|pull| pull.took.as_secs_f64()).collect();
        seconds.sort_by(f64::total_cmp);
        let median = seconds[seconds.len() / 2];
        let shown: Vec<String> = seconds.iter().map(|seconds| format!("{seconds:.2}")).collect();
        let most = |of: fn(&Pull) -> Duration| pulls.iter().map(of).max().unwrap_or_default();
        let ratio = match before {
            Some((name, one)) if name == row.name => format!("  {:.2} times as fast", one / median),
            _ => String::new(),
        };
        println!(
            "{:<22} {:>9} {:>12} {:>8.1} {:>22} {:>10} {:>8.2}{ratio}",
            row.name,
            size / 1_000_000,
            row.connections,
            size as f64 / median / 1e6,
            shown.join(" "),
            most(|pull| pull.behind).as_millis(),
            most(|pull| pull.busy).as_secs_f64(),
        );
        let twice = pulls.iter().map(|pull| pull.twice).max().unwrap_or_default();
        assert!(twice == 0, "upstream sent {twice} bytes more than the blob has");
        before = Some((row.name, median));
    }
}

/// One cold pull through a mirror that has just started over an empty store.
fn pull(row: &Row, registry: &Registry, size: u64) -> Pull {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let lines = format!("default = true\nconnections_per_blob = {}", row.connections);
        let setup = Setup::empty()
            .upstream_at(REGISTRY, &[&registry.url()], &lines)
            .set("log", "level = \"warn,roadstead::app=info\"");
        let mut mirror = setup.spawn().await;
        let sent = registry.sent();
        let begun = Instant::now();
        read(&mirror, &registry.path(0), size);
        let ended = Instant::now();
        let pull = Pull {
            took: ended - begun,
            behind: ended.saturating_duration_since(registry.last_byte()),
            busy: busy(mirror.pid().unwrap()),
            twice: registry.sent() - sent - size,
        };
        mirror.kill().await;
        pull
    })
}
