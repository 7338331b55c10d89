//! What other tools write: imported, and pulled from there.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::site::{Home, attached_tag, text};
use crate::containerd::{self, Containerd, hosts_toml};
use crate::docker::{self, Engine};
use crate::http;
use crate::image::Image;
use crate::process::outcome;
use crate::scene::{HUB, QUAY, REPOSITORY, files_in};
use crate::skopeo::{self, Skopeo, assert_holds};

/// Imports a file or directory of another tool at a site of its own, by these words, and copies images from there.
/// Gives what the import told.
fn taken_in(home: &Home, skopeo: &Skopeo, name: &str, words: &[&str], images: &[(String, Image)]) -> Value {
    let site = home.site(&format!("site-{name}"));
    let told: Value = serde_json::from_str(&site.import(words)).unwrap();
    let mirror = site.serve();
    for (number, (reference, image)) in images.iter().enumerate() {
        let copy = skopeo.copy_all(mirror.address(), reference, &format!("{name}-{number}"));
        assert_holds(&copy, image);
    }
    assert_eq!(mirror.metric("roadstead_upstream_bytes_total"), 0);
    told
}

fn warnings(told: &Value) -> usize {
    told["warnings"].as_array().unwrap().len()
}

#[test]
fn what_skopeo_writes_goes_in() {
    let Some(mut home) = Home::set(&skopeo::NEEDED) else { return };
    let skopeo = Skopeo::at(home.scene.subfolder("skopeo"));
    let folder = home.scene.subfolder("written");
    let reference = format!("{QUAY}/{REPOSITORY}:v1");
    let copy = |source: &str, words: &[&str], target: &str| {
        let (mut program, _) = skopeo.program(home.scene.mirror.address(), "copy");
        program.arg("copy").args(words).arg(format!("docker://{source}"));
        let copied = outcome(program.arg(target));
        assert!(copied.status.success(), "{copied:?}");
    };
    let path = |name: &str| folder.join(name);
    copy(&reference, &["--all"], &format!("oci:{}:{reference}", path("oci").display()));
    let zstd = format!("{QUAY}/{REPOSITORY}:zstd");
    copy(&zstd, &["--all"], &format!("oci:{}:{zstd}", path("oci").display()));
    copy(&reference, &["--all"], &format!("oci-archive:{}:v1", path("oci.tar").display()));
    copy(&reference, &["--all"], &format!("dir:{}", path("dir").display()));
    copy(&reference, &[], &format!("docker-archive:{}:{reference}", path("docker.tar").display()));
    home.stop();

    let quay = &home.scene.images.quay;
    let both = [(reference.clone(), quay.clone()), (zstd, home.scene.images.zstd.clone())];
    let told = taken_in(&home, &skopeo, "oci", &[text(&path("oci"))], &both);
    assert_eq!(warnings(&told), 0, "{told}");
    let one = [(reference.clone(), quay.clone())];
    let named = ["--as", &format!("{QUAY}/{REPOSITORY}")];
    let told = taken_in(&home, &skopeo, "archive", &[named[0], named[1], text(&path("oci.tar"))], &one);
    assert_eq!(warnings(&told), 0, "{told}");
    let told = taken_in(&home, &skopeo, "dir", &["--as", &reference, text(&path("dir"))], &one);
    assert_eq!(warnings(&told), 0, "{told}");
    let told = unpacked_in(&home, &skopeo, "docker", &path("docker.tar"), &reference, quay);
    assert!(told.contains("digests"), "{told}");
}

/// The same for what keeps no manifests, or layers that were unpacked: what is pulled is the same image in another form.
/// Gives the warning.
fn unpacked_in(
    home: &Home,
    skopeo: &Skopeo,
    name: &str,
    file: &Path,
    reference: &str,
    image: &Image,
) -> String {
    let site = home.site(&format!("site-{name}"));
    let told: Value = serde_json::from_str(&site.import(&[text(file)])).unwrap();
    let mirror = site.serve();
    let files = files_in(&skopeo.copy_all(mirror.address(), reference, name));
    let manifest: Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let hex = |digest: &Value| digest.as_str().unwrap().trim_start_matches("sha256:").to_owned();
    // The configuration is what it was, and names the layers by their content.
    let config = &files[&hex(&manifest["config"]["digest"])];
    assert!(image.blobs.iter().any(|blob| blob.bytes == *config), "{reference}");
    let config: Value = serde_json::from_slice(config).unwrap();
    let layers = manifest["layers"].as_array().unwrap();
    let of_layers: Vec<_> = layers.iter().map(|layer| hex(&layer["digest"])).collect();
    let of_config: Vec<_> = config["rootfs"]["diff_ids"].as_array().unwrap().iter().map(hex).collect();
    assert_eq!(of_layers, of_config, "{reference}");
    assert!(of_layers.iter().all(|layer| files.contains_key(layer)));
    let [warning] = told["warnings"].as_array().unwrap().as_slice() else { panic!("{told}") };
    warning.as_str().unwrap().to_owned()
}

