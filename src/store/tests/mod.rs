//! The store as its users see it, over a real directory and over one that fails.

mod catalogue;
mod content;
mod doubt;
mod faults;
mod forget;
mod health;
mod knowledge;
mod pins;
mod power;
mod restart;
mod room;
mod scrub;

use super::fs::{Access, Disk, DiskFile, Entry, Meta, RealDisk, Space};
use super::layout::Tree;
use super::model::{ManifestEntry, space_of, space_to_fill};
use super::*;
use crate::oci::Algorithm;
use std::io;
use std::path::Path;
use std::time::Duration;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A policy without grace, so that tests need no waiting.
const EAGER: Policy = Policy {
    lately: Duration::ZERO,
    manifest_grace: Duration::ZERO,
    low_mark: 90,
    batch: 8 << 30,
    manifest_part: 1,
    index_spare: 0,
    read_at_once: 64 << 20,
    calm: Duration::ZERO,
    hung_after: Duration::from_secs(10),
    scrub_after: Duration::ZERO,
    scrub_rest: Duration::from_millis(50),
    walk_holds: Duration::from_secs(60),
    commit_every: Duration::from_millis(2),
};

/// What is broken, and how.
type Breakage<F> = (&'static str, F);

/// A store in a directory that goes with the test.
struct Fixture {
    dir: tempfile::TempDir,
    store: Store,
}

impl Fixture {
    fn new() -> Self {
        Self::with(64 << 20, Policy::default())
    }

    fn with(max: u64, policy: Policy) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with(Arc::new(RealDisk), &options(dir.path(), max), policy).unwrap();
        Self { dir, store }
    }

    /// Ends in order and starts again.
    fn restart(self) -> Self {
        let Self { dir, store } = self;
        store.close();
        drop(store);
        let store = open(dir.path());
        Self { dir, store }
    }

    /// What kill -9 at this moment would leave, opened by another process.
    fn killed(&self) -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(self.dir.path(), dir.path());
        let store = open(dir.path());
        Self { dir, store }
    }

    /// Ends in order, breaks something, and starts again.
    fn broken(self, breakage: impl FnOnce(&Layout)) -> Self {
        let Self { dir, store } = self;
        store.close();
        drop(store);
        breakage(&Layout::new(dir.path()));
        let store = open(dir.path());
        Self { dir, store }
    }

    fn layout(&self) -> Layout {
        Layout::new(self.dir.path())
    }

    /// Waits until a file that is written now is seen to be younger than all before it. Kernels stamp files with a clock
    /// that moves every few milliseconds.
    fn tick(&self) {
        let probe = self.dir.path().join("probe");
        let stamp = || {
            write_file(&probe, b"now");
            RealDisk.open(&probe, Access::Read).unwrap().meta().unwrap().mtime / 1_000_000
        };
        let first = stamp();
        while stamp() == first {}
    }
}

fn options(path: &Path, max: u64) -> Options {
    Options {
        path: path.to_owned(),
        max_bytes: Budget::Bytes(max),
        max_blob: None,
        scrub: Scrub::NEVER,
        pins: Vec::new(),
    }
}

fn open(path: &Path) -> Store {
    Store::open(Arc::new(RealDisk), options(path, 64 << 20)).unwrap()
}

/// Copies a directory through the seam.
fn copy(from: &Path, to: &Path) {
    for entry in RealDisk.list(from).unwrap() {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        if entry.dir {
            RealDisk.create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            write_file(&to, &fs::read(&RealDisk, &from).unwrap());
        }
    }
}

fn write_file(path: &Path, bytes: &[u8]) {
    let file = RealDisk.open(path, Access::Fresh).unwrap();
    file.write_at(bytes, 0).unwrap();
}

fn exists(path: &Path) -> bool {
    RealDisk.open(path, Access::Read).is_ok()
}

fn sha256(content: &[u8]) -> Digest {
    Digest::of(Algorithm::Sha256, content)
}

fn repo(name: &str) -> Repository {
    name.parse().unwrap()
}

fn tag(name: &str) -> Tag {
    name.parse().unwrap()
}

/// Content of a size that is not that of another seed.
fn content(seed: u8, size: usize) -> Vec<u8> {
    (0..size).map(|at| (at as u8).wrapping_mul(31) ^ seed).collect()
}

