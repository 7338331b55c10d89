//! The real binary, `roadstead serve`, killed by its own pid and always reaped.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::support::client::{self, Request};
use crate::support::soon;

/// What a process is sent.
#[derive(Clone, Copy, Debug)]
pub enum Signal {
    /// `SIGTERM`: drain and stop.
    Terminate,
    /// `SIGINT`: the same, from a terminal.
    Interrupt,
    /// `SIGKILL`: stop at this instant.
    Kill,
    /// `SIGHUP`: read the configuration again.
    Reload,
}

/// A running process; killed and reaped when dropped.
#[derive(Debug)]
pub struct Binary {
    directory: TempDir,
    config: PathBuf,
    under: Vec<String>,
    child: Child,
    address: SocketAddr,
    admin: Option<SocketAddr>,
    output: Output,
}

impl Binary {
    /// Starts it and waits until it says where it listens.
    pub(super) async fn start(directory: TempDir, config: PathBuf, under: Vec<String>) -> Self {
        let (child, output) = launch(&config, &under);
        let mut binary = Self {
            directory,
            config,
            under,
            child,
            address: SocketAddr::from(([0, 0, 0, 0], 0)),
            admin: None,
            output,
        };
        binary.find_addresses().await;
        binary
    }

    /// Starts it again over the same directory, after it has ended.
    pub async fn start_again(&mut self) {
        let (child, output) = launch(&self.config, &self.under);
        self.child = child;
        self.output = output;
        self.find_addresses().await;
    }

    async fn find_addresses(&mut self) {
        let ready = |text: &str| clients(text).is_some() && announced(text, "admin").is_some();
        let text = soon("the binary listening", self.output.wait(ready)).await;
        self.address = clients(&text).expect("it was waited for");
        self.admin = announced(&text, "admin");
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where operators connect.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// The directory of the store.
    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// The configuration file, to be changed before a reload.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A `GET`, to be sent or bent first.
    pub fn get(&self, target: &str) -> Request {
        client::get(self.address, target)
    }

    /// A `GET` at the admin listener.
    pub fn admin_get(&self, target: &str) -> Request {
        let asked = client::get(self.admin.expect("an admin listener"), target);
        // As a scraper asks; nothing else there looks at it.
        asked.header("Accept", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// The most memory it ever had in use, in bytes, while it runs.
    pub fn most_memory(&self) -> u64 {
        let pid = self.pid().expect("a running process");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("its peak");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }

    /// What it has written so far, on both streams.
    pub fn output(&self) -> String {
        self.output.text()
    }

    /// Waits until it has written something that holds.
    pub async fn says(&self, what: &str, holds: impl Fn(&str) -> bool) -> String {
        soon(what, self.output.wait(holds)).await
    }

    /// Sends a signal to this process alone.
    pub fn signal(&self, signal: Signal) {
        let Some(pid) = self.child.id() else { return };
        let name = match signal {
            Signal::Terminate => "-TERM",
            Signal::Interrupt => "-INT",
            Signal::Kill => "-KILL",
            Signal::Reload => "-HUP",
        };
        let sent = std::process::Command::new("kill").arg(name).arg(pid.to_string()).status().unwrap();
        assert!(sent.success(), "kill {name} {pid}");
    }

    /// Waits until it has ended; gives its exit code, or nothing if a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        soon("the end of the process", self.child.wait()).await.unwrap().code()
    }

    /// Kills it at this instant and reaps it.
    pub async fn kill(&mut self) {
        let _ = self.child.start_kill();
        self.ended().await;
    }
}

fn launch(config: &Path, under: &[String]) -> (Child, Output) {
    // What is measured is a release.
    let binary = std::env::var("ROADSTEAD_TEST_BINARY");
    let binary = binary.unwrap_or_else(|_| env!("CARGO_BIN_EXE_roadstead").to_owned());
    let words: Vec<&String> = under.iter().chain([&binary]).collect();
    let mut child = Command::new(words[0])
        .args(&words[1..])
        .args(["serve", "--config"])
        .arg(config)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let output = Output::default();
    tokio::spawn(output.clone().collect(child.stdout.take().unwrap()));
    tokio::spawn(output.clone().collect(child.stderr.take().unwrap()));
    (child, output)
}

/// Where clients are said to be served, in the log so far.
fn clients(text: &str) -> Option<SocketAddr> {
    announced(text, "serving")
}

/// The loopback address in the line of the log that has this word.
fn announced(text: &str, word: &str) -> Option<SocketAddr> {
    let lines = text.lines().filter(|line| line.contains(word));
    lines.filter_map(|line| line.find("127.0.0.1:").map(|at| &line[at..])).find_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}

/// Both output streams, line by line.
#[derive(Clone, Debug, Default)]
struct Output {
    text: Arc<Mutex<String>>,
    changes: Arc<watch::Sender<()>>,
}

impl Output {
    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    async fn collect(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut text = self.text.lock().unwrap();
            text.push_str(&line);
            text.push('\n');
            drop(text);
            self.changes.send_replace(());
        }
    }

    async fn wait(&self, holds: impl Fn(&str) -> bool) -> String {
        let mut changes = self.changes.subscribe();
        loop {
            let text = self.text();
            if holds(&text) {
                return text;
            }
            changes.changed().await.unwrap();
        }
    }
}
