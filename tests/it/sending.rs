//! Files that the kernel does not send as it should, though they read well: found before the first client, or by one.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::sync::Arc;

use roadstead::store::fs::{Access, Disk, DiskFile, Entry, Meta, RealDisk, Space};

use crate::support::images::layer;
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, World};

/// What the kernel is given in the place of files whose path contains `part`.
#[derive(Debug)]
struct Odd {
    part: &'static str,
    instead: fn(&Path) -> io::Result<File>,
}

impl Disk for Odd {
    fn open(&self, path: &Path, access: Access) -> io::Result<Box<dyn DiskFile>> {
        let file = RealDisk.open(path, access)?;
        if !path.to_string_lossy().contains(self.part) {
            return Ok(file);
        }
        Ok(Box::new(OddFile { file, instead: (self.instead)(path)? }))
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.sync_dir(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<Entry>> {
        RealDisk.list(path)
    }
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealDisk.create_dir(path)
    }
    fn space(&self, path: &Path) -> io::Result<Space> {
        RealDisk.space(path)
    }
}

#[derive(Debug)]
struct OddFile {
    file: Box<dyn DiskFile>,
    instead: File,
}

impl DiskFile for OddFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buf, offset)
    }
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(buf, offset)
    }
    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
    fn meta(&self) -> io::Result<Meta> {
        self.file.meta()
    }
    fn try_lock(&self) -> io::Result<bool> {
        self.file.try_lock()
    }
    fn as_file(&self) -> Option<&File> {
        Some(&self.instead)
    }
}

/// A mirror over that disk, which has a blob.
async fn over(disk: Odd, send_files: &str) -> (World, crate::support::images::Object) {
    let upstream = Upstream::start().await;
    let line = format!("send_files = {send_files:?}");
    let mirror = Setup::of(&upstream).set("server", &line).disk(Arc::new(disk)).start().await;
    let world = World { upstream, mirror };
    let blob = layer(3, 3_000_000);
    world.upstream.push_blob(REPOSITORY, &blob);
    (world, blob)
}

async fn by_kernel(mirror: &Mirror) -> bool {
    mirror.metric("roadstead_files_sent_by_kernel", &[]).await > 0.0
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_where_the_trial_at_the_start_fails_files_are_copied_and_the_metric_says_so() {
    // Zeros in the place of what was written.
    let zeros = |_: &Path| {
        let zeros = tempfile::tempfile()?;
        zeros.set_len(1 << 20)?;
        Ok(zeros)
    };
    for (part, kept) in [("scratch", false), ("nothing of that name", true)] {
        let (world, blob) = over(Odd { part, instead: zeros }, "auto").await;
        assert_eq!(by_kernel(&world.mirror).await, kept, "{part}");
        for _ in 0..2 {
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            world.mirror.settled().await;
        }
        assert_eq!(by_kernel(&world.mirror).await, kept, "{part}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g7_a_kernel_that_refuses_to_send_a_file_costs_a_connection_and_files_are_copied_from_then_on() {
    let write_only = |path: &Path| OpenOptions::new().write(true).open(path);
    // The file as a hit has it.
    let (world, blob) = over(Odd { part: "blobs/sha256", instead: write_only }, "kernel").await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    let mirror = world.mirror.restart().await;
    let world = World { mirror, ..world };
    assert!(by_kernel(&world.mirror).await);
    let first = world.blob(&blob.digest).send().await;
    assert!(first.body.len() < blob.bytes.len() && blob.bytes.starts_with(&first.body));
    // It is known before the connection is cut.
    assert!(!by_kernel(&world.mirror).await);
    for _ in 0..2 {
        let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(answer.cache_status(), "hit");
    }
}
