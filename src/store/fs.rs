//! The seam to the file system: everything the store asks of a disk, in two small traits.
//!
//! This file owns every call of `std::fs` in the crate. [`RealDisk`] passes the calls on; tests wrap it in disks that
//! fail, fill up, tear writes or freeze, and run the whole store over them. The traits promise what POSIX promises and
//! no more: a write is there after a crash only if [`DiskFile::sync`] returned after it, a name only if
//! [`Disk::sync_dir`] of its directory did.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::io::{Errno, pwritev};

/// A file system, as far as the store needs one.
pub trait Disk: Send + Sync + std::fmt::Debug {
    /// Opens a file; `access` says whether it may, must or must not exist. New files are readable by us alone.
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file another name, replacing what had that name, in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file's name; whoever has it open keeps its bytes.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// The entries of a directory whose names are UTF-8, in no order; others are not ours.
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>>;
    /// Creates a directory, with those above it; one that exists is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// How large the file system is, and how much of it is free for us.
    fn space(&self, path: &Path) -> io::Result<Space>;
}

/// An open file. All calls block, and take positions, so that any number of threads may share one.
pub trait DiskFile: Send + Sync + std::fmt::Debug {
    /// Reads at a position; fewer bytes than asked are possible, none means the end.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `buf` at a position.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of these at a position, one behind the other. The system keeps what is written by one call in large
    /// pieces of its memory, which are cheaper to make, to sync and to send than many small ones.
    fn write_run_at(&self, run: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        let mut at = offset;
        for bytes in run {
            self.write_at(bytes, at)?;
            at += bytes.len() as u64;
        }
        Ok(())
    }
    /// Makes what was written durable, with the length.
    fn sync(&self) -> io::Result<()>;
    /// Cuts or extends the file; new bytes are zeros that take no space.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// What the file system knows of the file.
    fn meta(&self) -> io::Result<Meta>;
    /// Takes the exclusive lock on the file, kept until the file is closed; false when another has it.
    fn try_lock(&self) -> io::Result<bool>;
    /// Lets the system give up the memory in which it keeps what was read of a range. Advice, for those who read much that
    /// nobody is about to read again.
    fn forget_cached(&self, range: Range<u64>) {
        let _ = range;
    }
    /// What the file system knows of the file, if that has a name yet and it is known without waiting for a disk.
    fn meta_at_hand(&self) -> Option<Meta> {
        None
    }
    /// The operating system's file behind it, where there is one, so that the kernel can send it.
    fn as_file(&self) -> Option<&File> {
        None
    }
}

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// For reading; it must exist.
    Read,
    /// For reading and writing; it must exist.
    Write,
    /// For reading and writing; made when it does not exist.
    Create,
    /// For reading and writing, made or cut to nothing.
    Fresh,
}

/// What a file system says about a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meta {
    /// Length in bytes, holes included.
    pub len: u64,
    /// Bytes that take space on the disk.
    pub allocated: u64,
    /// The file's number in its file system.
    pub inode: u64,
    /// Last change of the content, in nanoseconds since 1970.
    pub mtime: i64,
}

/// A directory's entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the directory.
    pub name: String,
    /// Whether it is a directory itself.
    pub dir: bool,
    /// What is known about it.
    pub meta: Meta,
}

