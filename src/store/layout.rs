//! Where everything is: all paths and file names of a store are made, and read back, here.

use super::fs::TEMPORARY;
use crate::oci::{Algorithm, Digest};
use std::path::{Path, PathBuf};

/// The paths of one store.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
}

/// The two kinds of verified content, each with a tree of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tree {
    Blobs,
    Manifests,
}

pub(super) const ALGORITHMS: [Algorithm; 2] = [Algorithm::Sha256, Algorithm::Sha512];
/// What the names of indexes begin with.
const INDEX: &str = "index.redb";
const PINS: &str = "pins.json";
/// What the name of a manifest's sidecar ends in.
pub(super) const SIDECAR: &str = ".json";
/// What the name of the file ends in that says through which repositories a blob came with credentials.
pub(super) const PRIVATE: &str = ".private";
/// What the name of an unfinished blob's record of present ranges ends in.
pub(super) const RANGES: &str = ".ranges";

impl Tree {
    fn name(self) -> &'static str {
        match self {
            Self::Blobs => "blobs",
            Self::Manifests => "manifests",
        }
    }
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.root.join("LOCK")
    }

    pub(super) fn version(&self) -> PathBuf {
        self.root.join("VERSION")
    }

    /// There while no process has the store open and the last one closed it in order.
    pub(super) fn clean(&self) -> PathBuf {
        self.root.join("CLEAN")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join(INDEX)
    }

    /// What is pinned.
    pub(super) fn pins(&self) -> PathBuf {
        self.root.join(PINS)
    }

    /// Where a file of pins that could not be read is put aside.
    pub(super) fn bad_pins(&self, now: u64) -> PathBuf {
        self.quarantined(&format!("{now}-{PINS}"))
    }

    /// Where an index is made that is to take the place of one that failed.
    pub(super) fn new_index(&self) -> PathBuf {
        self.root.join(format!("{INDEX}.new"))
    }

    /// Where an index that could not be used is put aside: with other files that nobody trusts, the time first.
    pub(super) fn bad_index(&self, now: u64) -> PathBuf {
        self.quarantined(&format!("{now}-{INDEX}"))
    }

    pub(super) fn partials(&self) -> PathBuf {
        self.root.join("partial")
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    /// The top of a tree, whose directories are the first two hex digits.
    pub(super) fn tree(&self, tree: Tree, algorithm: Algorithm) -> PathBuf {
        self.root.join(tree.name()).join(algorithm.as_str())
    }

    /// The directory of a digest's files in a tree.
    pub(super) fn shelf(&self, tree: Tree, digest: &Digest) -> PathBuf {
        self.tree(tree, digest.algorithm()).join(&digest.hex()[..2])
    }

    pub(super) fn content(&self, tree: Tree, digest: &Digest) -> PathBuf {
        self.shelf(tree, digest).join(digest.hex())
    }

    pub(super) fn sidecar(&self, digest: &Digest) -> PathBuf {
        self.shelf(Tree::Manifests, digest).join(digest.hex() + SIDECAR)
    }

    pub(super) fn private(&self, digest: &Digest) -> PathBuf {
        self.shelf(Tree::Blobs, digest).join(digest.hex() + PRIVATE)
    }

    pub(super) fn partial(&self, digest: &Digest) -> PathBuf {
        self.partials().join(flat(digest))
    }

    pub(super) fn ranges(&self, digest: &Digest) -> PathBuf {
        self.partials().join(flat(digest) + RANGES)
    }

    /// A file that is made to see whether one can be; swept as half-written ones are.
    pub(super) fn probe(&self) -> PathBuf {
        self.partials().join(format!("probe{TEMPORARY}"))
    }

    /// A file that is made to see how one is sent; likewise.
    pub(super) fn scratch(&self) -> PathBuf {
        self.partials().join(format!("scratch{TEMPORARY}"))
    }

    pub(super) fn quarantined(&self, name: &str) -> PathBuf {
        self.quarantine().join(name)
    }

    /// Every directory that a store always has, outermost first.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let mut directories = vec![self.root.clone(), self.partials(), self.quarantine()];
        for tree in [Tree::Blobs, Tree::Manifests] {
            directories.push(self.root.join(tree.name()));
            directories.extend(ALGORITHMS.map(|algorithm| self.tree(tree, algorithm)));
        }
        directories
    }
}

/// Whether a path is that of an index, in use, new or put aside.
pub(super) fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(INDEX.as_bytes()))
}

/// The digest as a name in a directory that is not divided.
pub(super) fn flat(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm(), digest.hex())
}

/// The digest that [`flat`] made a name of.
pub(super) fn parse_flat(name: &str) -> Option<Digest> {
    let (algorithm, hex) = name.split_once('-')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The digest of a file in a tree by its name there.
pub(super) fn parse_hex(algorithm: Algorithm, name: &str) -> Option<Digest> {
    format!("{algorithm}:{name}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_as_the_digests_they_were_made_of() {
        for algorithm in ALGORITHMS {
            let digest = Digest::of(algorithm, b"x");
            assert_eq!(parse_flat(&flat(&digest)), Some(digest.clone()));
            assert_eq!(parse_hex(algorithm, &digest.hex()), Some(digest.clone()));
            let layout = Layout::new(Path::new("/s"));
            let path = layout.content(Tree::Blobs, &digest);
            assert_eq!(
                path,
                PathBuf::from(format!("/s/blobs/{algorithm}/{}/{}", &digest.hex()[..2], digest.hex()))
            );
        }
        assert_eq!(parse_flat("sha256-zz"), None);
        assert_eq!(parse_flat("lost+found"), None);
        assert_eq!(parse_hex(Algorithm::Sha256, "..json"), None);
    }
}
