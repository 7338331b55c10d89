//! What blobs take over HTTP/1.1 and over HTTP/2, from an upstream that speaks both over TLS.
//!
//! The real binary, an upstream in this process, and one client a blob. `cargo bench --bench versions` runs it;
//! `ROADSTEAD_BENCH_MB` is how much is pulled in megabytes (400), `ROADSTEAD_BENCH_RUNS` how often (3).

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot go on should stop with a trace")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

#[path = "fill/measure.rs"]
mod measure;
#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::thread;
use std::time::{Duration, Instant};

use measure::{busy, number, read};
use support::images::{Object, layer};
use support::mirror::{Binary, REGISTRY, Setup};
use support::upstream::Upstream;

const REPOSITORY: &str = "team/app";

/// One row of the table.
struct Row {
    /// As how many blobs it comes, which are pulled at once.
    blobs: u64,
    http2: &'static str,
    connections: usize,
}

const ROWS: [Row; 6] = [
    Row { blobs: 1, http2: "never", connections: 1 },
    Row { blobs: 1, http2: "never", connections: 4 },
    Row { blobs: 1, http2: "all", connections: 1 },
    Row { blobs: 1, http2: "all", connections: 4 },
    Row { blobs: 8, http2: "never", connections: 4 },
    Row { blobs: 8, http2: "all", connections: 4 },
];

fn main() {
    // Only `cargo bench` says so; whatever else runs this sees that it runs.
    let measures = env::args().any(|argument| argument == "--bench");
    let (size, runs) =
        if measures { (number("MB", 400) * 1_000_000, number("RUNS", 3)) } else { (8_000_000, 1) };
    println!(
        "{:<9} {:>6} {:>6} {:>12} {:>8} {:>22} {:>8}",
        "blobs", "MB", "http2", "connections", "MB/s", "seconds", "CPU s"
    );
    for row in &ROWS {
        let mut pulls: Vec<_> = (0..runs).map(|run| pull(row, size, run)).collect();
        pulls.sort();
        let (median, _) = pulls[pulls.len() / 2];
        let shown: Vec<String> = pulls.iter().map(|(took, _)| format!("{:.2}", took.as_secs_f64())).collect();
        let most = pulls.iter().map(|(_, busy)| *busy).max().unwrap_or_default();
        println!(
            "{:<9} {:>6} {:>6} {:>12} {:>8.1} {:>22} {:>8.2}",
            row.blobs,
            size / 1_000_000,
            row.http2,
            row.connections,
            size as f64 / median.as_secs_f64() / 1e6,
            shown.join(" "),
            most.as_secs_f64(),
        );
    }
}

/// A cold pull of all of it: how long it took, and the processor time of the mirror.
fn pull(row: &Row, size: u64, run: u64) -> (Duration, Duration) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let blobs: Vec<Object> = (0..row.blobs).map(|blob| layer(100 * run + blob, size / row.blobs)).collect();
    let (upstream, mut mirror) = runtime.block_on(start(row, &blobs));
    let begun = Instant::now();
    thread::scope(|scope| {
        for blob in &blobs {
            let mirror = &mirror;
            scope.spawn(move || {
                read(mirror, &format!("/v2/{REPOSITORY}/blobs/{}", blob.digest), blob.size());
            });
        }
    });
    let took = begun.elapsed();
    let busy = busy(mirror.pid().unwrap());
    let over_two = upstream.seen().iter().filter(|seen| seen.note == Some("h2")).count();
    assert_eq!(over_two > 0, row.http2 == "all", "{over_two} requests over HTTP/2");
    runtime.block_on(mirror.kill());
    (took, busy)
}

async fn start(row: &Row, blobs: &[Object]) -> (Upstream, Binary) {
    let upstream = Upstream::start_two().await;
    blobs.iter().for_each(|blob| upstream.push_blob(REPOSITORY, blob));
    let setup = Setup::empty();
    let ca = setup.file("upstream.pem", &upstream.authority_pem());
    let lines = format!(
        "default = true\nca = {ca:?}\nhttp2 = {:?}\nconnections_per_blob = {}",
        row.http2, row.connections
    );
    let setup = setup.upstream_at(REGISTRY, &[&upstream.url()], &lines);
    let mirror = setup.set("log", "level = \"warn,roadstead::app=info\"").spawn().await;
    (upstream, mirror)
}
