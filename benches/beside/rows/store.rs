//! What a store of very many blobs costs beside one of a thousand.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::hits::mebibytes;
use super::title;
use crate::clients::Connection;
use crate::clients::plain::Plain;
use crate::many;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::servers::{Roadstead, Server};
use crate::table::{Row, alone, percentile};

const FEW: usize = 1000;
/// What is pulled where there is no room for it.
const PULLED: u64 = 4_000_000;

/// Both stores of each build.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let columns = [
        alone("start to ready, s"),
        alone("start without an index, s"),
        alone("memory beyond an empty store's, MiB"),
        alone("hit, ms, median"),
        alone("hit, ms, 99 of 100"),
        alone("hit read from disk, ms, median"),
        alone("first answer of a pull that evicts, ms"),
        alone("evicted blobs"),
        alone("us for each"),
    ];
    let mut row = Row::new("store", title("store"), &columns);
    let many = bench.size(2000, 50_000, 1_000_000);
    row.note(&format!(
        "Blobs of {} KiB, which are holes, ten to an image, a tag each; hits are of {FEW} of them, each asked for once, one after \
         the other over one connection, in both stores in turn. Half of them are in the page cache, of files that the mirror \
         has not opened; the others are read by it, where the kernel finds pages for them first. The disk is waited for \
         (`sync`) before anything is timed. A pull into a full store evicts a tenth of it, or 8 GiB.",
        many::SIZE >> 10
    ));
    let origin = Registry::start(Line::Free, &[PULLED], Duration::ZERO);
    for build in &bench.builds {
        let of_it = tempfile::tempdir_in(folder).unwrap();
        let open = |blobs: usize| open(bench, build, &of_it.path().join(blobs.to_string()), &origin, blobs);
        let opened = [open(FEW), open(many)];
        settle();
        bench.say("hits in both, in turn");
        let times = hits(&opened);
        let mut told = Vec::new();
        for (opened, times) in opened.into_iter().zip(times) {
            let name = format!("{}, {}", build.0, opened.blobs);
            told.push(fill_up(bench, opened, times, &origin));
            row.add(&name, told.last().unwrap());
        }
        bench.say("removes the files");
        if build.0 == "roadstead" {
            goals(&mut row, many, &told[0], &told[1]);
        }
    }
    row
}

fn goals(row: &mut Row, blobs: usize, few: &[f64], many: &[f64]) {
    let figure = |what: &str| format!("store of {blobs} blobs: {what}");
    row.at_most(&figure("start to ready"), "s", many[0], 2.0);
    row.at_most(&figure("memory of the index"), "MiB", many[2], 200.0);
    row.at_most(&figure("a hit, by that of 1000"), "times", many[3] / few[3], 1.1);
    row.at_most(&figure("an evicted blob, by that of 1000"), "times", many[8] / few[8], 1.1);
}

/// Waits until the disk has what was written: of a million files that were made a moment ago most are on their way to it
/// still, at the cost of the processors.
fn settle() {
    rustix::fs::sync();
}

/// A store that is served, and what was measured of it until then.
struct Opened<'a> {
    mirror: Roadstead<'a>,
    blobs: usize,
    server: Server,
    /// Seconds until it was ready, with an index and without.
    start: f64,
    without: f64,
    /// Beyond what an empty one takes, in MiB.
    memory: f64,
}

/// A store of so many blobs, that has been started until it was served as every day.
fn open<'a>(
    bench: &Bench,
    build: &'a (&'static str, PathBuf),
    folder: &Path,
    origin: &Registry,
    blobs: usize,
) -> Opened<'a> {
    let mirror = Roadstead {
        store: "max_bytes = \"100TiB\"\nscrub_rate = \"0B\"",
        ..Roadstead::new(build, folder, origin.address())
    };
    // An empty store, to have its marks and to know what it takes.
    let empty = mirror.start();
    let own = empty.process.resident();
    drop(empty);
    bench.say(&format!("writes {blobs} blobs"));
    many::write(&mirror.store(), blobs);
    settle();
    bench.say(&format!("starts over {blobs} blobs without an index"));
    let (server, without) = until_ready(&mirror);
    drop(server);
    bench.say(&format!("starts over {blobs} blobs"));
    let (server, first) = until_ready(&mirror);
    drop(server);
    let (server, second) = until_ready(&mirror);
    let memory = mebibytes(server.process.resident().saturating_sub(own));
    Opened { mirror, blobs, server, start: first.min(second), without, memory }
}

