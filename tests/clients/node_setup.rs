//! A node that is set up by the binary: what it writes, containerd understands.

use std::path::Path;
use std::process::Command;

use crate::containerd::{Containerd, NEEDED};
use crate::process::run;
use crate::scene::{HUB, QUAY, REPOSITORY, Scene};

/// Of somebody else, whose mirror is gone for good.
fn others(server: impl std::fmt::Display) -> String {
    format!(
        "# Theirs.\nserver = \"http://{server}\"\n\n[host.\"http://127.0.0.1:1\"]\n  \
         capabilities = [\"pull\", \"resolve\"]\n"
    )
}

#[test]
fn a_node_that_is_set_up_pulls_through_the_mirror_and_from_upstream_when_the_mirror_is_down() {
    let Some(mut scene) = Scene::set(&NEEDED) else { return };
    let root = scene.subfolder("root");
    let hosts = root.join("etc/containerd/certs.d");
    let theirs = hosts.join(HUB).join("hosts.toml");
    std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    let others = others(scene.hub.address());
    std::fs::write(&theirs, &others).unwrap();
    let upstreams = [(HUB, scene.hub.address()), (QUAY, scene.quay.address())];
    let mirror = scene.mirror.address();
    let node_setup = |more: &[&str]| set_up(&root, mirror, &upstreams, more);
    // Twice is as once.
    node_setup(&[]);
    node_setup(&[]);
    let pull_all = |scene: &Scene, name: &str| {
        let containerd = Containerd::start(scene, name)?;
        for (registry, image) in [(HUB, &scene.images.hub), (QUAY, &scene.images.quay)] {
            let reference = format!("{registry}/{REPOSITORY}:v1");
            assert_eq!(containerd.pull_by(&hosts, &reference), image.digest(), "{name}: {reference}");
        }
        Some(())
    };
    let Some(()) = pull_all(&scene, "through") else { return };
    for registry in [&scene.hub, &scene.quay] {
        let accesses = registry.accesses();
        assert!(!accesses.is_empty() && accesses.iter().all(|access| access.agent.starts_with("roadstead/")));
    }
    scene.mirror.stop();
    pull_all(&scene, "past");
    let past = |access: &crate::registry::Access| !access.agent.starts_with("roadstead/");
    assert!([&scene.hub, &scene.quay].iter().all(|registry| registry.accesses().iter().any(past)));
    node_setup(&["--remove"]);
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), others);
    assert!(!hosts.join(QUAY).exists());
}

fn set_up(
    root: &Path,
    mirror: std::net::SocketAddr,
    upstreams: &[(&str, std::net::SocketAddr)],
    more: &[&str],
) {
    let mut program = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    program
        .env_clear()
        .arg("node-setup")
        .arg("--root")
        .arg(root)
        .args(["--mirror", &format!("http://{mirror}")]);
    for (name, address) in upstreams {
        program.arg(format!("--upstream={name}=http://{address}"));
    }
    run(program.args(more));
}
