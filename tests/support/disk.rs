//! A disk that fails on demand: the real one with faults by operation, path and number, and a size of its own.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use roadstead::store::fs::{Access, Disk, DiskFile, Entry, Meta, RealDisk, Space};

/// Linux's numbers of the two errors that disks are known for.
const EIO: i32 = 5;
const ENOSPC: i32 = 28;

/// What can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Opening or making a file.
    Open,
    /// Giving it another name.
    Rename,
    /// Removing it.
    Remove,
    /// Making a directory's names durable.
    SyncDir,
    /// Listing a directory.
    List,
    /// Making a directory.
    CreateDir,
    /// Asking for the free space.
    Space,
    /// Reading from a file.
    Read,
    /// Writing to a file.
    Write,
    /// Making a file durable.
    Sync,
    /// Setting a file's length.
    SetLen,
    /// Asking about a file.
    Meta,
}

/// One fault: which calls fail, and how.
#[derive(Clone, Debug)]
pub struct Fault {
    op: Op,
    path: String,
    after: usize,
    times: usize,
    errno: i32,
}

/// `op` fails on paths that contain `path`, always, as a device that is broken.
pub fn fails(op: Op, path: &str) -> Fault {
    Fault { op, path: path.to_owned(), after: 0, times: usize::MAX, errno: EIO }
}

impl Fault {
    /// As a disk that is full, and not as one that is broken.
    pub fn for_space(mut self) -> Self {
        self.errno = ENOSPC;
        self
    }

    /// Only after so many calls that went well.
    pub fn after(mut self, calls: usize) -> Self {
        self.after = calls;
        self
    }

    /// Only so often.
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }
}

/// The real disk with faults. Clones are one disk.
#[derive(Clone, Debug, Default)]
pub struct FaultDisk(Arc<State>);

#[derive(Debug, Default)]
struct State {
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<HashMap<Op, usize>>,
    failed: Mutex<usize>,
    size: Mutex<Option<u64>>,
    /// What each file that was written through here takes.
    taken: Mutex<HashMap<PathBuf, u64>>,
}

impl FaultDisk {
    /// A disk without faults.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, this fails.
    pub fn fault(&self, fault: Fault) {
        self.0.faults.lock().unwrap().push(fault);
    }

    /// From now on, nothing fails, and the size is the real disk's.
    pub fn heal(&self) {
        self.0.faults.lock().unwrap().clear();
        *self.0.size.lock().unwrap() = None;
    }

    /// From now on the disk has room for so many bytes, what is there already included.
    pub fn resize(&self, bytes: u64) {
        *self.0.size.lock().unwrap() = Some(bytes);
    }

    /// How often an operation was asked for.
    pub fn calls(&self, op: Op) -> usize {
        self.0.calls.lock().unwrap().get(&op).copied().unwrap_or(0)
    }

    /// How many calls have failed by our doing: a test that wants a fault shows that it happened.
    pub fn failed(&self) -> usize {
        *self.0.failed.lock().unwrap()
    }
}

impl State {
    fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        *self.calls.lock().unwrap().entry(op).or_default() += 1;
        let path = path.to_string_lossy();
        for fault in self.faults.lock().unwrap().iter_mut().filter(|fault| fault.op == op) {
            if !path.contains(&fault.path) || fault.times == 0 {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            return Err(self.failure(fault.errno));
        }
        Ok(())
    }

    fn failure(&self, errno: i32) -> io::Error {
        *self.failed.lock().unwrap() += 1;
        io::Error::from_raw_os_error(errno)
    }

    fn used(&self) -> u64 {
        self.taken.lock().unwrap().values().sum()
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.0.check(Op::Open, path)?;
        let file = RealDisk.open(path, access)?;
        Ok(Box::new(FaultFile { disk: Arc::clone(&self.0), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.check(Op::Rename, from)?;
        RealDisk.rename(from, to)?;
        let mut taken = self.0.taken.lock().unwrap();
        if let Some(bytes) = taken.remove(from) {
            taken.insert(to.to_owned(), bytes);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.check(Op::Remove, path)?;
        RealDisk.remove(path)?;
        self.0.taken.lock().unwrap().remove(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.0.check(Op::SyncDir, path)?;
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.0.check(Op::List, path)?;
        RealDisk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.check(Op::CreateDir, path)?;
        RealDisk.create_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.check(Op::Space, path)?;
        match *self.0.size.lock().unwrap() {
            None => RealDisk.space(path),
            Some(total) => Ok(Space { total, available: total.saturating_sub(self.0.used()), files: None }),
        }
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: Arc<State>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl DiskFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.check(Op::Read, &self.path)?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.disk.check(Op::Write, &self.path)?;
        let size = *self.disk.size.lock().unwrap();
        if size.is_some_and(|size| self.disk.used() + buf.len() as u64 > size) {
            return Err(self.disk.failure(ENOSPC));
        }
        self.file.write_at(buf, offset)?;
        let allocated = self.file.meta()?.allocated;
        // A file that was renamed while it is open is counted under its new name, if at all.
        if let Some(taken) = self.disk.taken.lock().unwrap().get_mut(&self.path) {
            *taken = allocated;
        } else if self.path.exists() {
            self.disk.taken.lock().unwrap().insert(self.path.clone(), allocated);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check(Op::Sync, &self.path)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check(Op::SetLen, &self.path)?;
        self.file.set_len(len)
    }

    fn meta(&self) -> io::Result<Meta> {
        self.disk.check(Op::Meta, &self.path)?;
        self.file.meta()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }

    // None: the kernel would read past the faults.
    fn as_file(&self) -> Option<&File> {
        None
    }
}
