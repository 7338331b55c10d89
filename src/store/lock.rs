//! Taking possession of a directory: one process owns a store, and only one that knows its format.
//!
//! The lock is the operating system's, on the open LOCK file, so that it ends with the process however that ends; the
//! process id in the file is for people. VERSION is the first durable thing in a new store: a directory that has none
//! has nothing of ours in a format that this program does not know.

use super::error::OpenError;
use super::fs::{self, Access, Disk, DiskFile};
use super::layout::Layout;
use std::io;
use std::path::Path;
use std::time::Duration;
use tracing::debug;

/// The format that this program reads and writes. A change of what files mean needs another one, and a way up to it.
pub(super) const VERSION: &str = "1";

/// A process that has ended may leave its lock for a moment to a child that it was just starting.
const ATTEMPTS: u32 = 25;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(20);

/// Possession of a store, until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: Box<dyn DiskFile>,
}

/// Locks the directory, and makes it a store where it is none yet.
pub(super) fn acquire(disk: &dyn Disk, layout: &Layout) -> Result<Lock, OpenError> {
    let root = layout.root();
    disk.create_dir(root).map_err(OpenError::io("create the directory", root))?;
    let lock = hold(disk, layout)?;
    check_version(disk, layout)?;
    for directory in layout.directories() {
        disk.create_dir(&directory).map_err(OpenError::io("create the directory", &directory))?;
    }
    for directory in layout.directories() {
        disk.sync_dir(&directory).map_err(OpenError::io("sync the directory", &directory))?;
    }
    Ok(lock)
}

/// Whether something has made the directory a store.
pub(super) fn is_store(disk: &dyn Disk, layout: &Layout) -> bool {
    fs::read(disk, &layout.version()).is_ok()
}

fn hold(disk: &dyn Disk, layout: &Layout) -> Result<Lock, OpenError> {
    let path = layout.lock();
    let file = disk.open(&path, Access::Create).map_err(OpenError::io("open the lock", &path))?;
    let mut attempts = 0;
    while !file.try_lock().map_err(OpenError::io("lock", &path))? {
        attempts += 1;
        if attempts < ATTEMPTS {
            std::thread::sleep(BETWEEN_ATTEMPTS);
            continue;
        }
        let holder =
            fs::read(disk, &path).ok().and_then(|text| String::from_utf8(text).ok()?.trim().parse().ok());
        return Err(OpenError::Locked { path: layout.root().to_owned(), holder });
    }
    // Who holds it is a courtesy to people; a disk too full to say so may still serve.
    let _ = file.set_len(0).and_then(|()| file.write_at(format!("{}\n", std::process::id()).as_bytes(), 0));
    Ok(Lock { _file: file })
}

fn check_version(disk: &dyn Disk, layout: &Layout) -> Result<(), OpenError> {
    let path = layout.version();
    match fs::read(disk, &path) {
        Ok(text) if text.trim_ascii() == VERSION.as_bytes() => Ok(()),
        Ok(text) => {
            let found = String::from_utf8_lossy(text.trim_ascii()).chars().take(40).collect();
            Err(OpenError::Version { path: layout.root().to_owned(), found })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            sync_above(disk, layout.root());
            fs::replace(disk, &path, format!("{VERSION}\n").as_bytes())
                .and_then(|()| disk.sync_dir(layout.root()))
                .map_err(OpenError::io("write", &path))
        }
        Err(error) => Err(OpenError::io("read", &path)(error)),
    }
}

/// Makes the name of a new store durable, and those of the directories that were made for it: without them nothing in it
/// is. Directories that are not ours may refuse; then it is for whoever made them to see to that.
fn sync_above(disk: &dyn Disk, root: &Path) {
    for above in root.ancestors().skip(1) {
        let above = if above.as_os_str().is_empty() { Path::new(".") } else { above };
        if let Err(error) = disk.sync_dir(above) {
            debug!(target: "roadstead::store", path = %above.display(), %error, "cannot sync a directory above the store");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fs::RealDisk;
    use super::*;

    #[test]
    fn t99_a_second_owner_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let first = acquire(&RealDisk, &layout).unwrap();
        let refused = acquire(&RealDisk, &layout).unwrap_err();
        assert!(matches!(refused, OpenError::Locked { holder: Some(pid), .. } if pid == std::process::id()));
        assert!(refused.to_string().contains(&format!("process {}", std::process::id())), "{refused}");
        drop(first);
        acquire(&RealDisk, &layout).unwrap();
    }

    #[test]
    fn an_unknown_version_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        fs::replace(&RealDisk, &layout.version(), b"7\n").unwrap();
        let refused = acquire(&RealDisk, &layout).unwrap_err();
        assert!(matches!(&refused, OpenError::Version { found, .. } if found == "7"), "{refused}");
        assert_eq!(fs::read(&RealDisk, &layout.version()).unwrap(), b"7\n");
        assert!(fs::read(&RealDisk, &layout.index()).is_err());
    }

    #[test]
    fn the_version_file_is_pinned() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        acquire(&RealDisk, &layout).unwrap();
        assert_eq!(
            fs::read(&RealDisk, &layout.version()).unwrap(),
            b"1\n",
            "another format needs a way up to it"
        );
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::replace(&RealDisk, &dir.path().join("file"), b"").unwrap();
        let refused = acquire(&RealDisk, &Layout::new(&dir.path().join("file/store"))).unwrap_err();
        assert!(
            matches!(&refused, OpenError::Io { .. }) && refused.to_string().contains("file/store"),
            "{refused}"
        );
    }
}