/// Size of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it, in bytes.
    pub total: u64,
    /// What we may still write, in bytes.
    pub available: u64,
    /// How many more files it takes, where it counts them.
    pub files: Option<u64>,
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true).mode(0o600);
        match access {
            Access::Read => &mut options,
            Access::Write => options.write(true),
            Access::Create => options.write(true).create(true),
            Access::Fresh => options.write(true).create(true).truncate(true),
        };
        Ok(Box::new(RealFile(options.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let meta = match entry.metadata() {
                Ok(meta) => meta,
                // Removed between the two calls.
                Err(gone) if gone.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            entries.push(Entry { name, dir: meta.is_dir(), meta: Meta::from(&meta) });
        }
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = rustix::fs::statvfs(path)?;
        Ok(Space {
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
            available: stat.f_bavail.saturating_mul(stat.f_frsize),
            files: (stat.f_files > 0).then_some(stat.f_favail),
        })
    }
}

/// How many slices one call takes (`IOV_MAX` of Linux).
const AT_ONCE: usize = 1024;

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.0.read_at(buf, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(buf, offset)
    }

    fn write_run_at(&self, run: &[IoSlice<'_>], offset: u64) -> io::Result<()> {
        write_all(run, offset, |slices, at| pwritev(&self.0, slices, at))
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn meta(&self) -> io::Result<Meta> {
        Ok(Meta::from(&self.0.metadata()?))
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn forget_cached(&self, range: Range<u64>) {
        let length = std::num::NonZeroU64::new(range.end.saturating_sub(range.start));
        // Not every file system has such memory, or gives it up.
        let _ = rustix::fs::fadvise(&self.0, range.start, length, rustix::fs::Advice::DontNeed);
    }

    fn meta_at_hand(&self) -> Option<Meta> {
        let meta = self.0.metadata().ok()?;
        (meta.nlink() > 0).then(|| Meta::from(&meta))
    }

    fn as_file(&self) -> Option<&File> {
        Some(&self.0)
    }
}

impl From<&fs::Metadata> for Meta {
    fn from(meta: &fs::Metadata) -> Self {
        let mtime = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
        Self { len: meta.len(), allocated: meta.blocks().saturating_mul(512), inode: meta.ino(), mtime }
    }
}

/// Reads a whole small file.
pub(super) fn read(disk: &dyn Disk, path: &Path) -> io::Result<Vec<u8>> {
    let file = disk.open(path, Access::Read)?;
    let len = usize::try_from(file.meta()?.len).map_err(|_| io::ErrorKind::FileTooLarge)?;
    let mut bytes = vec![0; len];
    read_exact_at(&*file, &mut bytes, 0)?;
    Ok(bytes)
}

/// Fills `buf` from a position, or fails.
pub(super) fn read_exact_at(file: &dyn DiskFile, buf: &mut [u8], offset: u64) -> io::Result<()> {
    let mut done = 0;
    while done < buf.len() {
        match file.read_at(&mut buf[done..], offset + done as u64)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => done += read,
        }
    }
    Ok(())
}

/// Puts a small file under its name in one step: after a crash there is the old one, or the new one whole. The name
/// itself is durable once its directory is synced, which is left to the caller.
pub(super) fn replace(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}{TEMPORARY}", SERIAL.fetch_add(1, Ordering::Relaxed)));
    let temporary = Path::new(&name);
    let written = disk.open(temporary, Access::Fresh).and_then(|file| {
        file.write_at(bytes, 0)?;
        file.sync()
    });
    written.and_then(|()| disk.rename(temporary, path)).inspect_err(|_| {
        // A leftover is swept at start.
        let _ = disk.remove(temporary);
    })
}

/// Removes a file that may be gone already.
pub(super) fn remove(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(gone) if gone.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// What the names of half-written small files end in.
pub(super) const TEMPORARY: &str = ".new";
/// Keeps two threads that replace the same file from writing into one temporary.
static SERIAL: AtomicU64 = AtomicU64::new(0);

/// Writes all of a run by a call that takes so many slices at once and may take less than all of them.
fn write_all(
    run: &[IoSlice<'_>],
    offset: u64,
    mut write: impl FnMut(&[IoSlice<'_>], u64) -> rustix::io::Result<usize>,
) -> io::Result<()> {
    let mut at = offset;
    let mut run = run.to_vec();
    let mut left = &mut run[..];
    // What is empty is passed over, so that nothing written means nothing taken.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match write(&left[..left.len().min(AT_ONCE)], at) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                IoSlice::advance_slices(&mut left, written);
                at += written as u64;
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_file_is_the_new_one_and_leaves_no_temporary() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        replace(&RealDisk, &path, b"one").unwrap();
        replace(&RealDisk, &path, b"second").unwrap();
        assert_eq!(read(&RealDisk, &path).unwrap(), b"second");
        let names: Vec<_> = RealDisk.list(dir.path()).unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["a"]);
    }

    #[test]
    fn what_we_make_is_for_us_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        RealDisk.create_dir(&dir.path().join("d/e")).unwrap();
        RealDisk.open(&dir.path().join("d/e/f"), Access::Create).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("d"), mode("d/e"), mode("d/e/f")), (0o700, 0o700, 0o600));
    }

    #[test]
    fn a_lock_keeps_the_second_out_until_the_first_is_closed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let first = RealDisk.open(&path, Access::Create).unwrap();
        let second = RealDisk.open(&path, Access::Create).unwrap();
        assert!(first.try_lock().unwrap());
        assert!(!second.try_lock().unwrap());
        drop(first);
        assert!(second.try_lock().unwrap());
    }

    #[test]
    fn a_run_is_written_as_its_parts_would_be_however_many_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("a"), Access::Fresh).unwrap();
        let all: Vec<u8> = (0..5_000_u32).map(|at| (at % 251) as u8).collect();
        for parts in [&[5_000][..], &[0, 1, 0, 4_999, 0], &[1; 5_000], &[0, 0], &[]] {
            file.set_len(0).unwrap();
            let mut left = &all[..];
            let cut = |len: &usize| {
                let (part, rest) = left.split_at(*len);
                left = rest;
                IoSlice::new(part)
            };
            let run: Vec<IoSlice<'_>> = parts.iter().map(cut).collect();
            file.write_run_at(&run, 7).unwrap();
            let len: usize = parts.iter().sum();
            let mut found = vec![1; len];
            read_exact_at(&*file, &mut found, 7).unwrap();
            assert_eq!(found, all[..len], "{parts:?}");
        }
    }

    #[test]
    fn a_run_of_which_the_system_takes_a_part_at_a_time_is_written_whole_or_fails() {
        let all: Vec<u8> = (0..100).collect();
        let run = [IoSlice::new(&all[..40]), IoSlice::new(&[]), IoSlice::new(&all[40..])];
        let mut written = Vec::new();
        let mut calls = 0;
        let taken = |slices: &[IoSlice<'_>], at: u64| {
            calls += 1;
            if calls % 3 == 0 {
                return Err(Errno::INTR);
            }
            assert_eq!(at, 7 + written.len() as u64);
            let given: Vec<u8> = slices.iter().flat_map(|slice| slice.iter().copied()).collect();
            // Over the seam of two slices as well.
            let part = given.len().min(9);
            written.extend_from_slice(&given[..part]);
            Ok(part)
        };
        write_all(&run, 7, taken).unwrap();
        assert_eq!(written, all);
        let full = write_all(&run, 0, |_, at| if at < 9 { Ok(9) } else { Err(Errno::NOSPC) });
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let nothing = write_all(&run, 0, |_, _| Ok(0));
        assert_eq!(nothing.unwrap_err().kind(), io::ErrorKind::WriteZero);
    }

    #[test]
    fn a_hole_takes_no_space() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.open(&dir.path().join("sparse"), Access::Fresh).unwrap();
        file.set_len(1 << 30).unwrap();
        let meta = file.meta().unwrap();
        assert_eq!(meta.len, 1 << 30);
        assert!(meta.allocated < 1 << 20);
        assert!(RealDisk.space(dir.path()).unwrap().total > 0);
    }
}
