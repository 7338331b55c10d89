//! Keeping the store inside its budget: reservations, and what is evicted for them.
//!
//! Everything is counted before it is written: a fill at its full size, a manifest before its file is made. The choice
//! and the reservation happen in one hold of the model's lock, so that two fills never count on the same bytes; the files
//! go afterwards, before the one who asked for room gets to write. The limit is the budget, or what the disk has, whichever
//! is less: a disk that others fill too must not become a fill that fails half way.
//!
//! After a crash there may be blobs that nobody has counted yet, because the index did not hear of them. Until the walk has
//! met them, a fill that could be too much beside them waits for it, and is streamed past the store where that takes long.
//! A manifest does not wait: what it takes is less than what is kept free for the index.

use super::candidates::{Choice, choose};
use super::core::Core;
use super::error::{StoreError, is_full};
use super::fs::{self, Access, Space};
use super::health::{Answer, Kind};
use super::layout::Tree;
use super::losses::Losses;
use super::model::{Model, Role, now};
use crate::oci::Digest;
use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, PoisonError};
use tracing::info;

/// Left free on the disk for what is not counted: the file system's own, the index as it grows.
const DISK_SLACK_PART: u64 = 64;
const DISK_SLACK_MOST: u64 = 64 << 20;

/// With fewer files to come than this, and a disk that has said that it is full, it is files that it has no room for.
const FILES_SPARE: u64 = 64;

/// What may be used.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// By the budget and what the disk has.
    now: u64,
    /// By the budget alone.
    budget: u64,
    /// What the disk could hold if it had nothing else.
    disk: u64,
}

/// What has left the model and still has to leave the disk.
#[derive(Debug, Default)]
pub(super) struct Evicted {
    pub(super) files: Vec<PathBuf>,
    pub(super) unfinished: Vec<Digest>,
    /// Blobs that came with credentials: their mark goes after they are durably gone.
    pub(super) private: Vec<Digest>,
    pub(super) objects: u64,
    /// Those of them that are manifests.
    pub(super) manifests: u64,
    pub(super) bytes: u64,
    /// The images that were whole and are not any more.
    pub(super) images: Vec<String>,
}

/// What there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes that nothing takes.
    pub free: u64,
    /// Bytes that could be evicted.
    pub evictable: u64,
    /// This moment, for [`Store::lost_since`](super::Store::lost_since).
    pub mark: u64,
}

impl Evicted {
    pub(super) fn count(&mut self, bytes: u64) {
        self.objects += 1;
        self.bytes += bytes;
    }
}

impl Core {
    /// Makes room for `size` bytes and reserves it by `reserve`, which must count exactly these. What is counted of
    /// `own` already, an unfinished blob, is part of them.
    pub(super) fn reserve<T>(
        &self,
        size: u64,
        own: Option<&Digest>,
        reserve: impl FnOnce(&mut Model) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if own.is_some() && self.is_walking() {
            self.await_count(size, own)?;
        }
        let _room = self.room_to_write()?;
        let limit = self.limit();
        if size > limit.budget.min(limit.disk) {
            return Err(StoreError::TooLarge);
        }
        if self.is_crowded(size, limit.now) {
            self.try_writing().map_err(StoreError::io("make room"))?;
        }
        let mut evicted = Evicted::default();
        let reserved = self.change(|model| {
            let counted = own.and_then(|own| model.unfinished.get(own)).map_or(0, |former| former.counted);
            if model.unfinished_is_filling(own) {
                return Err(StoreError::Busy);
            }
            let size = size.saturating_sub(counted);
            self.make_room(model, size, limit.now, own, &mut evicted)?;
            reserve(model)
        });
        self.remove_evicted(&evicted);
        match &reserved {
            // Others have taken what the budget counts on.
            Err(StoreError::NoSpace) if size > limit.now => {
                let full = io::ErrorKind::StorageFull.into();
                self.health.failed(Kind::Room, "reserve room", self.layout.root(), &full);
            }
            Ok(_) if size > 0 => self.health.worked(Kind::Room),
            Ok(_) | Err(_) => {}
        }
        reserved
    }

