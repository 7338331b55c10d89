//! A registry that counts pulls: what is told of it, and what is done when few are left.

use std::time::Duration;

use roadstead::clock::Clock;
use tokio::task::JoinSet;

use super::hub::Hub;
use crate::support::client::Answer;
use crate::support::images::{Image, image};
use crate::support::mirror::REGISTRY;
use crate::support::upstream::on;
use crate::world::{ANOTHER_DAY, REPOSITORY, TAG, World, clock_by_hand};

/// A mirror before a registry that grants 100 pulls, of which others have left so many.
async fn with_left(left: u64, lines: &str) -> (World, Hub, Clock) {
    let clock = clock_by_hand();
    let world = World::by(&clock, lines).await;
    let hub = Hub::of(&world.upstream, &clock, 100, true);
    hub.leave(left);
    (world, hub, clock)
}

/// Pushes an image under this tag.
fn push(world: &World, tag: &str, seed: u64) -> Image {
    let image = image(seed, &[100]);
    world.upstream.push(REPOSITORY, Some(tag), &image);
    image
}

fn lines(answer: Answer) -> String {
    String::from_utf8(answer.expect(200).body).unwrap()
}

#[tokio::test]
async fn t100_what_upstream_tells_of_limits_is_replayed_to_nobody() {
    let (world, _hub, _clock) = with_left(50, "").await;
    let image = push(&world, TAG, 1);
    for _ in 0..2 {
        for request in [
            world.manifest(TAG),
            world.head_manifest(TAG),
            world.manifest(&image.manifest.digest),
            world.blob(&image.layers[0].digest),
        ] {
            let answer = request.send().await.expect(200);
            let told = answer.headers.iter().find(|(name, _)| name.to_lowercase().contains("ratelimit"));
            assert_eq!(told, None);
        }
    }
}

#[tokio::test]
async fn what_is_left_is_told_to_who_watches_until_the_window_ends() {
    let (world, hub, clock) = with_left(98, "").await;
    push(&world, TAG, 2);
    let gauges = ["roadstead_upstream_pulls_left", "roadstead_upstream_pulls_limit"];
    for gauge in gauges {
        assert!(!lines(world.mirror.admin("/metrics").await).contains(&format!("{gauge}{{")), "{gauge}");
    }
    world.manifest(TAG).send().await.expect(200);
    let of = format!("upstream=\"{REGISTRY}\"");
    let told = [97.0, 100.0];
    for (gauge, told) in gauges.into_iter().zip(told) {
        assert_eq!(world.mirror.metric(gauge, &[&of]).await, told, "{gauge}");
    }
    clock.advance(Duration::from_secs(12));
    let verbose = lines(world.mirror.admin("/readyz?verbose").await);
    let line = format!(
        "upstream {REGISTRY} at {}/ as anybody: 97 of 100 pulls left to 203.0.113.7, as told 12 s ago",
        world.upstream.url()
    );
    assert!(verbose.lines().any(|other| other == line), "{line}\n{verbose}");
    assert!(!lines(world.mirror.admin("/readyz").await).contains("pulls"));

    hub.leave(0);
    push(&world, "late", 14);
    assert_eq!(world.mirror.metric("roadstead_upstream_withheld_total", &[&of]).await, 0.0);
    for withheld in [1.0, 2.0] {
        world.manifest("late").send().await.expect_error(429, "TOOMANYREQUESTS");
        assert_eq!(world.mirror.metric("roadstead_upstream_withheld_total", &[&of]).await, withheld);
    }
    assert_eq!(world.mirror.metric("roadstead_upstream_limited_seconds", &[&of]).await, 30.0);
    let verbose = lines(world.mirror.admin("/readyz?verbose").await);
    assert!(verbose.contains("as anybody: 0 of 100 pulls left"), "{verbose}");
    assert!(verbose.contains("; not asked for manifests for 30 s"), "{verbose}");

    clock.advance(ANOTHER_DAY);
    let verbose = lines(world.mirror.admin("/readyz?verbose").await);
    assert!(!verbose.contains("pulls") && !verbose.contains("not asked"), "{verbose}");
    assert_eq!(world.mirror.metric("roadstead_upstream_limited_seconds", &[&of]).await, 0.0);
    assert!(!lines(world.mirror.admin("/metrics").await).contains("roadstead_upstream_pulls_left{"));
}

