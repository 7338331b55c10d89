//! Reading what is stored again, slowly, so that what rots on the disk is fetched again before somebody needs it.
//!
//! One thread goes over all shelves, one after the other, at a rate that leaves the disk to those who wait for it. What is
//! not what its name says is put aside as everywhere else. Nobody is disturbed by it: nothing counts as used, whoever has
//! the file open keeps it, and the page cache is given back, save of what is read at that time anyway.
//!
//! **Where it begins** is left to chance at every start. A round may take days; were the first shelf always the first, a
//! process that is started again every night would look at the same blobs for ever and never at the others. No file is
//! read twice within the time that a round is for, as far as one run goes.
//!
//! **A read that fails** says little of the file: a disk that is about to go fails them all, and a store that dropped what
//! it cannot read would be empty when the cable is back. It is held against the file only once another one could be read.

use super::core::Core;
use super::fs::{self, Access, DiskFile};
use super::layout::{ALGORITHMS, Tree, parse_hex};
use super::model::{BlobEntry, now};
use crate::oci::{Digest, Hasher};
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher as _};
use std::io;
use std::ops::ControlFlow;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// How often what is stored is read again, and how fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scrub {
    /// Bytes a second; 0 for never.
    pub rate: u64,
    /// The time within which no file is read twice.
    pub every: Duration,
}

impl Scrub {
    /// Nothing is read again.
    pub const NEVER: Self = Self { rate: 0, every: Duration::ZERO };
}

/// Shelves are visited by the first byte of what is on them.
const PLACES: usize = 256;
/// The most that is read at once.
const CHUNK: u64 = 1 << 20;
/// The least; a rate below it makes for longer waits.
const LEAST_CHUNK: u64 = 4 << 10;
/// So many reads that fail with none that works between them are the disk's fault.
const MOST_SUSPECTS: usize = 8;

/// Goes over the store until it stops.
pub(super) fn run(core: &Core, scrub: Scrub) {
    let first = RandomState::new().build_hasher().finish() as usize % PLACES;
    let mut rounds = Rounds::new(first);
    let mut reader = Reader::new(core, scrub.rate);
    // A start is when others have much to read.
    let mut go_on = core.rest(core.policy.scrub_after.min(scrub.every));
    while go_on.is_continue() {
        go_on = match rounds.next(Instant::now(), scrub.every) {
            Ok(place) => reader.go_over(place).map_continue(|()| rounds.gone_over(place, Instant::now())),
            Err(early) => core.rest(early),
        };
    }
}

/// When each place was last gone over.
struct Rounds {
    last: [Option<Instant>; PLACES],
    next: usize,
}

impl Rounds {
    fn new(first: usize) -> Self {
        Self { last: [None; PLACES], next: first % PLACES }
    }

    /// The place to go over, or how long it is too early for any.
    fn next(&self, now: Instant, every: Duration) -> Result<usize, Duration> {
        // They are visited in turn, so that none is due before this one.
        let early =
            self.last[self.next].map_or(Duration::ZERO, |last| (last + every).saturating_duration_since(now));
        if early.is_zero() { Ok(self.next) } else { Err(early) }
    }

    fn gone_over(&mut self, place: usize, now: Instant) {
        self.last[place] = Some(now);
        self.next = (place + 1) % PLACES;
    }
}

/// Keeps reading at a rate. What was not read in time is not made up for.
#[derive(Debug)]
struct Pace {
    rate: u64,
    begun: Instant,
    done: u64,
}

impl Pace {
    /// How long to wait after so many more bytes.
    fn pass(&mut self, bytes: u64, now: Instant) -> Duration {
        self.done += bytes;
        let due = wanted(self.done, self.rate);
        let elapsed = now.saturating_duration_since(self.begun);
        if due > elapsed {
            return due - elapsed;
        }
        (self.begun, self.done) = (now, 0);
        Duration::ZERO
    }
}

/// The time that so many bytes are to take.
fn wanted(bytes: u64, rate: u64) -> Duration {
    let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// What could not be read, and may be so only because nothing can.
enum Suspect {
    Blob(Digest, BlobEntry),
    Manifest(Digest),
}

struct Reader<'a> {
    core: &'a Core,
    pace: Pace,
    buf: Vec<u8>,
    suspects: Vec<Suspect>,
    /// What was done since it was last told.
    places: usize,
    files: u64,
    found: u64,
}

