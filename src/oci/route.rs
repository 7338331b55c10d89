//! Which call of the distribution API a path is. Parsed once, here; nobody looks at the path again.
//!
//! A path is cut at its slashes first and each piece is decoded by itself, so that no escape can make a slash, and each
//! decoded piece has to keep to the grammar of what it stands for, so that `..`, empty pieces, escapes of escapes and
//! all else that is odd end here. Since a repository may have a component called `manifests` or `blobs`, calls are told
//! by the end of the path: the last keyword decides.
//!
//! A name is handed on with what may be the path name of an upstream in front (`/v2/docker.io/library/nginx/...`), which
//! may have a port and so be no component; [`Namespaces`](super::Namespaces) says whether it is one.

use std::borrow::Cow;
use std::fmt;

use percent_encoding::percent_decode_str;

use super::code::Code;
use super::digest::{Digest, DigestError};
use super::name::{MAX_AUTHORITY, MAX_NAME, NameError, TagError, is_component, is_path_name, quoted};
use super::reference::{Reference, ReferenceError};

/// A path of the distribution API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The component in front of `/v2`: the path name of an upstream.
    pub before: Option<String>,
    /// What is asked for.
    pub call: Call,
}

/// A call of the distribution API. A `name` may begin with the path name of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// `/v2/`, or `/v2`: is there a registry?
    Ping,
    /// `/v2/_catalog`: which repositories are there?
    Catalog,
    /// `/v2/<name>/manifests/<reference>`
    Manifest {
        /// Path name and repository.
        name: String,
        /// Which manifest.
        reference: Reference,
    },
    /// `/v2/<name>/blobs/<digest>`
    Blob {
        /// Path name and repository.
        name: String,
        /// Which blob.
        digest: Digest,
    },
    /// `/v2/<name>/tags/list`
    Tags {
        /// Path name and repository.
        name: String,
    },
    /// `/v2/<name>/referrers/<digest>`
    Referrers {
        /// Path name and repository.
        name: String,
        /// The subject.
        digest: Digest,
    },
    /// `/v2/<name>/blobs/uploads/...`: part of a push.
    Upload {
        /// Path name and repository.
        name: String,
    },
}

/// Why a path or a query is no call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// Not a path of the API.
    NotFound,
    /// The repository's name breaks the grammar.
    NameInvalid(NameError),
    /// The digest breaks the grammar, or cannot be verified here.
    DigestInvalid(DigestError),
    /// The tag breaks the grammar.
    TagInvalid(TagError),
    /// `ns` is given twice, empty, or cannot be the name of a registry; quoted.
    NamespaceInvalid(String),
    /// `n` is not a number of results; quoted.
    PageInvalid(String),
}

impl Route {
    /// Parses the path of a request as it came over the wire, without the query.
    pub fn parse(path: &str) -> Result<Self, RouteError> {
        let path = path.strip_prefix('/').ok_or(RouteError::NotFound)?;
        let pieces: Vec<_> = path.split('/').map(decoded).collect();
        let pieces: Vec<_> = pieces.iter().map(AsRef::as_ref).collect();
        match pieces.as_slice() {
            ["v2", rest @ ..] => Ok(Self { before: None, call: call(rest)? }),
            [before, "v2", rest @ ..] if is_path_name(before) => {
                Ok(Self { before: Some((*before).to_owned()), call: call(rest)? })
            }
            _ => Err(RouteError::NotFound),
        }
    }
}

impl Call {
    /// The name that is asked under, with what may be a path name in front; none where a call has none.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Ping | Self::Catalog => None,
            Self::Manifest { name, .. }
            | Self::Blob { name, .. }
            | Self::Tags { name }
            | Self::Referrers { name, .. }
            | Self::Upload { name } => Some(name),
        }
    }
}

impl Call {
    /// The path of what is asked for behind its repository's; none where a call is about no object.
    pub fn object(&self) -> Option<String> {
        match self {
            Self::Ping | Self::Catalog | Self::Upload { .. } => None,
            Self::Manifest { reference, .. } => Some(format!("manifests/{reference}")),
            Self::Blob { digest, .. } => Some(format!("blobs/{digest}")),
            Self::Tags { .. } => Some("tags/list".to_owned()),
            Self::Referrers { digest, .. } => Some(format!("referrers/{digest}")),
        }
    }
}

