//! A slow disk, made by the kernel: a group of processes for which a device gives only so much a second. It takes root, and a
//! kernel with that controller.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What the disk gives a second, in bytes and in requests.
const BYTES: u64 = 40_000_000;
const REQUESTS: u64 = 200;

const ROOT: &str = "/sys/fs/cgroup";

/// The group; it goes when this is dropped, which has to be after whoever is in it has ended.
pub(crate) struct SlowDisk {
    group: PathBuf,
}

impl SlowDisk {
    /// A slow disk for files below `folder`, or why there can be none.
    pub(crate) fn under(folder: &Path) -> Result<Self, String> {
        let device = device(folder)?;
        let name = format!("roadstead-bench-{}", std::process::id());
        let old = Path::new(ROOT).join("blkio");
        let (group, limits) = if old.join("blkio.throttle.read_bps_device").exists() {
            let limits =
                [("blkio.throttle.read_bps_device", BYTES), ("blkio.throttle.read_iops_device", REQUESTS)];
            (old.join(name), limits.map(|(file, limit)| (file, format!("{device} {limit}"))).to_vec())
        } else {
            // It may be on already, and if it cannot be, the next step says so.
            let _ = fs::write(Path::new(ROOT).join("cgroup.subtree_control"), "+io");
            let limit = format!("{device} rbps={BYTES} riops={REQUESTS}");
            (Path::new(ROOT).join(name), vec![("io.max", limit)])
        };
        fs::create_dir(&group).map_err(|error| format!("{}: {error}", group.display()))?;
        let slow = Self { group };
        for (file, limit) in limits {
            let path = slow.group.join(file);
            fs::write(&path, limit).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        Ok(slow)
    }

    /// Where the numbers of its processes are written.
    pub(crate) fn processes(&self) -> PathBuf {
        self.group.join("cgroup.procs")
    }

    /// What it is, in words.
    pub(crate) fn told() -> String {
        format!("a disk that gives {} MB and {REQUESTS} reads a second", BYTES / 1_000_000)
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.group);
    }
}

/// The whole device that a folder is on: limits are not for parts of one.
fn device(folder: &Path) -> Result<String, String> {
    let number = fs::metadata(folder).map_err(|error| error.to_string())?.dev();
    let name = format!("{}:{}", rustix::fs::major(number), rustix::fs::minor(number));
    let entry = Path::new("/sys/dev/block").join(&name);
    let entry =
        fs::canonicalize(&entry).map_err(|_| format!("{} is on no device of its own", folder.display()))?;
    match (entry.join("partition").exists(), entry.parent()) {
        (true, Some(whole)) => {
            let number = fs::read_to_string(whole.join("dev")).map_err(|error| error.to_string())?;
            Ok(number.trim().to_owned())
        }
        _ => Ok(name),
    }
}
