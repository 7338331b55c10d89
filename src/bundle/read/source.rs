//! Where the bytes of an archive lie: a directory, or a tar archive, packed or not, in one file or in volumes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::bundle::error::{Error, Refusal};
use crate::bundle::files::{self, Kind as FileKind};

use super::expand::Packing;
use super::folder::Folder;
use super::joined::{Joined, Part};
use super::tape::{Kind, Tape};
use super::{Limits, broken, volumes};

/// What is done with each wanted file: its path, its size, its content.
pub(in crate::bundle) type Take<'a> = dyn FnMut(&str, u64, &mut dyn Read) -> Result<(), Error> + 'a;

/// An archive that can be read again and again.
#[derive(Debug)]
pub(in crate::bundle) enum Source {
    Folder(FolderSource),
    Tape(TapeSource),
}

#[derive(Debug)]
pub(in crate::bundle) struct FolderSource(Folder);

#[derive(Debug)]
pub(in crate::bundle) struct TapeSource {
    parts: Arc<Vec<Part>>,
    packing: Packing,
    limits: Limits,
    /// Small documents that were seen on the way, so that a packed archive need not be unpacked again for each.
    seen: BTreeMap<String, Bytes>,
}

/// What an archive has, by path.
#[derive(Debug, Default)]
pub(in crate::bundle) struct Listing {
    /// Files, with their sizes.
    pub(super) files: BTreeMap<String, u64>,
    /// Links, with the paths in the archive that they lead to.
    pub(super) links: BTreeMap<String, String>,
    /// What may be there as long as nobody wants it.
    pub(super) strange: BTreeMap<String, Refusal>,
}

/// Documents up to this size are remembered.
const SMALL: u64 = 256 << 10;
/// As long as all of them together are no larger than this.
const REMEMBERED: usize = 64 << 20;

impl Source {
    /// Opens what the operator named: a directory, a file, or some volumes of a set.
    pub(in crate::bundle) fn open(paths: &[PathBuf], limits: &Limits) -> Result<Self, Error> {
        let Some(first) = paths.first() else { return Err(Error::UnknownFormat(PathBuf::new())) };
        if files::named(first).map_err(Error::io("look at", first))? == FileKind::Folder {
            let strange = paths.get(1).cloned().map(Error::StrangeVolume);
            return strange.map_or_else(|| Ok(Self::Folder(FolderSource(Folder::new(first, limits)))), Err);
        }
        let file = files::open_named(first).map_err(Error::io("open", first))?;
        let parts = match volumes::probe(&file).map_err(Error::io("read", first))? {
            Some(volume) => volumes::gather(&volume, paths)?,
            None => {
                if let Some(strange) = paths.get(1) {
                    return Err(Error::StrangeVolume(strange.clone()));
                }
                let length = file.len().map_err(Error::io("look at", first))?;
                vec![Part { path: first.clone(), file, offset: 0, length }]
            }
        };
        let parts = Arc::new(parts);
        let mut start = [0; 4];
        let filled = Joined::new(Arc::clone(&parts)).read(&mut start).map_err(Error::io("read", first))?;
        let packing = Packing::of(&start[..filled]);
        Ok(Self::Tape(TapeSource { parts, packing, limits: *limits, seen: BTreeMap::new() }))
    }

    /// What the operator named, for messages.
    pub(in crate::bundle) fn path(&self) -> PathBuf {
        match self {
            Self::Folder(folder) => folder.0.root().to_owned(),
            Self::Tape(tape) => tape.path(),
        }
    }

    /// All that is in it; reads it once.
    pub(in crate::bundle) fn list(&mut self) -> Result<Listing, Error> {
        match self {
            Self::Folder(folder) => folder.0.list(),
            Self::Tape(tape) => tape.list(),
        }
    }

    /// Gives the content of each wanted file, in the order of the archive. What is not there is not given.
    pub(in crate::bundle) fn visit(
        &self,
        wanted: &BTreeSet<String>,
        take: &mut Take<'_>,
    ) -> Result<(), Error> {
        match self {
            _ if wanted.is_empty() => Ok(()),
            Self::Folder(folder) => folder.0.visit(wanted, take),
            Self::Tape(tape) => tape.visit(wanted, take),
        }
    }