    /// Waits for the walk where these bytes could be too many beside what it may yet find.
    fn await_count(&self, size: u64, own: Option<&Digest>) -> Result<(), StoreError> {
        let (used, counted) = {
            let state = self.state();
            let own = own.and_then(|own| state.model.unfinished.get(own));
            (state.model.ledger.used(), own.map_or(0, |former| former.counted))
        };
        let space = self.disk.space(self.layout.root());
        let more = size.saturating_sub(counted);
        if fits_whatever_is_found(used, more, self.limit().budget, space.ok().as_ref())
            || self.await_walk(self.policy.walk_holds)
        {
            return Ok(());
        }
        info!(target: "roadstead::store", bytes = size, "not stored: it is not known yet what the store has after a crash");
        Err(StoreError::NoSpace)
    }

    /// Brings what is used back under the limit, after more was found than is allowed.
    pub(super) fn trim(&self) {
        let _room = self.room();
        let limit = self.limit().now;
        if self.is_crowded(0, limit) && self.try_writing().is_err() {
            return;
        }
        let mut evicted = Evicted::default();
        self.change(|model| {
            // Without a demand there is nothing to refuse; what has readers may keep us above the limit.
            let _ = self.make_room(model, 0, limit, None, &mut evicted);
        });
        self.remove_evicted(&evicted);
    }

    /// What there is room for where these blobs have to stay. Asks the disk.
    pub(super) fn room_beside(&self, keep: &HashSet<Digest>) -> Room {
        let limit = self.limit().now;
        let mut held = self.open.held();
        held.extend(keep.iter().cloned());
        let recent = now().saturating_sub(ms(self.policy.lately));
        let mark = self.losses().mark();
        let mut state = self.state();
        let model = &mut state.model;
        model.settle_pins();
        held.extend(model.pinned().into_keys());
        let quarantined: u64 = model.quarantine.iter().map(|(_, taken)| taken).sum();
        let blobs = choose(model, &held, None, u64::MAX, recent).freed;
        let manifests: u64 = self.spare_manifests(model, &held).iter().map(|(_, taken)| taken).sum();
        let free = limit.saturating_sub(model.ledger.used());
        Room { free, evictable: quarantined + blobs + manifests, mark }
    }

    pub(super) fn losses(&self) -> MutexGuard<'_, Losses> {
        self.losses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How much may be pinned. Asks the disk.
    pub(super) fn room_for_pins(&self) -> u64 {
        let limit = self.limit();
        let index = self.state().model.ledger.index;
        limit.budget.min(limit.disk).saturating_sub(index)
    }

