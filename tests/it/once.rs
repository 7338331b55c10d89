//! Every byte once, the first one early, and nobody at the mercy of anybody else: G1, G3 and G4 with many clients.

mod crowd;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::crowd::{FAST, Habit, LATE, LEAVING, RANGES, SLOW_ONES, Scene};
use crate::body::Body;
use crate::support::client::{Connection, End, Reading};
use crate::support::eventually;
use crate::support::images::{Object, layer};
use crate::support::mirror::Setup;
use crate::support::upstream::{Hold, Upstream, act, on};
use crate::world::{REPOSITORY, World};

const MIB: u64 = 1 << 20;

/// Everything that was begun has ended: no fill runs, nobody is being sent anything.
async fn expect_quiet(world: &World) {
    world.mirror.settled().await;
    let deadline = Instant::now() + crate::support::PATIENCE;
    while world.mirror.metric("roadstead_readers", &[]).await > 0.0 {
        assert!(Instant::now() < deadline, "a reader that left is still counted");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Upstream has sent each byte of these once, and no more.
#[track_caller]
fn expect_once<'a>(world: &World, objects: impl IntoIterator<Item = &'a Object>) {
    for object in objects {
        assert_eq!(world.upstream.sent_of(&object.digest), object.size(), "{}", object.digest);
    }
}

/// How long one node takes when it is alone.
async fn lone_pull() -> Duration {
    let scene = Scene::new(1).await;
    let bodies = Arc::clone(&scene).arrive(Habit::Fast).await;
    let begun = scene.begin();
    Arc::clone(&scene).go_on(Habit::Fast, bodies).await;
    begun.elapsed()
}

/// How long the fast ones of a crowd of 64 take, of whom nobody costs upstream a byte more.
async fn crowded_pull() -> Duration {
    let scene = Scene::new(2).await;
    let leaving = (0..LEAVING).map(|number| Habit::Leaves(10 + 4 * number as u64));
    let habits = leaving.chain([Habit::Slow; SLOW_ONES]).chain([Habit::Fast; FAST]);
    let arriving: Vec<_> =
        habits.map(|habit| (habit, tokio::spawn(Arc::clone(&scene).arrive(habit)))).collect();
    let mut here = Vec::new();
    for (habit, node) in arriving {
        here.push((habit, node.await.unwrap()));
    }

    let begun = scene.begin();
    let (mut fast, mut others) = (Vec::new(), Vec::new());
    for (habit, bodies) in here {
        let node = tokio::spawn(Arc::clone(&scene).go_on(habit, bodies));
        if habit == Habit::Fast { fast.push(node) } else { others.push(node) }
    }
    others.extend((0..RANGES).map(|number| tokio::spawn(Arc::clone(&scene).ask_ranges(number as u64))));
    others.extend((0..LATE).map(|_| tokio::spawn(Arc::clone(&scene).come_late())));
    for node in fast {
        node.await.unwrap();
    }
    let took = begun.elapsed();
    let reading = scene.fast_are_done();
    assert!(reading >= 3 * SLOW_ONES, "{reading} slow bodies left: nobody was slow");
    for node in others {
        node.await.unwrap();
    }

    scene.world.upstream.quiet().await;
    expect_quiet(&scene.world).await;
    expect_once(&scene.world, scene.image.blobs().chain([&scene.image.manifest]));
    assert_eq!(scene.world.upstream.count(&on().manifests()), 1);
    let connections = scene.world.upstream.connections();
    assert!(connections <= 2 * scene.image.blobs().count() + 1, "{connections} connections");
    took
}

#[tokio::test]
async fn g1_g3_g4_sixty_four_nodes_pull_cold_at_once_and_upstream_sends_each_byte_once() {
    let mut measured = Vec::new();
    // Several attempts: what is compared are two times, and the machine may be busy with something else during one.
    for _ in 0..6 {
        let (alone, together) = (lone_pull().await, crowded_pull().await);
        measured.push((alone, together));
        if together.as_secs_f64() <= alone.as_secs_f64() * 1.1 {
            return;
        }
    }
    panic!("alone, and the fast ones of the crowd: {measured:?}");
}

#[tokio::test]
async fn g1_any_mix_of_requests_costs_every_byte_once() {
    for seed in 0..4 {
        let blob = layer(100 + seed, 36 * MIB + seed);
        let world = World::holding_blob(&blob).await;
        world.upstream.share_link(36 * MIB);
        let mut dice = Dice(seed + 1);
        let mut asking = Vec::new();
        for _ in 0..40 {
            let (start, end) = dice.range(blob.size());
            let (header, start, end) = match dice.below(5) {
                0 => (None, 0, blob.size()),
                1 => (Some(format!("{start}-")), start, blob.size()),
                2 => (Some(format!("-{}", blob.size() - start)), start, blob.size()),
                _ => (Some(format!("{start}-{}", end - 1)), start, end),
            };
            let mut request = world.blob(&blob.digest);
            if let Some(header) = header {
                request = request.range(&header);
            }
            let expected = blob.bytes.slice(start as usize..end as usize);
            let leaves = (dice.below(3) == 0).then(|| dice.below(end - start + 1));
            let pause = Duration::from_millis(dice.below(1500));
            asking.push(tokio::spawn(async move {
                tokio::time::sleep(pause).await;
                Body::open(&request, expected).await.until(leaves.unwrap_or(u64::MAX)).await;
            }));
        }
        for one in asking {
            one.await.unwrap();
        }
        expect_quiet(&world).await;
        expect_once(&world, [&blob]);
        assert!(world.upstream.connections() <= 5, "{}", world.upstream.connections());
    }
}

#[tokio::test]
async fn g1_transfers_that_break_and_stand_still_are_taken_up_at_their_byte() {
    let blob = layer(1, 40 * MIB);
    // Longer than a busy machine lets a transfer stand still that does not: what it had on its way would come again.
    let world = World::with("idle_timeout = \"3s\"").await;
    world.upstream.push_blob(REPOSITORY, &blob);
    for (nth, after) in [(1, 5_000_001), (2, 1), (3, 7_000_000), (5, 333_333)] {
        world.upstream.script(on().get().blobs().nth(nth), act().cut(after));
    }
    world.upstream.script(on().get().blobs().nth(4), act().stall(1_000_000));
    let asking: Vec<_> = [0, 3, 20, 39]
        .map(|mib: u64| {
            let request = world.blob(&blob.digest).range(&format!("{}-", mib * MIB));
            let expected = blob.bytes.slice((mib * MIB) as usize..);
            tokio::spawn(async move { Body::open(&request, expected).await.rest().await })
        })
        .into_iter()
        .collect();
    for one in asking {
        one.await.unwrap();
    }
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
}

#[tokio::test]
async fn g1_a_restart_costs_no_byte_that_was_here() {
    let blob = layer(2, 40 * MIB);
    let upstream = Upstream::start().await;
    upstream.push_blob(REPOSITORY, &blob);
    let mirror = Setup::of(&upstream).set("server", "drain_timeout = \"100ms\"").start().await;
    let world = World { upstream, mirror };
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(10 * MIB);
    gate.allow_range(16 * MIB..20 * MIB);
    let mut front = world.blob(&blob.digest).open().await;
    let mut ahead = world.blob(&blob.digest).range(&format!("{}-", 16 * MIB)).open().await;
    front.until(10 * MIB).await;
    ahead.until(4 * MIB).await;
    gate.held_at(10 * MIB).await;
    gate.held_at(20 * MIB).await;
    drop((front, ahead));
    let world = world.restart().await;
    world.upstream.quiet().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), 14 * MIB);
    gate.open();
    let tail = world.blob(&blob.digest).range("-1000").send().await;
    tail.expect_range(&blob.bytes, blob.bytes.len() - 1000, blob.bytes.len() - 1);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
}

