//! The mirror beside other servers of the same content, in one run: what everything it does costs it and them.
//!
//! nginx with static files is the mark to reach; Debian's docker-registry as a pull-through cache, and nginx with
//! `proxy_cache`, are what many run today. All of them, the mirror as a real binary, serve the same content to the same
//! clients on the same machine. Measurements alternate between the servers, round by round, so that what else the machine
//! does falls on all of them; of the rounds the median counts, and the spread is shown. Processor time is what the operating
//! system counts for all threads and children of a server; that of clients is in no figure. A row that fails is told, and
//! the others go on.
//!
//! `make bench` installs what it can and runs all of it; docs/performance.md says how to choose rows and rounds, and what the
//! environment says. [`plan`] reads it.

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot go on should stop with a trace")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "tables and progress are what this is for")]

#[path = "beside/apart.rs"]
mod apart;
#[path = "beside/clients/mod.rs"]
mod clients;
#[path = "beside/content.rs"]
mod content;
#[path = "beside/copy.rs"]
mod copy;
#[path = "beside/many.rs"]
mod many;
#[path = "kit/noise.rs"]
mod noise;
#[path = "fill/registry.rs"]
#[allow(dead_code, reason = "this needs a part of what it can")]
mod origin;
#[path = "beside/picture.rs"]
mod picture;
#[path = "beside/plan.rs"]
mod plan;
#[path = "beside/process.rs"]
mod process;
#[path = "beside/report.rs"]
mod report;
#[path = "beside/rows/mod.rs"]
mod rows;
#[path = "beside/servers/mod.rs"]
mod servers;
#[path = "beside/slowed.rs"]
mod slowed;
#[path = "beside/table.rs"]
mod table;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use plan::Bench;
use table::Row;

fn main() -> ExitCode {
    if let Some(role) = copy::Role::of_arguments() {
        role.play();
    }
    apart::enter();
    plan::raise_limit_of_files();
    let folder = tempfile::tempdir().unwrap();
    let bench = Bench::of_environment(folder.path());
    println!("{}: {}\n", bench.measured, report::machine());
    let begun = Instant::now();
    let picked: Vec<_> = rows::ALL.iter().filter(|row| bench.wants(row)).collect();
    let mut measured = Vec::new();
    for (at, row) in picked.iter().enumerate() {
        bench.begin(at + 1, picked.len(), row.id);
        // What a row has started and written goes with it, also where it fails.
        let of_it = tempfile::tempdir_in(folder.path()).unwrap();
        let outcome = catch_unwind(AssertUnwindSafe(|| (row.measure)(&bench, of_it.path())));
        let told = outcome.unwrap_or_else(|_| Row::failed(row.id, row.title));
        bench.end();
        println!("{}", report::row(&told));
        measured.push(told);
    }
    println!("{}", report::goals(&measured));
    if bench.measures() {
        report::write(&bench, &measured);
    }
    println!("took {:.0} s", begun.elapsed().as_secs_f64());
    ExitCode::from(u8::from(measured.iter().any(|row| row.failed)))
}