#[tokio::test]
async fn when_few_pulls_are_left_they_are_kept_for_what_is_not_cached() {
    let (world, hub, clock) = with_left(21, "pull_reserve = 20").await;
    let (old, other) = (push(&world, TAG, 3), push(&world, "other", 4));
    // One is left beyond the reserve, and this takes it; what is asked next takes of the reserve.
    world.manifest(TAG).send().await.expect_bytes(&old.manifest.bytes);
    world.manifest("other").send().await.expect_bytes(&other.manifest.bytes);
    let new = push(&world, TAG, 5);
    clock.advance(Duration::from_secs(6 * 60));
    let asked = world.upstream.seen().len();
    for _ in 0..3 {
        let stale = world.manifest(TAG).send().await.expect_bytes(&old.manifest.bytes);
        assert!(stale.cache_status().starts_with("hit; detail=stale"), "{}", stale.cache_status());
    }
    assert_eq!(world.upstream.seen().len(), asked, "upstream was asked about what is cached");
    // What is not cached is fetched, to the last.
    hub.leave(1);
    let last = push(&world, "last", 6);
    world.manifest("last").send().await.expect_bytes(&last.manifest.bytes);
    push(&world, "beyond", 7);
    let asked = world.upstream.count(&on().manifests());
    for _ in 0..5 {
        world.manifest("beyond").send().await.expect_error(429, "TOOMANYREQUESTS");
    }
    assert!(world.upstream.count(&on().manifests()) <= asked + 1, "none was left, as was told");
    // In the next window everything is as ever.
    clock.advance(ANOTHER_DAY);
    world.manifest("beyond").send().await.expect(200);
    world.manifest(TAG).send().await.expect_bytes(&new.manifest.bytes);
    assert_eq!(hub.refused(), 0);
}

#[tokio::test]
async fn g5_a_tag_that_did_not_move_costs_no_pull() {
    let (world, hub, clock) = with_left(100, "").await;
    let image = push(&world, TAG, 8);
    for _ in 0..10 {
        world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        clock.advance(Duration::from_secs(10 * 60));
    }
    assert_eq!(hub.counted(), [TAG]);
    assert!(world.upstream.count(&on().head().manifests()) >= 9);
}

#[tokio::test]
async fn t62_when_no_pull_is_left_blobs_and_tags_that_did_not_move_go_on() {
    let (world, hub, clock) = with_left(1, "pull_reserve = 0").await;
    let image = push(&world, TAG, 9);
    world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    clock.advance(Duration::from_secs(10 * 60));
    world.blob(&image.layers[0].digest).send().await.expect_bytes(&image.layers[0].bytes);
    let same = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(same.cache_status(), "hit; detail=revalidated");
    // One that did cannot be had; what was known of it can.
    push(&world, TAG, 10);
    clock.advance(Duration::from_secs(10 * 60));
    let old = world.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
    assert_eq!(old.cache_status(), "hit; detail=stale; fwd-status=429");
    assert_eq!(hub.refused(), 0);
}

#[tokio::test]
async fn pulls_that_come_back_without_a_word_are_found_by_looking() {
    let clock = clock_by_hand();
    let world = World::by(&clock, "").await;
    let hub = Hub::of(&world.upstream, &clock, 100, false);
    let image = push(&world, TAG, 11);
    hub.exhaust(Duration::from_secs(40 * 60));
    let mut times = Vec::new();
    for minute in 0..60 {
        for _ in 0..3 {
            let answer = world.manifest(TAG).send().await;
            if answer.status == 429 {
                let seconds: u64 = answer.header("retry-after").expect("a time").parse().unwrap();
                assert!((1..=15 * 60).contains(&seconds), "{seconds}");
            } else {
                answer.expect_bytes(&image.manifest.bytes);
                times.push(minute);
            }
        }
        clock.advance(Duration::from_secs(60));
    }
    assert!((40..56).contains(&times[0]), "{times:?}");
    assert_eq!((hub.refused(), hub.counted().len()), (1, 1), "looking costs nothing");
}

#[tokio::test]
async fn g5_a_digest_with_many_names_costs_one_pull() {
    let (world, hub, _clock) = with_left(90, "").await;
    let (one, other) = (push(&world, TAG, 12), push(&world, "other", 13));
    world.manifest(TAG).send().await.expect_bytes(&one.manifest.bytes);
    let mut asking = JoinSet::new();
    for number in 0..20 {
        let alias = format!("alias-{number}");
        world.upstream.tag(REPOSITORY, &alias, &other.manifest.digest);
        asking.spawn(world.manifest(&alias).send());
    }
    asking.spawn(world.manifest(&other.manifest.digest).send());
    for answer in asking.join_all().await {
        answer.expect_bytes(&other.manifest.bytes);
    }
    assert_eq!(hub.counted(), [TAG.to_owned(), other.manifest.digest]);
}
