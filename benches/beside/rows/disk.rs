//! Blobs that have to come from the disk: how fast, and what becomes meanwhile of those who want none of it.

use std::fs::{self, File};
use std::path::Path;
use std::thread;
use std::time::Instant;

use super::hits::{Field, Guests, warm};
use super::title;
use crate::clients::plain::Plain;
use crate::clients::probe;
use crate::content::{REPOSITORY, Sizes};
use crate::plan::Bench;
use crate::servers::Slowed;
use crate::slowed::SlowDisk;
use crate::table::{Column, Row, alone, compared, percentile};

/// How many clients pull at a time.
const CLIENTS: usize = 4;

const COLUMNS: [Column; 6] = [
    compared("GB/s"),
    compared("CPU s per GB"),
    alone("/livez, ms, 99 of 100"),
    alone("at most"),
    alone("a manifest, ms, 99 of 100"),
    alone("at most"),
];

/// From the disk as it is.
pub(super) fn cold(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("disk-cold", title("disk-cold"), &COLUMNS);
    measure(bench, &mut row, folder, (bench.size(2, 8, 24), bench.size(1, 16, 16)), None);
    row
}

/// From a disk that the kernel makes slow.
pub(super) fn slow(bench: &Bench, folder: &Path) -> Row {
    let mut row = Row::new("disk-slow", title("disk-slow"), &COLUMNS);
    match SlowDisk::under(folder) {
        Err(why) => row.note(&format!("No disk can be made slow here: {why}. Nothing is measured.")),
        Ok(disk) => {
            row.note(&format!("From {}.", SlowDisk::told()));
            let group = disk.processes();
            measure(bench, &mut row, folder, (4, bench.size(1, 16, 16)), Some(&group));
        }
    }
    row
}

/// All blobs once, by all clients, none of them in the page cache.
fn measure(
    bench: &Bench,
    row: &mut Row,
    folder: &Path,
    (blobs, mebibytes): (usize, usize),
    slowed: Slowed<'_>,
) {
    let sizes = Sizes { layers: (blobs, mebibytes << 20), small: (0, 0), tags: 10 };
    let guests = Guests { threads: true, ..Guests::default() };
    let Some(field) = Field::start(bench, row, folder, sizes, guests, slowed) else { return };
    row.note(&format!(
        "{blobs} blobs of {mebibytes} MiB by {CLIENTS} clients; beside them one asks for /livez and one for a manifest by its \
         tag, every few milliseconds. nginx has `aio threads`."
    ));
    let manifest = format!("/v2/{REPOSITORY}/manifests/t0");
    for server in &field.servers {
        warm(&mut Plain::to(server.address), &field.content.layers);
    }
    for round in 0..bench.rounds {
        for server in &field.servers {
            bench.say(&format!("round {}, {}", round + 1, server.name));
            forget(&field.content.root);
            field.stores.iter().for_each(|store| forget(store));
            let (livez, path) = server.livez;
            let asked = [(livez, path.to_owned()), (server.address, manifest.clone())];
            let begun = Instant::now();
            let (((), busy), times) = probe::beside(&asked, || {
                server.busy_in(|| {
                    thread::scope(|scope| {
                        for part in field.content.layers.chunks(blobs.div_ceil(CLIENTS)) {
                            scope.spawn(|| warm(&mut Plain::to(server.address), part));
                        }
                    });
                })
            });
            let took = begun.elapsed().as_secs_f64();
            let gigabytes = field.content.layers.iter().map(|blob| blob.size).sum::<u64>() as f64 / 1e9;
            let [of_livez, of_manifest] =
                [0, 1].map(|at| (percentile(&times[at], 99), percentile(&times[at], 100)));
            row.add(
                server.name,
                &[gigabytes / took, busy / gigabytes, of_livez.0, of_livez.1, of_manifest.0, of_manifest.1],
            );
        }
    }
}

/// Has the page cache forget all large files below a folder, once they are on the disk.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_dir() {
            forget(&entry.path());
        } else if meta.len() > 1 << 18
            && let Ok(file) = File::open(entry.path())
        {
            let _ = file.sync_all();
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
    }
}
