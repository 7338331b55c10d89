//! Several connections for one blob: which parts they bring, who is served first, and that no byte comes twice. G1, T55.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use roadstead::store::Ranges;

use crate::body::Body;
use crate::support::client::Reading;
use crate::support::dice::Dice;
use crate::support::eventually;
use crate::support::images::{Object, large_layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Gate, Upstream, act, on};
use crate::world::{REPOSITORY, World, blob_path};

const MIB: u64 = 1 << 20;
/// The most that one fill asks for at once by default.
const MOST: usize = 4;
/// How far a transfer that nobody waits for may begin beyond the lowest missing byte.
const SPREAD: u64 = 64 * MIB;
/// Long enough for a transfer that is not to be to show itself.
const A_WHILE: Duration = Duration::from_millis(150);

/// A transfer as upstream saw it.
#[derive(Clone, Debug)]
struct Transfer {
    asked: Range<u64>,
    status: u16,
    sent: u64,
    running: bool,
}

/// All transfers of a blob, in the order in which they were asked for.
fn transfers(upstream: &Upstream, blob: &Object) -> Vec<Transfer> {
    let of_blob = upstream.seen().into_iter().filter(|seen| seen.object.as_ref() == Some(&blob.digest));
    let asked = |range: Option<&str>| {
        let Some(range) = range else { return 0..blob.size() };
        let (first, last) = range.trim_start_matches("bytes=").split_once('-').unwrap();
        match (first.parse(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) => first..blob.size().min(last + 1),
            (Ok(first), Err(_)) => first..blob.size(),
            (Err(_), last) => blob.size() - last.unwrap()..blob.size(),
        }
    };
    of_blob
        .map(|seen| Transfer {
            asked: asked(seen.asked.header("range")),
            status: seen.status,
            sent: seen.body_bytes,
            running: !seen.over,
        })
        .collect()
}

/// No byte was asked for by two of them, and no range is empty.
#[track_caller]
fn expect_disjoint(transfers: &[Transfer]) {
    let mut asked: Vec<_> = transfers.iter().map(|transfer| transfer.asked.clone()).collect();
    asked.sort_by_key(|range| range.start);
    assert!(asked.iter().all(|range| range.start < range.end), "{asked:?}");
    assert!(asked.windows(2).all(|two| two[0].end <= two[1].start), "{asked:?}");
}

/// Upstream has sent each byte once, each asked for once.
async fn expect_once(world: &World, blob: &Object) {
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    expect_disjoint(&transfers(&world.upstream, blob));
}

/// A world with this blob, where upstream sends no byte of it before it is told to, and one who reads all of it.
async fn standing_still(lines: &str, blob: &Object) -> (World, Gate, Body) {
    let world = World::with(lines).await;
    world.upstream.push_blob(REPOSITORY, blob);
    let gate = world.upstream.gate(&blob.digest);
    let whole = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    (world, gate, whole)
}

/// Waits until so many transfers are held, and sees that there are no more of them.
async fn expect_held(gate: &Gate, number: usize) {
    eventually(&format!("{number} transfers"), || gate.held().len() >= number).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(gate.held().len(), number, "{:?}", gate.held());
}

/// Opens a closed range, which is read later.
async fn ahead(world: &World, blob: &Object, range: Range<u64>) -> Reading {
    let reading = world.blob(&blob.digest).range(&format!("{}-{}", range.start, range.end - 1)).open().await;
    assert_eq!(reading.status(), 206);
    reading
}

#[tokio::test]
async fn g1_a_large_blob_comes_over_four_connections_that_never_ask_for_the_same_byte() {
    let blob = large_layer(1, 100 * MIB + 3);
    let (world, gate, whole) = standing_still("", &blob).await;
    expect_held(&gate, MOST).await;
    let held = gate.held();
    assert!(held.contains(&0), "nobody is at the lowest missing byte: {held:?}");
    assert!(held.iter().all(|at| *at < SPREAD), "{held:?}");
    expect_disjoint(&transfers(&world.upstream, &blob));
    gate.open();
    whole.rest().await;
    expect_once(&world, &blob).await;
    assert_eq!(world.upstream.most_connections(), MOST);
}

