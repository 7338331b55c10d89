//! The disk that the store works through, with a note of what can be written to it, and of what does not return (see
//! `health`). Lists are not noted: nobody who is served waits for one.

use super::fs::{Access, Disk, DiskFile, Entry, Meta, Space, TEMPORARY};
use super::health::{Health, Kind};
use super::layout::is_index;
use std::fs::File;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A disk, with a note of what of our writing works on it.
#[derive(Debug)]
pub(super) struct Watched {
    disk: Arc<dyn Disk>,
    health: Arc<Health>,
}

#[derive(Debug)]
struct WatchedFile {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    kind: Kind,
    health: Arc<Health>,
}

/// A file that is only read: where it cannot be, whoever reads it says so.
#[derive(Debug)]
struct ReadFile {
    file: Box<dyn DiskFile>,
    health: Arc<Health>,
}

impl Watched {
    pub(super) fn new(disk: Arc<dyn Disk>, health: Arc<Health>) -> Self {
        Self { disk, health }
    }

    fn note<T>(
        &self,
        kind: Kind,
        doing: &'static str,
        path: &Path,
        call: impl FnOnce(&dyn Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        if is_index(path) {
            call(&*self.disk)
        } else {
            note(&self.health, kind, doing, path, || call(&*self.disk))
        }
    }
}

fn note<T>(
    health: &Health,
    kind: Kind,
    doing: &'static str,
    path: &Path,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    let number = health.begin(kind);
    let done = call();
    health.end(kind, number);
    match &done {
        Ok(_) => health.worked(kind),
        Err(error) => health.failed(kind, doing, path, error),
    }
    done
}

/// Notes that a read returns, and not how.
fn timed<T>(health: &Health, call: impl FnOnce() -> T) -> T {
    let number = health.begin(Kind::Reads);
    let done = call();
    health.end(Kind::Reads, number);
    done
}

impl Disk for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        if is_index(path) {
            return self.disk.open(path, access);
        }
        if access == Access::Read {
            let file = timed(&self.health, || self.disk.open(path, access))?;
            return Ok(Box::new(ReadFile { file, health: self.health.clone() }));
        }
        let file = self.note(Kind::Names, "open a file for writing", path, |disk| disk.open(path, access))?;
        let small = path.as_os_str().as_encoded_bytes().ends_with(TEMPORARY.as_bytes());
        let kind = if small { Kind::Records } else { Kind::Bytes };
        Ok(Box::new(WatchedFile { file, path: path.to_owned(), kind, health: self.health.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(Kind::Names, "rename a file", to, |disk| disk.rename(from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.note(Kind::Removals, "remove a file", path, |disk| disk.remove(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Kind::Syncs, "sync a directory", path, |disk| disk.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Kind::Names, "create a directory", path, |disk| disk.create_dir(path))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.disk.space(path)
    }
}

impl DiskFile for WatchedFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        note(&self.health, self.kind, "write", &self.path, || self.file.write_at(buf, offset))
    }

    fn write_run_at(&self, run: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        note(&self.health, self.kind, "write", &self.path, || self.file.write_run_at(run, offset))
    }

    fn sync(&self) -> io::Result<()> {
        note(&self.health, Kind::Syncs, "sync a file", &self.path, || self.file.sync())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let number = self.health.begin(self.kind);
        let done = self.file.set_len(len);
        self.health.end(self.kind, number);
        // A hole takes no space: that it can be made says nothing of whether bytes can be written.
        done.inspect_err(|error| self.health.failed(self.kind, "extend a file", &self.path, error))
    }

    fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn forget_cached(&self, range: Range<u64>) {
        self.file.forget_cached(range);
    }

    fn meta_at_hand(&self) -> Option<Meta> {
        self.file.meta_at_hand()
    }

    fn as_file(&self) -> Option<&File> {
        self.file.as_file()
    }
}

impl DiskFile for ReadFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        timed(&self.health, || self.file.read_at(buf, offset))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }

    fn write_run_at(&self, run: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        self.file.write_run_at(run, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn meta(&self) -> io::Result<Meta> {
        timed(&self.health, || self.file.meta())
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    fn forget_cached(&self, range: Range<u64>) {
        self.file.forget_cached(range);
    }

    fn meta_at_hand(&self) -> Option<Meta> {
        self.file.meta_at_hand()
    }

    fn as_file(&self) -> Option<&File> {
        self.file.as_file()
    }
}
