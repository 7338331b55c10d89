//! Warmings that the configuration has.

use std::time::Duration;

use super::named;
use crate::support::images::image;
use crate::support::mirror::{Mirror, Setup};
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG};

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
