//! The mirror under test: the real server in this process, or the real binary, each over a directory of its own.

mod binary;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roadstead::app::{App, Running, StartError};
use roadstead::clock::Clock;
use roadstead::config::Config;
use roadstead::mirror::Mode;
use roadstead::store::fs::{Disk, RealDisk};
use tempfile::TempDir;

pub use binary::{Binary, Signal};

use super::client::{self, Answer, Request};
use super::soon;
use super::upstream::Upstream;
use super::variants;

/// The name of the first upstream of a [`Setup`], which is also its default.
pub const REGISTRY: &str = "registry.test";

/// A configuration that is being put together, over a directory that goes when the mirror goes.
#[derive(Debug)]
pub struct Setup {
    directory: TempDir,
    settings: Vec<(&'static str, String)>,
    upstreams: Vec<String>,
    disk: Arc<dyn Disk>,
    clock: Clock,
    under: Vec<String>,
}

impl Setup {
    /// One upstream, [`REGISTRY`], the default.
    pub fn of(upstream: &Upstream) -> Self {
        Self::with(upstream, "")
    }

    /// The same with further lines of TOML for it.
    pub fn with(upstream: &Upstream, lines: &str) -> Self {
        Self::empty().upstream(REGISTRY, upstream, &format!("default = true\n{lines}"))
    }

    /// No upstream yet. Without any, the built-in ones are the upstreams: say otherwise before starting.
    pub fn empty() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            settings: Vec::new(),
            upstreams: Vec::new(),
            disk: Arc::new(RealDisk),
            clock: Clock::system(),
            under: Vec::new(),
        }
    }

    /// One more upstream, with further lines of TOML.
    pub fn upstream(self, name: &str, upstream: &Upstream, lines: &str) -> Self {
        self.upstream_at(name, &[&upstream.url()], lines)
    }

    /// The same without any upstream, for others to be put in.
    pub fn without_upstreams(self) -> Self {
        Self { upstreams: Vec::new(), ..self }
    }

    /// One more upstream at these endpoints.
    pub fn upstream_at(mut self, name: &str, endpoints: &[&str], lines: &str) -> Self {
        self.upstreams.push(format!("[[upstream]]\nname = {name:?}\nendpoints = {endpoints:?}\n{lines}\n"));
        self
    }

    /// One more upstream, with these lines alone, which say where it is.
    pub fn upstream_of(mut self, name: &str, lines: &str) -> Self {
        self.upstreams.push(format!("[[upstream]]\nname = {name:?}\n{lines}\n"));
        self
    }

    /// A line of TOML in `[server]`, `[admin]`, `[store]`, `[memory]`, `[uplink]` or `[log]`.
    pub fn set(mut self, table: &'static str, line: &str) -> Self {
        self.settings.push((table, line.to_owned()));
        self
    }

    /// Runs over this disk, in this process.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Self {
        self.disk = disk;
        self
    }

    /// It is what this clock says, for the mirror in this process.
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// The real binary is started by this command, which ends by running in its own place what follows its words.
    pub fn under(mut self, command: Vec<String>) -> Self {
        self.under = command;
        self
    }

    /// Where the store will be.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A file beside the data, for what a configuration names; returns its path.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The configuration's text. Every port is the system's choice.
    pub fn toml(&self) -> String {
        let mut text = String::new();
        let variants = variants::lines(|key| self.settings.iter().any(|(_, line)| line.contains(key)));
        let fixed = [
            ("server", format!("listen = [\"127.0.0.1:0\"]\n{variants}")),
            ("admin", "listen = \"127.0.0.1:0\"".to_owned()),
            ("store", format!("path = {:?}", self.data())),
            ("memory", String::new()),
            ("uplink", String::new()),
            ("tls", String::new()),
            ("access", String::new()),
            ("limits", String::new()),
            ("log", String::new()),
        ];
        for (table, line) in fixed {
            text.push_str(&format!("[{table}]\n{line}\n"));
            for (_, line) in self.settings.iter().filter(|(at, _)| *at == table) {
                text.push_str(line);
                text.push('\n');
            }
        }
        text.extend(self.upstreams.iter().map(String::as_str));
        text
    }

    /// Starts the server in this process.
    pub async fn start(self) -> Mirror {
        self.try_start().await.unwrap_or_else(|(setup, why)| panic!("{why}\n{}", setup.toml()))
    }

    /// The same, or why it does not start.
    pub async fn try_start(self) -> Result<Mirror, (Self, StartError)> {
        let text = self.toml();
        let config = Config::from_toml(&text, "test.toml").unwrap_or_else(|why| panic!("{why}\n{text}"));
        match App::start_on(config, Arc::clone(&self.disk), self.clock.clone()).await {
            Ok(running) => {
                Ok(Mirror { address: running.addresses()[0], running: Some(running), setup: self })
            }
            Err(why) => Err((self, why)),
        }
    }

    /// Starts the real binary with a configuration file, and waits until it listens.
    pub async fn spawn(self) -> Binary {
        let toml = self.toml();
        let config = self.file("roadstead.toml", &toml);
        Binary::start(self.directory, config, self.under).await
    }
}

