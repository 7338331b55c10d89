//! Power that goes: a disk in memory that keeps what was synced, and of all else as much or as little as it likes.

use super::restart::wait_for_settled;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of bytes that were written and not synced.
#[derive(Clone, Copy, Debug)]
pub(super) enum Bytes {
    Kept,
    Lost,
    /// The length is kept and the bytes are not, as file systems do that write their own records first.
    Zeroed,
}

/// What becomes of what was not synced: whether names are kept, and bytes.
pub(super) const LOSSES: [(bool, Bytes); 6] = [
    (true, Bytes::Kept),
    (true, Bytes::Lost),
    (true, Bytes::Zeroed),
    (false, Bytes::Kept),
    (false, Bytes::Lost),
    (false, Bytes::Zeroed),
];

#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    files: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    synced_names: BTreeMap<PathBuf, usize>,
    directories: BTreeSet<PathBuf>,
    clock: i64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    synced: Vec<u8>,
    changed: i64,
}

/// Clones are one disk.
#[derive(Clone, Debug)]
pub(super) struct PowerDisk(Arc<Mutex<Machine>>);

#[derive(Debug)]
struct Machine {
    platter: Platter,
    /// Changes until the power goes.
    left: usize,
}

#[derive(Debug)]
struct PowerFile {
    disk: PowerDisk,
    at: usize,
}

impl PowerDisk {
    pub(super) fn new(platter: Platter) -> Self {
        Self(Arc::new(Mutex::new(Machine { platter, left: usize::MAX })))
    }

    pub(super) fn lose_power_after(&self, changes: usize) {
        self.0.lock().unwrap().left = changes;
    }

    pub(super) fn is_on(&self) -> bool {
        self.0.lock().unwrap().left > 0
    }

    /// The disk as it may be found when the power is back.
    pub(super) fn found_again(&self, names_kept: bool, bytes: Bytes) -> Self {
        let mut platter = self.0.lock().unwrap().platter.clone();
        if !names_kept {
            platter.names = platter.synced_names.clone();
        }
        platter.synced_names = platter.names.clone();
        for file in &mut platter.files {
            match bytes {
                Bytes::Kept => {}
                Bytes::Lost => file.bytes.clone_from(&file.synced),
                Bytes::Zeroed => {
                    let len = file.bytes.len();
                    file.bytes.clone_from(&file.synced);
                    file.bytes.resize(len, 0);
                }
            }
            file.synced.clone_from(&file.bytes);
        }
        Self::new(platter)
    }

    /// An operator removes a file.
    fn take_away(&self, path: &Path) {
        let platter = &mut self.0.lock().unwrap().platter;
        platter.names.remove(path);
        platter.synced_names.remove(path);
    }

    /// The bytes of a file rot.
    fn rot(&self, path: &Path) {
        let platter = &mut self.0.lock().unwrap().platter;
        let at = platter.names[path];
        platter.files[at].bytes.fill(0);
        platter.files[at].synced.fill(0);
    }

    fn read<T>(&self, read: impl FnOnce(&Platter) -> io::Result<T>) -> io::Result<T> {
        read(&self.0.lock().unwrap().platter)
    }

    /// One change, unless the power is gone.
    fn change<T>(&self, change: impl FnOnce(&mut Platter) -> io::Result<T>) -> io::Result<T> {
        let mut machine = self.0.lock().unwrap();
        if machine.left == 0 {
            return Err(io::Error::other("the power is gone"));
        }
        machine.left -= 1;
        change(&mut machine.platter)
    }
}

