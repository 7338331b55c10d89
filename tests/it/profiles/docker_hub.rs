//! Docker Hub.

use std::sync::atomic::Ordering;

use futures_util::future::join_all;

use super::{Registry, Shop, TAG};
use crate::support::images::layer;
use crate::support::upstream::profiles::{DockerHub, Profile, Wares, docker_hub, docker_hub_over_tls};
use crate::support::upstream::{Kind, act, on, status};

impl Registry for DockerHub {
    fn profile(&self) -> &Profile {
        &self.profile
    }
}

/// Everything that it says about limits.
const HEADERS: [&str; 3] = ["ratelimit-limit", "ratelimit-remaining", "docker-ratelimit-source"];

async fn open(wares: &Wares) -> Shop<DockerHub> {
    let shop = Shop::open(docker_hub().await).await;
    shop.upstream.profile.push(TAG, wares);
    shop
}

#[tokio::test]
async fn t64_t65_a_single_name_is_one_in_library_for_the_path_and_for_the_token() {
    let wares = Wares::new(1);
    let lines = "aliases = [\"index.docker.io\", \"registry-1.docker.io\"]";
    let shop = Shop::with(docker_hub().await, lines).await;
    shop.upstream.profile.push(TAG, &wares);
    for name in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
        let path = format!("/v2/app/manifests/{TAG}?ns={name}");
        let answer = shop.mirror.get(&path).send().await.expect_bytes(&wares.index.bytes);
        assert_eq!(answer.header("oci-namespace"), Some(name));
    }
    shop.mirror.get(&format!("/v2/app/manifests/{TAG}")).send().await.expect_bytes(&wares.index.bytes);
    let issued = shop.upstream.profile.tokens[0].issued();
    assert_eq!(issued.len(), 1);
    assert_eq!(issued[0].scopes, ["repository:library/app:pull"]);
    assert_eq!(issued[0].service.as_deref(), Some("registry.docker.io"));
}

#[tokio::test]
async fn t11_t62_a_pull_is_spent_on_each_digest_and_on_nothing_else() {
    let wares = Wares::new(1);
    let shop = open(&wares).await;
    for _ in 0..5 {
        shop.pull(&wares).await;
    }
    // The index, two images, and two signatures.
    assert_eq!(shop.upstream.pulls.load(Ordering::SeqCst), 100 - 5);
}

#[tokio::test]
async fn t62_with_no_pulls_left_what_is_here_is_served_and_the_rest_is_429() {
    let wares = Wares::new(1);
    let shop = open(&wares).await;
    shop.pull(&wares).await;
    shop.upstream.pulls.store(0, Ordering::SeqCst);
    shop.pull(&wares).await;
    let second = Wares::new(2);
    shop.upstream.profile.push("v2", &second);
    let pulls = || shop.upstream.profile.registry.count(&on().manifests().get());
    let before = pulls();
    let asked = (0..20).map(|_| shop.manifest("v2").send());
    for answer in join_all(asked).await {
        let answer = answer.expect_error(429, "TOOMANYREQUESTS");
        assert!(answer.header("retry-after").is_some());
    }
    for _ in 0..5 {
        shop.manifest("v2").send().await.expect_error(429, "TOOMANYREQUESTS");
    }
    // Once more, where all of that takes so long that the limit may be over.
    assert!(pulls() <= before + 2, "who was told of a limit does not ask on");
}

