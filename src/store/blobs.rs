//! Bytes of blobs: open files, shared by all who read them.
//!
//! A file is looked at when it is opened, and trusted while it is open: nobody but us writes here, and what is
//! unlinked stays readable to those who have it. There is at most one open file per blob that somebody uses; the table
//! holds it weakly, so that it closes with its last reader, and eviction can see who is read.

use super::core::{Core, found};
use super::error::StoreError;
use super::fs::{Access, DiskFile, Meta};
use super::layout::Tree;
use super::model::BlobEntry;
use super::sidecar;
use crate::oci::Digest;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
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
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    table: Mutex<HashMap<Digest, Weak<BlobFile>>>,
}

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
        let fits = offset.checked_add(buf.len() as u64).is_some_and(|end| end <= self.size);
        if !fits || self.sealed.load(Ordering::Acquire) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.file.write_at(buf, offset)
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

impl OpenFiles {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Weak<BlobFile>>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        self.lock().get(digest)?.upgrade()
    }

    /// Whether anybody has the blob open.
    pub(super) fn is_held(&self, digest: &Digest) -> bool {
        self.lock().get(digest).is_some_and(|file| file.strong_count() > 0)
    }

    /// The blobs that somebody has open.
    pub(super) fn held(&self) -> HashSet<Digest> {
        let table = self.lock();
        let held = table.iter().filter(|(_, file)| file.strong_count() > 0);
        held.map(|(digest, _)| digest.clone()).collect()
    }

    /// The blob whose open file this is, unless another has taken its place.
    pub(super) fn find(&self, file: &Arc<BlobFile>) -> Option<Digest> {
        let table = self.lock();
        let found = table.iter().find(|(_, open)| std::ptr::eq(open.as_ptr(), Arc::as_ptr(file)))?;
        Some(found.0.clone())
    }

    /// Forgets a file that loses its name; the file, where somebody may have it open.
    pub(super) fn take(&self, digest: &Digest) -> Option<Weak<BlobFile>> {
        self.lock().remove(digest)
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.lock().remove(digest);
    }

    /// Shares a file, or gives back the one that another thread shared first.
    fn share(&self, digest: &Digest, file: Arc<BlobFile>) -> Arc<BlobFile> {
        let mut table = self.lock();
        if let Some(first) = table.get(digest).and_then(Weak::upgrade) {
            return first;
        }
        if table.len() == table.capacity() {
            table.retain(|_, file| file.strong_count() > 0);
        }
        table.insert(digest.clone(), Arc::downgrade(&file));
        file
    }

    /// Shares the file of a fill that has just been committed, in place of any other.
    pub(super) fn replace(&self, digest: &Digest, file: &Arc<BlobFile>) {
        self.lock().insert(digest.clone(), Arc::downgrade(file));
    }
}

impl Core {
    pub(super) fn scratch(&self, content: &[u8]) -> io::Result<Arc<BlobFile>> {
        let path = self.layout.scratch();
        let file = self.disk.open(&path, Access::Fresh)?;
        let written = file.write_at(content, 0);
        self.disk.remove(&path)?;
        written.map(|()| Arc::new(BlobFile::new(file, content.len() as u64, true)))
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<BlobInfo> {
        self.state().model.blobs.peek(digest).map(BlobInfo::from)
    }

    /// Opens a committed blob and notes the use.
    pub(super) fn open_blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        if !self.state().model.blobs.contains(digest) {
            return Ok(None);
        }
        let file = match self.open.get(digest) {
            Some(file) => Some(file),
            None => self.inspect_blob(digest)?,
        };
        if file.is_some() {
            self.change(|model| model.touch(digest));
        }
        Ok(file)
    }

    /// Opens a committed blob. What is not as it was committed is dropped, and is as if it had never been here; also what
    /// has lost its name while somebody has it open.
    pub(super) fn inspect_blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        let Some(entry) = self.state().model.blobs.peek(digest).cloned() else { return Ok(None) };
        let path = self.layout.content(Tree::Blobs, digest);
        let opened = self.disk.open(&path, Access::Read);
        let Some(file) = found(opened, "open a blob")? else {
            let _room = self.room();
            let gone = self.change(|model| {
                // Unless it has been committed anew since we looked.
                let same = model.blobs.peek(digest).is_some_and(|now| now.inode == entry.inode);
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
            if !model.blobs.contains(digest) {
                model.insert_blob(digest, entry);
            }
            for (upstream, repository) in through.into_iter().flatten() {
                let repo = model.intern(&upstream, &repository);
                model.add_member(repo, digest);
            }
        });
        Ok(Some(info))
    }
}

impl From<&BlobEntry> for BlobInfo {
    fn from(entry: &BlobEntry) -> Self {
        Self { size: entry.size, anonymous: entry.anonymous }
    }
}
