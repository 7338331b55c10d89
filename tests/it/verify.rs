//! `roadstead verify`: what could be pulled from here, were upstream gone.

mod withheld;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::images::{Image, artifact, image, index};
use crate::support::mirror::{Binary, REGISTRY, Setup, Signal, files_under};
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::warm::commands::{roadstead, said};
use crate::warm::named;
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// A mirror that has warmed an index over two images, of which the first has a signature.
struct Scene {
    upstream: Upstream,
    mirror: Binary,
    server: String,
    images: Vec<Image>,
    signature: Image,
}

impl Scene {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        upstream.list_referrers();
        let images = vec![image(1, &[20_000]), image(2, &[30_000])];
        let signature = artifact(3, &images[0].manifest);
        for image in images.iter().chain([&signature]) {
            upstream.push(REPOSITORY, None, image);
        }
        let index = index(&images.iter().collect::<Vec<_>>());
        upstream.push_manifest(REPOSITORY, &index);
        upstream.tag(REPOSITORY, TAG, &index.digest);
        let mirror = Setup::of(&upstream).spawn().await;
        let server = format!("http://{}", mirror.admin().unwrap());
        let warmed = roadstead(&["warm", &named(TAG), "--server", &server], "").await;
        assert_eq!(warmed.status.code(), Some(0), "{}", said(&warmed));
        Self { upstream, mirror, server, images, signature }
    }

    /// The exit code of a verification, and its document.
    async fn verify(&self, more: &[&str]) -> (Option<i32>, Value) {
        let mut args = vec!["verify", "--json", "--server", &self.server];
        args.extend(more);
        let output = roadstead(&args, "").await;
        let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", said(&output)));
        (output.status.code(), document)
    }

    /// The file of an object.
    fn file(&self, digest: &str) -> PathBuf {
        let hex = digest.split_once(':').unwrap().1;
        let files = files_under(&self.mirror.data(), hex);
        files.into_iter().find(|file| file.extension().is_none()).unwrap()
    }
}

/// The digests of what is missing.
fn gaps(document: &Value) -> Vec<String> {
    let images = document["images"].as_array().unwrap().iter();
    let gaps = images.flat_map(|image| image["gaps"].as_array().unwrap());
    gaps.map(|gap| gap["digest"].as_str().unwrap().to_owned()).collect()
}

