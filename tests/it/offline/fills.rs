//! Blobs on their way when their upstream goes offline: what is there is served, the rest is refused at once, and what comes
//! later goes on at the byte that was reached.

use roadstead::mirror::Mode;

use super::{OFFLINE, WAITS_LONG, expect_miss};
use crate::support::client::End;
use crate::support::images::{Object, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Upstream, on};
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, World, blob_path};

const MIB: u64 = 1 << 20;

/// A blob of which this much has come, and a client that reads all of it.
async fn begun(lines: &str, blob: &Object, reached: u64) -> (World, crate::support::client::Reading) {
    let world = World::with(&format!("idle_timeout = \"60s\"\n{WAITS_LONG}{lines}")).await;
    world.upstream.push_blob(REPOSITORY, blob);
    world.upstream.gate(&blob.digest).allow(reached);
    let mut reading = world.blob(&blob.digest).open().await;
    reading.until(reached).await;
    (world, reading)
}

#[tokio::test]
async fn g1_g6_a_fill_stops_when_its_upstream_goes_offline_and_goes_on_at_that_byte() {
    let blob = layer(1, 8 * MIB);
    let (world, whole) = begun("", &blob, 2 * MIB).await;
    world.mirror.set_mode(None, OFFLINE);
    let cut = soon("the end of a body", whole.rest()).await;
    assert_ne!(cut.end, End::Complete, "nobody completes what is not there");
    eventually("the connections closed", || world.upstream.open_connections() == 0).await;
    let before = world.upstream.connections();

    for _ in 0..3 {
        let part = world.blob(&blob.digest).range("1000-2000").send().await;
        part.expect_range(&blob.bytes, 1000, 2000);
        for beyond in ["2000000-3000000", "-5", "5-", "0-9,4000000-4000009"] {
            expect_miss(world.blob(&blob.digest).range(beyond).send().await, 503, "UNAVAILABLE");
        }
        expect_miss(world.blob(&blob.digest).send().await, 503, "UNAVAILABLE");
        expect_miss(world.head_blob(&blob.digest).send().await, 503, "UNAVAILABLE");
    }
    assert_eq!(world.upstream.connections(), before);

    world.upstream.gate(&blob.digest).open();
    world.mirror.set_mode(None, Some(Mode::Online));
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "each byte once");
}

#[tokio::test]
async fn t98_g8_what_a_fill_left_is_served_offline_after_a_restart_and_no_request_hangs() {
    let blob = layer(2, 8 * MIB);
    let (world, reading) = begun("", &blob, 2 * MIB).await;
    drop(reading);
    let world = world.restart().await;
    world.mirror.set_mode(Some(REGISTRY), OFFLINE);
    let before = world.upstream.connections();
    for _ in 0..3 {
        let part = world.blob(&blob.digest).range("0-999999").send().await;
        part.expect_range(&blob.bytes, 0, 999_999);
        expect_miss(world.blob(&blob.digest).range("7000000-7000009").send().await, 503, "UNAVAILABLE");
        expect_miss(world.blob(&blob.digest).send().await, 503, "UNAVAILABLE");
    }
    assert_eq!(world.upstream.connections(), before);
    world.upstream.gate(&blob.digest).open();
    world.mirror.set_mode(Some(REGISTRY), None);
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size(), "each byte once");
}

#[tokio::test]
async fn g6_a_reader_of_what_is_there_is_not_cut_by_a_switch() {
    let blob = layer(3, 8 * MIB);
    let (world, _whole) = begun("", &blob, 4 * MIB).await;
    let mut part = world.blob(&blob.digest).range("0-3999999").open().await;
    part.until(1000).await;
    world.mirror.set_mode(None, OFFLINE);
    part.rest().await.expect_range(&blob.bytes, 0, 3_999_999);
}

#[tokio::test]
async fn g6_a_fill_goes_on_by_another_upstream_that_has_the_blob_and_is_not_offline() {
    let (one, other) = (Upstream::start().await, Upstream::start().await);
    let blob = layer(4, 8 * MIB);
    for upstream in [&one, &other] {
        upstream.push_blob(REPOSITORY, &blob);
    }
    one.gate(&blob.digest).allow(2 * MIB);
    let setup =
        Setup::empty().upstream("one.test", &one, WAITS_LONG).upstream("other.test", &other, WAITS_LONG);
    let mirror = setup.start().await;
    let path = |name: &str| format!("{}?ns={name}", blob_path(&blob.digest));
    let mut first = mirror.get(&path("one.test")).open().await;
    first.until(2 * MIB).await;
    // A second source is known by its word that it has the blob.
    let second = mirror.get(&path("other.test")).open().await;
    other.wait(on().head().blobs(), 1).await;
    mirror.set_mode(Some("one.test"), OFFLINE);
    soon("a whole body", first.rest()).await.expect_bytes(&blob.bytes);
    soon("a whole body", second.rest()).await.expect_bytes(&blob.bytes);
    assert_eq!(one.sent_of(&blob.digest) + other.sent_of(&blob.digest), blob.size(), "each byte once");
}

#[tokio::test]
async fn g7_a_body_past_the_store_ends_at_once_when_its_upstream_goes_offline() {
    let blob = layer(5, 8 * MIB);
    let upstream = Upstream::start().await;
    upstream.push_blob(REPOSITORY, &blob);
    upstream.gate(&blob.digest).allow(2 * MIB);
    let setup = Setup::with(&upstream, &format!("idle_timeout = \"60s\"\n{WAITS_LONG}"));
    let mirror = setup.set("store", "max_blob = \"1MiB\"").start().await;
    let mut reading = mirror.get(&blob_path(&blob.digest)).open().await;
    reading.until(MIB).await;
    mirror.set_mode(None, OFFLINE);
    assert_ne!(soon("the end of a body", reading.rest()).await.end, End::Complete);
    expect_miss(mirror.get(&blob_path(&blob.digest)).send().await, 503, "UNAVAILABLE");
}
