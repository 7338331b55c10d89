//! Clients that join a running fill: what each of them costs beyond the fill, which the first has to pay anyway.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::hits::{Field, Guests};
use super::title;
use crate::clients::plain::Plain;
use crate::clients::{Connection, pull};
use crate::content::Sizes;
use crate::origin::{Line, Registry};
use crate::plan::Bench;
use crate::servers::{Roadstead, STATIC};
use crate::table::{Row, compared};

/// How many join.
const JOINS: usize = 16;
/// What the link to upstream carries a second, so that all of them read where the fill is.
const LINK: u64 = 100_000_000;

/// Fills with one client and with more, and the difference of them.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("joins", title("joins"), &[compared("CPU s per GB")]);
    row.note(&format!(
        "{JOINS} clients join a fill at {} MB/s; counted is what the mirror took for all of them beyond the same fill with one \
         client, for what they got. nginx sends files that are there, to as many clients.",
        LINK / 1_000_000
    ));
    let sizes =
        Sizes { layers: bench.size((2, 1 << 20), (2, 64 << 20), (4, 64 << 20)), small: (0, 0), tags: 1 };
    let Some(field) = Field::start(bench, &mut row, folder, sizes, Guests::default(), None) else {
        return row;
    };
    let nginx = &field.servers[0];
    let size = bench.size(2_000_000, 100_000_000, 300_000_000);
    let origin = Registry::start(Line::Shared(LINK), &[size], Duration::ZERO);
    pull(|| Plain::to(nginx.address), &field.content.layers, JOINS, Duration::ZERO);
    for round in 0..bench.rounds.min(3) {
        bench.say(&format!("round {}, nginx", round + 1));
        let load = || pull(|| Plain::to(nginx.address), &field.content.layers, JOINS, bench.span);
        let (load, busy) = nginx.busy_in(load);
        row.add(STATIC, &[busy / (load.amount as f64 / 1e9)]);
        for build in &bench.builds {
            bench.say(&format!("round {}, {}", round + 1, build.0));
            let [alone, together] = [1, 1 + JOINS].map(|clients| fill(build, folder, &origin, clients, size));
            row.add(build.0, &[(together - alone) / (size * JOINS as u64) as f64 * 1e9]);
        }
    }
    row.at_most_of("joins: CPU per GB", 0, "roadstead", STATIC, 1.0);
    row
}

/// A cold pull of one blob by so many: the processor time of the mirror.
fn fill(
    build: &(&'static str, std::path::PathBuf),
    folder: &Path,
    origin: &Registry,
    clients: usize,
    size: u64,
) -> f64 {
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