/// Has it evict, and tells all that was measured.
fn fill_up(bench: &Bench, opened: Opened<'_>, times: Hits, origin: &Registry) -> [f64; 9] {
    let Opened { mirror, blobs, server, start, without, memory } = opened;
    let used = used(&server);
    drop(server);
    bench.say(&format!("evicts some of {blobs} blobs"));
    let store = format!("max_bytes = \"{}B\"\nscrub_rate = \"0B\"", used + PULLED / 2);
    let full = Roadstead { store: &store, ..mirror };
    let (server, _) = until_ready(&full);
    let (byte, evicted, each) = evict(&server, origin);
    let (half, most) = (percentile(&times.cached, 50), percentile(&times.cached, 99));
    [start, without, memory, half, most, percentile(&times.read, 50), byte, evicted, each]
}

/// From its start until it says that it is ready, in seconds.
fn until_ready(mirror: &Roadstead<'_>) -> (Server, f64) {
    let begun = Instant::now();
    let server = mirror.start();
    // It says so by a status, as nobody can wait for longer than a server may take to listen.
    while metric(&server, "/readyz").is_none() {
        assert!(begun.elapsed() < Duration::from_secs(300), "not ready in time");
        thread::sleep(Duration::from_millis(2));
    }
    (server, begun.elapsed().as_secs_f64())
}

/// Of one store, in milliseconds.
#[derive(Default)]
struct Hits {
    /// Of blobs that are in the page cache.
    cached: Vec<f64>,
    /// Of blobs that are not.
    read: Vec<f64>,
}

/// Each of a thousand once, all over each store. The stores take turns, so that what the machine does beside it is shared; and
/// every other turn is of blobs that were put into the page cache behind the mirror's back, as a hit that finds pages for what
/// it reads times the kernel more than the store.
fn hits(stores: &[Opened<'_>; 2]) -> [Hits; 2] {
    const AT_A_TIME: usize = 50;
    let mut connections = stores.each_ref().map(|store| {
        let mut connection = Plain::to(store.server.address);
        connection.get("/v2/");
        connection
    });
    let mut times = [Hits::default(), Hits::default()];
    for (turn, first) in (0..FEW).step_by(AT_A_TIME).enumerate() {
        for ((connection, store), times) in connections.iter_mut().zip(stores).zip(&mut times) {
            // No neighbours, and none twice.
            let each = store.blobs / FEW;
            let blobs = (first..first + AT_A_TIME).map(|hit| hit * each + hit % each.max(1));
            let times = if turn % 2 == 0 {
                blobs.clone().for_each(|blob| many::read(&store.mirror.store(), blob));
                &mut times.cached
            } else {
                &mut times.read
            };
            for blob in blobs {
                let begun = Instant::now();
                let (_, came) = connection.get(&many::path(blob));
                assert_eq!(came, many::SIZE);
                times.push(begun.elapsed().as_secs_f64() * 1e3);
            }
        }
    }
    times
}

/// A pull that has to make room: when its first byte came in milliseconds, how many blobs went, and microseconds for each.
fn evict(server: &Server, origin: &Registry) -> (f64, f64, f64) {
    let begun = Instant::now();
    let (first, _) = Plain::to(server.address).get(&origin.path(0));
    let (mut evicted, mut ended) = (evictions(server), begun.elapsed());
    // It may go on for a while after the pull.
    let mut quiet = Instant::now();
    while quiet.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(20));
        let now = evictions(server);
        if now > evicted || evicted == 0.0 {
            (evicted, ended, quiet) = (now, begun.elapsed(), Instant::now());
        }
        assert!(begun.elapsed() < Duration::from_secs(120), "nothing was evicted");
    }
    (first.as_secs_f64() * 1e3, evicted, ended.as_secs_f64() * 1e6 / evicted.max(1.0))
}

fn used(server: &Server) -> u64 {
    sum(server, "roadstead_store_used_bytes{") as u64
}

fn evictions(server: &Server) -> f64 {
    sum(server, "roadstead_store_evictions_total{kind=\"blob\"")
}

/// The sum of all metrics whose lines begin so.
fn sum(server: &Server, begin: &str) -> f64 {
    let text = metric(server, "/metrics").unwrap_or_default();
    let values = text.lines().filter(|line| line.starts_with(begin));
    values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

/// What its admin address says there; none if that is no success.
fn metric(server: &Server, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(server.livez.0).ok()?;
    stream.set_read_timeout(Some(crate::clients::PATIENCE)).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.starts_with("HTTP/1.1 200").then_some(text)
}