    /// The lock, unless the disk hangs, and maybe who has it: nobody else should wait for that.
    fn room_to_write(&self) -> Result<MutexGuard<'_, ()>, StoreError> {
        let room = match self.health.answer(self.layout.root()) {
            Answer::Prompt => Some(self.room()),
            Answer::Try => self.try_room(),
            Answer::Hangs => None,
        };
        room.ok_or_else(|| StoreError::io("have an answer from the disk")(io::ErrorKind::TimedOut.into()))
    }

    /// Whether something has to go for `size` more bytes.
    fn is_crowded(&self, size: u64, limit: u64) -> bool {
        let ledger = self.state().model.ledger;
        ledger.used().saturating_add(size) > limit || ledger.manifests > limit / self.policy.manifest_part
    }

    /// Whether the disk takes a file at all. On one that does not, nothing is evicted: it would be forgotten for bytes that
    /// then cannot be written, and its file would stay. A full one is what eviction is for.
    fn try_writing(&self) -> io::Result<()> {
        let path = self.layout.probe();
        let tried = self.on_directories(|| self.disk.open(&path, Access::Fresh).map(drop));
        match tried.and_then(|()| fs::remove(&*self.disk, &path)) {
            Err(error) if !is_full(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// What may be used.
    fn limit(&self) -> Limit {
        let space = self.disk.space(self.layout.root());
        let budget = self.budget(&space);
        let budget = budget - self.policy.index_spare.min(budget / 16);
        let Ok(Space { total, available, files }) = space else {
            return Limit { now: budget, budget, disk: u64::MAX };
        };
        let (used, index, filling) = {
            let mut state = self.state();
            state.model.let_go();
            let filling = state.model.unfinished.values().filter(|entry| entry.filling);
            let filling: Vec<_> =
                filling.filter_map(|entry| Some((entry.size, entry.file.upgrade()?))).collect();
            (state.model.ledger.used(), state.model.ledger.index, filling)
        };
        let unwritten: u64 = filling
            .iter()
            .map(|(size, file)| size.saturating_sub(file.meta().map_or(*size, |meta| meta.allocated)))
            .sum();
        let slack = (total / DISK_SLACK_PART).min(DISK_SLACK_MOST);
        let mut disk = used.saturating_sub(unwritten).saturating_add(available).saturating_sub(slack);
        if files.is_some_and(|files| files < FILES_SPARE) && self.health.is_full() {
            disk = disk.min(used - (used - index) / 16);
        }
        Limit { now: budget.min(disk), budget, disk: total.saturating_sub(slack) }
    }

    /// Evicts until `size` more bytes fit, or changes nothing and says that they do not.
    fn make_room(
        &self,
        model: &mut Model,
        size: u64,
        limit: u64,
        own: Option<&Digest>,
        evicted: &mut Evicted,
    ) -> Result<(), StoreError> {
        let used = model.ledger.used();
        let wanted = used.saturating_add(size);
        let manifests = model.ledger.manifests;
        let surplus = manifests.saturating_sub(limit / self.policy.manifest_part);
        if wanted <= limit && surplus == 0 {
            return Ok(());
        }
        model.settle_pins();
        let pinned: HashSet<Digest> = model.pinned().into_keys().collect();
        if wanted <= limit {
            self.evict_manifests(model, &pinned, surplus, evicted);
            return Ok(());
        }
        let least = wanted - limit;
        let low = (limit / 100).saturating_mul(self.policy.low_mark);
        let most = wanted.saturating_sub(low).min(least.saturating_add(self.policy.batch)).max(least);

        let mut freed = 0;
        let mut files = 0;
        for (_, taken) in &model.quarantine {
            if freed >= most {
                break;
            }
            freed += taken;
            files += 1;
        }
        let recent = now().saturating_sub(ms(self.policy.lately));
        self.open.close_idle();
        let mut held = self.open.held();
        held.extend(pinned.iter().cloned());
        let Choice { blobs, left, freed: chosen } =
            choose(model, &held, own, most.saturating_sub(freed), recent);
        freed += chosen;
        let spare = self.spare_manifests(model, &pinned);
        let manifests_need = most.saturating_sub(freed);
        if size > 0 && freed + spare.iter().map(|(_, taken)| taken).sum::<u64>() < least {
            return Err(StoreError::NoSpace);
        }

        for _ in 0..files {
            if let Some(name) = model.pop_quarantine() {
                evicted.files.push(self.layout.quarantined(&name));
            }
        }
        evicted.images.extend(model.images_losing(&blobs));
        for digest in left {
            model.end_unfinished(&digest);
            evicted.unfinished.push(digest);
        }
        for digest in blobs {
            if let Some(entry) = model.remove_blob(&digest) {
                evicted.count(entry.size);
                evicted.files.push(self.layout.content(Tree::Blobs, &digest));
                if !entry.anonymous {
                    evicted.private.push(digest);
                }
            }
        }
        self.evict_manifests(model, &pinned, manifests_need.max(surplus), evicted);
        Ok(())
    }

    /// The manifests that may go, the least recently used first, with what they take.
    fn spare_manifests(&self, model: &Model, pinned: &HashSet<Digest>) -> Vec<(Digest, u64)> {
        let recent = now().saturating_sub(ms(self.policy.manifest_grace));
        let spare = model.manifests().rev();
        let spare =
            spare.filter(|(digest, manifest)| manifest.accessed() < recent && !pinned.contains(*digest));
        spare.map(|(digest, manifest)| (digest.clone(), manifest.space())).collect()
    }

    fn evict_manifests(&self, model: &mut Model, pinned: &HashSet<Digest>, need: u64, evicted: &mut Evicted) {
        if need == 0 {
            return;
        }
        let mut freed = 0;
        for (digest, taken) in self.spare_manifests(model, pinned) {
            if freed >= need {
                break;
            }
            freed += taken;
            let Some(entry) = model.forget_manifest(&digest) else { continue };
            evicted.count(entry.size);
            evicted.manifests += 1;
            evicted
                .files
                .extend([self.layout.content(Tree::Manifests, &digest), self.layout.sidecar(&digest)]);
        }
    }

    fn remove_evicted(&self, evicted: &Evicted) {
        self.remove_files(evicted);
        self.counters.evicted_unfinished.fetch_add(evicted.unfinished.len() as u64, Ordering::Relaxed);
        if !evicted.images.is_empty() {
            self.losses().note(evicted.images.clone());
        }
        if evicted.objects > 0 {
            self.counters.evicted_manifests.fetch_add(evicted.manifests, Ordering::Relaxed);
            self.counters.evicted.fetch_add(evicted.objects, Ordering::Relaxed);
            self.counters.evicted_bytes.fetch_add(evicted.bytes, Ordering::Relaxed);
            info!(target: "roadstead::store", objects = evicted.objects, bytes = evicted.bytes, "evicted");
        }
    }

    /// Takes what has left the model from the disk; under the lock that keeps others from making such files.
    pub(super) fn remove_files(&self, evicted: &Evicted) {
        for digest in &evicted.unfinished {
            // The record goes first: bytes without one are nothing, a record without its bytes would be a lie.
            self.drop_record(digest);
            self.unlink(&self.layout.partial(digest));
        }
        for file in &evicted.files {
            self.unlink(file);
        }
        self.drop_marks(&evicted.private);
    }
}

impl Model {
    /// The names of the images that are whole, and would not be without these blobs.
    fn images_losing(&self, blobs: &[Digest]) -> Vec<String> {
        let is_whole = |manifest: &&Digest| {
            self.manifest(manifest).is_some_and(|manifest| {
                manifest.blobs().all(|link| link.role == Role::Foreign || self.has_blob(link.digest))
            })
        };
        let losing: HashSet<&Digest> =
            blobs.iter().flat_map(|digest| self.parents_of(digest)).filter(is_whole).collect();
        // What an index lists is pulled by the tags of the index.
        let named = losing.iter().flat_map(|&digest| std::iter::once(digest).chain(self.parents_of(digest)));
        let mut names: Vec<String> = named.flat_map(|digest| self.names_of(digest)).collect();
        names.sort();
        names.dedup();
        names
    }

    /// By what images with this manifest are pulled.
    fn names_of(&self, digest: &Digest) -> Vec<String> {
        let place =
            |repo| self.names.get(repo).map(|(upstream, repository)| format!("{upstream}/{repository}"));
        let tags = self.tags_everywhere(digest).into_iter();
        tags.filter_map(|(repo, tag)| Some(format!("{}:{tag}", place(repo)?))).collect()
    }

    fn unfinished_is_filling(&self, digest: Option<&Digest>) -> bool {
        digest.and_then(|digest| self.unfinished.get(digest)).is_some_and(|entry| entry.filling)
    }
}

/// Whether there is room for `more` bytes beside those counted, though all that the file system has in use may be ours.
fn fits_whatever_is_found(used: u64, more: u64, budget: u64, space: Option<&Space>) -> bool {
    let most = space.map_or(u64::MAX, |space| space.total.saturating_sub(space.available));
    more == 0 || most.min(budget).max(used).saturating_add(more) <= budget
}

/// A time as it is written down.
pub(super) fn ms(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
