//! The machine on which the commands of the task pages are typed: a network of its own, in which the mirror listens where
//! the pages say, three registries stand behind it, and containerd and the docker engine run when a page is about them.
//! It is the machine of the mirror and of its clients at once; to these the mirror is `mirror.example`.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::image::{self, Flavour, Image, Packing};
use crate::node::Node;
use crate::podman::{self, POLICY};
use crate::process::{Process, find, have, outcome};
use crate::registry::Registry;
use crate::scene::{HUB, QUAY};
use crate::{containerd, docker, skopeo};

const GITHUB: &str = "ghcr.io";

/// See the module.
pub(crate) struct Machine {
    /// They end before the node does.
    running: Vec<Process>,
    node: Node,
    _folder: TempDir,
}

/// An image of a registry: its repository, its tag, what is in it.
type Held = (&'static str, &'static str, Image);

impl Machine {
    pub(crate) fn set() -> Option<Self> {
        let needed = [
            ("setpriv", "util-linux"),
            ("ip", "iproute2"),
            ("bash", "bash"),
            ("curl", "curl"),
            ("docker-registry", "docker-registry"),
        ];
        let clients =
            podman::NEEDED.iter().chain(&skopeo::NEEDED).chain(&containerd::NEEDED).chain(&docker::NEEDED);
        if !have(&needed) || !clients.into_iter().all(|needed| have(&[*needed])) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("roadstead-pages-").tempdir().unwrap();
        let node = Node::start_apart(folder.path())?;
        let mut machine = Self { running: Vec::new(), node, _folder: folder };
        let image = |line: &str| image::multi_arch(line, Flavour::Docker, Packing::Gzip);
        let (alpine, app) = (image("alpine"), image("the app"));
        let hub = [
            ("library/alpine", "latest", alpine.clone()),
            ("library/alpine", "3", alpine),
            ("library/nginx", "1.27", image("nginx")),
        ];
        let quay = [("team/app", "1.0", app.clone())];
        let github = [
            ("org/app", "latest", image("latest")),
            ("org/app", "v1.2", app),
            ("org/app", "v1.3", image("v1.3")),
            ("org/app", "nightly-1", image("nightly")),
        ];
        let mut configuration =
            "[server]\nlisten = [\"127.0.0.1:5000\"]\n[store]\npath = \"/run/roadstead/data\"\n\
                                 max_bytes = \"1GiB\"\n"
                .to_owned();
        for (name, held) in [(HUB, hub.as_slice()), (QUAY, &quay), (GITHUB, &github)] {
            let endpoint = machine.hold(name, held);
            configuration += &format!(
                "[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{endpoint}\"]\ndefault = {}\n",
                name == HUB
            );
        }
        machine.file("/etc/roadstead/roadstead.toml", &configuration);
        machine.file("/etc/hosts", "127.0.0.1 localhost mirror.example\n");
        machine.file("/etc/containers/policy.json", POLICY);
        machine.set_up_podman();
        // These are as they are installed.
        machine.file("/etc/docker/daemon.json", "{}");
        machine.must("mkdir -p /etc/containerd /etc/bash_completion.d /usr/local/share/man/man1");
        Some(machine)
    }

    /// Fills a registry, and has it run here, at the address that it gives.
    fn hold(&mut self, name: &str, held: &[Held]) -> String {
        let home = self.node.folder(name);
        // Outside of the machine's network it can be reached to be filled.
        let mut registry = Registry::start(&home);
        for (repository, tag, image) in held {
            registry.push(repository, tag, image);
        }
        registry.stop();
        let configuration = home.join("registry.yml").display().to_string();
        let log = format!("{name}.log");
        let mut process = self.node.daemon("docker-registry", &["serve", &configuration], &log);
        let endpoint = process.wait_for("line that names the port", |process| {
            let said = process.said();
            let (_, rest) = said.split_once("listening on ")?;
            Some(rest.split(['"', ',']).next()?.to_owned())
        });
        self.running.push(process);
        endpoint
    }

