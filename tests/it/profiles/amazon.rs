//! Amazon's registries.

use super::{Registry, Shop, TAG};
use crate::support::upstream::profiles::{
    EcrPublic, Profile, Wares, ecr_private, ecr_private_by_helper, ecr_public,
};
use crate::support::upstream::{Kind, on};

impl Registry for EcrPublic {
    fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// How many requests the registry answered so.
fn answered(profile: &Profile, status: u16) -> usize {
    profile.registry.seen().iter().filter(|seen| seen.status == status).count()
}

#[tokio::test]
async fn t67_a_password_of_ecr_that_has_ended_is_shown_once_more_and_no_oftener() {
    let shop = Shop::open(ecr_private().await).await;
    shop.upstream.push(TAG, &Wares::new(1));
    shop.pull(&Wares::new(1)).await;
    let refused = || (answered(&shop.upstream, 401), answered(&shop.upstream, 403));
    assert_eq!(refused(), (1, 0), "after the first challenge every request is proved");
    shop.upstream.expire().await;
    shop.pull(&Wares::new(1)).await;
    shop.pull(&Wares::new(1)).await;
    // None, if the file was looked at again by then.
    assert!(refused().1 <= 1);
    let mut shown = shop.upstream.registry.authorizations();
    shown.dedup();
    assert_eq!(shown.len(), 2);
    shop.expect_no_breach();
}

#[tokio::test]
async fn t67_the_helper_of_ecr_is_asked_again_when_its_password_has_ended() {
    let shop = Shop::open(ecr_private_by_helper().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.upstream.expire().await;
    // It is not run again for the first seconds after a run.
    let begun = std::time::Instant::now();
    while shop.manifest(TAG).send().await.expect(200).cache_status().contains("stale") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "never asked");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    shop.pull(&wares).await;
    shop.expect_once(wares.blobs());
}

#[tokio::test]
async fn t67_g6_a_password_of_ecr_that_nobody_renews_is_told_as_that_and_what_is_cached_is_served() {
    let shop = Shop::open(ecr_private().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.upstream.expire_unrenewed();
    for _ in 0..20 {
        let stale = shop.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
        assert!(stale.cache_status().contains("stale"), "{}", stale.cache_status());
    }
    shop.manifest("other").send().await.expect_error(503, "UNAVAILABLE");
    assert_eq!(shop.mirror.metric("roadstead_upstream_accounts_refused", &[]).await, 1.0);
    assert_eq!(shop.mirror.metric("roadstead_upstream_requests_total", &["said_no"]).await, 0.0);
    // Once for the tag, once for itself; and again where all of that takes so long that it is time for that.
    let shown = answered(&shop.upstream, 403);
    assert!(shown <= 6, "{shown}: it is not shown for each request");
    shop.upstream.renew().await;
    let begun = std::time::Instant::now();
    while shop.manifest(TAG).send().await.expect(200).cache_status().contains("stale") {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "never looked up");
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    assert_eq!(shop.mirror.metric("roadstead_upstream_accounts_refused", &[]).await, 0.0);
}

#[tokio::test]
async fn t05_manifests_of_ecr_without_a_digest_have_one_for_clients() {
    let shop = Shop::open(ecr_private().await).await;
    let wares = Wares::new(1);
    shop.upstream.push(TAG, &wares);
    for _ in 0..2 {
        let answer = shop.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
        assert_eq!(answer.header("docker-content-digest"), Some(wares.index.digest.as_str()));
    }
}

#[tokio::test]
async fn t83_ecr_is_asked_for_no_more_tags_than_it_gives_at_once() {
    let shop = Shop::open(ecr_private().await).await;
    shop.upstream.push(TAG, &Wares::new(1));
    let path = format!("{}&n=10000", shop.path("tags/list"));
    let answer = shop.mirror.get(&path).send().await.expect(200);
    let list: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(list["tags"].as_array().unwrap().len(), 2);
    assert_eq!(
        shop.upstream.registry.count(&on().kind(Kind::Tags).query("n=1000")),
        2,
        "once without an account"
    );
    assert_eq!(shop.upstream.registry.count(&on().kind(Kind::Tags).query("n=10000")), 0);
}

#[tokio::test]
async fn t33_the_size_of_a_blob_of_public_ecr_is_found_though_it_refuses_head() {
    let shop = Shop::open(ecr_public().await).await;
    let wares = Wares::new(1);
    let profile = &shop.upstream.profile;
    profile.push(TAG, &wares);
    for blob in wares.images[0].layers.iter() {
        assert_eq!(shop.head_blob(&blob.digest).send().await.expect(200).length(), Some(blob.size()));
        assert!(profile.sent_of(&blob.digest) <= 1);
    }
    assert_eq!(profile.issued(), 1, "a refused HEAD costs no token");
    shop.expect_no_breach();
}

#[tokio::test]
async fn t59_t60_one_token_of_public_ecr_is_for_all_of_its_repositories() {
    let shop = Shop::open(ecr_public().await).await;
    let wares = Wares::new(1);
    let profile = &shop.upstream.profile;
    profile.push(TAG, &wares);
    profile.registry.push_manifest("other/app", &wares.index);
    profile.registry.tag("other/app", TAG, &wares.index.digest);
    for repository in ["team/app", "other/app"] {
        let path = format!("/v2/{repository}/manifests/{TAG}");
        shop.mirror.get(&path).send().await.expect_bytes(&wares.index.bytes);
    }
    let issued = profile.tokens[0].issued();
    assert_eq!((issued.len(), &issued[0].scopes[..]), (1, &["aws".to_owned()][..]));
}

#[tokio::test]
async fn t62_public_ecr_lets_nobody_ask_often_and_what_is_here_is_served() {
    let shop = Shop::open(ecr_public().await).await;
    let wares = Wares::new(1);
    shop.upstream.profile.push(TAG, &wares);
    shop.pull(&wares).await;
    shop.upstream.limited.set(true);
    shop.pull(&wares).await;
    let before = shop.seen().len();
    for _ in 0..5 {
        shop.manifest("other").send().await.expect_error(429, "TOOMANYREQUESTS");
    }
    // Once more, where all of that takes so long that the limit may be over.
    assert!(shop.seen().len() <= before + 2, "who was told of a limit does not ask on");
    shop.expect_no_breach();
}
