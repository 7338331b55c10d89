//! A tar archive, entry by entry, from a stream.
//!
//! Headers are the `tar` crate's to read. The walk is ours, because names that are carried in entries of their own are
//! read whole by the crate, however long they say they are, and these archives are the work of strangers.

use std::io::{self, Read};

use tar::{EntryType, Header, PaxExtensions};

use crate::bundle::error::Refusal;

use super::joined::Stream;
use super::path;

const BLOCK: u64 = 512;
/// The longest of the entries that carry names and attributes of others.
const LONGEST_EXTENSION: u64 = 1 << 20;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path, normal; none if it is not UTF-8, and so none of ours.
    pub(super) path: Option<String>,
    pub(super) kind: Kind,
}

/// What an entry is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A file of that size.
    File(u64),
    Folder,
    /// Another name for something in the archive: its path there.
    Link(String),
}

/// An archive that is being walked.
pub(super) struct Tape {
    stream: Box<dyn Stream>,
    /// What is left of the entry, and then of its last block.
    left: u64,
    padding: u64,
    /// What the entry calls itself, for messages.
    name: String,
}

/// What is said of the next entry in entries before it.
#[derive(Default)]
struct Ahead {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    sparse: bool,
}

impl Tape {
    pub(super) fn new(stream: Box<dyn Stream>) -> Self {
        Self { stream, left: 0, padding: 0, name: String::from("start") }
    }

    /// The name of the entry that is read, or was last.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The next entry, after passing over what was not read of the last.
    pub(super) fn next(&mut self) -> io::Result<Option<Entry>> {
        let mut ahead = Ahead::default();
        loop {
            let rest = self.left + self.padding;
            if self.stream.skip(rest)? < rest {
                return Err(Refusal::Truncated.into());
            }
            (self.left, self.padding) = (0, 0);
            let Some(header) = self.header()? else { return Ok(None) };
            let size = header.entry_size().map_err(|_| io::Error::from(Refusal::Header))?;
            match header.entry_type() {
                EntryType::GNULongName => ahead.path = Some(self.extension(size)?),
                EntryType::GNULongLink => ahead.link = Some(self.extension(size)?),
                EntryType::XHeader => {
                    let text = self.extension(size)?;
                    ahead.extend(&text)?;
                }
                // Of all entries alike: nothing that matters here.
                EntryType::XGlobalHeader => self.enter(size),
                kind => return self.entry(&header, kind, size, ahead).map(Some),
            }
        }
    }

    fn entry(&mut self, header: &Header, kind: EntryType, size: u64, ahead: Ahead) -> io::Result<Entry> {
        let bytes = ahead.path.unwrap_or_else(|| header.path_bytes().into_owned());
        self.name = String::from_utf8_lossy(&bytes).chars().take(path::LONGEST).collect();
        let path = match std::str::from_utf8(&bytes) {
            Ok(text) => Some(path::normal(text)?),
            Err(_) => None,
        };
        if ahead.sparse || kind == EntryType::GNUSparse {
            return Err(Refusal::Sparse.into());
        }
        let kind = match kind {
            EntryType::Regular | EntryType::Continuous if bytes.ends_with(b"/") => Kind::Folder,
            EntryType::Regular | EntryType::Continuous => {
                let size = ahead.size.unwrap_or(size);
                self.enter(size);
                Kind::File(size)
            }
            EntryType::Directory => Kind::Folder,
            EntryType::Symlink | EntryType::Link => {
                let to = ahead.link.or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned));
                let to = String::from_utf8_lossy(&to.unwrap_or_default()).into_owned();
                let from = path.as_deref().map_or("", path::parent);
                // A hard link names its file from the top.
                let from = if kind == EntryType::Link { "" } else { from };
                Kind::Link(path::target(from, &to)?)
            }
            _ => return Err(Refusal::Device.into()),
        };
        Ok(Entry { path, kind })
    }

    /// The next header; none at the end of the archive.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = [0; BLOCK as usize];
        let mut filled = 0;
        while filled < block.len() {
            match self.stream.read(&mut block[filled..])? {
                0 if filled == 0 => return Ok(None),
                0 => return Err(Refusal::Truncated.into()),
                read => filled += read,
            }
        }
        if block.iter().all(|&byte| byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        // The field of the sum itself counts as spaces.
        let sum =
            |range: std::ops::Range<usize>| block[range].iter().map(|&byte| u32::from(byte)).sum::<u32>();
        let expected = sum(0..148) + 8 * u32::from(b' ') + sum(156..512);
        match header.cksum() {
            Ok(sum) if sum == expected => Ok(Some(header.clone())),
            _ => Err(Refusal::Header.into()),
        }
    }

    /// Reads an entry that says something of the next one.
    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LONGEST_EXTENSION {
            return Err(Refusal::LongName(LONGEST_EXTENSION as usize).into());
        }
        self.enter(size);
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)?;
        while bytes.last() == Some(&0) {
            bytes.pop();
        }
        Ok(bytes)
    }

    fn enter(&mut self, size: u64) {
        self.left = size;
        self.padding = (BLOCK - size % BLOCK) % BLOCK;
    }
}

/// The content of the current entry.
impl Read for Tape {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        if most == 0 {
            return Ok(0);
        }
        match self.stream.read(&mut buf[..most])? {
            0 => Err(Refusal::Truncated.into()),
            read => {
                self.left -= read as u64;
                Ok(read)
            }
        }
    }
}

impl Ahead {
    fn extend(&mut self, text: &[u8]) -> io::Result<()> {
        for extension in PaxExtensions::new(text) {
            let extension = extension.map_err(|_| io::Error::from(Refusal::Header))?;
            let value = extension.value_bytes();
            match extension.key_bytes() {
                b"path" => self.path = Some(value.to_vec()),
                b"linkpath" => self.link = Some(value.to_vec()),
                b"size" => {
                    let size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                    self.size = Some(size.ok_or_else(|| io::Error::from(Refusal::Header))?);
                }
                key => self.sparse |= key.starts_with(b"GNU.sparse."),
            }
        }
        Ok(())
    }
}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::other(refusal)
    }
}
