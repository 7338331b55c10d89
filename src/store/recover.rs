//! Coming back: after an orderly end nothing is looked at, after any other the files are walked behind the serving
//! store's back, and when the index cannot be used it is made again from them.
//!
//! A file under its final name is content that was verified and synced, so finding one is enough to have it; until the
//! walk is done, whoever misses something may look for its file himself (`adopt`). What the walk never does is to trust
//! more than that: ranges come from their records, membership from sidecars.

use super::core::Core;
use super::fs::{Access, TEMPORARY};
use super::index::{Index, IndexError};
use super::layout::{ALGORITHMS, RANGES, Tree, parse_flat, parse_hex};
use super::model::{Model, Unfinished, now};
use super::partial::Recorded;
use super::sidecar::RangesSidecar;
use crate::oci::Digest;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering;
use tracing::{info, warn};

/// How much of memory came from the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loaded {
    /// All that was in it.
    Index,
    /// Nothing: it is new, or was put aside.
    Nothing,
}

/// Opens the index and fills the model from it. An index that cannot be used is put aside; when the disk does not even
/// take a new one, the store starts without.
pub(super) fn load_index(core: &Core) -> (Option<Index>, Loaded) {
    let path = core.layout.index();
    core.unlink(&core.layout.new_index());
    let opened = Index::open(&*core.disk, &path, Access::Create).and_then(|index| Ok((index.load()?, index)));
    let error = match opened {
        Ok((Some(model), index)) => {
            let mut state = core.state();
            state.model = model;
            state.model.ledger.index = index.size();
            drop(state);
            return (Some(index), Loaded::Index);
        }
        Ok((None, index)) => return (Some(index), Loaded::Nothing),
        Err(error) => error,
    };
    warn!(target: "roadstead::store", %error, "the index cannot be used; it is made again from the files");
    if !matches!(error, IndexError::Io(_)) {
        put_aside(core, &path);
    }
    let index = match error {
        // What is broken is the disk: the index thread tries again.
        IndexError::Io(_) => None,
        IndexError::Format(_) | IndexError::Unreadable(_) => {
            Index::open(&*core.disk, &path, Access::Create).ok()
        }
    };
    (index, Loaded::Nothing)
}

fn put_aside(core: &Core, path: &Path) {
    let aside = core.layout.bad_index(now());
    match core.on_directories(|| core.disk.rename(path, &aside)) {
        Ok(()) => warn!(target: "roadstead::store", path = %aside.display(), "put the index aside"),
        Err(error) => {
            warn!(target: "roadstead::store", %error, "cannot put the index aside; removing it");
            core.unlink(path);
        }
    }
}

/// Counts what fills of former runs left, and what is in quarantine. Two short lists, needed before anything is written.
pub(super) fn count_leftovers(core: &Core) -> io::Result<()> {
    let entries = core.disk.list(&core.layout.partials())?;
    let records: HashSet<Digest> =
        entries.iter().filter_map(|entry| parse_flat(entry.name.strip_suffix(RANGES)?)).collect();
    let mut files = HashSet::new();
    for entry in &entries {
        let path = core.layout.partials().join(&entry.name);
        if entry.name.ends_with(TEMPORARY) {
            core.unlink(&path);
        }
        let Some(digest) = parse_flat(&entry.name) else { continue };
        if !records.contains(&digest) {
            // Nothing of it can be used.
            core.unlink(&path);
            continue;
        }
        let left = u64::try_from(entry.meta.mtime / 1_000_000).unwrap_or(0);
        core.change(|model| model.leave_unfinished(&digest, entry.meta.len, entry.meta.allocated, left));
        files.insert(digest);
    }
    for digest in records.difference(&files) {
        core.drop_record(digest);
    }
    let mut quarantined = core.disk.list(&core.layout.quarantine())?;
    // Their names begin with the time.
    quarantined.sort_by(|a, b| a.name.cmp(&b.name));
    core.change(|model| {
        for entry in quarantined {
            model.quarantine(entry.name, entry.meta.allocated.min(entry.meta.len));
        }
    });
    Ok(())
}

/// Walks all files: enters those that memory does not know, and drops from memory those that are not there. Whoever began
/// it said so by [`Core::set_walking`], and waits for its end with [`Core::await_walk`].
pub(super) fn reconcile(core: &Core) {
    compare(core);
    core.set_walking(false);
}

fn compare(core: &Core) {
    let known = known(&core.state().model);
    let mut walk = Walk::default();
    // Manifests first: requests may be waiting to learn whose members they name.
    let whole = walk_tree(core, Tree::Manifests, &mut walk);
    core.manifests_are_known();
    if !whole || !walk_tree(core, Tree::Blobs, &mut walk) {
        return;
    }
    // A directory that could not be listed proves nothing of what was in it.
    if walk.failures == 0 {
        drop_missing(core, &known, &mut walk);
    }
    drop_committed_leftovers(core);
    core.change(Model::prune);
    if walk.failures == 0 {
        core.settled.store(true, Ordering::Release);
    }
    core.trim();
    info!(
        target: "roadstead::store",
        adopted = walk.adopted, dropped = walk.dropped, failures = walk.failures,
        "compared the store's files with its index",
    );
}

