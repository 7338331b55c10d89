//! Whether the disk takes what the store writes: said in one line when it begins to fail, and in one when that is over.
//!
//! A disk that fails does so for every blob, many times a second, and who reads the log needs it once: what failed, where,
//! and what to do. So the store writes through [`Watched`], which notes what fails and what works, and whoever gets the
//! error handles it without a word of its own. Each kind of writing fails and recovers for itself: a full disk still takes
//! names and small records, and that is no recovery. The index is not watched; it is tried again on its own and has a
//! figure of its own.
//!
//! What is not there is no failure of the disk: a directory that somebody removed is made again by who misses it.

use super::error::is_full;
use super::fs::{Access, Disk, DiskFile, Entry, Meta, Space, TEMPORARY};
use super::layout::is_index;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// What a store does to a disk, as far as one may work while another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    /// There is room for a blob on the disk.
    Room = 1,
    /// The bytes of blobs.
    Bytes = 1 << 1,
    /// Small files: manifests, records of ranges, sidecars.
    Records = 1 << 2,
    /// Making any of it durable.
    Syncs = 1 << 3,
    /// New files, new names, directories.
    Names = 1 << 4,
    /// Files that go.
    Removals = 1 << 5,
}

/// How writing fares.
#[derive(Debug)]
pub(super) struct Health {
    /// The kinds that fail, as `state` has them, for those who only look.
    failing: AtomicU8,
    state: Mutex<State>,
    calm: Duration,
}

/// A time of trouble that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spell {
    failures: u64,
    lasted: Duration,
}

#[derive(Debug, Default)]
struct State {
    failing: u8,
    /// Whether the last failure was for want of room.
    full: bool,
    /// Failures since it was last said that all is well.
    failures: u64,
    /// When the first and the last of them were, while it has been said that writing fails.
    said: Option<(Instant, Instant)>,
}

impl State {
    /// Notes a failure; true when that is news.
    fn failed(&mut self, kind: Kind, now: Instant) -> bool {
        self.failing |= kind as u8;
        self.failures += 1;
        let news = self.said.is_none();
        self.said = Some((self.said.map_or(now, |(first, _)| first), now));
        news
    }

    /// What has been over for long enough to say so: a disk that is almost full fails and works by turns.
    fn over(&mut self, now: Instant, calm: Duration) -> Option<Spell> {
        let (first, last) = self.said?;
        if self.failing != 0 || now.saturating_duration_since(last) < calm {
            return None;
        }
        let spell = Spell { failures: self.failures, lasted: last.saturating_duration_since(first) };
        *self = Self::default();
        Some(spell)
    }
}

impl Health {
    /// Healthy, until something fails. What works for `calm` after the last failure is well again.
    pub(super) fn new(calm: Duration) -> Self {
        Self { failing: AtomicU8::new(0), state: Mutex::default(), calm }
    }

