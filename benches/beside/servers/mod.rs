//! The servers, each a process with its files in a folder of its own.

mod certificate;
mod nginx;
mod registry;
mod roadstead;

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) use certificate::Certificate;
pub(crate) use nginx::{Static, proxy};
pub(crate) use registry::registry;
pub(crate) use roadstead::Roadstead;

use crate::process::Process;

/// What nginx with static files is called.
pub(crate) const STATIC: &str = "nginx, static files";
/// What nginx with a cache is called.
pub(crate) const PROXY: &str = "nginx, proxy_cache";
/// What docker-registry is called.
pub(crate) const REGISTRY: &str = "docker-registry 2.8, proxy";

/// A server that can be measured.
pub(crate) struct Server {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// Where it listens, without TLS.
    pub(crate) address: SocketAddr,
    /// Where it listens by TLS.
    pub(crate) tls: Option<SocketAddr>,
    /// Where it says that it lives: an address and a path.
    pub(crate) livez: (SocketAddr, &'static str),
    pub(crate) process: Process,
}

impl Server {
    /// The processor time that it uses while `load` runs, in seconds.
    pub(crate) fn busy_in<T>(&self, load: impl FnOnce() -> T) -> (T, f64) {
        let before = self.process.used();
        let loaded = load();
        (loaded, self.process.used().since(&before).as_secs_f64())
    }
}

/// A group of the kernel's by which the disk of whoever is in it is slow; a file to write process numbers to.
pub(crate) type Slowed<'a> = Option<&'a Path>;

/// Starts a server and waits until it listens.
fn serve(
    name: &'static str,
    command: &mut Command,
    address: SocketAddr,
    log: &Path,
    slowed: Slowed<'_>,
) -> Server {
    let mut process = match slowed {
        None => Process::start(command, log),
        Some(group) => Process::start(&mut inside(command, group), log),
    };
    process.await_port(address, log);
    Server { name, address, tls: None, livez: (address, "/livez"), process }
}

/// The command as one that enters the group first, so that all it starts is in it.
fn inside(command: &Command, group: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(group);
    shell.arg(command.get_program()).args(command.get_args());
    shell
}

/// Where a program is.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let mut folders: Vec<PathBuf> =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect()).unwrap_or_default();
    // nginx is not for everybody's path.
    folders.push("/usr/sbin".into());
    folders.into_iter().map(|folder| folder.join(program)).find(|path| path.is_file())
}
