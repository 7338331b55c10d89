//! ghcr.io.

use super::{Registry, Shop, TAG};
use crate::support::upstream::profiles::{Ghcr, Profile, Wares, WebReferrers, ghcr};
use crate::support::upstream::{Kind, on};

impl Registry for Ghcr {
    fn profile(&self) -> &Profile {
        &self.profile
    }
}

#[tokio::test]
async fn t69_referrers_that_lead_to_a_page_or_nowhere_are_found_by_their_tag() {
    for answer in [WebReferrers::Page, WebReferrers::Unknown] {
        let shop = Shop::open(ghcr().await).await;
        let wares = Wares::new(1);
        shop.upstream.referrers(answer);
        shop.upstream.profile.push(TAG, &wares);
        shop.pull(&wares).await;
        assert_eq!(shop.upstream.website().seen().is_empty(), answer == WebReferrers::Unknown);
        shop.expect_no_breach();
    }
}

#[tokio::test]
async fn t69_t85_a_website_that_limits_us_is_no_word_on_signatures() {
    let shop = Shop::open(ghcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.profile.push(TAG, &wares);
    shop.upstream.referrers(WebReferrers::Limited);
    shop.referrers(&wares.index.digest).send().await.expect_error(429, "TOOMANYREQUESTS");
    shop.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
    shop.manifest(&wares.signature_tag()).send().await.expect_bytes(&wares.signature.manifest.bytes);
    shop.expect_no_breach();
}

#[tokio::test]
async fn t56_the_size_of_a_blob_is_found_though_its_url_is_signed_for_get() {
    let shop = Shop::open(ghcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.profile.push(TAG, &wares);
    let blob = &wares.images[0].layers[1];
    assert_eq!(shop.head_blob(&blob.digest).send().await.expect(200).length(), Some(blob.size()));
    assert!(shop.upstream.profile.sent_of(&blob.digest) <= 1);
    let heads = shop.upstream.profile.storages[0].seen();
    assert!(heads.iter().any(|seen| seen.asked.method == "HEAD" && seen.status == 403));
    shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn t54_a_token_does_not_go_where_blobs_and_referrers_are_sent() {
    let shop = Shop::open(ghcr().await).await;
    let wares = Wares::new(1);
    shop.upstream.profile.push(TAG, &wares);
    shop.pull(&wares).await;
    let website = shop.upstream.website();
    for server in shop.upstream.profile.storages.iter().chain([website]) {
        assert!(!server.seen().is_empty());
        assert_eq!(server.authorizations(), [""; 0]);
    }
    assert!(shop.upstream.profile.registry.count(&on().kind(Kind::Blob).with("authorization")) > 0);
}
