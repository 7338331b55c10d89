//! A bundle as a directory. It is filled under a temporary name, each file of it complete from the moment it has its own;
//! who begins again after a stop finds those and does not write them again.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::bundle::error::Error;
use crate::bundle::read::blob_path;
use crate::oci::{Digest, Hasher};
use crate::store::fs::{Access, Disk, DiskFile};

use super::output::refuse_existing;
use super::{Sink, beside, folder_of};

/// What temporary names end in.
const TEMPORARY: &str = ".partial";
/// Keeps a second one from writing into the same directory.
const LOCK: &str = "LOCK";
const BUFFER: usize = 1 << 20;

/// See the module.
pub(super) struct Folder<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    temporary: PathBuf,
    lock: Box<dyn DiskFile>,
    /// The directories below it, to be made durable, and the files that belong there.
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl<'a> Folder<'a> {
    pub(super) fn begin(disk: &'a dyn Disk, path: &Path) -> Result<Self, Error> {
        refuse_existing(disk, path)?;
        let temporary = beside(path, TEMPORARY);
        disk.create_dir(&temporary).map_err(Error::io("make", &temporary))?;
        let file = temporary.join(LOCK);
        let lock = disk.open(&file, Access::Create).map_err(Error::io("make", &file))?;
        if !lock.try_lock().map_err(Error::io("lock", &file))? {
            return Err(Error::Busy(path.to_owned()));
        }
        let (path, folders) = (path.to_owned(), Vec::new());
        Ok(Self { disk, path, temporary, lock, folders, files: Vec::new() })
    }

    fn write(&self, path: &Path, content: &mut dyn Read) -> Result<(), Error> {
        let half = beside(path, TEMPORARY);
        let file = self.disk.open(&half, Access::Fresh).map_err(Error::io("make", &half))?;
        let mut buffer = vec![0; BUFFER];
        let mut at = 0;
        loop {
            let read = content.read(&mut buffer).map_err(Error::io("read for", path))?;
            if read == 0 {
                break;
            }
            file.write_at(&buffer[..read], at).map_err(Error::io("write", &half))?;
            at += read as u64;
        }
        file.sync().map_err(Error::io("sync", &half))?;
        self.disk.rename(&half, path).map_err(Error::io("give a name to", path))
    }

    /// Whether the file is there and what it should be.
    fn is_there(&self, path: &Path, digest: &Digest, size: u64) -> bool {
        let Ok(file) = self.disk.open(path, Access::Read) else { return false };
        file.meta().is_ok_and(|meta| meta.len == size) && has_digest(&*file, digest).unwrap_or(false)
    }

    /// Takes away what an earlier try left that is not in this bundle.
    fn sweep(&self, folder: &Path) -> Result<(), Error> {
        for entry in self.disk.list(folder).map_err(Error::io("list", folder))? {
            let path = folder.join(&entry.name);
            if entry.dir {
                self.sweep(&path)?;
            } else if self.files.binary_search(&path).is_err() {
                self.disk.remove(&path).map_err(Error::io("remove", &path))?;
            }
        }
        Ok(())
    }
}

impl Sink for Folder<'_> {
    fn folder(&mut self, path: &str) -> Result<(), Error> {
        let path = self.temporary.join(path);
        self.disk.create_dir(&path).map_err(Error::io("make", &path))?;
        self.folders.push(path);
        Ok(())
    }

    fn file(&mut self, path: &str, _size: u64, content: &mut dyn Read) -> Result<(), Error> {
        let path = self.temporary.join(path);
        self.write(&path, content)?;
        self.files.push(path);
        Ok(())
    }

    fn object(&mut self, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<(), Error> {
        let path = self.temporary.join(blob_path(digest));
        if !self.is_there(&path, digest, size) {
            self.write(&path, content)?;
        }
        self.files.push(path);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<PathBuf>, Error> {
        self.files.sort();
        self.sweep(&self.temporary)?;
        for folder in self.folders.iter().rev().chain([&self.temporary]) {
            self.disk.sync_dir(folder).map_err(Error::io("sync", folder))?;
        }
        let renamed = self.disk.rename(&self.temporary, &self.path);
        renamed.map_err(Error::io("give a name to", &self.path))?;
        let above = folder_of(&self.path);
        self.disk.sync_dir(above).map_err(Error::io("sync", above))?;
        drop(self.lock);
        Ok(vec![self.path])
    }
}

fn has_digest(file: &dyn DiskFile, digest: &Digest) -> io::Result<bool> {
    let mut hasher = Hasher::new(digest.algorithm());
    let mut buffer = vec![0; BUFFER];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at)? {
            0 => return Ok(hasher.finish() == *digest),
            read => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
}
