//! The docker engine, pointed at the mirror by `registry-mirrors` (which is for docker.io only) and, for other
//! registries, by the mirror's own name with a path prefix.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::node::Node;
use crate::process::{Process, outcome, run};
use crate::program::native_architecture;
use crate::scene::{QUAY, REPOSITORY, Scene};

pub(crate) const NEEDED: [(&str, &str); 4] =
    [("dockerd", "docker.io"), ("docker", "docker.io"), ("containerd", "containerd"), ("runc", "runc")];

/// A docker engine with an empty store, in a node of its own.
pub(crate) struct Engine {
    _daemon: Process,
    node: Node,
    socket: PathBuf,
}

impl Engine {
    pub(crate) fn start(scene: &Scene, name: &str) -> Option<Self> {
        scene.node(name).map(|node| Self::at(node, scene.mirror.address()))
    }

    /// One with its files in this node, which asks this mirror.
    pub(crate) fn at(node: Node, mirror: SocketAddr) -> Self {
        let settings = serde_json::json!({ "registry-mirrors": [format!("http://{mirror}")] });
        let file = node.file("daemon.json", &settings.to_string());
        Self::told(node, &file)
    }

    /// One that is told what to do by this file.
    pub(crate) fn told(node: Node, file: &Path) -> Self {
        let socket = node.folder("run").join("docker.sock");
        let arguments = [
            "--config-file".to_owned(),
            file.display().to_string(),
            format!("--data-root={}", node.folder("data").display()),
            format!("--exec-root={}", node.folder("exec").display()),
            format!("--pidfile={}", node.folder("run").join("docker.pid").display()),
            format!("--host=unix://{}", socket.display()),
            format!("--cgroup-parent=/{}", node.control_group()),
            "--exec-opt=native.cgroupdriver=cgroupfs".to_owned(),
            "--storage-driver=vfs".to_owned(),
            "--bridge=none".to_owned(),
            "--iptables=false".to_owned(),
            "--ip6tables=false".to_owned(),
            "--ip-forward=false".to_owned(),
            "--ip-masq=false".to_owned(),
        ];
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut daemon = node.daemon("dockerd", &arguments, "dockerd.log");
        let engine = |subject: &str| {
            let mut docker = node.command("docker");
            docker.arg("--host").arg(format!("unix://{}", socket.display())).arg(subject);
            docker
        };
        daemon.wait_for("engine", |_| outcome(&mut engine("version")).status.success().then_some(()));
        Self { _daemon: daemon, node, socket }
    }

    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments))
    }

    /// The same, however it ends.
    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Output {
        outcome(&mut self.command(arguments))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut docker = self.node.command("docker");
        docker.arg("--host").arg(format!("unix://{}", self.socket.display())).args(arguments);
        docker
    }

    /// Pulls, and gives the digest by which the engine knows the image.
    pub(crate) fn pull(&self, image: &str) -> String {
        self.docker(&["pull", image]);
        let known = self.docker(&["image", "inspect", "--format", "{{join .RepoDigests \"\\n\"}}", image]);
        let digest = known.trim().split_once('@').map(|(_, digest)| digest);
        digest.unwrap_or_else(|| panic!("no digest in {known}")).to_owned()
    }

    pub(crate) fn run(&self, image: &str) -> String {
        self.docker(&["run", "--rm", "--network", "none", image])
    }
}

#[test]
fn the_docker_engine_pulls_two_upstreams_of_one_name_cold_and_warm_and_runs_them() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let elsewhere = format!("{}/{QUAY}/{REPOSITORY}:v1", scene.mirror.address());
    let pull_all = |scene: &Scene, name: &str| {
        let engine = Engine::start(scene, name)?;
        for (reference, image, line) in [
            ("app:v1", &scene.images.hub, "hello from docker.io\n"),
            (&elsewhere, &scene.images.quay, "hello from quay.io\n"),
        ] {
            assert_eq!(engine.pull(reference), image.digest(), "{name}: {reference}");
            if native_architecture().is_some() {
                assert_eq!(engine.run(reference), line);
            }
        }
        Some(())
    };
    let Some(()) = pull_all(&scene, "cold") else { return };
    scene.end_cold();
    pull_all(&scene, "warm");
}
