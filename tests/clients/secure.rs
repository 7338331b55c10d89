//! Real clients at a mirror that speaks TLS and knows who comes: by a certificate, by a login, by the network.

use std::net::SocketAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roadstead::x509::Authority;

use crate::containerd::{self, Containerd};
use crate::docker::{self, Engine};
use crate::mirror::Mirror;
use crate::podman::{self, POLICY, Podman};
use crate::process::{free_port, outcome, run};
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};
use crate::skopeo::{self, Skopeo, assert_holds};

const LOGIN: &str = "alice:in wonderland";

/// A scene whose mirror speaks TLS too, and whom it gives anything.
struct Secure {
    scene: Scene,
    address: SocketAddr,
    /// `ca.crt`, and a client's `client.cert` and `client.key`, by the names that clients look for.
    certificates: PathBuf,
    /// The authority alone.
    authority: PathBuf,
}

impl Secure {
    /// With these tables of the configuration; without any, whoever shows a certificate or logs in has everything.
    fn set(needed: &[(&str, &str)], more: &str) -> Option<Self> {
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let scene = Scene::set_with(needed, |folder, hub, quay| {
            std::fs::create_dir_all(folder).unwrap();
            let upstreams = [(HUB, hub.address(), true), (QUAY, quay.address(), false)];
            let upstreams = upstreams.map(|(name, endpoint, default)| {
                format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"http://{endpoint}\"]\ndefault = {default}\n")
            });
            let authority = Authority::new("a test").unwrap();
            let server = authority.server(&["127.0.0.1".to_owned()]).unwrap();
            let client = authority.client("node-7").unwrap();
            let hash = bcrypt::hash("in wonderland", 4).unwrap();
            for (name, content) in [
                ("tls.crt", &server.certificate),
                ("tls.key", &server.key),
                ("both/ca.crt", &authority.certificate),
                ("both/client.cert", &client.certificate),
                ("both/client.key", &client.key),
                ("alone/ca.crt", &authority.certificate),
                ("users", &format!("alice:{hash}\n")),
            ] {
                let file = folder.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, content).unwrap();
            }
            let at = |name: &str| folder.join(name);
            let tls = format!(
                "[tls]\nlisten = [\"{address}\"]\ncert = {:?}\nkey = {:?}\nclient_ca = {:?}\n[access]\nhtpasswd = {:?}\n{more}",
                at("tls.crt"),
                at("tls.key"),
                at("both/ca.crt"),
                at("users"),
            );
            Mirror::start_as(folder, &format!("{}{tls}", upstreams.concat()))
        })?;
        let folder = scene.subfolder("mirror");
        Some(Self { address, certificates: folder.join("both"), authority: folder.join("alone"), scene })
    }
}

#[test]
fn containerd_pulls_by_tls_with_a_certificate_and_with_a_login() {
    let Some(secure) = Secure::set(&containerd::NEEDED, "") else { return };
    let Secure { scene, address, certificates, .. } = &secure;
    let basic = STANDARD.encode(LOGIN);
    let ca = certificates.join("ca.crt");
    let (cert, key) = (certificates.join("client.cert"), certificates.join("client.key"));
    let shows = format!("  client = [[{cert:?}, {key:?}]]\n");
    let logs_in = format!("  [host.\"https://{address}\".header]\n    authorization = \"Basic {basic}\"\n");
    for (name, by) in [("certificate", shows), ("login", logs_in)] {
        let Some(containerd) = Containerd::start(scene, name) else { return };
        let hosts = format!(
            "server = \"http://127.0.0.1:1\"\n[host.\"https://{address}\"]\n  \
             capabilities = [\"pull\", \"resolve\"]\n  ca = {ca:?}\n{by}"
        );
        for (registry, image) in [(HUB, &scene.images.hub), (QUAY, &scene.images.quay)] {
            let reference = format!("{registry}/{REPOSITORY}:v1");
            let pulled = containerd.pull(&[(registry, hosts.clone())], &reference);
            assert_eq!(pulled, image.digest(), "{name}: {reference}");
        }
    }
}

#[test]
fn skopeo_pulls_by_tls_with_a_certificate_and_with_a_login_and_not_without() {
    let Some(secure) = Secure::set(&skopeo::NEEDED, "") else { return };
    let Secure { scene, address, certificates, authority } = &secure;
    let skopeo = Skopeo::new(scene);
    for (name, folder, login, pulls) in [
        ("certificate", certificates, None, true),
        ("login", authority, Some(LOGIN), true),
        ("wrong", authority, Some("alice:builder"), false),
        ("nobody", authority, None, false),
    ] {
        let (mut program, home) = skopeo.program(*address, name);
        let target = home.join("copy");
        program.args(["copy", "--all", "--src-cert-dir"]).arg(folder);
        match login {
            Some(login) => program.args(["--src-creds", login]),
            None => program.arg("--src-no-creds"),
        };
        program
            .arg(format!("docker://{address}/{QUAY}/{REPOSITORY}:v1"))
            .arg(format!("dir:{}", target.display()));
        let copied = outcome(&mut program);
        assert_eq!(copied.status.success(), pulls, "{name}: {copied:?}");
        if pulls {
            assert_holds(&target, &scene.images.quay);
        }
    }
}

#[test]
fn podman_pulls_by_tls_with_a_login_and_with_a_certificate() {
    let Some(secure) = Secure::set(&podman::NEEDED, "") else { return };
    let Secure { scene, address, certificates, authority } = &secure;
    for (name, folder, login) in [("login", authority, Some(LOGIN)), ("certificate", certificates, None)] {
        let Some(node) = scene.node(name) else { return };
        let policy = node.file("policy-of-pull.json", POLICY);
        let podman = Podman::at(node, scene.mirror.address());
        let image = format!("{address}/{QUAY}/{REPOSITORY}:v1");
        let mut pull = podman.podman();
        pull.args(["pull", "--signature-policy"]).arg(policy).arg("--cert-dir").arg(folder);
        if let Some(login) = login {
            pull.args(["--creds", login]);
        }
        run(pull.arg(&image));
        let digest = run(podman.podman().args(["image", "inspect", "--format", "{{.Digest}}", &image]));
        assert_eq!(digest.trim(), scene.images.quay.digest(), "{name}");
    }
}

#[test]
fn the_docker_engine_which_can_show_a_mirror_nothing_is_let_in_by_its_network() {
    let rules =
        "[[access.rule]]\naction = \"allow\"\nnetworks = [\"127.0.0.0/8\"]\nupstreams = [\"docker.io\"]\n";
    let Some(secure) = Secure::set(&docker::NEEDED, rules) else { return };
    let Some(node) = secure.scene.node("engine") else { return };
    let engine = Engine::at_url(node, &format!("https://{}", secure.address));
    assert_eq!(engine.pull("app:v1"), secure.scene.images.hub.digest());
    assert!(secure.scene.mirror.metric("roadstead_tls_handshakes_total") > 0, "by TLS");
}
