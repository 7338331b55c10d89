//! Blobs that every server has.

use std::path::Path;

use super::hits::{Field, Guests, alternate, warm};
use super::title;
use crate::clients::plain::Plain;
use crate::clients::secure::{Secure, tls};
use crate::clients::two::Two;
use crate::clients::{Connection, pull};
use crate::content::{Blob, Sizes};
use crate::plan::Bench;
use crate::servers::{PROXY, REGISTRY, STATIC, Server};
use crate::table::{OWN, Row, compared};

/// How many clients pull at a time.
const CLIENTS: usize = 8;
/// In how many turns a round is measured.
const TURNS: u32 = 4;
/// Bytes a second and seconds a byte, as they are shown.
const GIGABYTES: (f64, f64) = (1e9, 1.0);

/// Large ones, without TLS.
pub(super) fn plain(bench: &Bench, folder: &Path) -> Row {
    let guests = Guests { proxy: true, registry: true, ..Guests::default() };
    let mut row = measure(bench, folder, "blobs", layers(bench), guests, plain_to);
    row.at_most_of("blob hit: CPU per GB", 1, OWN, STATIC, 1.0);
    row.at_least_of("blob hit: throughput", 0, OWN, STATIC, 1.0);
    row
}

/// Smaller ones, of which a request takes more than a byte.
pub(super) fn small(bench: &Bench, folder: &Path) -> Row {
    let sizes = of_small(bench.size((10, 1 << 16), (200, 1 << 18), (1000, 1 << 18)));
    let guests = Guests { proxy: true, registry: true, ..Guests::default() };
    measure(bench, folder, "blobs-small", sizes, guests, plain_to)
}

/// Many of them, of which each is as likely to be asked for as any other.
pub(super) fn many(bench: &Bench, folder: &Path) -> Row {
    let sizes = of_small((bench.size(20, 4096, 4096), 1 << 16));
    measure(bench, folder, "blobs-many", sizes, Guests::default(), plain_to)
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

fn plain_to(server: &Server, _: &str) -> Plain {
    Plain::to(server.address)
}

fn goals_over_tls(row: &mut Row, version: &str) {
    row.at_most_of(&format!("blob hit, TLS 1.3, {version}: CPU per GB"), 1, OWN, STATIC, 0.6);
    row.at_least_of(&format!("blob hit, TLS 1.3, {version}: throughput"), 0, OWN, STATIC, 1.0);
    row.note(
        "The client deciphers on the same processors; its time is in the throughput, and not in the CPU.",
    );
}

fn layers(bench: &Bench) -> Sizes {
    Sizes { layers: bench.size((2, 1 << 20), (4, 64 << 20), (8, 64 << 20)), small: (0, 0), tags: 1 }
}

fn of_small(small: (usize, usize)) -> Sizes {
    Sizes { layers: (1, 1024), small, tags: 1 }
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
    let content = &field.content;
    let blobs = if content.small.is_empty() {
        let all = content.layers_in(bench.size(6, 1024, 1024) / content.layers.len());
        row.note(&format!(
            "{} URLs of {} blobs: the same files in {} repositories{}.",
            all.len(),
            content.layers.len(),
            all.len() / content.layers.len(),
            if guests.proxy { "; caches of nginx and docker-registry are asked in one of them" } else { "" }
        ));
        all
    } else {
        row.note(&format!("{} blobs, a URL each.", content.small.len()));
        content.small.clone()
    };
    // A cache of another make would fetch and keep each of the names anew.
    let of = |server: &Server| -> &[Blob] {
        let one_each = content.small.is_empty() && [PROXY, REGISTRY].contains(&server.name);
        &blobs[..if one_each { content.layers.len() } else { blobs.len() }]
    };
    let authority = &field.certificate.authority;
    for server in &field.servers {
        bench.say(&format!("fills {}", server.name));
        let (content, names) = of(server).split_at(content.layers.len().max(content.small.len()));
        warm(&mut connect(server, authority), content);
        let mut connection = Plain::to(server.address);
        names.iter().for_each(|name| connection.head(name));
    }
    let load = |server: &Server, span| pull(|| connect(server, authority), of(server), CLIENTS, span);
    alternate(bench, &mut row, &field.servers, GIGABYTES, (TURNS, load));
    row
}
