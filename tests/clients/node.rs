//! A node of a cluster on this machine: a mount and a process namespace of its own, in which the daemons of one test
//! run. `/etc`, `/run`, `/var/lib` and `/dev/shm` are private copies, no name resolves, and no address but loopback
//! is named anywhere; when the value goes away, every process and mount in it does, and its control groups with them.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::{Process, command, find, outcome, skip};

/// What makes the inside of a node. Clients that fall back to the registry behind a mirror would ask the name service
/// first; here it has nobody to ask, so that nothing leaves the machine.
const SET_UP: &str = r#"
set -e
mount -t tmpfs none /run
mount -t tmpfs none /dev/shm
for folder in etc var/lib; do
    mkdir -p /run/node/upper/$folder /run/node/work/$folder
    mount -t overlay none /$folder \
        -o lowerdir=/$folder,upperdir=/run/node/upper/$folder,workdir=/run/node/work/$folder
done
echo "127.0.0.1 localhost" > /etc/hosts
rm -f /etc/resolv.conf
echo "nameserver 127.0.0.1" > /etc/resolv.conf
"#;

/// What is done besides in one that is a machine by itself: every port of its loopback is free.
const SET_UP_APART: &str = r#"
ip link set lo up
mkdir -p /run/node/upper/local /run/node/work/local
mount -t overlay none /usr/local/share \
    -o lowerdir=/usr/local/share,upperdir=/run/node/upper/local,workdir=/run/node/work/local
"#;

/// See the module.
pub(crate) struct Node {
    shell: Process,
    inner: u32,
    folder: PathBuf,
    control_group: String,
}

impl Node {
    /// Makes a node with its files under `folder`; says why not, and gives nothing, where this is not allowed.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        Self::start_as(folder, &[], "")
    }

    /// The same with a network of its own, in which only what runs in the node is reached, and `/usr/local/share` private too.
    pub(crate) fn start_apart(folder: &Path) -> Option<Self> {
        Self::start_as(folder, &["--net"], SET_UP_APART)
    }

    fn start_as(folder: &Path, more: &[&str], set_up: &str) -> Option<Self> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let mut may = command("unshare", folder);
        may.args(["--mount", "--pid", "--fork"]).args(more).arg("true");
        if !outcome(&mut may).status.success() {
            skip("namespaces cannot be made here (needs root, or CAP_SYS_ADMIN)");
            return None;
        }
        let mut unshare = command("unshare", folder);
        unshare.args([
            "--mount",
            "--pid",
            "--fork",
            "--kill-child",
            "--mount-proc",
            "--propagation",
            "private",
        ]);
        unshare.args(more).args(["sh", "-c", &format!("{SET_UP}{set_up}\necho ready\nexec sleep infinity")]);
        let mut shell = Process::start(&unshare, &folder.join("node.log"));
        shell.wait_for("node", |shell| shell.said().contains("ready").then_some(()));
        let children = format!("/proc/{0}/task/{0}/children", shell.id());
        let inner = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let control_group = format!("roadstead-test-{}-{number}", std::process::id());
        Some(Self { shell, inner, folder: folder.to_owned(), control_group })
    }

    /// Whether this process may make namespaces.
    pub(crate) fn allowed(folder: &Path) -> bool {
        outcome(command("unshare", folder).args(["--mount", "--pid", "--fork", "true"])).status.success()
    }

    /// A folder of the node's own, made if it is not there.
    pub(crate) fn folder(&self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Writes a file of the node's own and gives its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    /// A command inside the node, ended after a minute.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.command_for(60, program)
    }

    /// The same for work that takes so many seconds at the most.
    pub(crate) fn command_for(&self, seconds: u32, program: &str) -> Command {
        let mut inside = self.enter("timeout");
        inside.args(["--kill-after=5", &seconds.to_string()]).arg(find(program).unwrap());
        inside
    }

    /// Starts a daemon inside the node.
    pub(crate) fn daemon(&self, program: &str, arguments: &[&str], log: &str) -> Process {
        let mut inside = self.enter("env");
        inside.arg(find(program).unwrap()).args(arguments);
        Process::start(&inside, &self.folder.join(log))
    }

    /// Name of the control group under which its containers belong.
    pub(crate) fn control_group(&self) -> &str {
        &self.control_group
    }

    fn enter(&self, program: &str) -> Command {
        let mut nsenter = command("nsenter", &self.folder);
        nsenter.args(["--target", &self.inner.to_string(), "--mount", "--pid", "--net", "--"]).arg(program);
        nsenter
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The first process of the namespace takes all others with it; its parent then ends by itself.
        let _ = Command::new("kill").args(["-KILL", &self.inner.to_string()]).status();
        for _ in 0..250 {
            if self.shell.has_ended() {
                break;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let root = Path::new("/sys/fs/cgroup");
        remove_control_group(&root.join(&self.control_group));
        for hierarchy in folders_in(root) {
            remove_control_group(&hierarchy.join(&self.control_group));
        }
    }
}

/// Removes a control group from the leaves up; the kernel takes a moment to see that its processes are gone.
fn remove_control_group(path: &Path) {
    for child in folders_in(path) {
        remove_control_group(&child);
    }
    for _ in 0..50 {
        if !path.is_dir() || std::fs::remove_dir(path).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn folders_in(path: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}
