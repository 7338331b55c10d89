//! containerd and its `ctr`, pointed at the mirror by `hosts.toml`, by namespace parameter and by path prefix.

use std::path::{Path, PathBuf};

use crate::node::Node;
use crate::process::{Process, run};
use crate::program::native_architecture;
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};

pub(crate) const NEEDED: [(&str, &str); 3] =
    [("containerd", "containerd"), ("ctr", "containerd"), ("runc", "runc")];

/// A containerd with an empty store, in a node of its own.
pub(crate) struct Containerd {
    _daemon: Process,
    node: Node,
    socket: PathBuf,
}

impl Containerd {
    pub(crate) fn start(scene: &Scene, name: &str) -> Option<Self> {
        scene.node(name).map(Self::at)
    }

    /// One with its files in this node.
    pub(crate) fn at(node: Node) -> Self {
        let socket = node.folder("state").join("containerd.sock");
        let config = node.file(
            "containerd.toml",
            &format!(
                "version = 2\nroot = {:?}\nstate = {:?}\n\
                 disabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n\
                 [grpc]\naddress = {socket:?}\n[ttrpc]\naddress = \"{}.ttrpc\"\n",
                node.folder("root"),
                node.folder("state"),
                socket.display(),
            ),
        );
        let arguments = ["--config", config.to_str().unwrap()];
        let mut daemon = node.daemon("containerd", &arguments, "containerd.log");
        daemon.wait_for("socket", |_| socket.exists().then_some(()));
        Self { _daemon: daemon, node, socket }
    }

    pub(crate) fn ctr(&self, arguments: &[&str]) -> String {
        run(self.node.command("ctr").arg("--address").arg(&self.socket).args(arguments))
    }

    /// Pulls for every platform, with the `hosts.toml` of each registry, and gives the digest that the name got.
    pub(crate) fn pull(&self, hosts: &[(&str, String)], image: &str) -> String {
        for (registry, content) in hosts {
            self.node.file(&format!("hosts/{registry}/hosts.toml"), content);
        }
        self.pull_by(&self.node.folder("hosts"), image)
    }

    /// The same, with the files that are there.
    pub(crate) fn pull_by(&self, hosts: &Path, image: &str) -> String {
        let folder = hosts.to_str().unwrap();
        self.ctr(&[
            "images",
            "pull",
            "--all-platforms",
            "--snapshotter",
            "native",
            "--hosts-dir",
            folder,
            image,
        ]);
        self.digest_of(image)
    }

    /// What a name stands for that it has.
    pub(crate) fn digest_of(&self, image: &str) -> String {
        let listed = self.ctr(&["images", "list", &format!("name=={image}")]);
        let digest = listed.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("no digest in {listed}")).to_owned()
    }

    pub(crate) fn run(&self, image: &str) -> String {
        let group = format!("/{}/ctr", self.node.control_group());
        self.ctr(&["run", "--rm", "--snapshotter", "native", "--cgroup", &group, image, "one"])
    }
}

/// As docs/containerd.md gives it: the mirror first, the registry itself behind it.
pub(crate) fn hosts_toml(server: impl std::fmt::Display, mirror: &str, more: &str) -> String {
    format!(
        "server = \"http://{server}\"\n[host.\"http://{mirror}\"]\n  \
         capabilities = [\"pull\", \"resolve\"]\n{more}"
    )
}

#[test]
fn containerd_pulls_two_upstreams_of_one_name_cold_and_warm_and_runs_them() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let mirror = scene.mirror.address().to_string();
    let hosts = [
        (HUB, hosts_toml(scene.hub.address(), &mirror, "")),
        (QUAY, hosts_toml(scene.quay.address(), &mirror, "")),
    ];
    let pull_all = |scene: &Scene, name: &str| {
        let containerd = Containerd::start(scene, name)?;
        for (registry, image, line) in [
            (HUB, &scene.images.hub, "hello from docker.io\n"),
            (QUAY, &scene.images.quay, "hello from quay.io\n"),
        ] {
            let reference = format!("{registry}/{REPOSITORY}:v1");
            assert_eq!(containerd.pull(&hosts, &reference), image.digest(), "{name}: {reference}");
            if native_architecture().is_some() {
                assert_eq!(containerd.run(&reference), line);
            }
        }
        let reference = format!("{QUAY}/{REPOSITORY}:zstd");
        assert_eq!(containerd.pull(&hosts, &reference), scene.images.zstd.digest(), "{name}: {reference}");
        if native_architecture().is_some() {
            assert_eq!(containerd.run(&reference), "hello from zstd\n");
        }
        Some(())
    };
    let Some(()) = pull_all(&scene, "cold") else { return };
    scene.end_cold();
    pull_all(&scene, "warm");
}

#[test]
fn containerd_pulls_by_either_order_of_path_prefix() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let mirror = scene.mirror.address();
    let nobody = "127.0.0.1:1";
    let pull = |scene: &Scene, name: &str, hosts: String| {
        let containerd = Containerd::start(scene, name)?;
        let reference = format!("{QUAY}/{REPOSITORY}:v1");
        assert_eq!(containerd.pull(&[(QUAY, hosts)], &reference), scene.images.quay.digest(), "{name}");
        Some(())
    };
    let override_path = "  override_path = true\n";
    let inside = hosts_toml(nobody, &format!("{mirror}/v2/{QUAY}"), override_path);
    let Some(()) = pull(&scene, "inside", inside.clone()) else { return };
    pull(&scene, "before", hosts_toml(nobody, &format!("{mirror}/{QUAY}"), ""));
    scene.end_cold();
    pull(&scene, "inside-warm", inside);
}

#[test]
fn four_containerds_at_once_ask_upstream_for_every_blob_once() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let mirror = scene.mirror.address().to_string();
    let hosts = [(HUB, hosts_toml(scene.hub.address(), &mirror, ""))];
    let reference = format!("{HUB}/{REPOSITORY}:v1");
    let mut nodes = Vec::new();
    for number in 0..4 {
        let Some(node) = Containerd::start(&scene, &format!("node-{number}")) else { return };
        nodes.push(node);
    }
    std::thread::scope(|scope| {
        let pulls: Vec<_> = nodes.iter().map(|node| scope.spawn(|| node.pull(&hosts, &reference))).collect();
        for pull in pulls {
            assert_eq!(pull.join().unwrap(), scene.images.hub.digest());
        }
    });
    scene.end_cold();
}
