//! Bytes of blobs: open files, shared by all who read them.
//!
//! A file is looked at when it is opened, and trusted while it is open: nobody but us writes here, and what is
//! unlinked stays readable to those who have it. There is at most one open file per blob that somebody uses; the table
//! holds it weakly, so that eviction can see who is read.
//!
//! Files that were read a moment ago are kept open for who reads them next, because to open one takes a thread that may wait
//! for the disk. They are looked at again whenever they are given, and let go of before anything is evicted.

use super::core::{Core, found};
use super::error::StoreError;
use super::fs::{Access, DiskFile, Meta};
use super::layout::Tree;
use super::model::{BlobEntry, space_to_fill};
use super::sidecar;
use crate::oci::Digest;
use bytes::Bytes;
use lru::LruCache;
use rustix::process::{Resource, getrlimit};
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, IoSlice};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use tracing::warn;

/// An open file of a blob: whole and verified, or filling.
#[derive(Debug)]
pub struct BlobFile {
    file: Box<dyn DiskFile>,
    size: u64,
    /// Committed: not a byte of it changes any more.
    sealed: AtomicBool,
    /// A sync has failed: nobody knows any more what of it is durable.
    broken: AtomicBool,
}

/// What is known of a committed blob without touching the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobInfo {
    /// Its size in bytes.
    pub size: u64,
    /// Whether every byte of it came without credentials.
    pub anonymous: bool,
}

/// The open files, by blob.
#[derive(Debug)]
pub(super) struct OpenFiles {
    table: Mutex<Table>,
}

#[derive(Debug)]
struct Table {
    files: HashMap<Digest, Weak<BlobFile>>,
    /// Those that are kept open though perhaps nobody reads them.
    kept: LruCache<Digest, Arc<BlobFile>>,
}

/// How many files are kept open at the most, and no more than a quarter of what the process may have. All of them are closed
/// before anything is evicted, which takes some milliseconds.
const KEPT: usize = 8192;

impl BlobFile {
    pub(super) fn new(file: Box<dyn DiskFile>, size: u64, sealed: bool) -> Self {
        Self { file, size, sealed: AtomicBool::new(sealed), broken: AtomicBool::new(false) }
    }

    /// Reads at a position; fewer bytes than asked are possible, none means the end. Of a filling blob only what is
    /// present may be asked: the rest reads as zeros.
    pub fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }

    /// Writes all of `buf` into a filling blob. Refused beyond its size, and once it is committed.
    pub fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.check_write(buf.len() as u64, offset)?;
        self.file.write_at(buf, offset)
    }

    /// Writes all of these, one behind the other, as [`write_at`](Self::write_at) would, and at less cost.
    pub fn write_run_at(&self, run: &[Bytes], offset: u64) -> io::Result<()> {
        self.check_write(run.iter().map(|bytes| bytes.len() as u64).sum(), offset)?;
        let run: Vec<IoSlice<'_>> = run.iter().map(|bytes| IoSlice::new(bytes)).collect();
        self.file.write_run_at(&run, offset)
    }

    fn check_write(&self, len: u64, offset: u64) -> io::Result<()> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.size);
        if !fits || self.sealed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        Ok(())
    }

    /// The size of the whole blob.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The operating system's file, for a kernel that sends it; none over a disk of a test.
    pub fn as_file(&self) -> Option<&File> {
        self.file.as_file()
    }

    pub(super) fn seal(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Release);
    }

    /// Makes what was written durable. Once it has failed it always does: the system tells only once that it has lost
    /// pages, and a second sync would pass them for durable.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync().inspect_err(|_| self.broken.store(true, Ordering::Release))?;
        if self.broken.load(Ordering::Acquire) {
            return Err(io::Error::other("a sync of the file has failed before"));
        }
        Ok(())
    }

    pub(super) fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }
}

impl Default for OpenFiles {
    fn default() -> Self {
        let most = getrlimit(Resource::Nofile)
            .current
            .map_or(KEPT, |most| usize::try_from(most / 4).unwrap_or(KEPT));
        let kept = LruCache::new(NonZeroUsize::new(most.min(KEPT)).unwrap_or(NonZeroUsize::MIN));
        Self { table: Mutex::new(Table { files: HashMap::new(), kept }) }
    }
}