#[tokio::test]
async fn g3_who_comes_late_has_the_first_bytes_before_upstream_sends_another() {
    let blob = layer(3, 20 * MIB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(12 * MIB);
    gate.allow_range(16 * MIB..17 * MIB);
    let first = world.blob(&blob.digest).open().await;
    gate.held_at(12 * MIB).await;
    let mut late = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
    late.until(12 * MIB).await;
    let range = world.blob(&blob.digest).range(&format!("{}-", 16 * MIB + 5));
    let mut ahead = Body::open(&range, blob.bytes.slice(16 * MIB as usize + 5..)).await;
    ahead.until(MIB - 5).await;
    gate.held_at(17 * MIB).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), 13 * MIB - 5);
    gate.open();
    late.rest().await;
    ahead.rest().await;
    first.rest().await.expect_bytes(&blob.bytes);
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
}

#[tokio::test]
async fn g2_who_was_told_a_wrong_size_is_cut_though_the_right_blob_comes_after_all() {
    // Small enough to be withheld whole, so that all who wait have received nothing when the first attempt is wrong.
    let blob = layer(11, 10_000);
    for truncated in [1, 5000, 9999] {
        let world = World::holding_blob(&blob).await;
        let hold = Hold::new();
        world.upstream.script(on().get().blobs().nth(1), act().truncate(truncated));
        world.upstream.script(on().get().blobs().nth(2), act().hold(&hold));
        let first = world.blob(&blob.digest).open().await;
        assert_eq!(first.header("content-length"), Some(truncated.to_string().as_str()));
        hold.arrived(1).await;
        // It comes between the two, and is told nothing before upstream tells the right size.
        let second = tokio::spawn(world.blob(&blob.digest).send());
        tokio::time::sleep(Duration::from_millis(20)).await;
        hold.release();
        assert_ne!(first.rest().await.end, End::Complete, "{truncated} bytes were the whole blob");
        second.await.unwrap().expect_bytes(&blob.bytes);
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        expect_quiet(&world).await;
    }
}

