//! How old a list may be, of tags and of referrers.

use super::*;
use crate::support::images::artifact;
use crate::support::upstream::Kind;

const LINES: &str = "max_stale = \"10m\"";

#[tokio::test]
async fn g6_t84_a_list_of_tags_is_stale_for_as_long_as_it_may_be_and_then_the_error_is_passed_on() {
    let image = image(40, &[10]);
    let scene = Scene::with(&image, LINES).await;
    let tags = || scene.world.mirror.get("/v2/team/app/tags/list").send();
    scene.world.pull(&image).await;
    scene.world.upstream.tag(REPOSITORY, "latest", &image.manifest.digest);
    let whole = tags().await.expect(200).body;
    scene.world.upstream.script(on(), status(503));
    scene.pass(10 * MINUTE);
    let answer = tags().await.expect_bytes(&whole);
    assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
    // The list is too old; the tag that was pulled is not yet, and is a part.
    scene.pass(2 * MINUTE);
    let answer = tags().await.expect_bytes(br#"{"name":"team/app","tags":["v1"]}"#);
    assert!(answer.cache_status().starts_with("hit; detail=stale/partial"), "{}", answer.cache_status());
    scene.pass(4 * MINUTE);
    tags().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn g6_t85_referrers_are_stale_for_as_long_as_they_may_be_and_then_the_error_is_passed_on() {
    let image = image(41, &[10]);
    for has_api in [true, false] {
        let scene = Scene::with(&image, LINES).await;
        let signature = artifact(42, &image.manifest);
        scene.world.upstream.push(REPOSITORY, None, &signature);
        if has_api {
            scene.world.upstream.list_referrers();
        } else {
            let index = crate::support::images::index(&[&signature]);
            scene.world.upstream.push_manifest(REPOSITORY, &index);
            let fallback = image.manifest.digest.replace(':', "-");
            scene.world.upstream.tag(REPOSITORY, &fallback, &index.digest);
            scene.world.upstream.script(on().kind(Kind::Referrers), status(404));
        }
        let path = format!("/v2/{REPOSITORY}/referrers/{}", image.manifest.digest);
        let ask = || scene.world.mirror.get(&path).send();
        let listed = ask().await.expect(200).body;
        assert!(String::from_utf8_lossy(&listed).contains(&signature.manifest.digest), "{has_api}");
        scene.world.mirror.settled().await;
        scene.world.upstream.behave();
        scene.world.upstream.script(on(), status(503));
        scene.pass(10 * MINUTE);
        let answer = ask().await.expect_bytes(&listed);
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        scene.pass(2 * MINUTE);
        ask().await.expect_error(503, "UNAVAILABLE");
        let scene = scene.restart().await;
        scene.world.mirror.get(&path).send().await.expect_error(503, "UNAVAILABLE");
    }
}

#[tokio::test]
async fn g5_while_a_list_is_asked_for_the_last_one_is_served_at_once() {
    let image = image(43, &[10]);
    let scene = Scene::with(&image, "stale_while_revalidate = \"10m\"").await;
    let tags = || scene.world.mirror.get("/v2/team/app/tags/list").send();
    let first = tags().await.expect(200).body;
    scene.world.upstream.tag(REPOSITORY, "v2", &image.manifest.digest);
    let hold = Hold::new();
    let lists = on().kind(Kind::Tags);
    scene.world.upstream.script(lists.clone(), act().hold(&hold));
    scene.pass(3 * MINUTE / 2);
    for _ in 0..10 {
        let answer = tags().await.expect_bytes(&first);
        assert_eq!(answer.cache_status(), "hit; detail=stale");
    }
    soon("upstream is asked meanwhile", hold.arrived(1)).await;
    assert_eq!(scene.world.upstream.count(&lists), 2);
    hold.release();
    let moved = async {
        while tags().await.cache_status() != "hit" {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the list is what it is upstream", moved).await;
    tags().await.expect_bytes(br#"{"name":"team/app","tags":["v1","v2"]}"#);
    assert_eq!(scene.world.upstream.count(&lists), 2);
}
