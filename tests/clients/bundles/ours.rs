//! What an export wrote: imported elsewhere and pulled from there, and read as it is by every tool.
//!
//! No tool takes everything: skopeo finds nothing with Docker's media types in a layout by its name, and in `docker-archive:`
//! it does; containerd and skopeo cannot keep what goes by SHA-512; Docker before 23 cannot unpack zstd.

use std::path::Path;

use serde_json::Value;

use super::site::{Home, text};
use crate::containerd::{self, Containerd, hosts_toml};
use crate::docker::{self, Engine};
use crate::http;
use crate::image::Image;
use crate::mirror::Mirror;
use crate::podman::{self, Podman};
use crate::process::{outcome, run};
use crate::program::native_architecture;
use crate::scene::{HUB, QUAY, REPOSITORY};
use crate::skopeo::{self, Skopeo, assert_holds};

/// A site that has imported the bundle of another, and serves.
fn carried(home: &Home, bundle: &Path) -> Mirror {
    let site = home.site("site");
    let told: Value = serde_json::from_str(&site.import(&[text(bundle)])).unwrap();
    assert_eq!(told["warnings"].as_array().unwrap().len(), 0, "{told}");
    site.serve()
}

/// What is there was not fetched from anywhere.
fn assert_cut_off(mirror: &Mirror) {
    assert_eq!(mirror.metric("roadstead_upstream_bytes_total"), 0);
}

/// By its tag, and by its digest.
fn both_ways(reference: &str, image: &Image) -> [String; 2] {
    let (name, _) = reference.rsplit_once(':').unwrap();
    [reference.to_owned(), format!("{name}@{}", image.digest())]
}

#[test]
fn t94_skopeo_pulls_all_by_tag_and_by_digest_at_a_site_that_has_never_seen_a_network() {
    let Some(mut home) = Home::set(&skopeo::NEEDED) else { return };
    home.stop();
    let mirror = carried(&home, &home.export("site.tar.zst", &["--all"]));
    let skopeo = Skopeo::at(home.scene.subfolder("skopeo"));
    for (number, (reference, image)) in home.all().iter().enumerate() {
        for (way, source) in both_ways(reference, image).iter().enumerate() {
            let copy = skopeo.copy_all(mirror.address(), source, &format!("{number}-{way}"));
            assert_holds(&copy, image);
        }
    }
    let get = |target: &str| http::request(mirror.address(), "GET", target, &[], b"").expect("an answer");
    let images = &home.scene.images;
    let list = get(&format!("/v2/{REPOSITORY}/referrers/{}?ns={QUAY}", images.quay.digest()));
    let list: Value = serde_json::from_slice(&list.body).unwrap();
    assert_eq!(list["manifests"][0]["digest"], images.notes.digest(), "{list}");
    for reference in ["sha512", home.long.digest()] {
        let manifest = get(&format!("/v2/{REPOSITORY}/manifests/{reference}?ns={QUAY}"));
        assert_eq!(manifest.body, home.long.top.blob.bytes);
    }
    for blob in &home.long.blobs {
        assert_eq!(get(&format!("/v2/{REPOSITORY}/blobs/{}?ns={QUAY}", blob.digest)).body, blob.bytes);
    }
    assert_cut_off(&mirror);
}

#[test]
fn skopeo_copies_images_out_of_a_bundle_by_their_whole_names() {
    let Some(mut home) = Home::set(&skopeo::NEEDED) else { return };
    home.stop();
    let skopeo = Skopeo::at(home.scene.subfolder("skopeo"));
    let [archive, folder] = ["site.tar", "site"].map(|name| home.export(name, &["--all"]));
    let copy = |transport: &str, bundle: &Path, reference: &str, name: &str| {
        let nobody = ([127, 0, 0, 1], 1).into();
        let (mut program, folder) = skopeo.program(nobody, name);
        let target = folder.join("copy");
        program.args(["copy", "--all"]).arg(format!("{transport}:{}:{reference}", bundle.display()));
        let copied = outcome(program.arg(format!("dir:{}", target.display())));
        assert!(copied.status.success(), "{transport}: {reference}: {copied:?}");
        target
    };
    let images = &home.scene.images;
    for (tag, image) in [("v1", &images.quay), ("zstd", &images.zstd)] {
        let reference = format!("{QUAY}/{REPOSITORY}:{tag}");
        assert_holds(&copy("oci-archive", &archive, &reference, &format!("archive-{tag}")), image);
        assert_holds(&copy("oci", &folder, &reference, &format!("folder-{tag}")), image);
    }
    copy("docker-archive", &archive, &format!("{HUB}/{REPOSITORY}:v1"), "docker");
}

