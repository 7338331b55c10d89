//! The tables of the names of upstreams: built once, and only if no name means two of them.
//!
//! Everything that is wrong is told at once, as values, because an operator who mends a configuration wants the whole
//! list. Names are kept in lower case; what one upstream says twice of itself is no mistake.

use std::collections::HashMap;
use std::fmt;

use super::super::name::{is_authority, is_path_name};
use super::{Namespace, Namespaces};

/// A kind of name that an upstream has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A name or an alias.
    Name,
    /// A path name.
    Path,
    /// A Host header.
    Host,
}

/// A mistake in the names of upstreams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamespaceConflict {
    /// It would mean two upstreams.
    Taken {
        /// What kind of name it is.
        key: Key,
        /// The name.
        text: String,
        /// The name of the upstream that has it already.
        by: String,
        /// The index of the upstream that wants it too.
        index: usize,
    },
    /// It cannot be asked for.
    Illegal {
        /// What kind of name it is.
        key: Key,
        /// The name.
        text: String,
        /// The index of the upstream that has it.
        index: usize,
    },
    /// There is a default already.
    SecondDefault {
        /// The name of the upstream that is it.
        by: String,
        /// The index of the upstream that wants to be it too.
        index: usize,
    },
}

impl Namespaces {
    /// Builds the tables, or says everything that is wrong with them.
    pub fn new(namespaces: &[Namespace]) -> Result<Self, Vec<NamespaceConflict>> {
        let mut wrong = Vec::new();
        let mut enter = |table: &mut HashMap<String, usize>, key, text: &str, index| {
            let text = text.to_ascii_lowercase();
            let legal = if key == Key::Path { is_path_name(&text) } else { is_authority(&text) };
            match table.get(&text) {
                _ if !legal => wrong.push(NamespaceConflict::Illegal { key, text, index }),
                Some(&first) if first != index => {
                    let by = namespaces[first].name.clone();
                    wrong.push(NamespaceConflict::Taken { key, text, by, index });
                }
                _ => {
                    table.insert(text, index);
                }
            }
        };
        let (mut names, mut hosts) = (HashMap::new(), HashMap::new());
        for (index, namespace) in namespaces.iter().enumerate() {
            for name in std::iter::once(&namespace.name).chain(&namespace.aliases) {
                enter(&mut names, Key::Name, name, index);
            }
            for host in &namespace.hosts {
                enter(&mut hosts, Key::Host, host, index);
            }
        }
        let mut paths = names.clone();
        for (index, namespace) in namespaces.iter().enumerate() {
            if let Some(path) = &namespace.path {
                enter(&mut paths, Key::Path, path, index);
            }
        }
        let mut default = None;
        for (index, _) in namespaces.iter().enumerate().filter(|(_, namespace)| namespace.default) {
            match default {
                None => default = Some(index),
                Some(first) => {
                    wrong.push(NamespaceConflict::SecondDefault { by: namespaces[first].name.clone(), index })
                }
            }
        }
        if wrong.is_empty() { Ok(Self { names, paths, hosts, default }) } else { Err(wrong) }
    }
}

impl NamespaceConflict {
    /// The index of the upstream where the mistake is.
    pub fn index(&self) -> usize {
        match self {
            Self::Taken { index, .. } | Self::Illegal { index, .. } | Self::SecondDefault { index, .. } => {
                *index
            }
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::Path => "path name",
            Self::Host => "host",
        })
    }
}

impl fmt::Display for NamespaceConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Taken { key, text, by, .. } => write!(f, "{key} {text:?} already means upstream {by:?}"),
            Self::Illegal { key: Key::Path, text, .. } => {
                write!(
                    f,
                    "{text:?} cannot be a path name: it takes one component of a path, such as \"local\""
                )
            }
            Self::Illegal { key, text, .. } => {
                write!(
                    f,
                    "{text:?} cannot be a {key}: it takes a host, and a port if need be, such as \"ghcr.io\""
                )
            }
            Self::SecondDefault { by, .. } => write!(f, "upstream {by:?} is the default already"),
        }
    }
}

impl std::error::Error for NamespaceConflict {}
