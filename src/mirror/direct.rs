//! One reader's own transfer, past the store: for blobs that the disk cannot take (G7).
//!
//! Nothing is stored and nothing shared, so G1 and G4 are suspended; G2 is not: a body that claims to be whole is
//! hashed on its way, and its last bytes are withheld until the digest matches.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oci::{Digest, Hasher};
use crate::store::BlobFile;
use crate::upstream::{Ask, Cause, RedirectMemo, Transfer};

use super::fill::{Delivery, ReadError, Source, WITHHELD};

/// Chunks on their way to one reader; the transfer waits when they are not taken.
const WINDOW: usize = 8;

/// How often a transfer is taken up again without a byte in between.
const ATTEMPTS: u32 = 4;

/// What a reader needs to go on by itself.
#[derive(Clone, Debug)]
pub(super) struct Direct {
    pub(super) digest: Digest,
    pub(super) size: Option<u64>,
    pub(super) source: Source,
    pub(super) tasks: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Direct {
    /// Streams `start..end`. `file` still holds what comes before `start`, where a fill was given up on the way.
    ///
    /// The task ends with its reader, with the mirror, or with the body.
    pub(super) fn stream(
        &self,
        start: u64,
        end: u64,
        delivery: Delivery,
        file: Option<Arc<BlobFile>>,
    ) -> mpsc::Receiver<Result<Bytes, ReadError>> {
        let (tell, stream) = mpsc::channel(WINDOW);
        let direct = self.clone();
        self.tasks.spawn(async move {
            let stop = direct.stop.clone();
            let work = direct.run(start, end, delivery, file, tell.clone());
            tokio::select! {
                ended = work => {
                    if let Err(error) = ended {
                        // A reader that has left does not need to know.
                        let _ = tell.send(Err(error)).await;
                    }
                }
                () = tell.closed() => {}
                () = stop.cancelled() => {
                    let _ = tell.try_send(Err(ReadError("the mirror is shutting down".to_owned())));
                }
            }
        });
        stream
    }

    async fn run(
        self,
        start: u64,
        end: u64,
        delivery: Delivery,
        file: Option<Arc<BlobFile>>,
        tell: mpsc::Sender<Result<Bytes, ReadError>>,
    ) -> Result<(), ReadError> {
        let mut sluice =
            Sluice { start, end, at: start, proof: None, held: VecDeque::new(), held_len: 0, tell };
        if delivery == Delivery::Verified {
            let (at, hasher) = self.hash_before(start, file).await;
            sluice.at = at;
            sluice.proof = Some(hasher);
        }
        let memo = RedirectMemo::default();
        let mut broken = 0;
        loop {
            let ask = match (delivery, sluice.at) {
                (Delivery::Verified, 0) => Ask::Whole,
                (Delivery::Verified, at) => Ask::From(at),
                (Delivery::AsArrived, at) => Ask::Range { start: at, end },
            };
            let upstream = self.source.site.upstream();
            let opened = upstream.blob(&self.source.repository, &self.digest, ask, &memo).await;
            let reached = sluice.at;
            let cause = match opened {
                Ok(transfer) => match self.pump(transfer, &mut sluice).await? {
                    None => return sluice.finish(&self.digest).await,
                    Some(cause) => cause.to_string(),
                },
                Err(failure) => failure.to_string(),
            };
            broken = if sluice.at > reached { 0 } else { broken + 1 };
            if broken >= ATTEMPTS {
                return Err(ReadError(cause));
            }
        }
    }

    /// Moves one transfer's bytes; tells why it broke, or nothing when all of it came.
    async fn pump(&self, mut transfer: Transfer, sluice: &mut Sluice) -> Result<Option<Cause>, ReadError> {
        let mut position = transfer.start;
        if position > sluice.at {
            return Ok(Some(Cause::Garbage("the range begins beyond what was asked".into())));
        }
        loop {
            match transfer.chunk().await {
                Ok(Some(mut chunk)) => {
                    let length = chunk.len() as u64;
                    // An upstream that ignores ranges sends again what was passed on already.
                    let known = usize::try_from(sluice.at.saturating_sub(position)).unwrap_or(usize::MAX);
                    chunk.advance(known.min(chunk.len()));
                    position += length;
                    if !sluice.pass(chunk).await? {
                        return Ok(None);
                    }
                }
                Ok(None) if self.size.is_none_or(|size| position >= size.min(sluice.target())) => {
                    return Ok(None);
                }
                Ok(None) => return Ok(Some(Cause::Cut)),
                Err(cause) => return Ok(Some(cause)),
            }
        }
    }

    /// The hash over everything before `start`, from the file where it can be read, else from the first byte on.
    async fn hash_before(&self, start: u64, file: Option<Arc<BlobFile>>) -> (u64, Hasher) {
        let fresh = Hasher::new(self.digest.algorithm());
        let Some(file) = file.filter(|_| start > 0) else { return (0, fresh) };
        let algorithm = self.digest.algorithm();
        let hashed = spawn_blocking(move || {
            let mut hasher = Hasher::new(algorithm);
            let mut buffer = vec![0; 1 << 20];
            let mut at = 0;
            while at < start {
                let length = usize::try_from(start - at).unwrap_or(buffer.len()).min(buffer.len());
                match file.read_at(&mut buffer[..length], at) {
                    Ok(0) | Err(_) => return None,
                    Ok(read) => {
                        hasher.update(&buffer[..read]);
                        at += read as u64;
                    }
                }
            }
            Some(hasher)
        });
        match hashed.await {
            Ok(Some(hasher)) => (start, hasher),
            _ => (0, fresh),
        }
    }
}

/// Passes on what the reader asked, hashes what it must, and holds the last bytes back.
struct Sluice {
    start: u64,
    end: u64,
    /// The next byte from upstream.
    at: u64,
    proof: Option<Hasher>,
    held: VecDeque<Bytes>,
    held_len: u64,
    tell: mpsc::Sender<Result<Bytes, ReadError>>,
}

impl Sluice {
    /// Where the transfer may end: a body to be proven needs the blob to its last byte.
    fn target(&self) -> u64 {
        if self.proof.is_some() { u64::MAX } else { self.end }
    }

    /// Whether more is wanted.
    async fn pass(&mut self, mut chunk: Bytes) -> Result<bool, ReadError> {
        if let Some(hasher) = &mut self.proof {
            hasher.update(&chunk);
        }
        let from = self.at;
        self.at += chunk.len() as u64;
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
            self.send(front).await?;
        }
        Ok(self.at < self.target())
    }

    async fn finish(mut self, digest: &Digest) -> Result<(), ReadError> {
        if let Some(hasher) = self.proof.take() {
            let found = hasher.finish();
            if found != *digest {
                tracing::error!(%digest, %found, "upstream sent wrong content; the body is cut");
                return Err(ReadError(format!("upstream sent {found} for {digest}")));
            }
        }
        while let Some(bytes) = self.held.pop_front() {
            self.send(bytes).await?;
        }
        Ok(())
    }

    async fn send(&self, bytes: Bytes) -> Result<(), ReadError> {
        self.tell.send(Ok(bytes)).await.map_err(|_| ReadError("the reader left".to_owned()))
    }
}
