//! A disk in memory whose power goes at a chosen operation, and the images that may be found on it afterwards.
//!
//! What is durable is what POSIX says: a file's bytes after its `sync`, a name after `sync_dir` of its directory, both
//! only as they were then. Everything since may be kept, lost or torn, each page and each name by itself: see [`Loss`].
//! Operations that change anything are counted, writes into files only where asked for; once the power is gone every
//! call fails, reads too.

mod platter;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use roadstead::store::fs::{Access, Disk, DiskFile, Entry, Meta, Space};
use tokio::sync::watch;

pub use platter::Loss;
use platter::{Node, Platter};

/// The disk. Clones are one disk.
#[derive(Clone, Debug)]
pub struct PowerDisk(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    machine: Mutex<Machine>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Machine {
    platter: Platter,
    /// What was done, but for writes: an operation and its path a line.
    done: Vec<String>,
    /// Operations counted so far, and at which of them the power goes.
    counted: usize,
    stop_at: usize,
    count_writes: bool,
    /// The operation at which the power went, and when.
    went_at: Option<(String, Instant)>,
}

impl PowerDisk {
    /// An empty disk with this one directory.
    pub fn new(directory: &Path) -> Self {
        Self::of(Platter::new(directory))
    }

    fn of(platter: Platter) -> Self {
        let machine = Machine {
            platter,
            done: Vec::new(),
            counted: 0,
            stop_at: usize::MAX,
            count_writes: false,
            went_at: None,
        };
        Self(Arc::new(Shared { machine: Mutex::new(machine), changes: watch::Sender::new(()) }))
    }

    /// The power goes at the operation after the next so many.
    pub fn lose_power_after(self, operations: usize) -> Self {
        self.0.machine.lock().unwrap().stop_at = operations;
        self
    }

    /// Writes into files are operations too.
    pub fn counting_writes(self) -> Self {
        self.0.machine.lock().unwrap().count_writes = true;
        self
    }

    /// The operation at which the power went, if it did.
    pub fn went_at(&self) -> Option<String> {
        self.0.machine.lock().unwrap().went_at.as_ref().map(|(operation, _)| operation.clone())
    }

    /// How long ago something was when the power went, or is by now.
    pub fn age_of(&self, then: Instant) -> Duration {
        let went = self.0.machine.lock().unwrap().went_at.as_ref().map(|(_, when)| *when);
        went.unwrap_or_else(Instant::now).saturating_duration_since(then)
    }

    /// Whether the power is on.
    pub fn is_on(&self) -> bool {
        self.went_at().is_none()
    }

    /// Operations counted so far.
    pub fn counted(&self) -> usize {
        self.0.machine.lock().unwrap().counted
    }

    /// The last operation before the power went.
    pub fn last_done(&self) -> String {
        self.0.machine.lock().unwrap().done.last().cloned().unwrap_or_default()
    }

    /// Waits until the power goes.
    pub async fn gone(&self) {
        self.until(|machine| machine.went_at.is_some()).await;
    }

    /// How often an operation was done to a path that ends like this.
    pub fn count(&self, operation: &str, path: &str) -> usize {
        self.0.machine.lock().unwrap().count(operation, path)
    }

    /// Waits until that has been so often.
    pub async fn done(&self, operation: &str, path: &str, times: usize) {
        self.until(|machine| machine.count(operation, path) >= times).await;
    }

    async fn until(&self, holds: impl Fn(&Machine) -> bool) {
        let mut changes = self.0.changes.subscribe();
        while !holds(&self.0.machine.lock().unwrap()) {
            let _ = changes.changed().await;
        }
    }

    /// A disk as it may be found when the power is back.
    pub fn found_again(&self, loss: Loss) -> Self {
        Self::of(self.0.machine.lock().unwrap().platter.after(loss))
    }

    /// Every file, with its bytes.
    pub fn files(&self) -> Vec<(PathBuf, Arc<Vec<u8>>)> {
        self.0.machine.lock().unwrap().platter.files()
    }

    fn read<T>(&self, read: impl FnOnce(&Platter) -> io::Result<T>) -> io::Result<T> {
        let machine = self.0.machine.lock().unwrap();
        machine.check()?;
        read(&machine.platter)
    }

    /// An operation that changes the platter, if `find` says that it can.
    fn change<F, T>(
        &self,
        (what, path): (&str, &Path),
        find: impl FnOnce(&Platter) -> io::Result<F>,
        apply: impl FnOnce(&mut Platter, F) -> T,
    ) -> io::Result<T> {
        let mut machine = self.0.machine.lock().unwrap();
        machine.check()?;
        let found = find(&machine.platter)?;
        let counts = what != "write" || machine.count_writes;
        if counts {
            let operation = format!("{what} {}", path.display());
            if machine.counted == machine.stop_at {
                machine.went_at = Some((operation, Instant::now()));
                drop(machine);
                self.0.changes.send_replace(());
                return Err(gone());
            }
            machine.counted += 1;
            machine.done.push(operation);
        }
        let applied = apply(&mut machine.platter, found);
        drop(machine);
        if counts {
            self.0.changes.send_replace(());
        }
        Ok(applied)
    }
}

impl Machine {
    fn count(&self, operation: &str, path: &str) -> usize {
        let like = |done: &&String| done.split(' ').next() == Some(operation) && done.ends_with(path);
        self.done.iter().filter(like).count()
    }

    fn check(&self) -> io::Result<()> {
        if self.went_at.is_some() { Err(gone()) } else { Ok(()) }
    }
}

fn gone() -> io::Error {
    io::Error::other("the power is gone")
}

impl Disk for PowerDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let known = self.read(|platter| Ok(platter.file(path)))?;
        let at = match (known, access) {
            (Ok(at), Access::Fresh) => {
                self.change(("cut", path), |_| Ok(at), |platter, at| platter.content(at).set_len(0))?;
                at
            }
            (Ok(at), _) => at,
            (Err(_), Access::Create | Access::Fresh) => self.change(
                ("make", path),
                |platter| platter.parent(path),
                |platter, ()| platter.make_file(path),
            )?,
            (Err(error), _) => return Err(error),
        };
        Ok(Box::new(PowerFile { disk: self.clone(), path: path.to_owned(), at }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(
            ("rename", to),
            |platter| platter.parent(to).and_then(|()| platter.file(from)),
            |platter, at| {
                platter.set(to, Some(Node::File(at)));
                platter.set(from, None);
            },
        )
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(("remove", path), |platter| platter.file(path), |platter, _| platter.set(path, None))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(
            ("sync_dir", path),
            |platter| platter.directory(path),
            |platter, ()| platter.sync_dir(path),
        )
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.read(|platter| platter.list(path))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        // The outermost first: each is an operation of its own.
        let missing = self.read(|platter| Ok(platter.missing(path)))?;
        for directory in missing {
            self.change(
                ("create_dir", &directory),
                |_| Ok(()),
                |platter, ()| platter.set(&directory, Some(Node::Dir)),
            )?;
        }
        Ok(())
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        self.read(|_| Ok(Space { total: 1 << 40, available: 1 << 39, files: None }))
    }
}

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    /// Its name when it was opened.
    path: PathBuf,
    at: usize,
}

impl PowerFile {
    fn change<T>(&self, what: &str, apply: impl FnOnce(&mut platter::Content) -> T) -> io::Result<T> {
        self.disk.change((what, &self.path), |_| Ok(()), |platter, ()| apply(platter.content(self.at)))
    }
}

impl DiskFile for PowerFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read(|platter| Ok(platter.look(self.at).read(buf, offset)))
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.change("write", |content| content.write(buf, offset))
    }

    fn sync(&self) -> io::Result<()> {
        self.change("sync", platter::Content::sync)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change("set_len", |content| content.set_len(usize::try_from(len).unwrap()))
    }

    fn meta(&self) -> io::Result<Meta> {
        self.disk.read(|platter| Ok(platter.meta(self.at)))
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.disk.read(|_| Ok(true))
    }
}
