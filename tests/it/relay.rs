//! Readers past the store, who share their transfers: what upstream sends when nothing can be kept.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use crate::body::Body;
use crate::support::client::End;
use crate::support::disk::{FaultDisk, Op, fails};
use crate::support::images::{Object, image, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, act, on};
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, TAG, World};

const MB: u64 = 1_000_000;
/// What a relay keeps at the most.
const WINDOW: u64 = 8 << 20;

/// A world whose store takes no blob above 1 MB, with this one upstream.
async fn without_room_for(blob: &Object) -> World {
    let upstream = Upstream::start().await;
    upstream.push_blob(REPOSITORY, blob);
    let mirror = Setup::of(&upstream).set("store", "max_blob = \"1MB\"").start().await;
    World { upstream, mirror }
}

/// So many clients that have the first byte of the blob, or of this part of it.
async fn clients(world: &World, count: usize, blob: &Object, range: Option<(u64, u64)>) -> Vec<Body> {
    let open = (0..count).map(|_| async {
        let request = world.blob(&blob.digest);
        let mut body = match range {
            None => Body::open(&request, blob.bytes.clone()).await,
            Some((first, last)) => {
                let bytes = blob.bytes.slice(first as usize..=last as usize);
                Body::open(&request.range(&format!("{first}-{last}")), bytes).await
            }
        };
        body.until(1).await;
        body
    });
    join_all(open).await
}

async fn rest(clients: Vec<Body>) {
    join_all(clients.into_iter().map(Body::rest)).await;
}

/// Waits until no transfer is there for anybody.
async fn idle(world: &World) {
    let idle = async {
        while world.mirror.metric("roadstead_relays_running", &[]).await > 0.0
            || world.mirror.metric("roadstead_readers", &[]).await > 0.0
            || world.mirror.metric("roadstead_upstream_connections", &[]).await > 0.0
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("nothing runs any more", idle).await;
}

#[tokio::test]
async fn g7_clients_that_pull_together_cost_one_transfer_though_nothing_is_stored() {
    let blob = layer(1, 30 * MB);
    let world = without_room_for(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let clients = clients(&world, 16, &blob, None).await;
    gate.open();
    rest(clients).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    idle(&world).await;
}

#[tokio::test]
async fn g7_clients_that_read_the_same_ranges_together_cost_one_transfer_of_each() {
    let blob = layer(2, 30 * MB);
    let world = without_room_for(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    let ranges = [(0, 2 * MB - 1), (5 * MB, 25 * MB - 1), (29 * MB, 30 * MB - 1)];
    let mut all = Vec::new();
    for (first, last) in ranges {
        gate.allow_range(first..first + 100);
        all.extend(clients(&world, 16, &blob, Some((first, last))).await);
    }
    gate.open();
    rest(all).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), 23 * MB);
    idle(&world).await;
}

#[tokio::test]
async fn g4_a_client_that_takes_nothing_slows_nobody_past_the_store_and_is_served_later() {
    let blob = layer(3, 40 * MB);
    let world = without_room_for(&blob).await;
    let mut slow = Body::open_narrow(&world.blob(&blob.digest), blob.bytes.clone()).await;
    slow.until(1).await;
    let fast = clients(&world, 4, &blob, None).await;
    // They are done before it has moved.
    rest(fast).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "one transfer for the fast ones");
    slow.rest().await;
    let sent = world.upstream.sent_of(&blob.digest);
    assert!(sent <= 2 * blob.size(), "{sent}");
    idle(&world).await;
}

#[tokio::test]
async fn g7_who_comes_when_the_window_has_moved_on_has_another_transfer_which_the_next_one_shares() {
    let blob = layer(4, 40 * MB);
    let world = without_room_for(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(30 * MB);
    let mut first = clients(&world, 1, &blob, None).await;
    first[0].until(25 * MB).await;
    let late = [clients(&world, 1, &blob, None).await, clients(&world, 1, &blob, None).await];
    gate.open();
    rest(late.into_iter().flatten().chain(first).collect()).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), 2 * blob.size());
    idle(&world).await;
}

