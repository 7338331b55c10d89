//! How long the mirror takes from its start to its first answer.

use std::path::Path;
use std::time::Instant;

use super::title;
use crate::clients::Connection;
use crate::clients::plain::Plain;
use crate::plan::Bench;
use crate::process::free_port;
use crate::servers::Roadstead;
use crate::table::{Row, alone};

/// Each time over a store that is not there yet.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("start", title("start"), &[alone("ms"), alone("resident, MiB")]);
    for round in 0..bench.size(1, 5, 20) {
        bench.say(&format!("start {}", round + 1));
        for build in &bench.builds {
            let of_it = tempfile::tempdir_in(folder).unwrap();
            // Nobody is there to be mirrored, and nobody need be.
            let mirror = Roadstead::new(build, of_it.path(), free_port());
            let begun = Instant::now();
            let mirror = mirror.start();
            Plain::to(mirror.address).get("/v2/");
            let took = begun.elapsed().as_secs_f64() * 1e3;
            row.add(build.0, &[took, super::hits::mebibytes(mirror.process.resident())]);
        }
    }
    if let Some(took) = row.middle("roadstead", 0) {
        row.at_most("start to first answer, empty store", "ms", took, 50.0);
    }
    row
}
