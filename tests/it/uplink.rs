//! The limits of the uplink: connections that bring blobs, and bytes a second, of one upstream and of all.

use std::ops::Range;
use std::time::{Duration, Instant};

use crate::support::images::{Object, image, large_layer, layer};
use crate::support::mirror::{Mirror, Setup, Signal};
use crate::support::upstream::{Gate, Upstream};
use crate::support::{PATIENCE, eventually};
use crate::world::{REPOSITORY, TAG, World, blob_path, manifest_path};

const MB: u64 = 1_000_000;
const MIB: u64 = 1 << 20;
/// Long enough for a transfer that is not to be to show itself.
const A_WHILE: Duration = Duration::from_millis(150);

/// Holds this blob, and no byte of it passes before the test says so.
fn gated(upstream: &Upstream, blob: &Object) -> Gate {
    upstream.push_blob(REPOSITORY, blob);
    upstream.gate(&blob.digest)
}

/// What the transfer that begins at `start` is to bring.
fn piece(upstream: &Upstream, blob: &Object, start: u64) -> Range<u64> {
    let of_blob = |digest: &Option<String>| digest.as_ref() == Some(&blob.digest);
    let mut ranges =
        upstream.seen().into_iter().filter(|seen| of_blob(&seen.object) && !seen.over).map(|seen| {
            let range =
                seen.asked.header("range").unwrap_or("bytes=0-").trim_start_matches("bytes=").to_owned();
            let (first, last) = range.split_once('-').unwrap();
            let end = last.parse().ok().map(|last: u64| last + 1);
            first.parse().unwrap()..end.unwrap_or_else(|| blob.size())
        });
    ranges.rfind(|range| range.start == start).expect("a transfer from there")
}

