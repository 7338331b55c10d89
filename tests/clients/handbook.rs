//! `docs/air-gapped.md`, followed to the letter: every command of the page is run, in its order, on the side that its
//! heading says. A registry, the mirror of a connected side, that of a site, and a node with podman and skopeo are there;
//! names that the page takes from the environment are set.
//!
//! What is not run is in the list of that (`tests/docs/not-run.toml`); what it would do is done here by hand.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http;
use crate::image::{self, Flavour, Image, Packing};
use crate::node::Node;
use crate::pages::{Block, NotRun, Part, Suite, Typed, pages_of, parts};
use crate::podman::{self, POLICY, registries_conf};
use crate::process::{Process, command, find, free_port, have, outcome};
use crate::registry::Registry;
use crate::scene::{HUB, QUAY};
use crate::skopeo;

/// Where a command is typed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Side {
    Connected,
    Site,
    Node,
}

impl Side {
    fn of(block: &Block) -> Self {
        let begins = |words| block.heading.starts_with(words);
        match () {
            () if begins("On the connected side") => Self::Connected,
            () if begins("On the site") => Self::Site,
            () if begins("On a node") => Self::Node,
            () => panic!("line {}: {:?} does not say where this is typed", block.line, block.heading),
        }
    }
}

/// See the module.
struct World {
    hub: Registry,
    quay: Registry,
    nginx: Image,
    /// Two versions.
    app: [Image; 2],
    notes: Image,
    signature: Image,
    site: Site,
    node: Node,
    /// Whoever would ask a registry from the site would come here first.
    proxy: TcpListener,
    folder: TempDir,
}

