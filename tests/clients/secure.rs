//! Real clients at a mirror that speaks TLS by an authority of its own and gives what it has to whoever shows a certificate or
//! logs in. Each is told of it by `roadstead client-config --write`, in the places of the system, from the mirror's own
//! configuration, and by nothing else.

use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use roadstead::x509::Authority;

use crate::containerd::{self, Containerd};
use crate::docker::{self, Engine};
use crate::image::Image;
use crate::mirror::Mirror;
use crate::node::Node;
use crate::podman::{self, Podman};
use crate::process::{free_port, run};
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};
use crate::skopeo::{self, assert_holds};

const USER: &str = "alice";
const PASSWORD: &str = "in wonderland";

/// docker believes whoever answers at an address of 127.0.0.0/8, or at a name for one: it is told this name.
const NAME: &str = "mirror.test";

/// By what a client is known.
#[derive(Clone, Copy, Debug, PartialEq)]
enum By {
    Certificate,
    Login,
    Nothing,
}

/// A scene whose mirror speaks TLS too.
struct Secure {
    scene: Scene,
    address: SocketAddr,
    folder: PathBuf,
}

impl Secure {
    fn set(needed: &[(&str, &str)]) -> Option<Self> {
        let port = free_port();
        let scene = Scene::set_with(needed, |folder, hub, quay| {
            let upstreams = [(HUB, hub.address(), true), (QUAY, quay.address(), false)];
            let upstreams = upstreams.map(|(name, endpoint, default)| {
                format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{endpoint}\"]\ndefault = {default}\n")
            });
            let authority = Authority::new("a test").unwrap();
            let server = authority.server(&["127.0.0.1".to_owned(), NAME.to_owned()]).unwrap();
            let client = authority.client("node-7").unwrap();
            let hash = bcrypt::hash(PASSWORD, 4).unwrap();
            for (name, content) in [
                ("tls/ca.crt", &authority.certificate),
                ("tls/server.crt", &server.certificate),
                ("tls/server.key", &server.key),
                ("client.crt", &client.certificate),
                ("client.key", &client.key),
                ("login", &format!("{USER}:{PASSWORD}\n")),
                ("users", &format!("{USER}:{hash}\n")),
            ] {
                let file = folder.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, content).unwrap();
            }
            let at = |name: &str| folder.join(name);
            let six = if has_six() { format!(", \"[::1]:{port}\"") } else { String::new() };
            let tls = format!(
                "[tls]\nlisten = [\"127.0.0.1:{port}\"{six}]\ncert = {:?}\nkey = {:?}\nclient_ca = {:?}\n\
                 [access]\nhtpasswd = {:?}\n",
                at("tls/server.crt"),
                at("tls/server.key"),
                at("tls/ca.crt"),
                at("users"),
            );
            Mirror::start_as(folder, &format!("{}{tls}", upstreams.concat()))
        })?;
        let folder = scene.subfolder("mirror");
        Some(Self { address: SocketAddr::from(([127, 0, 0, 1], port)), folder, scene })
    }

    /// A node whose client is told of the mirror.
    fn node(&self, name: &str, client: &str, by: By, more: &[&str]) -> Option<Node> {
        let node = self.scene.node(name)?;
        let mut told = node.command(env!("CARGO_BIN_EXE_roadstead"));
        told.args(["client-config", client, "--write", "--config"])
            .arg(self.scene.mirror.config())
            .args(more);
        let at = |name: &str| self.folder.join(name);
        match by {
            By::Certificate => {
                told.arg("--client-cert").arg(at("client.crt")).arg("--client-key").arg(at("client.key"));
            }
            By::Login if client == "containerd" => {
                told.arg("--login-file").arg(at("login"));
            }
            By::Login | By::Nothing => {}
        }
        run(&mut told);
        Some(node)
    }
}