/// The images that were looked at.
fn references(document: &Value) -> Vec<String> {
    let images = document["images"].as_array().unwrap().iter();
    images.map(|image| image["reference"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn g6_a_file_that_was_deleted_by_hand_is_named_and_fetched_when_upstream_is_there() {
    let scene = Scene::new().await;
    let (code, document) = scene.verify(&["--all"]).await;
    assert_eq!((code, &document["whole"]), (Some(0), &Value::Bool(true)), "{document}");
    let lost = &scene.images[1].layers[0];
    std::fs::remove_file(scene.file(&lost.digest)).unwrap();
    std::fs::remove_file(scene.file(&scene.signature.layers[0].digest)).unwrap();
    let (code, document) = scene.verify(&[&named(TAG)]).await;
    assert_eq!(code, Some(1), "{document}");
    let (mut named_gaps, mut expected) =
        (gaps(&document), vec![lost.digest.clone(), scene.signature.layers[0].digest.clone()]);
    named_gaps.sort();
    expected.sort();
    assert_eq!(named_gaps, expected);
    // What is not asked about is no gap.
    let (code, document) = scene.verify(&["--all", "--platform", "linux/amd64", "--no-referrers"]).await;
    assert_eq!(code, Some(0), "{document}");

    scene.upstream.down().await;
    let (code, _) = scene.verify(&["--all", "--fix"]).await;
    assert_eq!(code, Some(1));
    scene.upstream.up().await;
    let (code, document) = scene.verify(&["--all", "--fix"]).await;
    assert_eq!(code, Some(0), "{document}");
    assert_eq!(scene.upstream.sent_of(&lost.digest), 2 * lost.size());
}

#[tokio::test]
async fn only_a_deep_look_finds_bytes_that_have_changed() {
    let scene = Scene::new().await;
    let layer = &scene.images[0].layers[0];
    let file = scene.file(&layer.digest);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100] ^= 1;
    // Over the old content: the file that is open is the same.
    std::fs::write(&file, &bytes).unwrap();
    let (code, document) = scene.verify(&["--all", "--deep"]).await;
    assert_eq!((code, gaps(&document)), (Some(1), vec![layer.digest.clone()]), "{document}");
    let (code, document) = scene.verify(&["--all", "--fix", "--deep"]).await;
    assert_eq!(code, Some(0), "{document}");
}

#[tokio::test]
async fn what_was_never_here_is_not_proven() {
    let scene = Scene::new().await;
    for of in [named("other"), "registry.test/team/else:1".to_owned()] {
        let (code, document) = scene.verify(&[&of]).await;
        assert_eq!((code, &document["whole"]), (Some(1), &Value::Bool(false)), "{of}: {document}");
    }
    let (code, document) = scene.verify(&[&named(TAG), "--platform", "linux/mips"]).await;
    assert_eq!(code, Some(1), "{document}");
    assert_eq!(document["images"][0]["unoffered"][0], "linux/mips");
}

#[tokio::test]
async fn only_what_is_pinned_or_was_pulled_lately_is_looked_at_when_that_is_asked() {
    let scene = Scene::new().await;
    let other = image(7, &[10_000]);
    scene.upstream.push(REPOSITORY, Some("other"), &other);
    let args = ["warm", &named("other"), "--server", &scene.server];
    assert_eq!(roadstead(&args, "").await.status.code(), Some(0));
    let pinned = roadstead(&["pin", &named("other"), "--server", &scene.server], "").await;
    assert_eq!(pinned.status.code(), Some(0), "{}", said(&pinned));
    std::fs::remove_file(scene.file(&scene.images[0].layers[0].digest)).unwrap();
    let (code, document) = scene.verify(&["--pinned"]).await;
    assert_eq!((code, references(&document)), (Some(0), vec![named("other")]), "{document}");
    let (code, document) = scene.verify(&["--pulled-within", "1h"]).await;
    assert_eq!((code, references(&document).len()), (Some(1), 2), "{document}");
    soon("they were pulled longer than a second ago", async {
        while !references(&scene.verify(&["--pulled-within", "1s"]).await.1).is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_proof_is_made_as_the_configuration_says_and_anew_when_that_changes() {
    let upstream = Upstream::start().await;
    let image = image(1, &[20_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let table = |interval: &str| format!("\n[verify]\ninterval = {interval:?}\n");
    let mirror = Setup::with(&upstream, &table("")).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
    mirror.settled().await;
    assert_eq!(mirror.metric("roadstead_verify_ended_seconds", &[]).await, 0.0);
    mirror.reload_with(&table("1h"), &table(""));
    let figures = async || {
        let of = async |what: &str| mirror.metric(&format!("roadstead_verify_{what}"), &[]).await;
        (of("ended_seconds").await > 0.0, of("images").await, of("incomplete").await)
    };
    let becomes = async |expected| {
        soon("the proof", async {
            while figures().await != expected {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    };
    becomes((true, 1.0, 0.0)).await;
    let hex = image.layers[0].digest.split_once(':').unwrap().1;
    for file in files_under(&mirror.data(), hex) {
        std::fs::remove_file(file).unwrap();
    }
    mirror.reload_with(&table("2h"), &table(""));
    becomes((true, 1.0, 1.0)).await;
    mirror.stop().await;
}

#[tokio::test]
async fn a_part_of_an_image_is_proven_by_its_digest_and_as_a_pin() {
    let scene = Scene::new().await;
    let part = named_by_digest(&scene.images[0].manifest.digest);
    let (code, document) = scene.verify(&[&part]).await;
    assert_eq!((code, references(&document)), (Some(0), vec![part.clone()]), "{document}");
    let pinned = roadstead(&["pin", &part, "--server", &scene.server], "").await;
    assert_eq!(pinned.status.code(), Some(0), "{}", said(&pinned));
    let (code, document) = scene.verify(&["--pinned"]).await;
    assert_eq!((code, references(&document)), (Some(0), vec![part.clone()]), "{document}");
    std::fs::remove_file(scene.file(&scene.images[0].layers[0].digest)).unwrap();
    let (code, document) = scene.verify(&["--pinned", "--fix"]).await;
    assert_eq!(code, Some(0), "{document}");
}

#[tokio::test]
async fn an_image_without_an_index_is_for_the_machine_that_its_configuration_names() {
    let upstream = Upstream::start().await;
    upstream.push(REPOSITORY, Some(TAG), &image(1, &[1000]));
    let mirror = Setup::of(&upstream).spawn().await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let warmed = roadstead(&["warm", &named(TAG), "--server", &server], "").await;
    assert_eq!(warmed.status.code(), Some(0), "{}", said(&warmed));
    let verify = async |platform: &str| {
        let args = ["verify", "--all", "--json", "--platform", platform, "--server", &server];
        let output = roadstead(&args, "").await;
        let document: Value = serde_json::from_slice(&output.stdout).unwrap();
        (output.status.code(), document["images"][0]["unoffered"].clone())
    };
    assert_eq!(verify("linux/amd64").await, (Some(0), json!([])));
    assert_eq!(verify("linux/amd64,linux/arm64").await, (Some(1), json!(["linux/arm64"])));
    let listed = roadstead(&["ls", "--json", "--server", &server], "").await;
    let document: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(document["images"][0]["platforms"][0]["platform"], "linux/amd64", "{document}");
}

#[tokio::test]
async fn what_proves_nothing_does_not_succeed() {
    let upstream = Upstream::start().await;
    let rule = |tag: &str| {
        format!("tags = [{{ repositories = [{REPOSITORY:?}], tags = [{tag:?}], pinned = true }}]")
    };
    let mirror = Setup::with(&upstream, &rule(TAG)).spawn().await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let verify = async |of: &str| roadstead(&["verify", of, "--server", &server], "").await;
    let all = verify("--all").await;
    assert_eq!(all.status.code(), Some(1), "{}", said(&all));
    assert!(said(&all).contains("nothing is here"), "{}", said(&all));
    // A rule spells it out, and nobody has brought it in.
    let pinned = verify("--pinned").await;
    assert_eq!(pinned.status.code(), Some(1), "{}", said(&pinned));
    assert!(said(&pinned).contains(&named(TAG)), "{}", said(&pinned));
    let text = std::fs::read_to_string(mirror.config()).unwrap().replace(&rule(TAG), &rule("v*"));
    std::fs::write(mirror.config(), text).unwrap();
    mirror.signal(Signal::Reload);
    soon("another rule is in use", async {
        while !said(&verify("--pinned").await).contains("nothing is pinned") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
}

/// How the scripted upstream's image is named by its digest.
fn named_by_digest(digest: &str) -> String {
    format!("{REGISTRY}/{REPOSITORY}@{digest}")
}
