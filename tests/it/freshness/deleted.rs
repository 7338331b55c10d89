//! What a deleted tag means: T13.

use super::*;

const KEEP: &str = "deleted_tags = \"keep\"\nkeep_deleted_for = \"1d\"";
const KEPT: &str = "hit; detail=stale; fwd-status=404";

#[tokio::test]
async fn t13_a_deleted_tag_is_deleted_here_and_covers_nothing_afterwards() {
    for given in [404, 410] {
        let image = image(20, &[10]);
        let scene = Scene::with(&image, "").await;
        scene.world.pull(&image).await;
        scene.world.upstream.script(on().manifest(TAG), status(given));
        scene.served(&image, "hit").await;
        scene.pass(6 * MINUTE);
        scene.ask(TAG).await.expect_error(404, "MANIFEST_UNKNOWN");
        scene.world.upstream.down().await;
        scene.ask(TAG).await.expect_error(503, "UNAVAILABLE");
        let scene = scene.restart().await;
        scene.ask(TAG).await.expect_error(503, "UNAVAILABLE");
        scene.ask(&image.manifest.digest).await.expect_bytes(&image.manifest.bytes);
    }
}

#[tokio::test]
async fn t13_a_deleted_tag_is_kept_and_marked_for_a_time_that_a_restart_does_not_lengthen() {
    let image = image(21, &[10]);
    let scene = Scene::with(&image, KEEP).await;
    scene.world.pull(&image).await;
    scene.world.upstream.remove(REPOSITORY, TAG);
    scene.served(&image, "hit").await;
    scene.pass(6 * MINUTE);
    scene.served(&image, KEPT).await;
    scene.world.head_manifest(TAG).send().await.expect(200);
    let scene = scene.restart().await;
    scene.pass(23 * HOUR);
    scene.served(&image, KEPT).await;
    // Upstream may be away meanwhile.
    scene.world.upstream.script(on(), status(503));
    let answer = scene.ask(TAG).await.expect_bytes(&image.manifest.bytes);
    assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
    let scene = scene.restart().await;
    scene.pass(2 * HOUR);
    scene.ask(TAG).await.expect_error(503, "UNAVAILABLE");
    let scene = scene.restart().await;
    scene.world.upstream.behave();
    let gone = async {
        while scene.ask(TAG).await.status != 404 {
            scene.pass(MINUTE);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("upstream is asked again", gone).await;
    scene.ask(&image.manifest.digest).await.expect_bytes(&image.manifest.bytes);
}

#[tokio::test]
async fn t13_a_kept_tag_that_is_back_upstream_is_as_any_other() {
    let (first, second) = (image(22, &[10]), image(23, &[10]));
    let scene = Scene::with(&first, KEEP).await;
    scene.world.pull(&first).await;
    scene.world.upstream.remove(REPOSITORY, TAG);
    scene.pass(6 * MINUTE);
    scene.served(&first, KEPT).await;
    scene.pass(23 * HOUR);
    let gets = scene.asked().1;
    scene.world.upstream.push(REPOSITORY, Some(TAG), &first);
    scene.served(&first, "hit; detail=revalidated").await;
    assert_eq!(scene.asked().1, gets, "it is here: nothing is fetched");
    scene.served(&first, "hit").await;
    // The time begins anew.
    scene.world.upstream.remove(REPOSITORY, TAG);
    scene.pass(6 * MINUTE);
    scene.served(&first, KEPT).await;
    scene.pass(23 * HOUR);
    scene.served(&first, KEPT).await;
    scene.world.upstream.push(REPOSITORY, Some(TAG), &second);
    scene.ask(TAG).await.expect_bytes(&second.manifest.bytes);
    scene.becomes(&second).await;
    scene.world.upstream.remove(REPOSITORY, TAG);
    scene.pass(6 * MINUTE);
    scene.served(&second, KEPT).await;
    scene.pass(DAY);
    scene.ask(TAG).await.expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn t13_what_we_may_not_have_is_passed_on_and_deletes_nothing() {
    for lines in ["", KEEP] {
        for given in [401, 403] {
            let image = image(24, &[10]);
            let scene = Scene::with(&image, lines).await;
            scene.world.pull(&image).await;
            scene.pass(6 * MINUTE);
            scene.world.upstream.script(on().manifest(TAG), status(given));
            let answer = scene.ask(TAG).await;
            assert!(matches!(answer.status, 401 | 403 | 404), "{}", answer.status);
            scene.world.upstream.behave();
            let gets = scene.asked().1;
            scene.served(&image, "hit; detail=revalidated").await;
            assert_eq!(scene.asked().1, gets, "the tag was known all the time");
        }
    }
}

#[tokio::test]
async fn t63_upstream_is_asked_no_more_often_for_a_kept_tag_than_for_one_that_is_not_there() {
    let image = image(25, &[10]);
    let upstream = Upstream::start().await;
    upstream.push(REPOSITORY, Some(TAG), &image);
    let clock = Clock::by_hand(SystemTime::now());
    let setup = Setup::with(&upstream, &format!("negative_ttl = \"1h\"\n{PATIENT}{KEEP}")).clock(&clock);
    let scene = Scene { world: World { upstream, mirror: setup.start().await }, clock };
    scene.world.pull(&image).await;
    scene.world.upstream.remove(REPOSITORY, TAG);
    scene.pass(6 * MINUTE);
    let before = scene.asked();
    for _ in 0..10 {
        scene.served(&image, KEPT).await;
    }
    assert_eq!(scene.asked(), (before.0 + 1, before.1));
}

#[tokio::test]
async fn t13_a_rule_says_what_it_means_that_a_tag_is_deleted() {
    let image = image(26, &[10]);
    let rule = "deleted_tags = \"follow\"\n[[upstream.tags]]\ntags = [\"v*\"]\ndeleted_tags = \"keep\"";
    let scene = Scene::with(&image, rule).await;
    scene.world.upstream.tag(REPOSITORY, "latest", &image.manifest.digest);
    scene.world.pull(&image).await;
    scene.ask("latest").await.expect_bytes(&image.manifest.bytes);
    scene.world.upstream.remove(REPOSITORY, TAG);
    scene.world.upstream.remove(REPOSITORY, "latest");
    scene.pass(6 * MINUTE);
    scene.served(&image, KEPT).await;
    scene.ask("latest").await.expect_error(404, "MANIFEST_UNKNOWN");
    // By default for a week.
    scene.pass(6 * DAY);
    scene.served(&image, KEPT).await;
    scene.pass(DAY);
    scene.ask(TAG).await.expect_error(404, "MANIFEST_UNKNOWN");
}
