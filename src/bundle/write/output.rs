//! The file or the volumes that an archive is written to: under temporary names until all of it is durable.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::bundle::error::Error;
use crate::bundle::read::{VOLUME_HEAD, Volume};
use crate::store::fs::{Access, Disk, DiskFile};

use super::{Cut, beside, folder_of};

/// What temporary names end in.
const TEMPORARY: &str = ".partial";
/// How much is written at once.
const BUFFER: usize = 1 << 20;

/// An archive on its way to the disk.
pub(super) struct Output<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    cut: Option<Cut>,
    files: Vec<Part>,
    buffer: Vec<u8>,
}

/// One file of it.
struct Part {
    file: Box<dyn DiskFile>,
    temporary: PathBuf,
    path: PathBuf,
    /// How many bytes of the archive are in it.
    length: u64,
}

impl<'a> Output<'a> {
    pub(super) fn begin(disk: &'a dyn Disk, path: &Path, cut: Option<Cut>) -> Result<Self, Error> {
        let mut output = Self { disk, path: path.to_owned(), cut, files: Vec::new(), buffer: Vec::new() };
        output.next()?;
        Ok(output)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Begins the next file.
    fn next(&mut self) -> Result<(), Error> {
        let path = match &self.cut {
            Some(_) => beside(&self.path, &format!(".{:03}", self.files.len() + 1)),
            None => self.path.clone(),
        };
        // The first volume gets its name last: it is there when all are.
        if self.files.is_empty() {
            refuse_existing(self.disk, &path)?;
        }
        let temporary = beside(&path, TEMPORARY);
        let file = self.disk.open(&temporary, Access::Create).map_err(Error::io("make", &temporary))?;
        if !file.try_lock().map_err(Error::io("lock", &temporary))? {
            return Err(Error::Busy(path));
        }
        file.set_len(0).map_err(Error::io("write", &temporary))?;
        self.files.push(Part { file, temporary, path, length: 0 });
        Ok(())
    }

    /// How many bytes more the file takes; all of them where there are no volumes.
    fn room(&self, part: &Part) -> u64 {
        let Some(cut) = &self.cut else { return u64::MAX };
        // Of the zeros behind the slice it is the most that there may be.
        let slice = cut.most - VOLUME_HEAD - 512 - 1024;
        slice.saturating_sub(part.length)
    }

    fn pass_on(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.buffer);
        let mut left = bytes.as_slice();
        while !left.is_empty() {
            let Some(part) = self.files.last() else { return Err(io::ErrorKind::BrokenPipe.into()) };
            let most = usize::try_from(self.room(part)).unwrap_or(usize::MAX).min(left.len());
            if most == 0 {
                self.next().map_err(io::Error::other)?;
                continue;
            }
            let start = part.length + self.cut.as_ref().map_or(0, |_| VOLUME_HEAD);
            part.file.write_at(&left[..most], start)?;
            left = &left[most..];
            if let Some(part) = self.files.last_mut() {
                part.length += most as u64;
            }
        }
        self.buffer = bytes;
        self.buffer.clear();
        Ok(())
    }

    /// Makes everything durable, and then known under its name: all of it, or nothing.
    pub(super) fn finish(mut self) -> Result<Vec<PathBuf>, Error> {
        self.flush().map_err(Error::io("write", &self.path))?;
        let of = u32::try_from(self.files.len()).unwrap_or(u32::MAX);
        for (number, part) in (1..).zip(&self.files) {
            if let Some(cut) = &self.cut {
                let volume = Volume { set: cut.set.clone(), number, of, length: part.length };
                let head = volume.head().and_then(|head| part.file.write_at(&head, 0));
                head.map_err(Error::io("write", &part.temporary))?;
                let end = VOLUME_HEAD + part.length + volume.tail();
                part.file.set_len(end).map_err(Error::io("write", &part.temporary))?;
            }
            part.file.sync().map_err(Error::io("sync", &part.temporary))?;
        }
        let folder = folder_of(&self.path);
        for part in self.files.iter().rev() {
            let renamed = self.disk.rename(&part.temporary, &part.path);
            renamed.map_err(Error::io("give a name to", &part.path))?;
        }
        self.disk.sync_dir(folder).map_err(Error::io("sync", folder))?;
        Ok(self.files.into_iter().map(|part| part.path).collect())
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.pass_on()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on()
    }
}

/// What is there is not replaced: it may be the bundle that this one is a difference to.
pub(super) fn refuse_existing(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.open(path, Access::Read) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Error::io("look for", path)(error)),
        Ok(_) => Err(Error::Exists(path.to_owned())),
    }
}
