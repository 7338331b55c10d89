//! A signed release of two platforms through every registry.

use std::time::{Duration, Instant};

use super::{Registry, Shop, TAG};
use crate::support::images::layer;
use crate::support::upstream::profiles::{self, Wares};
use crate::support::upstream::{Act, Gate, Kind, act, on};

/// Cold by several clients at once, warm, and again with another release under the tag after every token, signed URL and
/// password has come to its end.
async fn story<P: Registry>(upstream: P) {
    let begun = Instant::now();
    let shop = Shop::open(upstream).await;
    let profile = shop.upstream.profile();
    let first = Wares::new(1);
    profile.push(TAG, &first);
    shop.pull_together(&first).await;
    shop.expect_once(first.blobs());
    shop.expect_no_storm();
    let servers = profile.tokens.len();
    // A token that names no life is renewed within the minute, by a machine that is so slow.
    let issued = |tokens| profile.issued() == tokens || begun.elapsed() > Duration::from_secs(30);
    assert!(issued(servers), "one token for all, and not {}", profile.issued());

    let cold = shop.asked_by_digest();
    shop.pull(&first).await;
    assert_eq!(shop.asked_by_digest(), cold, "what has a digest and is here is asked of nobody");

    profile.expire().await;
    let second = Wares::new(2);
    profile.push(TAG, &second);
    shop.pull_together(&second).await;
    shop.expect_once(first.blobs().chain(second.blobs()));
    shop.expect_no_storm();
    assert!(issued(2 * servers), "one more for all, and not {}", profile.issued());
}

/// Everything comes to its end while a blob is on its way, and then the connection breaks; `act` is how blobs are sent.
async fn break_in_the_middle<P: Registry>(upstream: P, act: Act) {
    let shop = Shop::open(upstream).await;
    let profile = shop.upstream.profile();
    let blob = layer(99, 1_000_000);
    profile.push_blob(&blob);
    let gates: Vec<_> = profile
        .senders()
        .into_iter()
        .map(|sender| {
            let kind = if profile.storages.is_empty() { Kind::Blob } else { Kind::Signed };
            sender.script(on().get().kind(kind).nth(1), act.clone().cut(400_000));
            let gate = sender.gate(&blob.digest);
            gate.allow(300_000);
            gate
        })
        .collect();
    let mut reading = shop.blob(&blob.digest).open().await;
    reading.until(200_000).await;
    profile.expire().await;
    gates.iter().for_each(Gate::open);
    reading.rest().await.expect_bytes(&blob.bytes);
    shop.expect_once([&blob].into_iter());
}

#[tokio::test]
async fn docker_hub_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::docker_hub().await).await;
}

#[tokio::test]
async fn docker_hub_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::docker_hub().await, act()).await;
}

#[tokio::test]
async fn ecr_private_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::ecr_private().await).await;
}

#[tokio::test]
async fn ecr_private_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::ecr_private().await, act()).await;
}

#[tokio::test]
async fn ecr_public_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::ecr_public().await).await;
}

#[tokio::test]
async fn ecr_public_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::ecr_public().await, act()).await;
}

#[tokio::test]
async fn ghcr_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::ghcr().await).await;
}

#[tokio::test]
async fn ghcr_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::ghcr().await, act()).await;
}

#[tokio::test]
async fn quay_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::quay().await).await;
}

#[tokio::test]
async fn quay_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::quay().await, act()).await;
}

#[tokio::test]
async fn redhat_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::redhat().await).await;
}

#[tokio::test]
async fn redhat_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::redhat().await, act()).await;
}

#[tokio::test]
async fn registry_k8s_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::registry_k8s().await).await;
}

#[tokio::test]
async fn registry_k8s_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::registry_k8s().await, act()).await;
}

#[tokio::test]
async fn gcr_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::gcr().await).await;
}

#[tokio::test]
async fn gcr_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::gcr().await, act()).await;
}

#[tokio::test]
async fn artifact_registry_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::artifact_registry().await).await;
}

#[tokio::test]
async fn artifact_registry_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::artifact_registry().await, act()).await;
}

#[tokio::test]
async fn acr_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::acr().await).await;
}

#[tokio::test]
async fn acr_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::acr().await, act()).await;
}

#[tokio::test]
async fn mcr_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::mcr().await).await;
}

#[tokio::test]
async fn mcr_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::mcr().await, act()).await;
}

#[tokio::test]
async fn nvcr_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::nvcr().await).await;
}

#[tokio::test]
async fn nvcr_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::nvcr().await, act()).await;
}

#[tokio::test]
async fn gitlab_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::gitlab().await).await;
}

#[tokio::test]
async fn gitlab_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::gitlab().await, act()).await;
}

#[tokio::test]
async fn harbor_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::harbor().await).await;
}

#[tokio::test]
async fn harbor_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::harbor().await, act()).await;
}

#[tokio::test]
async fn harbor_proxy_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::harbor_proxy().await).await;
}

#[tokio::test]
async fn harbor_proxy_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::harbor_proxy().await, act()).await;
}

#[tokio::test]
async fn distribution_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::distribution().await).await;
}

#[tokio::test]
async fn distribution_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::distribution().await, act()).await;
}

#[tokio::test]
async fn distribution_proxy_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::distribution_proxy().await).await;
}

#[tokio::test]
async fn distribution_proxy_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::distribution_proxy().await, act()).await;
}

#[tokio::test]
async fn tunnel_is_pulled_from_cold_warm_and_after_everything_has_expired() {
    story(profiles::tunnel().await).await;
}

#[tokio::test]
async fn tunnel_goes_on_in_the_middle_of_a_blob_after_everything_has_expired() {
    break_in_the_middle(profiles::tunnel().await, act().chunked()).await;
}