/// A world where upstream is asked for a blob and keeps its status line back, and the one who asked first.
async fn asked(blob: &Object) -> (World, Hold, tokio::task::JoinHandle<Reading>) {
    let world = World::holding_blob(blob).await;
    let hold = Hold::new();
    world.upstream.script(on().get().blobs(), act().hold(&hold));
    let leader = tokio::spawn(world.blob(&blob.digest).open());
    hold.arrived(1).await;
    (world, hold, leader)
}

/// Leaves without having got an answer.
async fn leaves(client: tokio::task::JoinHandle<Reading>) {
    client.abort();
    assert!(client.await.is_err());
}

/// Asks for what is under way and leaves before there is an answer. How far the request has come by then nobody sees
/// from outside; it has time to get where it waits.
async fn joins_and_leaves(world: &World, blob: &Object) {
    let mut connection = Connection::open(world.mirror.address()).await;
    connection.write(&world.blob(&blob.digest)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
}

#[tokio::test]
async fn g4_when_the_one_who_started_it_is_dropped_those_who_wait_get_everything() {
    let blob = layer(4, 3 * MIB);
    let (world, hold, leader) = asked(&blob).await;
    let waiters: Vec<_> = (0..5).map(|_| tokio::spawn(world.blob(&blob.digest).send())).collect();
    leaves(leader).await;
    hold.release();
    for waiter in waiters {
        waiter.await.unwrap().expect_bytes(&blob.bytes);
    }
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
}

#[tokio::test]
async fn g4_when_those_who_wait_are_dropped_the_one_who_started_it_gets_everything() {
    let blob = layer(5, 3 * MIB);
    let (world, hold, leader) = asked(&blob).await;
    for _ in 0..5 {
        joins_and_leaves(&world, &blob).await;
    }
    hold.release();
    leader.await.unwrap().rest().await.expect_bytes(&blob.bytes);
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
}

#[tokio::test]
async fn g4_when_everybody_is_dropped_before_upstream_answers_the_blob_is_committed_all_the_same() {
    let blob = layer(6, 3 * MIB);
    let (world, hold, leader) = asked(&blob).await;
    joins_and_leaves(&world, &blob).await;
    leaves(leader).await;
    hold.release();
    world.upstream.quiet().await;
    expect_committed(&world, &blob).await;
}

#[tokio::test]
async fn g4_when_everybody_has_left_in_the_middle_the_blob_is_committed_all_the_same() {
    let blob = layer(7, 20 * MIB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MIB);
    let mut readers = Vec::new();
    for read in [0, 1, 500_000, 900_000] {
        let mut reader = world.blob(&blob.digest).open().await;
        reader.until(read).await;
        readers.push(reader);
    }
    let tail = world.blob(&blob.digest).range("-5").open().await;
    gate.held_at(20 * MIB - 5).await;
    drop(readers);
    drop(tail);
    gate.open();
    expect_committed(&world, &blob).await;
}

/// The blob gets committed without anybody there, and is served without upstream.
async fn expect_committed(world: &World, blob: &Object) {
    expect_quiet(world).await;
    let name = format!("blobs/sha256/{}/{}", &blob.digest[7..9], &blob.digest[7..]);
    eventually("the blob committed", || !world.mirror.files(&name).is_empty()).await;
    expect_once(world, [blob]);
    world.upstream.down().await;
    let answer = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(answer.cache_status(), "hit");
}

#[tokio::test]
async fn g4_who_comes_after_the_commit_is_served_beside_one_who_still_reads_the_fill() {
    let blob = layer(8, 12 * MIB);
    let world = World::holding_blob(&blob).await;
    let mut slow = Body::open_narrow(&world.blob(&blob.digest), blob.bytes.clone()).await;
    slow.until(1).await;
    world.mirror.settled().await;
    for _ in 0..3 {
        let late = world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert_eq!(late.cache_status(), "hit");
    }
    assert!(!slow.is_over());
    slow.rest().await;
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
}

#[tokio::test]
async fn g4_a_reader_of_fifty_kilobytes_a_second_does_not_delay_upstream_or_others() {
    let blob = layer(9, 12 * MIB);
    let world = World::holding_blob(&blob).await;
    world.upstream.share_link(12 * MIB);
    let mut slow: Vec<Body> = Vec::new();
    for _ in 0..8 {
        slow.push(Body::open_narrow(&world.blob(&blob.digest), blob.bytes.clone()).await);
    }
    let slow: Vec<_> = slow
        .into_iter()
        .map(|mut body| {
            tokio::spawn(async move {
                body.at_rate(50_000, || false).await;
            })
        })
        .collect();
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.upstream.quiet().await;
    world.mirror.settled().await;
    expect_once(&world, [&blob]);
    assert!(slow.iter().all(|reader| !reader.is_finished()));
    assert_eq!(world.mirror.metric("roadstead_readers", &[]).await, 8.0);
    slow.iter().for_each(tokio::task::JoinHandle::abort);
    expect_quiet(&world).await;
}

#[tokio::test]
async fn g4_two_hundred_readers_of_one_blob_get_it_from_one_transfer() {
    let blob = layer(10, 3 * MIB);
    let world = World::holding_blob(&blob).await;
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MIB);
    let mut readers = Vec::new();
    for number in 0..200 {
        let mut reader = Body::open(&world.blob(&blob.digest), blob.bytes.clone()).await;
        reader.until(number * 5000).await;
        readers.push(reader);
    }
    assert_eq!(world.mirror.metric("roadstead_fills_running", &[]).await, 1.0);
    gate.open();
    let reading: Vec<_> = readers.into_iter().map(|reader| tokio::spawn(reader.rest())).collect();
    for reader in reading {
        reader.await.unwrap();
    }
    expect_quiet(&world).await;
    expect_once(&world, [&blob]);
    assert_eq!(world.upstream.count(&on().get().blobs()), 1);
    assert_eq!(world.mirror.metric("roadstead_fills_total", &["committed"]).await, 1.0);
}

/// Numbers of no pattern, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        ((word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 11) % limit
    }

    /// A run of bytes, at least one, now and then a very short one.
    fn range(&mut self, size: u64) -> (u64, u64) {
        let start = self.below(size);
        let most = if self.below(4) == 0 { 3.min(size - start) } else { size - start };
        (start, start + 1 + self.below(most))
    }
}