impl Table {
    /// Whether anybody but this table has the blob open.
    fn is_held(&self, digest: &Digest, file: &Weak<BlobFile>) -> bool {
        file.strong_count() > usize::from(self.kept.contains(digest))
    }
}

impl OpenFiles {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The file of a blob that somebody reads. One that is only kept is let go of: it has to be looked at again.
    fn get(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        let mut table = self.lock();
        let file = table.files.get(digest)?;
        if table.is_held(digest, file) {
            return file.upgrade();
        }
        let closed = table.kept.pop(digest);
        drop(table);
        drop(closed);
        None
    }

    /// Keeps a file open for who reads it next.
    fn keep(&self, digest: &Digest, file: &Arc<BlobFile>) {
        let closed = self.lock().kept.push(digest.clone(), Arc::clone(file));
        drop(closed);
    }

    /// A file that is kept open.
    fn kept(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        self.lock().kept.get(digest).cloned()
    }

    /// Keeps a file open no more.
    fn forget_kept(&self, digest: &Digest) {
        let closed = self.lock().kept.pop(digest);
        drop(closed);
    }

    /// Lets go of all files that nobody reads.
    pub(super) fn close_idle(&self) {
        let mut table = self.lock();
        let most = table.kept.cap();
        let closed = std::mem::replace(&mut table.kept, LruCache::new(most));
        drop(table);
        drop(closed);
    }

    /// Whether anybody has the blob open.
    pub(super) fn is_held(&self, digest: &Digest) -> bool {
        let table = self.lock();
        table.files.get(digest).is_some_and(|file| table.is_held(digest, file))
    }

    /// The blobs that somebody has open.
    pub(super) fn held(&self) -> HashSet<Digest> {
        let table = self.lock();
        let held = table.files.iter().filter(|(digest, file)| table.is_held(digest, file));
        held.map(|(digest, _)| digest.clone()).collect()
    }

    /// The blob whose open file this is, unless another has taken its place.
    pub(super) fn find(&self, file: &Arc<BlobFile>) -> Option<Digest> {
        let table = self.lock();
        let found = table.files.iter().find(|(_, open)| std::ptr::eq(open.as_ptr(), Arc::as_ptr(file)))?;
        Some(found.0.clone())
    }

    /// Forgets a file that loses its name; the file, where somebody may have it open.
    pub(super) fn take(&self, digest: &Digest) -> Option<Weak<BlobFile>> {
        let mut table = self.lock();
        let kept = table.kept.pop(digest);
        let taken = table.files.remove(digest);
        drop(table);
        drop(kept);
        taken
    }

    pub(super) fn forget(&self, digest: &Digest) {
        drop(self.take(digest));
    }

    /// Shares a file, or gives back the one that another thread shared first.
    fn share(&self, digest: &Digest, file: Arc<BlobFile>) -> Arc<BlobFile> {
        let mut table = self.lock();
        if let Some(first) = table.files.get(digest).and_then(Weak::upgrade) {
            return first;
        }
        if table.files.len() == table.files.capacity() {
            table.files.retain(|_, file| file.strong_count() > 0);
        }
        table.files.insert(digest.clone(), Arc::downgrade(&file));
        file
    }

    /// Shares the file of a fill that has just been committed, in place of any other.
    pub(super) fn replace(&self, digest: &Digest, file: &Arc<BlobFile>) {
        self.forget(digest);
        self.lock().files.insert(digest.clone(), Arc::downgrade(file));
    }
}

