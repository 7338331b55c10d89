//! A disk that fails on demand: the real one with faults by operation, path and number, and a size of its own. It keeps
//! a journal of what failed and of what lost its name, and can be torn from whoever uses it as by the end of a process.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

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

/// Something that happened to a file.
#[derive(Clone, Debug)]
pub struct Incident {
    /// When.
    pub at: Instant,
    /// What.
    pub kind: IncidentKind,
    /// The file; of a renaming, its old name.
    pub path: PathBuf,
}

/// What happened to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IncidentKind {
    /// A call failed, by our doing, with this number.
    Failed(Op, i32),
    /// A file went.
    Removed,
    /// It has this name now.
    Renamed(PathBuf),
}

/// The real disk with faults. Clones are one disk, as one process uses it.
#[derive(Clone, Debug, Default)]
pub struct FaultDisk {
    state: Arc<State>,
    process: Arc<Process>,
}

/// Whoever uses the disk. Once it is dead, nothing it still does reaches a file.
#[derive(Debug, Default)]
struct Process {
    dead: RwLock<bool>,
}

impl Process {
    /// The right to one call: none of a dead process's.
    fn call(&self) -> io::Result<RwLockReadGuard<'_, bool>> {
        let dead = self.dead.read().unwrap_or_else(PoisonError::into_inner);
        if *dead { Err(io::Error::from_raw_os_error(EIO)) } else { Ok(dead) }
    }
}

#[derive(Debug, Default)]
struct State {
    faults: Mutex<Vec<Fault>>,
    calls: Mutex<HashMap<Op, usize>>,
    journal: Mutex<Vec<Incident>>,
    size: Mutex<Option<u64>>,
    most: Mutex<(u64, HashMap<PathBuf, u64>)>,
    /// How long it takes to list a directory, as where there are many or the disk turns.
    listing: Mutex<Duration>,
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
        self.state.faults.lock().unwrap().push(fault);
    }

    /// From now on, each listing of a directory takes so long.
    pub fn list_slowly(&self, each: Duration) {
        *self.state.listing.lock().unwrap() = each;
    }

    /// From now on, nothing fails, and the size is the real disk's.
    pub fn heal(&self) {
        self.state.faults.lock().unwrap().clear();
        *self.state.size.lock().unwrap() = None;
    }

    /// From now on the disk has room for so many bytes, what is there already included.
    pub fn resize(&self, bytes: u64) {
        *self.state.size.lock().unwrap() = Some(bytes);
    }

    /// How often an operation was asked for.
    pub fn calls(&self, op: Op) -> usize {
        self.state.calls.lock().unwrap().get(&op).copied().unwrap_or(0)
    }

    /// How many calls have failed by our doing: a test that wants a fault shows that it happened.
    pub fn failed(&self) -> usize {
        let journal = self.state.journal.lock().unwrap();
        journal.iter().filter(|incident| matches!(incident.kind, IncidentKind::Failed(..))).count()
    }

    /// What has failed and what has lost its name, in order.
    pub fn journal(&self) -> Vec<Incident> {
        self.state.journal.lock().unwrap().clone()
    }

    /// The most that what was written through here has ever taken of the disk, at any moment.
    pub fn most(&self) -> u64 {
        self.state.most.lock().unwrap().0
    }

    /// What each file took at that moment.
    pub fn most_by_file(&self) -> HashMap<PathBuf, u64> {
        self.state.most.lock().unwrap().1.clone()
    }

    /// Ends the process that uses this, between two of its calls: none that follows reaches the disk. Returns the same
    /// disk for the next process.
    pub fn kill(&self) -> Self {
        *self.process.dead.write().unwrap_or_else(PoisonError::into_inner) = true;
        Self { state: Arc::clone(&self.state), process: Arc::default() }
    }
}

impl State {
    fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        *self.calls.lock().unwrap().entry(op).or_default() += 1;
        let name = path.to_string_lossy();
        for fault in self.faults.lock().unwrap().iter_mut().filter(|fault| fault.op == op) {
            if !name.contains(&fault.path) || fault.times == 0 {
                continue;
            }
            if fault.after > 0 {
                fault.after -= 1;
                continue;
            }
            fault.times -= 1;
            return Err(self.failure(op, path, fault.errno));
        }
        Ok(())
    }

    fn failure(&self, op: Op, path: &Path, errno: i32) -> io::Error {
        self.note(IncidentKind::Failed(op, errno), path);
        io::Error::from_raw_os_error(errno)
    }

    fn note(&self, kind: IncidentKind, path: &Path) {
        self.journal.lock().unwrap().push(Incident { at: Instant::now(), kind, path: path.to_owned() });
    }

    fn used(&self) -> u64 {
        self.taken.lock().unwrap().values().sum()
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let _call = self.process.call()?;
        self.state.check(Op::Open, path)?;
        let file = RealDisk.open(path, access)?;
        Ok(Box::new(FaultFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _call = self.process.call()?;
        self.state.check(Op::Rename, from)?;
        RealDisk.rename(from, to)?;
        self.state.note(IncidentKind::Renamed(to.to_owned()), from);
        let mut taken = self.state.taken.lock().unwrap();
        if let Some(bytes) = taken.remove(from) {
            taken.insert(to.to_owned(), bytes);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let _call = self.process.call()?;
        self.state.check(Op::Remove, path)?;
        RealDisk.remove(path)?;
        self.state.note(IncidentKind::Removed, path);
        self.state.taken.lock().unwrap().remove(path);
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let _call = self.process.call()?;
        self.state.check(Op::SyncDir, path)?;
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let _call = self.process.call()?;
        self.state.check(Op::List, path)?;
        let each = *self.state.listing.lock().unwrap();
        std::thread::sleep(each);
        RealDisk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let _call = self.process.call()?;
        self.state.check(Op::CreateDir, path)?;
        RealDisk.create_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let _call = self.process.call()?;
        self.state.check(Op::Space, path)?;
        match *self.state.size.lock().unwrap() {
            None => RealDisk.space(path),
            Some(total) => {
                Ok(Space { total, available: total.saturating_sub(self.state.used()), files: None })
            }
        }
    }
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl DiskFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let _call = self.disk.process.call()?;
        self.disk.state.check(Op::Read, &self.path)?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        let _call = self.disk.process.call()?;
        self.disk.state.check(Op::Write, &self.path)?;
        let state = &self.disk.state;
        let size = *state.size.lock().unwrap();
        if size.is_some_and(|size| state.used() + buf.len() as u64 > size) {
            return Err(state.failure(Op::Write, &self.path, ENOSPC));
        }
        self.file.write_at(buf, offset)?;
        let allocated = self.file.meta()?.allocated;
        let mut taken = state.taken.lock().unwrap();
        // A file that was renamed while it is open is counted under its new name, if at all.
        if let Some(taken) = taken.get_mut(&self.path) {
            *taken = allocated;
        } else if self.path.exists() {
            taken.insert(self.path.clone(), allocated);
        }
        let now: u64 = taken.values().sum();
        let mut most = state.most.lock().unwrap();
        if now > most.0 {
            *most = (now, taken.clone());
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let _call = self.disk.process.call()?;
        self.disk.state.check(Op::Sync, &self.path)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let _call = self.disk.process.call()?;
        self.disk.state.check(Op::SetLen, &self.path)?;
        self.file.set_len(len)
    }

    fn meta(&self) -> io::Result<Meta> {
        let _call = self.disk.process.call()?;
        self.disk.state.check(Op::Meta, &self.path)?;
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