/// The mirror of the site, while it runs.
struct Site {
    mirror: Option<Process>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl World {
    fn set() -> Option<Self> {
        let needed = [
            ("setpriv", "util-linux"),
            ("docker-registry", "docker-registry"),
            ("bash", "bash"),
            ("curl", "curl"),
        ];
        if !have(&needed) || !have(&podman::NEEDED) || !have(&skopeo::NEEDED) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("roadstead-handbook-").tempdir().unwrap();
        let at = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let node = Node::start(&at("node"))?;
        let nginx = image::multi_arch("the first", Flavour::Docker, Packing::Gzip);
        let app = ["1.0", "1.1"].map(|version| image::multi_arch(version, Flavour::Oci, Packing::Gzip));
        let notes = image::artifact_about(&app[0].top, "seen and found good");
        let signature = image::signature_of(&app[0].top);
        let mut hub = Registry::start(&at("hub"));
        hub.push("library/nginx", "1.27", &nginx);
        let mut quay = Registry::start(&at("quay"));
        quay.push("team/app", "1.0", &app[0]);
        let by_digest = app[0].digest().replace(':', "-");
        quay.push("team/app", &by_digest, &image::list_of(&[&notes]));
        quay.push("team/app", &format!("{by_digest}.sig"), &signature);
        at("carried");
        let upstream = |name: &str, registry: &Registry| {
            format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{}\"]\n", registry.address())
        };
        // What is taken from the page stands in the file of the site; where things are comes from the environment.
        let connected = upstream(HUB, &hub) + "default = true\n" + &upstream(QUAY, &quay);
        std::fs::write(at("connected").join("roadstead.toml"), connected).unwrap();
        let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
        proxy.set_nonblocking(true).unwrap();
        let nowhere = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let site = Site { mirror: None, address: nowhere(1), admin: nowhere(2) };
        at("site");
        Some(Self { hub, quay, nginx, app, notes, signature, site, node, proxy, folder })
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What is set in the environment of a side.
    fn environment(&self, side: Side) -> Vec<(&'static str, String)> {
        let Site { address, admin, .. } = self.site;
        let file = |folder: &str, name: &str| self.at(folder).join(name).display().to_string();
        let carried = ("CARRIED", self.at("carried").display().to_string());
        match side {
            Side::Connected => vec![
                carried,
                ("ROADSTEAD_CONFIG", file("connected", "roadstead.toml")),
                ("ROADSTEAD_STORE__PATH", file("connected", "data")),
                ("ROADSTEAD_STORE__MAX_BYTES", "1GiB".to_owned()),
                // Nobody listens: no mirror runs on this side.
                ("ROADSTEAD_ADMIN__LISTEN", "127.0.0.1:1".to_owned()),
            ],
            Side::Site => vec![
                carried,
                ("MIRROR", address.to_string()),
                ("ADMIN", admin.to_string()),
                ("ROADSTEAD_CONFIG", file("site", "roadstead.toml")),
                ("ROADSTEAD_STORE__PATH", file("site", "data")),
                ("ROADSTEAD_STORE__MAX_BYTES", "1GiB".to_owned()),
                ("ROADSTEAD_SERVER__LISTEN", address.to_string()),
                ("ROADSTEAD_ADMIN__LISTEN", admin.to_string()),
                ("HTTPS_PROXY", format!("http://{}", self.proxy.local_addr().unwrap())),
            ],
            Side::Node => vec![
                ("MIRROR", address.to_string()),
                ("CONTAINERS_CONF", file("node", "containers.conf")),
                ("CONTAINERS_STORAGE_CONF", file("node", "storage.conf")),
            ],
        }
    }

    /// Runs commands of a block as somebody who types them, and gives what they say.
    fn run(&self, block: &Block, script: &str) -> String {
        let side = Side::of(block);
        let script = format!("set -euo pipefail\n{script}\n");
        let mut bash = match side {
            Side::Node => self.node.command("bash"),
            Side::Connected | Side::Site => {
                let home = self.at(if side == Side::Site { "site" } else { "connected" });
                let mut timeout = command("timeout", &home);
                timeout.args(["--kill-after=5", "120"]).arg(find("bash").unwrap());
                timeout
            }
        };
        let path = path_of(&bash);
        bash.envs(self.environment(side)).env("PATH", path).args(["-x", "-c", &script]);
        let output = outcome(&mut bash);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(
            output.status.success(),
            "docs/air-gapped.md, line {}: {:?} ends with {}\n{err}\n{out}",
            block.line,
            side,
            output.status
        );
        eprintln!("line {} of the page, on the side {side:?}:\n{err}{out}", block.line);
        out.into_owned()
    }

    /// What a command that is not run would have done.
    fn stand_in(&mut self, typed: &Typed) {
        match typed.words.as_str() {
            "systemctl start roadstead" => self.start_site(),
            words if words.starts_with("helm ") => {}
            words => panic!("it is not known what stands in for {words:?}"),
        }
    }

    /// Its ports may have been taken by somebody else in between, so a failure is worth another try.
    fn start_site(&mut self) {
        const TRIES: usize = 3;
        let home = self.at("site");
        for attempt in 1.. {
            let port = || SocketAddr::from(([127, 0, 0, 1], free_port()));
            (self.site.address, self.site.admin) = (port(), port());
            let mut serve = command(env!("CARGO_BIN_EXE_roadstead"), &home);
            serve.arg("serve").envs(self.environment(Side::Site));
            let mut process = Process::start(&serve, &self.at("site.log"));
            let deadline = Instant::now() + Duration::from_secs(60);
            // Ready, and the first proof of those that the page asks for is made.
            let is_there = || {
                let metrics = http::request(self.site.admin, "GET", "/metrics", &[], b"");
                let text = metrics.map(|answer| String::from_utf8(answer.body).unwrap()).unwrap_or_default();
                let ended =
                    text.lines().find_map(|line| line.strip_prefix("roadstead_verify_ended_seconds "));
                ended.is_some_and(|ended| ended != "0")
            };
            while !is_there() && !process.has_ended() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(20));
            }
            if is_there() {
                self.site.mirror = Some(process);
                break;
            }
            assert!(attempt < TRIES, "no mirror on the site; it said:\n{}", process.said());
        }
        self.point_node();
    }

    /// As docs/podman.md tells.
    fn point_node(&self) {
        let folder = |name: &str| self.node.folder(name);
        let runtime = if find("crun").is_some() { "crun" } else { "runc" };
        let containers = format!(
            "[engine]\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\nlock_type = \"file\"\n\
             runtime = \"{runtime}\"\ntmp_dir = {:?}\n",
            folder("tmp")
        );
        self.node.file("containers.conf", &containers);
        let (graph, run) = (folder("graph"), folder("run"));
        let storage = format!("[storage]\ndriver = \"vfs\"\ngraphroot = {graph:?}\nrunroot = {run:?}\n");
        self.node.file("storage.conf", &storage);
        let registries = self.node.file("registries.conf", &registries_conf(self.site.address));
        let policy = self.node.file("policy.json", POLICY);
        let mut shell = self.node.command("sh");
        let (registries, policy) = (registries.display(), policy.display());
        // The node's own, and nobody else's.
        let script = format!("mkdir -p /etc/containers && cp {registries} {policy} /etc/containers/");
        assert!(outcome(shell.args(["-c", &script])).status.success());
    }

    /// What the site answers.
    fn ask(&self, target: &str) -> http::Answer {
        http::request(self.site.address, "GET", target, &[], b"").expect("an answer")
    }
}

