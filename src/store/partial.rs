//! A blob on its way in: its file, the record of what is present, and its end.
//!
//! The rule that makes a crash cost nothing: bytes may be written in any order and without sync, because the record of
//! present ranges is written only after the bytes it speaks of are durable, and is durably gone before a new file takes
//! the old one's name. What a record names is there; it is not proven to be right until the whole has been hashed, which
//! is for the one who fills.

use super::blobs::BlobFile;
use super::core::{Core, found};
use super::error::StoreError;
use super::fs::{self, Access};
use super::layout::Tree;
use super::model::{BlobEntry, now, space_to_fill};
use super::ranges::Ranges;
use super::sidecar::{self, RangesSidecar};
use crate::oci::{Digest, Repository};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::debug;

/// What a fill left of a blob, for planning and to go on with; not proven to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The size of the whole blob.
    pub size: u64,
    /// What of it is on the disk.
    pub present: Ranges,
    /// The upstreams and repositories that were said to have it, the longest known first. Nobody else may be shown what
    /// did not come without credentials.
    pub sources: Vec<(String, Repository)>,
    /// Whether all that is present came without credentials.
    pub anonymous: bool,
}

/// An unfinished blob, owned by the one who fills it: while this lives its full size is reserved, and nobody else gets
/// one for the same digest. Dropped without an end, its bytes stay, as far as they were recorded.
#[derive(Debug)]
pub struct Partial {
    core: Arc<Core>,
    digest: Digest,
    file: Arc<BlobFile>,
    former: Ranges,
    /// Whether what a former fill left came without credentials.
    former_anonymous: bool,
    /// Whether what this fill wrote did.
    anonymous: AtomicBool,
    /// The repositories that upstream has said to have it, also in former fills.
    sources: Mutex<Vec<(String, Repository)>>,
    ended: bool,
}

impl Partial {
    /// Begins or goes on with a blob of that size.
    pub(super) fn open(core: &Arc<Core>, digest: &Digest, size: u64) -> Result<Self, StoreError> {
        if core.max_blob.is_some_and(|most| size > most) {
            return Err(StoreError::TooLarge);
        }
        let former = core.reserve(space_to_fill(size), Some(digest), |model| {
            let former = model.unfinished.get(digest).cloned();
            model.start_filling(digest, size);
            Ok(former)
        })?;
        // Undone by the guard if a step fails.
        let reserved = Reservation { core, digest, size, is_left: former.is_some(), kept: false };
        let (file, record) = match reopen(core, digest, size)? {
            Some(found) => found,
            None => {
                let file = start(core, digest, size)?;
                if let Some(former) = former {
                    core.change(|model| model.linger(former.file, former.counted));
                }
                (file, RangesSidecar::new(size, true, &Ranges::new()))
            }
        };
        let file = Arc::new(BlobFile::new(file, size, false));
        reserved.keep(&file);
        Ok(Self {
            core: core.clone(),
            digest: digest.clone(),
            file,
            former: record.present(),
            former_anonymous: record.anonymous,
            anonymous: AtomicBool::new(false),
            sources: Mutex::new(record.sources()),
            ended: false,
        })
    }

    /// The file, to write to and to read from while it is filled; after [`commit`](Self::commit) it is the blob's.
    pub fn file(&self) -> Arc<BlobFile> {
        self.file.clone()
    }

    /// What a former fill left, recorded after it was durable; not proven to be right.
    pub fn present(&self) -> Ranges {
        self.former.clone()
    }

    /// Says whether everything that this fill has written came without credentials. Until it is said, it did not; it
    /// matters for what is recorded from then on.
    pub fn set_anonymous(&self, anonymous: bool) {
        self.anonymous.store(anonymous, Ordering::Relaxed);
    }

    /// Says that upstream has the blob in these repositories, beside those that are known. It is written with what is
    /// recorded from then on.
    pub fn add_sources(&self, sources: impl IntoIterator<Item = (String, Repository)>) {
        let mut known = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        for source in sources {
            if !known.contains(&source) {
                known.push(source);
            }
        }
    }

