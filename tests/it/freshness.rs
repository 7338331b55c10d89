//! How old a tag may be, by upstream, repository and tag: each policy over the wire, with the mirror's clock by hand.

mod deleted;
mod lists;

use std::time::{Duration, SystemTime};

use roadstead::clock::Clock;

use crate::support::client::Answer;
use crate::support::images::{Image, image};
use crate::support::mirror::Setup;
use crate::support::soon;
use crate::support::upstream::{Act, Hold, Upstream, act, on, status};
use crate::world::{REPOSITORY, TAG, World};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// Nobody is served stale because this machine is slow.
const PATIENT: &str = "revalidate_timeout = \"24s\"\n";

/// The world at a time that is put forward by hand.
struct Scene {
    world: World,
    clock: Clock,
}

impl Scene {
    /// With this image upstream under [`TAG`], and these lines of TOML for the upstream. 404s are not remembered: that
    /// happens by another clock.
    async fn with(image: &Image, lines: &str) -> Self {
        let upstream = Upstream::start().await;
        upstream.push(REPOSITORY, Some(TAG), image);
        // Always the same moment, so that what is drawn by it is.
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let patience = if lines.contains("revalidate_timeout") { "" } else { PATIENT };
        let lines = format!("negative_ttl = \"0s\"\n{patience}{lines}");
        let setup = Setup::with(&upstream, &lines).clock(&clock);
        Self { world: World { upstream, mirror: setup.start().await }, clock }
    }

    async fn restart(self) -> Self {
        Self { world: self.world.restart().await, ..self }
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    async fn ask(&self, reference: &str) -> Answer {
        self.world.manifest(reference).send().await
    }

    /// Asks for [`TAG`]: it is this image, and the mirror says that it came about so.
    #[track_caller]
    fn served(&self, image: &Image, said: &str) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        let asking = self.world.manifest(TAG).send();
        let bytes = image.manifest.bytes.clone();
        let said = said.to_owned();
        async move {
            let answer = asking.await;
            let got = (answer.status, answer.body == bytes, answer.cache_status().to_owned());
            assert_eq!(got, (200, true, said), "asked at {caller}");
        }
    }

