//! Whether the mirror's memory grows over a long time of everything at once.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::hits::{mebibytes, middle};
use super::memory::address;
use super::title;
use crate::clients::Connection;
use crate::clients::crowd::{Crowd, Speaks};
use crate::clients::plain::Plain;
use crate::clients::secure::tls;
use crate::origin::{Line, Registry};
use crate::plan::{Bench, number};
use crate::servers::{Certificate, Roadstead};
use crate::table::{Row, alone};

/// How much may be there at the end beyond what was there after a tenth of the time, as a part of it.
const GROWTH: f64 = 0.10;

/// Crowds that come and go, cold blobs and evictions; what is resident at ten times of it.
pub(super) fn measure(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("hour", title("hour"), &[alone("resident, MiB")]);
    let minutes = number("MINUTES", bench.size(1, 1, 60));
    let tenth = Duration::from_secs(minutes * 6);
    row.note(&format!(
        "{minutes} minutes of crowds of 100 by each way, which come and go, while cold blobs of 20 MB are pulled into a store \
         that has room for 20 of them."
    ));
    let certificate = Certificate::make(folder);
    let origin = Registry::start(Line::Shared(60_000_000), &[20_000_000; 60], Duration::ZERO);
    let ways = [
        Speaks::Plain,
        Speaks::One(tls(&certificate.authority, "http/1.1")),
        Speaks::Two(tls(&certificate.authority, "h2")),
    ];
    for build in &bench.builds {
        let of_it = tempfile::tempdir_in(folder).unwrap();
        let mirror = Roadstead {
            certificate: Some(&certificate),
            store: "max_bytes = \"400MB\"",
            ..Roadstead::new(build, of_it.path(), origin.address())
        };
        let mirror = mirror.start();
        let mut middles = Vec::new();
        let mut blob = 0;
        for part in 1..=10 {
            let (begun, mut samples) = (Instant::now(), Vec::new());
            while begun.elapsed() < tenth {
                bench.say(&format!(
                    "{}, {part} of 10, {} of {} s",
                    build.0,
                    begun.elapsed().as_secs(),
                    tenth.as_secs()
                ));
                let crowds: Vec<Crowd> = ways
                    .iter()
                    .enumerate()
                    .map(|(way, speaks)| {
                        Crowd::gather(100, address(&mirror, speaks), &origin.path((blob + way) % 60), speaks)
                    })
                    .collect();
                thread::sleep(Duration::from_secs(2));
                samples.push(mebibytes(mirror.process.resident()));
                drop(crowds);
                Plain::to(mirror.address).get(&origin.path((blob + 30) % 60));
                blob += 7;
            }
            middles.push(middle(&samples));
            row.add(&format!("{}, {part} of 10", build.0), &[middle(&samples)]);
        }
        // The first is for what is made once.
        let growth = middles[9] / middles[1] - 1.0;
        if build.0 == "roadstead" {
            let told = format!("{:+.0} %", growth * 100.0);
            let part = (1.0 + GROWTH) / (1.0 + growth.max(0.0));
            row.goal(&format!("memory: growth over {minutes} minutes"), "none (10 %)", &told, part);
        }
    }
    row
}
