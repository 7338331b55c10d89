//! A disk that is full, slow to admit it, or broken: T37 and G7; and the disk of the kit itself.

use std::path::Path;
use std::sync::Arc;

use roadstead::store::fs::{Access, Disk};

use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::eventually;
use crate::support::images::{image, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, on};
use crate::world::{REPOSITORY, TAG, World};

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

#[tokio::test]
async fn t37_a_full_disk_turns_into_streaming_and_never_into_a_client_error() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let image = image(1, &[2 * MB, 300]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    disk.fault(fails(Op::Write, "partial").for_space());
    for _ in 0..2 {
        let layer = &image.layers[0];
        let answer = world.blob(&layer.digest).send().await.expect_bytes(&layer.bytes);
        assert_eq!(answer.length(), Some(layer.size()));
    }
    assert!(disk.failed() > 0);
    assert!(world.mirror.files("blobs/").is_empty());
    disk.heal();
    world.pull(&image).await;
}

#[tokio::test]
async fn t37_a_disk_that_fills_up_in_the_middle_of_a_blob_is_not_noticed_by_its_readers() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let blob = layer(2, 4 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut reading = world.blob(&blob.digest).open().await;
    reading.until(MB / 2).await;
    disk.fault(fails(Op::Write, "partial").for_space());
    gate.open();
    reading.rest().await.expect_bytes(&blob.bytes);
    assert!(disk.failed() > 0);
}

#[tokio::test]
async fn g7_a_blob_that_does_not_fit_the_budget_is_streamed() {
    let upstream = Upstream::start().await;
    let blob = layer(3, 6 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"4MiB\"").start().await;
    let world = World { upstream, mirror };
    for _ in 0..2 {
        let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(answer.cache_status(), "fwd=bypass");
    }
    assert!(world.mirror.files(&blob.digest[7..]).is_empty());
}

#[tokio::test]
async fn g7_writes_syncs_and_renames_that_fail_cost_clients_nothing() {
    for op in [Op::Write, Op::Sync, Op::Rename, Op::SetLen, Op::SyncDir, Op::Space] {
        let disk = FaultDisk::new();
        let world = over(&disk).await;
        let image = image(4, &[MB, 300]);
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        disk.fault(fails(op, ""));
        world.pull(&image).await;
        world.pull(&image).await;
        disk.heal();
        world.pull(&image).await;
    }
}

#[tokio::test]
async fn g7_reads_that_fail_are_fetched_again() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let blob = layer(5, MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let world = world.restart().await;
    disk.fault(fails(Op::Open, &blob.digest[7..]).times(1));
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert!(disk.failed() > 0);
}

#[tokio::test]
async fn g7_a_file_that_was_cut_replaced_or_taken_away_is_noticed_and_fetched_again() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 3] = [
        ("cut", |path| {
            let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_len(1000).unwrap();
        }),
        ("replaced", |path| {
            let size = std::fs::metadata(path).unwrap().len() as usize;
            std::fs::remove_file(path).unwrap();
            std::fs::write(path, vec![0; size]).unwrap();
        }),
        ("taken away", |path| std::fs::remove_file(path).unwrap()),
    ];
    for (name, harm) in harms {
        let blob = layer(6, MB);
        let world = World::holding_blob(&blob).await;
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        let files = |world: &World| world.mirror.files(&format!("/{}", &blob.digest[7..]));
        eventually("the blob committed", || !files(&world).is_empty()).await;
        let world = world.restart().await;
        let file = files(&world).into_iter().find(|file| file.extension().is_none()).unwrap();
        harm(&file);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(world.upstream.count(&on().get().blobs()), 2, "{name}");
    }
}

#[tokio::test]
async fn g7_the_store_stays_inside_its_budget() {
    const BUDGET: u64 = 16 << 20;
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"16MiB\"").start().await;
    let world = World { upstream, mirror };
    for seed in 0..20 {
        let blob = layer(400 + seed, 3 * MB);
        world.upstream.push_blob(REPOSITORY, &blob);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        let used: u64 = [world.mirror.files("/blobs/"), world.mirror.files("/partial/")]
            .concat()
            .iter()
            .map(|file| std::fs::metadata(file).map_or(0, |meta| meta.len()))
            .sum();
        assert!(used <= BUDGET, "{used} after {} blobs", seed + 1);
    }
}
