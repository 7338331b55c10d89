//! A directory as an archive.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::bundle::error::{Error, Refusal};
use crate::bundle::files::{self, Kind, Opened};

use super::path::LONGEST;
use super::source::{Listing, Take};
use super::{Limits, broken};

/// The files under a directory.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    limits: Limits,
}

impl Folder {
    pub(super) fn new(root: &Path, limits: &Limits) -> Self {
        Self { root: root.to_owned(), limits: *limits }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let mut ahead = vec![String::new()];
        while let Some(folder) = ahead.pop() {
            let path = self.root.join(&folder);
            for (name, kind) in files::list(&path).map_err(Error::io("list", &path))? {
                let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
                if name.len() > LONGEST {
                    return Err(Error::entry(name, Refusal::LongName(LONGEST)));
                }
                match kind {
                    Kind::File(size) => listing.add(name, size, &self.limits)?,
                    Kind::Folder => ahead.push(name),
                    // Only a mistake where something is wanted by this name.
                    Kind::Link => {
                        listing.strange.insert(name, Refusal::Link);
                    }
                    Kind::Other => {
                        listing.strange.insert(name, Refusal::Device);
                    }
                }
            }
        }
        Ok(listing)
    }

    pub(super) fn visit(&self, wanted: &BTreeSet<String>, take: &mut Take<'_>) -> Result<(), Error> {
        for name in wanted {
            let path = self.root.join(name);
            let file = files::open_inside(&path).map_err(Error::io("open", &path))?;
            let size = file.len().map_err(Error::io("look at", &path))?;
            let mut content = Content { file, at: 0 };
            take(name, size, &mut content)?;
        }
        Ok(())
    }

    pub(super) fn broken(&self, entry: &str, error: io::Error) -> Error {
        broken(self.root.join(entry), entry, false, error)
    }
}

struct Content {
    file: Opened,
    at: u64,
}

impl Read for Content {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(buf, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}