/// Visits every file of a tree; false when the store is to stop.
fn walk_tree(core: &Core, tree: Tree, walk: &mut Walk) -> bool {
    for algorithm in ALGORITHMS {
        let top = core.layout.tree(tree, algorithm);
        for shelf in walk.list(core, &top).into_iter().filter(|shelf| shelf.dir) {
            let path = top.join(&shelf.name);
            for entry in walk.list(core, &path) {
                if core.stopping() {
                    return false;
                }
                visit(core, tree, &path, &entry.name, parse_hex(algorithm, &entry.name), walk);
            }
        }
    }
    true
}

#[derive(Debug, Default)]
struct Walk {
    seen: HashSet<(bool, Digest)>,
    adopted: u64,
    dropped: u64,
    failures: u64,
}

impl Walk {
    fn list(&mut self, core: &Core, path: &Path) -> Vec<super::fs::Entry> {
        core.disk.list(path).unwrap_or_else(|error| {
            self.fail(path, &error);
            Vec::new()
        })
    }

    fn fail(&mut self, path: &Path, error: &dyn std::fmt::Display) {
        self.failures += 1;
        warn!(target: "roadstead::store", path = %path.display(), %error, "cannot read a part of the store");
    }
}

/// Everything that memory holds before the walk: whether it is a blob, and its digest.
fn known(model: &Model) -> HashSet<(bool, Digest)> {
    let blobs = model.blobs().map(|(digest, _)| (true, digest.clone()));
    blobs.chain(model.manifests().map(|(digest, _)| (false, digest.clone()))).collect()
}

fn visit(core: &Core, tree: Tree, shelf: &Path, name: &str, digest: Option<Digest>, walk: &mut Walk) {
    let path = shelf.join(name);
    let Some(digest) = digest else {
        // Half-written files of a run that was cut off; what else lies here is not ours.
        let ours = name.ends_with(TEMPORARY)
            && name.split('.').next().is_some_and(|stem| stem.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // Some writer may be at work on a fresh one; it would try again, but it need not.
        if ours && !core.is_fresh(&path) {
            core.unlink(&path);
        }
        return;
    };
    walk.seen.insert((tree == Tree::Blobs, digest.clone()));
    let known = {
        let state = core.state();
        match tree {
            Tree::Blobs => state.model.has_blob(&digest),
            Tree::Manifests => state.model.has_manifest(&digest),
        }
    };
    if known {
        return;
    }
    let adopted = match tree {
        Tree::Blobs => core.adopt_blob(&digest).map(|blob| blob.is_some()),
        Tree::Manifests => core.adopt_manifest(&digest),
    };
    match adopted {
        Ok(true) => walk.adopted += 1,
        Ok(false) => {}
        Err(error) => walk.fail(&path, &error),
    }
}

/// Drops what was known before the walk and not met by it, after a look of its own.
fn drop_missing(core: &Core, known: &HashSet<(bool, Digest)>, walk: &mut Walk) {
    for (blob, digest) in known.difference(&walk.seen) {
        if core.stopping() {
            return;
        }
        let tree = if *blob { Tree::Blobs } else { Tree::Manifests };
        let gone = core
            .disk
            .open(&core.layout.content(tree, digest), Access::Read)
            .is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        if gone {
            let dropped = core.change(|model| match tree {
                Tree::Blobs => model.remove_blob(digest).is_some(),
                Tree::Manifests => model.remove_manifest(digest).is_some(),
            });
            walk.dropped += u64::from(dropped);
        }
    }
}

/// A crash between a commit's rename and the removal of the record leaves that, or both names.
fn drop_committed_leftovers(core: &Core) {
    let left: Vec<Digest> = {
        let state = core.state();
        let idle = |entry: &Unfinished| !entry.filling;
        let left = state.model.unfinished.iter().filter(|(_, entry)| idle(entry)).map(|(digest, _)| digest);
        left.filter(|digest| state.model.has_blob(digest)).cloned().collect()
    };
    for digest in left {
        // A blob that becomes an unfinished one again is both for a moment.
        let _room = core.room();
        let ended = core.change(|model| {
            let idle = model.unfinished.get(&digest).is_some_and(|entry| !entry.filling);
            let idle = idle && model.has_blob(&digest);
            if idle {
                model.end_unfinished(&digest);
            }
            idle
        });
        if ended {
            core.drop_record(&digest);
            core.unlink(&core.layout.partial(&digest));
        }
    }
}

impl Core {
    /// Whether a file was written a moment ago.
    fn is_fresh(&self, path: &Path) -> bool {
        let meta = self.disk.open(path, Access::Read).and_then(|file| file.meta());
        let age = |mtime: i64| now().saturating_sub(u64::try_from(mtime / 1_000_000).unwrap_or(0));
        meta.is_ok_and(|meta| age(meta.mtime) < 60_000)
    }

    /// What a former fill left of a blob, without opening it.
    pub(super) fn recorded(&self, digest: &Digest) -> Option<Recorded> {
        if !self.state().model.unfinished.contains_key(digest) {
            return None;
        }
        let record = RangesSidecar::read(&*self.disk, &self.layout.ranges(digest)).ok().flatten()?;
        Some(Recorded {
            size: record.size,
            present: record.present(),
            sources: record.sources(),
            anonymous: record.anonymous,
        })
    }
}
