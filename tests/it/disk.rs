//! A disk that is full, slow to admit it, or broken: T21, T36, T37, T98, T99 and G7; and the disk of the kit itself.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roadstead::store::fs::{Access, Disk};

use crate::support::client::{Connection, End};
use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::images::{image, image_of, layer, sha256};
use crate::support::mirror::{Setup, Signal, files_under};
use crate::support::upstream::{Upstream, act, on};
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, TAG, World, blob_path};

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

/// What the files of blobs, finished and not, and of manifests take by their length, each digest once: a file that is
/// renamed while one looks is seen twice.
fn taken(data: &Path) -> u64 {
    let files = ["/blobs/", "/partial/", "/manifests/", "/quarantine/"].map(|part| files_under(data, part));
    let mut sizes = HashMap::new();
    for file in files.concat() {
        let size = std::fs::metadata(&file).map_or(0, |meta| meta.len());
        sizes.insert(file.file_name().map(std::ffi::OsStr::to_owned), size);
    }
    sizes.values().sum()
}

#[tokio::test]
async fn g7_the_store_stays_inside_its_budget_with_all_that_is_on_its_way() {
    const BUDGET: u64 = 16 << 20;
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"16MiB\"").start().await;
    let world = Arc::new(World { upstream, mirror });
    world.upstream.share_link(60 << 20);
    let images: Vec<_> = (0..8).map(|seed| image(400 + seed, &[3 * MB, 4 * MB, 50_000])).collect();
    for (number, image) in images.iter().enumerate() {
        world.upstream.push(REPOSITORY, Some(&format!("v{number}")), image);
    }
    let pulling: Vec<_> = images
        .into_iter()
        .enumerate()
        .map(|(number, image)| {
            let world = Arc::clone(&world);
            tokio::spawn(async move {
                for _ in 0..2 {
                    let manifest = world.manifest(&format!("v{number}")).send().await;
                    manifest.expect_bytes(&image.manifest.bytes);
                    for blob in image.blobs() {
                        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
                    }
                }
            })
        })
        .collect();
    let mut most = 0;
    while !pulling.iter().all(tokio::task::JoinHandle::is_finished) {
        most = most.max(taken(&world.mirror.data()));
        assert!(most <= BUDGET, "{most} bytes are taken");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    for one in pulling {
        one.await.unwrap();
    }
    assert!(most > BUDGET / 2, "only {most} bytes were ever kept");
    world.mirror.settled().await;
    assert!(world.mirror.metric("roadstead_store_used_bytes", &[]).await <= BUDGET as f64);
    assert!(expect_right(&world.mirror.data()) > 2);
}

#[tokio::test]
async fn t36_what_two_images_share_stays_when_one_of_them_goes() {
    let upstream = Upstream::start().await;
    let (shared, one, two) = (layer(20, 3 * MB), layer(21, 4 * MB), layer(22, 3 * MB));
    let old = image_of(20, vec![shared.clone(), one]);
    let fresh = image_of(21, vec![shared, two]);
    upstream.push(REPOSITORY, Some("old"), &old);
    upstream.push(REPOSITORY, Some("fresh"), &fresh);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"14MiB\"").start().await;
    let world = World { upstream, mirror };
    for image in [&old, &fresh] {
        world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
        world.mirror.settled().await;
    }
    let more = image(23, &[4 * MB + MB / 2]);
    world.upstream.push(REPOSITORY, Some(TAG), &more);
    world.pull(&more).await;
    world.mirror.settled().await;
    world.upstream.down().await;
    for blob in fresh.blobs().chain(more.blobs()) {
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    assert_eq!(world.blob(&old.layers[1].digest).send().await.status, 503, "the old image was to go");
}

#[tokio::test]
async fn t36_what_has_a_reader_is_not_evicted_and_goes_when_it_has_none() {
    let upstream = Upstream::start().await;
    let read = layer(27, 4 * MB);
    upstream.push_blob(REPOSITORY, &read);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"16MiB\"").start().await;
    let world = World { upstream, mirror };
    world.blob(&read.digest).send().await.expect_bytes(&read.bytes);
    world.mirror.settled().await;
    let crowd_out = async |seeds: std::ops::Range<u64>| {
        for seed in seeds {
            let other = layer(seed, 3 * MB);
            world.upstream.push_blob(REPOSITORY, &other);
            world.blob(&other.digest).send().await.expect_bytes(&other.bytes);
            world.mirror.settled().await;
        }
        world.mirror.files(&format!("/blobs/sha256/{}/{}", &read.digest[7..9], &read.digest[7..])).len()
    };
    let request = world.blob(&read.digest);
    let mut narrow = Connection::open_narrow(world.mirror.address()).await;
    narrow.write(&request).await;
    let slow = narrow.read(&request).await;
    assert_eq!(crowd_out(600..608).await, 1, "somebody reads it");
    assert!(taken(&world.mirror.data()) <= 16 << 20);
    slow.rest().await.expect_bytes(&read.bytes);
    assert_eq!(crowd_out(608..616).await, 0, "nobody reads it");
}

#[tokio::test]
async fn t36_a_file_that_is_removed_under_its_readers_is_read_to_its_end() {
    let blob = layer(24, 8 * MB);
    let world = World::holding_blob(&blob).await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    let request = world.blob(&blob.digest).range("1000-");
    let mut narrow = Connection::open_narrow(world.mirror.address()).await;
    narrow.write(&request).await;
    let slow = narrow.read(&request).await;
    for file in world.mirror.files(&blob.digest[7..]) {
        std::fs::remove_file(file).unwrap();
    }
    slow.rest().await.expect_range(&blob.bytes, 1000, blob.bytes.len() - 1);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
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