fn fill(store: &Store, content: &[u8]) -> Result<(Digest, Partial), StoreError> {
    let digest = sha256(content);
    let partial = store.partial(&digest, content.len() as u64)?;
    partial.file().write_at(content, 0).map_err(StoreError::io("write"))?;
    Ok((digest, partial))
}

fn commit(store: &Store, content: &[u8], repository: &str) -> Digest {
    let (digest, partial) = fill(store, content).unwrap();
    partial.commit(true, "docker.io", &repo(repository)).unwrap();
    digest
}

fn read_blob(store: &Store, digest: &Digest) -> Option<Vec<u8>> {
    let file = store.open_blob(digest).unwrap()?;
    let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
    let mut done = 0;
    while done < bytes.len() {
        let read = file.read_at(&mut bytes[done..], done as u64).unwrap();
        assert!(read > 0, "the file ends before its size");
        done += read;
    }
    Some(bytes)
}

/// The manifest of an image that has these blobs.
fn image(blobs: &[(&Digest, usize)]) -> Bytes {
    let layers: Vec<String> = blobs
        .iter()
        .map(|(digest, size)| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"{digest}","size":{size}}}"#
            )
        })
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","layers":[{}]}}"#, layers.join(",")).into()
}

fn seen(repository: &str, name: Option<&str>) -> Seen {
    Seen { upstream: "docker.io".to_owned(), repository: repo(repository), tag: name.map(tag) }
}

fn put(store: &Store, bytes: &Bytes, repository: &str, name: Option<&str>) -> Digest {
    let digest = sha256(bytes);
    store.put_manifest(&digest, MANIFEST, bytes, true, &seen(repository, name)).unwrap();
    digest
}

/// The operations of the seam, as a verdict sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Open,
    Rename,
    Remove,
    SyncDir,
    List,
    CreateDir,
    Read,
    Write,
    Sync,
    SetLen,
    Space,
    Forget,
}

type Verdict = dyn Fn(Op, &Path) -> Option<io::ErrorKind> + Send + Sync;

/// A disk that fails where its verdict says so.
#[derive(Clone)]
struct FaultDisk {
    verdict: Arc<Mutex<Arc<Verdict>>>,
    space: Arc<Mutex<Option<Space>>>,
}

#[derive(Debug)]
struct FaultFile {
    disk: FaultDisk,
    path: PathBuf,
    file: Box<dyn DiskFile>,
}

impl FaultDisk {
    fn new() -> Self {
        Self { verdict: Arc::new(Mutex::new(Arc::new(|_, _| None))), space: Arc::default() }
    }

    fn set(&self, verdict: impl Fn(Op, &Path) -> Option<io::ErrorKind> + Send + Sync + 'static) {
        *self.verdict.lock().unwrap() = Arc::new(verdict);
    }

    fn heal(&self) {
        self.set(|_, _| None);
    }

    fn check(&self, op: Op, path: &Path) -> io::Result<()> {
        let verdict = self.verdict.lock().unwrap().clone();
        verdict(op, path).map_or(Ok(()), |kind| Err(kind.into()))
    }
}

impl std::fmt::Debug for FaultDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FaultDisk")
    }
}

impl Disk for FaultDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        self.check(Op::Open, path)?;
        let file = RealDisk.open(path, access)?;
        Ok(Box::new(FaultFile { disk: self.clone(), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(Op::Rename, to)?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check(Op::Remove, path)?;
        RealDisk.remove(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Op::SyncDir, path)?;
        RealDisk.sync_dir(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.check(Op::List, path)?;
        RealDisk.list(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.check(Op::CreateDir, path)?;
        RealDisk.create_dir(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.check(Op::Space, path)?;
        self.space.lock().unwrap().map_or_else(|| RealDisk.space(path), Ok)
    }
}

impl DiskFile for FaultFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.check(Op::Read, &self.path)?;
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.disk.check(Op::Write, &self.path)?;
        self.file.write_at(buf, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check(Op::Sync, &self.path)?;
        self.file.sync()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.check(Op::SetLen, &self.path)?;
        self.file.set_len(len)
    }

    fn forget_cached(&self, range: std::ops::Range<u64>) {
        // Told so that tests see it.
        let _ = self.disk.check(Op::Forget, &self.path);
        self.file.forget_cached(range);
    }

    fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }

    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
}
