//! A bundle for which something has to go, and one that does not fit at all.

use serde_json::Value;

use super::{cut_off, run, runs, text};
use crate::support::client;
use crate::support::images::{Image, image, layer};
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::upstream::Upstream;
use crate::warm::commands::{roadstead, said};
use crate::world::{REPOSITORY, blob_path, manifest_path};

/// A place for bundles, with one of each of these images, by its tag.
async fn bundles(images: &[(&str, &Image)]) -> tempfile::TempDir {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).start().await;
    for (tag, image) in images {
        upstream.push(REPOSITORY, Some(tag), image);
        mirror.get(&manifest_path(tag)).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
    }
    mirror.settled().await;
    let setup = mirror.stop().await;
    let config = setup.file("roadstead.toml", &setup.toml());
    let dir = tempfile::tempdir().unwrap();
    for (tag, _) in images {
        let bundle = dir.path().join(format!("{tag}.tar"));
        runs(&["export", &named(tag), "-o", text(&bundle)], &config);
    }
    dir
}

fn named(tag: &str) -> String {
    format!("{REGISTRY}/{REPOSITORY}:{tag}")
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[tokio::test]
async fn g7_what_goes_for_a_bundle_is_told_and_what_cannot_fit_takes_nothing_away() {
    let (old, new, both) =
        (image(1, &[8_000_000]), image(2, &[10_000_000]), image(3, &[8_000_000, 8_400_000]));
    let dir = bundles(&[("old", &old), ("new", &new), ("both", &both)]).await;
    let bundle = |tag: &str| dir.path().join(format!("{tag}.tar"));
    let setup = cut_off().set("store", "max_bytes = \"16MiB\"");
    let config = setup.file("roadstead.toml", &setup.toml());
    let json = |tag: &str| -> Value {
        serde_json::from_str(&runs(&["import", "--json", text(&bundle(tag))], &config)).unwrap()
    };
    assert_eq!(strings(&json("old")["evicted"]), [] as [&str; 0]);
    // Larger than the store is, whatever goes.
    let refused = run(&["import", text(&bundle("both"))], &config);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("there is no room for 164") && told.contains("could be evicted"), "{told}");
    runs(&["verify", &named("old")], &config);

    let told = json("new");
    assert_eq!(
        (strings(&told["evicted"]), &told["evicted_more"]),
        (vec![&*named("old")], &Value::Bool(false))
    );
    assert_eq!(run(&["verify", &named("old")], &config).status.code(), Some(1));
    runs(&["verify", &named("new")], &config);
    // The words for people.
    let again = run(&["import", text(&bundle("old"))], &config);
    let told = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(again.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("warning: {} is not whole any more", named("new"))), "{told}");

    // What is pinned does not go for it.
    runs(&["pin", &named("old")], &config);
    let refused = run(&["import", text(&bundle("new"))], &config);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("there is no room for"), "{refused:?}");
    runs(&["verify", &named("old")], &config);
}

#[tokio::test]
async fn g7_a_running_mirror_without_room_refuses_a_bundle_and_each_of_its_blobs() {
    let (old, new) = (image(1, &[8_000_000]), image(2, &[10_000_000]));
    let dir = bundles(&[("old", &old), ("new", &new)]).await;
    let mirror = cut_off().set("store", "max_bytes = \"16MiB\"").spawn().await;
    let server = format!("http://{}", mirror.admin().unwrap());
    let command =
        async |words: &[&str]| roadstead(&[words, &["--server", server.as_str()][..]].concat(), "").await;
    let bundle = |tag: &str| dir.path().join(format!("{tag}.tar")).to_str().unwrap().to_owned();
    let imported = command(&["import", &bundle("old")]).await;
    assert_eq!(imported.status.code(), Some(0), "{}", said(&imported));
    let pinned = command(&["pin", &named("old")]).await;
    assert_eq!(pinned.status.code(), Some(0), "{}", said(&pinned));
    let refused = command(&["import", &bundle("new")]).await;
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("there is no room for"), "{}", said(&refused));
    // Whoever does not ask first is told so before anything of it has left.
    let blob = layer(9, 10);
    let target =
        format!("/api/v1/content/blob?upstream={REGISTRY}&repository={REPOSITORY}&digest={}", blob.digest);
    let request = client::request(mirror.admin().unwrap(), "POST", &target);
    let request = request.header("Content-Type", "application/octet-stream");
    let answer = request.header("Content-Length", "10000000").send().await;
    let told: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((answer.status, told["error"]["code"].as_str()), (507, Some("no_space")), "{told}");
    // Nothing has gone for it.
    for blob in old.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
}
