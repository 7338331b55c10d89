//! What all parts of the store share: the disk, the paths, the lock around the model, and the small steps that more
//! than one part takes.
//!
//! Lock order: turn, room, model, table of open files. The last two are never held across a call of the disk. *Turn* is
//! that of reading a blob again (`doubt`). *Room* is held by
//! whoever takes names away from files, until they are gone, and taken by whoever is about to make such a file, so that
//! nobody removes the file that another has just made under the same name.

use super::blobs::OpenFiles;
use super::doubt::Turns;
use super::fs::{self, Disk, Space};
use super::health::Health;
use super::layout::{Layout, Tree, flat};
use super::losses::Losses;
use super::model::{BlobEntry, Model, now};
use super::policy::Policy;
use super::watched::Watched;
use super::{Budget, OpenError, Stats, StoreError};
use crate::oci::Digest;
use std::collections::HashSet;
use std::io;
use std::mem::take;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;
use tracing::{debug, warn};

/// How many files the quarantine keeps for people to look at.
const QUARANTINE_FILES: usize = 16;

#[derive(Debug)]
pub(super) struct Core {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) health: Arc<Health>,
    pub(super) layout: Layout,
    pub(super) budget: Budget,
    pub(super) max_blob: Option<u64>,
    pub(super) policy: Policy,
    state: Mutex<State>,
    room: Mutex<()>,
    pub(super) turns: Turns,
    /// The budget in bytes as it was when the file system last told its size.
    budget_bytes: AtomicU64,
    /// Something urgent waits for the index thread, or it is to stop.
    pub(super) wake: Condvar,
    /// The index thread got further, or gave up.
    pub(super) progress: Condvar,
    pub(super) open: OpenFiles,
    /// Whether memory knows every file: then what it does not know is not there.
    pub(super) settled: AtomicBool,
    /// Whether memory knows every manifest and what its sidecar says: then who is no member is known to be none.
    manifests_known: AtomicBool,
    /// Whether files are being compared with memory: then there may be more of them than are counted.
    walking: AtomicBool,
    pub(super) stopping: AtomicBool,
    pub(super) counters: Counters,
    /// Images that have lost something to make room.
    pub(super) losses: Mutex<Losses>,
    /// Whether records of present ranges were removed and that may not be durable; so it is at start.
    pub(super) records_removed: AtomicBool,
    /// Directories of content that were made in this run or found to be there.
    shelves: Mutex<HashSet<PathBuf>>,
    /// Directories that files were removed from, which may come back after a power loss until they are synced.
    thinned: Mutex<HashSet<PathBuf>>,
    /// Makes the names of quarantined files distinct.
    serial: AtomicU64,
}

/// The model and what is between it and the index.
#[derive(Debug)]
pub(super) struct State {
    pub(super) model: Model,
    /// How many times urgent changes were made, and up to which of these the index knows them.
    pub(super) changed: u64,
    pub(super) durable: u64,
    /// Whether the index cannot be written.
    pub(super) degraded: bool,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) evicted: AtomicU64,
    pub(super) evicted_manifests: AtomicU64,
    pub(super) evicted_unfinished: AtomicU64,
    pub(super) evicted_bytes: AtomicU64,
    pub(super) quarantined: AtomicU64,
    pub(super) scrubbed_bytes: AtomicU64,
    pub(super) scrub_found: AtomicU64,
}

impl Core {
    pub(super) fn new(disk: Arc<dyn Disk>, layout: Layout, options: &super::Options, policy: Policy) -> Self {
        let health = Arc::new(Health::new(&policy));
        Self {
            disk: Arc::new(Watched::new(disk, health.clone())),
            health,
            layout,
            budget: options.max_bytes,
            max_blob: options.max_blob,
            policy,
            state: Mutex::new(State { model: Model::new(), changed: 0, durable: 0, degraded: false }),
            room: Mutex::default(),
            turns: Turns::default(),
            budget_bytes: AtomicU64::new(0),
            wake: Condvar::new(),
            progress: Condvar::new(),
            open: OpenFiles::default(),
            settled: AtomicBool::new(false),
            manifests_known: AtomicBool::new(false),
            walking: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            counters: Counters::default(),
            losses: Mutex::default(),
            records_removed: AtomicBool::new(true),
            shelves: Mutex::default(),
            thinned: Mutex::default(),
            serial: AtomicU64::new(0),
        }
    }

