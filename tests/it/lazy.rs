//! Clients that read a cold blob by ranges: G1, T39 to T41, T46, with what each of them costs at upstream's socket.

mod asked;
mod readers;

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use self::readers::{CHUNK, Node, spread};
use crate::body::Body;
use crate::support::images::{Object, large_layer, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, act, on};
use crate::world::{REPOSITORY, World};

const MIB: u64 = 1 << 20;

/// Upstream has sent each byte of the blob once, and not one in a thousand more.
async fn expect_once(world: &World, blob: &Object) {
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_t41_sixteen_workers_of_containerd_cost_every_byte_of_256_mb_once() {
    let blob = large_layer(1, 32 * CHUNK);
    let world = World::holding_blob(&blob).await;
    Node::of(&world, &blob).containerd().await;
    expect_once(&world, &blob).await;
    let requests = world.upstream.count(&on());
    assert!(requests <= 64, "{requests} requests for 256 MB");
    assert!(world.upstream.most_connections() <= 5, "{}", world.upstream.most_connections());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_t41_sixteen_workers_of_two_nodes_cost_what_one_costs_on_a_slow_link() {
    let blob = large_layer(2, 5 * CHUNK + 1);
    let world = World::holding_blob(&blob).await;
    world.upstream.share_link(40 * MIB);
    let nodes = [Node::of(&world, &blob), Node::of(&world, &blob)];
    tokio::join!(nodes[0].containerd(), nodes[1].containerd());
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_t46_a_stargz_reader_from_cold_costs_every_byte_once() {
    let blob = large_layer(3, 70 * MIB + 77);
    let world = World::holding_blob(&blob).await;
    Node::of(&world, &blob).stargz().await;
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_t46_t47_a_zstd_chunked_reader_from_cold_costs_every_byte_once() {
    let blob = large_layer(4, 70 * MIB + 77);
    let world = World::holding_blob(&blob).await;
    Node::of(&world, &blob).zstd_chunked().await;
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_g3_soci_spans_from_cold_have_their_head_in_time_and_cost_every_byte_once() {
    let blob = large_layer(5, 70 * MIB + 77);
    let world = World::holding_blob(&blob).await;
    world.upstream.share_link(30 * MIB);
    Node::of(&world, &blob).soci(u64::MAX).await;
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_nydus_chunks_from_cold_cost_every_byte_once() {
    let blob = large_layer(6, 70 * MIB + 77);
    let world = World::holding_blob(&blob).await;
    let node = Node::of(&world, &blob);
    node.nydus().await;
    node.nydus_streams().await;
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_all_kinds_of_readers_at_once_cost_every_byte_once() {
    let blob = large_layer(7, 70 * MIB + 77);
    let world = World::holding_blob(&blob).await;
    world.upstream.share_link(40 * MIB);
    let node = Node::of(&world, &blob);
    tokio::join!(
        node.containerd(),
        node.stargz(),
        node.zstd_chunked(),
        node.soci(u64::MAX),
        node.nydus(),
        node.nydus_streams(),
        node.whole()
    );
    expect_once(&world, &blob).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g1_two_hundred_ranged_and_twenty_whole_readers_cost_every_byte_once() {
    let blob = large_layer(8, 48 * MIB + 5);
    let world = World::holding_blob(&blob).await;
    // So slow that all of them come while it is on its way.
    world.upstream.share_link(24 * MIB);
    let ranged = (0..200).map(|number| {
        let node = Node::of(&world, &blob);
        tokio::spawn(async move {
            for turn in 0..5 {
                let at = spread(number * 5 + turn, 47 * MIB);
                match number % 3 {
                    0 => node.open_for(at, 100_000).await,
                    1 => node.suffix(1 + at / 100).await,
                    _ => node.closed(at..at + 1 + at / 100).await,
                }
            }
        })
    });
    let mut readers: Vec<_> = ranged.collect();
    readers.extend((0..20).map(|_| {
        let node = Node::of(&world, &blob);
        tokio::spawn(async move { node.whole().await })
    }));
    for reader in readers {
        reader.await.unwrap();
    }
    expect_once(&world, &blob).await;
}

/// Ranges of a blob of that size that are all of one kind: as asked, and the bytes they are.
fn ranges_of(size: u64) -> Vec<(String, u64, u64)> {
    vec![
        ("0-0".to_owned(), 0, 1),
        (format!("{}-{}", size / 2, size / 2 + 99_999), size / 2, size / 2 + 100_000),
        (format!("{}-{}", size - 47, size - 1), size - 47, size),
        (format!("{}-{}", size - 100_000, size + 5), size - 100_000, size),
        ("-1".to_owned(), size - 1, size),
        ("-47".to_owned(), size - 47, size),
        ("-100000".to_owned(), size - 100_000, size),
        // Its last bytes would wait for the digest.
        (format!("{}-", size / 2), size / 2, size / 2 + 50_000),
    ]
}

#[tokio::test]
async fn t39_a_cold_range_costs_one_connection_and_one_request_before_its_first_byte() {
    // The time of a round trip; what comes after one request has waited it once.
    const TRIP: Duration = Duration::from_secs(4);
    for size in [200_000, 40 * MIB + 3] {
        let blob = &large_layer(9, size);
        let asking = ranges_of(size).into_iter().map(|(range, start, end)| async move {
            let world = World::holding_blob(blob).await;
            world.upstream.script(on(), act().delay(TRIP));
            // Nothing but what was asked can come.
            let gate = world.upstream.gate(&blob.digest);
            gate.allow_range(start..end);
            let begun = Instant::now();
            let request = world.blob(&blob.digest).range(&range);
            let mut reading = request.open().await;
            assert_eq!(reading.status(), 206, "{range}");
            let came = reading.until(end - start).await;
            let took = begun.elapsed();
            assert!(*came == blob.bytes[start as usize..end as usize], "{range} of {size}");
            assert!(took < 2 * TRIP, "{range} of {size}: its bytes came after {took:?}");
            let first = &world.upstream.seen()[0];
            assert_eq!((first.asked.connection, first.status), (0, 206), "{range} of {size}");
            assert!(first.body_bytes > 0, "{range} of {size}: the first request brought none of it");
        });
        join_all(asking).await;
    }
}

#[tokio::test]
async fn t39_a_range_of_a_blob_on_its_way_costs_one_more_request_before_its_first_byte() {
    const TRIP: Duration = Duration::from_secs(4);
    let size = 40 * MIB + 3;
    let blob = &large_layer(10, size);
    let asking = ranges_of(size).into_iter().skip(1).map(|(range, start, end)| async move {
        let world = World::with("split_above = \"1GiB\"").await;
        world.upstream.push_blob(REPOSITORY, blob);
        let gate = world.upstream.gate(&blob.digest);
        gate.allow(MIB);
        let whole = world.blob(&blob.digest).open().await;
        gate.held_at(MIB).await;
        let before = world.upstream.count(&on());
        world.upstream.script(on(), act().delay(TRIP));
        gate.allow_range(start..end);
        let begun = Instant::now();
        let mut reading = world.blob(&blob.digest).range(&range).open().await;
        assert!(begun.elapsed() < TRIP, "{range}: the head waited for upstream");
        assert!(*reading.until(end - start).await == blob.bytes[start as usize..end as usize], "{range}");
        // Where other transfers read ahead they may have brought it already.
        assert!(begun.elapsed() < 2 * TRIP, "{range}: its bytes came after {:?}", begun.elapsed());
        let asked = world.upstream.count(&on()) - before;
        assert!(asked <= 4, "{range}: {asked} more requests");
        drop(whole);
    });
    join_all(asking).await;
}

#[tokio::test]
async fn t40_once_206_always_206_where_upstream_ignores_ranges_from_any_request_on() {
    let blob = large_layer(11, 20 * MIB);
    for honest in [0, 1, 2] {
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().get().blobs(), act().ignore_range());
        if honest > 0 {
            world.upstream.script(on().get().blobs().nths(1..=honest), act());
        }
        let node = Node::of(&world, &blob);
        node.closed(15 * MIB..15 * MIB + 1000).await;
        for at in [0, 7 * MIB, 19 * MIB, 3] {
            node.closed(at..at + 70_000).await;
            node.open_for(at, 70_000).await;
        }
        node.suffix(5).await;
        node.several(&[9 * MIB..9 * MIB + 5, 2..9]).await;
        node.whole().await;
        node.closed(19 * MIB..20 * MIB).await;
    }
}

#[tokio::test]
async fn t40_once_206_always_206_though_the_blob_is_evicted_while_containerd_reads_it() {
    let upstream = Upstream::start().await;
    let blob = large_layer(12, 3 * CHUNK);
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"32MiB\"").start().await;
    let world = World { upstream, mirror };
    let node = Node::of(&world, &blob);
    let file = format!("blobs/sha256/{}/{}", &blob.digest[7..9], &blob.digest[7..]);
    for chunk in 0..3 {
        node.open_for(chunk * CHUNK, CHUNK).await;
        world.mirror.settled().await;
        for seed in 0..5 {
            let other = layer(100 * (chunk + 1) + seed, 7 * MIB);
            world.upstream.push_blob(REPOSITORY, &other);
            Node::of(&world, &other).whole().await;
            world.mirror.settled().await;
        }
        assert_eq!(world.mirror.files(&file).len(), 0, "it was to be evicted");
    }
}

#[tokio::test]
async fn t41_a_worker_that_leaves_early_neither_ends_nor_begins_a_transfer() {
    let blob = large_layer(13, 12 * MIB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MIB);
    let request = world.blob(&blob.digest).range("0-");
    for _ in 0..20 {
        Body::open(&request, blob.bytes.clone()).await.until(MIB).await;
    }
    gate.held_at(MIB).await;
    assert_eq!((world.upstream.count(&on()), world.upstream.connections()), (1, 1));
    gate.open();
    expect_once(&world, &blob).await;
    assert_eq!(world.upstream.count(&on()), 1);
}
