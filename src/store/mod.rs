//! Verified bytes by digest, on disk, within a budget; and what is known about them.
//!
//! ```text
//! VERSION LOCK CLEAN index.redb pins.json
//! blobs/sha256/ab/abcd…        committed content, verified before it got this name     (+ .private)
//! manifests/sha256/ab/abcd…    the same for manifests                                  (+ .json)
//! partial/sha256-abcd…         blobs on their way in                                   (+ .ranges)
//! quarantine/                  files that turned out wrong, the last few
//! ```
//!
//! **Owns** all files, and memory's picture of them: which blobs and manifests are here, what manifests name, which
//! repositories a digest is a member of, what tags stand for, what is pinned. It is the only code that touches a file system, through the
//! seam in [`fs`].
//!
//! **Guarantees.** A file under a final name was whole and durable before it got it. Questions about what is here are
//! answered from memory, never from the disk or the index. What is used, reservations included, stays within the budget;
//! what is pinned or read by somebody is never evicted, and what is read would stay readable if it were. A crash at any moment loses at most what was
//! not yet said to be durable, and nothing that is wrong is served after it. Trouble with the index is no trouble for
//! anybody who asks; trouble with a file makes it as if it had never been here.
//!
//! **Leaves to others** whether content is right (hashing while filling), who may have it (policy over
//! [`Store::is_member`] and [`Store::is_named`]), and where it comes from. All calls that touch the disk block: they say
//! so, and belong on a thread that may.

mod blobs;
mod candidates;
mod catalogue;
mod core;
mod doubt;
mod error;
mod evict;
pub mod fs;
mod health;
mod index;
mod layout;
mod lock;
mod losses;
mod manifests;
mod model;
mod partial;
mod pinned;
mod policy;
mod ranges;
mod recover;
mod room;
mod scrub;
mod sidecar;
mod watched;

#[cfg(test)]
mod tests;

pub use blobs::{BlobFile, BlobInfo};
pub use catalogue::{
    Change, Closure, ForgetError, Forgotten, Kept, Kind, Needed, Pin, PinError, Standing, Tagged, Wanted, Why,
};
pub use error::{OpenError, StoreError};
pub use losses::Lost;
pub use manifests::{Seen, StoredManifest};
pub use model::{Binding, Link, PinRule, Role};
pub use partial::{Partial, Recorded};
pub use ranges::Ranges;
pub use room::Room;
pub use scrub::Scrub;

use self::core::Core;
use crate::oci::{Digest, Repository, Tag};
use bytes::Bytes;
use fs::Disk;
use layout::Layout;
use lock::Lock;
use policy::Policy;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tracing::warn;

/// Where a store is and how much it may take.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its directory; made when it is not there.
    pub path: PathBuf,
    /// What it may use in all.
    pub max_bytes: Budget,
    /// The largest blob that it takes.
    pub max_blob: Option<u64>,
    /// How it looks for what rots.
    pub scrub: Scrub,
    /// Which tags are pinned, beside those that are by name.
    pub pins: Vec<PinRule>,
}

/// How much a store may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// Bytes.
    Bytes(u64),
    /// A part of the file system that the store is on, in percent.
    Percent(u8),
}

/// Bytes by what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    /// Committed blobs.
    pub blobs: u64,
    /// Manifests, with what is known of them.
    pub manifests: u64,
    /// Blobs that are not whole, at their full size while they are filled.
    pub unfinished: u64,
    /// Files put aside.
    pub quarantine: u64,
    /// The index.
    pub index: u64,
    /// Files that are gone and still read.
    pub lingering: u64,
}