    /// The state, to read. A panic elsewhere leaves numbers that may be off, never content that is wrong.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The right to take names away from files, or to make files whose names may just be taken away.
    pub(super) fn room(&self) -> MutexGuard<'_, ()> {
        self.room.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The same, but only if nobody has it.
    pub(super) fn try_room(&self) -> Option<MutexGuard<'_, ()>> {
        match self.room.try_lock() {
            Ok(room) => Some(room),
            Err(TryLockError::Poisoned(room)) => Some(room.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Changes the model, and lets the index thread know when it should not wait.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Model) -> T) -> T {
        let mut state = self.state();
        let waiting = state.model.dirty.is_urgent();
        let result = change(&mut state.model);
        if state.model.dirty.is_urgent() {
            state.changed += 1;
            if !waiting {
                self.wake.notify_one();
            }
        }
        result
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn knows_manifests(&self) -> bool {
        self.manifests_known.load(Ordering::Acquire)
    }

    /// Nothing more is to be learned from sidecars; wakes whoever waits for that.
    pub(super) fn manifests_are_known(&self) {
        let state = self.state();
        self.manifests_known.store(true, Ordering::Release);
        drop(state);
        self.progress.notify_all();
    }

    /// Waits until memory knows every manifest, but not longer than this.
    pub(super) fn await_manifests(&self, at_most: Duration) -> bool {
        let waited = self.progress.wait_timeout_while(self.state(), at_most, |_| !self.knows_manifests());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.knows_manifests()
    }

    /// Says whether files are being compared with memory; wakes whoever waits for the end of that.
    pub(super) fn set_walking(&self, walking: bool) {
        let state = self.state();
        self.walking.store(walking, Ordering::Release);
        drop(state);
        self.progress.notify_all();
    }

    /// Waits until no files are compared with memory, but not longer than this.
    pub(super) fn await_walk(&self, at_most: Duration) -> bool {
        let is_awaited = || self.is_walking() && !self.stopping();
        let waited = self.progress.wait_timeout_while(self.state(), at_most, |_| is_awaited());
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        !is_awaited()
    }

    pub(super) fn is_walking(&self) -> bool {
        self.walking.load(Ordering::Acquire)
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire)
    }

    /// Makes sure that the directory for a digest's files is there, durably.
    pub(super) fn make_shelf(&self, tree: Tree, digest: &Digest) -> io::Result<PathBuf> {
        let shelf = self.layout.shelf(tree, digest);
        let known = |path: &Path| self.shelves.lock().unwrap_or_else(PoisonError::into_inner).contains(path);
        if !known(&shelf) {
            self.disk.create_dir(&shelf)?;
            self.disk.sync_dir(&self.layout.tree(tree, digest.algorithm()))?;
            self.shelves.lock().unwrap_or_else(PoisonError::into_inner).insert(shelf.clone());
        }
        Ok(shelf)
    }