/// A mirror in this process. Dropped without [`Mirror::stop`] it is gone as if its tasks had been killed.
pub struct Mirror {
    address: SocketAddr,
    running: Option<Running>,
    setup: Setup,
}

impl Mirror {
    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where clients connect by TLS.
    pub fn tls_address(&self) -> SocketAddr {
        self.running.as_ref().expect("a mirror that runs").tls_addresses()[0]
    }

    /// A file beside the data, written anew.
    pub fn file(&self, name: &str, content: &str) -> PathBuf {
        self.setup.file(name, content)
    }

    /// Has the files looked at that are looked at every few seconds.
    pub fn look_at_files(&self) {
        tokio::task::block_in_place(|| self.running.as_ref().expect("a mirror that runs").look_at_files());
    }

    /// The directory of the store.
    pub fn data(&self) -> PathBuf {
        self.setup.data()
    }

    /// The mirror behind the server.
    pub fn inner(&self) -> &roadstead::mirror::Mirror {
        self.running.as_ref().expect("a mirror that runs").mirror()
    }

    /// Where operators ask it.
    pub fn desk(&self) -> Arc<dyn roadstead::api::Desk> {
        self.running.as_ref().expect("a mirror that runs").desk()
    }

    /// A `GET`, to be sent or bent first.
    pub fn get(&self, target: &str) -> Request {
        client::get(self.address, target)
    }

    /// A `HEAD`, to be sent or bent first.
    pub fn head(&self, target: &str) -> Request {
        client::head(self.address, target)
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.running.as_ref().and_then(Running::admin).expect("an admin listener")
    }

    /// The answer of the admin listener. It is asked as a scraper asks, which nothing but the metrics looks at.
    pub async fn admin(&self, target: &str) -> Answer {
        let asked = client::get(self.admin_address(), target);
        asked.header("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5").send().await
    }

    /// The sum of a metric over the labels that contain all of `labels`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = String::from_utf8(self.admin("/metrics").await.expect(200).body).unwrap();
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']))
                && labels.iter().all(|label| line.contains(label))
        });
        lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    /// Switches the mode of an upstream, or of all; without one, what was said before is taken back.
    pub fn set_mode(&self, upstream: Option<&str>, mode: Option<Mode>) {
        self.inner().set_mode(upstream, mode).unwrap();
    }

    /// Reads the configuration again, with this in place of that.
    pub fn reload_with(&self, this: &str, that: &str) {
        let text = self.setup.toml();
        assert!(text.contains(that), "{text}");
        let config = Config::from_toml(&text.replace(that, this), "test.toml").unwrap();
        self.running.as_ref().expect("a mirror that runs").reload(config).unwrap();
    }

    /// Waits until no fill runs: what has come whole is committed.
    pub async fn settled(&self) {
        let settled = async {
            while self.metric("roadstead_fills_running", &[]).await > 0.0 {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        soon("all fills at their end", settled).await;
    }

    /// Drains and stops it.
    pub async fn stop(mut self) -> Setup {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.setup
    }

    /// Lets go of it without an end, for whoever ends the runtime that it runs on.
    pub fn abandon(self) -> Setup {
        self.setup
    }

    /// Stops it and starts it again over the same directory, on another port.
    pub async fn restart(self) -> Self {
        self.stop().await.start().await
    }

    /// All files under the store's directory whose path contains `part`.
    pub fn files(&self, part: &str) -> Vec<PathBuf> {
        files_under(&self.data(), part)
    }
}

/// All files under `directory` whose path contains `part`.
pub fn files_under(directory: &Path, part: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut todo = vec![directory.to_owned()];
    while let Some(directory) = todo.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                todo.push(path);
            } else if path.to_string_lossy().contains(part) {
                found.push(path);
            }
        }
    }
    found
}

impl std::fmt::Debug for Mirror {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mirror({})", self.address)
    }
}
