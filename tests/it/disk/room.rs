//! The budget, and what has to go for it. T36, G7.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::support::client::Connection;
use crate::support::images::{image, image_of, layer};
use crate::support::mirror::{Setup, files_under};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, World};

use super::{MB, expect_right};

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
