//! The mirror itself, as its own process with a configuration file, as an operator runs it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::http;
use crate::process::{Process, command, free_port, outcome};

/// A running mirror.
pub(crate) struct Mirror {
    process: Process,
    folder: PathBuf,
    address: SocketAddr,
    admin: SocketAddr,
}

/// One access line of a mirror whose log is JSON.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) status: u64,
    pub(crate) outcome: String,
    /// From the head of the request to the first byte of the answer's body, or to its end where it has none.
    pub(crate) first_byte_ms: f64,
}

impl Mirror {
    /// Starts a mirror of `upstreams` (name and address each; the first is the default), its files under `folder`.
    pub(crate) fn start(folder: &Path, upstreams: &[(&str, SocketAddr)]) -> Self {
        let tables = upstreams.iter().enumerate().map(|(index, (name, endpoint))| {
            let default = index == 0;
            format!(
                "[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{endpoint}\"]\ndefault = {default}\n"
            )
        });
        Self::start_as(folder, &tables.collect::<String>())
    }

    /// The same with the tables of its upstreams as they stand in its configuration.
    pub(crate) fn start_as(folder: &Path, upstreams: &str) -> Self {
        const TRIES: usize = 3;
        std::fs::create_dir_all(folder).unwrap();
        for _ in 1..TRIES {
            if let Ok(mirror) = Self::try_start(folder, upstreams) {
                return mirror;
            }
        }
        Self::try_start(folder, upstreams).unwrap_or_else(|said| panic!("no mirror; it said:\n{said}"))
    }

    /// Its ports may have been taken by somebody else in between, so a failure is worth another try.
    fn try_start(folder: &Path, upstreams: &str) -> Result<Self, String> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let admin = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = folder.join("roadstead.toml");
        std::fs::write(&config, configuration(folder, address, admin, upstreams)).unwrap();
        let mut serve = command(env!("CARGO_BIN_EXE_roadstead"), folder);
        serve.arg("serve").arg("--config").arg(&config);
        let process = Process::start(&serve, &folder.join("log"));
        let mut mirror = Self { process, folder: folder.to_owned(), address, admin };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !mirror.is_ready() {
            if mirror.process.has_ended() || Instant::now() > deadline {
                return Err(mirror.process.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(mirror)
    }

    fn is_ready(&self) -> bool {
        let says_yes = |address, target| {
            let answer = http::request(address, "GET", target, &[], b"");
            // It may want to know who asks.
            answer.is_some_and(|answer| [200, 401].contains(&answer.status))
        };
        says_yes(self.admin, "/readyz") && says_yes(self.address, "/v2/")
    }

    /// What it was started with.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("roadstead.toml")
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The sum of a metric over all its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let answer = http::request(self.admin, "GET", "/metrics", &[], b"").expect("metrics");
        let text = String::from_utf8(answer.body).unwrap();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            rest.starts_with([' ', '{']).then(|| rest.rsplit(' ').next()?.parse::<f64>().ok()).flatten()
        });
        values.sum::<f64>() as u64
    }

    /// Runs a command of operators, which asks it.
    pub(crate) fn operate(&self, arguments: &[&str]) -> Output {
        let mut roadstead = command(env!("CARGO_BIN_EXE_roadstead"), &self.folder);
        outcome(roadstead.args(arguments).arg("--server").arg(format!("http://{}", self.admin)))
    }

    /// The file of a blob in its store.
    pub(crate) fn file_of(&self, digest: &str) -> PathBuf {
        let (algorithm, hex) = digest.split_once(':').unwrap();
        self.folder.join("data/blobs").join(algorithm).join(&hex[..2]).join(hex)
    }

    /// The requests that it has answered, where its log is JSON.
    pub(crate) fn served(&self) -> Vec<Served> {
        let said = self.said();
        let lines = said.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines = lines.filter(|line| line["target"] == "access" && line["status"].is_u64());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        lines
            .map(|line| Served {
                method: text(&line["method"]),
                path: text(&line["path"]),
                status: line["status"].as_u64().unwrap(),
                outcome: text(&line["outcome"]),
                first_byte_ms: line["ttfb_ms"].as_f64().unwrap(),
            })
            .collect()
    }

    /// What it has logged.
    pub(crate) fn said(&self) -> String {
        self.process.said()
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn stop(&mut self) {
        self.process.stop();
    }
}

fn configuration(folder: &Path, address: SocketAddr, admin: SocketAddr, upstreams: &str) -> String {
    format!(
        "[server]\nlisten = [\"{address}\"]\n[admin]\nlisten = \"{admin}\"\n\
         [store]\npath = {:?}\nmax_bytes = \"1GiB\"\n{upstreams}",
        folder.join("data")
    )
}
