//! Volumes: a bundle cut into files of a bounded size.
//!
//! Each is a small tar archive: what it is, then a slice of the bundle. So a volume knows its set and its number whatever
//! its name becomes on the way, and `for v in ...; do tar -xOf $v slice; done` puts the bundle together without us.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tar::Header;

use crate::bundle::error::Error;
use crate::bundle::files::{self, Kind, Opened};

use super::joined::Part;

/// How many bytes come before the slice.
pub(in crate::bundle) const HEAD: u64 = 1536;
const LABEL: &str = "roadstead-volume.json";
const SLICE: &str = "slice";
const BLOCK: usize = 512;

/// What a volume says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bundle) struct Volume {
    /// The set that it is of.
    pub(in crate::bundle) set: String,
    /// Its number, from 1.
    pub(in crate::bundle) number: u32,
    /// How many there are.
    pub(in crate::bundle) of: u32,
    /// How many bytes of the bundle are in it.
    pub(in crate::bundle) length: u64,
}

impl Volume {
    /// What stands before the slice.
    pub(in crate::bundle) fn head(&self) -> io::Result<Vec<u8>> {
        let mut label = serde_json::to_vec(self)?;
        label.resize(BLOCK - 1, b' ');
        label.push(b'\n');
        let mut head = header(LABEL, BLOCK as u64)?.as_bytes().to_vec();
        head.extend(label);
        head.extend(header(SLICE, self.length)?.as_bytes());
        Ok(head)
    }

    /// How many zeros come after the slice.
    pub(in crate::bundle) fn tail(&self) -> u64 {
        let block = BLOCK as u64;
        (block - self.length % block) % block + 2 * block
    }

    fn parse(head: &[u8]) -> Option<Self> {
        let (header, rest) = head.split_at_checked(BLOCK)?;
        let name = Header::from_byte_slice(header).path_bytes().into_owned();
        let volume: Self = serde_json::from_slice(rest.get(..BLOCK)?).ok()?;
        (name == LABEL.as_bytes() && (1..=volume.of).contains(&volume.number)).then_some(volume)
    }
}

/// A header as all of a bundle are: nobody's, and of no time.
fn header(path: &str, size: u64) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    header.set_path(path)?;
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    Ok(header)
}

/// What the file is a volume of; none if it is none.
pub(super) fn probe(file: &Opened) -> io::Result<Option<Volume>> {
    let mut head = [0; 2 * BLOCK];
    let mut filled = 0;
    while filled < head.len() {
        match file.read_at(&mut head[filled..], filled as u64)? {
            0 => return Ok(None),
            read => filled += read,
        }
    }
    Ok(Volume::parse(&head))
}

/// All slices of the set that the first of these files is of: what was named, and what lies beside it.
pub(super) fn gather(first: &Volume, named: &[PathBuf]) -> Result<Vec<Part>, Error> {
    let mut found: Vec<Option<Part>> = (0..first.of).map(|_| None).collect();
    let mut take = |path: &Path| -> Result<bool, Error> {
        let file = files::open_named(path).map_err(Error::io("open", path))?;
        let volume = probe(&file).map_err(Error::io("read", path))?;
        let Some(volume) = volume.filter(|volume| (&volume.set, volume.of) == (&first.set, first.of)) else {
            return Ok(false);
        };
        let slot = &mut found[volume.number as usize - 1];
        slot.get_or_insert(Part { path: path.to_owned(), file, offset: HEAD, length: volume.length });
        Ok(true)
    };
    for path in named {
        if !take(path)? {
            return Err(Error::StrangeVolume(path.clone()));
        }
    }
    for folder in named.iter().filter_map(|path| path.parent()) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let beside = files::list(folder).map_err(Error::io("list", folder))?;
        for (name, _) in beside.iter().filter(|(_, kind)| matches!(kind, Kind::File(size) if *size >= HEAD)) {
            take(&folder.join(name))?;
        }
    }
    let missing: Vec<u32> = (1..=first.of).filter(|&number| found[number as usize - 1].is_none()).collect();
    if missing.is_empty() {
        Ok(found.into_iter().flatten().collect())
    } else {
        Err(Error::Volumes { set: first.set.clone(), missing, of: first.of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_says_what_it_is() {
        let volume = Volume { set: "0123456789abcdef".to_owned(), number: 2, of: 3, length: 700 };
        let head = volume.head().unwrap();
        assert_eq!(head.len() as u64, HEAD);
        assert_eq!(Volume::parse(&head), Some(volume.clone()));
        assert_eq!((HEAD + volume.length + volume.tail()) % BLOCK as u64, 0);
        assert_eq!(Volume::parse(&[0; 1536]), None);
        let beyond = Volume { number: 4, ..volume };
        assert_eq!(Volume::parse(&beyond.head().unwrap()), None);
    }
}