    /// Asks for [`TAG`] until it is this image and fresh.
    async fn becomes(&self, image: &Image) {
        let becomes = async {
            loop {
                let answer = self.ask(TAG).await;
                if answer.cache_status() == "hit" && answer.body == image.manifest.bytes {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("the tag is what it is upstream", becomes).await;
    }

    /// Upstream behaves again, and the mirror, which may leave it alone for a moment, has noticed.
    async fn recovers(&self, tag: &str) {
        self.world.upstream.behave();
        let confirmed = async {
            while self.ask(tag).await.cache_status() != "hit; detail=revalidated" {
                self.pass(MINUTE);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        soon("upstream is asked again", confirmed).await;
    }

    /// How often upstream was asked about tags by HEAD, and manifests were fetched.
    fn asked(&self) -> (usize, usize) {
        let upstream = &self.world.upstream;
        (upstream.count(&on().head().manifests()), upstream.count(&on().get().manifests()))
    }
}

#[tokio::test]
async fn g6_a_tag_is_stale_for_as_long_as_it_may_be_and_then_the_error_is_passed_on() {
    let image = image(1, &[10]);
    let rows: [(Option<Act>, u16, &str, &str); 4] = [
        (None, 503, "UNAVAILABLE", "hit; detail=stale"),
        (Some(status(502)), 503, "UNAVAILABLE", "hit; detail=stale; fwd-status=502"),
        (Some(act().hang()), 504, "UNAVAILABLE", "hit; detail=stale"),
        (
            Some(status(429).header("Retry-After", "7")),
            429,
            "TOOMANYREQUESTS",
            "hit; detail=stale; fwd-status=429",
        ),
    ];
    for (trouble, refused, code, said) in rows {
        // Who does not answer at all is waited for; what is wrong is told from what is slow by that.
        let hasty = "\nheader_timeout = \"3s\"\nrevalidate_timeout = \"1s\"";
        let times = if refused == 504 { hasty } else { "" };
        let scene = Scene::with(&image, &format!("tag_ttl = \"5m\"\nmax_stale = \"1h\"{times}")).await;
        scene.world.pull(&image).await;
        match trouble {
            Some(trouble) => scene.world.upstream.script(on(), trouble),
            None => scene.world.upstream.down().await,
        }
        scene.served(&image, "hit").await;
        scene.pass(6 * MINUTE);
        scene.served(&image, said).await;
        // 64 minutes: one is left.
        scene.pass(58 * MINUTE);
        let answer = scene.ask(TAG).await.expect_bytes(&image.manifest.bytes);
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        let scene = scene.restart().await;
        let answer = scene.ask(TAG).await.expect_bytes(&image.manifest.bytes);
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        scene.pass(2 * MINUTE);
        let answer = scene.ask(TAG).await.expect_error(refused, code);
        assert_eq!(answer.header("retry-after").is_some(), refused == 429);
        scene.world.head_manifest(TAG).send().await.expect(refused);
        let scene = scene.restart().await;
        scene.ask(TAG).await.expect_error(refused, code);
        // What is asked for by digest has no age.
        let by_digest = scene.ask(&image.manifest.digest).await.expect_bytes(&image.manifest.bytes);
        assert_eq!(by_digest.cache_status(), "hit");
        for blob in image.blobs() {
            scene.world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
    }
}

#[tokio::test]
async fn t12_a_tag_that_was_too_old_to_be_served_is_confirmed_when_upstream_is_back() {
    let image = image(2, &[10]);
    let scene = Scene::with(&image, "max_stale = \"0s\"").await;
    scene.world.pull(&image).await;
    scene.world.upstream.script(on(), status(503));
    scene.pass(6 * MINUTE);
    scene.ask(TAG).await.expect_error(503, "UNAVAILABLE");
    let gets = scene.asked().1;
    scene.recovers(TAG).await;
    scene.served(&image, "hit").await;
    assert_eq!(scene.asked().1, gets, "what did not move is not fetched");
}

#[tokio::test]
async fn g5_a_tag_that_never_changes_is_not_asked_for_again() {
    let (first, second) = (image(3, &[10]), image(4, &[10]));
    let rule = "[[upstream.tags]]\nrepositories = [\"team/*\"]\ntags = [\"v*\"]\nimmutable = true";
    let scene = Scene::with(&first, rule).await;
    let upstream = &scene.world.upstream;
    upstream.tag(REPOSITORY, "latest", &first.manifest.digest);
    upstream.push("other/app", Some(TAG), &first);
    scene.world.pull(&first).await;
    let other = || scene.world.mirror.get(&format!("/v2/other/app/manifests/{TAG}")).send();
    other().await.expect_bytes(&first.manifest.bytes);
    scene.ask("latest").await.expect_bytes(&first.manifest.bytes);

    upstream.push(REPOSITORY, Some(TAG), &second);
    upstream.push("other/app", Some(TAG), &second);
    upstream.tag(REPOSITORY, "latest", &second.manifest.digest);
    scene.pass(3650 * DAY);
    let before = scene.asked();
    scene.served(&first, "hit").await;
    assert_eq!(scene.asked(), before);
    // The rule is for nothing else.
    other().await.expect_bytes(&second.manifest.bytes);
    scene.ask("latest").await.expect_bytes(&second.manifest.bytes);

    scene.world.mirror.settled().await;
    let scene = scene.restart().await;
    scene.world.upstream.down().await;
    let before = scene.asked();
    scene.served(&first, "hit").await;
    scene.world.head_manifest(TAG).send().await.expect(200);
    assert_eq!(scene.asked(), before);
}

#[tokio::test]
async fn g5_while_a_tag_is_asked_for_all_who_want_it_are_served_at_once() {
    let (first, second) = (image(5, &[10]), image(6, &[10]));
    let scene = Scene::with(&first, "stale_while_revalidate = \"10m\"").await;
    scene.world.pull(&first).await;
    scene.world.upstream.push(REPOSITORY, Some(TAG), &second);
    let hold = Hold::new();
    scene.world.upstream.script(on().head().manifest(TAG), act().hold(&hold));
    scene.pass(6 * MINUTE);
    // The question is held for as long as this takes, so nobody of these waited for it.
    for _ in 0..20 {
        scene.served(&first, "hit; detail=stale").await;
    }
    soon("upstream is asked meanwhile", hold.arrived(1)).await;
    assert_eq!(scene.asked().0, 1, "one question for all");
    hold.release();
    scene.becomes(&second).await;
    assert_eq!(scene.asked().0, 1);

    // That upstream does not answer changes nothing of it.
    scene.world.upstream.script(on(), status(503));
    scene.pass(6 * MINUTE);
    for _ in 0..3 {
        scene.served(&second, "hit; detail=stale").await;
    }
    // A tag that is deleted is gone when that is known.
    scene.world.upstream.behave();
    scene.world.upstream.remove(REPOSITORY, TAG);
    let gone = async {
        while scene.ask(TAG).await.status != 404 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("the tag is deleted here", gone).await;
}

#[tokio::test]
async fn g5_beyond_the_time_for_that_who_asks_waits_for_upstream() {
    let (first, second) = (image(7, &[10]), image(8, &[10]));
    let scene = Scene::with(&first, "stale_while_revalidate = \"10m\"").await;
    scene.world.pull(&first).await;
    scene.pass(16 * MINUTE);
    scene.served(&first, "hit; detail=revalidated").await;
    scene.world.upstream.push(REPOSITORY, Some(TAG), &second);
    scene.pass(16 * MINUTE);
    scene.ask(TAG).await.expect_bytes(&second.manifest.bytes);
}

#[tokio::test]
async fn g5_tags_that_came_together_are_not_all_asked_for_together() {
    let image = image(9, &[10]);
    let scene = Scene::with(&image, "tag_ttl = \"1000s\"").await;
    let tags: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
    for tag in &tags {
        scene.world.upstream.tag(REPOSITORY, tag, &image.manifest.digest);
    }
    let mut asked = Vec::new();
    // Within the shortest time, in the middle of what is between, and at its end.
    for pass in [0, 899, 51, 50] {
        scene.pass(pass);
        let before = scene.asked().0;
        for tag in &tags {
            scene.ask(tag).await.expect_bytes(&image.manifest.bytes);
        }
        asked.push(scene.asked().0 - before);
    }
    assert_eq!(asked[..2], [0, 0], "none is asked for twice within nine tenths of its time");
    assert!((20..=80).contains(&asked[2]), "{} of 100 in the first half of the last tenth", asked[2]);
    assert_eq!(asked[2] + asked[3], 100, "each is asked for once when its time is over");
}

#[tokio::test]
async fn t89_a_signature_is_seen_when_it_comes_and_when_it_changes_though_all_tags_are_immutable() {
    let (signed, first, second) = (image(10, &[10]), image(11, &[10]), image(12, &[10]));
    let scene = Scene::with(&signed, "immutable = true\ntag_ttl = \"1h\"").await;
    let fallback = signed.manifest.digest.replace(':', "-");
    scene.world.pull(&signed).await;
    for tag in [format!("{fallback}.sig"), format!("{fallback}.att"), fallback, "v1.sbom".to_owned()] {
        scene.ask(&tag).await.expect_error(404, "MANIFEST_UNKNOWN");
        scene.world.upstream.push(REPOSITORY, Some(&tag), &first);
        scene.ask(&tag).await.expect_bytes(&first.manifest.bytes);
        scene.world.upstream.push(REPOSITORY, Some(&tag), &second);
        scene.pass(MINUTE);
        scene.ask(&tag).await.expect_bytes(&second.manifest.bytes);
        // It covers upstream's silence as any tag does.
        scene.world.upstream.script(on(), status(503));
        scene.pass(MINUTE);
        let answer = scene.ask(&tag).await.expect_bytes(&second.manifest.bytes);
        assert!(answer.cache_status().starts_with("hit; detail=stale"), "{}", answer.cache_status());
        scene.recovers(&tag).await;
    }
    scene.world.upstream.push(REPOSITORY, Some(TAG), &first);
    scene.served(&signed, "hit").await;
}
