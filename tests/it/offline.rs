//! Upstreams that are not asked: by an operator's word, or because they are known not to answer.

mod auto;
mod fills;
mod silent;
mod switch;
mod whole;

use std::time::Duration;

use roadstead::mirror::Mode;

use crate::support::client::Answer;
use crate::support::images::{Image, image, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Hold, Upstream, act, on};
use crate::support::{eventually, soon};
use crate::world::{REPOSITORY, TAG, World, clock_by_hand};

const OFFLINE: Option<Mode> = Some(Mode::Offline);

/// Nobody waits for upstream for less than this: who is answered sooner was not made to wait.
const WAITS_LONG: &str =
    "revalidate_timeout = \"24s\"\nheader_timeout = \"24s\"\nconnect_timeout = \"24s\"\n";

/// Every tag is past its time at once, and 404s are not remembered.
const ALWAYS_ASKED: &str = "tag_ttl = \"0s\"\nnegative_ttl = \"0s\"\n";

/// How an answer came about.
fn said(answer: &Answer) -> &str {
    answer.cache_status()
}

/// Something that is not here, while nobody is asked.
#[track_caller]
fn expect_miss(answer: Answer, status: u16, code: &str) {
    assert_eq!(said(&answer), "detail=offline");
    assert!(answer.header("retry-after").is_none(), "who waits does not turn to his next mirror");
    if !answer.body.is_empty() {
        assert!(String::from_utf8_lossy(&answer.body).contains("this mirror is offline"), "{answer:?}");
        answer.expect_error(status, code);
    } else {
        answer.expect(status);
    }
}

/// An image that was pulled from an upstream which is asked for every tag each time, but for these lines.
async fn pulled(lines: &str) -> (World, Image) {
    let world = World::with(&format!("{ALWAYS_ASKED}{lines}")).await;
    let image = image(1, &[70_000, 3_000]);
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.pull(&image).await;
    world.mirror.settled().await;
    (world, image)
}

/// All that is cached of an image is served, and what this says of its tag.
async fn expect_all(world: &World, image: &Image, of_tag: &str) {
    let tagged = world.manifest(TAG).send().await;
    assert_eq!(said(&tagged), of_tag);
    tagged.expect_bytes(&image.manifest.bytes);
    let head = world.head_manifest(TAG).send().await.expect(200);
    assert_eq!(said(&head), of_tag);
    let by_digest = world.manifest(&image.manifest.digest).send().await;
    assert_eq!(said(&by_digest), "hit");
    by_digest.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        let answer = world.blob(&blob.digest).send().await;
        assert_eq!(said(&answer), "hit");
        answer.expect_bytes(&blob.bytes);
        world.head_blob(&blob.digest).send().await.expect(200);
    }
}

#[tokio::test]
async fn g6_offline_what_is_here_is_served_what_is_not_is_a_miss_and_no_packet_is_sent() {
    let (world, here) = pulled(WAITS_LONG).await;
    let other = image(2, &[100]);
    world.upstream.push(REPOSITORY, Some("v2"), &other);
    world.mirror.set_mode(None, OFFLINE);
    eventually("the connections closed", || world.upstream.open_connections() == 0).await;
    let before = (world.upstream.connections(), world.upstream.count(&on()));

    expect_all(&world, &here, "hit; detail=offline").await;
    let layer = &other.layers[0].digest;
    for (asked, code) in [
        (world.manifest("v2"), "UNAVAILABLE"),
        (world.head_manifest("v2"), ""),
        (world.manifest(&other.manifest.digest), "UNAVAILABLE"),
        (world.blob(layer), "UNAVAILABLE"),
        (world.blob(layer).range("0-9"), "UNAVAILABLE"),
        (world.head_blob(layer), ""),
        (world.mirror.get(&format!("/v2/{REPOSITORY}/referrers/{}", here.manifest.digest)), "UNAVAILABLE"),
        (world.mirror.get("/v2/never/seen/tags/list"), "UNAVAILABLE"),
    ] {
        expect_miss(asked.send().await, 503, code);
    }
    // What is known of a list is a part of it, and said to be.
    let listed = world.mirror.get(&format!("/v2/{REPOSITORY}/tags/list")).send().await;
    assert_eq!(said(&listed), "hit; detail=offline/partial");
    assert!(String::from_utf8_lossy(&listed.expect(200).body).contains(TAG));

    assert_eq!((world.upstream.connections(), world.upstream.count(&on())), before);
    assert!(world.mirror.metric("roadstead_requests_total", &["outcome=\"offline\""]).await > 8.0);
}

