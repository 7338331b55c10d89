//! Bundles by the real binary: out of one mirror's store, into that of another that has never seen a network.

mod delta;
mod hostile;
mod killed;
mod room;
mod running;
mod tags;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::images::{self, Image, Object, artifact, image, image_of};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// An upstream with an image, one of SHA-512, a signature by tag and an SBOM by its subject; and a store that has pulled
/// all of it, closed again.
struct Pulled {
    image: Image,
    long: Image,
    signature: Image,
    sbom: Image,
    setup: Setup,
    config: PathBuf,
}

impl Pulled {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let mirror = Setup::of(&upstream).start().await;
        let image = image(1, &[300_000, 70_000]);
        let long = long();
        let signature = images::image(3, &[500]);
        let sbom = artifact(4, &image.manifest);
        let attached = image.manifest.digest.replace(':', "-") + ".sig";
        for (tag, image) in
            [(Some(TAG), &image), (Some("long"), &long), (Some(&attached), &signature), (None, &sbom)]
        {
            upstream.push(REPOSITORY, tag, image);
            let reference = tag.unwrap_or(&image.manifest.digest);
            mirror.get(&manifest_path(reference)).send().await.expect_bytes(&image.manifest.bytes);
            for blob in image.blobs() {
                mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
            }
        }
        mirror.settled().await;
        let setup = mirror.stop().await;
        let config = setup.file("roadstead.toml", &setup.toml());
        Self { image, long, signature, sbom, setup, config }
    }
}

/// An image all of whose digests are SHA-512.
fn long() -> Image {
    let layers = vec![images::layer(7, 1000).by_sha512(), images::layer(8, 0).by_sha512()];
    let image = image_of(2, layers);
    let config = image.config.by_sha512();
    let manifest = images::manifest_json(&config, &image.layers).to_string();
    Image { manifest: Object::new(images::OCI_MANIFEST, manifest).by_sha512(), config, layers: image.layers }
}

/// A mirror whose upstream is nowhere.
fn cut_off() -> Setup {
    Setup::empty().upstream_at(REGISTRY, &["http://127.0.0.1:1"], "default = true")
}

fn command(words: &[&str], config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ROADSTEAD_"))
    {
        command.env_remove(name);
    }
    command.args(words).arg("--config").arg(config);
    command
}

fn run(words: &[&str], config: &Path) -> Output {
    command(words, config).output().unwrap()
}

#[track_caller]
fn runs(words: &[&str], config: &Path) -> String {
    let output = run(words, config);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{words:?}: {told}");
    String::from_utf8(output.stdout).unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn t94_what_one_mirror_exports_another_serves_that_has_never_seen_a_network() {
    let pulled = Pulled::new().await;
    let dir = tempfile::tempdir().unwrap();
    for name in ["site", "site.tar", "site.tar.zst"] {
        let bundle = dir.path().join(name);
        let told = runs(&["export", "--all", "-o", text(&bundle)], &pulled.config);
        assert!(
            told.contains(&format!("{REGISTRY}/{REPOSITORY}:{TAG} {}", pulled.image.manifest.digest)),
            "{told}"
        );
        let setup = cut_off();
        let config = setup.file("roadstead.toml", &setup.toml());
        let told = runs(&["import", "--json", text(&bundle)], &config);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["images"].as_array().unwrap().len(), 4, "{told}");
        assert_eq!(told["warnings"].as_array().unwrap().len(), 0, "{told}");

        let mirror = setup.start().await;
        let attached = pulled.image.manifest.digest.replace(':', "-") + ".sig";
        for (tag, image) in [
            (TAG, &pulled.image),
            ("long", &pulled.long),
            (attached.as_str(), &pulled.signature),
            (pulled.sbom.manifest.digest.as_str(), &pulled.sbom),
        ] {
            for reference in [tag, &image.manifest.digest] {
                let answer = mirror.get(&manifest_path(reference)).send().await;
                assert_eq!(answer.header("content-type"), Some(images::OCI_MANIFEST), "{reference}");
                answer.expect_bytes(&image.manifest.bytes);
            }
            for blob in image.blobs() {
                mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
            }
        }
        let list = format!("/v2/{REPOSITORY}/referrers/{}", pulled.image.manifest.digest);
        let list: Value = serde_json::from_slice(&mirror.get(&list).send().await.expect(200).body).unwrap();
        assert_eq!(list["manifests"][0]["digest"], pulled.sbom.manifest.digest, "{list}");
    }
    drop(pulled.setup);
}

#[tokio::test]
async fn t99_while_a_mirror_runs_its_store_is_its_own_and_bundles_are_told_whose() {
    let setup = cut_off();
    let config = setup.file("roadstead.toml", &setup.toml());
    let bundle = setup.data().with_file_name("site.tar");
    let mirror = setup.start().await;
    for words in [["export", "--all", "-o", text(&bundle)], ["import", "--max-ratio", "1", text(&bundle)]] {
        let output = run(&words, &config);
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains(&format!("in use by process {}", std::process::id())), "{told}");
    }
    assert!(!bundle.exists());
    mirror.stop().await;
}

/// Whether a process would be told of Ctrl-C, and not simply ended.
fn is_told_of_interruptions(pid: u32) -> bool {
    const SIGINT: u64 = 1 << 1;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap().trim();
    u64::from_str_radix(caught, 16).unwrap() & SIGINT != 0
}

#[test]
fn ctrl_c_ends_an_import_which_says_how_to_go_on() {
    let setup = cut_off();
    let config = setup.file("roadstead.toml", &setup.toml());
    let pipe = setup.data().with_file_name("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // Nobody writes into the pipe, so that it waits.
    let mut importing = command(&["import", text(&pipe)], &config);
    let child = importing.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while !is_told_of_interruptions(child.id()) {
        assert!(began.elapsed() < Duration::from_secs(60), "it does not look for Ctrl-C");
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("run it again"), "{output:?}");
}

#[test]
fn what_is_wrong_with_a_bundle_is_said_and_the_exit_code_is_1() {
    let setup = cut_off();
    let config = setup.file("roadstead.toml", &setup.toml());
    let path = setup.file("garbage", "this is no bundle");
    let output = run(&["import", text(&path)], &config);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("is no bundle"));
    let output = run(&["export", "nothing:here", "-o", text(&setup.data().with_file_name("x.tar"))], &config);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("nothing:here"));
    for words in
        [&["export", "--all"][..], &["export", "-o", "x"], &["import"], &["import", "--as", "A B", "x"]]
    {
        assert_eq!(run(words, &config).status.code(), Some(64), "{words:?}");
    }
}
