//! What is measured, for how long, and with which binaries: what the command line and the environment say.
//!
//! | variable | means | as it is | with `ROADSTEAD_BENCH_QUICK=1` |
//! |---|---|---|---|
//! | `ROWS` | the rows by their names, or beginnings of them, with commas between | all that `make bench` has | the same |
//! | `ROADSTEAD_BENCH_ROUNDS` | rounds | 5 | 1 |
//! | `ROADSTEAD_BENCH_SECONDS` | how long each load takes, a round and a server | 2 | 1 |
//! | `ROADSTEAD_BENCH_BINARY` | the roadstead that is measured | the one of this build | |
//! | `ROADSTEAD_BENCH_AGAINST` | another one, measured beside it | none | |
//! | `ROADSTEAD_BENCH_CONGESTION` | the congestion control that is measured over; `system`: as the machine has it | `cubic` | |
//! | `ROADSTEAD_BENCH_NAME` | how the files with the results are called | the version | |
//! | `ROADSTEAD_BENCH_MINUTES` | how long the row `hour` takes | 60 | 1 |
//! | `TMPDIR` | where content and stores are, 6 GB at the most | `/tmp` | |

use std::env;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use crate::rows::Entry;
use crate::table::{OTHER, OWN, Row};

/// How much is done.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Extent {
    /// As little as shows that all of it runs.
    Smoke,
    /// A look, in a few minutes.
    Quick,
    /// For results.
    Full,
}

/// One run.
pub(crate) struct Bench {
    /// How much is done.
    pub(crate) extent: Extent,
    /// How often each server is measured.
    pub(crate) rounds: usize,
    /// For how long each time.
    pub(crate) span: Duration,
    /// The binaries of roadstead that are compared, with their names in tables; the first is the one whose goals are looked at.
    pub(crate) builds: Vec<(&'static str, PathBuf)>,
    /// What was measured: the commit, or another binary.
    pub(crate) measured: String,
    /// Whether it is the build of this tree.
    is_of_tree: bool,
    /// How the files with results are called.
    pub(crate) name: String,
    picked: Vec<String>,
    at: Mutex<String>,
}

impl Bench {
    /// What the command line and the environment say.
    pub(crate) fn of_environment(folder: &Path) -> Self {
        // Only `cargo bench` says so; whatever else runs this sees that it runs.
        let extent = match (env::args().any(|argument| argument == "--bench"), number("QUICK", 0)) {
            (false, _) => Extent::Smoke,
            (true, 0) => Extent::Full,
            (true, _) => Extent::Quick,
        };
        let (rounds, seconds) = match extent {
            Extent::Smoke => (1, 0.2),
            Extent::Quick => (number("ROUNDS", 1), number("SECONDS", 1) as f64),
            Extent::Full => (number("ROUNDS", 5), number("SECONDS", 2) as f64),
        };
        let rows = env::var("ROWS").unwrap_or_default();
        let words = env::args().skip(1).filter(|argument| !argument.starts_with('-'));
        let picked = rows.split(',').map(|word| word.trim().to_owned()).chain(words);
        let file = |variable: &str| said(variable).map(PathBuf::from);
        let binary = file("BINARY");
        let measured = measured(binary.as_deref());
        let is_of_tree = binary.is_none();
        let own = binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_roadstead").into());
        let mut builds = vec![(OWN, copy(&own, folder, "roadstead"))];
        builds.extend(file("AGAINST").map(|other| (OTHER, copy(&other, folder, "roadstead-other"))));
        Self {
            extent,
            rounds: usize::try_from(rounds).unwrap(),
            span: Duration::from_secs_f64(seconds),
            builds,
            measured,
            is_of_tree,
            name: said("NAME").unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned()),
            picked: picked.filter(|word| !word.is_empty()).collect(),
            at: Mutex::default(),
        }
    }

    /// Whether results are written.
    pub(crate) fn measures(&self) -> bool {
        self.extent > Extent::Smoke
    }

    /// The name of the files in `benches/results` that these rows are for, if they are for any: all rows, or the one that takes
    /// an hour, at their full extent, none of them failed, of the build of this tree alone.
    pub(crate) fn published(&self, rows: &[Row]) -> Option<String> {
        let is_sound = self.extent == Extent::Full
            && self.is_of_tree
            && self.builds.len() == 1
            && !rows.iter().any(|row| row.failed);
        match &self.picked[..] {
            [] if is_sound => Some(self.name.clone()),
            [hour] if is_sound && hour == "hour" && number("MINUTES", 60) >= 60 => {
                Some(format!("{}-hour", self.name))
            }
            _ => None,
        }
    }

    /// Whether a row is to be measured.
    pub(crate) fn wants(&self, row: &Entry) -> bool {
        match self.picked.is_empty() {
            true => !row.only_picked && (self.measures() || row.smoke),
            false => self.picked.iter().any(|word| row.id.starts_with(word.as_str())),
        }
    }

    /// One of three, by how much is done.
    pub(crate) fn size<T>(&self, smoke: T, quick: T, full: T) -> T {
        match self.extent {
            Extent::Smoke => smoke,
            Extent::Quick => quick,
            Extent::Full => full,
        }
    }

    /// A row begins.
    pub(crate) fn begin(&self, at: usize, of: usize, row: &str) {
        *self.at.lock().unwrap() = format!("[{at}/{of}] {row}");
        self.say("prepares");
    }

    /// Tells what is being done.
    pub(crate) fn say(&self, what: &str) {
        let at = self.at.lock().unwrap();
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K{at}: {what}");
            let _ = std::io::stderr().flush();
        } else if what == "prepares" && self.measures() {
            eprintln!("{at}");
        }
    }

    /// The row ended.
    pub(crate) fn end(&self) {
        if std::io::stderr().is_terminal() {
            eprint!("\r\x1b[K");
        }
    }
}

/// Which commit this tree is at, and whether something was changed since, but for results; or that it is another binary.
fn measured(binary: Option<&Path>) -> String {
    if let Some(binary) = binary {
        return format!("the binary {}", binary.display());
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).output();
        let output = output.ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else {
        return "a tree without a commit".to_owned();
    };
    let changed = git(&["status", "--porcelain", "--", "src", "benches/beside", "Cargo.toml", "Cargo.lock"]);
    match changed.as_deref() {
        Some("") => format!("commit {commit}"),
        _ => format!("commit {commit} with changes"),
    }
}

/// What the environment says; nothing is as if it did not.
pub(crate) fn said(name: &str) -> Option<String> {
    env::var(format!("ROADSTEAD_BENCH_{name}")).ok().filter(|text| !text.is_empty())
}

/// The same as a number.
pub(crate) fn number(name: &str, default: u64) -> u64 {
    said(name).map_or(default, |text| text.parse().unwrap())
}

/// A copy, so that a build meanwhile changes nothing of the run.
fn copy(binary: &Path, folder: &Path, name: &str) -> PathBuf {
    let copied = folder.join(name);
    std::fs::copy(binary, &copied).unwrap_or_else(|error| panic!("{}: {error}", binary.display()));
    copied
}

/// As many open files as may be: thousands of connections come, and servers inherit it.
pub(crate) fn raise_limit_of_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map(|most| most.min(65_536)).or(Some(65_536));
    let _ = setrlimit(Resource::Nofile, limit);
}
