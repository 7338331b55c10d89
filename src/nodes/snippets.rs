//! The words of each client's configuration.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::edit::{Content, MARK};
use super::{Client, Facts, Login, Registry, Wanted};

/// What the papers of a client are called: whom it believes, the key and the certificate that it shows.
pub(super) const PAPERS: [&str; 3] = ["roadstead-ca.crt", "roadstead-client.key", "roadstead-client.crt"];

/// The same in a directory of the mirror's, by the names that the libraries of docker and podman look for.
pub(super) const PAPERS_OF_HOST: [&str; 3] = ["roadstead.crt", "roadstead.key", "roadstead.cert"];

/// Where they are.
struct Papers {
    ca: String,
    certificate: String,
    key: String,
}

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
    let papers = Papers::in_home(HOME);
    let url = facts.url();
    // A node whose mirror is gone without a word does not wait for it long; older ones do not know the key.
    let mut block =
        format!("[host.{url:?}]\n  capabilities = [\"pull\", \"resolve\"]\n  dial_timeout = \"2s\"\n");
    if facts.ca.is_some() {
        block.push_str(&format!("  ca = {:?}\n", papers.ca));
    }
    if facts.shown.is_some() {
        block.push_str(&format!("  client = [[{:?}, {:?}]]\n", papers.certificate, papers.key));
    }
    if let Some(Login { user, password }) = &facts.login {
        let basic = STANDARD.encode(format!("{user}:{password}"));
        block.push_str(&format!("  [host.{url:?}.header]\n    authorization = \"Basic {basic}\"\n"));
    }
    let of = |registry: &Registry| {
        let top = format!("server = {:?}\n", registry.server);
        Wanted {
            path: format!("{HOME}/{}/hosts.toml", registry.name).into(),
            content: Content::FirstTable { block: block.clone(), top },
            secret: facts.login.is_some(),
        }
    };
    papers.before(facts, facts.upstreams.iter().map(of).collect())
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
        secret: false,
    };
    Papers::of_host("/etc/containers", &facts.authority).before(facts, vec![file])
}

/// It asks mirrors for docker.io alone.
fn docker(facts: &Facts) -> Vec<Wanted> {
    let mut lists = vec![("registry-mirrors", facts.url())];
    if !facts.tls {
        lists.push(("insecure-registries", facts.authority.clone()));
    }
    let content = Content::JsonLists(lists);
    let file = Wanted { path: "/etc/docker/daemon.json".into(), content, secret: false };
    Papers::of_host("/etc/docker", &facts.authority).before(facts, vec![file])
}

fn rancher(facts: &Facts, home: &str) -> Vec<Wanted> {
    let papers = Papers::in_home(home);
    let mut text = format!("{MARK}\nmirrors:\n");
    for registry in &facts.upstreams {
        text.push_str(&format!("  {:?}:\n    endpoint: [{:?}]\n", registry.name, facts.url()));
    }
    if facts.ca.is_some() || facts.shown.is_some() || facts.login.is_some() {
        text.push_str(&format!("configs:\n  {:?}:\n", facts.authority));
    }
    if let Some(Login { user, password }) = &facts.login {
        // What JSON quotes YAML takes.
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        text.push_str(&format!("    auth: {{username: {}, password: {}}}\n", quoted(user), quoted(password)));
    }
    let mut tls = Vec::new();
    if facts.ca.is_some() {
        tls.push(format!("ca_file: {:?}", papers.ca));
    }
    if facts.shown.is_some() {
        tls.push(format!("cert_file: {:?}, key_file: {:?}", papers.certificate, papers.key));
    }
    if !tls.is_empty() {
        text.push_str(&format!("    tls: {{{}}}\n", tls.join(", ")));
    }
    let file = Wanted {
        path: format!("{home}/registries.yaml").into(),
        content: Content::Whole(text),
        secret: facts.login.is_some(),
    };
    papers.before(facts, vec![file])
}

fn buildkit(facts: &Facts) -> Vec<Wanted> {
    const HOME: &str = "/etc/buildkit";
    let papers = Papers::in_home(HOME);
    let mut block = String::new();
    for registry in &facts.upstreams {
        block.push_str(&format!("[registry.{:?}]\n  mirrors = [{:?}]\n", registry.name, facts.authority));
    }
    if !facts.tls {
        block.push_str(&format!("[registry.{:?}]\n  http = true\n", facts.authority));
    } else if facts.ca.is_some() || facts.shown.is_some() {
        block.push_str(&format!("[registry.{:?}]\n", facts.authority));
    }
    if facts.ca.is_some() {
        block.push_str(&format!("  ca = [{:?}]\n", papers.ca));
    }
    if facts.shown.is_some() {
        block.push_str(&format!(
            "  [[registry.{:?}.keypair]]\n    key = {:?}\n    cert = {:?}\n",
            facts.authority, papers.key, papers.certificate
        ));
    }
    let path = PathBuf::from(format!("{HOME}/buildkitd.toml"));
    papers.before(facts, vec![Wanted { path, content: Content::LastTables(block), secret: false }])
}

impl Papers {
    fn in_home(home: &str) -> Self {
        let [ca, key, certificate] = PAPERS.map(|name| format!("{home}/{name}"));
        Self { ca, certificate, key }
    }

    fn of_host(home: &str, host: &str) -> Self {
        let [ca, key, certificate] = PAPERS_OF_HOST.map(|name| format!("{home}/certs.d/{host}/{name}"));
        Self { ca, certificate, key }
    }

    /// With them first: what names them is of no use before they are there.
    fn before(&self, facts: &Facts, files: Vec<Wanted>) -> Vec<Wanted> {
        // What reads PEM leaves out what stands before it.
        let paper = |path: &str, pem: &str, secret| Wanted {
            path: path.into(),
            content: Content::Whole(format!("{MARK}\n{pem}")),
            secret,
        };
        let mut all: Vec<_> = facts.ca.iter().map(|ca| paper(&self.ca, ca, false)).collect();
        if let Some(shown) = &facts.shown {
            all.push(paper(&self.key, &shown.key, true));
            all.push(paper(&self.certificate, &shown.certificate, false));
        }
        all.extend(files);
        all
    }
}
