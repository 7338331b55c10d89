//! What clients have to be told of a mirror: which files, with what in them, and how that goes in and comes out again.
//!
//! Owns the words of each client's configuration ([`wanted`]), what of a file is ours and what is others' (`edit`), and the
//! order in which files change ([`plan`]). Guarantees that what others wrote stays, that no file is ever half written, and
//! that doing it again, after whatever interruption, comes to the same. Leaves to others where the facts come from.

mod edit;
mod files;
mod snippets;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

pub use edit::{Content, Refused};
pub use files::{Plan, Step, plan, plan_removal};
pub use snippets::wanted;

/// A program that pulls images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// containerd, by `hosts.toml`.
    Containerd,
    /// CRI-O, by `registries.conf.d`.
    CriO,
    /// podman, buildah and skopeo, by the same.
    Podman,
    /// The docker engine, by `daemon.json`.
    Docker,
    /// k3s, by `registries.yaml`.
    K3s,
    /// RKE2, likewise.
    Rke2,
    /// BuildKit, by `buildkitd.toml`.
    Buildkit,
}

/// What there is to tell.
#[derive(Clone, Debug)]
pub struct Facts {
    /// Whether the mirror speaks TLS.
    pub tls: bool,
    /// Where clients reach it: a host, and a port where it has one.
    pub authority: String,
    /// The authority that its certificate is from, in PEM, where clients do not trust it anyway.
    pub ca: Option<String>,
    /// The registries that it mirrors.
    pub upstreams: Vec<Registry>,
}

/// A registry that is mirrored.
#[derive(Clone, Debug)]
pub struct Registry {
    /// What clients call it.
    pub name: String,
    /// What it is called in paths of the mirror, where it is.
    pub path: Option<String>,
    /// Where clients go while the mirror is away.
    pub server: String,
    /// Whether requests that name none mean it.
    pub default: bool,
}

/// A file that a client reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is on the node.
    pub path: PathBuf,
    /// What of it is ours.
    pub content: Content,
}

impl Facts {
    /// `http://mirror.example:5000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}
