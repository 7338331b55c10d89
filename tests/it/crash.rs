//! kill -9 during fills and commits, at moments of no pattern: G8, T21, T98.
//!
//! 100 rounds, 2,000 where `ROADSTEAD_TEST_FULL` is set.

use std::time::Duration;

use crate::support::client::{self, End};
use crate::support::images::{Image, image};
use crate::support::mirror::{Binary, Setup, files_under};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, blob_path, manifest_path};

/// How many times the process is killed.
fn rounds() -> u64 {
    if std::env::var_os("ROADSTEAD_TEST_FULL").is_some() { 2000 } else { 100 }
}

/// A number between 0 and `below`, different for each round and the same for each run.
fn dice(round: u64, below: u64) -> u64 {
    let mixed = (round + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 17) % below
}

/// The image of a round; some rounds share one, so that fills are found half done.
fn image_of(round: u64) -> Image {
    image(1000 + round / 2, &[400_000 + dice(round / 2, 1_500_000), 30_000 + dice(round / 2, 7) * 10_000, 0])
}

/// Pulls what the mirror has of an image; whatever is complete is right. Says which digests were hits.
async fn pull(mirror: std::net::SocketAddr, image: &Image) -> Vec<String> {
    let objects = std::iter::once((manifest_path(&image.manifest.digest), &image.manifest))
        .chain(image.blobs().map(|blob| (blob_path(&blob.digest), blob)));
    let mut hits = Vec::new();
    for (path, object) in objects {
        let Some(answer) = client::get(mirror, &path).try_send().await else { continue };
        if answer.status == 200 && answer.end == End::Complete {
            assert!(answer.body == object.bytes, "{path}: wrong bytes were served as complete");
            if answer.cache_status() == "hit" {
                hits.push(object.digest.clone());
            }
        }
    }
    hits
}

/// The digests that the log says are committed.
fn reported(log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains("roadstead::store: committed"));
    let digests = lines.filter_map(|line| line.split("digest=").nth(1)?.split_whitespace().next());
    digests.map(str::to_owned).collect()
}

/// Shows that what was committed is served with upstream unreachable.
async fn expect_offline(mirror: &Binary, image: &Image, committed: &[String]) {
    for object in image.blobs().chain([&image.manifest]).filter(|object| committed.contains(&object.digest)) {
        let path = if object.digest == image.manifest.digest {
            manifest_path(&object.digest)
        } else {
            blob_path(&object.digest)
        };
        let answer = mirror.get(&path).send().await;
        assert!(answer.body == object.bytes, "{path} was a hit before the kill: {}", mirror.output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g8_after_kill_9_nothing_wrong_is_served_and_what_was_committed_needs_no_upstream() {
    let upstream = Upstream::start().await;
    let mut mirror = Setup::of(&upstream).set("store", "max_bytes = \"10GiB\"").spawn().await;
    let (mut interrupted, mut told) = (0, 0);
    for round in 0..rounds() {
        let image = image_of(round);
        upstream.push(REPOSITORY, None, &image);
        upstream.share_link(2_000_000 + dice(round, 40) * 1_000_000);
        let address = mirror.address();
        let pulling = {
            let image = image.clone();
            tokio::spawn(async move {
                let mut hits = pull(address, &image).await;
                hits.extend(pull(address, &image).await);
                hits
            })
        };
        // The one sleep by intent: the moment of the kill is what the test varies.
        tokio::time::sleep(Duration::from_millis(dice(round, 400))).await;
        // Now and then late enough for the index to have it; an image that is new in this round is not there before.
        if round % 10 == 0 {
            mirror.says("that something is committed", |log| !reported(log).is_empty()).await;
        }
        interrupted += u32::from(!pulling.is_finished());
        mirror.kill().await;
        let mut committed = pulling.await.unwrap();
        // An answer from the store says that a blob has its name on the disk. Whose it is says its manifest, which is
        // stored while nobody waits for it; without it, only what the log reports is known to be durable.
        let manifest = format!("/{}", &image.manifest.digest[7..]);
        if !files_under(&mirror.data(), &manifest).iter().any(|file| file.extension().is_none()) {
            committed.clear();
        }
        let reports = reported(&mirror.output());
        told += reports.len();
        committed.extend(reports);
        upstream.down().await;
        mirror.start_again().await;
        expect_offline(&mirror, &image, &committed).await;
        pull(mirror.address(), &image).await;
        upstream.up().await;
    }
    assert!(interrupted > 0, "no kill came in time to interrupt anything");
    assert!(told > 0, "the log never said that anything is committed");
    upstream.share_link(0);
    for round in 0..rounds() {
        let image = image_of(round);
        for blob in image.blobs() {
            mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
    }
}

#[tokio::test]
async fn t98_a_fill_that_was_killed_goes_on_from_what_was_recorded() {
    const MIB: u64 = 1 << 20;
    let upstream = Upstream::start().await;
    let image = image(7, &[64 * MIB]);
    let layer = &image.layers[0];
    upstream.push(REPOSITORY, None, &image);
    let gate = upstream.gate(&layer.digest);
    gate.allow(48 * MIB);
    let mut mirror = Setup::of(&upstream).spawn().await;
    let mut reading = mirror.get(&blob_path(&layer.digest)).open().await;
    gate.held_at(48 * MIB).await;
    reading.until(47 * MIB).await;
    mirror.kill().await;
    gate.open();
    upstream.quiet().await;
    mirror.start_again().await;
    mirror.get(&blob_path(&layer.digest)).send().await.expect_bytes(&layer.bytes);
    let sent = upstream.sent_of(&layer.digest);
    assert!(
        sent <= (64 + 17) * MIB,
        "{sent} bytes, though all but the last 16 MiB before the kill were recorded"
    );
    assert!(upstream.seen().iter().any(|seen| seen.asked.header("range").is_some()));
}