/// Waits until a gauge of the mirror is there.
async fn gauge(mirror: &Mirror, name: &str, holds: impl Fn(f64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let now = mirror.metric(&format!("roadstead_upstream_{name}"), &[]).await;
        if holds(now) {
            return;
        }
        assert!(Instant::now() < deadline, "{name} stays {now}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Everything has been given back.
async fn expect_idle(mirror: &Mirror) {
    mirror.settled().await;
    gauge(mirror, "connections", |held| held == 0.0).await;
    gauge(mirror, "waiting", |waiting| waiting == 0.0).await;
}

#[tokio::test]
async fn a_small_blob_waits_for_a_large_one_no_longer_than_a_piece_takes() {
    let (large, small) = (large_layer(1, 40 * MIB), layer(2, MB));
    let world = World::with("max_connections = 2").await;
    let gate = gated(&world.upstream, &large);
    world.upstream.push_blob(REPOSITORY, &small);
    let whole = world.blob(&large.digest).open().await;
    let tail = world.blob(&large.digest).range("-1000").open().await;
    eventually("both connections taken", || gate.held().len() == 2).await;
    gauge(&world.mirror, "connections", |held| held == 2.0).await;

    let asking = tokio::spawn(world.blob(&small.digest).send());
    gauge(&world.mirror, "waiting", |waiting| waiting >= 1.0).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(world.upstream.sent_of(&small.digest), 0);
    let at = gate.held()[0];
    gate.allow_range(piece(&world.upstream, &large, at));
    asking.await.unwrap().expect_bytes(&small.bytes);
    assert!(!gate.held().is_empty(), "all of that while the large one stands still");

    gate.open();
    whole.rest().await.expect_bytes(&large.bytes);
    tail.rest().await.expect(206);
    expect_idle(&world.mirror).await;
    assert_eq!(world.upstream.sent_of(&large.digest), large.size());
}

#[tokio::test]
async fn readers_of_what_is_not_stored_take_turns_too() {
    let upstream = Upstream::start().await;
    let mirror =
        Setup::with(&upstream, "max_connections = 2").set("store", "max_blob = \"1MiB\"").start().await;
    let blobs: Vec<_> = (0..4).map(|seed| layer(10 + seed, 2 * MIB)).collect();
    let gates: Vec<_> = blobs.iter().map(|blob| gated(&upstream, blob)).collect();
    let held = || gates.iter().map(|gate| gate.held().len()).sum::<usize>();
    let readers: Vec<_> =
        blobs.iter().map(|blob| tokio::spawn(mirror.get(&blob_path(&blob.digest)).send())).collect();
    eventually("both connections taken", || held() == 2).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(held(), 2);
    gates.iter().for_each(Gate::open);
    for (reader, blob) in readers.into_iter().zip(&blobs) {
        reader.await.unwrap().expect_bytes(&blob.bytes);
    }
    expect_idle(&mirror).await;
}

#[tokio::test]
async fn an_upstream_that_stands_still_keeps_no_connection_from_another() {
    let upstreams = [Upstream::start().await, Upstream::start().await];
    let mirror = Setup::with(&upstreams[0], "max_connections = 2")
        .upstream("other.test", &upstreams[1], "path = \"other\"")
        .set("uplink", "max_connections = 3")
        .start()
        .await;
    let stuck: Vec<_> = (0..4).map(|seed| layer(20 + seed, MB)).collect();
    let gates: Vec<_> = stuck.iter().map(|blob| gated(&upstreams[0], blob)).collect();
    let readers: Vec<_> =
        stuck.iter().map(|blob| tokio::spawn(mirror.get(&blob_path(&blob.digest)).send())).collect();
    gauge(&mirror, "waiting", |waiting| waiting == 2.0).await;
    for seed in 0..3 {
        let free = layer(30 + seed, MB);
        upstreams[1].push_blob(REPOSITORY, &free);
        mirror.get(&format!("/other{}", blob_path(&free.digest))).send().await.expect_bytes(&free.bytes);
    }
    gates.iter().for_each(Gate::open);
    for (reader, blob) in readers.into_iter().zip(&stuck) {
        reader.await.unwrap().expect_bytes(&blob.bytes);
    }
    expect_idle(&mirror).await;
}

#[tokio::test]
async fn a_rate_holds_for_one_upstream_and_for_all() {
    for (of_one, of_all) in [("2MB", ""), ("", "2MB"), ("2MB", "2MB"), ("2MB", "1GB")] {
        let upstream = Upstream::start().await;
        let mirror = Setup::with(&upstream, &format!("max_rate = {of_one:?}"))
            .set("uplink", &format!("max_rate = {of_all:?}"))
            .start()
            .await;
        let blobs: Vec<_> = (0..3).map(|seed| layer(40 + seed, MB)).collect();
        let begun = Instant::now();
        let readers: Vec<_> = blobs
            .iter()
            .map(|blob| {
                upstream.push_blob(REPOSITORY, blob);
                tokio::spawn(mirror.get(&blob_path(&blob.digest)).send())
            })
            .collect();
        for (reader, blob) in readers.into_iter().zip(&blobs) {
            reader.await.unwrap().expect_bytes(&blob.bytes);
        }
        // 3 MB are 1.5 s, less what may come at once.
        assert!(begun.elapsed() >= Duration::from_millis(1300), "{of_one}, {of_all}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn manifests_are_answered_while_blobs_use_up_the_connections_and_the_rate() {
    let image = image(50, &[100]);
    let world = World::with("max_connections = 2\nmax_rate = \"64KiB\"\ntag_ttl = \"0s\"").await;
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    let blobs = [layer(51, 4 * MB), layer(52, 4 * MB)];
    let mut readers = Vec::new();
    for blob in &blobs {
        world.upstream.push_blob(REPOSITORY, blob);
        readers.push(tokio::spawn(world.blob(&blob.digest).send()));
    }
    gauge(&world.mirror, "connections", |held| held == 2.0).await;
    for _ in 0..5 {
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        world.head_manifest(TAG).send().await.expect(200);
        world.head_blob(&image.layers[0].digest).send().await.expect(200);
    }
    // At this rate they need two minutes.
    assert!(readers.iter().all(|reader| !reader.is_finished()));
    gauge(&world.mirror, "connections", |held| held == 2.0).await;
    readers.iter().for_each(tokio::task::JoinHandle::abort);
    world.mirror.stop().await;
}

#[tokio::test]
async fn a_limit_that_is_raised_while_the_mirror_runs_counts_what_is_under_way() {
    let upstream = Upstream::start().await;
    let image = image(60, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let blobs: Vec<_> = (0..4).map(|seed| layer(61 + seed, MB)).collect();
    let gates: Vec<_> = blobs.iter().map(|blob| gated(&upstream, blob)).collect();
    let held = || gates.iter().map(|gate| gate.held().len()).sum::<usize>();
    let mirror = Setup::with(&upstream, "max_connections = 2").spawn().await;
    let ask = |blob: &Object| tokio::spawn(mirror.get(&blob_path(&blob.digest)).send());
    let mut readers: Vec<_> = blobs[..2].iter().map(ask).collect();
    eventually("both connections taken", || held() == 2).await;

    let toml = std::fs::read_to_string(mirror.config()).unwrap();
    let wider = toml.replace("max_connections = 2", "max_connections = 3");
    std::fs::write(mirror.config(), wider.replace("[uplink]", "[uplink]\nmax_connections = 64")).unwrap();
    mirror.signal(Signal::Reload);
    let told = mirror.says("the configuration read again", |text| text.contains("was read again")).await;
    let told = told.lines().find(|line| line.contains("was read again")).unwrap();
    let (taken, restart) = told.split_once("needs_restart").unwrap();
    assert!(taken.contains("max_connections") && restart.contains("uplink.max_connections"), "{told}");

    readers.extend(blobs[2..].iter().map(ask));
    eventually("a third connection", || held() == 3).await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(held(), 3);
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    gates.iter().for_each(Gate::open);
    for (reader, blob) in readers.into_iter().zip(&blobs) {
        reader.await.unwrap().expect_bytes(&blob.bytes);
    }
}

#[tokio::test]
async fn g3_who_waits_for_a_connection_has_the_head_of_his_answer_before_it() {
    let (large, small) = (large_layer(1, 40 * MIB), layer(2, MB));
    let world = World::with("max_connections = 2").await;
    let gate = gated(&world.upstream, &large);
    world.upstream.push_blob(REPOSITORY, &small);
    let reading = world.blob(&large.digest).open().await;
    gauge(&world.mirror, "connections", |held| held == 2.0).await;
    let waiting = world.blob(&small.digest).open().await;
    let length = waiting.header("content-length").map(str::to_owned);
    assert_eq!((waiting.status(), length), (200, Some(small.size().to_string())));
    assert_eq!(world.upstream.sent_of(&small.digest), 0);
    gate.open();
    waiting.rest().await.expect_bytes(&small.bytes);
    reading.rest().await.expect_bytes(&large.bytes);
    expect_idle(&world.mirror).await;
}

#[tokio::test]
async fn a_second_reader_far_ahead_does_not_wait_for_the_whole_blob_where_every_fill_has_one_connection() {
    const FILLS: u64 = 4;
    const SIZE: u64 = 64 * MIB;
    let world = World::with("max_connections = 2").await;
    let blobs: Vec<_> = (0..FILLS).map(|seed| large_layer(80 + seed, SIZE)).collect();
    let gates: Vec<_> = blobs.iter().map(|blob| gated(&world.upstream, blob)).collect();
    world.upstream.share_link(64 * MIB);
    let mut readers = Vec::new();
    for blob in &blobs {
        // Two readers of small ranges near the end, in different places. They have their heads, and so wait for bytes.
        for start in [SIZE - MIB, SIZE - 9 * MIB] {
            let asked = format!("{start}-{}", start + 999);
            readers.push((blob, start as usize, world.blob(&blob.digest).range(&asked).open().await));
        }
    }
    gates.iter().for_each(Gate::open);
    let readers = readers.into_iter().map(|(blob, start, reading)| {
        let (upstream, blob) = (&world.upstream, blob);
        async move {
            reading.rest().await.expect_range(&blob.bytes, start, start + 999);
            let sent = upstream.sent_of(&blob.digest);
            assert!(sent <= SIZE / 2, "{sent} bytes went before the 1000 from {start} on");
        }
    });
    futures_util::future::join_all(readers).await;
    world.mirror.stop().await;
}
