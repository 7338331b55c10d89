//! What rots on the disk is found by reading it again in the background, and fetched anew: T53, G1 and G7.

use std::path::Path;
use std::time::Duration;

use crate::support::images::{image, layer};
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::Upstream;
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, TAG, World};

const MB: u64 = 1_000_000;

/// A world whose store is read again all the time.
async fn scrubbed() -> World {
    let upstream = Upstream::start().await;
    let setup = Setup::of(&upstream).set("store", "scrub_rate = \"64MiB\"\nscrub_every = \"50ms\"");
    World { mirror: setup.start().await, upstream }
}

/// Changes a byte in the middle of a file, and nothing else that could be noticed at open but its time.
fn rot(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Waits until a total has come that far.
async fn reaches(mirror: &Mirror, metric: &str, least: f64) {
    let reached = async {
        while mirror.metric(metric, &[]).await < least {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(metric, reached).await;
}

/// Whether a digest has its file.
fn is_stored(mirror: &Mirror, digest: &str) -> bool {
    mirror.files(&format!("/{}", &digest[7..])).iter().any(|file| file.extension().is_none())
}

/// The file of a digest, without those beside it.
fn file_of(mirror: &Mirror, digest: &str) -> std::path::PathBuf {
    let files = mirror.files(&format!("/{}", &digest[7..]));
    files.into_iter().find(|file| file.extension().is_none()).unwrap()
}

#[tokio::test]
async fn t53_g7_what_rots_is_found_while_nobody_asks_and_fetched_once_more() {
    let world = scrubbed().await;
    let image = image(1, &[2 * MB, 300]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.pull(&image).await;
    world.mirror.settled().await;
    let bytes: u64 = image.blobs().map(|blob| blob.size()).sum();
    reaches(&world.mirror, "roadstead_store_scrubbed_bytes_total", bytes as f64).await;
    assert_eq!(world.mirror.metric("roadstead_store_scrub_corrupt_total", &[]).await, 0.0);

    let rotten = &image.layers[0];
    rot(&file_of(&world.mirror, &rotten.digest));
    rot(&file_of(&world.mirror, &image.manifest.digest));
    reaches(&world.mirror, "roadstead_store_scrub_corrupt_total", 2.0).await;
    let sent = world.upstream.sent_of(&rotten.digest);
    world.blob(&rotten.digest).send().await.expect_bytes(&rotten.bytes);
    // From memory, which is no place for the next start to find it.
    world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
    world.mirror.settled().await;
    eventually("the manifest is stored again", || is_stored(&world.mirror, &image.manifest.digest)).await;
    assert_eq!(world.upstream.sent_of(&rotten.digest), sent + rotten.size());
    world.upstream.down().await;

    let World { upstream, mirror } = world;
    let world = World { mirror: mirror.restart().await, upstream };
    world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn g7_whoever_reads_while_all_is_read_again_notices_nothing_and_the_drain_waits_for_no_scrub() {
    let upstream = Upstream::start().await;
    let setup = Setup::of(&upstream).set("store", "scrub_rate = \"1KiB\"\nscrub_every = \"1ms\"");
    let world = World { mirror: setup.start().await, upstream };
    let blob = layer(2, 4 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    reaches(&world.mirror, "roadstead_store_scrubbed_bytes_total", 1.0).await;
    for _ in 0..10 {
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    }
    // At this rate the rest of the blob would take an hour.
    soon("the end", world.mirror.stop()).await;
}
