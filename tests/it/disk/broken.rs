//! Reads that fail, files that are not what they were, and a disk that dies. T21, G7.

use std::path::Path;
use std::time::Duration;

use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::eventually;
use crate::support::images::{image, layer};
use crate::support::upstream::on;
use crate::world::{REPOSITORY, TAG, World};

use super::{MB, expect_right, over};

#[tokio::test]
async fn g7_reads_that_fail_in_the_middle_of_a_body_are_not_noticed_by_its_client() {
    for (range, first, last) in
        [(None, 0, 0), (Some("1000000-"), 1_000_000, 1_999_999), (Some("5-999999"), 5, 999_999)]
    {
        for after in [0, 1, 3] {
            let disk = FaultDisk::new();
            let world = over(&disk).await;
            let blob = layer(11, 2 * MB);
            world.upstream.push_blob(REPOSITORY, &blob);
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
            world.mirror.settled().await;
            disk.fault(fails(Op::Read, &blob.digest[7..]).after(after));
            let request = world.blob(&blob.digest);
            match range {
                None => _ = request.send().await.expect_bytes(&blob.bytes),
                Some(range) => {
                    request.range(range).send().await.expect_range(&blob.bytes, first, last);
                }
            }
            assert!(disk.failed() > 0);
            disk.heal();
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
    }
}

#[tokio::test]
async fn g7_reads_that_fail_while_the_blob_still_comes_are_not_noticed_by_its_clients() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let blob = layer(12, 4 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut early = world.blob(&blob.digest).open().await;
    early.until(MB / 2).await;
    let range = world.blob(&blob.digest).range("3000000-3999999").open().await;
    let untouched = world.blob(&blob.digest).range("2000000-").open().await;
    disk.fault(fails(Op::Read, "partial"));
    gate.open();
    range.rest().await.expect_range(&blob.bytes, 3_000_000, 3_999_999);
    untouched.rest().await.expect_range(&blob.bytes, 2_000_000, 3_999_999);
    // What it was sent cannot be read again to prove it right; the fill has hashed it as it came.
    early.rest().await.expect_bytes(&blob.bytes);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    disk.heal();
    world.mirror.settled().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    expect_right(&world.mirror.data());
}

#[tokio::test]
async fn g7_a_manifest_that_the_disk_did_not_take_is_stored_with_its_tag_when_it_is_asked_for_later() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let image = image(14, &[5000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    disk.fault(fails(Op::Open, "manifests"));
    world.pull(&image).await;
    world.mirror.settled().await;
    disk.heal();
    let stored = format!("/{}", &image.manifest.digest[7..]);
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while world.mirror.files(&stored).is_empty() {
        assert!(std::time::Instant::now() < deadline, "it is never stored");
        // From memory: the tag is within its time.
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(world.upstream.count(&on().get().manifests()), 1);
    let world = world.restart().await;
    world.upstream.down().await;
    world.pull(&image).await;
}

#[tokio::test]
async fn t21_wherever_the_disk_dies_nothing_wrong_is_committed_and_nothing_committed_is_lost() {
    for op in [Op::Open, Op::Write, Op::Sync, Op::Rename, Op::Remove, Op::SyncDir, Op::SetLen] {
        for after in [0, 1, 2, 4, 7, 11, 16, 30] {
            let disk = FaultDisk::new();
            let world = over(&disk).await;
            let image = image(13, &[MB, 5000, 1]);
            world.upstream.push(REPOSITORY, Some(TAG), &image);
            // From this call on it takes nothing any more, as if the process had been killed there.
            disk.fault(fails(op, "").after(after));
            world.pull(&image).await;
            world.mirror.settled().await;
            let mut committed = Vec::new();
            // Without its manifest, and with an index that could not be written, nobody knows whose a blob is.
            let manifest = format!("/{}", &image.manifest.digest[7..]);
            let is_named = world.mirror.files(&manifest).iter().any(|file| file.extension().is_none());
            for blob in image.blobs() {
                let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
                if answer.cache_status() == "hit" && is_named {
                    committed.push(blob);
                }
            }
            world.mirror.settled().await;
            let World { upstream, mirror } = world;
            let setup = mirror.stop().await;
            disk.heal();
            let world = World { upstream, mirror: setup.start().await };
            expect_right(&world.mirror.data());
            world.upstream.down().await;
            for blob in committed {
                let answer = world.blob(&blob.digest).send().await;
                assert_eq!(answer.status, 200, "{op:?} after {after}: {} bytes are lost", blob.size());
                answer.expect_bytes(&blob.bytes);
            }
            world.upstream.up().await;
            world.pull(&image).await;
        }
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
