//! podman, pointed at the mirror by `registries.conf`: docker.io without a path prefix, quay.io with one. CRI-O reads
//! the same file by the same library.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::node::Node;
use crate::process::{find, outcome, run};
use crate::program::native_architecture;
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};

pub(crate) const NEEDED: [(&str, &str); 3] = [("podman", "podman"), ("conmon", "conmon"), ("runc", "runc")];

/// As docs/podman.md gives it.
pub(crate) fn registries_conf(mirror: impl std::fmt::Display) -> String {
    format!(
        "[[registry]]\nlocation = \"{HUB}\"\n\
         [[registry.mirror]]\nlocation = \"{mirror}\"\ninsecure = true\n\
         [[registry]]\nlocation = \"{QUAY}\"\n\
         [[registry.mirror]]\nlocation = \"{mirror}/{QUAY}\"\ninsecure = true\n"
    )
}

/// What lets images in without signatures.
pub(crate) const POLICY: &str = r#"{"default":[{"type":"insecureAcceptAnything"}]}"#;

/// podman with an empty store, in a node of its own. It has no daemon.
pub(crate) struct Podman {
    node: Node,
}

impl Podman {
    pub(crate) fn start(scene: &Scene, name: &str) -> Option<Self> {
        scene.node(name).map(|node| Self::at(node, scene.mirror.address()))
    }

    /// One with its files in this node, which asks this mirror.
    pub(crate) fn at(node: Node, mirror: SocketAddr) -> Self {
        node.file("registries.conf", &registries_conf(mirror));
        Self::told(node)
    }

    /// One that finds its registries where the system has them.
    pub(crate) fn told(node: Node) -> Self {
        let runtime = if find("crun").is_some() { "crun" } else { "runc" };
        node.file(
            "containers.conf",
            &format!(
                "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
                 runtime = \"{runtime}\"\n"
            ),
        );
        node.file(
            "storage.conf",
            &format!(
                "[storage]\ndriver = \"vfs\"\ngraphroot = {:?}\nrunroot = {:?}\n",
                node.folder("graph"),
                node.folder("run")
            ),
        );
        node.file("policy.json", POLICY);
        Self { node }
    }

    pub(crate) fn podman(&self) -> Command {
        let mut podman = self.node.command("podman");
        for (variable, file) in [
            ("CONTAINERS_CONF", "containers.conf"),
            ("CONTAINERS_STORAGE_CONF", "storage.conf"),
            ("CONTAINERS_REGISTRIES_CONF", "registries.conf"),
        ] {
            let file = self.node.folder(".").join(file);
            if file.exists() {
                podman.env(variable, file);
            }
        }
        podman.arg("--tmpdir").arg(self.node.folder("tmp"));
        podman
    }

    /// Pulls, and gives the digest by which podman knows the image.
    pub(crate) fn pull(&self, image: &str) -> String {
        let policy = self.node.folder(".").join("policy.json");
        run(self.podman().args(["pull", "--signature-policy"]).arg(policy).arg(image));
        run(self.podman().args(["image", "inspect", "--format", "{{.Digest}}", image])).trim().to_owned()
    }

    /// skopeo beside it copies all of a name into a folder of files.
    pub(crate) fn skopeo(&self, more: &[&str], source: &str, into: &str) -> (Output, PathBuf) {
        let target = self.node.folder(into).join("copy");
        let mut skopeo = self.node.command("skopeo");
        skopeo
            .arg("--policy")
            .arg(self.node.folder(".").join("policy.json"))
            .args(["copy", "--all"])
            .args(more);
        skopeo.arg(format!("docker://{source}")).arg(format!("dir:{}", target.display()));
        (outcome(&mut skopeo), target)
    }

    pub(crate) fn run(&self, image: &str) -> String {
        let group = format!("/{}", self.node.control_group());
        let how = ["run", "--rm", "--network", "none", "--pull", "never", "--cgroup-parent", &group];
        run(self.podman().args(how).arg(image))
    }
}

#[test]
fn podman_pulls_with_and_without_a_path_prefix_cold_and_warm_and_runs_what_it_pulled() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let pull_all = |scene: &Scene, name: &str| {
        let podman = Podman::start(scene, name)?;
        for (registry, tag, image, line) in [
            (HUB, "v1", &scene.images.hub, "hello from docker.io\n"),
            (QUAY, "v1", &scene.images.quay, "hello from quay.io\n"),
            (QUAY, "zstd", &scene.images.zstd, "hello from zstd\n"),
        ] {
            let reference = format!("{registry}/{REPOSITORY}:{tag}");
            assert_eq!(podman.pull(&reference), image.digest(), "{name}: {reference}");
            if native_architecture().is_some() {
                assert_eq!(podman.run(&reference), line);
            }
        }
        Some(())
    };
    let Some(()) = pull_all(&scene, "cold") else { return };
    scene.end_cold();
    pull_all(&scene, "warm");
}