    /// Whether the last try of anything failed.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) != 0
    }

    /// Whether it fails for want of room.
    pub(super) fn is_full(&self) -> bool {
        self.is_failing() && self.lock().full
    }

    pub(super) fn failed(&self, kind: Kind, doing: &'static str, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let mut state = self.lock();
        let news = state.failed(kind, Instant::now());
        state.full = is_full(error);
        self.failing.store(state.failing, Ordering::Relaxed);
        drop(state);
        if news {
            warn!(
                target: "roadstead::store", doing, path = %path.display(), %error, advice = advice(error),
                "the disk fails; what it does not take is streamed past the store, and tried again with the next blob",
            );
        }
    }

    pub(super) fn worked(&self, kind: Kind) {
        self.clear(kind as u8);
    }

    /// A blob was stored: all that this takes works, which is all but removing.
    pub(super) fn stored(&self) {
        self.clear(!(Kind::Removals as u8));
    }

    fn clear(&self, kinds: u8) {
        if self.failing.load(Ordering::Relaxed) & kinds == 0 {
            return;
        }
        let mut state = self.lock();
        state.failing &= !kinds;
        self.failing.store(state.failing, Ordering::Relaxed);
        drop(state);
        self.look();
    }

    /// Says so when trouble has been over for a while; to be called now and then.
    pub(super) fn look(&self) {
        let over = self.lock().over(Instant::now(), self.calm);
        if let Some(Spell { failures, lasted }) = over {
            info!(
                target: "roadstead::store", failures, seconds = lasted.as_secs(),
                "the disk takes writes again",
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What whoever reads the line should do.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => {
            "free space, or inodes, on the file system of the data directory, or lower store.max_bytes"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "see the kernel's log for why the file system is read-only, and mount it writable again"
        }
        io::ErrorKind::PermissionDenied => "give the data directory to the user that the mirror runs as",
        _ => "see the kernel's log; the disk may be dying",
    }
}

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

impl Watched {
    pub(super) fn new(disk: Arc<dyn Disk>, health: Arc<Health>) -> Self {
        Self { disk, health }
    }

    fn note<T>(&self, kind: Kind, doing: &'static str, path: &Path, done: io::Result<T>) -> io::Result<T> {
        note(&self.health, kind, doing, path, done)
    }
}

fn note<T>(
    health: &Health,
    kind: Kind,
    doing: &'static str,
    path: &Path,
    done: io::Result<T>,
) -> io::Result<T> {
    match &done {
        Ok(_) => health.worked(kind),
        Err(error) => health.failed(kind, doing, path, error),
    }
    done
}

impl Disk for Watched {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let opened = self.disk.open(path, access);
        if access == Access::Read || is_index(path) {
            return opened;
        }
        let file = self.note(Kind::Names, "open a file for writing", path, opened)?;
        let small = path.as_os_str().as_encoded_bytes().ends_with(TEMPORARY.as_bytes());
        let kind = if small { Kind::Records } else { Kind::Bytes };
        Ok(Box::new(WatchedFile { file, path: path.to_owned(), kind, health: self.health.clone() }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let done = self.disk.rename(from, to);
        if is_index(to) { done } else { self.note(Kind::Names, "rename a file", to, done) }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let done = self.disk.remove(path);
        if is_index(path) { done } else { self.note(Kind::Removals, "remove a file", path, done) }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Kind::Syncs, "sync a directory", path, self.disk.sync_dir(path))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.disk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.note(Kind::Names, "create a directory", path, self.disk.create_dir(path))
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
        note(&self.health, self.kind, "write", &self.path, self.file.write_at(buf, offset))
    }

    fn sync(&self) -> io::Result<()> {
        note(&self.health, Kind::Syncs, "sync a file", &self.path, self.file.sync())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // A hole takes no space: that it can be made says nothing of whether bytes can be written.
        self.file
            .set_len(len)
            .inspect_err(|error| self.health.failed(self.kind, "extend a file", &self.path, error))
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

    fn as_file(&self) -> Option<&File> {
        self.file.as_file()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_secs(30);

    #[test]
    fn trouble_is_said_once_and_its_end_once_however_often_it_comes_and_goes_between() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State::default();
        assert_eq!(state.over(at(0), CALM), None, "nothing has been said");
        assert!(state.failed(Kind::Bytes, at(1)));
        assert!(!state.failed(Kind::Bytes, at(2)) && !state.failed(Kind::Syncs, at(3)));
        state.failing &= !(Kind::Bytes as u8);
        assert_eq!(state.over(at(100), CALM), None, "syncs still fail");
        state.failing = 0;
        assert_eq!(state.over(at(32), CALM), None, "it has only just worked");
        assert!(!state.failed(Kind::Bytes, at(33)));
        state.failing = 0;
        assert_eq!(state.over(at(62), CALM), None);
        let spell = Spell { failures: 4, lasted: Duration::from_secs(32) };
        assert_eq!(state.over(at(63), CALM), Some(spell));
        assert_eq!(state.over(at(1000), CALM), None, "it is said once");
        assert!(state.failed(Kind::Names, at(1001)), "the next trouble is news again");
    }

    #[test]
    fn each_kind_of_writing_recovers_for_itself_and_a_stored_blob_says_that_all_does() {
        let health = Health::new(Duration::ZERO);
        let full = io::Error::from(io::ErrorKind::StorageFull);
        health.failed(Kind::Bytes, "write", Path::new("x"), &full);
        health.failed(Kind::Removals, "remove", Path::new("x"), &io::Error::other("broken"));
        health.worked(Kind::Records);
        assert!(health.is_failing() && !health.is_full());
        health.failed(Kind::Room, "reserve", Path::new("x"), &full);
        assert!(health.is_full());
        health.stored();
        assert!(health.is_failing(), "nothing was removed");
        health.worked(Kind::Removals);
        assert!(!health.is_failing() && !health.is_full());
        health.failed(Kind::Names, "open", Path::new("x"), &io::ErrorKind::NotFound.into());
        assert!(!health.is_failing(), "what is not there is not broken");
    }
}