impl<'a> Reader<'a> {
    fn new(core: &'a Core, rate: u64) -> Self {
        let chunk = usize::try_from(rate.clamp(LEAST_CHUNK, CHUNK)).unwrap_or(0);
        let pace = Pace { rate, begun: Instant::now(), done: 0 };
        Self { core, pace, buf: vec![0; chunk], suspects: Vec::new(), places: 0, files: 0, found: 0 }
    }

    /// Reads everything whose digest begins with that byte.
    fn go_over(&mut self, place: usize) -> ControlFlow<()> {
        for (tree, algorithm) in
            [Tree::Manifests, Tree::Blobs].into_iter().flat_map(|tree| ALGORITHMS.map(|with| (tree, with)))
        {
            let shelf = self.core.layout.tree(tree, algorithm).join(format!("{place:02x}"));
            // Where all is due again at once, and nothing is here to be read, nobody else asks whether to go on.
            self.core.rest(Duration::ZERO)?;
            // A shelf that cannot be listed is nothing that a scrub could help with.
            let entries = self.core.disk.list(&shelf).unwrap_or_default();
            for digest in entries.iter().filter_map(|entry| parse_hex(algorithm, &entry.name)) {
                match tree {
                    Tree::Blobs => self.blob(&digest)?,
                    Tree::Manifests => self.manifest(&digest)?,
                }
            }
        }
        self.places += 1;
        if self.places == PLACES {
            info!(target: "roadstead::store", files = self.files, found = self.found, "read everything again");
            (self.places, self.files, self.found) = (0, 0, 0);
        }
        ControlFlow::Continue(())
    }

    fn blob(&mut self, digest: &Digest) -> ControlFlow<()> {
        let Some(entry) = self.core.state().model.blob(digest) else {
            return ControlFlow::Continue(());
        };
        let opened = self.core.disk.open(&self.core.layout.content(Tree::Blobs, digest), Access::Read);
        // What cannot even be opened is noticed by whoever wants it, and gone before that by nobody's fault if evicted.
        let Ok((file, meta)) = opened.and_then(|file| file.meta().map(|meta| (file, meta))) else {
            return ControlFlow::Continue(());
        };
        if meta.len != entry.size {
            self.distrust_blob(digest, &entry, "the scrub found that its size has changed");
            return ControlFlow::Continue(());
        }
        let recent = now().saturating_sub(super::room::ms(self.core.policy.lately));
        match self.hash(&*file, digest, entry.accessed < recent)? {
            Ok(right) => {
                self.one_was_read()?;
                if !right {
                    self.distrust_blob(digest, &entry, "the scrub found that its content has changed");
                }
                ControlFlow::Continue(())
            }
            Err(error) => self.suspect(Suspect::Blob(digest.clone(), entry), &error),
        }
    }

    fn manifest(&mut self, digest: &Digest) -> ControlFlow<()> {
        if !self.core.state().model.has_manifest(digest) {
            return ControlFlow::Continue(());
        }
        match self.core.is_manifest_right(digest) {
            Ok((right, size)) => {
                self.one_was_read()?;
                // Once more: it may have been evicted and put anew between the two.
                if !right && self.core.is_manifest_right(digest).is_ok_and(|(right, _)| !right) {
                    self.core.distrust_manifest(digest, "the scrub found that its content has changed");
                    self.count_found();
                }
                self.passed(size)
            }
            // Evicted meanwhile, or noticed by whoever wants it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => ControlFlow::Continue(()),
            Err(error) => self.suspect(Suspect::Manifest(digest.clone()), &error),
        }
    }

    /// Whether an open file has that digest.
    fn hash(
        &mut self,
        file: &dyn DiskFile,
        digest: &Digest,
        idle: bool,
    ) -> ControlFlow<(), io::Result<bool>> {
        let mut hasher = Hasher::new(digest.algorithm());
        let mut position = 0;
        loop {
            let read = match file.read_at(&mut self.buf, position) {
                Ok(0) => return ControlFlow::Continue(Ok(hasher.finish() == *digest)),
                Ok(read) => read,
                Err(error) => return ControlFlow::Continue(Err(error)),
            };
            hasher.update(&self.buf[..read]);
            let end = position + read as u64;
            if idle && !self.core.open.is_held(digest) {
                file.forget_cached(position..end);
            }
            position = end;
            self.passed(read as u64)?;
        }
    }

    /// Counts bytes, and waits as long as they were read too fast.
    fn passed(&mut self, bytes: u64) -> ControlFlow<()> {
        self.core.counters.scrubbed_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.core.rest(self.pace.pass(bytes, Instant::now()))
    }

