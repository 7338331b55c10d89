//! A disk that is full, or fails for good: what it does not take is streamed. T37, G7.

use crate::support::client::End;
use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::images::{image, layer};
use crate::support::mirror::{Setup, files_under};
use crate::support::upstream::{Upstream, act, on};
use crate::world::{REPOSITORY, TAG, World};

use super::{MB, expect_right, over};

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
async fn g7_a_disk_that_fails_shows_in_the_figures_until_it_works_again() {
    for op in [Op::Write, Op::Sync, Op::Rename] {
        let disk = FaultDisk::new();
        let world = over(&disk).await;
        let image = image(16, &[MB, 300]);
        world.upstream.push(REPOSITORY, Some(TAG), &image);
        let is_failing = async || {
            let ready = world.mirror.admin("/readyz?verbose").await.expect(200);
            let text = String::from_utf8_lossy(&ready.body).into_owned();
            let failing = world.mirror.metric("roadstead_store_writes_failing", &[]).await == 1.0;
            assert_eq!(text.contains("the disk takes no writes"), failing, "{text}");
            failing
        };
        assert!(!is_failing().await);
        disk.fault(fails(op, "").for_space());
        world.pull(&image).await;
        world.mirror.settled().await;
        assert!(is_failing().await, "{op:?}");
        disk.heal();
        world.pull(&image).await;
        world.mirror.settled().await;
        assert!(!is_failing().await, "{op:?}");
    }
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

/// What a disk is asked to do while blobs and manifests come and go.
const OPS: [Op; 10] = [
    Op::Open,
    Op::Read,
    Op::Write,
    Op::Sync,
    Op::Rename,
    Op::Remove,
    Op::SyncDir,
    Op::SetLen,
    Op::Meta,
    Op::Space,
];

#[tokio::test]
async fn t37_g7_whatever_fails_for_good_costs_clients_nothing() {
    for op in OPS {
        for after in [0, 1, 3] {
            for full in [false, true] {
                let disk = FaultDisk::new();
                let world = over(&disk).await;
                let image = image(4, &[MB, 300, 0]);
                world.upstream.push(REPOSITORY, Some(TAG), &image);
                let fault = fails(op, "").after(after);
                disk.fault(if full { fault.for_space() } else { fault });
                world.pull(&image).await;
                world.mirror.settled().await;
                world.pull(&image).await;
                world.mirror.settled().await;
                expect_right(&world.mirror.data());
                disk.heal();
                world.pull(&image).await;
                world.mirror.settled().await;
                expect_right(&world.mirror.data());
            }
        }
    }
}

#[tokio::test]
async fn t37_a_disk_that_is_full_at_any_write_costs_clients_nothing() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let mut kept = 0;
    for after in 0..200 {
        let blob = layer(500 + after as u64, 3 * MB);
        world.upstream.push_blob(REPOSITORY, &blob);
        let failed = disk.failed();
        disk.fault(fails(Op::Write, "partial").for_space().after(after));
        let gate = world.upstream.gate(&blob.digest);
        gate.allow(MB);
        let early = world.blob(&blob.digest).open().await;
        let range = world.blob(&blob.digest).range("500000-1499999").open().await;
        let rest = world.blob(&blob.digest).range("2000000-").open().await;
        gate.open();
        let late = world.blob(&blob.digest).send().await;
        range.rest().await.expect_range(&blob.bytes, 500_000, 1_499_999);
        rest.rest().await.expect_range(&blob.bytes, 2_000_000, 2_999_999);
        early.rest().await.expect_bytes(&blob.bytes);
        late.expect_bytes(&blob.bytes);
        world.mirror.settled().await;
        if disk.failed() == failed {
            assert!(after > 3, "the blob took {after} writes");
            return;
        }
        assert_eq!(expect_right(&world.mirror.data()), kept, "full after {after} writes");
        disk.heal();
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        world.mirror.settled().await;
        kept += 1;
        assert_eq!(expect_right(&world.mirror.data()), kept);
    }
}