/// What a store holds, and how it fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Bytes that count against the budget, reservations included.
    pub used_bytes: u64,
    /// The same by what they are.
    pub used: Used,
    /// The budget, as it was when room was last made.
    pub max_bytes: u64,
    /// Committed blobs.
    pub blobs: u64,
    /// Stored manifests.
    pub manifests: u64,
    /// Blobs that are not whole, filling or left.
    pub unfinished: u64,
    /// Blobs and manifests evicted in this run.
    pub evicted: u64,
    /// The manifests among them.
    pub evicted_manifests: u64,
    /// Parts of blobs that were evicted in this run.
    pub evicted_unfinished: u64,
    /// Their bytes.
    pub evicted_bytes: u64,
    /// Files put aside in this run because they could not be trusted.
    pub quarantined: u64,
    /// Whether the index cannot be written.
    pub index_degraded: bool,
    /// Whether the disk did not take what was last written of blobs or manifests.
    pub writes_failing: bool,
    /// Bytes that were read again in this run, to see whether they are still right.
    pub scrubbed_bytes: u64,
    /// Files that were not.
    pub scrub_found: u64,
    /// Tags and digests that are pinned, by name or by a rule.
    pub pins: u64,
    /// What they take, or would if all of it were here that is known of: as of some seconds ago. When it comes near to
    /// `max_bytes`, there is room for nothing else; beyond that, not all that is pinned can be kept.
    pub pinned_bytes: u64,
    /// Whether the file that says what is pinned by name was there at the start and could not be read.
    pub pins_lost: bool,
}

/// A store, open and owned by this process. Clones are the same store.
#[derive(Clone, Debug)]
pub struct Store {
    owner: Arc<Owner>,
}

/// What has to end with the store.
#[derive(Debug)]
struct Owner {
    core: Arc<Core>,
    threads: Mutex<Threads>,
}

#[derive(Debug)]
struct Threads {
    index: Option<JoinHandle<()>>,
    walk: Option<JoinHandle<()>>,
    scrub: Option<JoinHandle<()>>,
    lock: Option<Lock>,
}

impl Store {
    /// Opens the store in a directory, and makes it when there is none. Blocks; after an orderly end it reads the index
    /// and two short directories, whatever the store's size.
    pub fn open(disk: Arc<dyn Disk>, options: Options) -> Result<Self, OpenError> {
        Self::open_with(disk, &options, Policy::default())
    }

    /// Whether a directory is a store, of whatever version. Blocks.
    pub fn is_at(disk: &dyn Disk, path: &Path) -> bool {
        lock::is_store(disk, &Layout::new(path))
    }

    fn open_with(disk: Arc<dyn Disk>, options: &Options, policy: Policy) -> Result<Self, OpenError> {
        let layout = Layout::new(&options.path);
        let lock = lock::acquire(&*disk, &layout)?;
        let core = Arc::new(Core::new(disk, layout, options, policy));
        core.learn_budget();
        let (index, loaded) = recover::load_index(&core);
        core.load_pins();
        core.change(|model| model.pin_by(options.pins.clone()));
        let leftovers = core.layout.partials();
        recover::count_leftovers(&core).map_err(OpenError::io("list", &leftovers))?;
        let clean = core.take_clean_mark()?;
        let walk = match loaded {
            recover::Loaded::Nothing => {
                recover::reconcile(&core);
                None
            }
            recover::Loaded::Index if clean => {
                core.settled.store(true, Ordering::Release);
                core.manifests_are_known();
                core.change(model::Model::prune);
                core.trim();
                None
            }
            recover::Loaded::Index => {
                core.set_walking(true);
                let core = core.clone();
                Some(spawn("store-walk", move || recover::reconcile(&core))?)
            }
        };
        let thread = {
            let core = core.clone();
            spawn("store-index", move || index::journal::run(&core, index))?
        };
        let scrub = match options.scrub {
            Scrub { rate: 0, .. } => None,
            scrub => {
                let core = core.clone();
                Some(spawn("store-scrub", move || scrub::run(&core, scrub))?)
            }
        };
        let threads = Threads { index: Some(thread), walk, scrub, lock: Some(lock) };
        Ok(Self { owner: Arc::new(Owner { core, threads: Mutex::new(threads) }) })
    }

