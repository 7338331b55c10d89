//! The mirror itself, as its own process with a configuration file, as an operator runs it.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::http;
use crate::process::{Process, command, free_port};

/// A running mirror.
pub(crate) struct Mirror {
    process: Process,
    address: SocketAddr,
    admin: SocketAddr,
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
        let mut mirror = Self { process, address, admin };
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
            http::request(address, "GET", target, &[], b"").is_some_and(|answer| answer.status == 200)
        };
        says_yes(self.admin, "/readyz") && says_yes(self.address, "/v2/")
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