    fn set_up_podman(&self) {
        let runtime = if find("crun").is_some() { "crun" } else { "runc" };
        let engine = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
             runtime = \"{runtime}\"\ntmp_dir = {:?}\n",
            self.node.folder("podman-tmp")
        );
        let (graph, run) = (self.node.folder("graph"), self.node.folder("podman-run"));
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph:?}\nrunroot = {run:?}\n");
        self.node.file("containers.conf", &engine);
        self.node.file("storage.conf", &storage);
    }

    /// The mirror, as `roadstead serve` runs with its configuration in the usual place.
    pub(crate) fn start_mirror(&mut self) {
        let program = env!("CARGO_BIN_EXE_roadstead");
        let serve = ["serve", "--config", "/etc/roadstead/roadstead.toml"];
        self.start(program, &serve, "mirror.log", "curl -fsS http://127.0.0.1:5001/readyz");
    }

    /// containerd, with its socket where `ctr` looks for it.
    pub(crate) fn start_containerd(&mut self) {
        let configuration = format!(
            "version = 2\nroot = {:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n",
            self.node.folder("containerd")
        );
        let path = self.node.file("containerd.toml", &configuration).display().to_string();
        self.start("containerd", &["--config", &path], "containerd.log", "ctr version");
    }

    /// The docker engine, with its settings where the pages say.
    pub(crate) fn start_docker(&mut self) {
        let data = format!("--data-root={}", self.node.folder("docker").display());
        let group = format!("--cgroup-parent=/{}", self.node.control_group());
        let arguments = [
            &data,
            &group,
            "--exec-opt=native.cgroupdriver=cgroupfs",
            "--storage-driver=vfs",
            "--bridge=none",
            "--iptables=false",
            "--ip6tables=false",
            "--ip-forward=false",
            "--ip-masq=false",
        ];
        self.start("dockerd", &arguments, "dockerd.log", "docker version");
    }

    fn start(&mut self, program: &str, arguments: &[&str], log: &str, asks: &str) {
        let mut process = self.node.daemon(program, arguments, log);
        let deadline = Instant::now() + Duration::from_secs(60);
        while !self.succeeds(asks) {
            let ended = process.has_ended();
            assert!(!ended && Instant::now() < deadline, "no {program}; it said:\n{}", process.said());
            std::thread::sleep(Duration::from_millis(50));
        }
        self.running.push(process);
    }

    /// Runs a script as somebody who types it, and fails the test where it fails.
    #[track_caller]
    pub(crate) fn run(&self, script: &str) -> String {
        let output = outcome(self.bash(script).arg("-x"));
        let said = [&output.stdout[..], &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{}\n{said}", output.status);
        said
    }

    #[track_caller]
    pub(crate) fn must(&self, script: &str) {
        self.run(script);
    }

    pub(crate) fn succeeds(&self, script: &str) -> bool {
        outcome(&mut self.bash(script)).status.success()
    }

    fn bash(&self, script: &str) -> Command {
        let mut bash = self.node.command_for(300, "bash");
        let program = PathBuf::from(env!("CARGO_BIN_EXE_roadstead"));
        let path = bash.get_envs().find(|(key, _)| *key == "PATH").and_then(|(_, path)| path);
        let path = path.unwrap_or_default().to_string_lossy().into_owned();
        let work = self.node.folder("work");
        let script = format!("set -euo pipefail\ncd {}\n{script}\n", work.display());
        let script = self.node.file("script", &script);
        bash.env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
            .env("ROADSTEAD_CONFIG", "/etc/roadstead/roadstead.toml")
            .env("CONTAINERS_CONF", work.join("../containers.conf"))
            .env("CONTAINERS_STORAGE_CONF", work.join("../storage.conf"))
            // What the machine's own file system is says nothing about a pull.
            .env("CONTAINERD_SNAPSHOTTER", "native");
        bash.arg(script);
        bash
    }

    /// Writes a file of the machine.
    pub(crate) fn file(&self, path: &str, content: &str) {
        let from = self.node.file("content", content);
        self.must(&format!("mkdir -p \"$(dirname {path})\" && cp {} {path}", from.display()));
    }
}