impl RouteError {
    /// The code that says so to the client.
    pub fn code(&self) -> Code {
        match self {
            Self::NotFound => Code::NameUnknown,
            Self::NameInvalid(_) | Self::NamespaceInvalid(_) => Code::NameInvalid,
            Self::DigestInvalid(_) => Code::DigestInvalid,
            Self::TagInvalid(_) => Code::TagInvalid,
            Self::PageInvalid(_) => Code::PaginationNumberInvalid,
        }
    }
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("this is not a path of the distribution API"),
            Self::NameInvalid(error) => error.fmt(f),
            Self::DigestInvalid(error) => error.fmt(f),
            Self::TagInvalid(error) => error.fmt(f),
            Self::NamespaceInvalid(ns) => {
                write!(f, "{ns} is not a registry for ?ns=: give the name of one, once, such as docker.io")
            }
            Self::PageInvalid(n) => write!(f, "{n} is not a number of results for ?n="),
        }
    }
}

impl std::error::Error for RouteError {}

impl From<DigestError> for RouteError {
    fn from(error: DigestError) -> Self {
        Self::DigestInvalid(error)
    }
}

impl From<ReferenceError> for RouteError {
    fn from(error: ReferenceError) -> Self {
        match error {
            ReferenceError::Tag(error) => Self::TagInvalid(error),
            ReferenceError::Digest(error) => Self::DigestInvalid(error),
        }
    }
}

/// The call that the pieces after `/v2/` are.
fn call(pieces: &[&str]) -> Result<Call, RouteError> {
    match pieces {
        [] | [""] => Ok(Call::Ping),
        ["_catalog"] => Ok(Call::Catalog),
        [before @ .., "tags", "list"] => Ok(Call::Tags { name: name(before)? }),
        [before @ .., "blobs", "uploads"] => Ok(Call::Upload { name: name(before)? }),
        [before @ .., "manifests", reference] => Ok(Call::Manifest {
            name: name(before)?,
            reference: reference.parse().map_err(RouteError::from)?,
        }),
        [before @ .., "blobs", digest] => Ok(Call::Blob { name: name(before)?, digest: digest.parse()? }),
        [before @ .., "referrers", digest] => {
            Ok(Call::Referrers { name: name(before)?, digest: digest.parse()? })
        }
        _ => match pieces.windows(2).rposition(|pair| pair == ["blobs", "uploads"]) {
            Some(at) => Ok(Call::Upload { name: name(&pieces[..at])? }),
            // No call; told apart from a mere unknown path is what is no way to name anything.
            None if pieces.iter().any(|piece| is_odd(piece)) => Err(invalid(pieces)),
            None => Err(RouteError::NotFound),
        },
    }
}

fn name(pieces: &[&str]) -> Result<String, RouteError> {
    let (first, rest) = pieces.split_first().ok_or_else(|| invalid(pieces))?;
    let name = pieces.join("/");
    // What is left when the path name is taken off is measured exactly where it is taken off.
    let short = name.len() <= MAX_AUTHORITY + 1 + MAX_NAME;
    if short && is_path_name(first) && rest.iter().all(|piece| is_component(piece)) {
        Ok(name)
    } else {
        Err(invalid(pieces))
    }
}

fn invalid(pieces: &[&str]) -> RouteError {
    RouteError::NameInvalid(NameError::new(&pieces.join("/")))
}

/// Whether no path of a registry has such a piece, extensions of the API included.
fn is_odd(piece: &str) -> bool {
    let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':');
    matches!(piece, "" | "." | "..") || !piece.bytes().all(usual)
}

/// What does not decode stays as it is, and its `%` breaks every grammar.
fn decoded(piece: &str) -> Cow<'_, str> {
    percent_decode_str(piece).decode_utf8().unwrap_or(Cow::Borrowed(piece))
}

/// What a query says of a registry, as it may stand in a message.
pub(super) fn bad_namespace(ns: &str) -> RouteError {
    RouteError::NamespaceInvalid(quoted(ns))
}

#[cfg(test)]
mod tests;
