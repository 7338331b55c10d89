//! nvcr.io.

use super::{Shop, TAG};
use crate::support::upstream::profiles::{Wares, nvcr};

#[tokio::test]
async fn t61_a_challenge_that_leads_astray_after_a_bad_token_is_not_followed() {
    let shop = Shop::open(nvcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    for round in 2..=3 {
        shop.upstream.expire().await;
        let next = Wares::new(round);
        shop.upstream.push(TAG, &next);
        shop.pull(&next).await;
        assert_eq!(shop.upstream.issued() as u64, round);
    }
    assert_eq!(shop.upstream.elsewhere[0].connections(), 0);
    shop.expect_no_breach();
}

#[tokio::test]
async fn t59_t60_tokens_are_for_one_repository_and_asked_for_without_a_service() {
    let shop = Shop::open(nvcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.upstream.registry.push_manifest("nvidia/other", &wares.index);
    shop.upstream.registry.tag("nvidia/other", TAG, &wares.index.digest);
    for _ in 0..2 {
        for repository in [shop.upstream.repository, "nvidia/other"] {
            let path = format!("/v2/{repository}/manifests/{TAG}");
            shop.mirror.get(&path).send().await.expect_bytes(&wares.index.bytes);
        }
    }
    let issued = shop.upstream.tokens[0].issued();
    let scopes: Vec<_> = issued.iter().flat_map(|issued| issued.scopes.clone()).collect();
    assert_eq!(scopes, ["repository:nvidia/cuda/app:pull", "repository:nvidia/other:pull"]);
    assert!(issued.iter().all(|issued| issued.service.is_none()));
    shop.expect_no_breach();
}