impl Core {
    pub(super) fn scratch(&self, content: &[u8]) -> io::Result<Arc<BlobFile>> {
        // It lies in what is kept free for the index, and nobody is given that while it is written.
        let _room = self.room();
        let budget = self.budget(&self.disk.space(self.layout.root()));
        if self.state().model.ledger.used().saturating_add(space_to_fill(content.len() as u64)) > budget {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let path = self.layout.scratch();
        let file = self.disk.open(&path, Access::Fresh)?;
        let written = file.write_at(content, 0);
        self.disk.remove(&path)?;
        written.map(|()| Arc::new(BlobFile::new(file, content.len() as u64, true)))
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<BlobInfo> {
        self.state().model.blob(digest).as_ref().map(BlobInfo::from)
    }

    /// Opens a committed blob and notes the use.
    pub(super) fn open_blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        if !self.state().model.has_blob(digest) {
            return Ok(None);
        }
        let file = match self.open.get(digest) {
            Some(file) => Some(file),
            None => self.inspect_blob(digest)?,
        };
        if let Some(file) = &file {
            self.open.keep(digest, file);
            self.change(|model| model.touch(digest));
        }
        Ok(file)
    }

    /// The open file of a committed blob, if it is kept open and still is, by its name and its figures, what was committed;
    /// notes the use.
    pub(super) fn blob_at_hand(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        let file = self.open.kept(digest)?;
        let used = file.file.meta_at_hand().and_then(|meta| {
            self.change(|model| {
                let is_same = model.blob(digest)?.is_same_file(&meta);
                is_same.then(|| model.touch(digest))
            })
        });
        if used.is_none() {
            // It may have lost its name, and takes space for as long as it is open.
            self.open.forget_kept(digest);
        }
        used.map(|()| file)
    }

    /// Opens a committed blob. What is not as it was committed is dropped, and is as if it had never been here; also what
    /// has lost its name while somebody has it open.
    pub(super) fn inspect_blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        let Some(entry) = self.state().model.blob(digest) else { return Ok(None) };
        // What is only kept open is not what others share.
        drop(self.open.get(digest));
        let path = self.layout.content(Tree::Blobs, digest);
        let opened = self.disk.open(&path, Access::Read);
        let Some(file) = found(opened, "open a blob")? else {
            let _room = self.room();
            let gone = self.change(|model| {
                // Unless it has been committed anew since we looked.
                let same = model.blob(digest).is_some_and(|now| now.inode == entry.inode);
                same.then(|| model.remove_blob(digest)).flatten()
            });
            if let Some(gone) = gone {
                if !gone.anonymous {
                    self.drop_marks(std::slice::from_ref(digest));
                }
                warn!(target: "roadstead::store", %digest, "the file of a blob is gone; it will be fetched again");
            }
            return Ok(None);
        };
        let meta = file.meta().map_err(StoreError::io("look at a blob"))?;
        if meta.len != entry.size {
            self.distrust_blob(digest, "its size has changed");
            return Ok(None);
        }
        let file = BlobFile::new(file, meta.len, true);
        if !entry.is_same_file(&meta) && !self.reexamine(digest, &file, &meta) {
            return Ok(None);
        }
        Ok(Some(self.open.share(digest, Arc::new(file))))
    }

    /// Takes over a blob's file that memory does not know, with what its marker says.
    pub(super) fn adopt_blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, StoreError> {
        if let Some(info) = self.blob(digest) {
            return Ok(Some(info));
        }
        let opened = self.disk.open(&self.layout.content(Tree::Blobs, digest), Access::Read);
        let Some(file) = found(opened, "open a blob")? else { return Ok(None) };
        let meta = file.meta().map_err(StoreError::io("look at a blob"))?;
        let through = sidecar::read_private(&*self.disk, &self.layout.private(digest))
            .map_err(StoreError::io("read where a blob came from"))?;
        let entry = BlobEntry::of(&meta, through.is_none());
        let info = BlobInfo::from(&entry);
        self.change(|model| {
            // Unless another thread was faster.
            if !model.has_blob(digest) {
                model.insert_blob_of(digest, entry, through.as_deref().unwrap_or_default());
            }
        });
        Ok(Some(info))
    }

    /// Writes anew the mark of a private blob that belongs to other repositories than it says. For who has the right to
    /// take names away.
    pub(super) fn refresh_mark(&self, digest: &Digest) -> io::Result<()> {
        let through = {
            let state = self.state();
            if !state.model.is_private(digest) {
                return Ok(());
            }
            state.model.repositories_of(digest)
        };
        sidecar::write_private(&*self.disk, &self.layout.private(digest), &through)
    }
}

impl From<&BlobEntry> for BlobInfo {
    fn from(entry: &BlobEntry) -> Self {
        Self { size: entry.size, anonymous: entry.anonymous }
    }
}
