//! What clients have to be told of a mirror: which files, with what in them, and how that goes in and comes out again.
//!
//! Owns the words of each client's configuration ([`wanted`]), what of a file is ours and what is others' (`edit`, `json`), and
//! the order in which files change ([`plan`]). Guarantees that what others wrote stays, that no file is ever half written, and
//! that doing it again, after whatever interruption, comes to the same. Leaves to others where the facts come from.

mod edit;
mod files;
mod json;
mod snippets;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

pub use edit::{Content, Refused};
pub use files::{Plan, Rights, Step, plan, plan_removal};
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether the mirror speaks TLS.
    pub tls: bool,
    /// Where clients reach it: a host, and a port where it has one.
    pub authority: String,
    /// The authority that its certificate is from, in PEM, where clients do not trust it anyway.
    pub ca: Option<String>,
    /// The certificate that a client shows, where it is to show one.
    pub shown: Option<Shown>,
    /// What a client logs in with, where it is to.
    pub login: Option<Login>,
    /// The registries that it mirrors.
    pub upstreams: Vec<Registry>,
}

/// A certificate and its key, in PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Shown {
    /// The certificate.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// A user and the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shown").finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A registry that is mirrored.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Whether it is for its owner alone.
    pub secret: bool,
}

impl Client {
    /// Why it cannot log in at a mirror by a file of its configuration; `None` where it can.
    #[must_use]
    pub fn logs_in_by_hand(self) -> Option<&'static str> {
        match self {
            Self::Containerd | Self::K3s | Self::Rke2 => None,
            Self::Podman => {
                Some("podman and skopeo log in by `podman login`, at the host and port of the mirror")
            }
            Self::CriO => {
                Some("CRI-O takes logins from its global_auth_file, which `podman login --authfile` writes")
            }
            Self::Docker => Some(
                "docker does not log in at a mirror of Docker Hub; let it in by its certificate or its network, and \
                 `docker login` where images are pulled by the mirror's own name",
            ),
            Self::Buildkit => {
                Some("BuildKit does not log in at a mirror; let it in by its certificate or its network")
            }
        }
    }
}

impl Facts {
    /// `http://mirror.example:5000`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}
