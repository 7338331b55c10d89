//! A blob whose file has the right size but is not the one that was committed: a restored backup, a moved volume, which
//! should cost no transfer, or anything else.
//!
//! Its content decides, and it is read once, however many ask. A small one is read on the spot by the first; whoever asks
//! for the same one meanwhile waits for that. A large one becomes what a fill leaves that has every byte and has not
//! proven them: the fill of the next request reads it while it serves it, and no head of an answer waits for the whole.

use super::blobs::BlobFile;
use super::core::Core;
use super::fs::{self, Meta};
use super::layout::Tree;
use super::model::BlobEntry;
use super::ranges::Ranges;
use super::sidecar::RangesSidecar;
use crate::oci::{Digest, Hasher};
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tracing::{debug, info, warn};

/// The turns of those who read blobs again. Blobs that share one wait for each other, which is no harm.
#[derive(Debug, Default)]
pub(super) struct Turns([Mutex<()>; 16]);

impl Turns {
    fn of(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        let place = digest.as_bytes().first().map_or(0, |byte| usize::from(byte % 16));
        self.0[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Core {
    /// Whether an open file, which is not the one that was committed, may be read as the blob. If not, the blob is no
    /// longer one of the store's.
    pub(super) fn reexamine(&self, digest: &Digest, file: &BlobFile, meta: &Meta) -> bool {
        let _turn = self.turns.of(digest);
        // Whoever had the turn before has changed this.
        let Some(entry) = self.state().model.blob(digest) else { return false };
        if entry.is_same_file(meta) {
            return true;
        }
        if meta.len > self.policy.read_at_once && self.leave_to_a_fill(digest, &entry, meta) {
            return false;
        }
        self.read_again(digest, file, meta)
    }

    fn read_again(&self, digest: &Digest, file: &BlobFile, meta: &Meta) -> bool {
        match digest_of(file, digest) {
            Ok(found) if found == *digest => {}
            Ok(_) => {
                self.distrust_blob(digest, "it was replaced by something else");
                return false;
            }
            Err(error) => {
                warn!(target: "roadstead::store", %digest, %error, "the file of a blob was replaced by one that cannot be read");
                self.distrust_blob(digest, "it could not be read");
                return false;
            }
        }
        info!(target: "roadstead::store", %digest, "the file of a blob was replaced, but its content is right");
        self.change(|model| {
            model.change_blob(digest, |entry| (entry.inode, entry.mtime) = (meta.inode, meta.mtime));
        });
        true
    }

    /// Turns a blob into an unfinished one of which every byte is present; false when the disk does not let us.
    fn leave_to_a_fill(&self, digest: &Digest, entry: &BlobEntry, meta: &Meta) -> bool {
        let _room = self.room();
        let (there, filling) = {
            let state = self.state();
            let same = |now: &BlobEntry| (now.inode, now.mtime) == (entry.inode, entry.mtime);
            let filling = state.model.unfinished.get(digest).is_some_and(|former| former.filling);
            (state.model.blob(digest).as_ref().is_some_and(same), filling)
        };
        if !there || filling {
            // Evicted, or committed anew, since we looked.
            return !there;
        }
        if let Err(error) = self.make_unfinished(digest, entry, meta) {
            warn!(target: "roadstead::store", %digest, %error, "cannot put a replaced blob among the unfinished ones");
            self.change(|model| model.end_unfinished(digest));
            self.drop_record(digest);
            return false;
        }
        // After it has become an unfinished one: what is neither loses the repositories that are known to have it.
        self.change(|model| model.remove_blob(digest));
        self.open.forget(digest);
        if !entry.anonymous {
            // The record says so from here on.
            self.drop_marks(std::slice::from_ref(digest));
        }
        info!(target: "roadstead::store", %digest, "the file of a blob was replaced; it is verified as it is served next");
        true
    }

    fn make_unfinished(&self, digest: &Digest, entry: &BlobEntry, meta: &Meta) -> io::Result<()> {
        let (partials, partial) = (self.layout.partials(), self.layout.partial(digest));
        self.remove_record(digest)?;
        fs::remove(&*self.disk, &partial)?;
        let all: Ranges = std::iter::once(0..meta.len).collect();
        let sources = self.state().model.repositories_of(digest);
        RangesSidecar::new(meta.len, entry.anonymous, &all)
            .with_sources(&sources)
            .write(&*self.disk, &self.layout.ranges(digest))?;
        // Durable before the file that it speaks of comes: without a record it would be thrown away at the next start.
        self.disk.sync_dir(&partials)?;
        let left = super::model::now();
        self.change(|model| model.leave_unfinished(digest, meta.len, meta.allocated, left));
        self.disk.rename(&self.layout.content(Tree::Blobs, digest), &partial)?;
        for path in [&self.layout.shelf(Tree::Blobs, digest), &partials] {
            if let Err(error) = self.disk.sync_dir(path) {
                debug!(target: "roadstead::store", %digest, %error, "cannot sync a directory");
            }
        }
        Ok(())
    }
}

fn digest_of(file: &BlobFile, like: &Digest) -> io::Result<Digest> {
    let mut hasher = Hasher::new(like.algorithm());
    let mut buf = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        match file.read_at(&mut buf, position)? {
            0 => return Ok(hasher.finish()),
            read => {
                hasher.update(&buf[..read]);
                position += read as u64;
            }
        }
    }
}