    /// Makes everything durable, marks the end as orderly and gives the directory free. Blocks. What is called
    /// afterwards still reads, and may still write, but the next start will have to look for it.
    pub fn close(&self) {
        self.owner.end(true);
    }

    /// Waits until everything that was said before is durable; false when the index cannot be written. Blocks.
    pub fn flush(&self) -> bool {
        self.owner.core.flush()
    }

    /// An open file of this content and without a name, to try things with. Blocks.
    ///
    /// # Errors
    /// What the disk said, or that there is no room for it; nothing goes to make some.
    pub fn scratch(&self, content: &[u8]) -> std::io::Result<Arc<BlobFile>> {
        self.core().scratch(content)
    }

    /// A committed blob, from memory.
    pub fn blob(&self, digest: &Digest) -> Option<BlobInfo> {
        self.core().blob(digest)
    }

    /// Whether the disk answers who reads what is stored; while it does not, one is let through now and then. From memory.
    pub fn answers_reads(&self) -> bool {
        let core = self.core();
        core.health.answers_reads(core.layout.root())
    }

    /// The open file of a committed blob, one for all who read it; notes the use. Blocks. A file that is gone or not what
    /// was committed is dropped, and there is none.
    pub fn open_blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        self.core().open_blob(digest)
    }

    /// The same where the file is open anyway and still is what was committed; waits for no disk.
    pub fn blob_at_hand(&self, digest: &Digest) -> Option<Arc<BlobFile>> {
        self.core().blob_at_hand(digest)
    }

    /// As [`Store::open_blob`], but this is no use: for proofs and copies, which leave the order as it is in which others
    /// are evicted. Blocks.
    pub fn inspect_blob(&self, digest: &Digest) -> Result<Option<Arc<BlobFile>>, StoreError> {
        self.core().inspect_blob(digest)
    }

    /// Looks for a blob's file that memory does not know yet, which can be only for a while after a crash: for a lookup
    /// that would go upstream otherwise. Blocks.
    pub fn adopt_blob(&self, digest: &Digest) -> Result<Option<BlobInfo>, StoreError> {
        if self.core().is_settled() { Ok(self.blob(digest)) } else { self.core().adopt_blob(digest) }
    }

    /// The same for a manifest, with its tags and memberships.
    pub fn adopt_manifest(&self, digest: &Digest) -> Result<bool, StoreError> {
        if self.core().is_settled() {
            Ok(self.has_manifest(digest))
        } else {
            self.core().adopt_manifest(digest)
        }
    }

    /// A read of a committed blob's open file failed, or what it gave was wrong: drops the blob and puts its file aside,
    /// unless it has another file by now. Blocks.
    pub fn distrust(&self, file: &Arc<BlobFile>) {
        self.core().distrust_file(file);
    }

    /// Begins to fill a blob of that size, or goes on where a former fill stopped. Reserves all of it, for which others
    /// may be evicted. Blocks.
    pub fn partial(&self, digest: &Digest, size: u64) -> Result<Partial, StoreError> {
        Partial::open(self.core(), digest, size)
    }

    /// Whether a fill has left something of a blob, or is under way; from memory.
    pub fn is_unfinished(&self, digest: &Digest) -> bool {
        self.core().state().model.unfinished.contains_key(digest)
    }

    /// What was last recorded of an unfinished blob. Blocks.
    pub fn recorded(&self, digest: &Digest) -> Option<Recorded> {
        self.core().recorded(digest)
    }

    /// The unfinished blobs that nobody fills, the last left first; from memory.
    pub fn unfinished(&self) -> Vec<Digest> {
        self.core().state().model.idle_unfinished()
    }

    /// A stored manifest, verified as it is read; notes the use. Blocks.
    pub fn manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, StoreError> {
        self.core().manifest(digest)
    }

    /// As [`Store::manifest`], but this is no use, as with [`Store::inspect_blob`]. Blocks.
    pub fn inspect_manifest(&self, digest: &Digest) -> Result<Option<StoredManifest>, StoreError> {
        self.core().inspect_manifest(digest)
    }

    /// Whether the manifest is here, from memory.
    pub fn has_manifest(&self, digest: &Digest) -> bool {
        self.core().state().model.has_manifest(digest)
    }

    /// Whether a stored manifest came without credentials; none when it is not here. From memory.
    pub fn is_manifest_anonymous(&self, digest: &Digest) -> Option<bool> {
        self.core().state().model.manifest(digest).map(model::Manifest::anonymous)
    }

    /// Keeps a verified manifest with what it names, as a member of the repository it came through; a tag it was asked
    /// by is bound to it. Blocks.
    pub fn put_manifest(
        &self,
        digest: &Digest,
        media_type: &str,
        bytes: &Bytes,
        anonymous: bool,
        seen: &Seen,
    ) -> Result<(), StoreError> {
        self.core().put_manifest(digest, media_type, bytes, anonymous, seen)
    }

    /// What a tag stood for when upstream was last asked, from memory.
    pub fn binding(&self, upstream: &str, repository: &Repository, tag: &Tag) -> Option<Binding> {
        self.core().state().model.binding(upstream, repository, tag)
    }

    /// The tags of a repository that stand for something, from memory.
    pub fn tags(&self, upstream: &str, repository: &Repository) -> Vec<Tag> {
        self.core().state().model.tags_of(upstream, repository)
    }

    /// Notes what a tag stands for; durable within a second.
    pub fn bind(
        &self,
        upstream: &str,
        repository: &Repository,
        tag: &Tag,
        digest: &Digest,
        confirmed: SystemTime,
    ) {
        self.core().change(|model| {
            let repo = model.intern(upstream, repository);
            model.bind(repo, tag, digest, model::millis(confirmed));
        });
    }

    /// The same where nothing later is known of the tag; whether it is so.
    pub fn bind_unless_newer(
        &self,
        upstream: &str,
        repository: &Repository,
        tag: &Tag,
        digest: &Digest,
        confirmed: SystemTime,
    ) -> bool {
        self.core().change(|model| {
            let (repo, confirmed) = (model.intern(upstream, repository), model::millis(confirmed));
            let known = model.bindings.get(&repo).and_then(|tags| tags.get(tag));
            let is_latest = known.is_none_or(|known| known.confirmed <= confirmed);
            if is_latest {
                model.bind(repo, tag, digest, confirmed);
            }
            is_latest
        })
    }

    /// What there is room for where these blobs have to stay. Asks the disk.
    pub fn room_beside(&self, keep: &HashSet<Digest>) -> Room {
        self.core().room_beside(keep)
    }

    /// Which images have lost something to make room since the moment that [`Room::mark`] tells.
    pub fn lost_since(&self, mark: u64) -> Lost {
        self.core().losses().since(mark)
    }

    /// Notes what digests belong to repositories, and what tags stand for, confirmed then, all at once: the index has all of
    /// it or nothing. Durable within a second.
    pub fn enter<'a>(
        &self,
        members: impl IntoIterator<Item = (&'a str, &'a Repository, &'a Digest)>,
        bindings: impl IntoIterator<Item = (&'a str, &'a Repository, &'a Tag, &'a Digest, SystemTime)>,
    ) {
        self.core().change(|model| {
            for (upstream, repository, digest) in members {
                let repo = model.intern(upstream, repository);
                model.add_member(repo, digest);
            }
            for (upstream, repository, tag, digest, confirmed) in bindings {
                let repo = model.intern(upstream, repository);
                model.bind(repo, tag, digest, model::millis(confirmed));
            }
        });
    }

    /// Notes since when upstream says that there is no such tag, for whoever serves it in spite of that. The first time
    /// counts, until the tag is bound anew; durable within a second.
    pub fn mark_gone(&self, upstream: &str, repository: &Repository, tag: &Tag, since: SystemTime) {
        self.core().change(|model| {
            if let Some(repo) = model.names.find(upstream, repository) {
                model.mark_gone(repo, tag, model::millis(since));
            }
        });
    }

    /// Forgets a tag: upstream said that there is none.
    pub fn unbind(&self, upstream: &str, repository: &Repository, tag: &Tag) {
        self.core().change(|model| {
            if let Some(repo) = model.names.find(upstream, repository) {
                model.unbind(repo, tag);
            }
        });
    }

    /// Whether memory knows every manifest that is here, and with them who is a member of what. It does not for a while
    /// after a crash.
    pub fn knows_manifests(&self) -> bool {
        self.core().knows_manifests()
    }

    /// Waits until it does, but not longer than this. Blocks.
    pub fn await_manifests(&self, at_most: Duration) -> bool {
        self.core().await_manifests(at_most)
    }

    /// Whether a digest is known to belong to a repository, from memory.
    pub fn is_member(&self, upstream: &str, repository: &Repository, digest: &Digest) -> bool {
        self.core().state().model.is_member(upstream, repository, digest)
    }

    /// Notes that a digest belongs to a repository.
    pub fn add_member(&self, upstream: &str, repository: &Repository, digest: &Digest) {
        self.core().change(|model| {
            let repo = model.intern(upstream, repository);
            model.add_member(repo, digest);
        });
    }

    /// Whether a stored manifest that is a member of the repository names the digest, and the size that it gives, 0 where
    /// it gives none. From memory. It says nothing of whether the bytes may be shown: that somebody names a digest is no
    /// proof that he has it.
    pub fn is_named(&self, upstream: &str, repository: &Repository, digest: &Digest) -> Option<u64> {
        self.core().state().model.named(upstream, repository, digest)
    }

    /// The repositories, with their upstreams, that are known to have a digest or have a manifest here that names it. From
    /// memory. For where to ask, not for who may be shown it.
    pub fn holders(&self, digest: &Digest) -> Vec<(String, Repository)> {
        self.core().state().model.holders(digest)
    }

    /// Notes the use of a blob or manifest that was served from elsewhere, from memory for one.
    pub fn touch(&self, digest: &Digest) {
        self.core().change(|model| model.touch(digest));
    }

    /// Notes the use of a manifest, if nothing has changed since that [`Self::version`]. Whether it is so.
    pub fn touch_as_of(&self, version: u64, digest: &Digest) -> bool {
        self.core().change(|model| {
            let holds = model.version == version;
            if holds {
                model.touch_manifest(digest);
            }
            holds
        })
    }

    /// How often there was a change of what tags stand for, of what belongs where, or of which manifests are here. From memory.
    pub fn version(&self) -> u64 {
        self.core().state().model.version
    }

    /// What the store holds, and how it fares; from memory. A budget that is a part of the file system is what it was when
    /// room was last made.
    pub fn stats(&self) -> Stats {
        self.core().stats()
    }

    fn core(&self) -> &Arc<Core> {
        &self.owner.core
    }
}

impl Owner {
    /// Ends the threads and the ownership of the directory; later calls do nothing.
    fn end(&self, clean: bool) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if clean && threads.lock.is_some() {
            // The index may have grown while all else was being read; nothing is read any more.
            self.core.trim();
        }
        self.core.stop();
        for thread in [threads.walk.take(), threads.scrub.take(), threads.index.take()].into_iter().flatten()
        {
            if thread.join().is_err() {
                warn!(target: "roadstead::store", "a thread of the store has panicked");
            }
        }
        if let Some(lock) = threads.lock.take() {
            let state = self.core.state();
            let known = self.core.is_settled() && !state.degraded && state.model.dirty.is_empty();
            drop(state);
            if clean && known {
                self.core.leave_clean_mark();
            }
            drop(lock);
        }
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.end(false);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map_err(OpenError::io("start a thread for", Path::new(name)))
}
