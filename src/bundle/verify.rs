//! Bytes on their way from one side to the other, seen to be right before anybody is told that they are all there.

use std::io::{self, Read};

use crate::oci::{Digest, Hasher};

use super::error::Refusal;
use super::progress::Progress;

/// Reads so many bytes, and is at their end only if they have the digest.
pub struct Verified<'a> {
    content: &'a mut dyn Read,
    progress: &'a mut dyn Progress,
    expected: &'a Digest,
    size: u64,
    left: u64,
    hasher: Option<Hasher>,
    /// Why a read failed, for whoever is told only that it did.
    failed: Option<io::Error>,
}

impl std::fmt::Debug for Verified<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verified")
            .field("expected", self.expected)
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}

impl<'a> Verified<'a> {
    /// So many bytes of `content`, which are to have this digest.
    pub fn new(
        content: &'a mut dyn Read,
        expected: &'a Digest,
        size: u64,
        progress: &'a mut dyn Progress,
    ) -> Self {
        let hasher = Some(Hasher::new(expected.algorithm()));
        Self { content, progress, expected, size, left: size, hasher, failed: None }
    }

    /// What was wrong with the content, if that is why it did not come to its end.
    pub fn into_failure(self) -> Option<io::Error> {
        self.failed
    }

    /// Whether all of it was read and is right.
    pub fn is_done(&self) -> bool {
        self.left == 0 && self.hasher.is_none() && self.failed.is_none()
    }

    fn next(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            let Some(hasher) = self.hasher.take() else { return Ok(0) };
            let found = hasher.finish();
            if found != *self.expected {
                return Err(Refusal::Digest { expected: self.expected.clone(), found }.into());
            }
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buf.len());
        let read = self.content.read(&mut buf[..most])?;
        if read == 0 && most > 0 {
            return Err(Refusal::Size { said: self.size, has: self.size - self.left }.into());
        }
        self.left -= read as u64;
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&buf[..read]);
        }
        self.progress.bytes(read as u64);
        Ok(read)
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.failed.is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.next(buf).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            self.failed = Some(error);
            io::ErrorKind::InvalidData.into()
        })
    }
}
