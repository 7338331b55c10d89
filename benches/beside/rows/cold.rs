//! Many clients that want one image which nobody has, over a link that is slower than all of them.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::hits::NO_REGISTRY;
use super::title;
use crate::clients::Connection;
use crate::clients::plain::Plain;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::servers::{Roadstead, Server, proxy, registry};
use crate::table::{Row, alone};
use std::net::SocketAddr;

/// How many clients.
const CLIENTS: usize = 64;
/// What the link carries a second.
const LINK: u64 = 30_000_000;
/// What upstream takes to answer.
const TRIP: Duration = Duration::from_millis(5);

/// One pull without anything between, then the caches.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let columns = [
        alone("upstream sent, images"),
        alone("last client, s"),
        alone("of the direct pull"),
        alone("CPU s"),
    ];
    let mut row = Row::new("cold", title("cold"), &columns);
    let size = bench.size(100_000, 4_000_000, 10_000_000);
    let sizes = [2_000, size * 2, size, size / 2];
    let image: u64 = sizes.iter().sum();
    let origin = Registry::start(Line::Shared(LINK), &sizes, TRIP);
    row.note(&format!(
        "{CLIENTS} clients at once, an image of {:.0} MB in three layers, a link of {} MB/s in all, upstream answers after {} ms. \
         Servers that fetch more than once are measured once.",
        image as f64 / 1e6,
        LINK / 1_000_000,
        TRIP.as_millis()
    ));
    for round in 0..bench.rounds.min(3) {
        bench.say(&format!("round {}, without a mirror", round + 1));
        let direct = pull_at_once(origin.address(), &origin, sizes.len(), 1);
        row.add("one client, no mirror", &[1.0, direct, 1.0, 0.0]);
        let mut play = |name: &'static str, start: &dyn Fn(&Path) -> Option<Server>| {
            bench.say(&format!("round {}, {name}", round + 1));
            let of_it = tempfile::tempdir_in(folder).unwrap();
            let Some(server) = start(of_it.path()) else { return false };
            let before = origin.sent();
            let (took, busy) = server.busy_in(|| pull_at_once(server.address, &origin, sizes.len(), CLIENTS));
            let sent = (origin.sent() - before) as f64 / image as f64;
            row.add(name, &[sent, took, took / direct, busy]);
            true
        };
        for build in &bench.builds {
            play(build.0, &|folder| Some(Roadstead::new(build, folder, origin.address()).start()));
        }
        play(crate::servers::PROXY, &|folder| proxy(folder, origin.address()));
        if round == 0
            && bench.measures()
            && !play(crate::servers::REGISTRY, &|folder| registry(folder, origin.address(), None))
        {
            row.note(NO_REGISTRY);
        }
    }
    if let (Some(ratio), Some(of_direct)) = (row.middle("roadstead", 0), row.middle("roadstead", 2)) {
        row.goal("cold, 64 clients: upstream ratio", "1.00", &format!("{ratio:.3}"), 1.004 / ratio.max(1.0));
        row.at_most("cold, 64 clients: the last, by one direct pull", "times", of_direct, 1.05);
    }
    row
}

/// All pull the image: the manifest, then every blob at once over connections of their own. Returns when the last has it.
fn pull_at_once(from: SocketAddr, origin: &Registry, blobs: usize, clients: usize) -> f64 {
    let begun = Instant::now();
    thread::scope(|scope| {
        for _ in 0..clients {
            scope.spawn(move || {
                let mut connection = Plain::to(from);
                connection.get(&origin.image());
                connection.get(&origin.path(0));
                thread::scope(|scope| {
                    for blob in 1..blobs {
                        scope.spawn(move || Plain::to(from).get(&origin.path(blob)));
                    }
                });
            });
        }
    });
    begun.elapsed().as_secs_f64()
}
