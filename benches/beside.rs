//! The mirror beside other servers of the same content, in one run: what a hit costs each of them.
//!
//! nginx with static files is the mark to reach, and Debian's docker-registry as a pull-through cache is what many run
//! today. All of them, the mirror as a real binary, serve the same layers and manifests from a warm page cache to the same
//! client on the same machine. Measurements alternate between the servers, round by round, so that what else the machine
//! does falls on all of them; of the rounds the median counts, and the spread is shown. Processor time is what the operating
//! system counts for all threads and children of a server.
//!
//! `benches/with-servers cargo bench --bench beside` installs what it can, and runs all of it. A word after `--` picks rows by their name. The environment says more:
//! `ROADSTEAD_BENCH_ROUNDS` is the number of rounds (3), `ROADSTEAD_BENCH_SECONDS` how long each measurement takes (4),
//! `ROADSTEAD_BENCH_AGAINST` another binary of roadstead to compare with, `TMPDIR` where the content is (about 3.5 GB).
//! Results are written to `benches/results/`.

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot go on should stop with a trace")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

#[path = "beside/blobs.rs"]
mod blobs;
#[path = "beside/content.rs"]
mod content;
#[path = "beside/manifests.rs"]
mod manifests;
#[path = "beside/process.rs"]
mod process;
#[path = "beside/report.rs"]
mod report;
#[path = "beside/servers.rs"]
mod servers;

use std::env;
use std::time::Duration;

use content::{Content, Sizes};
use report::{Measured, Row, Unit};
use servers::{Server, Servers};

/// How many clients pull blobs at a time.
const CLIENTS: usize = 8;

fn main() {
    // Only `cargo bench` says so; whatever else runs this sees that it runs.
    let measures = env::args().any(|argument| argument == "--bench");
    let picked: Vec<String> = env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let sizes = if measures { Sizes::FULL } else { Sizes::SMALL };
    let (rounds, seconds) =
        if measures { (number("ROUNDS", 3), number("SECONDS", 4) as f64) } else { (1, 0.2) };
    let span = Duration::from_secs_f64(seconds);

    if servers::find("nginx").is_none() {
        println!(
            "nginx, the mark to reach, is not at hand (apt-get install nginx-light): nothing is measured"
        );
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let content = Content::make(folder.path(), sizes);
    let servers = Servers::start(folder.path(), &content);
    println!("{}\n", report::machine());

    let of_blobs = |name, paths: &[content::Blob]| {
        row(name, Unit::Bytes, &servers, rounds, |server| blobs::pull(server.address, paths, CLIENTS, span))
    };
    let mut rows = Vec::new();
    let wanted = |name: &str| picked.is_empty() || picked.iter().any(|word| name.contains(word.as_str()));
    if wanted("blobs of 64 MB") {
        rows.push(of_blobs("blobs of 64 MB", &content.layers));
    }
    if wanted("blobs of 256 KB") {
        rows.push(of_blobs("blobs of 256 KB", &content.small));
    }
    if wanted("manifests by tag") && manifests::at_hand() {
        rows.push(row("manifests by tag", Unit::Requests, &servers, rounds, |server| {
            manifests::ask(server.address, content.tags.len(), folder.path(), span)
        }));
    }
    println!("{}", report::table(&rows));
    if measures {
        report::write(&rows);
    }
}

/// What a load came to: how much in how long.
pub(crate) struct Load {
    amount: u64,
    took: Duration,
}

fn row(
    name: &'static str,
    unit: Unit,
    servers: &Servers,
    rounds: u64,
    load: impl Fn(&Server) -> Load,
) -> Row {
    let mut measured: Vec<Measured> = servers.all.iter().map(|server| Measured::of(server.name)).collect();
    // Nothing is measured while a server fills its caches.
    for server in &servers.all {
        load(server);
    }
    for _ in 0..rounds {
        for (server, measured) in servers.all.iter().zip(&mut measured) {
            let before = server.busy();
            let Load { amount, took } = load(server);
            let busy = server.busy() - before;
            measured.add(amount as f64 / took.as_secs_f64(), busy.as_secs_f64() / amount as f64);
        }
    }
    Row { name, unit, measured }
}

fn number(name: &str, default: u64) -> u64 {
    env::var(format!("ROADSTEAD_BENCH_{name}")).ok().map_or(default, |text| text.parse().unwrap())
}
