//! What is on a disk, what of it is durable, and what may be left of the rest.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use roadstead::store::fs::{Entry, Meta};

/// What is written to a disk in one piece, as a cache has it, and as a device does.
const PAGE: usize = 4096;
const SECTOR: usize = 512;

/// What becomes of all that was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It is all there: the system wrote it before the power went.
    Nothing,
    /// Bytes are lost; names and lengths are kept, as by file systems that write their own records first.
    Bytes,
    /// Names are lost, and bytes kept.
    Names,
    /// It is all lost.
    Everything,
    /// Each page and each name by itself, with these dice; pages also in part.
    Dice(u64),
}

/// A directory's entry, or a file by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Dir,
    File(usize),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Platter {
    files: Vec<Content>,
    /// What each name stood for: when its directory was synced last, and after each change since.
    names: BTreeMap<PathBuf, Vec<Option<Node>>>,
}

#[derive(Clone, Debug)]
pub(super) struct Content {
    /// Shared for as long as neither changes.
    now: Arc<Vec<u8>>,
    durable: Arc<Vec<u8>>,
    /// Pages that were changed since the last sync.
    dirty: BTreeSet<usize>,
    /// Pages that take space.
    there: BTreeSet<usize>,
    /// The lengths at the last sync, and after each change since.
    lens: Vec<usize>,
    /// The times of change that may be found: a sync of data need not keep the time.
    changed: Vec<i64>,
}

impl Default for Content {
    fn default() -> Self {
        Self {
            now: Arc::default(),
            durable: Arc::default(),
            dirty: BTreeSet::new(),
            there: BTreeSet::new(),
            lens: vec![0],
            changed: vec![clock()],
        }
    }
}

fn clock() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_nanos()).unwrap()
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Platter {
    pub(super) fn new(directory: &Path) -> Self {
        let names = directory.ancestors().map(|path| (path.to_owned(), vec![Some(Node::Dir)])).collect();
        Self { files: Vec::new(), names }
    }

    fn find(&self, path: &Path) -> Option<Node> {
        self.names.get(path).and_then(|states| states.last().copied().flatten())
    }

    pub(super) fn file(&self, path: &Path) -> io::Result<usize> {
        match self.find(path) {
            Some(Node::File(at)) => Ok(at),
            _ => Err(not_found()),
        }
    }

    pub(super) fn directory(&self, path: &Path) -> io::Result<()> {
        if self.find(path) == Some(Node::Dir) { Ok(()) } else { Err(not_found()) }
    }

    pub(super) fn parent(&self, path: &Path) -> io::Result<()> {
        self.directory(path.parent().unwrap())
    }

    /// The directories that are missing up to this one, the outermost first.
    pub(super) fn missing(&self, path: &Path) -> Vec<PathBuf> {
        let mut missing: Vec<_> =
            path.ancestors().filter(|path| self.directory(path).is_err()).map(Path::to_owned).collect();
        missing.reverse();
        missing
    }

    pub(super) fn set(&mut self, path: &Path, node: Option<Node>) {
        self.names.entry(path.to_owned()).or_insert_with(|| vec![None]).push(node);
    }

    pub(super) fn make_file(&mut self, path: &Path) -> usize {
        self.files.push(Content::default());
        let at = self.files.len() - 1;
        self.set(path, Some(Node::File(at)));
        at
    }

    pub(super) fn sync_dir(&mut self, path: &Path) {
        self.names.retain(|name, states| {
            if name.parent() == Some(path) {
                states.drain(..states.len() - 1);
            }
            states != &[None]
        });
    }

    pub(super) fn content(&mut self, at: usize) -> &mut Content {
        &mut self.files[at]
    }

    pub(super) fn look(&self, at: usize) -> &Content {
        &self.files[at]
    }

    pub(super) fn meta(&self, at: usize) -> Meta {
        let content = &self.files[at];
        let len = content.now.len() as u64;
        let allocated = (content.there.len() * PAGE) as u64;
        Meta { len, allocated, inode: at as u64 + 1, mtime: *content.changed.last().unwrap() }
    }

    pub(super) fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.directory(path)?;
        let here = self.names.keys().filter(|name| name.parent() == Some(path));
        let entry = |name: &PathBuf| {
            let node = self.find(name)?;
            let meta = match node {
                Node::Dir => Meta { len: 0, allocated: 0, inode: 0, mtime: 0 },
                Node::File(at) => self.meta(at),
            };
            let name = name.file_name().unwrap().to_str().unwrap().to_owned();
            Some(Entry { name, dir: node == Node::Dir, meta })
        };
        Ok(here.filter_map(entry).collect())
    }

    pub(super) fn files(&self) -> Vec<(PathBuf, Arc<Vec<u8>>)> {
        let files = self.names.keys().filter_map(|path| Some((path, self.file(path).ok()?)));
        files.map(|(path, at)| (path.clone(), Arc::clone(&self.files[at].now))).collect()
    }

    /// What may be found of it.
    pub(super) fn after(&self, loss: Loss) -> Self {
        let mut fate = Fate::of(loss);
        let files = self.files.iter().map(|content| content.after(&mut fate)).collect();
        let mut names: BTreeMap<PathBuf, Vec<Option<Node>>> = BTreeMap::new();
        // In their order, in which a directory comes before what is in it.
        for (path, states) in &self.names {
            let Some(node) = states[fate.name(states.len())] else { continue };
            let reached = path.parent().is_none_or(|parent| names.contains_key(parent));
            if reached {
                names.insert(path.clone(), vec![Some(node)]);
            }
        }
        Self { files, names }
    }
}