fn has_six() -> bool {
    TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

#[test]
fn containerd_pulls_by_tls_with_a_certificate_and_with_a_login_cold_and_warm() {
    let Some(mut secure) = Secure::set(&containerd::NEEDED) else { return };
    let start = |by: By| secure.node(&format!("{by:?}"), "containerd", by, &[]).map(Containerd::at);
    let (Some(shows), Some(logs_in)) = (start(By::Certificate), start(By::Login)) else { return };
    let pull = |client: &Containerd, registry: &str, image: &Image| {
        let reference = format!("{registry}/{REPOSITORY}:v1");
        assert_eq!(
            client.pull_by(Path::new("/etc/containerd/certs.d"), &reference),
            image.digest(),
            "{reference}"
        );
    };
    let (hub, quay) = (secure.scene.images.hub.clone(), secure.scene.images.quay.clone());
    pull(&shows, HUB, &hub);
    pull(&logs_in, QUAY, &quay);
    // Nobody has gone past the mirror, and there is nobody left to go to.
    secure.scene.end_cold();
    pull(&shows, QUAY, &quay);
    pull(&logs_in, HUB, &hub);
}

#[test]
fn podman_and_skopeo_pull_by_tls_with_a_certificate_and_with_a_login_cold_and_warm() {
    let needed = [podman::NEEDED.as_slice(), skopeo::NEEDED.as_slice()].concat();
    let Some(mut secure) = Secure::set(&needed) else { return };
    let start = |by: By| secure.node(&format!("{by:?}"), "podman", by, &[]).map(Podman::told);
    let (Some(shows), Some(logs_in)) = (start(By::Certificate), start(By::Login)) else { return };
    let address = secure.address.to_string();
    run(logs_in.podman().args(["login", "--username", USER, "--password", PASSWORD, &address]));
    let pull = |client: &Podman, registry: &str, image: &Image| {
        let reference = format!("{registry}/{REPOSITORY}:v1");
        assert_eq!(client.pull(&reference), image.digest(), "{reference}");
    };
    let copy = |client: &Podman, tag: &str, image: &Image| {
        let (copied, target) = client.skopeo(&[], &format!("{QUAY}/{REPOSITORY}:{tag}"), tag);
        assert!(copied.status.success(), "{copied:?}");
        assert_holds(&target, image);
    };
    let images = &secure.scene.images;
    let (hub, quay) = (images.hub.clone(), images.quay.clone());
    let (zstd, notes) = (images.zstd.clone(), images.notes.clone());
    pull(&shows, HUB, &hub);
    pull(&logs_in, QUAY, &quay);
    copy(&shows, "zstd", &zstd);
    copy(&logs_in, "notes", &notes);
    secure.scene.end_cold();
    pull(&logs_in, HUB, &hub);
    pull(&shows, QUAY, &quay);
    copy(&logs_in, "zstd", &zstd);
    copy(&shows, "notes", &notes);
    // Who shows nothing has nothing, and neither has who shows something wrong.
    let Some(nobody) = secure.node("nobody", "podman", By::Nothing, &[]).map(Podman::told) else { return };
    for (number, shown) in
        [&["--src-no-creds"][..], &["--src-creds", "alice:builder"]].into_iter().enumerate()
    {
        let source = format!("{address}/{QUAY}/{REPOSITORY}:v1");
        let (copied, _) = nobody.skopeo(shown, &source, &format!("copy-{number}"));
        let said = String::from_utf8_lossy(&copied.stderr).into_owned();
        assert!(!copied.status.success() && said.contains("unauthorized"), "{shown:?}: {said}");
    }
}

#[test]
fn the_docker_engine_pulls_by_tls_with_a_certificate_and_by_the_mirrors_own_name_with_a_login() {
    let Some(mut secure) = Secure::set(&docker::NEEDED) else { return };
    // Without IPv6 it believes whoever answers, and shows no certificate.
    let (host, by) = if has_six() { (NAME, By::Certificate) } else { ("127.0.0.1", By::Nothing) };
    let at = format!("{host}:{}", secure.address.port());
    let url = format!("https://{at}");
    let start = |by: By| {
        let node = secure.node(&format!("engine-{by:?}"), "docker", by, &["--mirror", &url])?;
        run(node.command("sh").args(["-c", &format!("echo '::1 {NAME}' >> /etc/hosts")]));
        Some(Engine::told(node, Path::new("/etc/docker/daemon.json")))
    };
    let (Some(shows), Some(logs_in)) = (start(by), start(By::Login)) else { return };
    logs_in.docker(&["login", "--username", USER, "--password", PASSWORD, &at]);
    let (hub, quay) = (secure.scene.images.hub.clone(), secure.scene.images.quay.clone());
    let elsewhere = format!("{at}/{QUAY}/{REPOSITORY}:v1");
    let pull_all = || {
        if by == By::Certificate {
            assert_eq!(shows.pull("app:v1"), hub.digest());
            shows.docker(&["rmi", "app:v1"]);
        }
        assert_eq!(logs_in.pull(&elsewhere), quay.digest());
        logs_in.docker(&["rmi", &elsewhere]);
    };
    pull_all();
    // A mirror of Docker Hub is not shown what its user has logged in with.
    let pulled = logs_in.try_docker(&["pull", "app:v1"]);
    assert!(!pulled.status.success(), "{pulled:?}");
    secure.scene.end_cold();
    pull_all();
}