    /// What it means that the content of an entry could not be read.
    pub(in crate::bundle) fn broken(&self, entry: &str, error: io::Error) -> Error {
        match self {
            Self::Folder(folder) => folder.0.broken(entry, error),
            Self::Tape(tape) => tape.broken(entry, error),
        }
    }
}

impl TapeSource {
    fn path(&self) -> PathBuf {
        self.parts.first().map(|part| part.path.clone()).unwrap_or_default()
    }

    fn broken(&self, entry: &str, error: io::Error) -> Error {
        broken(self.path(), entry, self.packing != Packing::Plain, error)
    }

    fn tape(&self) -> Result<Tape, Error> {
        let stream = self.packing.unpack(Joined::new(Arc::clone(&self.parts)), &self.limits);
        Ok(Tape::new(stream.map_err(Error::io("unpack", &self.path()))?))
    }

    fn list(&mut self) -> Result<Listing, Error> {
        let mut tape = self.tape()?;
        let mut listing = Listing::default();
        let (mut seen, mut remembered) = (BTreeMap::new(), 0);
        loop {
            let entry = match tape.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => break,
                // What begins with no header at all is no archive.
                Err(error) if listing.is_empty() && is_header(&error) => {
                    return Err(Error::UnknownFormat(self.path()));
                }
                Err(error) => return Err(self.broken(tape.name(), error)),
            };
            let Some(path) = entry.path else { continue };
            match entry.kind {
                Kind::File(size) => {
                    let small = self.packing != Packing::Plain && size <= SMALL && remembered < REMEMBERED;
                    if small {
                        let mut content = Vec::new();
                        tape.read_to_end(&mut content).map_err(|error| self.broken(&path, error))?;
                        if content.first() == Some(&b'{') || content.first() == Some(&b'[') {
                            remembered += content.len();
                            seen.insert(path.clone(), Bytes::from(content));
                        }
                    }
                    listing.add(path, size, &self.limits)?;
                }
                Kind::Link(to) => {
                    if listing.links.len() >= self.limits.entries {
                        return Err(Error::entry(path, Refusal::TooMany(self.limits.entries)));
                    }
                    listing.links.insert(path, to);
                }
                Kind::Folder => {}
            }
        }
        self.seen = seen;
        Ok(listing)
    }

    fn visit(&self, wanted: &BTreeSet<String>, take: &mut Take<'_>) -> Result<(), Error> {
        let mut left = wanted.len();
        let known = wanted.iter().filter_map(|path| Some((path, self.seen.get(path)?)));
        for (path, content) in known {
            take(path, content.len() as u64, &mut content.as_ref())?;
            left -= 1;
        }
        if left == 0 {
            return Ok(());
        }
        let mut tape = self.tape()?;
        while let Some(entry) = tape.next().map_err(|error| self.broken(tape.name(), error))? {
            let (Some(path), Kind::File(size)) = (entry.path, entry.kind) else { continue };
            if wanted.contains(&path) && !self.seen.contains_key(&path) {
                take(&path, size, &mut tape)?;
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.files.is_empty() && self.links.is_empty()
    }

    pub(super) fn add(&mut self, path: String, size: u64, limits: &Limits) -> Result<(), Error> {
        if self.files.len() >= limits.entries {
            return Err(Error::entry(path, Refusal::TooMany(limits.entries)));
        }
        if self.files.insert(path.clone(), size).is_some() {
            return Err(Error::entry(path, Refusal::Twice));
        }
        Ok(())
    }

    /// The size of a file; none if it is not there.
    pub(super) fn file(&self, path: &str) -> Result<Option<u64>, Error> {
        if let Some(&size) = self.files.get(path) {
            return Ok(Some(size));
        }
        if self.links.contains_key(path) {
            return Err(Error::entry(path, Refusal::Link));
        }
        match self.strange.get(path) {
            Some(refusal) => Err(Error::entry(path, refusal.clone())),
            None => Ok(None),
        }
    }

    /// The file that a path means, through links inside the archive.
    pub(super) fn follow(&self, path: &str) -> Option<String> {
        const MOST: usize = 8;
        let mut path = path;
        for _ in 0..MOST {
            if self.files.contains_key(path) {
                return Some(path.to_owned());
            }
            path = self.links.get(path)?;
        }
        None
    }
}

fn is_header(error: &io::Error) -> bool {
    let refusal = error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>());
    matches!(refusal, Some(Refusal::Header | Refusal::Truncated))
}