#[tokio::test]
async fn t37_a_disk_that_fills_up_before_what_a_reader_has_is_not_noticed_by_it() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let blob = layer(14, 40 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    gate.allow_range(30 * MB..31 * MB);
    // It has bytes far beyond the prefix, and there is a gap in the file before them.
    let mut ahead = world.blob(&blob.digest).range("30000000-").open().await;
    assert_eq!(ahead.until(MB).await.len() as u64, MB);
    let untouched = world.blob(&blob.digest).range("35000000-").open().await;
    disk.fault(fails(Op::Write, "partial").for_space());
    gate.open();
    ahead.rest().await.expect_range(&blob.bytes, 30_000_000, 39_999_999);
    untouched.rest().await.expect_range(&blob.bytes, 35_000_000, 39_999_999);
    assert!(disk.failed() > 0);
}

#[tokio::test]
async fn t37_g2_a_reader_with_wrong_bytes_is_cut_though_upstream_is_right_after_the_disk_fills_up() {
    for at in [500_000, 30_500_000] {
        let disk = FaultDisk::new();
        let world = over(&disk).await;
        let blob = layer(15, 40 * MB);
        world.upstream.push_blob(REPOSITORY, &blob);
        world.upstream.script(on().get().blobs().nths(1..=2), act().flip(at));
        let gate = world.upstream.gate(&blob.digest);
        gate.allow(MB);
        gate.allow_range(30 * MB..31 * MB);
        let mut ahead = world.blob(&blob.digest).range("30000000-").open().await;
        assert_eq!(ahead.until(MB).await.len() as u64, MB);
        let mut front = world.blob(&blob.digest).open().await;
        assert_eq!(front.until(MB).await.len() as u64, MB);
        disk.fault(fails(Op::Write, "partial").for_space());
        gate.open();
        for (reader, first) in [(front, 0), (ahead, 30_000_000)] {
            let answer = reader.rest().await;
            let right = answer.body == blob.bytes[first..];
            assert!(right || answer.end != End::Complete, "wrong bytes at {at} were complete from {first}");
        }
        assert!(disk.failed() > 0);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn t37_a_disk_without_room_for_the_blob_is_left_as_it_was() {
    let disk = FaultDisk::new();
    let world = over(&disk).await;
    let small = layer(8, MB);
    let large = layer(9, 20 * MB);
    world.upstream.push_blob(REPOSITORY, &small);
    world.upstream.push_blob(REPOSITORY, &large);
    world.blob(&small.digest).send().await.expect_bytes(&small.bytes);
    world.mirror.settled().await;
    disk.resize(8 * MB);
    for _ in 0..2 {
        world.blob(&large.digest).send().await.expect_bytes(&large.bytes);
        world.mirror.settled().await;
    }
    assert!(files_under(&world.mirror.data(), &large.digest[7..]).is_empty());
    world.upstream.down().await;
    world.blob(&small.digest).send().await.expect_bytes(&small.bytes);
}

#[tokio::test]
async fn t37_what_is_streamed_past_the_store_is_right_in_every_range_and_wrong_in_none() {
    let upstream = Upstream::start().await;
    let blob = layer(10, 2 * MB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).set("store", "max_blob = \"1MB\"").start().await;
    let world = World { upstream, mirror };
    for (range, first, last) in
        [("0-0", 0, 0), ("500000-1499999", 500_000, 1_499_999), ("-5", 1_999_995, 1_999_999)]
    {
        let answer = world.blob(&blob.digest).range(range).send().await;
        answer.expect_range(&blob.bytes, first, last);
    }
    let open = world.blob(&blob.digest).range("1000000-").send().await;
    open.expect_range(&blob.bytes, 1_000_000, 1_999_999);
    let whole = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(whole.cache_status(), "fwd=bypass");
    world.upstream.script(on().get().blobs(), act().flip(2 * MB - 1));
    for request in [world.blob(&blob.digest), world.blob(&blob.digest).range("1000000-")] {
        let answer = request.send().await;
        assert!(answer.end != End::Complete, "wrong bytes were complete");
    }
    assert_eq!(expect_right(&world.mirror.data()), 0);
}
