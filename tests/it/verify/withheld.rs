//! What is here and would still not be given: in each case the proof says what the server does when upstream is away.

use std::time::Duration;

use roadstead::clock::Clock;
use roadstead::mirror::Mode;
use serde_json::Value;

use crate::support::images::{Image, Object, artifact, image};
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::Upstream;
use crate::warm::commands::{roadstead, said};
use crate::warm::named;
use crate::world::{REPOSITORY, TAG, blob_path, clock_by_hand, manifest_path};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// A mirror that has pulled an image, and a clock that is put forward by hand.
struct Scene {
    upstream: Upstream,
    mirror: Mirror,
    clock: Clock,
    image: Image,
}

impl Scene {
    async fn with(lines: &str) -> Self {
        let (upstream, clock, image) = (Upstream::start().await, clock_by_hand(), image(1, &[20_000]));
        upstream.push(REPOSITORY, Some(TAG), &image);
        let setup = Setup::with(&upstream, &format!("negative_ttl = \"0s\"\n{lines}")).clock(&clock);
        let scene = Self { upstream, mirror: setup.start().await, clock, image };
        scene.pull(&[TAG], &scene.image).await;
        scene
    }

    /// Pulls an image by these references.
    async fn pull(&self, references: &[&str], image: &Image) {
        for reference in references {
            let answer = self.mirror.get(&manifest_path(reference)).send().await;
            answer.expect_bytes(&image.manifest.bytes);
        }
        for blob in image.blobs() {
            self.mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
        self.mirror.settled().await;
    }

    fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// The gaps that the proof names of this image, as kind and reason.
    async fn gaps(&self, of: &str) -> Vec<(String, String)> {
        let server = format!("http://{}", self.mirror.admin_address());
        let output = roadstead(&["verify", of, "--json", "--server", &server], "").await;
        let document: Value =
            serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        let gaps: Vec<_> = document["images"].as_array().unwrap().iter().flat_map(gaps_of).collect();
        let whole = document["whole"].as_bool().unwrap();
        assert_eq!((whole, output.status.code()), (gaps.is_empty(), Some(i32::from(!whole))), "{document}");
        let text = roadstead(&["verify", of, "--server", &server], "").await;
        assert_eq!(said(&text).contains("is here, but"), !whole, "{}", said(&text));
        gaps
    }

    /// The proof names just these gaps, and with upstream away a client is given all of these paths if there is none, and
    /// else not: neither when upstream is found not to answer nor when somebody has said that it is offline. What is in the
    /// way in the second case may be less.
    async fn agrees(&self, of: &str, paths: &[String], away: &[(&str, &str)], offline: &[(&str, &str)]) {
        self.upstream.down().await;
        for (mode, expected) in [(Mode::Online, away), (Mode::Auto, away), (Mode::Offline, offline)] {
            self.mirror.set_mode(None, Some(mode));
            let gaps = self.gaps(of).await;
            let gaps: Vec<_> = gaps.iter().map(|(kind, why)| (kind.as_str(), why.as_str())).collect();
            assert_eq!(gaps, expected, "{mode}");
            let mut refused = Vec::new();
            for path in paths {
                let answer = self.mirror.get(path).send().await;
                if answer.status != 200 {
                    refused.push((path, answer.status));
                }
            }
            assert_eq!(refused.is_empty(), gaps.is_empty(), "{mode}: {refused:?} and {gaps:?}");
        }
        self.mirror.set_mode(None, None);
        self.upstream.up().await;
    }

    /// The same of the image and all that it needs.
    async fn agrees_on_image(&self, away: &[(&str, &str)], offline: &[(&str, &str)]) {
        self.agrees(&named(TAG), &self.paths(&[TAG]), away, offline).await;
    }

    /// Where the blobs of the image are, and these manifests.
    fn paths(&self, manifests: &[&str]) -> Vec<String> {
        let blobs = self.image.blobs().map(|blob| blob_path(&blob.digest));
        manifests.iter().map(|reference| manifest_path(reference)).chain(blobs).collect()
    }

    /// Asks for the image until upstream has confirmed it at this moment.
    async fn is_confirmed(&self) {
        crate::support::soon("a confirmed tag", async {
            loop {
                let answer = self.mirror.get(&manifest_path(TAG)).send().await;
                if answer.status == 200 && ["hit", "hit; detail=revalidated"].contains(&answer.cache_status())
                {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }
}

fn gaps_of(image: &Value) -> Vec<(String, String)> {
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    image["gaps"].as_array().unwrap().iter().map(|gap| (word(&gap["kind"]), word(&gap["why"]))).collect()
}

#[tokio::test]
async fn g6_a_tag_past_max_stale_is_a_gap_as_long_as_it_would_be_refused() {
    let scene = Scene::with("tag_ttl = \"5m\"\nmax_stale = \"1h\"\n").await;
    for passed in [0, 30 * MINUTE] {
        scene.pass(passed);
        scene.agrees_on_image(&[], &[]).await;
    }
    scene.pass(2 * HOUR);
    scene.agrees_on_image(&[("tag", "too_old")], &[]).await;
    // By its digest it is served at any age.
    let digest = &scene.image.manifest.digest;
    scene.agrees(&format!("{REGISTRY}/{REPOSITORY}@{digest}"), &scene.paths(&[digest]), &[], &[]).await;
    // What mends it is a word of upstream's.
    let server = format!("http://{}", scene.mirror.admin_address());
    crate::support::soon("the tag confirmed", async {
        while roadstead(&["verify", "--all", "--fix", "--server", &server], "").await.status.code() != Some(0)
        {
        }
    })
    .await;
    scene.agrees_on_image(&[], &[]).await;
}

#[tokio::test]
async fn t13_a_deleted_tag_is_a_gap_when_it_is_kept_no_longer() {
    let scene = Scene::with("deleted_tags = \"keep\"\nkeep_deleted_for = \"1d\"\n").await;
    scene.upstream.remove(REPOSITORY, TAG);
    scene.pass(HOUR);
    scene.mirror.get(&manifest_path(TAG)).send().await.expect(200);
    scene.agrees_on_image(&[], &[]).await;
    scene.pass(2 * DAY);
    // Whoever says that upstream is offline is given it at any age, and is so first: who is not makes the mirror forget it.
    scene.upstream.down().await;
    scene.mirror.set_mode(None, Some(Mode::Offline));
    assert_eq!(scene.gaps(&named(TAG)).await, []);
    scene.mirror.get(&manifest_path(TAG)).send().await.expect(200);
    scene.mirror.set_mode(None, Some(Mode::Online));
    assert_eq!(scene.gaps(&named(TAG)).await, [("tag".to_owned(), "deleted".to_owned())]);
    scene.mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
}

#[tokio::test]
async fn an_upstream_that_is_configured_no_more_is_a_gap_for_all_that_is_of_it() {
    let scene = Scene::with("").await;
    let other = Upstream::start().await;
    let setup =
        scene.mirror.stop().await.without_upstreams().upstream("other.test", &other, "default = true\n");
    let scene = Scene { mirror: setup.start().await, ..scene };
    let gap = [("manifest", "no_upstream")];
    let by_name = |path: String| format!("{path}?ns={REGISTRY}");
    let paths: Vec<String> = scene.paths(&[TAG]).into_iter().map(by_name).collect();
    scene.agrees(&named(TAG), &paths, &gap, &gap).await;
    let server = format!("http://{}", scene.mirror.admin_address());
    let fixed = roadstead(&["verify", "--all", "--fix", "--server", &server], "").await;
    assert_eq!(fixed.status.code(), Some(1), "{}", said(&fixed));
}

#[tokio::test]
async fn t91_an_old_manifest_that_complete_only_keeps_back_is_a_gap() {
    const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+json";
    let scene = Scene::with("").await;
    let blob = &scene.image.layers[0].digest;
    let text = format!(r#"{{"schemaVersion":1,"name":"{REPOSITORY}","fsLayers":[{{"blobSum":"{blob}"}}]}}"#);
    let old = Object::new(SCHEMA_1, text);
    scene.upstream.push_manifest(REPOSITORY, &old);
    scene.mirror.get(&manifest_path(&old.digest)).send().await.expect_bytes(&old.bytes);
    scene.mirror.settled().await;
    let (of, paths) = (format!("{REGISTRY}/{REPOSITORY}@{}", old.digest), [manifest_path(&old.digest)]);
    crate::support::soon("the old manifest stored", async {
        while !roadstead::api::Desk::images(&*scene.mirror.desk(), Some(&of))
            .is_ok_and(|found| found.images.len() == 1)
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    scene.agrees(&of, &paths, &[], &[]).await;
    scene.mirror.reload_with("negative_ttl = \"0s\"\ncomplete_only = true", "negative_ttl = \"0s\"");
    let gap = [("manifest", "not_whole")];
    scene.agrees(&of, &paths, &gap, &gap).await;
    scene.agrees_on_image(&[], &[]).await;
}

#[tokio::test]
async fn g9_what_the_rules_give_to_nobody_is_a_gap() {
    let scene = Scene::with("").await;
    let rule = |what: &str| format!("[[access.rule]]\n{what}\n[limits]");
    let deny =
        format!("action = \"deny\"\nrepositories = [{REPOSITORY:?}]\n[[access.rule]]\naction = \"allow\"");
    scene.mirror.reload_with(&rule(&deny), "[limits]");
    let gap = [("manifest", "denied")];
    scene.agrees_on_image(&gap, &gap).await;
    scene.mirror.reload_with(&rule("action = \"allow\""), "[limits]");
    scene.agrees_on_image(&[], &[]).await;
}

#[tokio::test]
async fn t89_what_is_attached_is_a_gap_when_nobody_would_be_led_to_it() {
    let scene = Scene::with("tag_ttl = \"5m\"\nmax_stale = \"1h\"\n").await;
    scene.upstream.list_referrers();
    let digest = scene.image.manifest.digest.clone();
    let (signature, sbom) = (image(3, &[500]), artifact(4, &scene.image.manifest));
    let attached = digest.replace(':', "-") + ".sig";
    scene.upstream.push(REPOSITORY, Some(&attached), &signature);
    scene.upstream.push(REPOSITORY, None, &sbom);
    scene.pull(&[&attached], &signature).await;
    scene.pull(&[&sbom.manifest.digest], &sbom).await;
    let list = format!("/v2/{REPOSITORY}/referrers/{digest}");
    scene.mirror.get(&list).send().await.expect(200);
    let (by_list, by_tag) = ([list], [manifest_path(&attached)]);
    for paths in [&by_list, &by_tag] {
        scene.agrees(&named(TAG), paths, &[], &[]).await;
    }
    scene.pass(2 * HOUR);
    scene.is_confirmed().await;
    // The tag of the image has been confirmed meanwhile, and what is attached has not.
    for paths in [&by_list, &by_tag] {
        scene.agrees(&named(TAG), paths, &[("tag", "too_old"), ("list", "too_old")], &[]).await;
    }
}

#[tokio::test]
async fn the_metric_of_the_proof_counts_gaps_by_their_reason() {
    let scene = Scene::with("tag_ttl = \"5m\"\nmax_stale = \"1h\"\n").await;
    scene.pass(2 * HOUR);
    scene.mirror.reload_with("[verify]\ninterval = \"1h\"\n[limits]", "[limits]");
    let gaps = async |reason: &str| scene.mirror.metric("roadstead_verify_gaps", &[reason]).await;
    crate::support::soon("the proof", async {
        while scene.mirror.metric("roadstead_verify_ended_seconds", &[]).await == 0.0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    assert_eq!((gaps("too_old").await, gaps("absent").await), (1.0, 0.0));
    assert_eq!(scene.mirror.metric("roadstead_verify_incomplete", &[]).await, 1.0);
}
