//! distribution, with a bucket and as a proxy.

use futures_util::future::join_all;

use super::{Shop, TAG};
use crate::support::client::End;
use crate::support::images::{DOCKER_MANIFEST, layer};
use crate::support::upstream::profiles::{Wares, distribution, distribution_proxy};
use crate::support::upstream::{Kind, act, on};

#[tokio::test]
async fn t06_the_first_client_that_reads_no_index_does_not_decide_for_the_others() {
    let shop = Shop::open(distribution().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.manifest(TAG).header("Accept", DOCKER_MANIFEST).send().await.expect_bytes(&wares.index.bytes);
    shop.pull(&wares).await;
    shop.expect_no_breach();
}

#[tokio::test]
async fn t85_404_in_plain_text_means_that_referrers_are_under_their_tag() {
    let shop = Shop::open(distribution().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    let list = shop.referrers(&wares.index.digest).send().await.expect(200);
    assert!(String::from_utf8_lossy(&list.body).contains(&wares.bundle.manifest.digest));
    assert!(shop.upstream.registry.count(&on().manifest(&wares.fallback_tag())) > 0);
}

#[tokio::test]
async fn t24_a_proxy_that_would_fetch_for_each_who_asks_is_asked_once() {
    let shop = Shop::open(distribution_proxy().await).await;
    let blob = layer(7, 500_000);
    shop.upstream.push_blob(&blob);
    let gate = shop.upstream.registry.gate(&blob.digest);
    gate.allow(1000);
    let reading = join_all((0..10).map(|_| shop.blob(&blob.digest).open())).await;
    gate.open();
    for reading in reading {
        reading.rest().await.expect_bytes(&blob.bytes);
    }
    shop.expect_once([&blob].into_iter());
}

#[tokio::test]
async fn t31_a_blob_that_the_proxy_takes_for_empty_is_never_complete() {
    let shop = Shop::open(distribution_proxy().await).await;
    let blob = layer(8, 500_000);
    shop.upstream.push_blob(&blob);
    shop.upstream.registry.script(on().kind(Kind::Blob), act().truncate(0));
    let answer = shop.blob(&blob.digest).send().await;
    assert!(answer.status >= 500 || answer.end != End::Complete, "{}", answer.status);
    shop.upstream.registry.script(on(), act());
    shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g4_a_client_that_leaves_does_not_end_what_the_proxy_would_begin_again() {
    let shop = Shop::open(distribution_proxy().await).await;
    let blob = layer(9, 500_000);
    shop.upstream.push_blob(&blob);
    let gate = shop.upstream.registry.gate(&blob.digest);
    gate.allow(100_000);
    let mut leaving = shop.blob(&blob.digest).open().await;
    leaving.until(50_000).await;
    drop(leaving);
    gate.open();
    shop.mirror.settled().await;
    shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    shop.expect_once([&blob].into_iter());
}

#[tokio::test]
async fn t92_what_the_proxy_has_lost_is_served_from_here_and_asked_for_until_it_is_back() {
    let shop = Shop::open(distribution_proxy().await).await;
    let (wares, other) = (Wares::new(1), Wares::new(2));
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.mirror.settled().await;
    let lost = |blob: &str| shop.upstream.registry.remove(shop.upstream.repository, blob);
    wares.blobs().for_each(|blob| lost(&blob.digest));
    shop.pull(&wares).await;
    // It has an older tag as well, because the registry behind it is away, and its word is taken for that.
    shop.upstream.push(TAG, &other);
    // One that did not come with the first release.
    let layer = other.blobs().find(|blob| wares.blobs().all(|had| had.digest != blob.digest)).unwrap();
    lost(&layer.digest);
    shop.manifest(TAG).send().await.expect_bytes(&other.index.bytes);
    shop.blob(&layer.digest).send().await.expect_error(404, "BLOB_UNKNOWN");
    shop.upstream.push_blob(layer);
    shop.blob(&layer.digest).send().await.expect_bytes(&layer.bytes);
    shop.upstream.push(TAG, &wares);
    shop.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
}
