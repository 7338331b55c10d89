//! Programs of the machine: found, started, bounded in time, and ended. Nothing outlives the test that started it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::variants;

/// Where programs are looked for, beside `PATH`: Debian keeps daemons out of the path of ordinary users.
const SYSTEM_FOLDERS: [&str; 3] = ["/usr/sbin", "/sbin", "/usr/local/sbin"];

/// Finds a program as a shell would.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(SYSTEM_FOLDERS.iter().map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|candidate| candidate.is_file())
}

/// Whether a test can run. If not, it says so on the terminal, past the capture of the test harness, and the test
/// passes, except where `ROADSTEAD_CLIENTS=required` says that everything was installed.
pub(crate) fn have(needed: &[(&str, &str)]) -> bool {
    for (program, package) in needed {
        if find(program).is_none() {
            return skip(&format!("{program} not installed (apt-get install {package})"));
        }
    }
    true
}

/// Says why a test is skipped; always false.
pub(crate) fn skip(reason: &str) -> bool {
    let name = std::thread::current().name().unwrap_or("a test").to_owned();
    let required = std::env::var_os("ROADSTEAD_CLIENTS").is_some_and(|value| value == "required");
    assert!(!required, "{reason}, and ROADSTEAD_CLIENTS=required");
    let _ = writeln!(std::io::stderr(), "{name}: skipped: {reason}");
    false
}

/// A command with an environment of its own: what the developer has set (proxies, docker contexts, our own variables)
/// shall not decide a test.
pub(crate) fn command(program: impl AsRef<OsStr>, home: &Path) -> Command {
    let mut command = Command::new(program);
    let mut folders: Vec<PathBuf> =
        std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).collect();
    folders.extend(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    command
        .env_clear()
        .envs(variants::environment())
        .env("PATH", std::env::join_paths(folders).unwrap())
        .env("HOME", home)
        .env("TMPDIR", home)
        .env("XDG_DATA_HOME", home.join("share"))
        .env("XDG_RUNTIME_DIR", home)
        .current_dir(home)
        .stdin(Stdio::null());
    command
}

/// Runs to the end and gives the standard output; anything but success fails the test with what was said.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> String {
    let output = outcome(command);
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs to the end, whatever it is.
#[track_caller]
pub(crate) fn outcome(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Of each log, when a test fails.
const LINES_SHOWN: usize = 30;

/// A process that is killed when this value goes away, and also when the test process itself is killed.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with both outputs in the file `log`.
    pub(crate) fn start(command: &Command, log: &Path) -> Self {
        let file = File::create(log).unwrap();
        let mut tied = Command::new("setpriv");
        tied.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
        tied.env_clear().envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        tied.current_dir(command.get_current_dir().unwrap_or_else(|| Path::new("/")));
        tied.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        let child = tied.spawn().unwrap_or_else(|error| panic!("{tied:?}: {error}"));
        Self { child, log: log.to_owned() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// What it has written so far.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until `ready` gives a value; fails the test, with the log, when the process ends first or time is up.
    #[track_caller]
    pub(crate) fn wait_for<T>(&mut self, what: &str, mut ready: impl FnMut(&Self) -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(value) = ready(self) {
                return value;
            }
            let ended = self.has_ended();
            assert!(
                !ended && Instant::now() < deadline,
                "no {what} (ended: {ended}); it said:\n{}",
                self.said()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Asks it to end, as an init system would, and waits.
    pub(crate) fn stop(&mut self) {
        run(Command::new("kill").arg(self.id().to_string()));
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "does not end on SIGTERM; it said:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let said = self.said();
            let lines: Vec<&str> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(LINES_SHOWN)..];
            eprintln!("--- the end of {}\n{}", self.log.display(), last.join("\n"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago, for programs that cannot say which one the system gave them.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
