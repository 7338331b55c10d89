//! The words of each client's configuration.

use std::path::PathBuf;

use super::edit::{Content, MARK};
use super::{Client, Facts, Registry, Wanted};

/// The files that a client needs for these facts.
#[must_use]
pub fn wanted(client: Client, facts: &Facts) -> Vec<Wanted> {
    match client {
        Client::Containerd => containerd(facts),
        Client::CriO | Client::Podman => containers(facts),
        Client::Docker => docker(facts),
        Client::K3s => rancher(facts, "/etc/rancher/k3s"),
        Client::Rke2 => rancher(facts, "/etc/rancher/rke2"),
        Client::Buildkit => buildkit(facts),
    }
}

/// A table for the mirror in the `hosts.toml` of each registry, before whatever else is there; containerd goes through
/// them in their order, and to the registry itself at the end.
fn containerd(facts: &Facts) -> Vec<Wanted> {
    const HOME: &str = "/etc/containerd/certs.d";
    let ca_path = format!("{HOME}/roadstead-ca.crt");
    let trusts = if facts.ca.is_some() { format!("  ca = {ca_path:?}\n") } else { String::new() };
    let of = |registry: &Registry| {
        // A node whose mirror is gone without a word does not wait for it long; older ones do not know the key.
        let block = format!(
            "[host.{:?}]\n  capabilities = [\"pull\", \"resolve\"]\n  dial_timeout = \"2s\"\n{trusts}",
            facts.url()
        );
        let top = format!("server = {:?}\n", registry.server);
        Wanted {
            path: format!("{HOME}/{}/hosts.toml", registry.name).into(),
            content: Content::FirstTable { block, top },
        }
    };
    with_ca(facts, ca_path.into(), facts.upstreams.iter().map(of).collect())
}

/// A file of our own. They send no `ns`, so that the mirror's location carries the registry's name.
fn containers(facts: &Facts) -> Vec<Wanted> {
    let mut text = format!("{MARK}\n");
    for registry in &facts.upstreams {
        let location = match (&registry.path, registry.default) {
            (Some(path), _) => format!("{}/{path}", facts.authority),
            (None, true) => facts.authority.clone(),
            // There is no way to it that such a client knows.
            (None, false) => continue,
        };
        text.push_str(&format!(
            "\n[[registry]]\nlocation = {:?}\n\n[[registry.mirror]]\nlocation = {location:?}\n",
            registry.name
        ));
        if !facts.tls {
            text.push_str("insecure = true\n");
        }
    }
    let file = Wanted {
        path: "/etc/containers/registries.conf.d/50-roadstead.conf".into(),
        content: Content::Whole(text),
    };
    with_ca(facts, format!("/etc/containers/certs.d/{}/roadstead.crt", facts.authority).into(), vec![file])
}

/// It asks mirrors for docker.io alone.
fn docker(facts: &Facts) -> Vec<Wanted> {
    let mut lists = vec![("registry-mirrors", facts.url())];
    if !facts.tls {
        lists.push(("insecure-registries", facts.authority.clone()));
    }
    let content = Content::JsonLists(lists);
    let file = Wanted { path: "/etc/docker/daemon.json".into(), content };
    with_ca(facts, format!("/etc/docker/certs.d/{}/roadstead.crt", facts.authority).into(), vec![file])
}

fn rancher(facts: &Facts, home: &str) -> Vec<Wanted> {
    let ca_path = format!("{home}/roadstead-ca.crt");
    let mut text = format!("{MARK}\nmirrors:\n");
    for registry in &facts.upstreams {
        text.push_str(&format!("  {:?}:\n    endpoint: [{:?}]\n", registry.name, facts.url()));
    }
    if facts.ca.is_some() {
        text.push_str(&format!("configs:\n  {:?}:\n    tls: {{ca_file: {ca_path:?}}}\n", facts.authority));
    }
    let file = Wanted { path: format!("{home}/registries.yaml").into(), content: Content::Whole(text) };
    with_ca(facts, ca_path.into(), vec![file])
}

fn buildkit(facts: &Facts) -> Vec<Wanted> {
    const CA: &str = "/etc/buildkit/roadstead-ca.crt";
    let mut block = String::new();
    for registry in &facts.upstreams {
        block.push_str(&format!("[registry.{:?}]\n  mirrors = [{:?}]\n", registry.name, facts.authority));
    }
    if !facts.tls {
        block.push_str(&format!("[registry.{:?}]\n  http = true\n", facts.authority));
    } else if facts.ca.is_some() {
        block.push_str(&format!("[registry.{:?}]\n  ca = [{CA:?}]\n", facts.authority));
    }
    let file = Wanted { path: "/etc/buildkit/buildkitd.toml".into(), content: Content::LastTables(block) };
    with_ca(facts, CA.into(), vec![file])
}

/// The authority first: what names it is of no use before it is there.
fn with_ca(facts: &Facts, path: PathBuf, mut files: Vec<Wanted>) -> Vec<Wanted> {
    if let Some(ca) = &facts.ca {
        // What reads PEM leaves out what stands before it.
        files.insert(0, Wanted { path, content: Content::Whole(format!("{MARK}\n{ca}")) });
    }
    files
}
