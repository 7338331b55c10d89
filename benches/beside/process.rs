//! A server as a process: started, watched, and ended with whoever measures it.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to listen: a mirror that makes its index anew looks at all of its files first.
const TO_LISTEN: Duration = Duration::from_secs(300);
/// And how long to end.
const TO_END: Duration = Duration::from_secs(60);

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
        let deadline = Instant::now() + TO_LISTEN;
        while TcpStream::connect(address).is_err() {
            let ended = self.0.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "{address}: {}",
                fs::read_to_string(log).unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// The processor time that it and its children have used so far.
    pub(crate) fn used(&self) -> Used {
        let all = self.all();
        Used {
            coarse: all.iter().filter_map(|pid| Some(Stat::of(*pid)?.busy)).sum(),
            fine: all.iter().map(|pid| of_threads(*pid)).sum(),
            processes: u32::try_from(all.len()).unwrap_or(1),
        }
    }

    /// The same in one figure, for what takes long.
    pub(crate) fn busy(&self) -> Duration {
        self.used().coarse
    }

    /// Forgets the most memory it has had so far.
    pub(crate) fn forget_peak(&self) {
        for pid in self.all() {
            let _ = fs::write(format!("/proc/{pid}/clear_refs"), "5");
        }
    }

    /// The most memory that it and its children have had resident, each at its own time, in bytes.
    pub(crate) fn peak(&self) -> u64 {
        self.all().iter().map(|pid| memory(*pid, "VmHWM:")).sum()
    }

    /// What they have resident now.
    pub(crate) fn resident(&self) -> u64 {
        self.all().iter().map(|pid| memory(*pid, "VmRSS:")).sum()
    }

    /// It and its children.
    fn all(&self) -> Vec<u32> {
        let own = self.0.id();
        let children = fs::read_dir("/proc").unwrap().filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            (Stat::of(pid)?.parent == own).then_some(pid)
        });
        [own].into_iter().chain(children).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // nginx ends its workers on SIGTERM, and would leave them on SIGKILL.
        if let Ok(raw) = i32::try_from(self.0.id())
            && let Some(pid) = Pid::from_raw(raw)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + TO_END;
        while matches!(self.0.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = self.0.kill();
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The processor time that this thread has used.
pub(crate) fn own_time() -> Duration {
    of_thread(Path::new("/proc/thread-self")).unwrap_or_default()
}

/// What the kernel has counted for processes: in nanoseconds for the threads that run (`/proc/PID/task/*/schedstat`), and in
/// steps of 10 ms with those that have ended (`/proc/PID/stat`).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    coarse: Duration,
    fine: Duration,
    processes: u32,
}

impl Used {
    /// What was used since `before`: the finer figure where no thread has ended with more than the coarse one can hide.
    pub(crate) fn since(&self, before: &Self) -> Duration {
        let coarse = self.coarse.saturating_sub(before.coarse);
        // User and system time are cut to whole steps, each for itself.
        let blur = TICK * 2 * self.processes.max(before.processes);
        match self.fine.checked_sub(before.fine) {
            Some(fine) if fine.abs_diff(coarse) <= blur => fine,
            _ => coarse,
        }
    }
}

/// What the threads of a process that have not ended have used.
fn of_threads(pid: u32) -> Duration {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    tasks.filter_map(|task| of_thread(&task.path())).sum()
}

fn of_thread(task: &Path) -> Option<Duration> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// A line of `/proc/PID/status`, in bytes.
fn memory(pid: u32, line: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kilobytes = text.lines().find_map(|of| of.strip_prefix(line)?.trim().strip_suffix(" kB"));
    kilobytes.and_then(|number| number.trim().parse::<u64>().ok()).unwrap_or_default() << 10
}

/// In what Linux tells processor time to everybody, whatever the kernel was built with.
const TICK: Duration = Duration::from_millis(10);

/// A line of `/proc/PID/stat`, see proc(5).
struct Stat {
    parent: u32,
    busy: Duration,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
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