#[tokio::test]
async fn g10_a_miss_is_404_where_the_operator_says_so_and_a_list_never_is() {
    let world = World::with("mode = \"offline\"\noffline_miss = \"404\"\n").await;
    let unknown = image(3, &[100]);
    expect_miss(world.manifest("v9").send().await, 404, "MANIFEST_UNKNOWN");
    expect_miss(world.manifest(&unknown.manifest.digest).send().await, 404, "MANIFEST_UNKNOWN");
    expect_miss(world.blob(&unknown.layers[0].digest).send().await, 404, "BLOB_UNKNOWN");
    let referrers = format!("/v2/{REPOSITORY}/referrers/{}", unknown.manifest.digest);
    expect_miss(world.mirror.get(&referrers).send().await, 503, "UNAVAILABLE");
    expect_miss(world.mirror.get(&format!("/v2/{REPOSITORY}/tags/list")).send().await, 503, "UNAVAILABLE");
    assert_eq!(world.upstream.connections(), 0);
}

#[tokio::test]
async fn g6_offline_a_tag_is_served_at_any_age_and_without_an_operators_word_no_longer_than_max_stale() {
    let clock = clock_by_hand();
    let upstream = Upstream::start().await;
    let image = image(4, &[100]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    // It is left alone for long enough to be found so.
    let lines = "mode = \"auto\"\nmax_stale = \"1h\"\ntag_ttl = \"1m\"\n";
    let world = World { mirror: Setup::with(&upstream, lines).clock(&clock).start().await, upstream };
    world.pull(&image).await;
    clock.advance(Duration::from_secs(90 * 60));
    world.upstream.down().await;
    auto::known_to_be_away(&world).await;
    expect_miss(world.manifest(TAG).send().await, 503, "UNAVAILABLE");
    world.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);

    world.mirror.set_mode(None, OFFLINE);
    for _ in 0..2 {
        let answer = world.manifest(TAG).send().await;
        assert_eq!(said(&answer), "hit; detail=offline");
        answer.expect_bytes(&image.manifest.bytes);
        clock.advance(Duration::from_secs(3650 * 86_400));
    }
}

#[tokio::test]
async fn g6_who_waits_for_upstream_is_answered_at_once_when_it_goes_offline() {
    let (world, here) = pulled(WAITS_LONG).await;
    let hold = Hold::new();
    world.upstream.script(on(), act().hold(&hold));
    let known = tokio::spawn(world.manifest(TAG).send());
    let unknown = tokio::spawn(world.manifest("v9").send());
    let blob = image(5, &[100]).layers.remove(0);
    let cold = tokio::spawn(world.blob(&blob.digest).send());
    hold.arrived(3).await;
    world.mirror.set_mode(None, OFFLINE);
    let known = soon("an answer", known).await.unwrap();
    assert_eq!(said(&known), "hit; detail=offline");
    known.expect_bytes(&here.manifest.bytes);
    expect_miss(soon("an answer", unknown).await.unwrap(), 503, "UNAVAILABLE");
    expect_miss(soon("an answer", cold).await.unwrap(), 503, "UNAVAILABLE");
    hold.release();

    // Nothing of this is held against upstream.
    world.upstream.behave();
    world.mirror.set_mode(None, None);
    assert_eq!(said(&world.manifest(TAG).send().await.expect(200)), "hit; detail=revalidated");
    assert_eq!(world.mirror.metric("roadstead_upstream_endpoint_up", &[]).await, 1.0);
}

#[tokio::test]
async fn g6_a_mirror_that_starts_offline_sends_nothing_and_serves_what_it_has() {
    let lines = format!("{ALWAYS_ASKED}mode = \"offline\"\nresume = \"start\"\n");
    let world = World::with(&lines).await;
    let (image, unfinished) = (image(6, &[5_000]), layer(7, 3_000_000));
    world.upstream.push(REPOSITORY, Some(TAG), &image);
    world.upstream.push_blob(REPOSITORY, &unfinished);
    let gate = world.upstream.gate(&unfinished.digest);
    gate.allow(1_000_000);
    // What is said while it runs does not outlive it.
    world.mirror.set_mode(Some(REGISTRY), Some(Mode::Online));
    world.pull(&image).await;
    let mut reading = world.blob(&unfinished.digest).open().await;
    reading.until(1_000_000).await;
    drop(reading);
    let world = world.restart().await;
    gate.open();
    let before = world.upstream.connections();
    expect_all(&world, &image, "hit; detail=offline").await;
    expect_miss(world.manifest("v9").send().await, 503, "UNAVAILABLE");
    expect_miss(world.blob(&unfinished.digest).send().await, 503, "UNAVAILABLE");
    assert_eq!(world.upstream.connections(), before);

    // What was begun goes on by itself, as at a start.
    world.mirror.set_mode(None, Some(Mode::Online));
    world.mirror.set_mode(Some(REGISTRY), Some(Mode::Online));
    soon("the rest of the blob", async {
        while world.upstream.sent_of(&unfinished.digest) < unfinished.size() {
            world.upstream.quiet().await;
            tokio::task::yield_now().await;
        }
    })
    .await;
    world.mirror.settled().await;
    assert_eq!(world.upstream.sent_of(&unfinished.digest), unfinished.size());
}