#[tokio::test]
async fn g2_g7_of_wrong_bytes_nobody_who_shares_them_has_a_whole_body() {
    let blob = layer(5, 12 * MB);
    let upstream = Upstream::start().await;
    upstream.push_blob(REPOSITORY, &blob);
    // Those that a busy machine keeps apart find it wrong by themselves.
    let setup = Setup::with(&upstream, "negative_ttl = \"0s\"").set("store", "max_blob = \"1MB\"");
    let world = World { mirror: setup.start().await, upstream };
    world.upstream.script(on().get().blobs(), act().flip(7 * MB));
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut reading = Vec::new();
    for number in 0..8 {
        let request = world.blob(&blob.digest);
        let request = if number % 2 == 0 { request } else { request.range("1000-") };
        reading.push(request.open().await);
    }
    gate.open();
    for reading in reading {
        assert!(reading.rest().await.end != End::Complete, "wrong bytes were complete");
    }
    // Nobody new is given what was found wrong, also not while it is still there.
    world.upstream.behave();
    let right = async {
        loop {
            let answer = world.blob(&blob.digest).send().await;
            if answer.status == 200 {
                break answer;
            }
            // Found wrong more than twice, it is left alone for a moment.
            answer.expect_error(502, "UNAVAILABLE");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    soon("the right bytes", right).await.expect_bytes(&blob.bytes);
    idle(&world).await;
}

#[tokio::test]
async fn g2_wrong_content_past_the_store_is_not_fetched_over_and_over() {
    let blob = layer(14, 3 * MB);
    let world = without_room_for(&blob).await;
    world.upstream.script(on().get().blobs(), act().flip(2 * MB));
    for _ in 0..2 {
        assert!(world.blob(&blob.digest).send().await.end != End::Complete);
    }
    let sent = world.upstream.sent_of(&blob.digest);
    for _ in 0..5 {
        world.blob(&blob.digest).send().await.expect_error(502, "UNAVAILABLE");
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), sent);
    idle(&world).await;
}

#[tokio::test]
async fn t28_g7_a_shared_transfer_that_breaks_goes_on_for_all_at_the_byte_it_reached() {
    let blob = layer(6, 20 * MB);
    let world = without_room_for(&blob).await;
    world.upstream.script(on().get().blobs().nth(1), act().cut(3 * MB));
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let clients = clients(&world, 4, &blob, None).await;
    gate.open();
    rest(clients).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    idle(&world).await;
}

#[tokio::test]
async fn t28_an_upstream_that_has_less_than_it_said_is_not_asked_over_and_over_past_the_store() {
    for less in [0, MB] {
        let blob = layer(15, 12 * MB);
        let world = without_room_for(&blob).await;
        world.upstream.script(on().get().blobs(), act().truncate(less).ignore_range());
        world.upstream.script(on().get().blobs().nth(1), act().cut(3 * MB));
        let mut client = clients(&world, 1, &blob, None).await.remove(0);
        client.until(2 * MB).await;
        world.upstream.wait(on().get().blobs(), 2).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let requests = world.upstream.count(&on().get().blobs());
        assert!(requests <= 6, "{requests} requests");
        drop(client);
        idle(&world).await;
    }
}

#[tokio::test]
async fn g7_of_an_upstream_that_ignores_ranges_readers_are_given_what_they_asked_for() {
    let blob = layer(7, 12 * MB);
    let world = without_room_for(&blob).await;
    world.upstream.script(on().get().blobs(), act().ignore_range());
    world.upstream.script(on().get().blobs().nth(1), act().ignore_range().cut(3 * MB));
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let whole = clients(&world, 3, &blob, None).await;
    gate.open();
    rest(whole).await;
    rest(clients(&world, 3, &blob, Some((11 * MB, 12 * MB - 1))).await).await;
    idle(&world).await;
}

#[tokio::test]
async fn g7_readers_of_a_fill_that_the_disk_ends_go_on_by_one_transfer() {
    let disk = FaultDisk::new();
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(Arc::new(disk.clone())).start().await;
    let world = World { upstream, mirror };
    let blob = layer(8, 60 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(10 * MB);
    let mut readers = clients(&world, 8, &blob, None).await;
    for (number, reader) in readers.iter_mut().enumerate() {
        reader.until(number as u64 * MB).await;
    }
    disk.fault(fails(Op::Write, "partial").for_space());
    gate.open();
    rest(readers).await;
    assert!(disk.failed() > 0);
    let sent = world.upstream.sent_of(&blob.digest);
    // What was on its way on each of four connections: in two sockets, and in two pieces of a MiB before the disk.
    let extra = sent - blob.size();
    assert!(extra <= 4 * (8 << 20), "{extra} bytes more than the blob has");
    idle(&world).await;
}

#[tokio::test]
async fn g7_pulls_of_an_image_larger_than_the_store_cost_one_transfer_a_group() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).set("store", "max_bytes = \"4MiB\"").start().await;
    let world = World { upstream, mirror };
    let image = image(9, &[9 * MB, 4_300_000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let groups = 25;
    for _ in 0..groups {
        join_all((0..4).map(|_| world.pull(&image))).await;
    }
    for blob in &image.layers {
        let sent = world.upstream.sent_of(&blob.digest);
        assert!(sent <= groups * blob.size(), "{} of {}", sent, blob.size());
    }
    idle(&world).await;
}

#[tokio::test]
async fn g7_storing_begins_again_by_itself_when_the_disk_has_room() {
    let disk = FaultDisk::new();
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).disk(Arc::new(disk.clone())).start().await;
    let world = World { upstream, mirror };
    let blob = layer(10, 30 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    disk.resize(4 * MB);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(20 * MB);
    let mut past = clients(&world, 1, &blob, None).await;
    past[0].until(15 * MB).await;
    disk.heal();
    gate.open();
    let kept = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(kept.cache_status(), "fwd=miss; stored");
    rest(past).await;
    world.mirror.settled().await;
    world.upstream.down().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    idle(&world).await;
}

#[tokio::test]
async fn g4_readers_past_the_store_who_leave_take_their_transfer_with_them() {
    let blob = layer(11, 30 * MB);
    let world = without_room_for(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(12 * MB);
    let mut clients = clients(&world, 6, &blob, None).await;
    let last = clients.split_off(5);
    for (number, client) in clients.iter_mut().enumerate() {
        client.until(number as u64 * 2 * MB).await;
    }
    drop(clients);
    gate.open();
    rest(last).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    idle(&world).await;
    let gate = world.upstream.gate(&blob.digest);
    drop(gate);
    let leaving = world.blob(&blob.digest).open().await;
    drop(leaving);
    idle(&world).await;
    eventually("upstream is left alone", || world.upstream.open_connections() <= 1).await;
}

#[tokio::test]
async fn a_mirror_that_stops_ends_its_relays() {
    let blob = layer(12, 30 * MB);
    let world = without_room_for(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(5 * MB);
    let clients = clients(&world, 4, &blob, None).await;
    let World { upstream, mirror } = world;
    let stopping = tokio::spawn(mirror.stop());
    drop(clients);
    soon("the mirror has stopped", stopping).await.unwrap();
    eventually("upstream is left alone", || upstream.open_connections() == 0).await;
}

#[tokio::test]
async fn g4_clients_that_take_nothing_past_the_store_do_not_keep_the_connections_that_others_need() {
    let upstream = Upstream::start().await;
    let blobs: Vec<_> = (20..23).map(|seed| layer(seed, 40 * MB)).collect();
    blobs.iter().for_each(|blob| upstream.push_blob(REPOSITORY, blob));
    let mirror =
        Setup::with(&upstream, "max_connections = 2").set("store", "max_blob = \"1MB\"").start().await;
    let world = World { upstream, mirror };
    let mut slow = Vec::new();
    for blob in &blobs[..2] {
        let mut body = Body::open_narrow(&world.blob(&blob.digest), blob.bytes.clone()).await;
        body.until(1).await;
        slow.push(body);
    }
    // Both connections were taken, and nobody who has them takes anything.
    rest(clients(&world, 4, &blobs[2], None).await).await;
    assert_eq!(world.upstream.sent_of(&blobs[2].digest), blobs[2].size());
    for (body, blob) in slow.into_iter().zip(&blobs) {
        body.rest().await;
        let sent = world.upstream.sent_of(&blob.digest);
        // What was in two sockets when its connection was given back.
        assert!(sent <= blob.size() + 16 * MB, "{sent}");
    }
    idle(&world).await;
}

#[tokio::test]
async fn g7_a_crowd_at_all_speeds_has_the_right_bytes_in_the_end() {
    let blob = layer(13, 24 * MB);
    let world = Arc::new(without_room_for(&blob).await);
    world.upstream.share_link(40 * MB);
    let crowd = (0..24_u64).map(|number| {
        let (world, blob) = (Arc::clone(&world), blob.clone());
        tokio::spawn(async move {
            let range = match number % 4 {
                3 => Some((number * 500_000, number * 500_000 + 7 * MB)),
                _ => None,
            };
            tokio::time::sleep(Duration::from_millis(number * 40)).await;
            let mut body = clients(&world, 1, &blob, range).await.remove(0);
            match number % 6 {
                0 => body.at_rate(6 * MB, || false).await,
                1 => body.until(number * 300_000).await,
                _ => body.rest().await,
            }
        })
    });
    for reader in crowd.collect::<Vec<_>>() {
        reader.await.unwrap();
    }
    let sent = world.upstream.sent_of(&blob.digest);
    assert!(sent <= 8 * blob.size(), "24 readers cost {sent} bytes");
    assert!(WINDOW < blob.size());
    idle(&world).await;
}
