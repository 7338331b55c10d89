//! The files that archives are read from. Links are never followed below what the operator named, so that a directory of
//! a stranger leads nowhere else; what is written goes through the store's seam and not through here.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::OFlags;

/// What is at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of that size.
    File(u64),
    Folder,
    Link,
    /// A device, a pipe, a socket.
    Other,
}

/// An open file that is read at positions.
#[derive(Debug)]
pub(super) struct Opened(File);

/// What the operator named; a link of his is followed.
pub(super) fn named(path: &Path) -> io::Result<Kind> {
    Ok(kind(&fs::metadata(path)?))
}

/// Opens a file that the operator named.
pub(super) fn open_named(path: &Path) -> io::Result<Opened> {
    Ok(Opened(File::open(path)?))
}

/// Opens a file in a directory of a stranger; a link is refused, and a pipe does not make it wait.
pub(super) fn open_inside(path: &Path) -> io::Result<Opened> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    Ok(Opened(OpenOptions::new().read(true).custom_flags(flags).open(path)?))
}

/// The names in a directory, in their order, with what they are. Those that are not UTF-8 are none of ours.
pub(super) fn list(path: &Path) -> io::Result<Vec<(String, Kind)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if let Ok(name) = entry.file_name().into_string() {
            // Of the entry itself, not of what a link leads to.
            entries.push((name, kind(&entry.metadata()?)));
        }
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

fn kind(meta: &fs::Metadata) -> Kind {
    let file = meta.file_type();
    match () {
        () if file.is_file() => Kind::File(meta.len()),
        () if file.is_dir() => Kind::Folder,
        () if file.is_symlink() => Kind::Link,
        () => Kind::Other,
    }
}

impl Opened {
    pub(super) fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }
}
