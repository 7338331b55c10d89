//! `fill = "asked"`: what comes is what was asked for, once, and it stays. G1.
//!
//! Of a closed range exactly its bytes come. Who reads to the end and leaves in the middle has had up to [`AHEAD`] more
//! fetched for him: one request that runs, and what was read ahead.

use std::ops::Range;

use roadstead::store::Ranges;

use super::readers::{CHUNK, Node};
use super::{MIB, expect_once};
use crate::support::eventually;
use crate::support::images::{Object, large_layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, act, on};
use crate::world::{REPOSITORY, World};

/// What may come beyond what somebody who left has read.
const AHEAD: u64 = 8 * MIB;

/// A mirror that fetches only what is asked of this blob.
async fn asking(blob: &Object) -> World {
    let world = World::with("fill = \"asked\"").await;
    world.upstream.push_blob(REPOSITORY, blob);
    world
}

/// How many bytes these ranges are together, each counted once.
fn together(ranges: Vec<Range<u64>>) -> u64 {
    ranges.into_iter().collect::<Ranges>().total()
}

/// What upstream has sent of the blob when nothing is on its way any more.
async fn sent(world: &World, blob: &Object) -> u64 {
    world.upstream.quiet().await;
    world.upstream.sent_of(&blob.digest)
}