fn found_at(platter: &Platter, path: &Path) -> io::Result<usize> {
    platter.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn meta(file: &Content, at: usize) -> Meta {
    let len = file.bytes.len() as u64;
    Meta { len, allocated: len, inode: at as u64, mtime: file.changed }
}

impl Disk for PowerDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let known = self.read(|platter| found_at(platter, path));
        let at = match (known, access) {
            (Ok(at), Access::Fresh) => self.change(|platter| {
                platter.files[at].bytes.clear();
                Ok(at)
            })?,
            (Ok(at), _) => at,
            (Err(_), Access::Create | Access::Fresh) => self.change(|platter| {
                platter.files.push(Content::default());
                platter.names.insert(path.to_owned(), platter.files.len() - 1);
                Ok(platter.files.len() - 1)
            })?,
            (Err(error), _) => return Err(error),
        };
        Ok(Box::new(PowerFile { disk: self.clone(), at }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|platter| {
            let at = found_at(platter, from)?;
            platter.names.remove(from);
            platter.names.insert(to.to_owned(), at);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|platter| found_at(platter, path).map(|_| platter.names.remove(path)).map(drop))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|platter| {
            platter.synced_names.retain(|name, _| name.parent() != Some(path));
            let here = platter.names.iter().filter(|(name, _)| name.parent() == Some(path));
            platter.synced_names.extend(here.map(|(name, at)| (name.clone(), *at)));
            Ok(())
        })
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.read(|platter| {
            let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
            let files = platter.names.iter().filter(|(name, _)| name.parent() == Some(path));
            let files = files.map(|(file, &at)| {
                let meta = meta(&platter.files[at], at);
                Entry { name: name(file), dir: false, meta }
            });
            let nothing = Meta { len: 0, allocated: 0, inode: 0, mtime: 0 };
            let below = platter.directories.iter().filter(|directory| directory.parent() == Some(path));
            let below = below.map(|directory| Entry { name: name(directory), dir: true, meta: nothing });
            Ok(files.chain(below).collect())
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.change(|platter| {
            platter.directories.extend(path.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn space(&self, _: &Path) -> io::Result<Space> {
        Ok(Space { total: 1 << 40, available: 1 << 39, files: None })
    }
}

impl DiskFile for PowerFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.disk.read(|platter| {
            let bytes = &platter.files[self.at].bytes;
            let from = usize::try_from(offset).unwrap().min(bytes.len());
            let read = buf.len().min(bytes.len() - from);
            buf[..read].copy_from_slice(&bytes[from..from + read]);
            Ok(read)
        })
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.disk.change(|platter| {
            platter.clock += 1;
            let clock = platter.clock;
            let file = &mut platter.files[self.at];
            let from = usize::try_from(offset).unwrap();
            let len = file.bytes.len().max(from + buf.len());
            file.bytes.resize(len, 0);
            file.bytes[from..from + buf.len()].copy_from_slice(buf);
            file.changed = clock;
            Ok(())
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(|platter| {
            let file = &mut platter.files[self.at];
            file.synced.clone_from(&file.bytes);
            Ok(())
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.disk.change(|platter| {
            platter.files[self.at].bytes.resize(usize::try_from(len).unwrap(), 0);
            Ok(())
        })
    }

    fn meta(&self) -> io::Result<Meta> {
        self.disk.read(|platter| Ok(meta(&platter.files[self.at], self.at)))
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

const HOME: &str = "/store";

pub(super) fn open_on(disk: &PowerDisk) -> Store {
    Store::open_with(Arc::new(disk.clone()), &options(Path::new(HOME), 64 << 20), EAGER).unwrap()
}

/// What is pulled: the last is begun and not finished.
fn contents() -> [Vec<u8>; 3] {
    [content(1, 5_000), content(2, 7_000), content(3, 6_000)]
}

fn write(partial: &Partial, content: &[u8], range: std::ops::Range<usize>) -> Result<(), StoreError> {
    let io = StoreError::io("write");
    partial.file().write_at(&content[range.clone()], range.start as u64).map_err(io)
}

fn upto(end: u64) -> Ranges {
    std::iter::once(0..end).collect()
}

/// A pull in which everything is done that a pull may have to do. Notes the blobs whose commit was reported.
fn pull(store: &Store, disk: &PowerDisk, committed: &mut Vec<Digest>) -> Result<(), StoreError> {
    let [first, second, third] = contents();
    let names = [(&sha256(&first), 5_000), (&sha256(&second), 7_000)];
    let manifest = image(&names);
    store.put_manifest(&sha256(&manifest), MANIFEST, &manifest, true, &seen("a", Some("t")))?;

    let (digest, partial) = fill(store, &first)?;
    partial.commit(true, "docker.io", &repo("a"))?;
    committed.extend(disk.is_on().then_some(digest));

    let digest = sha256(&second);
    let partial = store.partial(&digest, 7_000)?;
    for (from, to) in [(0, 2_000), (2_000, 4_000)] {
        write(&partial, &second, from..to)?;
        partial.record(&upto(to as u64)).map_err(StoreError::io("record"))?;
    }
    write(&partial, &second, 4_000..5_000)?;
    drop(partial);
    let partial = store.partial(&digest, 7_000)?;
    let reached = usize::try_from(partial.present().prefix()).unwrap();
    write(&partial, &second, reached..7_000)?;
    partial.commit(false, "docker.io", &repo("a"))?;
    committed.extend(disk.is_on().then_some(digest));

    let digest = sha256(&third);
    let partial = store.partial(&digest, 6_000)?;
    write(&partial, &third, 0..3_000)?;
    partial.keep(&upto(3_000));
    disk.take_away(&Layout::new(Path::new(HOME)).partial(&digest));
    // A new file, of which nothing is there.
    drop(store.partial(&digest, 6_000)?);
    Ok(())
}

#[test]
fn g8_power_that_goes_at_any_operation_costs_nothing_that_was_durable_and_makes_nothing_wrong() {
    for stop in 0.. {
        let disk = PowerDisk::new(Platter::default());
        let store = open_on(&disk);
        disk.lose_power_after(stop);
        let mut committed = Vec::new();
        let pulled = pull(&store, &disk, &mut committed);
        let whole = pulled.is_ok() && disk.is_on();
        drop(store);
        for (names_kept, bytes) in LOSSES {
            let found = disk.found_again(names_kept, bytes);
            let when = format!("after {stop} changes, names kept: {names_kept}, bytes: {bytes:?}");
            expect_right(&open_on(&found), &committed, &when);
        }
        if whole {
            assert!(stop > 20 && committed.len() == 2, "{stop}");
            break;
        }
    }
}

/// Nothing that is said to be here is wrong, and what was reported committed is here.
fn expect_right(store: &Store, committed: &[Digest], when: &str) {
    for digest in committed {
        assert!(store.adopt_blob(digest).unwrap().is_some(), "{when}: {digest} was committed");
    }
    wait_for_settled(store);
    for bytes in contents() {
        let digest = sha256(&bytes);
        if let Some(read) = read_blob(store, &digest) {
            assert!(read == bytes, "{when}: {digest} is served with other bytes");
            continue;
        }
        assert!(!committed.contains(&digest), "{when}: {digest} was committed and is not served");
        let partial = store.partial(&digest, bytes.len() as u64).unwrap();
        for run in partial.present().iter() {
            let mut read = vec![0; usize::try_from(run.end - run.start).unwrap()];
            partial.file().read_at(&mut read, run.start).unwrap();
            let expected = &bytes[usize::try_from(run.start).unwrap()..usize::try_from(run.end).unwrap()];
            assert!(read == expected, "{when}: of {digest} bytes {run:?} are said to be there");
        }
    }
    if let Some(secret) = store.blob(&sha256(&contents()[1])) {
        assert!(!secret.anonymous, "{when}: the secret blob is anybody's");
    }
}

#[test]
fn g2_what_was_put_aside_does_not_come_back_under_its_name_when_the_power_goes() {
    let disk = PowerDisk::new(Platter::default());
    let store = open_on(&disk);
    let [bytes, ..] = contents();
    let (digest, partial) = fill(&store, &bytes).unwrap();
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    let file = store.open_blob(&digest).unwrap().unwrap();
    disk.rot(&Layout::new(Path::new(HOME)).content(Tree::Blobs, &digest));
    store.distrust(&file);
    assert!(store.flush());
    drop((file, store));
    for (names_kept, bytes) in LOSSES {
        let store = open_on(&disk.found_again(names_kept, bytes));
        wait_for_settled(&store);
        assert!(store.adopt_blob(&digest).unwrap().is_none(), "names kept: {names_kept}, bytes: {bytes:?}");
    }
}

#[test]
fn t98_g8_what_was_recorded_of_a_blob_is_there_when_the_power_is_back() {
    let disk = PowerDisk::new(Platter::default());
    let store = open_on(&disk);
    let [_, bytes, _] = contents();
    let digest = sha256(&bytes);
    let partial = store.partial(&digest, 7_000).unwrap();
    for to in [2_000, 4_000] {
        write(&partial, &bytes, to - 2_000..to).unwrap();
        partial.record(&upto(to as u64)).unwrap();
        for (names_kept, lost) in LOSSES {
            let store = open_on(&disk.found_again(names_kept, lost));
            let recorded = store.recorded(&digest).map(|recorded| recorded.present);
            assert_eq!(recorded, Some(upto(to as u64)), "names kept: {names_kept}, bytes: {lost:?}");
            assert_eq!(store.partial(&digest, 7_000).unwrap().present(), upto(to as u64));
        }
    }
}
