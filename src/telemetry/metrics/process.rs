//! What the system knows of this process, read when somebody looks.
//!
//! It is Linux's `/proc`, which is memory and not a disk; where it is not there, the figures stay at zero.

use std::fs;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::signed;
use super::table;

/// The unit of processor times in `/proc`, which is a promise of Linux to programs.
const TICKS_A_SECOND: f64 = 100.0;

/// The figures.
#[derive(Debug, Default)]
pub(super) struct Process {
    started: Gauge,
    cpu: Counter<f64, AtomicU64>,
    resident: Gauge,
    open_files: Gauge,
    max_files: Gauge,
    threads: Gauge,
}

impl Process {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let process = Self::default();
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        process.started.set(signed(started.as_secs()));
        table::PROCESS_START_TIME.register(registry, process.started.clone());
        table::PROCESS_CPU.register(registry, process.cpu.clone());
        table::PROCESS_RESIDENT_MEMORY.register(registry, process.resident.clone());
        table::PROCESS_OPEN_FDS.register(registry, process.open_files.clone());
        table::PROCESS_MAX_FDS.register(registry, process.max_files.clone());
        table::PROCESS_THREADS.register(registry, process.threads.clone());
        process
    }

    /// Reads them.
    pub(super) fn look(&self) {
        let read = |name: &str| fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
        if let Some(used) = processor_time(&read("stat")) {
            // Two that look at one time may come in either order; a total never goes back.
            let so_far = self.cpu.get();
            if used > so_far {
                self.cpu.inc_by(used - so_far);
            }
        }
        let status = read("status");
        if let Some(kib) = number_after(&status, "VmRSS:") {
            self.resident.set(signed(kib << 10));
        }
        if let Some(threads) = number_after(&status, "Threads:") {
            self.threads.set(signed(threads));
        }
        if let Some(most) = number_after(&read("limits"), "Max open files") {
            self.max_files.set(signed(most));
        }
        if let Ok(open) = fs::read_dir("/proc/self/fd") {
            self.open_files.set(signed(open.count() as u64));
        }
    }
}

/// User and system time of `/proc/self/stat`, in seconds. The name of the program may have any character.
fn processor_time(stat: &str) -> Option<f64> {
    const USER: usize = 11;
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(USER).map(str::parse::<f64>);
    let (user, system) = (fields.next()?.ok()?, fields.next()?.ok()?);
    Some((user + system) / TICKS_A_SECOND)
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_system_are_understood() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 250 150 0 0 20 0 9 0 100\n";
        assert_eq!(processor_time(stat), Some(4.0));
        assert_eq!(processor_time("7 (a"), None);
        let limits = "Limit     Soft Limit   Hard Limit   Units\nMax open files            1024                 4096   files\n";
        assert_eq!(number_after(limits, "Max open files"), Some(1024));
        assert_eq!(number_after("Max open files   unlimited unlimited files", "Max open files"), None);
        assert_eq!(number_after("VmRSS:\t  2048 kB\n", "VmRSS:"), Some(2048));
    }

    #[test]
    fn this_process_has_memory_threads_and_files() {
        let process = Process::register(&mut Registry::default());
        process.look();
        assert!(process.resident.get() > 0 && process.threads.get() > 0 && process.open_files.get() > 2);
        assert!(process.max_files.get() >= process.open_files.get() && process.started.get() > 1_000_000_000);
    }
}
