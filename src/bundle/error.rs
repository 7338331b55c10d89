//! What can go wrong with a bundle. Every text says what, where, and what to do about it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::oci::{Digest, MAX_MANIFEST_BYTES};

use super::naming::NamingError;
use super::side::SideError;

/// Why an export or import did not come to its end.
#[derive(Debug)]
pub enum Error {
    /// The file system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To what.
        path: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// The store, or whatever stands for one, refused.
    Side {
        /// What was being done.
        doing: &'static str,
        /// With what.
        what: String,
        /// What it said.
        error: SideError,
    },
    /// It is nothing that is known.
    UnknownFormat(PathBuf),
    /// Something in the archive is not as it has to be.
    Entry {
        /// The path in the archive.
        entry: String,
        /// What is wrong with it.
        refusal: Refusal,
    },
    /// Names of images that mean nothing here.
    Names(Vec<(String, NamingError)>),
    /// Content that is named and nowhere; with the size that it should have.
    Lacks {
        /// What is missing.
        missing: Vec<(Digest, u64)>,
        /// Whether the bundle was made to need it from an earlier one.
        delta: bool,
    },
    /// Content that is to be exported and not here: what, and of which image.
    Gaps(Vec<(Digest, String)>),
    /// Volumes of a set that were not given.
    Volumes {
        /// The set.
        set: String,
        /// The numbers of those that are missing.
        missing: Vec<u32>,
        /// How many there are.
        of: u32,
    },
    /// A file that is no volume, or one of another set, among volumes.
    StrangeVolume(PathBuf),
    /// What was asked for by this name is not here.
    NotHere(String),
    /// There is something under the name of the bundle, and it is not replaced.
    Exists(PathBuf),
    /// Somebody else is writing it.
    Busy(PathBuf),
    /// Volumes of this size hold nothing.
    VolumeTooSmall(u64),
    /// Nothing is in it.
    Empty(PathBuf),
    /// There is no room for it, whatever were evicted.
    NoRoom {
        /// The bytes that would be written.
        needed: u64,
        /// Those that nothing takes.
        free: u64,
        /// Those that could be evicted.
        evictable: u64,
    },
}

/// What is wrong with an entry of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its path is absolute, or leaves the archive.
    Escapes,
    /// It is a link that leaves the archive; where to.
    LinkEscapes(String),
    /// It is a link, where a file has to be.
    Link,
    /// It is a device, a pipe, or the like.
    Device,
    /// It is stored in pieces with holes.
    Sparse,
    /// There is another one of that path.
    Twice,
    /// There are more entries than this.
    TooMany(usize),
    /// Its name is longer than this.
    LongName(usize),
    /// It is no header of a tar archive.
    Header,
    /// The archive ends inside it.
    Truncated,
    /// It is not there.
    Missing,
    /// It has another size than is said elsewhere.
    Size {
        /// What is said.
        said: u64,
        /// What it has.
        has: u64,
    },
    /// A document that is larger than any is.
    LargeDocument(u64),
    /// All documents together are larger than this.
    LargeDocuments(u64),
    /// A document that cannot be read; what the parser says.
    Document(String),
    /// Its content has another digest.
    Digest {
        /// What it should be.
        expected: Digest,
        /// What it is.
        found: Digest,
    },
    /// It unpacks to more than so many bytes for each packed one.
    Expands(u64),
    /// It cannot be unpacked; what the decoder says.
    Packing(String),
    /// Another version of a layout than is known.
    Version(String),
    /// Manifests name each other deeper than this.
    Deep(usize),
}