    /// The repositories that upstream has said to have the blob, in this fill and in former ones.
    pub fn sources(&self) -> Vec<(String, Repository)> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes what was written durable and then records it as present, durably. Only bytes whose write has returned may be named.
    pub fn record(&self, present: &Ranges) -> io::Result<()> {
        self.file.sync()?;
        let anonymous = self.former_anonymous && self.anonymous.load(Ordering::Relaxed);
        let record = RangesSidecar::new(self.file.size(), anonymous, present).with_sources(&self.sources());
        record.write(&*self.core.disk, &self.core.layout.ranges(&self.digest))?;
        // The names of both: what was fetched for an hour should not go with the power.
        self.core.disk.sync_dir(&self.core.layout.partials())
    }

    /// Makes the blob one of the store's, under a repository it came through. The caller has seen its digest to be
    /// right. It can be found from the moment it has its name; the index follows. When this fails, the bytes stay.
    pub fn commit(
        mut self,
        anonymous: bool,
        upstream: &str,
        repository: &Repository,
    ) -> Result<(), StoreError> {
        let core = self.core.clone();
        let anonymous = anonymous && self.former_anonymous;
        self.file.seal(true);
        let through = core.through(&self.digest, upstream, repository);
        let meta = self.settle(anonymous, &through).inspect_err(|_| self.file.seal(false))?;

        core.drop_record(&self.digest);
        core.open.replace(&self.digest, &self.file);
        core.change(|model| {
            // In this order: what is neither stored nor unfinished loses the repositories that are known to have it.
            model.insert_blob_of(&self.digest, BlobEntry::of(&meta, anonymous), &through);
            model.end_unfinished(&self.digest);
            model.dirty.committed.push((self.digest.clone(), meta.len));
        });
        self.ended = true;
        core.sync_partials();
        core.health.stored();
        Ok(())
    }

    /// Gives the file its name among the blobs.
    fn settle(&self, anonymous: bool, through: &[(String, Repository)]) -> Result<fs::Meta, StoreError> {
        let core = &*self.core;
        self.file.sync().map_err(StoreError::io("sync a blob"))?;
        let meta = self.file.meta().map_err(StoreError::io("look at a blob"))?;
        let from = core.layout.partial(&self.digest);
        let to = core.layout.content(Tree::Blobs, &self.digest);
        core.on_shelf(Tree::Blobs, &self.digest, |shelf| {
            if !anonymous {
                // Durable before the blob is: a blob without this marker is anybody's.
                sidecar::write_private(&*core.disk, &core.layout.private(&self.digest), through)?;
                core.disk.sync_dir(shelf)?;
            }
            core.disk.rename(&from, &to)?;
            if let Err(error) = core.disk.sync_dir(shelf) {
                // It has its name. Should a power loss take that back, the blob is fetched again.
                debug!(target: "roadstead::store", digest = %self.digest, %error, "cannot sync a directory of blobs");
            }
            Ok(())
        })
        .map_err(StoreError::io("give a blob its name"))?;
        Ok(meta)
    }

    /// The bytes are wrong: puts the file aside for people to look at, so that the next fill starts from nothing.
    pub fn set_aside(mut self) {
        self.ended = true;
        let allocated = self.allocated();
        self.core.drop_record(&self.digest);
        let path = self.core.layout.partial(&self.digest);
        self.core.quarantine_with(
            &path,
            &self.digest,
            allocated,
            "its content has another digest",
            |model| {
                model.end_unfinished(&self.digest);
            },
        );
        self.core.sync_partials();
    }

    /// Stops filling for now: records what is present, and leaves it for the next fill.
    pub fn keep(self, present: &Ranges) {
        if let Err(error) = self.record(present) {
            debug!(
                target: "roadstead::store", digest = %self.digest, %error,
                "cannot record what is present of an unfinished blob; what was recorded before stays",
            );
        }
    }

    /// Gives the blob up, and its bytes with it.
    pub fn discard(mut self) {
        self.ended = true;
        self.core.drop_record(&self.digest);
        self.core.unlink(&self.core.layout.partial(&self.digest));
        let (file, allocated) = (Arc::downgrade(&self.file), self.allocated());
        self.core.change(|model| {
            model.end_unfinished(&self.digest);
            model.linger(file, allocated);
        });
    }

    fn allocated(&self) -> u64 {
        let whole = self.file.size();
        self.file.meta().map_or(whole, |meta| meta.allocated.min(whole))
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.ended {
            let allocated = self.allocated();
            self.core.change(|model| {
                model.leave_unfinished(&self.digest, self.file.size(), allocated, now());
            });
        }
    }
}

