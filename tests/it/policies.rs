//! How much of a blob is fetched, and for whom, as an upstream's policy says: `fill`, `unread_fill`, `resume`.

use std::time::Duration;

use crate::body::Body;
use crate::support::client::Request;
use crate::support::images::{Object, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, on};
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, World};

const MIB: u64 = 1 << 20;

async fn holding(blob: &Object, lines: &str) -> World {
    let upstream = Upstream::start().await;
    upstream.push_blob(REPOSITORY, blob);
    let mirror = Setup::with(&upstream, lines).set("server", "drain_timeout = \"100ms\"").start().await;
    World { upstream, mirror }
}

fn range(world: &World, blob: &Object, start: u64, end: u64) -> Request {
    world.blob(&blob.digest).range(&format!("{start}-{}", end - 1))
}

async fn expect_range(world: &World, blob: &Object, start: u64, end: u64) {
    let (first, last) = (start as usize, end as usize - 1);
    range(world, blob, start, end).send().await.expect_range(&blob.bytes, first, last);
}

#[tokio::test]
async fn g1_a_fill_that_nobody_reads_pauses_and_the_next_request_goes_on_where_it_was() {
    let blob = layer(1, 40 * MIB);
    let world =
        holding(&blob, "unread_fill = \"pause\"\nunread_after = \"50ms\"\nsplit_above = \"1GiB\"").await;
    world.upstream.share_link(20 * MIB);
    let mut reader = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    reader.until(MIB).await;
    drop(reader);
    // What is asked for comes to its end first: the pause costs nothing.
    world.mirror.settled().await;
    world.upstream.quiet().await;
    assert!(world.upstream.sent_of(&blob.digest) < blob.size(), "nothing paused");
    assert_eq!(world.mirror.metric("roadstead_fills_total", &["stopped"]).await, 1.0);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn g1_a_fill_that_is_read_does_not_pause() {
    let blob = layer(2, 6 * MIB);
    let world = holding(&blob, "unread_fill = \"pause\"\nunread_after = \"20ms\"").await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MIB);
    let mut reader = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    reader.until(MIB).await;
    gate.held_at(MIB).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    gate.open();
    reader.rest().await;
    assert_eq!(world.upstream.count(&on().get().blobs()), 1);
}

#[tokio::test]
async fn g1_g6_where_only_what_is_asked_is_fetched_it_is_fetched_once_and_kept_over_pauses_and_restarts() {
    let blob = layer(3, 40 * MIB);
    let world = holding(&blob, "fill = \"asked\"\nunread_after = \"20ms\"").await;
    let asked = [(39 * MIB, 40 * MIB), (5 * MIB, 5 * MIB + 1000), (0, 1), (20 * MIB, 29 * MIB)];
    let all: u64 = asked.iter().map(|(start, end)| end - start).sum();
    for (start, end) in asked {
        expect_range(&world, &blob, start, end).await;
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), all);
    world.mirror.settled().await;
    for (start, end) in asked {
        expect_range(&world, &blob, start, end).await;
    }
    let world = world.restart().await;
    // It was told once that the repository has it, and the bytes are here.
    world.upstream.down().await;
    for (start, end) in asked {
        expect_range(&world, &blob, start, end).await;
    }
    world.upstream.up().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), all);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    assert_eq!(world.mirror.files("/blobs/sha256/").len(), 1);
}

#[tokio::test]
async fn g1_the_rest_follows_when_most_of_a_blob_was_asked_for() {
    let blob = layer(4, 10 * MIB);
    let world = holding(&blob, "fill = \"asked\"").await;
    expect_range(&world, &blob, MIB, 5 * MIB).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), 4 * MIB);
    expect_range(&world, &blob, 8 * MIB, 9 * MIB).await;
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    assert_eq!(world.mirror.files("/blobs/sha256/").len(), 1);
}

#[tokio::test]
async fn g1_who_opens_a_range_to_the_end_and_leaves_costs_little_more_than_he_took() {
    let blob = layer(5, 60 * MIB);
    let world = holding(&blob, "fill = \"asked\"\nunread_after = \"20ms\"").await;
    let gate = world.upstream.gate(&blob.digest);
    for at in [0, 30 * MIB] {
        gate.allow_range(at..at + MIB);
        let request = world.blob(&blob.digest).range(&format!("{at}-"));
        let mut reader = Body::open(&request, blob.bytes.slice(at as usize..)).await;
        reader.until(MIB).await;
        drop(reader);
        // No more comes before it is known that he left: sockets would take it for him.
        soon("that he left", async {
            while world.mirror.metric("roadstead_readers", &[]).await > 0.0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
        gate.allow_range(at..at + 30 * MIB);
        world.mirror.settled().await;
    }
    let sent = world.upstream.sent_of(&blob.digest);
    // A transfer of 4 MiB each, and another that follows it closely.
    assert!(sent <= 2 * 8 * MIB, "{sent}");
}

#[tokio::test]
async fn g8_what_a_restart_interrupted_goes_on_unasked_where_the_policy_says_so() {
    let blob = layer(6, 40 * MIB);
    let world = holding(&blob, "resume = \"start\"\nsplit_above = \"1GiB\"").await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(10 * MIB);
    let mut reader = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    reader.until(10 * MIB).await;
    gate.held_at(10 * MIB).await;
    drop(reader);
    let world = world.restart().await;
    gate.open();
    eventually("the rest", || world.mirror.files("/blobs/sha256/").len() == 1).await;
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    world.upstream.down().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g1_readers_far_apart_share_one_connection_where_there_is_no_more() {
    let blob = layer(7, 40 * MIB);
    let world = holding(&blob, "connections_per_blob = 1").await;
    world.upstream.share_link(80 * MIB);
    let readers: Vec<_> = [0, 13 * MIB, 26 * MIB, 39 * MIB]
        .map(|at| {
            let request = world.blob(&blob.digest).range(&format!("{at}-"));
            let expected = blob.bytes.slice(at as usize..);
            tokio::spawn(async move { Body::open(&request, expected).await.rest().await })
        })
        .into_iter()
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    assert_eq!(world.upstream.connections(), 1);
}