impl Error {
    pub(super) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::Io { doing, path, error }
    }

    pub(super) fn side(doing: &'static str, what: impl ToString) -> impl FnOnce(SideError) -> Self {
        move |error| Self::Side { doing, what: what.to_string(), error }
    }

    pub(super) fn entry(entry: impl Into<String>, refusal: Refusal) -> Self {
        Self::Entry { entry: entry.into(), refusal }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, error } => write!(f, "cannot {doing} {}: {error}", path.display()),
            Self::Side { doing, what, error } => write!(f, "cannot {doing} {what}: {error}"),
            Self::UnknownFormat(path) => write!(
                f,
                "{} is no bundle: neither an OCI image layout, nor an archive of docker, ctr, podman or skopeo, nor the \
                 directory of a registry; give the file or directory itself, packed with gzip or zstd or not at all",
                path.display()
            ),
            Self::Entry { entry, refusal } => write!(f, "the archive's {}: {refusal}", shown(entry)),
            Self::Names(names) => {
                f.write_str("names of images that mean nothing here:")?;
                listed(f, names, |f, (name, error)| write!(f, "{}: {error}", shown(name)))
            }
            Self::Lacks { missing, delta } => {
                match delta {
                    true => f.write_str("the bundle needs an earlier one, of which this is not here; import that one first:"),
                    false => f.write_str(
                        "the archive names content that is neither in it nor here; make it anew from a source that is whole:",
                    ),
                }?;
                listed(f, missing, |f, (digest, size)| write!(f, "{digest}, {size} bytes"))
            }
            Self::Gaps(gaps) => {
                f.write_str(
                    "not everything that is asked for is here; pull it first, or ask for the platforms that are:",
                )?;
                listed(f, gaps, |f, (digest, image)| write!(f, "{digest} of {image}"))
            }
            Self::Volumes { set, missing, of } => {
                let numbers: Vec<_> = missing.iter().map(u32::to_string).collect();
                write!(
                    f,
                    "volumes of the set {set} are missing: {} of {of}; put them beside the others, or name them all",
                    numbers.join(", ")
                )
            }
            Self::StrangeVolume(path) => write!(
                f,
                "{} is no volume of the same set as the first that was given; leave it out, or import it by itself",
                path.display()
            ),
            Self::NotHere(name) => {
                write!(
                    f,
                    "nothing that is here is meant by {}; pull it first, or see what is here",
                    shown(name)
                )
            }
            Self::Exists(path) => {
                write!(f, "{} is there already; remove it, or choose another name", path.display())
            }
            Self::Busy(path) => {
                write!(f, "{} is being written by another process; wait for it", path.display())
            }
            Self::VolumeTooSmall(least) => {
                write!(f, "a volume has {least} bytes at least; ask for larger ones")
            }
            Self::Empty(path) => write!(f, "{} holds no image", path.display()),
            Self::NoRoom { needed, free, evictable } => write!(
                f,
                "there is no room for {needed} bytes: {free} are free, and {evictable} could be evicted; raise \
                 store.max_bytes, or remove or unpin what is not needed"
            ),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const AGAIN: &str = "it is not what a tool for images writes; get it anew from whoever made it";
        match self {
            Self::Escapes => write!(f, "the path leaves the archive; {AGAIN}"),
            Self::LinkEscapes(to) => {
                write!(f, "it is a link to {}, outside of the archive; {AGAIN}", shown(to))
            }
            Self::Link => write!(f, "it is a link in the place of a file; {AGAIN}"),
            Self::Device => write!(f, "it is neither a file nor a directory; {AGAIN}"),
            Self::Sparse => {
                f.write_str("it is stored sparsely; pack the archive anew without that (tar: no --sparse)")
            }
            Self::Twice => write!(f, "the archive has two of that path; {AGAIN}"),
            Self::TooMany(most) => write!(f, "the archive has more than {most} entries; import it in parts"),
            Self::LongName(most) => write!(f, "its name is longer than {most} bytes; {AGAIN}"),
            Self::Header => {
                f.write_str("it has no header of a tar archive; the archive is damaged: copy it anew")
            }
            Self::Truncated => f.write_str("the archive ends before it does; it is damaged: copy it anew"),
            Self::Missing => {
                f.write_str("it is named and not there; make the archive anew from a source that is whole")
            }
            Self::Size { said, has } => {
                write!(f, "it has {has} bytes where {said} are said; it is damaged or forged: copy it anew")
            }
            Self::LargeDocument(size) => {
                write!(f, "it has {size} bytes, and a document has {MAX_MANIFEST_BYTES} at the most; {AGAIN}")
            }
            Self::LargeDocuments(most) => {
                write!(f, "all documents together have more than {most} bytes; import it in parts")
            }
            Self::Document(why) => write!(f, "it cannot be read: {why}; {AGAIN}"),
            Self::Digest { expected, found } => {
                write!(f, "its content is {found} and not {expected}; it is damaged or forged: copy it anew")
            }
            Self::Expands(ratio) => write!(
                f,
                "it unpacks to more than {ratio} times its size, as no image does; where you trust it, unpack it first"
            ),
            Self::Packing(why) => write!(f, "it cannot be unpacked: {why}; it is damaged: copy it anew"),
            Self::Version(found) => {
                write!(f, "it is of version {}, which is not known; use a later roadstead", shown(found))
            }
            Self::Deep(most) => write!(f, "manifests name each other more than {most} deep; {AGAIN}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { error, .. } => Some(error),
            Self::Side { error, .. } => Some(error),
            _ => None,
        }
    }
}

impl std::error::Error for Refusal {}

/// A text of a stranger as it may stand in a message.
fn shown(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// A line for each, and how many more there are.
fn listed<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    line: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    const MOST: usize = 50;
    for item in items.iter().take(MOST) {
        f.write_str("\n  ")?;
        line(f, item)?;
    }
    match items.len().saturating_sub(MOST) {
        0 => Ok(()),
        more => write!(f, "\n  and {more} more"),
    }
}
