//! A server as a process: started, watched, and ended with whoever measures it.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A process, ended when this is dropped.
pub(crate) struct Process(Child);

impl Process {
    /// Starts it, with what it says in that file.
    pub(crate) fn start(command: &mut Command, log: &Path) -> Self {
        let said = File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self(child)
    }

    /// Waits until it takes connections.
    pub(crate) fn await_port(&mut self, address: SocketAddr, log: &Path) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(address).is_err() {
            let ended = self.0.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{address}: {}",
                std::fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The processor time that it and its children have used.
    pub(crate) fn busy(&self) -> Duration {
        let own = self.0.id();
        let children = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = Stat::of(pid)?;
            (stat.parent == own).then_some(stat.busy)
        });
        Stat::of(own).map_or(Duration::ZERO, |stat| stat.busy) + children.sum::<Duration>()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx ends its workers on SIGTERM, and would leave them on SIGKILL.
        if let Ok(raw) = i32::try_from(self.0.id())
            && let Some(pid) = rustix::process::Pid::from_raw(raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A line of `/proc/PID/stat`, see proc(5).
struct Stat {
    parent: u32,
    busy: Duration,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        /// What Linux counts it in, whatever the kernel was built with.
        const TICK: Duration = Duration::from_millis(10);
        let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in front may hold anything, blanks as well.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field)?.parse::<u32>().ok();
        Some(Self { parent: fields.get(1)?.parse().ok()?, busy: TICK * (ticks(11)? + ticks(12)?) })
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