/// The path of a command, with the program under test in front.
fn path_of(command: &Command) -> String {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_roadstead"));
    let paths = command.get_envs().filter(|(key, _)| *key == "PATH").filter_map(|(_, value)| value);
    let before = paths.map(|value| value.to_string_lossy().into_owned()).next().unwrap_or_default();
    format!("{}:{before}", program.parent().unwrap().display())
}

#[test]
fn the_page_for_an_air_gapped_site_is_run_command_by_command() {
    let Some(mut world) = World::set() else { return };
    let page = pages_of(Suite::AirGapped).remove(0);
    let not_run = NotRun::read();
    let configuration = page.blocks.iter().find(|block| block.language == "toml").expect("a configuration");
    std::fs::write(world.at("site").join("roadstead.toml"), &configuration.text).unwrap();
    let (mut said, mut run, mut is_next) = (String::new(), 0, false);
    for block in page.blocks.iter().filter(|block| block.language == "sh") {
        if !is_next && block.heading.ends_with("the next version") {
            is_next = true;
            let [_, next] = world.app.clone();
            world.quay.push("team/app", "1.1", &next);
        }
        for part in parts(&page, block, &not_run) {
            match part {
                Part::Run(script) => {
                    said += &world.run(block, &script);
                    run += 1;
                }
                Part::NotRun(typed) => world.stand_in(&typed),
            }
        }
    }
    assert!(run >= 12 && is_next, "only {run} blocks were run: was the page read?");
    let has = |words: &str| assert!(said.contains(words), "{words:?} is not in\n{said}");
    has("roadstead_verify_incomplete 0");
    has(&world.notes.top.blob.digest);

    // The second bundle is what the new layers take, for two machines, and the manifests.
    let size = |name: &str| std::fs::metadata(world.at("carried").join(name)).unwrap().len();
    let new = world.app[1]
        .blobs
        .iter()
        .filter(|blob| !world.app[0].blobs.iter().any(|old| old.digest == blob.digest));
    let new: usize = new.map(|blob| blob.bytes.len()).sum();
    let most = new as u64 + 64 * 1024;
    assert!(size("site-2.tar.zst") < most, "{} bytes, {most} would do", size("site-2.tar.zst"));

    // What the page has left: all of the new version, what of the first is attached to it gone with it.
    for (repository, tag, image) in
        [("docker.io/library/nginx", "1.27", &world.nginx), ("quay.io/team/app", "1.1", &world.app[1])]
    {
        for reference in [tag, image.digest()] {
            let answer = world.ask(&format!("/v2/{repository}/manifests/{reference}"));
            assert_eq!((answer.status, answer.body), (200, image.top.blob.bytes.clone()), "{repository}");
        }
        for blob in &image.blobs {
            let answer = world.ask(&format!("/v2/{repository}/blobs/{}", blob.digest));
            assert!(answer.status == 200 && answer.body == blob.bytes, "{repository}: {}", blob.digest);
        }
    }
    for gone in ["1.0", world.app[0].digest(), world.signature.digest(), world.notes.digest()] {
        assert_eq!(world.ask(&format!("/v2/quay.io/team/app/manifests/{gone}")).status, 503, "{gone}");
    }
    assert!(world.proxy.accept().is_err(), "the site has asked a registry");
    for registry in [&mut world.hub, &mut world.quay] {
        registry.stop();
        assert!(registry.accesses().iter().all(|access| access.agent.starts_with("roadstead/")));
    }
}
