//! Blobs that every server has.

use std::path::Path;

use super::hits::{Field, Guests, alternate, warm};
use super::title;
use crate::clients::plain::Plain;
use crate::clients::secure::{Secure, tls};
use crate::clients::two::Two;
use crate::clients::{Connection, pull};
use crate::content::Sizes;
use crate::plan::Bench;
use crate::servers::{STATIC, Server};
use crate::table::{Row, compared};

/// How many clients pull at a time.
const CLIENTS: usize = 8;
/// Bytes a second and seconds a byte, as they are shown.
const GIGABYTES: (f64, f64) = (1e9, 1.0);

/// Large ones, without TLS.
pub(super) fn plain(bench: &Bench, folder: &Path) -> Row {
    let guests = Guests { proxy: true, registry: true, by_tls: false };
    let mut row =
        measure(bench, folder, "blobs", layers(bench), guests, |server, _| Plain::to(server.address));
    row.at_most_of("blob hit: CPU per GB", 1, "roadstead", STATIC, 1.0);
    row.at_least_of("blob hit: throughput", 0, "roadstead", STATIC, 1.0);
    row
}

/// Smaller ones, of which a request takes more than a byte.
pub(super) fn small(bench: &Bench, folder: &Path) -> Row {
    let sizes = Sizes {
        layers: (1, 1024),
        small: bench.size((10, 1 << 16), (200, 1 << 18), (1000, 1 << 18)),
        tags: 1,
    };
    let guests = Guests { proxy: true, registry: true, by_tls: false };
    measure(bench, folder, "blobs-small", sizes, guests, |server, _| Plain::to(server.address))
}

/// Large ones, by HTTP/1.1 over TLS.
pub(super) fn over_one(bench: &Bench, folder: &Path) -> Row {
    let mut row = measure(bench, folder, "tls-h1", layers(bench), Guests::default(), |server, authority| {
        Secure::to(server.tls.unwrap(), &tls(authority, "http/1.1"))
    });
    goals_over_tls(&mut row, "HTTP/1.1");
    row
}

/// Large ones, by HTTP/2.
pub(super) fn over_two(bench: &Bench, folder: &Path) -> Row {
    let mut row = measure(bench, folder, "tls-h2", layers(bench), Guests::default(), |server, authority| {
        Two::to(server.tls.unwrap(), &tls(authority, "h2"))
    });
    goals_over_tls(&mut row, "HTTP/2");
    row
}

fn goals_over_tls(row: &mut Row, version: &str) {
    row.at_most_of(&format!("blob hit, TLS 1.3, {version}: CPU per GB"), 1, "roadstead", STATIC, 0.6);
    row.at_least_of(&format!("blob hit, TLS 1.3, {version}: throughput"), 0, "roadstead", STATIC, 1.0);
    row.note(
        "The client deciphers on the same processors; its time is in the throughput, and not in the CPU.",
    );
}

fn layers(bench: &Bench) -> Sizes {
    Sizes { layers: bench.size((2, 1 << 20), (4, 64 << 20), (8, 64 << 20)), small: (0, 0), tags: 1 }
}

fn measure<C: Connection>(
    bench: &Bench,
    folder: &Path,
    id: &'static str,
    sizes: Sizes,
    guests: Guests,
    connect: impl Fn(&Server, &str) -> C + Sync,
) -> Row {
    let mut row = Row::new(id, title(id), &[compared("GB/s"), compared("CPU s per GB")]);
    let Some(field) = Field::start(bench, &mut row, folder, sizes, guests, None) else { return row };
    let blobs = if field.content.small.is_empty() { &field.content.layers } else { &field.content.small };
    let authority = &field.certificate.authority;
    for server in &field.servers {
        bench.say(&format!("fills {}", server.name));
        warm(&mut connect(server, authority), blobs);
    }
    alternate(bench, &mut row, &field.servers, GIGABYTES, |server| {
        pull(|| connect(server, authority), blobs, CLIENTS, bench.span)
    });
    row
}