/// The space of a fill whose file is not open yet.
struct Reservation<'a> {
    core: &'a Core,
    digest: &'a Digest,
    size: u64,
    /// Whether a former fill left something.
    is_left: bool,
    kept: bool,
}

impl Reservation<'_> {
    fn keep(mut self, file: &Arc<BlobFile>) {
        self.kept = true;
        self.core.change(|model| {
            if let Some(entry) = model.unfinished.get_mut(self.digest) {
                entry.file = Arc::downgrade(file);
            }
        });
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        if self.kept {
            return;
        }
        let left = self.core.disk.open(&self.core.layout.partial(self.digest), Access::Read);
        let allocated = match left.and_then(|file| file.meta()) {
            Ok(meta) => Some(meta.allocated),
            // What cannot be looked at is still there, and may be all of it.
            Err(error) if self.is_left && error.kind() != io::ErrorKind::NotFound => Some(self.size),
            Err(_) => None,
        };
        self.core.change(|model| match allocated {
            Some(allocated) => model.leave_unfinished(self.digest, self.size, allocated, now()),
            None => model.end_unfinished(self.digest),
        });
    }
}

/// The file that a former fill left, and its record.
type Left = (Box<dyn fs::DiskFile>, RangesSidecar);

/// What a former fill left, if its record and its file agree with each other and with the size asked for.
fn reopen(core: &Core, digest: &Digest, size: u64) -> Result<Option<Left>, StoreError> {
    let record = RangesSidecar::read(&*core.disk, &core.layout.ranges(digest))
        .map_err(StoreError::io("read what is present of a blob"))?;
    let Some(record) = record.filter(|record| record.size == size) else { return Ok(None) };
    let opened = core.disk.open(&core.layout.partial(digest), Access::Write);
    let Some(file) = found(opened, "open an unfinished blob")? else { return Ok(None) };
    let len = file.meta().map_err(StoreError::io("look at an unfinished blob"))?.len;
    Ok((len == size).then_some((file, record)))
}

/// A new file, after the record of any former one is durably gone.
fn start(core: &Core, digest: &Digest, size: u64) -> Result<Box<dyn fs::DiskFile>, StoreError> {
    let step = || {
        core.remove_record(digest)?;
        // Not cut to nothing: readers of the fill that left it may still have it open.
        fs::remove(&*core.disk, &core.layout.partial(digest))?;
        if !core.sync_partials() {
            return Err(io::Error::other("the directory of unfinished blobs cannot be synced"));
        }
        let file = core.disk.open(&core.layout.partial(digest), Access::Fresh)?;
        if let Err(error) = file.set_len(size) {
            let _ = fs::remove(&*core.disk, &core.layout.partial(digest));
            return Err(error);
        }
        Ok(file)
    };
    core.on_directories(step).map_err(StoreError::io("start a blob"))
}

impl Core {
    /// The repositories that a blob belongs to: the one it came through, and those that are known besides.
    fn through(&self, digest: &Digest, upstream: &str, repository: &Repository) -> Vec<(String, Repository)> {
        let own = (upstream.to_owned(), repository.clone());
        let mut through = self.state().model.repositories_of(digest);
        if !through.contains(&own) {
            through.push(own);
        }
        through
    }

    /// Removes the record of what is present; it may come back after a power loss until the directory is synced.
    pub(super) fn remove_record(&self, digest: &Digest) -> io::Result<()> {
        let path = self.layout.ranges(digest);
        match self.disk.remove(&path) {
            Ok(()) => {
                self.records_removed.store(true, Ordering::Release);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn drop_record(&self, digest: &Digest) {
        if let Err(error) = self.remove_record(digest) {
            debug!(target: "roadstead::store", %digest, %error, "cannot remove the record of an unfinished blob");
        }
    }

    /// Makes the removal of records durable, if there was any; false when that fails.
    pub(super) fn sync_partials(&self) -> bool {
        if !self.records_removed.swap(false, Ordering::AcqRel) {
            return true;
        }
        let synced = self.disk.sync_dir(&self.layout.partials());
        if let Err(error) = &synced {
            self.records_removed.store(true, Ordering::Release);
            debug!(target: "roadstead::store", %error, "cannot sync the directory of unfinished blobs");
        }
        synced.is_ok()
    }
}