#[test]
fn what_docker_saves_goes_in_with_a_warning_that_digests_are_lost() {
    let Some(mut home) = Home::set(&[docker::NEEDED.as_slice(), &skopeo::NEEDED].concat()) else { return };
    let Some(node) = home.node("saves") else { return };
    let engine = Engine::at(node, home.scene.mirror.address());
    let saved = home.scene.subfolder("written").join("saved.tar");
    engine.pull("app:v1");
    engine.docker(&["save", "--output", text(&saved), "app:v1"]);
    home.stop();
    let skopeo = Skopeo::at(home.scene.subfolder("skopeo"));
    let reference = format!("{HUB}/{REPOSITORY}:v1");
    let told = unpacked_in(&home, &skopeo, "saved", &saved, &reference, &home.scene.images.hub);
    assert!(told.contains("digests"), "{told}");
}

#[test]
fn what_containerd_exports_goes_in() {
    let needed = [containerd::NEEDED.as_slice(), &skopeo::NEEDED].concat();
    let Some(mut home) = Home::set(&needed) else { return };
    let Some(node) = home.node("exports") else { return };
    let containerd = Containerd::at(node);
    let address = home.scene.mirror.address().to_string();
    let hosts = [HUB, QUAY].map(|registry| (registry, hosts_toml("127.0.0.1:1", &address, "")));
    let images = &home.scene.images;
    let all = [
        (format!("{HUB}/{REPOSITORY}:v1"), images.hub.clone()),
        (format!("{QUAY}/{REPOSITORY}:v1"), images.quay.clone()),
        (format!("{QUAY}/{REPOSITORY}:zstd"), images.zstd.clone()),
    ];
    let exported = home.scene.subfolder("written").join("exported.tar");
    let mut words = vec!["images", "export", "--all-platforms", text(&exported)];
    for (reference, _) in &all {
        containerd.pull(&hosts, reference);
        words.push(reference);
    }
    containerd.ctr(&words);
    home.stop();
    let skopeo = Skopeo::at(home.scene.subfolder("skopeo"));
    let told = taken_in(&home, &skopeo, "exported", &[text(&exported)], &all);
    assert_eq!(warnings(&told), 0, "{told}");
}

#[test]
fn the_files_of_a_registry_go_in() {
    let Some(mut home) = Home::set(&skopeo::NEEDED) else { return };
    home.stop();
    let volume: PathBuf = home.scene.subfolder("quay").join("files");
    let all = home.all();
    let of_quay: Vec<_> = all.into_iter().filter(|(reference, _)| reference.starts_with(QUAY)).collect();
    let skopeo = Skopeo::at(home.scene.subfolder("skopeo"));
    let words = ["--upstream", QUAY, text(&volume)];
    let told = taken_in(&home, &skopeo, "volume", &words, &of_quay);
    assert_eq!(warnings(&told), 0, "{told}");
    let mirror = home.site("site-volume").serve();
    for blob in &home.long.blobs {
        let target = format!("/v2/{REPOSITORY}/blobs/{}?ns={QUAY}", blob.digest);
        let answer = http::request(mirror.address(), "GET", &target, &[], b"").expect("an answer");
        assert_eq!(answer.body, blob.bytes);
    }
    let names = told["images"].as_array().unwrap().iter().map(|image| image["name"].as_str().unwrap());
    let signature = format!("{QUAY}/{REPOSITORY}:{}", attached_tag(&home.scene.images.quay));
    assert!(names.collect::<Vec<_>>().contains(&signature.as_str()), "{told}");
}
