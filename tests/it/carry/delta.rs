//! A bundle that is a difference to an earlier one, between real stores.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{cut_off, run, runs, text};
use crate::support::images::{Image, image_of, layer};
use crate::support::mirror::{Mirror, REGISTRY, Setup, files_under};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, blob_path, manifest_path};

const LAYER: u64 = 2_000_000;

/// The second shares two of three layers with the first.
fn versions() -> [Image; 2] {
    let [one, two, three, four] = [1, 2, 3, 4].map(|seed| layer(seed, LAYER));
    [image_of(1, vec![one.clone(), two.clone(), three]), image_of(2, vec![one, two, four])]
}

async fn pull(mirror: &Mirror, tag: &str, image: &Image) {
    mirror.get(&manifest_path(tag)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}

/// Every file of a store but the index, which is written whenever it is opened.
fn content(data: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = files_under(data, "").into_iter().filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        !name.starts_with("index") && !name.starts_with("LOCK")
    });
    files.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// What the index knows, as far as anybody can ask.
fn known(config: &Path) -> Vec<String> {
    let tags = format!("{REGISTRY}/{REPOSITORY}");
    [&["ls", "--json"][..], &["tags", &tags, "--json"], &["du", "--json"]]
        .map(|words| String::from_utf8(run(words, config).stdout).unwrap())
        .to_vec()
}

#[tokio::test]
async fn a_difference_has_the_new_layer_alone_and_without_its_base_nothing_changes() {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    let [first, second] = versions();
    let dir = tempfile::tempdir().unwrap();
    for (tag, image) in [("v1", &first), ("v2", &second), ("other", &image_of(3, vec![layer(9, 5000)]))] {
        upstream.push(REPOSITORY, Some(tag), image);
        pull(&mirror, tag, image).await;
    }
    mirror.settled().await;
    let setup = mirror.stop().await;
    let config = setup.file("roadstead.toml", &setup.toml());
    for form in ["", ".tar", ".tar.zst"] {
        let [base, delta] = ["base", "delta"].map(|name| dir.path().join(format!("{name}{form}")));
        let [v1, v2, other] = ["v1", "v2", "other"].map(|tag| format!("{REGISTRY}/{REPOSITORY}:{tag}"));
        runs(&["export", &v1, "-o", text(&base)], &config);
        runs(&["export", &v2, "--since", text(&base), "-o", text(&delta)], &config);
        let size: u64 = if form.is_empty() {
            files_under(&delta, "").iter().map(|file| file.metadata().unwrap().len()).sum()
        } else {
            delta.metadata().unwrap().len()
        };
        let most = (LAYER + second.manifest.size() + second.config.size()) * 101 / 100;
        assert!(size <= most, "{size} bytes of {form}, and {most} would do");

        // At a site that has something else.
        let site = cut_off();
        let there = site.file("roadstead.toml", &site.toml());
        let own = dir.path().join(format!("own{form}.tar"));
        runs(&["export", &other, "-o", text(&own)], &config);
        runs(&["import", text(&own)], &there);
        let before = (content(&site.data()), known(&there));
        let output = run(&["import", text(&delta)], &there);
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{told}");
        for shared in &second.layers[..2] {
            assert!(told.contains(&format!("{}, {LAYER} bytes", shared.digest)), "{told}");
        }
        assert!(!told.contains(&second.layers[2].digest), "{told}");
        assert_eq!(before.1, known(&there));
        let now = content(&site.data());
        assert!(before.0.keys().eq(now.keys()), "{:#?}\n{:#?}", before.0.keys(), now.keys());
        assert!(before.0 == now, "the content of a file has changed");
        runs(&["import", text(&base)], &there);
        runs(&["import", text(&delta)], &there);
        let there = site.start().await;
        for (tag, image) in [("v1", &first), ("v2", &second)] {
            pull(&there, tag, image).await;
        }
        there.stop().await;
    }
}
