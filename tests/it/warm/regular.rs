//! Warmings that the configuration has.

use std::time::Duration;

use roadstead::mirror::Mode;
use serde_json::Value;

use super::named;
use crate::support::images::image;
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::soon;
use crate::support::upstream::{Upstream, on};
use crate::world::{REPOSITORY, TAG, manifest_path};

/// Waits until `/readyz?verbose` has this line.
async fn told(mirror: &Mirror, line: &str) {
    let told = async {
        while !verbose(mirror).await.lines().any(|told| told == line) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(line, told).await;
}

async fn verbose(mirror: &Mirror) -> String {
    String::from_utf8(mirror.admin("/readyz?verbose").await.expect(200).body).unwrap()
}

#[tokio::test]
async fn what_the_configuration_names_is_brought_in_unasked_and_told_of() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let table = format!("\n[[warm]]\nname = \"ours\"\nimages = [{:?}, {:?}]", named(TAG), named("gone"));
    let mirror = Setup::with(&upstream, &table).start().await;
    told(&mirror, "warm ours: 2 images, 1 of them incomplete").await;
    for blob in image.blobs() {
        assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    }
    mirror.stop().await;
}

#[tokio::test]
async fn a_list_that_is_changed_in_the_configuration_is_taken_into_use_and_one_that_is_gone_ends() {
    let upstream = Upstream::start().await;
    let (one, other) = (image(1, &[20_000]), image(2, &[30_000]));
    upstream.push(REPOSITORY, Some("one"), &one);
    upstream.push(REPOSITORY, Some("other"), &other);
    let waiting = upstream.gate(&one.layers[0].digest);
    let table = |tag: &str| format!("\n[[warm]]\nname = \"ours\"\nimages = [{:?}]\n", named(tag));
    let mirror = Setup::with(&upstream, &table("one")).start().await;
    told(&mirror, "warm ours: goes on, 0 of 1 images").await;
    // What goes on does not keep the new list waiting, although its upstream sends nothing.
    mirror.reload_with(&table("other"), &table("one"));
    told(&mirror, "warm ours: 1 images, 0 of them incomplete").await;
    for blob in other.blobs() {
        assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    }
    assert_eq!(mirror.metric("roadstead_warm_incomplete", &["list=\"ours\""]).await, 0.0);
    mirror.reload_with("", &table("one"));
    assert!(!verbose(&mirror).await.contains("warm ours"));
    let metrics = String::from_utf8(mirror.admin("/metrics").await.expect(200).body).unwrap();
    assert!(!metrics.contains("list=\"ours\""), "{metrics}");
    waiting.open();
    mirror.stop().await;
}

/// How the API tells of the one list.
async fn list(mirror: &Mirror) -> Value {
    let answer = mirror.admin("/api/v1/warm").await.expect(200);
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    document["lists"][0].clone()
}

#[tokio::test]
async fn g6_a_list_waits_for_an_upstream_that_is_not_asked_and_keeps_what_was_proven_last() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let table = format!(
        "tag_ttl = \"0s\"\nmode = \"offline\"\n\n[[warm]]\nname = \"ours\"\nimages = [{:?}]\ninterval = \"20ms\"\n",
        named(TAG)
    );
    let mirror = Setup::with(&upstream, &table).start().await;
    told(&mirror, "warm ours: waits for registry.test").await;
    let before = list(&mirror).await;
    assert_eq!(
        (&before["images"], &before["ended"], &before["waits_for"][0]),
        (&0.into(), &Value::Null, &REGISTRY.into())
    );
    let metrics = String::from_utf8(mirror.admin("/metrics").await.expect(200).body).unwrap();
    assert!(!metrics.contains("roadstead_warm_incomplete{"), "nothing is known yet: {metrics}");
    assert_eq!(upstream.count(&on()), 0);

    mirror.set_mode(None, Some(Mode::Auto));
    told(&mirror, "warm ours: 1 images, 0 of them incomplete").await;
    for blob in image.blobs() {
        assert_eq!(upstream.sent_of(&blob.digest), blob.size());
    }
    // Away by a switch, and away because it does not answer.
    for is_switched in [true, false] {
        if is_switched {
            mirror.set_mode(None, Some(Mode::Offline));
        } else {
            upstream.down().await;
            // Somebody may have to ask before it is known.
            soon("the outage known", async {
                while mirror.metric("roadstead_upstream_offline", &[]).await == 0.0 {
                    mirror.get(&manifest_path(TAG)).send().await;
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            })
            .await;
        }
        told(&mirror, "warm ours: waits for registry.test; 1 images, 0 of them incomplete").await;
        let (incomplete, waits, ended) =
            ("roadstead_warm_incomplete", "roadstead_warm_waiting", "roadstead_warm_ended_seconds");
        assert_eq!(mirror.metric(incomplete, &["ours"]).await, 0.0);
        assert_eq!(mirror.metric(waits, &["ours"]).await, 1.0);
        assert!(mirror.metric(ended, &["ours"]).await > 0.0);
        let last = list(&mirror).await;
        assert_eq!(
            (&last["images"], &last["incomplete"], &last["waits_for"][0]),
            (&1.into(), &0.into(), &REGISTRY.into())
        );
        assert!(last["ended"].is_string(), "{last}");
        if is_switched {
            mirror.set_mode(None, Some(Mode::Auto));
        } else {
            upstream.up().await;
        }
        // It begins when upstream can be asked again, without a word from anybody.
        soon("another run", async {
            while list(&mirror).await["ended"] == last["ended"] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    mirror.stop().await;
}

#[tokio::test]
async fn g6_an_upstream_that_is_away_keeps_no_other_from_being_asked() {
    let (away, here) = (Upstream::start().await, Upstream::start().await);
    let image = image(1, &[20_000]);
    here.push(REPOSITORY, Some(TAG), &image);
    let table = format!(
        "\n[[warm]]\nname = \"ours\"\nimages = [\"away.test/{REPOSITORY}:{TAG}\", \"here.test/{REPOSITORY}:{TAG}\"]\n"
    );
    let setup = Setup::empty().upstream("away.test", &away, "mode = \"offline\"\ndefault = true").upstream(
        "here.test",
        &here,
        &table,
    );
    let mirror = setup.start().await;
    told(&mirror, "warm ours: waits for away.test; 1 images, 0 of them incomplete").await;
    assert_eq!(away.count(&on()), 0);
    away.push(REPOSITORY, Some(TAG), &image);
    // Long before the interval is over.
    mirror.set_mode(Some("away.test"), Some(Mode::Online));
    told(&mirror, "warm ours: 2 images, 0 of them incomplete").await;
    mirror.stop().await;
}

#[tokio::test]
async fn g6_online_a_run_that_nobody_answers_leaves_what_was_proven() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let table = format!(
        "tag_ttl = \"0s\"\n\n[[warm]]\nname = \"ours\"\nimages = [{:?}]\ninterval = \"20ms\"\n",
        named(TAG)
    );
    let mirror = Setup::with(&upstream, &table).start().await;
    told(&mirror, "warm ours: 1 images, 0 of them incomplete").await;
    upstream.down().await;
    // Two ends of runs later one has begun and ended while nobody answered.
    for _ in 0..3 {
        let last = list(&mirror).await;
        soon("another run", async {
            while list(&mirror).await["ended"] == last["ended"] {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
    let job = mirror.inner().regular_warmings().remove(0).1;
    assert!(job.ended().is_some() || job.ledger.look().images == 1);
    assert_eq!(list(&mirror).await["incomplete"], 0);
    mirror.stop().await;
}
