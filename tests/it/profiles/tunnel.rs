//! A registry behind a tunnel that strips lengths.

use super::{Shop, TAG};
use crate::support::upstream::profiles::{Wares, tunnel};

#[tokio::test]
async fn t20_what_comes_without_a_length_has_one_when_it_is_here() {
    let shop = Shop::open(tunnel().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.mirror.settled().await;
    for blob in wares.images[0].blobs() {
        assert_eq!(shop.head_blob(&blob.digest).send().await.expect(200).length(), Some(blob.size()));
    }
    shop.expect_once(wares.blobs());
}

#[tokio::test]
async fn t29_manifests_that_are_compressed_without_being_asked_are_what_they_are_for_clients() {
    let shop = Shop::open(tunnel().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    for reference in [TAG, &wares.images[0].manifest.digest] {
        let answer = shop.manifest(reference).send().await.expect(200);
        assert_eq!(answer.header("content-encoding"), None);
        assert_eq!(answer.length(), Some(answer.body.len() as u64));
    }
    shop.expect_no_breach();
}
