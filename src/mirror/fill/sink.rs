//! Where the bytes of a fill land: the file, what is known to be in it, and the hash along its prefix.
//!
//! Everything here blocks and runs on the blocking pool. Bytes are written first, then told to the readers, then
//! hashed, so that nobody waits for the hash but those who must. The hash never runs ahead of the prefix; bytes that
//! came out of order are read back from the file when the prefix reaches them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, TryLockError};

use bytes::Bytes;
use tokio::sync::{Notify, watch};

use crate::oci::{Digest, Hasher};
use crate::store::BlobFile;

use super::progress::{Phase, Progress};

/// How much is read back at once for the hash.
const READ_BACK: usize = 1 << 20;

pub(super) struct Sink {
    digest: Digest,
    size: u64,
    file: Arc<BlobFile>,
    progress: Arc<watch::Sender<Progress>>,
    /// Held for as long as hashing takes, so only ever tried for, and only on threads that may block.
    hash: Mutex<Hash>,
    /// Set when the hash has run to the end, or could not.
    verdict: OnceLock<Verdict>,
    settled: Notify,
    given_up: AtomicBool,
}

struct Hash {
    hasher: Option<Hasher>,
    upto: u64,
}

/// What the hash over all bytes found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Matches,
    /// The digest of what is there instead.
    Differs(Digest),
    /// The file could not be read back.
    Unreadable(String),
}

impl Sink {
    pub(super) fn new(
        digest: Digest,
        size: u64,
        file: Arc<BlobFile>,
        progress: Arc<watch::Sender<Progress>>,
    ) -> Self {
        let hasher = Some(Hasher::new(digest.algorithm()));
        let hash = Mutex::new(Hash { hasher, upto: 0 });
        Self {
            digest,
            size,
            file,
            progress,
            hash,
            verdict: OnceLock::new(),
            settled: Notify::new(),
            given_up: AtomicBool::new(false),
        }
    }

    /// Writes consecutive chunks at `offset`, tells the readers, and moves the hash as far as it goes.
    ///
    /// # Errors
    /// What the disk said; nothing of this call is told to the readers then.
    pub(super) fn land(&self, offset: u64, chunks: &[Bytes]) -> io::Result<()> {
        self.file.write_run_at(chunks, offset)?;
        let end = offset + chunks.iter().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.progress.send_modify(|progress| progress.present.insert(offset..end));
        self.hash_on(offset, chunks);
        Ok(())
    }

    /// Hashes what is present at the frontier of the hash.
    pub(super) fn catch_up(&self) {
        self.hash_on(0, &[]);
    }

    /// Nobody waits for the verdict any more: hashing ends soon, wherever it is.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
    }

    /// Waits for the verdict on the whole.
    pub(super) async fn verdict(&self) -> Verdict {
        loop {
            let told = self.settled.notified();
            if let Some(verdict) = self.verdict.get() {
                return verdict.clone();
            }
            told.await;
        }
    }

    /// Whoever finds the hash busy leaves: the busy one looks again after letting go, and what made a caller come
    /// here was told to `progress` before, so nothing is left behind.
    fn hash_on(&self, offset: u64, chunks: &[Bytes]) {
        let mut chunks = Some((offset, chunks));
        loop {
            let mut hash = match self.hash.try_lock() {
                Ok(hash) => hash,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            if let Some((offset, chunks)) = chunks.take() {
                hash.take_in_hand(offset, chunks);
            }
            self.read_back(&mut hash);
            let done = self.settle(&mut hash);
            let upto = hash.upto;
            drop(hash);
            if done
                || self.given_up.load(Ordering::Relaxed)
                || self.progress.borrow().present.run_end(upto).is_none()
            {
                return;
            }
        }
    }

    fn read_back(&self, hash: &mut Hash) {
        let mut buffer = Vec::new();
        while self.verdict.get().is_none() && !self.given_up.load(Ordering::Relaxed) {
            let Some(there) = self.progress.borrow().present.run_end(hash.upto) else { return };
            let len = usize::try_from(there - hash.upto).unwrap_or(READ_BACK).min(READ_BACK);
            buffer.resize(len, 0);
            match self.file.read_at(&mut buffer, hash.upto) {
                Ok(0) => self.decide(Verdict::Unreadable("the file ends early".to_owned())),
                Ok(read) => hash.feed(&buffer[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.decide(Verdict::Unreadable(error.to_string())),
            }
        }
    }

    /// Whether the verdict is in; finds it when the hash has reached the end.
    fn settle(&self, hash: &mut Hash) -> bool {
        if self.verdict.get().is_none()
            && hash.upto == self.size
            && let Some(hasher) = hash.hasher.take()
        {
            let found = hasher.finish();
            if found == self.digest {
                // Readers get their last bytes now; the sync and the rename come after.
                self.progress.send_modify(|progress| progress.phase = Phase::Verified);
                self.decide(Verdict::Matches);
            } else {
                self.decide(Verdict::Differs(found));
            }
        }
        self.verdict.get().is_some()
    }

    fn decide(&self, verdict: Verdict) {
        // The first word stands.
        let _ = self.verdict.set(verdict);
        self.settled.notify_waiters();
    }
}

impl Hash {
    fn feed(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
            self.upto += bytes.len() as u64;
        }
    }

    /// Takes chunks that are still in memory, if they stand exactly at the frontier.
    fn take_in_hand(&mut self, offset: u64, chunks: &[Bytes]) {
        if offset == self.upto {
            for chunk in chunks {
                self.feed(chunk);
            }
        }
    }
}
