//! How many instructions a hit takes: a figure that is the same on a busy machine as on a quiet one, to notice by what a change
//! has made the way of a request longer.
//!
//! The real binary serves a small store, without any upstream, under valgrind's callgrind, once for so many requests and once for
//! twice as many; the difference is what the requests took, and starting and stopping is not in it. What the kernel does is not
//! counted. Each figure is held against the recorded one (`instructions.tsv` beside this file): more by over 10 % is a failure, less
//! by as much is told, to be recorded. Without a record it fails.
//!
//! `cargo bench --bench instructions` runs it, and needs valgrind. `ROADSTEAD_BENCH_WRITE=1` records what was counted. Figures
//! hold for one version of the compiler and one architecture, which the record names; against another nothing is judged.

#![allow(clippy::unwrap_used, reason = "in a benchmark, what cannot go on should stop with a trace")]
#![expect(clippy::print_stdout, reason = "the table is what this is for")]

#[path = "beside/servers/certificate.rs"]
mod certificate;
#[path = "instructions/client.rs"]
mod client;
#[path = "instructions/layout.rs"]
mod layout;
#[path = "beside/process.rs"]
#[allow(dead_code, reason = "instructions are counted here, and not the time of processors")]
mod process;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use certificate::Certificate;
use client::{Speaks, ask};
use layout::{Image, NAME, REGISTRY};
use process::{Process, free_port};

/// By how much a figure may be more than the recorded one, in percent.
const TOLERANCE: f64 = 10.0;

/// By which way it is asked.
#[derive(Clone, Copy)]
enum Way {
    Plain,
    One,
    Two,
}

/// What is asked, again and again over one connection.
struct Load {
    name: &'static str,
    requests: u64,
    path: fn(&Image) -> String,
    range: Option<&'static str>,
    way: Way,
}

const fn load(name: &'static str, requests: u64, path: fn(&Image) -> String) -> Load {
    Load { name, requests, path, range: None, way: Way::Plain }
}

const LOADS: [Load; 8] = [
    load("manifest by tag", 2000, Image::manifest_by_tag),
    load("manifest by digest", 2000, Image::manifest_by_digest),
    load("blob of 1 KB, in memory", 2000, Image::config),
    load("blob of 8 MB, from disk", 20, Image::layer),
    Load { range: Some("bytes=1000000-1065535"), ..load("range of 64 KB, from disk", 1000, Image::layer) },
    Load { way: Way::One, ..load("blob of 8 MB, TLS", 5, Image::layer) },
    Load { way: Way::Two, ..load("blob of 8 MB, HTTP/2", 5, Image::layer) },
    Load { way: Way::Two, ..load("manifest by tag, HTTP/2", 1000, Image::manifest_by_tag) },
];

fn main() -> ExitCode {
    let measures = std::env::args().any(|argument| argument == "--bench");
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not at hand (apt-get install valgrind): nothing is counted");
        return ExitCode::from(u8::from(measures));
    }
    let folder = tempfile::tempdir().unwrap();
    let image = layout::make(&folder.path().join("layout"));
    let server = Server::make(folder.path());
    if !measures {
        // Whatever else runs this sees that it runs.
        assert!(server.instructions(&LOADS[0], &image, 1) > 0);
        return ExitCode::SUCCESS;
    }
    let counted: Vec<(&str, u64)> =
        LOADS.iter().map(|load| (load.name, count(&server, load, &image))).collect();
    if std::env::var_os("ROADSTEAD_BENCH_WRITE").is_some() {
        record(&counted);
        return ExitCode::SUCCESS;
    }
    judge(&counted)
}

/// What one request takes.
fn count(server: &Server, load: &Load, image: &Image) -> u64 {
    let [once, twice] = [1, 2].map(|times| server.instructions(load, image, times * load.requests));
    (twice - once) / load.requests
}

/// A mirror whose store has the image, which is fresh for good, and which asks nobody.
struct Server {
    folder: PathBuf,
    config: PathBuf,
    address: SocketAddr,
    tls: SocketAddr,
    authority: String,
}