impl Content {
    pub(super) fn read(&self, buf: &mut [u8], offset: u64) -> usize {
        let from = usize::try_from(offset).unwrap().min(self.now.len());
        let read = buf.len().min(self.now.len() - from);
        buf[..read].copy_from_slice(&self.now[from..from + read]);
        read
    }

    pub(super) fn write(&mut self, buf: &[u8], offset: u64) {
        if buf.is_empty() {
            return;
        }
        let from = usize::try_from(offset).unwrap();
        let end = from + buf.len();
        if end > self.now.len() {
            self.set_len(end);
        }
        Arc::make_mut(&mut self.now)[from..end].copy_from_slice(buf);
        let pages = from / PAGE..end.div_ceil(PAGE);
        self.dirty.extend(pages.clone());
        self.there.extend(pages);
        self.touch();
    }

    pub(super) fn set_len(&mut self, len: usize) {
        if len < self.now.len() {
            // What is cut off and written anew is zeros in between.
            self.dirty.extend(len / PAGE..self.now.len().div_ceil(PAGE));
            self.there.retain(|page| page * PAGE < len);
        }
        if len != self.now.len() {
            resize(Arc::make_mut(&mut self.now), len);
        }
        if self.lens.last() != Some(&len) {
            self.lens.push(len);
        }
        self.touch();
    }

    pub(super) fn sync(&mut self) {
        self.durable = Arc::clone(&self.now);
        self.dirty.clear();
        self.lens = vec![self.now.len()];
        // The last stands for now; the one at this sync may be found as well.
        self.changed.push(*self.changed.last().unwrap());
    }

    /// The time of now takes the last place.
    fn touch(&mut self) {
        let now = clock().max(self.changed.last().unwrap() + 1);
        if self.changed.len() == 1 {
            self.changed.push(now);
        } else {
            *self.changed.last_mut().unwrap() = now;
        }
    }

    fn after(&self, fate: &mut Fate) -> Self {
        let len = self.lens[fate.length(self.lens.len())];
        let bytes = if self.dirty.is_empty() && len == self.durable.len() {
            Arc::clone(&self.durable)
        } else {
            Arc::new(self.bytes_after(len, fate))
        };
        let pages = 0..len.div_ceil(PAGE);
        Self {
            durable: Arc::clone(&bytes),
            now: bytes,
            dirty: BTreeSet::new(),
            there: self.there.iter().copied().filter(|page| pages.contains(page)).collect(),
            lens: vec![len],
            changed: vec![self.changed[fate.time(self.changed.len())]],
        }
    }
}

/// As `Vec::resize` with zeros, which takes its time where nothing is optimised.
fn resize(bytes: &mut Vec<u8>, len: usize) {
    bytes.truncate(len);
    if bytes.len() < len {
        let mut grown = vec![0; len];
        grown[..bytes.len()].copy_from_slice(bytes);
        *bytes = grown;
    }
}

impl Content {
    fn bytes_after(&self, len: usize, fate: &mut Fate) -> Vec<u8> {
        let mut bytes = self.durable.to_vec();
        resize(&mut bytes, self.now.len().max(self.durable.len()));
        for &page in &self.dirty {
            for sector in fate.sectors() {
                let from = page * PAGE + sector * SECTOR;
                let end = (from + SECTOR).min(self.now.len());
                if from < end {
                    bytes[from..end].copy_from_slice(&self.now[from..end]);
                }
            }
        }
        resize(&mut bytes, len);
        bytes
    }
}

/// Decides what is kept.
struct Fate {
    loss: Loss,
    dice: u64,
    /// In how many of four cases the latest is kept.
    lean: u64,
}

impl Fate {
    fn of(loss: Loss) -> Self {
        let mut fate = Self { loss, dice: if let Loss::Dice(seed) = loss { seed } else { 0 }, lean: 0 };
        fate.lean = fate.below(5);
        fate
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.dice ^ (self.dice >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11) % limit.max(1)
    }

    /// One of so many states, of which the first is durable and the last is the latest.
    fn pick(&mut self, states: usize, kept: bool) -> usize {
        let latest = match self.loss {
            Loss::Dice(_) => self.below(4) < self.lean,
            _ => kept,
        };
        match self.loss {
            _ if latest => states - 1,
            Loss::Dice(_) => self.below(states as u64) as usize,
            _ => 0,
        }
    }

    fn name(&mut self, states: usize) -> usize {
        self.pick(states, matches!(self.loss, Loss::Nothing | Loss::Bytes))
    }

    fn length(&mut self, states: usize) -> usize {
        self.pick(states, self.loss != Loss::Everything)
    }

    fn time(&mut self, states: usize) -> usize {
        self.pick(states, self.loss == Loss::Nothing)
    }

    /// Which sectors of a page that was written are there: all, none, or those before or from some place.
    fn sectors(&mut self) -> std::ops::Range<usize> {
        const ALL: usize = PAGE / SECTOR;
        match self.loss {
            Loss::Nothing | Loss::Names => 0..ALL,
            Loss::Bytes | Loss::Everything => 0..0,
            Loss::Dice(_) => match self.pick(4, false) {
                0 => 0..0,
                1 => 0..self.below(ALL as u64) as usize,
                2 => self.below(ALL as u64) as usize..ALL,
                _ => 0..ALL,
            },
        }
    }
}
