//! A disk that is full, slow to admit it, or broken: T21, T36, T37, T98, T99 and G7; and the disk of the kit itself.

mod broken;
mod full;
mod room;

use std::path::Path;
use std::sync::Arc;

use roadstead::store::fs::{Access, Disk};

use crate::support::client::End;
use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::images::{layer, sha256};
use crate::support::mirror::{Setup, Signal, files_under};
use crate::support::upstream::Upstream;
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, World, blob_path};

const MB: u64 = 1_000_000;

/// A world over a disk that can be broken.
async fn over(disk: &FaultDisk) -> World {
    let upstream = Upstream::start().await;
    let mirror = Setup::with(&upstream, "tag_ttl = \"0s\"").disk(Arc::new(disk.clone())).start().await;
    World { upstream, mirror }
}

#[test]
fn the_kits_disk_fails_the_call_it_was_told_to_and_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new();
    disk.fault(fails(Op::Write, "special").after(1).times(1).for_space());
    let write = |name: &str| {
        let file = disk.open(&directory.path().join(name), Access::Create)?;
        file.write_at(b"bytes", 0)
    };
    write("special").unwrap();
    write("plain").unwrap();
    assert_eq!(write("special").unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    write("special").unwrap();
    disk.fault(fails(Op::Open, ""));
    assert!(write("plain").is_err());
    disk.heal();
    write("plain").unwrap();
    assert_eq!((disk.failed(), disk.calls(Op::Write)), (2, 5));
}

#[test]
fn the_kits_disk_is_full_when_its_size_is_used_and_has_room_again_when_something_goes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let disk = FaultDisk::new();
    let write = |path: &Path| disk.open(path, Access::Create)?.write_at(&[7; 100_000], 0);
    disk.resize(150_000);
    write(&path("one")).unwrap();
    assert!(disk.space(directory.path()).unwrap().available < 50_000);
    assert_eq!(write(&path("two")).unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    disk.rename(&path("one"), &path("three")).unwrap();
    assert!(write(&path("two")).is_err());
    disk.remove(&path("three")).unwrap();
    write(&path("two")).unwrap();
}

/// Every file that goes by a digest has that digest; how many there are.
#[track_caller]
fn expect_right(data: &Path) -> usize {
    let files = files_under(data, "/blobs/sha256/").into_iter();
    let blobs = files.filter(|file| file.file_name().is_some_and(|name| name.len() == 64));
    let named: Vec<_> =
        blobs.map(|file| (sha256(&std::fs::read(&file).unwrap())[7..].to_owned(), file)).collect();
    for (digest, file) in &named {
        assert!(file.ends_with(digest), "{} has the digest {digest}", file.display());
    }
    named.len()
}

#[tokio::test]
async fn t99_a_second_process_on_the_same_directory_is_refused_and_does_no_harm() {
    let upstream = Upstream::start().await;
    let blob = layer(25, MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mut first = Setup::of(&upstream).spawn().await;
    let mut reading = first.get(&blob_path(&blob.digest)).open().await;
    reading.until(1000).await;
    let config = first.config().to_owned();
    let second = async || {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_roadstead"));
        command.args(["serve", "--config"]).arg(&config).env_clear().kill_on_drop(true);
        soon("the end of the second process", command.output()).await.unwrap()
    };
    let refused = second().await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{said}");
    assert!(said.contains("in use by process") && said.contains("data"), "{said}");
    reading.rest().await.expect_bytes(&blob.bytes);
    let name = format!("/blobs/sha256/{}/", &blob.digest[7..9]);
    eventually("the blob committed", || !files_under(&first.data(), &name).is_empty()).await;

    // What is locked is not the file but its owner: after a kill the next one starts.
    first.kill().await;
    first.start_again().await;
    upstream.down().await;
    first.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    assert_eq!(second().await.status.code(), Some(1));
}

#[tokio::test]
async fn t98_a_fill_that_a_drain_stopped_goes_on_after_the_next_start() {
    let upstream = Upstream::start().await;
    let blob = layer(26, 20 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(5 * MB);
    let mut mirror = Setup::of(&upstream).set("server", "drain_timeout = \"100ms\"").spawn().await;
    let mut reading = mirror.get(&blob_path(&blob.digest)).open().await;
    reading.until(5 * MB).await;
    mirror.signal(Signal::Terminate);
    assert_eq!(mirror.ended().await, Some(0), "{}", mirror.output());
    assert!(reading.rest().await.end != End::Complete);
    upstream.quiet().await;
    gate.open();
    mirror.start_again().await;
    let again = (0..4).map(|_| tokio::spawn(mirror.get(&blob_path(&blob.digest)).send()));
    for one in again.collect::<Vec<_>>() {
        one.await.unwrap().expect_bytes(&blob.bytes);
    }
    assert_eq!(upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn a_small_blob_is_read_from_the_disk_once_and_its_ranges_come_from_memory() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let (small, large) = (layer(60, 64 << 10), layer(61, (64 << 10) + 1));
    for blob in [&small, &large] {
        world.upstream.push_blob(REPOSITORY, blob);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    world.mirror.settled().await;
    world.blob(&small.digest).send().await.expect_bytes(&small.bytes);
    disk.fault(fails(Op::Open, "blobs"));
    world.upstream.down().await;
    let warm = world.blob(&small.digest).send().await.expect_bytes(&small.bytes);
    assert_eq!(warm.cache_status(), "hit");
    let range = world.blob(&small.digest).range("100-199").send().await;
    range.expect_range(&small.bytes, 100, 199);
    assert_eq!(disk.failed(), 0, "the disk was asked");
    let large = world.blob(&large.digest).send().await;
    assert!(large.status != 200 || large.end != End::Complete);
    assert!(disk.failed() > 0);
}