impl Server {
    fn make(folder: &Path) -> Self {
        let [address, tls] = [free_port(), free_port()];
        let (certificate, config) = (Certificate::make(folder), folder.join("roadstead.toml"));
        let text = format!(
            "[uplink]\nmode = \"offline\"\n[server]\nlisten = [\"{address}\"]\n\
             [tls]\nlisten = [\"{tls}\"]\ncert = {:?}\nkey = {:?}\n[admin]\nlisten = \"\"\n[store]\npath = {:?}\n\
             max_bytes = \"1GiB\"\n[log]\nlevel = \"info\"\n\
             [[upstream]]\nname = \"{REGISTRY}\"\nendpoints = [\"http://127.0.0.1:1\"]\ndefault = true\n\
             immutable = true\n",
            certificate.cert,
            certificate.key,
            folder.join("store")
        );
        fs::write(&config, text).unwrap();
        let import = Command::new(env!("CARGO_BIN_EXE_roadstead"))
            .args(["import", "--as", NAME])
            .arg(folder.join("layout"))
            .arg("--config")
            .arg(&config)
            .output()
            .unwrap();
        assert!(import.status.success(), "{}", String::from_utf8_lossy(&import.stderr));
        Self { folder: folder.to_owned(), config, address, tls, authority: certificate.authority }
    }

    /// All instructions of a process that answers one request to warm up, and then so many.
    fn instructions(&self, load: &Load, image: &Image, requests: u64) -> u64 {
        let (counts, log) = (self.folder.join("callgrind"), self.folder.join("log"));
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--quiet"]);
        command.arg(format!("--callgrind-out-file={}", counts.display()));
        // The same functions of the C library and the same number of threads, whatever the machine.
        command.env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX,-AVX2,-AVX512F,-ERMS,-FSRM");
        command.env("TOKIO_WORKER_THREADS", "1");
        command.arg(env!("CARGO_BIN_EXE_roadstead")).arg("serve").arg("--config").arg(&self.config);
        let mut process = Process::start(&mut command, &log);
        for listener in [self.address, self.tls] {
            process.await_port(listener, &log);
        }
        let (address, speaks) = match load.way {
            Way::Plain => (self.address, Speaks::Plain),
            Way::One => (self.tls, Speaks::One(&self.authority)),
            Way::Two => (self.tls, Speaks::Two(&self.authority)),
        };
        ask(address, speaks, &(load.path)(image), load.range, requests + 1);
        drop(process);
        let text = fs::read_to_string(&counts).unwrap();
        let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
        total.unwrap_or_else(|| panic!("no total in {}", counts.display())).trim().parse().unwrap()
    }
}

fn record_of() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.tsv")
}

/// For what the figures hold.
fn circumstances() -> String {
    let said = Command::new("rustc").arg("--version").output();
    let compiler = said.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned());
    format!("{}, {}", compiler.unwrap_or_default(), std::env::consts::ARCH)
}

fn record(counted: &[(&str, u64)]) {
    let lines = counted.iter().map(|(name, count)| format!("{name}\t{count}\n"));
    fs::write(record_of(), format!("# {}\n{}", circumstances(), lines.collect::<String>())).unwrap();
    println!("recorded in {}", record_of().display());
}

fn judge(counted: &[(&str, u64)]) -> ExitCode {
    let text = fs::read_to_string(record_of()).unwrap_or_default();
    if text.is_empty() {
        for (name, count) in counted {
            println!("{name:<28}{count:>14}");
        }
        println!("nothing is recorded to hold this against: ROADSTEAD_BENCH_WRITE=1 records it");
        return ExitCode::FAILURE;
    }
    let same = text.lines().next().and_then(|line| line.strip_prefix("# ")) == Some(&circumstances());
    let mut failed = false;
    println!("{:<28}{:>14}{:>14}{:>9}", "instructions a request", "recorded", "counted", "");
    for &(name, count) in counted {
        let recorded = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let Some(recorded) = recorded else {
            println!("{name:<28}{:>14}{count:>14}", "none");
            failed |= same;
            continue;
        };
        let change = (count as f64 / recorded as f64 - 1.0) * 100.0;
        println!("{name:<28}{recorded:>14}{count:>14}{change:>+8.1} %");
        failed |= same && change > TOLERANCE;
        if same && change < -TOLERANCE {
            println!("{:<28}less than recorded: ROADSTEAD_BENCH_WRITE=1 records it", "");
        }
    }
    if !same {
        println!("the record is of other circumstances than {}: nothing is judged", circumstances());
    } else if failed {
        println!("more than {TOLERANCE} % above the record");
    }
    ExitCode::from(u8::from(failed))
}
