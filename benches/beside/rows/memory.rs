//! What the mirror takes of memory while a thousand clients read one layer, each at its own place.

use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::hits::mebibytes;
use super::title;
use crate::clients::Connection;
use crate::clients::crowd::{Crowd, Speaks};
use crate::clients::plain::Plain;
use crate::clients::secure::tls;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::servers::{Certificate, Roadstead, Server, proxy};
use crate::table::{Row, alone};

/// What upstream sends a second while its blob is joined, so that it lasts.
const JOINED: u64 = 1_000_000;

/// Hits, then joins, by each way that clients come.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let columns = [alone("resident at most, MiB"), alone("before, MiB"), alone("GB/s")];
    let mut row = Row::new("memory", title("memory"), &columns);
    let clients = bench.size(20, 1000, 1000);
    let size: u64 = bench.size(50_000_000, 400_000_000, 1_000_000_000);
    row.note(&format!(
        "{clients} clients, a layer of {} MB, each load for {} s; joins are of a fill at {} MB/s.",
        size / 1_000_000,
        span(bench).as_secs(),
        JOINED / 1_000_000
    ));
    let certificate = Certificate::make(folder);
    let ways = [
        ("plain", Speaks::Plain, 64.0),
        ("TLS, HTTP/1.1", Speaks::One(tls(&certificate.authority, "http/1.1")), 192.0),
        ("TLS, HTTP/2", Speaks::Two(tls(&certificate.authority, "h2")), 192.0),
    ];
    let free = Registry::start(Line::Free, &[size], Duration::ZERO);
    let slow = Registry::start(Line::Shared(JOINED), &[size], Duration::ZERO);
    for (what, origin) in [("hits", &free), ("joins", &slow)] {
        for (way, speaks, most) in &ways {
            for build in &bench.builds {
                let name = format!("{}, {what}, {way}", build.0);
                bench.say(&name);
                let of_it = tempfile::tempdir_in(folder).unwrap();
                let mirror = Roadstead {
                    certificate: Some(&certificate),
                    ..Roadstead::new(build, of_it.path(), origin.address())
                };
                let mirror = mirror.start();
                let peak = load(bench, &mut row, &name, &mirror, (origin, what == "hits"), clients, speaks);
                if build.0 == "roadstead" {
                    row.at_most(&format!("memory, {clients} clients: {what}, {way}"), "MiB", peak, *most);
                }
            }
        }
    }
    let of_it = tempfile::tempdir_in(folder).unwrap();
    if let Some(nginx) = proxy(of_it.path(), free.address()) {
        bench.say(nginx.name);
        load(
            bench,
            &mut row,
            "nginx, proxy_cache, hits, plain",
            &nginx,
            (&free, true),
            clients,
            &Speaks::Plain,
        );
    }
    row
}

fn span(bench: &Bench) -> Duration {
    Duration::from_secs(bench.size(1, 3, 8))
}

/// One kind of load: enters it, and returns the most that was resident.
fn load(
    bench: &Bench,
    row: &mut Row,
    name: &str,
    server: &Server,
    (origin, is_there): (&Registry, bool),
    clients: usize,
    speaks: &Speaks,
) -> f64 {
    if is_there {
        Plain::to(server.address).get(&origin.path(0));
    }
    let before = mebibytes(server.process.resident());
    server.process.forget_peak();
    let mut crowd = Crowd::gather(clients, address(server, speaks), &origin.path(0), speaks);
    let had = crowd.received();
    thread::sleep(span(bench));
    let rate = (crowd.received() - had) as f64 / 1e9 / span(bench).as_secs_f64();
    let staying = crowd.staying();
    assert_eq!(staying, clients, "clients that are still there");
    let peak = mebibytes(server.process.peak());
    row.add(name, &[peak, before, rate]);
    peak
}

/// Where clients come who speak like this.
pub(super) fn address(server: &Server, speaks: &Speaks) -> SocketAddr {
    match speaks {
        Speaks::Plain => server.address,
        Speaks::One(_) | Speaks::Two(_) => server.tls.unwrap(),
    }
}
