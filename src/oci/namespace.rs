//! Which upstream a request means, and which repository there.
//!
//! A request may say it in up to three ways: by `?ns=`, by a *path name* in front of `/v2` or as the first component
//! after it, and by its Host. The rules, in their order:
//!
//! 1. `ns` picks the upstream by its name or an alias. An unknown one is unknown, whatever else is said.
//! 2. The two places of the path name are one thing. A path name is a configured `path`, name or alias. Before `/v2` there
//!    is nothing else that it could be, so an unknown one is an unknown upstream.
//! 3. What is said twice has to agree. After `ns` or a prefix, a first component that says the same upstream is taken off;
//!    one that says another is a conflict; any other is part of the repository, dots or not.
//! 4. Without `ns`, the path name decides, then Host, with its port or without, then the default upstream. But a first
//!    component that looks like a host, by a dot or a colon, and is not configured, is an unknown upstream: it goes
//!    neither to the default nor to the Host's.
//! 5. A path name has a repository behind it. A name that is nothing but one is invalid if it looks like a host, and
//!    otherwise a repository that happens to be called so: with `path = "nginx"`, `nginx` alone is still an image.
//! 6. On docker.io a repository of one component is in `library/`.
//!
//! Pure lookups in tables that `tables.rs` has checked; nothing here goes anywhere.

use std::collections::HashMap;
use std::fmt;

use super::code::Code;
use super::image::DOCKER;
use super::name::{NameError, Repository, quoted};

mod tables;

pub use tables::{Key, NamespaceConflict};

/// What requests may call one upstream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Namespace {
    /// What clients call it.
    pub name: String,
    /// What else they call it.
    pub aliases: Vec<String>,
    /// What stands for it in paths, beside its name and aliases.
    pub path: Option<String>,
    /// Host headers that mean it, with or without a port.
    pub hosts: Vec<String>,
    /// Whether requests that name no upstream mean it.
    pub default: bool,
}

/// The names of all configured upstreams, none of which means two.
#[derive(Clone, Debug)]
pub struct Namespaces {
    names: HashMap<String, usize>,
    paths: HashMap<String, usize>,
    hosts: HashMap<String, usize>,
    default: Option<usize>,
}

/// What a request means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// The upstream: its index in what [`Namespaces::new`] was given.
    pub index: usize,
    /// The repository there.
    pub repository: Repository,
    /// Whether `ns` said so, which is then answered with `OCI-Namespace`.
    pub by_ns: bool,
}

/// Why a request means no upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectError {
    /// It names an upstream that is not configured; quoted.
    UnknownNamespace(String),
    /// It names two.
    Conflict {
        /// What `ns` or the prefix says, quoted.
        one: String,
        /// What the path says beside it, quoted.
        other: String,
    },
    /// There is no repository in it.
    NameInvalid(NameError),
    /// It names none, and there is no default.
    NoDefault,
}

impl Namespaces {
    /// Which upstream and which repository a request means: its `ns`, the prefix before `/v2`, its Host, and its name
    /// as [`Route`](super::Route) has it.
    pub fn select(
        &self,
        ns: Option<&str>,
        before: Option<&str>,
        host: Option<&str>,
        name: &str,
    ) -> Result<Selected, SelectError> {
        let explicit = self.explicit(ns, before)?;
        let (first, rest) = name.split_once('/').map_or((name, None), |(first, rest)| (first, Some(rest)));
        let after = self.paths.get(first).copied();
        let (index, repository) = match (explicit, after, rest) {
            (_, Some(_), None) if looks_like_host(first) => {
                return Err(SelectError::NameInvalid(NameError::new(name)));
            }
            (Some((index, _)), Some(after), Some(rest)) if index == after => (index, rest),
            (Some((_, said)), Some(_), Some(_)) => {
                return Err(SelectError::Conflict { one: quoted(said), other: quoted(first) });
            }
            (Some((index, _)), _, _) => (index, name),
            (None, Some(index), Some(rest)) => (index, rest),
            (None, _, _) if looks_like_host(first) => {
                return Err(SelectError::UnknownNamespace(quoted(first)));
            }
            (None, _, _) => {
                let by_host = host.and_then(|host| self.by_host(host));
                (by_host.or(self.default).ok_or(SelectError::NoDefault)?, name)
            }
        };
        Ok(Selected { index, repository: self.repository(index, repository)?, by_ns: ns.is_some() })
    }

