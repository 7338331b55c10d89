//! Harbor, in a project of its own and as a proxy.

use super::{Shop, TAG};
use crate::support::images::layer;
use crate::support::upstream::profiles::{Wares, distribution_proxy, harbor, harbor_proxy};
use crate::support::upstream::{Kind, on};

#[tokio::test]
async fn t61_basic_that_is_asked_for_after_a_bad_token_is_not_given() {
    let shop = Shop::open(harbor().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.upstream.expire().await;
    shop.pull(&wares).await;
    let registry = &shop.upstream.registry;
    let basic = registry.seen().into_iter().filter(|seen| {
        let proof = seen.asked.header("authorization").unwrap_or_default();
        seen.asked.kind != Kind::Token && proof.starts_with("Basic ")
    });
    assert_eq!(basic.count(), 0);
    assert_eq!(shop.upstream.issued(), 2);
}

#[tokio::test]
async fn t39_a_range_of_a_blob_that_the_proxy_has_not_fetched_is_that_range_for_clients() {
    for proxy in [harbor_proxy().await, distribution_proxy().await] {
        let shop = Shop::open(proxy).await;
        let blob = layer(6, 900_000);
        shop.upstream.push_blob(&blob);
        for _ in 0..2 {
            let answer = shop.blob(&blob.digest).range("500000-500999").send().await;
            answer.expect_range(&blob.bytes, 500_000, 500_999);
        }
        shop.mirror.settled().await;
        shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        shop.expect_once([&blob].into_iter());
    }
}

#[tokio::test]
async fn t92_what_the_proxy_has_not_fetched_is_there_for_a_head_as_well() {
    for proxy in [harbor_proxy().await, distribution_proxy().await] {
        let shop = Shop::open(proxy).await;
        let blob = layer(7, 900_000);
        shop.upstream.push_blob(&blob);
        shop.head_blob(&blob.digest).send().await.expect(200);
        let heads = on().head().kind(Kind::Blob).with("authorization");
        assert_eq!(shop.upstream.registry.count(&heads), 1, "it was asked by HEAD, and denied it");
        shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        shop.head_blob(&layer(8, 10).digest).send().await.expect(404);
    }
}

#[tokio::test]
async fn t88_pages_of_referrers_that_lead_behind_the_proxy_are_asked_of_the_proxy() {
    let shop = Shop::open(harbor_proxy().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    let list = shop.referrers(&wares.index.digest).send().await.expect(200);
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
    let asked = shop.upstream.registry.seen();
    let asked = asked.iter().filter(|seen| seen.asked.kind == Kind::Referrers && seen.status == 200);
    assert!(asked.clone().all(|seen| seen.asked.repository == shop.upstream.repository));
    assert_eq!(asked.count(), 2);
}

#[tokio::test]
async fn t13_a_tag_that_was_deleted_is_gone_though_its_digest_is_still_served() {
    let shop = Shop::open(harbor_proxy().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.upstream.registry.remove(shop.upstream.repository, TAG);
    shop.manifest(TAG).send().await.expect_error(404, "MANIFEST_UNKNOWN");
    shop.manifest(&wares.index.digest).send().await.expect_bytes(&wares.index.bytes);
    assert_eq!(shop.upstream.registry.count(&on().manifest(&wares.index.digest)), 0);
}
