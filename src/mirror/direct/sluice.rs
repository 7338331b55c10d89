//! What one reader does with the bytes that come by: hashes what it must, passes on what was asked for, and holds the
//! last of it back.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::oci::{Digest, Hasher};
use crate::store::BlobFile;

use super::super::fill::{ReadError, WITHHELD};
use super::{Before, Chunk};

/// Passes on what the reader asked, hashes what it must, and holds the last bytes back.
pub(super) struct Sluice {
    pub(super) start: u64,
    pub(super) end: u64,
    /// The next byte to come by.
    pub(super) at: u64,
    pub(super) proof: Option<Hasher>,
    /// What was sent from a file without proof, and is not in the hash: it has to be what comes by now, since it is that
    /// which the hash is of.
    pub(super) sent: Option<Arc<Before>>,
    pub(super) held: VecDeque<Bytes>,
    pub(super) held_len: u64,
    pub(super) tell: mpsc::Sender<Result<Chunk, ReadError>>,
}

/// How a stream failed.
pub(super) enum Failed {
    /// The bytes are not what the digest says.
    Wrong(ReadError),
    Other(ReadError),
}

impl From<ReadError> for Failed {
    fn from(error: ReadError) -> Self {
        Self::Other(error)
    }
}

impl Sluice {
    /// Takes the next bytes; whether more are wanted.
    pub(super) async fn pass(&mut self, mut chunk: Bytes) -> Result<bool, ReadError> {
        if let Some(hasher) = &mut self.proof {
            hasher.update(&chunk);
        }
        let from = self.at;
        self.at += chunk.len() as u64;
        if let Some(before) = &self.sent {
            let again = from.max(before.from)..self.at.min(self.start);
            if again.start < again.end {
                let (before, range) = (Arc::clone(before), again.clone());
                let was = spawn_blocking(move || read(&before.file, range)).await;
                let is = chunk.slice((again.start - from) as usize..(again.end - from) as usize);
                if !was.is_ok_and(|was| was.is_ok_and(|was| was == is)) {
                    return Err(unprovable());
                }
            }
        }
        let before = usize::try_from(self.start.saturating_sub(from)).unwrap_or(usize::MAX);
        chunk.advance(before.min(chunk.len()));
        let beyond = usize::try_from(self.at.saturating_sub(self.end)).unwrap_or(usize::MAX);
        chunk.truncate(chunk.len().saturating_sub(beyond));
        if !chunk.is_empty() {
            self.held_len += chunk.len() as u64;
            self.held.push_back(chunk);
        }
        let keep = if self.proof.is_some() { WITHHELD } else { 0 };
        while self.held_len > keep {
            let Some(mut front) = self.held.pop_front() else { break };
            let free = usize::try_from(self.held_len - keep).unwrap_or(usize::MAX).min(front.len());
            let rest = front.split_off(free);
            if !rest.is_empty() {
                self.held.push_front(rest);
            }
            self.held_len -= free as u64;
            self.send(Chunk::Bytes(front)).await?;
        }
        // A body to be proven needs the blob to its last byte.
        Ok(self.proof.is_some() || self.at < self.end)
    }

    /// Nothing more comes.
    pub(super) async fn finish(mut self, digest: &Digest) -> Result<(), Failed> {
        if let Some(hasher) = self.proof.take() {
            let found = hasher.finish();
            if found != *digest {
                tracing::error!(%digest, %found, "upstream sent wrong content; the body is cut");
                return Err(Failed::Wrong(ReadError(format!("upstream sent {found} for {digest}"))));
            }
        }
        while let Some(bytes) = self.held.pop_front() {
            self.send(Chunk::Bytes(bytes)).await?;
        }
        Ok(self.send(Chunk::End).await?)
    }

    async fn send(&self, chunk: Chunk) -> Result<(), ReadError> {
        self.tell.send(Ok(chunk)).await.map_err(|_| ReadError("the reader left".to_owned()))
    }
}

/// What was sent is wrong, or nobody can say any more that it is right.
pub(super) fn unprovable() -> ReadError {
    ReadError("what was sent before cannot be proven right".to_owned())
}

/// Reads all of a range of a file. Blocks.
pub(super) fn read(file: &BlobFile, range: Range<u64>) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], range.start + filled as u64) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(buffer)
}
