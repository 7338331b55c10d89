//! One client pulls one large blob that nobody has, from an upstream as fast as the machine; and what the parts of that cost
//! which no mirror can do without.

use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use super::hits::{NO_REGISTRY, middle};
use super::title;
use crate::clients::Connection;
use crate::clients::plain::Plain;
use crate::copy;
use crate::noise::noise;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::process::own_time;
use crate::servers::{Roadstead, Server, proxy, registry};
use crate::table::{Row, alone};

const PIECE: usize = 1 << 20;
const HASH: &str = "SHA-256 alone";
const WRITE: &str = "writing the file alone";
const COPY: &str = "a copy through hyper alone";

/// The parts and the whole, in turn.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("fill", title("fill"), &[alone("CPU s per GB"), alone("GB/s")]);
    let size: u64 = bench.size(4_000_000, 300_000_000, 1_000_000_000);
    row.note(&format!(
        "A blob of {} MB. `hyper alone` passes bodies on and does nothing else; the parts run one after the other.",
        size / 1_000_000
    ));
    let origin = Registry::start(Line::Free, &[size], Duration::ZERO);
    let bytes = noise(1, PIECE);
    let pieces = size.div_ceil(PIECE as u64);
    let figures = |busy: f64, took: Duration| {
        let gigabytes = size as f64 / 1e9;
        [busy / gigabytes, gigabytes / took.as_secs_f64()]
    };
    for round in 0..bench.rounds.min(3) {
        let say = |what: &str| bench.say(&format!("round {}, {what}", round + 1));
        say(HASH);
        let (busy, took) = of_this_process(|| {
            let mut hasher = Sha256::new();
            (0..pieces).for_each(|_| hasher.update(&bytes));
            std::hint::black_box(hasher.finalize());
        });
        row.add(HASH, &figures(busy, took));
        say(WRITE);
        let path = folder.join("written");
        let (busy, took) = of_this_process(|| {
            let mut file = File::create(&path).unwrap();
            (0..pieces).for_each(|_| file.write_all(&bytes).unwrap());
            file.sync_all().unwrap();
        });
        fs::remove_file(&path).unwrap();
        row.add(WRITE, &figures(busy, took));
        say(COPY);
        let (process, address) = copy::start(folder, origin.address());
        let (before, took) = (process.busy(), pull(address, &origin, size));
        row.add(COPY, &figures((process.busy() - before).as_secs_f64(), took));
        drop(process);
        let mut play = |name: &'static str, start: &dyn Fn(&Path) -> Option<Server>| {
            say(name);
            let of_it = tempfile::tempdir_in(folder).unwrap();
            let Some(server) = start(of_it.path()) else { return false };
            let (took, busy) = server.busy_in(|| {
                let took = pull(server.address, &origin, size);
                // What is left to do after the last byte counts too.
                std::thread::sleep(Duration::from_millis(300));
                took
            });
            row.add(name, &figures(busy, took));
            true
        };
        for build in &bench.builds {
            play(build.0, &|folder| Some(Roadstead::new(build, folder, origin.address()).start()));
        }
        play(crate::servers::PROXY, &|folder| proxy(folder, origin.address()));
        if !play(crate::servers::REGISTRY, &|folder| registry(folder, origin.address(), None)) {
            row.note(NO_REGISTRY);
        }
    }
    let parts: Vec<&[f64]> = [HASH, WRITE, COPY].iter().filter_map(|part| row.values(part, 0)).collect();
    if let (Some(own), [hash, write, copy]) = (row.values("roadstead", 0), &parts[..]) {
        // By rounds, as ratios are.
        let ratios: Vec<f64> =
            (0..own.len()).map(|round| own[round] / (hash[round] + write[round] + copy[round])).collect();
        let ratio = middle(&ratios);
        let goal = "at most 1.15 of hashing, writing and one copy through hyper";
        row.goal("cold, no limit: CPU per GB", goal, &format!("{ratio:.2}"), 1.15 / ratio);
    }
    row
}

fn pull(from: SocketAddr, origin: &Registry, size: u64) -> Duration {
    let begun = Instant::now();
    let (_, came) = Plain::to(from).get(&origin.path(0));
    assert_eq!(came, size);
    begun.elapsed()
}

/// The processor time that this process takes for something, in seconds, and how long it takes.
fn of_this_process(work: impl FnOnce()) -> (f64, Duration) {
    let (before, begun) = (own_time(), Instant::now());
    work();
    ((own_time() - before).as_secs_f64(), begun.elapsed())
}