#[tokio::test]
async fn g1_as_many_connections_as_are_configured_and_no_more() {
    let blob = large_layer(2, 60 * MIB);
    // At once while nothing moves; and at the most. A blob that is not split has the next transfer begin before the one
    // before it has ended.
    for (lines, number, most) in [
        ("connections_per_blob = 1", 1, 1),
        ("connections_per_blob = 2", 2, 2),
        ("connections_per_blob = 7", 7, 7),
        ("split_above = \"60MiB\"", 1, 2),
        ("split_above = \"59MiB\"", MOST, MOST),
        ("max_connections = 3", 3, 3),
    ] {
        let (world, gate, whole) = standing_still(lines, &blob).await;
        expect_held(&gate, number).await;
        gate.open();
        whole.rest().await;
        expect_once(&world, &blob).await;
        let connections = world.upstream.most_connections();
        assert!(connections <= most, "{lines}: {connections}");
    }
}

#[tokio::test]
async fn g1_a_small_blob_has_one_connection_and_one_more_for_who_is_far_ahead() {
    let blob = large_layer(3, 30 * MIB);
    let (world, gate, whole) = standing_still("", &blob).await;
    expect_held(&gate, 1).await;
    let mut tail = ahead(&world, &blob, 25 * MIB..30 * MIB).await;
    expect_held(&gate, 2).await;
    let middle = ahead(&world, &blob, 22 * MIB..23 * MIB).await;
    expect_held(&gate, 2).await;
    gate.allow_range(22 * MIB..30 * MIB);
    assert!(*tail.until(u64::MAX).await == blob.bytes[25 * MIB as usize..]);
    middle.rest().await.expect_range(&blob.bytes, 22 * MIB as usize, 23 * MIB as usize - 1);
    gate.open();
    whole.rest().await;
    expect_once(&world, &blob).await;
    assert_eq!(world.upstream.most_connections(), 2);
}

#[tokio::test]
async fn g1_whichever_connection_gets_on_one_is_at_the_lowest_missing_byte() {
    let blob = large_layer(4, 90 * MIB + 11);
    for seed in 0..6 {
        let (world, gate, whole) = standing_still("", &blob).await;
        let mut dice = Dice::new(seed);
        let mut allowed = Ranges::new();
        let mut readers = Vec::new();
        for step in 0..60 {
            let lowest = allowed.prefix();
            if lowest == blob.size() {
                break;
            }
            eventually(&format!("{step} of {seed}: a transfer at {lowest}, of {:?}", gate.held()), || {
                gate.held().contains(&lowest)
            })
            .await;
            let held = gate.held();
            assert!(held.len() <= MOST, "{step} of {seed}: {held:?}");
            expect_disjoint(&transfers(&world.upstream, &blob));
            // Any of them gets on, the lowest as seldom as every other.
            let at = held[dice.below(held.len() as u64) as usize];
            let by = [1, 70_000, 3 * MIB, 40 * MIB][dice.below(4) as usize];
            let range = at..(at + by).min(blob.size());
            allowed.insert(range.clone());
            gate.allow_range(range);
            eventually("the transfer gets on", || !gate.held().contains(&at)).await;
            if dice.below(10) == 0 {
                let start = dice.below(blob.size() - MIB);
                readers.push((start, ahead(&world, &blob, start..start + MIB).await));
            }
        }
        gate.open();
        whole.rest().await;
        for (start, reader) in readers {
            let start = start as usize;
            reader.rest().await.expect_range(&blob.bytes, start, start + MIB as usize - 1);
        }
        expect_once(&world, &blob).await;
        assert!(world.upstream.most_connections() <= MOST);
    }
}