#[tokio::test]
async fn t62_t70_enough_of_us_in_plain_text_is_a_limit_as_well() {
    let wares = Wares::new(1);
    let shop = open(&wares).await;
    shop.pull(&wares).await;
    shop.upstream.had_enough.set(true);
    shop.pull(&wares).await;
    let unknown = layer(5, 1000);
    for asked in [shop.manifest("other"), shop.manifest(&unknown.digest), shop.blob(&unknown.digest)] {
        let answer = asked.send().await.expect_error(429, "TOOMANYREQUESTS");
        assert!(answer.header("retry-after").is_some());
    }
    // What is known of the tags is said to be a part.
    let list = shop.mirror.get(&shop.path("tags/list")).send().await.expect(200);
    assert!(list.cache_status().starts_with("hit; detail=stale"), "{}", list.cache_status());
    assert!(String::from_utf8(list.body).unwrap().contains(&format!("\"{TAG}\"")));
    let refused = shop.seen().iter().filter(|seen| seen.status == 429).count();
    // Once more, where all of that takes so long that the limit may be over.
    assert!((1..=2).contains(&refused), "{refused}: who was told of a limit does not ask on");
}

#[tokio::test]
async fn t100_what_it_says_about_limits_is_for_nobody_else() {
    let wares = Wares::new(1);
    let shop = open(&wares).await;
    for _ in 0..2 {
        for answer in [
            shop.manifest(TAG).send().await.expect(200),
            shop.mirror.head(&shop.path(&format!("manifests/{TAG}"))).send().await.expect(200),
            shop.manifest(&wares.images[0].manifest.digest).send().await.expect(200),
        ] {
            for name in HEADERS {
                assert_eq!(answer.header(name), None);
            }
        }
    }
}

#[tokio::test]
async fn t55_every_cdn_is_used_with_the_urls_that_it_signed_itself() {
    let wares = Wares::new(1);
    let shop = open(&wares).await;
    shop.pull(&wares).await;
    for cdn in &shop.upstream.profile.storages {
        let seen = cdn.seen();
        assert!(!seen.is_empty() && seen.iter().all(|seen| seen.status < 300));
    }
    shop.expect_once(wares.blobs());
}

#[tokio::test]
async fn t27_a_cdn_that_ignores_ranges_breaks_no_blob() {
    let shop = open(&Wares::new(1)).await;
    let blob = layer(9, 1_000_000);
    let profile = &shop.upstream.profile;
    profile.push_blob(&blob);
    for cdn in &profile.storages {
        cdn.script(on().kind(Kind::Signed), act().ignore_range());
        cdn.script(on().kind(Kind::Signed).nth(1), act().ignore_range().cut(400_000));
    }
    shop.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
    let part = layer(10, 1_000_000);
    profile.push_blob(&part);
    shop.blob(&part.digest).range("700000-700999").send().await.expect_range(&part.bytes, 700_000, 700_999);
    shop.expect_no_breach();
}

#[tokio::test]
async fn t68_over_tls_all_but_blobs_comes_over_http_2_and_nothing_else_is_different() {
    let shop = Shop::open(docker_hub_over_tls().await).await;
    let profile = &shop.upstream.profile;
    let (first, second) = (Wares::new(1), Wares::new(2));
    for wares in [&first, &second] {
        profile.push(TAG, wares);
        shop.pull_together(wares).await;
        profile.expire().await;
    }
    shop.expect_once(first.blobs().chain(second.blobs()));
    shop.expect_no_storm();
    for seen in shop.seen().into_iter().filter(|seen| seen.asked.method == "GET") {
        let (kind, is_two) = (seen.asked.kind, seen.note == Some("h2"));
        assert_eq!(is_two, !matches!(kind, Kind::Blob | Kind::Signed), "{kind:?}");
    }
}

#[tokio::test]
async fn t85_a_hub_without_the_api_for_referrers_is_asked_by_their_tag() {
    let wares = Wares::new(1);
    let shop = open(&wares).await;
    let (registry, repository) = (&shop.upstream.profile.registry, shop.upstream.profile.repository);
    registry.script(on().kind(Kind::Referrers), status(404));
    let fallback = wares.fallback_index();
    registry.push_manifest(repository, &fallback);
    registry.tag(repository, &wares.fallback_tag(), &fallback.digest);
    shop.pull(&wares).await;
    assert_eq!(registry.count(&on().manifest(&wares.fallback_tag())), 1);
}
