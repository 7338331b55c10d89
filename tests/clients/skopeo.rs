//! skopeo, which copies everything under a name: by `registries.conf`, and by the mirror's own name.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::image::{Image, digest_of};
use crate::node::Node;
use crate::podman::{POLICY, registries_conf};
use crate::process::{command, find, outcome};
use crate::scene::{HUB, QUAY, REPOSITORY, Scene, files_in};

pub(crate) const NEEDED: [(&str, &str); 1] = [("skopeo", "skopeo")];

/// skopeo, in a node where that is allowed: as root it keeps a cache in `/var/lib`, which shall be nobody else's.
pub(crate) struct Skopeo {
    node: Option<Node>,
    home: PathBuf,
}

impl Skopeo {
    pub(crate) fn new(scene: &Scene) -> Self {
        Self::at(scene.subfolder("skopeo"))
    }

    /// One with its files in this folder, which exists.
    pub(crate) fn at(home: PathBuf) -> Self {
        let node = if Node::allowed(&home) { Node::start(&home) } else { None };
        Self { node, home }
    }

    /// `skopeo copy --all` from `source`, by this mirror, into a folder of files, which it gives back.
    pub(crate) fn copy_all(&self, mirror: SocketAddr, source: &str, into: &str) -> PathBuf {
        let (copied, target) = self.try_copy_all(mirror, source, into);
        assert!(copied.status.success(), "{copied:?}");
        target
    }

    /// The same, however it ends.
    pub(crate) fn try_copy_all(&self, mirror: SocketAddr, source: &str, into: &str) -> (Output, PathBuf) {
        self.try_copy_all_by(&registries_conf(mirror), source, into)
    }

    /// The same by this `registries.conf`.
    pub(crate) fn try_copy_all_by(&self, by: &str, source: &str, into: &str) -> (Output, PathBuf) {
        let (mut skopeo, home) = self.program_by(by, into);
        let target = home.join("copy");
        skopeo.args(["copy", "--all", "--src-tls-verify=false"]).arg(format!("docker://{source}"));
        (outcome(skopeo.arg(format!("dir:{}", target.display()))), target)
    }

    /// skopeo, by this mirror, with a folder for this run.
    pub(crate) fn program(&self, mirror: SocketAddr, name: &str) -> (Command, PathBuf) {
        self.program_by(&registries_conf(mirror), name)
    }

    fn program_by(&self, by: &str, name: &str) -> (Command, PathBuf) {
        let home = self.home.join(name);
        std::fs::create_dir_all(&home).unwrap();
        let registries = home.join("registries.conf");
        std::fs::write(&registries, by).unwrap();
        let policy = home.join("policy.json");
        std::fs::write(&policy, POLICY).unwrap();
        let mut skopeo = self
            .node
            .as_ref()
            .map_or_else(|| command(find("skopeo").unwrap(), &home), |node| node.command("skopeo"));
        skopeo.args(["--command-timeout=60s".as_ref(), "--policy".as_ref(), policy.as_os_str()]);
        skopeo.args(["--registries-conf".as_ref(), registries.as_os_str()]);
        (skopeo, home)
    }
}

/// Everything of `image` is in the folder, byte by byte, and nothing else but skopeo's own marker.
pub(crate) fn assert_holds(folder: &Path, image: &Image) {
    let mut files = files_in(folder);
    files.remove("version");
    let top = files.remove("manifest.json").expect("a manifest");
    assert_eq!(digest_of(&top), image.digest());
    assert_eq!(top, image.top.blob.bytes);
    for child in &image.children {
        let hex = child.blob.digest.trim_start_matches("sha256:");
        assert_eq!(files.remove(&format!("{hex}.manifest.json")), Some(child.blob.bytes.clone()));
    }
    for blob in &image.blobs {
        let (_, hex) = blob.digest.split_once(':').unwrap();
        assert!(files.remove(hex).is_some_and(|bytes| bytes == blob.bytes), "{} is wrong", blob.digest);
    }
    assert!(files.is_empty(), "more than was asked: {:?}", files.keys());
}

#[test]
fn skopeo_copies_indexes_zstd_layers_and_artifacts_cold_and_warm() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let direct = format!("{}/{QUAY}/{REPOSITORY}", scene.mirror.address());
    let copies = [
        (format!("{HUB}/{REPOSITORY}:v1"), scene.images.hub.clone()),
        (format!("{QUAY}/{REPOSITORY}:v1"), scene.images.quay.clone()),
        (format!("{QUAY}/{REPOSITORY}:zstd"), scene.images.zstd.clone()),
        (format!("{direct}:notes"), scene.images.notes.clone()),
        (format!("{direct}@{}", scene.images.quay.digest()), scene.images.quay.clone()),
    ];
    let skopeo = Skopeo::new(&scene);
    for act in ["cold", "warm"] {
        for (number, (source, image)) in copies.iter().enumerate() {
            assert_holds(&skopeo.copy_all(scene.mirror.address(), source, &format!("{act}-{number}")), image);
        }
        if act == "cold" {
            scene.end_cold();
        }
    }
}

#[test]
fn sixteen_skopeos_at_once_ask_upstream_for_every_blob_once() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let source = format!("{HUB}/{REPOSITORY}:v1");
    let skopeo = Skopeo::new(&scene);
    std::thread::scope(|scope| {
        for number in 0..16 {
            let (scene, skopeo, source) = (&scene, &skopeo, &source);
            scope.spawn(move || {
                let copy = skopeo.copy_all(scene.mirror.address(), source, &format!("copy-{number}"));
                assert_holds(&copy, &scene.images.hub);
            });
        }
    });
    scene.end_cold();
}

#[test]
fn the_mirror_serves_what_it_holds_after_a_restart_without_upstream() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let source = format!("{QUAY}/{REPOSITORY}:v1");
    let skopeo = Skopeo::new(&scene);
    let copy = |scene: &Scene, name: &str| {
        assert_holds(&skopeo.copy_all(scene.mirror.address(), &source, name), &scene.images.quay);
    };
    copy(&scene, "before");
    scene.end_cold();
    scene.restart_mirror();
    copy(&scene, "after");
}
