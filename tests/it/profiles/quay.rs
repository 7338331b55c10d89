//! quay.io and Red Hat's registries.

use super::{Shop, TAG};
use crate::support::images::DOCKER_SCHEMA1;
use crate::support::upstream::profiles::{Wares, quay, redhat};
use crate::support::upstream::{Kind, on};

#[tokio::test]
async fn t15_the_first_client_that_reads_nothing_but_schema_1_brings_none_here() {
    let shop = Shop::open(quay().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    for accept in [DOCKER_SCHEMA1, "application/json", "*/*"] {
        shop.manifest(TAG).header("Accept", accept).send().await.expect_bytes(&wares.index.bytes);
    }
    shop.expect_no_breach();
}

#[tokio::test]
async fn t55_blobs_come_from_whichever_cdn_is_named_by_302() {
    let shop = Shop::open(quay().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    let registry = &shop.upstream.registry;
    let seen = registry.seen();
    let sent_on = seen.iter().filter(|seen| seen.asked.kind == Kind::Blob && seen.status == 302);
    assert!(sent_on.count() >= 2);
    assert!(shop.upstream.storages.iter().all(|cdn| !cdn.seen().is_empty()));
    shop.expect_once(wares.blobs());
}

#[tokio::test]
async fn t29_what_a_client_can_decompress_is_not_asked_of_a_registry_that_would_compress() {
    let shop = Shop::open(redhat().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    for _ in 0..2 {
        for blob in wares.images[0].blobs() {
            let coding = "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5";
            let answer = shop.blob(&blob.digest).header("Accept-Encoding", coding).send().await;
            assert_eq!(answer.expect_bytes(&blob.bytes).header("content-encoding"), None);
        }
    }
    shop.expect_once(wares.images[0].blobs());
}

#[tokio::test]
async fn t05_t61_manifests_without_a_digest_and_a_realm_on_another_host_are_as_good() {
    let shop = Shop::open(redhat().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    let answer = shop.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
    assert_eq!(answer.header("docker-content-digest"), Some(wares.index.digest.as_str()));
    assert_eq!(shop.upstream.elsewhere[0].count(&on().kind(Kind::Token).with("authorization")), 1);
    shop.expect_no_breach();
}