#[tokio::test]
async fn g1_readers_far_ahead_get_their_bytes_long_before_the_rest_and_the_prefix_moves_meanwhile() {
    let blob = large_layer(5, 200 * MIB);
    let world = World::holding_blob(&blob).await;
    world.upstream.share_link(50 * MIB);
    let mut whole = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    whole.until(MIB).await;
    let readers: Vec<_> = (1..=12)
        .map(|number| {
            let (first, last) = (number * 15 * MIB + 5, number * 15 * MIB + MIB + 4);
            let (request, blob) = (world.blob(&blob.digest).range(&format!("{first}-{last}")), blob.clone());
            tokio::spawn(async move {
                request.send().await.expect_range(&blob.bytes, first as usize, last as usize);
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    let sent = world.upstream.sent_of(&blob.digest);
    assert!(sent <= blob.size() / 2, "they waited for {sent} bytes");
    whole.until(5 * MIB).await;
    let sent = world.upstream.sent_of(&blob.digest);
    assert!(sent <= blob.size() / 2, "whole readers waited for {sent} bytes");
    whole.rest().await;
    expect_once(&world, &blob).await;
}

#[tokio::test]
async fn g1_a_connection_that_stands_still_far_ahead_does_not_keep_the_prefix() {
    let blob = large_layer(10, 100 * MIB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    let stuck = ahead(&world, &blob, 99 * MIB..100 * MIB).await;
    gate.held_at(99 * MIB).await;
    let mut whole = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    gate.allow(99 * MIB);
    whole.until(99 * MIB).await;
    gate.open();
    stuck.rest().await.expect_range(&blob.bytes, 99 * MIB as usize, 100 * MIB as usize - 1);
    whole.rest().await;
    expect_once(&world, &blob).await;
}

#[tokio::test]
async fn g1_a_limit_per_connection_is_passed_by_as_many_as_there_are() {
    let blob = large_layer(6, 64 * MIB);
    let world = World::new().await;
    world.upstream.push_blob(REPOSITORY, &blob);
    world.upstream.script(on().get().blobs(), act().rate(16 * MIB));
    let whole = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    eventually("four at once", || {
        transfers(&world.upstream, &blob).iter().filter(|transfer| transfer.running).count() == MOST
    })
    .await;
    whole.rest().await;
    expect_once(&world, &blob).await;
}

#[tokio::test]
async fn g1_an_upstream_that_ignores_ranges_sends_the_blob_once() {
    let blob = large_layer(7, 40 * MIB);
    for first in [None, Some("30000000-30000999"), Some("-1000"), Some("20000000-")] {
        let world = World::holding_blob(&blob).await;
        world.upstream.script(on().get().blobs(), act().ignore_range());
        let gate = world.upstream.gate(&blob.digest);
        gate.allow(MIB);
        let request = world.blob(&blob.digest);
        let request = first.iter().fold(request, |request, range| request.range(range));
        let begun = request.open().await;
        let whole = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
        let tail = ahead(&world, &blob, 39 * MIB..40 * MIB).await;
        gate.held_at(MIB).await;
        tokio::time::sleep(A_WHILE).await;
        assert_eq!(world.upstream.count(&on()), 1, "first asked: {first:?}");
        gate.open();
        assert_eq!(begun.rest().await.end, crate::support::client::End::Complete);
        tail.rest().await.expect_range(&blob.bytes, 39 * MIB as usize, 40 * MIB as usize - 1);
        whole.rest().await;
        world.mirror.settled().await;
        assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "first asked: {first:?}");
    }
}

#[tokio::test]
async fn g1_where_ranges_are_ignored_from_some_request_on_only_answers_of_200_are_wasted() {
    /// What a socket takes before it notices that nobody reads.
    const SOCKET: u64 = 8 * MIB;
    let blob = large_layer(8, 100 * MIB);
    for honest in [1, 2, 3, 4, 5] {
        let world = World::holding_blob(&blob).await;
        world.upstream.share_link(100 * MIB);
        world.upstream.script(on().get().blobs(), act().ignore_range());
        world.upstream.script(on().get().blobs().nths(1..=honest), act());
        let whole = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
        let mut tail = ahead(&world, &blob, 99 * MIB..100 * MIB).await;
        assert!(*tail.until(MIB).await == blob.bytes[99 * MIB as usize..]);
        whole.rest().await;
        world.mirror.settled().await;
        let seen = transfers(&world.upstream, &blob);
        let ranged: Vec<_> = seen.iter().filter(|transfer| transfer.status == 206).cloned().collect();
        expect_disjoint(&ranged);
        let by_ranges: u64 = ranged.iter().map(|transfer| transfer.sent).sum();
        let ignored = seen.len() - ranged.len();
        // One of them brings what is left, beginning at 0; the others are closed at their head.
        let bound = blob.size() + by_ranges + ignored.saturating_sub(1) as u64 * SOCKET;
        let sent = world.upstream.sent_of(&blob.digest);
        assert!(sent <= bound, "{honest}: {sent} bytes, at most {bound}: {seen:?}");
        assert!(ignored <= MOST, "{honest}: {ignored} requests that brought the whole: {seen:?}");
    }
}

#[tokio::test]
async fn t55_g1_a_redirect_target_that_expires_in_the_middle_is_asked_for_again_and_costs_no_byte() {
    let storage = Upstream::start().await;
    let blob = large_layer(9, 100 * MIB);
    storage.push_blob("storage", &blob);
    for uses in [1, 3] {
        let world = World::with("redirect_hosts = [\"127.0.0.1\"]").await;
        let signed: Vec<_> = (0..200).map(|_| storage.sign("storage", &blob.digest, uses)).collect();
        let given = Arc::new(AtomicUsize::new(0));
        let next = Arc::clone(&given);
        let by = act().redirect_by(307, move |_| signed[next.fetch_add(1, Ordering::SeqCst)].clone());
        world.upstream.script(on().blobs(), by);
        storage.share_link(200 * MIB);
        let before = storage.sent_of(&blob.digest);
        let transfers_before = transfers(&storage, &blob).len();
        let tail = world.blob(&blob.digest).range("-1000").open();
        let request = world.blob(&blob.digest);
        let whole = Body::open(&request, blob.bytes.clone());
        let (tail, whole) = tokio::join!(tail, whole);
        tail.rest().await.expect_range(&blob.bytes, blob.bytes.len() - 1000, blob.bytes.len() - 1);
        whole.rest().await;
        world.mirror.settled().await;
        assert_eq!(storage.sent_of(&blob.digest) - before, blob.size());
        let transfers = &transfers(&storage, &blob)[transfers_before..];
        let brought: Vec<_> = transfers.iter().filter(|transfer| transfer.status < 300).cloned().collect();
        expect_disjoint(&brought);
        // Of those that run when a target expires one asks for another, and all use that.
        let given = given.load(Ordering::SeqCst);
        assert!(given <= brought.len().div_ceil(uses), "{given} targets for {} transfers", brought.len());
    }
}

#[tokio::test]
async fn g1_connections_at_the_socket_are_never_more_than_an_upstream_is_allowed() {
    let blobs: Vec<_> = (0..6).map(|seed| large_layer(20 + seed, 40 * MIB)).collect();
    let world = World::with("max_connections = 5").await;
    world.upstream.share_link(160 * MIB);
    let readers: Vec<_> = blobs
        .iter()
        .map(|blob| {
            world.upstream.push_blob(REPOSITORY, blob);
            let requests = [world.blob(&blob.digest), world.blob(&blob.digest).range("39000000-")];
            let expected = [blob.bytes.clone(), blob.bytes.slice(39_000_000..)];
            tokio::spawn(async move {
                for (request, expected) in requests.into_iter().zip(expected) {
                    Body::open(&request, expected).await.rest().await;
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    for blob in &blobs {
        expect_once(&world, blob).await;
    }
    let most = world.upstream.most_connections();
    assert!(most <= 5, "{most} connections");
}

#[tokio::test]
async fn g1_connections_of_two_upstreams_are_never_more_than_all_are_allowed() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let mirror = Setup::of(&upstreams[0])
        .upstream("other.test", &upstreams[1], "path = \"other\"")
        .set("uplink", "max_connections = 4")
        .start()
        .await;
    let blobs: Vec<_> = (0..4).map(|seed| large_layer(30 + seed, 40 * MIB)).collect();
    let gates: Vec<_> = blobs
        .iter()
        .enumerate()
        .map(|(at, blob)| {
            upstreams[at % 2].push_blob(REPOSITORY, blob);
            upstreams[at % 2].gate(&blob.digest)
        })
        .collect();
    let mut readers = Vec::new();
    for (at, blob) in blobs.iter().enumerate() {
        let prefix = if at % 2 == 0 { "" } else { "/other" };
        let request = mirror.get(&format!("{prefix}{}", blob_path(&blob.digest)));
        let expected = blob.bytes.clone();
        readers.push(tokio::spawn(async move { Body::open(&request, expected).await.rest().await }));
    }
    let held = || gates.iter().map(|gate| gate.held().len()).sum::<usize>();
    eventually("four at once", || held() >= 4).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(held(), 4);
    gates.iter().for_each(Gate::open);
    for reader in readers {
        reader.await.unwrap();
    }
    for (at, blob) in blobs.iter().enumerate() {
        assert_eq!(upstreams[at % 2].sent_of(&blob.digest), blob.size());
    }
    assert!(upstreams.iter().map(|one| one.most_connections()).max() <= Some(4));
}
