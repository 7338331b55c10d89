//! Writing bundles: which objects are in one ([`plan`]), what it says of itself ([`papers`]), and how it comes to the disk.

mod archive;
mod folder;
mod output;
mod papers;
mod plan;

pub(super) use papers::Papers;
pub(super) use plan::{Plan, plan};

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::oci::Digest;
use crate::store::fs::Disk;

use super::error::Error;
use super::read::VOLUME_HEAD;

/// The smallest volume: what is around its slice, and a little more.
const LEAST_VOLUME: u64 = VOLUME_HEAD + 512 + 1024 + 4096;

/// Takes the files of a bundle, in their order.
pub(super) trait Sink {
    /// A directory.
    fn folder(&mut self, path: &str) -> Result<(), Error>;
    /// A document.
    fn file(&mut self, path: &str, size: u64, content: &mut dyn Read) -> Result<(), Error>;
    /// Content by its digest; what is there already may be left as it is.
    fn object(&mut self, digest: &Digest, size: u64, content: &mut dyn Read) -> Result<(), Error>;
    /// All is written: makes it durable and gives it its name. These are the files of it.
    fn finish(self: Box<Self>) -> Result<Vec<PathBuf>, Error>;
}

/// What kind of bundle it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Folder,
    Archive { packed: bool, volumes: Option<Cut> },
}

/// Into volumes of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    pub(super) set: String,
    pub(super) most: u64,
}

impl Form {
    /// What the name says.
    pub(super) fn of(output: &Path, max_volume: Option<u64>, set: &str) -> Result<Self, Error> {
        let name = output.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let packed = [".tar.zst", ".tzst", ".tar.zstd"].iter().any(|end| name.ends_with(end));
        let volumes = match max_volume {
            Some(most) if most < LEAST_VOLUME => return Err(Error::VolumeTooSmall(LEAST_VOLUME)),
            most => most.map(|most| Cut { set: set.to_owned(), most }),
        };
        match packed || name.ends_with(".tar") || volumes.is_some() {
            true => Ok(Self::Archive { packed, volumes }),
            false => Ok(Self::Folder),
        }
    }

    /// Begins to write it under a temporary name.
    pub(super) fn begin<'a>(&self, disk: &'a dyn Disk, output: &Path) -> Result<Box<dyn Sink + 'a>, Error> {
        match self {
            Self::Folder => Ok(Box::new(folder::Folder::begin(disk, output)?)),
            Self::Archive { packed, volumes } => {
                let output = output::Output::begin(disk, output, volumes.clone())?;
                Ok(Box::new(archive::Archive::begin(output, *packed)?))
            }
        }
    }
}

/// A path beside another, of the same name with more behind it.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// The directory that a path is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_says_what_kind_of_bundle_it_is() {
        let form = |name: &str, most| Form::of(Path::new(name), most, "set").unwrap();
        let archive = |packed| Form::Archive { packed, volumes: None };
        for (name, expected) in [
            ("site", Form::Folder),
            ("dir.tar/site", Form::Folder),
            ("site.tar", archive(false)),
            ("site.TAR.ZST", archive(true)),
            ("a/site.tzst", archive(true)),
        ] {
            assert_eq!(form(name, None), expected, "{name}");
        }
        let volumes = Some(Cut { set: "set".to_owned(), most: 1 << 20 });
        assert_eq!(form("site", Some(1 << 20)), Form::Archive { packed: false, volumes });
        let small = Form::of(Path::new("site.tar"), Some(100), "set");
        assert!(matches!(small, Err(Error::VolumeTooSmall(_))));
    }
}
