//! Tags that stand for something else than a bundle has.

use std::path::Path;

use serde_json::{Value, json};

use super::{cut_off, run, runs, text};
use crate::support::images::{Image, image};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::{Upstream, on};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// Two bundles, of a tag that has moved between them.
async fn two(dir: &Path, images: [&Image; 2]) -> [String; 2] {
    let upstream = Upstream::start().await;
    let mut setup = Setup::with(&upstream, "tag_ttl = \"0s\"");
    let mut bundles = Vec::new();
    for (number, image) in images.into_iter().enumerate() {
        upstream.push(REPOSITORY, Some(TAG), image);
        let mirror = setup.start().await;
        mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
        mirror.settled().await;
        setup = mirror.stop().await;
        let config = setup.file("roadstead.toml", &setup.toml());
        let bundle = text(&dir.join(format!("{number}.tar"))).to_owned();
        runs(&["export", &format!("{REGISTRY}/{REPOSITORY}:{TAG}"), "-o", &bundle], &config);
        bundles.push(bundle);
    }
    bundles.try_into().unwrap()
}

#[tokio::test]
async fn a_bundle_moves_tags_on_and_not_back_unless_it_is_told_to() {
    let (first, second) = (image(1, &[20_000]), image(2, &[30_000]));
    let dir = tempfile::tempdir().unwrap();
    let [older, newer] = two(dir.path(), [&first, &second]).await;
    let setup = cut_off();
    let config = setup.file("roadstead.toml", &setup.toml());
    let import = |words: &[&str]| -> Value {
        serde_json::from_str(&runs(&[&["import", "--json"][..], words].concat(), &config)).unwrap()
    };
    let change = |from: &Image, to: &Image, back: bool| {
        json!([{"name": format!("{REGISTRY}/{REPOSITORY}:{TAG}"), "from": from.manifest.digest,
            "to": to.manifest.digest, "back": back}])
    };
    let stands_for = || {
        let listed: Value = serde_json::from_str(&runs(&["ls", "--json"], &config)).unwrap();
        let tagged =
            listed["images"].as_array().unwrap().iter().find(|image| image["tag"] == TAG).unwrap().clone();
        tagged["digest"].as_str().unwrap().to_owned()
    };
    let told = import(&[&older]);
    assert_eq!((&told["moved"], &told["kept"]), (&json!([]), &json!([])), "{told}");
    let told = import(&[&newer]);
    assert_eq!((&told["moved"], &told["kept"]), (&change(&first, &second, false), &json!([])), "{told}");
    assert_eq!(stands_for(), second.manifest.digest);
    // The wrong disk.
    let told = import(&[&older]);
    assert_eq!((&told["moved"], &told["kept"]), (&json!([]), &change(&second, &first, true)), "{told}");
    assert_eq!((stands_for(), &told["images"]), (second.manifest.digest.clone(), &json!([])), "{told}");
    let loud = run(&["import", &older], &config);
    let said = String::from_utf8_lossy(&loud.stderr).into_owned();
    assert!(loud.status.success() && said.contains("--move-back moves it"), "{said}");
    let told = import(&["--move-back", &older]);
    assert_eq!((&told["moved"], &told["kept"]), (&change(&second, &first, true), &json!([])), "{told}");
    assert_eq!(stands_for(), first.manifest.digest);
}

#[tokio::test]
async fn g5_a_tag_that_a_bundle_brings_is_no_word_of_upstreams() {
    let (first, second) = (image(1, &[20_000]), image(2, &[30_000]));
    let dir = tempfile::tempdir().unwrap();
    let [older, _] = two(dir.path(), [&first, &second]).await;
    // A site with a link, where upstream has moved on.
    let upstream = Upstream::start().await;
    upstream.push(REPOSITORY, Some(TAG), &second);
    let setup = Setup::with(&upstream, "tag_ttl = \"1d\"\nmax_stale = \"1h\"\n");
    let config = setup.file("roadstead.toml", &setup.toml());
    runs(&["import", &older], &config);
    // It covers upstream's silence from now on,
    runs(&["verify", "--all"], &config);
    assert_eq!(upstream.count(&on()), 0);
    // and is asked for when it is wanted.
    let mirror = setup.start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&second.manifest.bytes);
    mirror.stop().await;
}
