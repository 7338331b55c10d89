//! What can go wrong with a store, kept apart only where a caller acts on the difference.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why a store could not be opened; its text is for the operator.
#[derive(Debug)]
pub enum OpenError {
    /// Another process owns the directory.
    Locked {
        /// The directory of the store.
        path: PathBuf,
        /// The owner's process id, where it could be read.
        holder: Option<u32>,
    },
    /// The directory was written by a version of the program that this one does not know.
    Version {
        /// The directory of the store.
        path: PathBuf,
        /// What its VERSION file says.
        found: String,
    },
    /// The file system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
}

/// Why the store could not take or give bytes. The text names no path, because it may reach a client.
#[derive(Debug)]
pub enum StoreError {
    /// Neither the budget nor the disk has room, and nothing more can be evicted.
    NoSpace,
    /// The blob is larger than the store takes at all.
    TooLarge,
    /// The blob is being filled already.
    Busy,
    /// The file system failed.
    Io {
        /// What was being done.
        doing: &'static str,
        /// What the file system said.
        error: io::Error,
    },
}

impl OpenError {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }
}

impl StoreError {
    /// Keeps a full disk apart from a broken one.
    pub(crate) fn io(doing: &'static str) -> impl Fn(io::Error) -> Self {
        move |error| if is_full(&error) { Self::NoSpace } else { Self::Io { doing, error } }
    }
}

/// Whether the disk, or our share of it, is full.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Locked { path, holder } => {
                write!(f, "the store {} is in use by ", path.display())?;
                match holder {
                    Some(pid) => write!(f, "process {pid}")?,
                    None => f.write_str("another process")?,
                }
                f.write_str("; stop it, or give this one a directory of its own")
            }
            Self::Version { path, found } => write!(
                f,
                "the store {} has format {found:?}, but this program knows format {:?}; use the version that wrote it, \
                 or an empty directory",
                path.display(),
                super::lock::VERSION,
            ),
            Self::Io { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSpace => f.write_str("the store has no room left"),
            Self::TooLarge => f.write_str("the blob is larger than the store takes"),
            Self::Busy => f.write_str("the blob is being filled already"),
            Self::Io { doing, error } => write!(f, "the store could not {doing}: {error}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Locked { .. } | Self::Version { .. } => None,
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::NoSpace | Self::TooLarge | Self::Busy => None,
        }
    }
}
