//! registry.k8s.io.

use super::{Shop, TAG};
use crate::support::client::request;
use crate::support::upstream::on;
use crate::support::upstream::profiles::{Wares, registry_k8s};

#[tokio::test]
async fn t57_manifests_and_blobs_are_fetched_where_they_are_redirected_to() {
    let shop = Shop::open(registry_k8s().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    assert!(shop.upstream.registry.seen().iter().all(|seen| seen.status == 307));
    for (number, region) in shop.upstream.behind.iter().enumerate() {
        assert!(region.count(&on().manifests()) > 0, "{number}");
    }
    for bucket in &shop.upstream.storages {
        assert!(!bucket.seen().is_empty());
    }
    shop.expect_once(wares.blobs());
}

#[tokio::test]
async fn t57_signatures_are_fetched_from_their_own_registry() {
    let shop = Shop::open(registry_k8s().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.manifest(&wares.signature_tag()).send().await.expect_bytes(&wares.signature.manifest.bytes);
    let asked: Vec<_> = shop.upstream.behind.iter().map(|region| region.seen().len()).collect();
    assert_eq!(asked, [0, 0, 1]);
    // One that does not exist is not there, by the word of that registry.
    let missing = wares.signature_tag().replace(".sig", ".att");
    shop.manifest(&missing).send().await.expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn t79_what_is_not_get_or_head_never_gets_there() {
    let shop = Shop::open(registry_k8s().await).await;
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        let path = shop.path(&format!("manifests/{TAG}"));
        request(shop.mirror.address(), method, &path).send().await.expect_error(405, "UNSUPPORTED");
    }
    assert_eq!(shop.seen().len(), 0);
}
