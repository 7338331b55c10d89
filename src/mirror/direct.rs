//! One reader's own transfer, past the store: for blobs that the disk cannot take (G7).
//!
//! Nothing is stored and nothing shared, so G1 and G4 are suspended; G2 is not: a body that claims to be whole is
//! hashed on its way, and its last bytes are withheld until the digest matches.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::oci::{Digest, Hasher};
use crate::store::{BlobFile, Ranges};
use crate::upstream::{Ask, Cause, Share, Transfer};

use super::fill::{Delivery, Phase, Progress, ReadError, Source, WITHHELD};

/// Chunks on their way to one reader; the transfer waits when they are not taken.
const WINDOW: usize = 8;

/// How much of a file is read at once.
const READ: u64 = 1 << 20;

/// How often a transfer is taken up again without a byte in between.
const ATTEMPTS: u32 = 4;

/// What a stream gives.
#[derive(Debug)]
pub(super) enum Chunk {
    Bytes(Bytes),
    /// All of it came, and is right as far as that was to be proven. A stream that ends without this was cut off.
    End,
}

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
    /// Streams `start..end` to a reader who had what comes before, if anything, from a file.
    ///
    /// The task ends with its reader, with the mirror, or with the body.
    pub(super) fn stream(
        &self,
        start: u64,
        end: u64,
        delivery: Delivery,
        before: Option<Before>,
    ) -> mpsc::Receiver<Result<Chunk, ReadError>> {
        let (tell, stream) = mpsc::channel(WINDOW);
        let direct = self.clone();
        self.tasks.spawn(async move {
            let stop = direct.stop.clone();
            let work = direct.run(start, end, delivery, before, tell.clone());
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
        before: Option<Before>,
        tell: mpsc::Sender<Result<Chunk, ReadError>>,
    ) -> Result<(), ReadError> {
        let mut sluice = Sluice {
            start,
            end,
            at: start,
            proof: None,
            sent: None,
            held: VecDeque::new(),
            held_len: 0,
            tell,
        };
        if delivery == Delivery::Verified {
            let hashed = self.hash_before(start, before.as_ref()).await;
            let unproven = before.filter(|before| before.fill.is_some() && before.from < start);
            (sluice.at, sluice.proof, sluice.sent) = match (hashed, unproven) {
                (Ok((at, hasher)), unproven) => {
                    (at, Some(hasher), unproven.filter(|before| before.from.max(at) < start))
                }
                // Nobody can read any more what was sent. The fill has hashed it as it came.
                (Err(fresh), Some(unproven)) if unproven.is_proven_by_its_fill().await => {
                    (0, Some(fresh), None)
                }
                (Err(fresh), None) => (0, Some(fresh), None),
                (Err(_), Some(_)) => return Err(unprovable()),
            };
        }
        let (mut broken, share) = (0, Share::new());
        loop {
            let ask = match (delivery, sluice.at) {
                (Delivery::Verified, 0) => Ask::Whole,
                (Delivery::Verified, at) => Ask::From(at),
                (Delivery::AsArrived, at) => Ask::Range { start: at, end },
            };
            let upstream = self.source.site.upstream();
            let turn = upstream.turn(&share).await;
            let Source { repository, memo, .. } = &self.source;
            let opened = upstream.blob(repository, &self.digest, ask, memo, &turn).await;
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
        if let Some(coding) = transfer.encoded.as_deref().filter(|_| self.size != transfer.total) {
            // Its ranges are no ranges of the content.
            return Err(ReadError(format!("upstream sends {coding} unasked, and the store cannot take it")));
        }
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
                    if self.size.is_some_and(|size| position > size) {
                        return Err(ReadError("upstream sends more than the blob has".to_owned()));
                    }
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

    /// The hash over what comes before `start`, as far as the file has it without a gap; a fresh one if the file cannot
    /// be read.
    async fn hash_before(&self, start: u64, before: Option<&Before>) -> Result<(u64, Hasher), Hasher> {
        let algorithm = self.digest.algorithm();
        let there = before.map_or(0, |before| before.present.prefix().min(start));
        let Some(Before { file, .. }) = before.filter(|_| there > 0) else {
            return Ok((0, Hasher::new(algorithm)));
        };
        let file = Arc::clone(file);
        let hashed = spawn_blocking(move || {
            let mut hasher = Hasher::new(algorithm);
            let mut at = 0;
            while at < there {
                let end = there.min(at + READ);
                hasher.update(&read(&file, at..end)?);
                at = end;
            }
            Ok::<_, io::Error>(hasher)
        });
        match hashed.await {
            Ok(Ok(hasher)) => Ok((there, hasher)),
            _ => Err(Hasher::new(algorithm)),
        }
    }
}

/// What a reader had before it went on past the store.
#[derive(Debug)]
pub(super) struct Before {
    /// The file that it came from.
    pub(super) file: Arc<BlobFile>,
    /// What of the file is there.
    pub(super) present: Ranges,
    /// The first byte that the reader was sent.
    pub(super) from: u64,
    /// The fill whose file it is, while nobody has proven its bytes right.
    pub(super) fill: Option<watch::Receiver<Progress>>,
}

impl Before {
    /// Waits for what the fill finds of the bytes, which it hashes as they come and not as they are read.
    async fn is_proven_by_its_fill(&self) -> bool {
        let Some(mut fill) = self.fill.clone() else { return true };
        let generation = fill.borrow().generation;
        let over =
            |progress: &Progress| progress.generation != generation || progress.phase != Phase::Running;
        let ended = fill.wait_for(over).await;
        ended.is_ok_and(|end| end.generation == generation && end.phase == Phase::Verified)
    }
}

fn unprovable() -> ReadError {
    ReadError("what was sent before cannot be proven right".to_owned())
}

/// Reads all of a range of a file.
fn read(file: &BlobFile, range: Range<u64>) -> io::Result<Vec<u8>> {
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

/// Passes on what the reader asked, hashes what it must, and holds the last bytes back.
struct Sluice {
    start: u64,
    end: u64,
    /// The next byte from upstream.
    at: u64,
    proof: Option<Hasher>,
    /// What was sent from a file without proof, and is not in the hash: it has to be what upstream sends now, since
    /// it is that which the hash is of.
    sent: Option<Before>,
    held: VecDeque<Bytes>,
    held_len: u64,
    tell: mpsc::Sender<Result<Chunk, ReadError>>,
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
        if let Some(Before { file, from: first, .. }) = &self.sent {
            let again = from.max(*first)..self.at.min(self.start);
            if again.start < again.end {
                let file = Arc::clone(file);
                let range = again.clone();
                let was = spawn_blocking(move || read(&file, range)).await;
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
            self.send(Chunk::Bytes(bytes)).await?;
        }
        self.send(Chunk::End).await
    }

    async fn send(&self, chunk: Chunk) -> Result<(), ReadError> {
        self.tell.send(Ok(chunk)).await.map_err(|_| ReadError("the reader left".to_owned()))
    }
}
