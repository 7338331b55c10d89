//! Google's registries.

use super::{Shop, TAG};
use crate::support::client::parts;
use crate::support::images::layer;
use crate::support::upstream::profiles::{Wares, artifact_registry, gcr};
use crate::support::upstream::{Kind, basic, on};

#[tokio::test]
async fn t60_a_challenge_without_service_and_scope_is_enough() {
    let shop = Shop::open(gcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
    let issued = shop.upstream.tokens[0].issued();
    assert_eq!((issued.len(), issued[0].service.as_deref()), (1, None));
    assert_eq!(issued[0].scopes, ["repository:team/app:pull"]);
}

#[tokio::test]
async fn several_ranges_are_never_asked_of_a_bucket_that_refuses_them() {
    let shop = Shop::open(gcr().await).await;
    let blob = layer(3, 2_000_000);
    shop.upstream.push_blob(&blob);
    for _ in 0..2 {
        let answer =
            shop.blob(&blob.digest).range("0-99,1900000-1900999,500000-500009").send().await.expect(206);
        let found = parts(&answer);
        let bytes: Vec<&[u8]> = found.iter().map(|part| &part.body[..]).collect();
        let ranges = [0..100, 1_900_000..1_901_000, 500_000..500_010];
        assert_eq!(bytes, ranges.map(|range| &blob.bytes[range]));
    }
    shop.mirror.settled().await;
    shop.expect_once([&blob].into_iter());
}

#[tokio::test]
async fn t33_a_head_of_a_blob_that_is_answered_by_the_registry_itself_is_believed() {
    let shop = Shop::open(gcr().await).await;
    let blob = layer(4, 200_000);
    shop.upstream.push_blob(&blob);
    assert_eq!(shop.head_blob(&blob.digest).send().await.expect(200).length(), Some(200_000));
    assert_eq!(shop.upstream.storages[0].seen().len(), 0);
}

#[tokio::test]
async fn t69_t85_a_page_for_logging_in_is_no_list_of_referrers() {
    let shop = Shop::open(gcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    assert!(!shop.upstream.elsewhere[0].seen().is_empty());
    assert!(shop.upstream.registry.count(&on().manifest(&wares.fallback_tag())) > 0);
    shop.expect_no_breach();
}

#[tokio::test]
async fn t54_t61_a_key_that_is_a_whole_file_goes_to_the_token_server_and_nowhere_else() {
    let shop = Shop::open(artifact_registry().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    let with_key = |seen: &crate::support::upstream::Seen| {
        seen.asked.header("authorization").is_some_and(|proof| proof.starts_with("Basic "))
    };
    let seen: Vec<_> = shop.seen().into_iter().filter(with_key).collect();
    assert!(seen.len() == 1 && seen[0].asked.kind == Kind::Token);
    let begin = basic("_json_key", "{");
    assert!(seen[0].asked.header("authorization").unwrap().starts_with(&begin[..begin.len() - 4]));
    shop.expect_no_breach();
}