    /// Drops a blob, unless it has another file by now, or is gone.
    fn distrust_blob(&mut self, digest: &Digest, entry: &BlobEntry, why: &str) {
        let same = |now: &BlobEntry| (now.inode, now.mtime) == (entry.inode, entry.mtime);
        if self.core.distrust_blob_if(digest, why, same) {
            self.count_found();
        }
    }

    fn count_found(&mut self) {
        self.found += 1;
        self.core.counters.scrub_found.fetch_add(1, Ordering::Relaxed);
    }

    fn suspect(&mut self, suspect: Suspect, error: &io::Error) -> ControlFlow<()> {
        self.suspects.push(suspect);
        if self.suspects.len() < MOST_SUSPECTS {
            return ControlFlow::Continue(());
        }
        warn!(
            target: "roadstead::store", %error,
            "nothing can be read from the disk; what is stored is left alone, and read again later",
        );
        self.suspects.clear();
        self.core.rest(self.core.policy.scrub_rest)
    }

    /// Something could be read: what could not be, and still cannot, is bad itself.
    fn one_was_read(&mut self) -> ControlFlow<()> {
        const WHY: &str = "the scrub could not read it";
        self.files += 1;
        for suspect in std::mem::take(&mut self.suspects) {
            match suspect {
                Suspect::Blob(digest, entry) => {
                    let path = self.core.layout.content(Tree::Blobs, &digest);
                    let again = match self.core.disk.open(&path, Access::Read) {
                        Ok(file) => self.hash(&*file, &digest, true)?.err(),
                        Err(error) => Some(error),
                    };
                    if again.is_some() {
                        self.distrust_blob(&digest, &entry, WHY);
                    }
                }
                Suspect::Manifest(digest) => {
                    let again = self.core.is_manifest_right(&digest).err();
                    if again.is_some_and(|error| error.kind() != io::ErrorKind::NotFound) {
                        self.core.distrust_manifest(&digest, WHY);
                        self.count_found();
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }
}

impl Core {
    /// Whether a manifest's file has its digest, and its size.
    fn is_manifest_right(&self, digest: &Digest) -> io::Result<(bool, u64)> {
        let bytes = fs::read(&*self.disk, &self.layout.content(Tree::Manifests, digest))?;
        Ok((Digest::of(digest.algorithm(), &bytes) == *digest, bytes.len() as u64))
    }

    /// Waits so long; break when the store stops.
    fn rest(&self, so_long: Duration) -> ControlFlow<()> {
        let waited = self.progress.wait_timeout_while(self.state(), so_long, |_| !self.stopping());
        drop(waited);
        if self.stopping() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_pass_at_the_rate_and_what_was_missed_is_not_made_up_for() {
        let start = Instant::now();
        let mut pace = Pace { rate: 1_000, begun: start, done: 0 };
        // Bytes that were read, at which millisecond, and how long is waited after.
        let table = [
            (500, 0, 500),
            (500, 500, 500),
            (500, 1_300, 200),
            (100, 2_000, 0),
            (1_000, 2_000, 1_000),
            (1_000, 60_000, 0),
            (1_000, 60_000, 1_000),
        ];
        for (bytes, at, waits) in table {
            let wait = pace.pass(bytes, start + Duration::from_millis(at));
            assert_eq!(wait, Duration::from_millis(waits), "{bytes} at {at}");
        }
        assert_eq!(wanted(1 << 40, 1 << 20), Duration::from_secs(1 << 20));
        assert_eq!(wanted(u64::MAX, 0), Duration::from_nanos(u64::MAX));
    }

    #[test]
    fn a_round_begins_where_chance_says_and_no_place_comes_twice_within_its_time() {
        let every = Duration::from_secs(1_000);
        let mut now = Instant::now();
        let mut rounds = Rounds::new(250);
        let mut visits = vec![Vec::new(); PLACES];
        let mut order = Vec::new();
        for _ in 0..3 * PLACES {
            let place = match rounds.next(now, every) {
                Ok(place) => place,
                Err(early) => {
                    now += early;
                    rounds.next(now, every).unwrap()
                }
            };
            // Some take long, most do not.
            now += Duration::from_secs(if order.len() == 100 { 700 } else { 1 });
            rounds.gone_over(place, now);
            visits[place].push(now);
            order.push(place);
        }
        assert_eq!(order[..8], [250, 251, 252, 253, 254, 255, 0, 1]);
        for times in visits {
            assert_eq!(times.len(), 3);
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= every));
        }
    }
}