/// These bytes came, are here, and are still here after a restart; all of the blob costs only the rest.
async fn expect_kept<F: Future<Output = Vec<Range<u64>>>>(
    world: World,
    blob: &Object,
    read: impl Fn(Node) -> F,
) {
    let asked = together(read(Node::of(&world, blob)).await);
    let came = sent(&world, blob).await;
    assert_eq!(came, asked, "bytes that came, and that were asked for");
    assert!(came < blob.size() / 2, "so much of it is taken for all of it");
    read(Node::of(&world, blob)).await;
    assert_eq!(sent(&world, blob).await, came, "it came twice");
    let world = world.restart().await;
    read(Node::of(&world, blob)).await;
    assert_eq!(sent(&world, blob).await, came, "it came again after a restart");
    Node::of(&world, blob).whole().await;
    expect_once(&world, blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_of_what_a_stargz_reader_asks_nothing_else_comes_and_nothing_again() {
    let blob = large_layer(51, 70 * MIB + 77);
    let world = asking(&blob).await;
    expect_kept(world, &blob, |node| async move { node.stargz().await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_of_what_a_zstd_chunked_reader_asks_nothing_else_comes_and_nothing_again() {
    let blob = large_layer(52, 70 * MIB + 77);
    let world = asking(&blob).await;
    expect_kept(world, &blob, |node| async move { node.zstd_chunked().await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g2_who_reads_an_open_range_to_its_end_gets_all_of_it_and_so_all_of_the_blob_comes() {
    let blob = large_layer(50, 40 * MIB);
    for start in [39 * MIB, 40 * MIB - 5] {
        let world = asking(&blob).await;
        // Its last bytes are withheld until the digest matches, for which all of the blob has to be here.
        Node::of(&world, &blob).open_for(start, u64::MAX).await;
        expect_once(&world, &blob).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_of_the_spans_that_soci_asks_nothing_else_comes_and_nothing_again() {
    let blob = large_layer(53, 70 * MIB + 77);
    let world = asking(&blob).await;
    expect_kept(world, &blob, |node| async move { node.soci(4).await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_of_the_chunks_that_nydus_asks_nothing_else_comes_and_nothing_again() {
    let blob = large_layer(54, 70 * MIB + 77);
    let world = asking(&blob).await;
    expect_kept(world, &blob, |node| async move { node.nydus().await }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_t41_sixteen_workers_of_containerd_cost_every_byte_of_256_mb_once_where_only_what_is_asked_comes()
{
    let blob = large_layer(55, 32 * CHUNK);
    let world = asking(&blob).await;
    Node::of(&world, &blob).containerd().await;
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_t41_who_leaves_an_open_range_early_costs_little_more_than_he_read() {
    let blob = large_layer(56, 200 * MIB);
    let world = asking(&blob).await;
    world.upstream.share_link(50 * MIB);
    let node = Node::of(&world, &blob);
    for (number, start) in [100 * MIB, 150 * MIB, 0].into_iter().enumerate() {
        node.open_for(start, MIB).await;
        let came = sent(&world, &blob).await;
        let bound = (number as u64 + 1) * (MIB + AHEAD);
        assert!(came <= bound, "{came} bytes came for {} megabytes", number + 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_when_most_of_a_blob_was_asked_for_the_rest_comes_too() {
    let blob = large_layer(57, 40 * MIB);
    let world = asking(&blob).await;
    let node = Node::of(&world, &blob);
    node.closed(15 * MIB..30 * MIB).await;
    assert_eq!(sent(&world, &blob).await, 15 * MIB);
    node.closed(35 * MIB..40 * MIB).await;
    node.closed(3..5).await;
    expect_once(&world, &blob).await;
    let file = format!("blobs/sha256/{}/{}", &blob.digest[7..9], &blob.digest[7..]);
    eventually("the blob committed", || !world.mirror.files(&file).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_two_hundred_ranged_readers_and_then_twenty_whole_ones_cost_every_byte_once() {
    let blob = large_layer(58, 60 * MIB);
    let world = asking(&blob).await;
    let closed: Vec<_> = (0..200).map(|number| number * 300_000..number * 300_000 + 100_000).collect();
    let readers: Vec<_> = closed
        .iter()
        .map(|range| {
            let (node, range) = (Node::of(&world, &blob), range.clone());
            tokio::spawn(async move { node.closed(range).await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    assert_eq!(sent(&world, &blob).await, together(closed));
    let readers: Vec<_> = (0..20)
        .map(|_| {
            let node = Node::of(&world, &blob);
            tokio::spawn(async move { node.whole().await })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    expect_once(&world, &blob).await;
}

#[tokio::test]
async fn g1_what_was_asked_is_served_after_a_restart_though_upstream_is_gone() {
    let blob = large_layer(59, 60 * MIB);
    let world = asking(&blob).await;
    let node = Node::of(&world, &blob);
    node.closed(30 * MIB..31 * MIB).await;
    node.suffix(1000).await;
    let world = world.restart().await;
    world.upstream.down().await;
    let node = Node::of(&world, &blob);
    node.closed(30 * MIB..31 * MIB).await;
    node.suffix(1000).await;
    node.several(&[30 * MIB + 5..30 * MIB + 9, 60 * MIB - 9..60 * MIB]).await;
}

#[tokio::test]
async fn t40_g1_an_upstream_that_ignores_ranges_brings_all_of_it_though_a_part_was_asked_for() {
    let blob = large_layer(60, 20 * MIB);
    let world = asking(&blob).await;
    world.upstream.script(on().get().blobs(), act().ignore_range());
    let node = Node::of(&world, &blob);
    node.closed(15 * MIB..15 * MIB + 1000).await;
    node.suffix(1000).await;
    node.closed(0..1000).await;
    expect_once(&world, &blob).await;
}

#[tokio::test]
async fn t40_a_part_that_was_taken_from_the_disk_is_206_all_the_same() {
    let upstream = Upstream::start().await;
    let blob = large_layer(61, 20 * MIB);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror =
        Setup::with(&upstream, "fill = \"asked\"").set("store", "max_bytes = \"32MiB\"").start().await;
    let world = World { upstream, mirror };
    let node = Node::of(&world, &blob);
    for piece in 0..4 {
        node.closed(piece * MIB..(piece + 1) * MIB).await;
        node.suffix(piece + 1).await;
        let other = large_layer(62 + piece, 25 * MIB);
        world.upstream.push_blob(REPOSITORY, &other);
        Node::of(&world, &other).whole().await;
    }
}
