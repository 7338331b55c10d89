//! The bytes of an archive, in one file or in the volumes that hold it between them.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::Arc;

use crate::bundle::files::Opened;

/// A stretch of a file.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) path: PathBuf,
    pub(super) file: Opened,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// All stretches, one after the other, from the first byte.
#[derive(Clone, Debug)]
pub(super) struct Joined {
    parts: Arc<Vec<Part>>,
    at: u64,
}

/// Bytes that can be passed over.
pub(super) trait Stream: Read {
    /// Passes over so many bytes, or to the end; gives how many there were.
    fn skip(&mut self, bytes: u64) -> io::Result<u64>;
}

impl Joined {
    pub(super) fn new(parts: Arc<Vec<Part>>) -> Self {
        Self { parts, at: 0 }
    }

    pub(super) fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.length).sum()
    }
}

impl Read for Joined {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut start = 0;
        for part in self.parts.iter() {
            let inside = self.at - start;
            if inside < part.length {
                let most = usize::try_from(part.length - inside).unwrap_or(usize::MAX).min(buf.len());
                let read = part.file.read_at(&mut buf[..most], part.offset + inside)?;
                if read == 0 && most > 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.at += read as u64;
                return Ok(read);
            }
            start += part.length;
        }
        Ok(0)
    }
}

impl Stream for Joined {
    fn skip(&mut self, bytes: u64) -> io::Result<u64> {
        let skipped = bytes.min(self.len() - self.at);
        self.at += skipped;
        Ok(skipped)
    }
}
