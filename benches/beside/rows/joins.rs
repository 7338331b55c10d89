//! Clients that join a running fill: what each of them costs beyond the fill, which the first has to pay anyway, and how fast
//! they get what is there of it.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::hits::{Field, Guests};
use super::title;
use crate::clients::plain::Plain;
use crate::clients::{Connection, pull};
use crate::content::Sizes;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::servers::{Roadstead, STATIC, Server};
use crate::table::{OWN, Row, compared};

/// How many join.
const JOINS: usize = 16;
/// What the link to upstream carries a second, so that all of them read where the fill is.
const LINK: u64 = 100_000_000;
/// How many read what is there as fast as they can, and how much that is at the least.
const READERS: usize = 8;
const FRONT: u64 = 64 << 20;

/// Fills with one client and with more, and the difference of them.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("joins", title("joins"), &[compared("GB/s"), compared("CPU s per GB")]);
    let sizes =
        Sizes { layers: bench.size((2, 1 << 20), (2, 64 << 20), (4, 64 << 20)), small: (0, 0), tags: 1 };
    let Some(field) = Field::start(bench, &mut row, folder, sizes, Guests::default(), None) else {
        return row;
    };
    let nginx = &field.servers[0];
    let size = bench.size(2_000_000, 100_000_000, 300_000_000);
    let origin = Registry::start(Line::Shared(LINK), &[size], Duration::ZERO);
    let front = bench.size(1 << 20, FRONT, FRONT);
    row.note(&format!(
        "CPU: {JOINS} clients join a fill at {} MB/s; counted is what the mirror took for all of them beyond the same fill with \
         one client, for what they got. GB/s: {READERS} clients ask for the first {} MiB of a blob whose fill has come that \
         far and goes on, again and again. nginx sends files that are there, to as many clients; while its GB/s are taken the \
         same fill goes on in a mirror beside it, so that both share the machine with one.",
        LINK / 1_000_000,
        front >> 20
    ));
    // What is left when the front is there lasts longer than it is read.
    let left = LINK * (bench.span.as_secs() + 5);
    let long = Registry::start(Line::Shared(LINK), &[front + left], Duration::ZERO);
    let of_nginx = |clients, span| pull(|| Plain::to(nginx.address), &field.content.layers, clients, span);
    of_nginx(JOINS, Duration::ZERO);
    for round in 0..bench.rounds {
        bench.say(&format!("round {}, nginx", round + 1));
        let rate = beside_fill(&bench.builds[0], folder, &long, front, |_| {
            of_nginx(READERS, bench.span).rate() / 1e9
        });
        let (load, busy) = nginx.busy_in(|| of_nginx(JOINS, bench.span));
        row.add(STATIC, &[rate, busy / (load.amount as f64 / 1e9)]);
        for build in &bench.builds {
            bench.say(&format!("round {}, {}", round + 1, build.0));
            let [alone, together] = [1, 1 + JOINS].map(|clients| fill(build, folder, &origin, clients, size));
            let each = (together - alone) / (size * JOINS as u64) as f64 * 1e9;
            let rate = beside_fill(build, folder, &long, front, |mirror| {
                read_front(mirror, &long.path(0), front, bench.span) / 1e9
            });
            row.add(build.0, &[rate, each]);
        }
    }
    row.at_most_of("joins: CPU per GB", 1, OWN, STATIC, 1.0);
    row.at_least_of("joins: throughput", 0, OWN, STATIC, 1.0);
    row
}

/// A cold pull of one blob by so many: the processor time of the mirror.
fn fill(build: &(&'static str, PathBuf), folder: &Path, origin: &Registry, clients: usize, size: u64) -> f64 {
    let of_it = tempfile::tempdir_in(folder).unwrap();
    let mirror = Roadstead::new(build, of_it.path(), origin.address()).start();
    let (before, begun) = (origin.sent(), Instant::now());
    let (_, busy) = mirror.busy_in(|| {
        thread::scope(|scope| {
            for _ in 0..clients {
                scope.spawn(|| {
                    let (_, came) = Plain::to(mirror.address).get(&origin.path(0));
                    assert_eq!(came, size);
                });
            }
        });
    });
    let sent = origin.sent() - before;
    assert!(sent < size + size / 50, "upstream sent {sent} bytes of {size} in {:?}", begun.elapsed());
    busy
}

/// What is measured while a mirror fills a blob, whose front is there.
fn beside_fill(
    build: &(&'static str, PathBuf),
    folder: &Path,
    origin: &Registry,
    front: u64,
    measure: impl FnOnce(&Server) -> f64,
) -> f64 {
    let of_it = tempfile::tempdir_in(folder).unwrap();
    let mirror = Roadstead::new(build, of_it.path(), origin.address()).start();
    // It begins the fill, and leaves; the fill goes on.
    Plain::to(mirror.address).front(&origin.path(0), front);
    let sent = origin.sent();
    let measured = measure(&mirror);
    assert!(origin.sent() > sent, "the fill went on meanwhile");
    measured
}

/// How many bytes a second those get who read the front of a blob that is on its way.
fn read_front(mirror: &Server, path: &str, front: u64, span: Duration) -> f64 {
    let amount = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..READERS {
            scope.spawn(|| {
                let mut connection = Plain::to(mirror.address);
                while begun.elapsed() < span {
                    connection.front(path, front);
                    amount.fetch_add(front, Ordering::Relaxed);
                }
            });
        }
    });
    amount.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64()
}
