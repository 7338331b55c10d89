//! Manifests by their tags, inside the time for which a tag is believed.

use std::path::Path;

use super::hits::{Field, Guests, alternate};
use super::title;
use crate::clients::wrk;
use crate::content::Sizes;
use crate::plan::Bench;
use crate::servers::{STATIC, Server};
use crate::table::{OWN, Row, compared};

/// In how many turns a round is measured: `wrk` counts in seconds.
const TURNS: u32 = 2;
/// Requests, and microseconds for each.
const REQUESTS: (f64, f64) = (1.0, 1e6);

/// Without TLS.
pub(super) fn plain(bench: &Bench, folder: &Path) -> Row {
    let mut row = measure(bench, folder, "tags", bench.size(10, 1000, 1000), false);
    row.at_least_of("manifest by tag: requests/s", 0, OWN, STATIC, 1.0);
    row.at_most_of("manifest by tag: CPU each", 1, OWN, STATIC, 0.9);
    row
}

/// More of them.
pub(super) fn many(bench: &Bench, folder: &Path) -> Row {
    measure(bench, folder, "tags-many", bench.size(20, 4096, 4096), false)
}

/// Over TLS, by HTTP/1.1: wrk speaks no other.
pub(super) fn secure(bench: &Bench, folder: &Path) -> Row {
    measure(bench, folder, "tags-tls", bench.size(10, 1000, 1000), true)
}

fn measure(bench: &Bench, folder: &Path, id: &'static str, tags: usize, by_tls: bool) -> Row {
    let mut row = Row::new(id, title(id), &[compared("requests/s"), compared("CPU us each")]);
    if !wrk::at_hand() {
        row.note("wrk is not at hand (apt-get install wrk): nothing is measured.");
        return row;
    }
    let sizes = Sizes { layers: (16, 1024), small: (0, 0), tags };
    let guests = Guests { registry: id != "tags-many", by_tls, ..Guests::default() };
    let Some(field) = Field::start(bench, &mut row, folder, sizes, guests, None) else { return row };
    row.note(&format!(
        "`wrk -t1 -c32` over {} tags in turn{}.",
        field.content.tags.len(),
        if guests.registry { "; docker-registry asks upstream each time" } else { "" }
    ));
    let load = |server: &Server, span| {
        let url = match server.tls {
            Some(address) if by_tls => format!("https://{address}"),
            _ => format!("http://{}", server.address),
        };
        wrk::ask(&url, field.content.tags.len(), folder, span)
    };
    alternate(bench, &mut row, &field.servers, REQUESTS, (TURNS, load));
    row
}