    /// Runs a step that needs the directory of a digest's files; when somebody removed that under us, makes it again
    /// and tries once more.
    pub(super) fn on_shelf<T>(
        &self,
        tree: Tree,
        digest: &Digest,
        step: impl Fn(&Path) -> io::Result<T>,
    ) -> io::Result<T> {
        let shelf = self.make_shelf(tree, digest)?;
        match step(&shelf) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.shelves.lock().unwrap_or_else(PoisonError::into_inner).remove(&shelf);
                self.remake_directories()?;
                step(&self.make_shelf(tree, digest)?)
            }
            done => done,
        }
    }

    /// Makes the directories that a store always has, where somebody removed them under us.
    pub(super) fn remake_directories(&self) -> io::Result<()> {
        let directories = self.layout.directories();
        directories.iter().try_for_each(|directory| self.disk.create_dir(directory))?;
        directories.iter().try_for_each(|directory| self.disk.sync_dir(directory))
    }

    /// Runs a step that needs the directories that a store always has; where one is missing, makes them again and tries
    /// once more.
    pub(super) fn on_directories<T>(&self, step: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match step() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.remake_directories()?;
                step()
            }
            done => done,
        }
    }

    /// Moves a file that cannot be trusted out of the way, keeping the last few for people to look at.
    pub(super) fn quarantine(&self, path: &Path, digest: &Digest, size: u64, why: &str) {
        self.quarantine_with(path, digest, size, why, |_| {});
    }

    /// The same for a file that is still counted: `uncount` forgets it in the step that counts it anew. It is called in any
    /// case, when the name is free.
    pub(super) fn quarantine_with(
        &self,
        path: &Path,
        digest: &Digest,
        size: u64,
        why: &str,
        uncount: impl FnOnce(&mut Model),
    ) {
        let name = format!("{}-{}.{}", now(), self.serial.fetch_add(1, Ordering::Relaxed), flat(digest));
        warn!(target: "roadstead::store", %digest, size, why, "put aside a file that cannot be trusted");
        self.counters.quarantined.fetch_add(1, Ordering::Relaxed);
        match self.on_directories(|| self.disk.rename(path, &self.layout.quarantined(&name))) {
            Ok(()) => {
                let surplus = self.change(|model| {
                    uncount(model);
                    model.quarantine(name, size);
                    let surplus = model.quarantine.len().saturating_sub(QUARANTINE_FILES);
                    (0..surplus).filter_map(|_| model.pop_quarantine()).collect::<Vec<_>>()
                });
                for name in surplus {
                    self.unlink(&self.layout.quarantined(&name));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return self.change(uncount),
            Err(_) => {
                self.unlink(path);
                self.change(uncount);
            }
        }
        // It must not be found under its name again, not after a power loss either: the name alone says that it is right.
        if let Some(shelf) = path.parent()
            && let Err(error) = self.disk.sync_dir(shelf)
        {
            debug!(target: "roadstead::store", %digest, %error, "cannot sync the directory of a file that was put aside");
        }
    }

    /// Removes a file that is no longer accounted for.
    pub(super) fn unlink(&self, path: &Path) {
        match fs::remove(&*self.disk, path) {
            Ok(()) => {
                let mut thinned = self.thinned.lock().unwrap_or_else(PoisonError::into_inner);
                thinned.extend(path.parent().map(Path::to_owned));
            }
            Err(error) => debug!(
                target: "roadstead::store", path = %path.display(), %error,
                "cannot remove a file; it takes space until the next start finds it",
            ),
        }
    }

    /// Makes the removal of files durable.
    pub(super) fn sync_thinned(&self) -> io::Result<()> {
        let thinned = take(&mut *self.thinned.lock().unwrap_or_else(PoisonError::into_inner));
        thinned.iter().try_for_each(|directory| self.disk.sync_dir(directory))
    }

    /// Waits until the index knows every change made before; false when it cannot be written.
    pub(super) fn flush(&self) -> bool {
        let mut state = self.state();
        let target = state.changed;
        while state.durable < target && !state.degraded && !self.stopping() {
            self.wake.notify_one();
            state = self.progress.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.durable >= target
    }

    /// Tells the threads to end.
    pub(super) fn stop(&self) {
        // Under the lock, so that no thread is between its look and its wait.
        let state = self.state();
        self.stopping.store(true, Ordering::Release);
        drop(state);
        self.wake.notify_all();
        self.progress.notify_all();
    }

    /// Whether the last run ended in order. The mark is gone afterwards, durably, because from now on it is not true.
    pub(super) fn take_clean_mark(&self) -> Result<bool, OpenError> {
        let path = self.layout.clean();
        match self.disk.remove(&path) {
            Ok(()) => {
                let root = self.layout.root();
                self.disk.sync_dir(root).map_err(OpenError::io("sync the directory", root))?;
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(OpenError::io("remove", &path)(error)),
        }
    }

    pub(super) fn leave_clean_mark(&self) {
        let path = self.layout.clean();
        // Nobody looks for files that came back once the mark is there.
        let marked = self
            .sync_thinned()
            .and_then(|()| fs::replace(&*self.disk, &path, b""))
            .and_then(|()| self.disk.sync_dir(self.layout.root()));
        if let Err(error) = marked {
            warn!(target: "roadstead::store", %error, "cannot mark an orderly end; the next start compares all files");
        }
    }

    pub(super) fn stats(&self) -> Stats {
        let mut state = self.state();
        state.model.let_go();
        Stats {
            used_bytes: state.model.ledger.used(),
            used: state.model.ledger.by_kind(),
            max_bytes: self.budget_bytes.load(Ordering::Relaxed),
            blobs: state.model.blob_count() as u64,
            manifests: state.model.manifest_count() as u64,
            unfinished: state.model.unfinished.len() as u64,
            evicted: self.counters.evicted.load(Ordering::Relaxed),
            evicted_manifests: self.counters.evicted_manifests.load(Ordering::Relaxed),
            evicted_unfinished: self.counters.evicted_unfinished.load(Ordering::Relaxed),
            evicted_bytes: self.counters.evicted_bytes.load(Ordering::Relaxed),
            quarantined: self.counters.quarantined.load(Ordering::Relaxed),
            index_degraded: state.degraded,
            writes_failing: self.health.is_failing(),
            scrubbed_bytes: self.counters.scrubbed_bytes.load(Ordering::Relaxed),
            scrub_found: self.counters.scrub_found.load(Ordering::Relaxed),
            pins: state.model.pins.figures.pins,
            pinned_bytes: state.model.pins.figures.bytes,
            pins_lost: state.model.pins.lost,
        }
    }

    /// The budget in bytes, whatever the disk has free. `space` is what the file system says of itself.
    pub(super) fn budget(&self, space: &io::Result<Space>) -> u64 {
        let budget = match (self.budget, space) {
            (Budget::Bytes(bytes), _) => bytes,
            (Budget::Percent(percent), Ok(space)) => space.total / 100 * u64::from(percent.min(100)),
            // A disk that does not answer gives no room; its size is most likely what it was.
            (Budget::Percent(_), Err(_)) => return 0,
        };
        self.budget_bytes.store(budget, Ordering::Relaxed);
        budget
    }

    /// Asks the file system, for the first figures.
    pub(super) fn learn_budget(&self) {
        self.budget(&self.disk.space(self.layout.root()));
    }
}

impl Core {
    /// The blob whose open file this is cannot be read any more. A file that has left the store already harms nobody.
    pub(super) fn distrust_file(&self, file: &Arc<super::blobs::BlobFile>) {
        if let Some(digest) = self.open.find(file) {
            self.distrust_blob(&digest, "it could not be read, or was wrong");
        }
    }

    /// A blob's file is not what was committed: forget it, and let it be fetched again.
    pub(super) fn distrust_blob(&self, digest: &Digest, why: &str) {
        self.distrust_blob_if(digest, why, |_| true);
    }

    /// The same, if it is still the one that is meant; false when it is not.
    pub(super) fn distrust_blob_if(
        &self,
        digest: &Digest,
        why: &str,
        meant: impl FnOnce(&BlobEntry) -> bool,
    ) -> bool {
        let _room = self.room();
        let removed = self.change(|model| {
            let is_meant = model.blob(digest).as_ref().is_some_and(meant);
            is_meant.then(|| model.remove_blob(digest)).flatten()
        });
        let Some(entry) = removed else { return false };
        self.open.forget(digest);
        self.quarantine(&self.layout.content(Tree::Blobs, digest), digest, entry.size, why);
        if !entry.anonymous {
            self.drop_marks(std::slice::from_ref(digest));
        }
        true
    }

    /// Removes the marks of private blobs whose files are gone; under the lock that keeps new ones from being made. First
    /// the names are durably gone: if one came back after a power loss without its mark, a secret would be anybody's.
    pub(super) fn drop_marks(&self, digests: &[Digest]) {
        let shelves: HashSet<PathBuf> =
            digests.iter().map(|digest| self.layout.shelf(Tree::Blobs, digest)).collect();
        let gone: HashSet<&PathBuf> =
            shelves.iter().filter(|shelf| self.disk.sync_dir(shelf).is_ok()).collect();
        for digest in digests {
            if gone.contains(&self.layout.shelf(Tree::Blobs, digest)) {
                self.unlink(&self.layout.private(digest));
            }
        }
    }

    /// A manifest's file is not what was stored: forget its bytes, and let it be fetched again.
    pub(super) fn distrust_manifest(&self, digest: &Digest, why: &str) {
        let _room = self.room();
        if let Some(entry) = self.change(|model| model.remove_manifest(digest)) {
            self.quarantine(&self.layout.content(Tree::Manifests, digest), digest, entry.size, why);
            self.unlink(&self.layout.sidecar(digest));
        }
    }
}

/// The failure of one blob is that blob's: anything but "not there" is an error of the disk.
pub(super) fn found<T>(result: io::Result<T>, doing: &'static str) -> Result<Option<T>, StoreError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(doing)(error)),
    }
}