    /// Which upstream and which repository an image is of. One that names no registry is on docker.io, unless its first
    /// component is the name of an upstream; where docker.io is no upstream, it is where requests go that name none.
    ///
    /// # Errors
    /// Images of upstreams that are not configured.
    pub fn select_image(&self, registry: Option<&str>, name: &str) -> Result<Selected, SelectError> {
        let own = name.split_once('/').filter(|(first, _)| self.names.contains_key(*first));
        let (index, name) = match (registry, own) {
            (Some(registry), _) => {
                let index = self.names.get(&registry.to_ascii_lowercase()).copied();
                (index.ok_or_else(|| SelectError::UnknownNamespace(quoted(registry)))?, name)
            }
            (None, Some((first, rest))) => (self.names[first], rest),
            (None, None) => match self.names.get(DOCKER) {
                Some(&docker) => (docker, name),
                None => return self.select(None, None, None, name),
            },
        };
        Ok(Selected { index, repository: self.repository(index, name)?, by_ns: false })
    }

    /// What an upstream is called, by its index: its name and its aliases, in their order.
    pub fn names_of(&self, index: usize) -> Vec<&str> {
        let mut names: Vec<_> =
            self.names.iter().filter(|(_, of)| **of == index).map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    /// The upstream that requests without a name mean.
    pub fn default_index(&self) -> Option<usize> {
        self.default
    }

    /// A repository of an upstream, by a name that may leave out `library/`.
    fn repository(&self, index: usize, name: &str) -> Result<Repository, SelectError> {
        let repository = if self.names.get(DOCKER) == Some(&index) && !name.contains('/') {
            format!("library/{name}").parse()
        } else {
            name.parse()
        };
        repository.map_err(SelectError::NameInvalid)
    }

    /// Whether a call without a repository names no unknown upstream, and not two.
    pub fn select_ping(&self, before: Option<&str>, ns: Option<&str>) -> Result<(), SelectError> {
        self.explicit(ns, before).map(drop)
    }

    /// The upstream that `ns` or the prefix says, and how it said so.
    fn explicit<'a>(
        &self,
        ns: Option<&'a str>,
        before: Option<&'a str>,
    ) -> Result<Option<(usize, &'a str)>, SelectError> {
        let find = |table: &HashMap<String, usize>, text: &'a str| match table.get(&text.to_ascii_lowercase())
        {
            Some(&index) => Ok((index, text)),
            None => Err(SelectError::UnknownNamespace(quoted(text))),
        };
        let ns = ns.map(|ns| find(&self.names, ns)).transpose()?;
        let before = before.map(|before| find(&self.paths, before)).transpose()?;
        match (ns, before) {
            (Some((one, ns)), Some((other, before))) if one != other => {
                Err(SelectError::Conflict { one: quoted(ns), other: quoted(before) })
            }
            (ns, before) => Ok(ns.or(before)),
        }
    }

    fn by_host(&self, host: &str) -> Option<usize> {
        let host = host.to_ascii_lowercase();
        let bare = match host.rsplit_once(':') {
            Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) => bare,
            _ => &host,
        };
        self.hosts.get(&host).or_else(|| self.hosts.get(bare)).copied()
    }
}

impl SelectError {
    /// The code that says so to the client.
    pub fn code(&self) -> Code {
        match self {
            Self::UnknownNamespace(_) | Self::NoDefault => Code::NameUnknown,
            Self::Conflict { .. } | Self::NameInvalid(_) => Code::NameInvalid,
        }
    }
}

/// As Docker tells a registry from a first component.
fn looks_like_host(component: &str) -> bool {
    component.contains(['.', ':'])
}

impl fmt::Display for SelectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownNamespace(text) => write!(f, "this mirror has no upstream {text}"),
            Self::Conflict { one, other } => write!(f, "the request names two upstreams, {one} and {other}"),
            Self::NameInvalid(error) => error.fmt(f),
            Self::NoDefault => f.write_str(
                "the request names no upstream, and this mirror has no default: use ?ns= or put its name in the path",
            ),
        }
    }
}

impl std::error::Error for SelectError {}

#[cfg(test)]
mod tests;