#[test]
fn t94_containerd_reads_a_bundle_and_pulls_at_a_site_that_has_never_seen_a_network() {
    let Some(mut home) = Home::set(&containerd::NEEDED) else { return };
    home.stop();
    // With the signature and the notes, which are nothing that it could unpack.
    let of_quay = ["v1", "zstd", "notes"].map(|tag| format!("{QUAY}/{REPOSITORY}:{tag}"));
    let of_hub = format!("{HUB}/{REPOSITORY}:v1");
    let bundle = home.export("site.tar", &[&of_quay[0], &of_quay[1], &of_quay[2], &of_hub]);
    let Some(node) = home.node("reads") else { return };
    let reads = Containerd::at(node);
    reads.ctr(&["images", "import", "--snapshotter", "native", text(&bundle)]);
    let images = &home.scene.images;
    let runnable = [
        (&of_hub, &images.hub, "hello from docker.io\n"),
        (&of_quay[0], &images.quay, "hello from quay.io\n"),
        (&of_quay[1], &images.zstd, "hello from zstd\n"),
    ];
    let holds = |containerd: &Containerd, reference: &str, digest: &str, line: &str| {
        assert_eq!(containerd.digest_of(reference), digest, "{reference}");
        if native_architecture().is_some() {
            assert_eq!(containerd.run(reference), line, "{reference}");
        }
    };
    for (reference, image, line) in runnable {
        holds(&reads, reference, image.digest(), line);
    }

    let mirror = carried(&home, &bundle);
    let Some(node) = home.node("pulls") else { return };
    let pulls = Containerd::at(node);
    let address = mirror.address().to_string();
    let hosts = [HUB, QUAY].map(|registry| (registry, hosts_toml("127.0.0.1:1", &address, "")));
    for (reference, image, line) in runnable {
        for source in both_ways(reference, image) {
            assert_eq!(pulls.pull(&hosts, &source), image.digest());
        }
        holds(&pulls, reference, image.digest(), line);
    }
    assert_cut_off(&mirror);
}

#[test]
fn t94_docker_loads_a_bundle_and_pulls_at_a_site_that_has_never_seen_a_network() {
    let Some(mut home) = Home::set(&docker::NEEDED) else { return };
    home.stop();
    let of_quay = ["v1", "sha512", "notes"].map(|tag| format!("{QUAY}/{REPOSITORY}:{tag}"));
    let of_hub = format!("{HUB}/{REPOSITORY}:v1");
    let bundle = home.export("site.tar", &[&of_quay[0], &of_quay[1], &of_quay[2], &of_hub]);
    let mirror = carried(&home, &bundle);
    let Some(node) = home.node("loads") else { return };
    let loads = Engine::at(node, mirror.address());
    loads.docker(&["load", "--input", text(&bundle)]);
    if native_architecture().is_some() {
        assert_eq!(loads.run(&of_hub), "hello from docker.io\n");
        assert_eq!(loads.run(&of_quay[0]), "hello from quay.io\n");
        assert_eq!(loads.run(&of_quay[1]), "hello from sha512\n");
    }

    let Some(node) = home.node("pulls") else { return };
    let pulls = Engine::at(node, mirror.address());
    let images = &home.scene.images;
    let elsewhere = format!("{}/{QUAY}/{REPOSITORY}", mirror.address());
    for (reference, image) in [
        ("app:v1".to_owned(), &images.hub),
        (format!("{elsewhere}:v1"), &images.quay),
        (format!("{elsewhere}:sha512"), &home.long),
    ] {
        for source in both_ways(&reference, image) {
            assert_eq!(pulls.pull(&source), image.digest(), "{source}");
        }
    }
    assert_cut_off(&mirror);
}

#[test]
fn t94_podman_reads_a_bundle_and_pulls_at_a_site_that_has_never_seen_a_network() {
    let Some(mut home) = Home::set(&podman::NEEDED) else { return };
    home.stop();
    let bundle = home.export("site.tar", &["--all"]);
    let mirror = carried(&home, &bundle);
    let Some(node) = home.node("podman") else { return };
    let podman = Podman::at(node, mirror.address());
    let images = &home.scene.images;
    for (registry, tag, image, line) in [
        (HUB, "v1", &images.hub, "hello from docker.io\n"),
        (QUAY, "v1", &images.quay, "hello from quay.io\n"),
        (QUAY, "zstd", &images.zstd, "hello from zstd\n"),
    ] {
        let reference = format!("{registry}/{REPOSITORY}:{tag}");
        for source in both_ways(&reference, image) {
            assert_eq!(podman.pull(&source), image.digest(), "{source}");
        }
        if native_architecture().is_some() {
            assert_eq!(podman.run(&reference), line);
        }
    }
    run(podman.podman().args(["rmi", "--all", "--force"]));
    let reference = format!("{QUAY}/{REPOSITORY}:v1");
    let policy = home.scene.subfolder("podman").join("policy.json");
    let from = format!("oci-archive:{}:{reference}", bundle.display());
    let loaded = run(podman.podman().args(["pull", "--signature-policy", text(&policy), &from]));
    if native_architecture().is_some() {
        assert_eq!(podman.run(loaded.trim()), "hello from quay.io\n");
    }
    assert_cut_off(&mirror);
}
