//! One reader past the store: for blobs that the disk cannot take (G7).
//!
//! Nothing is stored, and the transfer is shared only with those who read nearby (`relay`), so G1 and G4 hold as far as
//! that goes; G2 holds in full: each body that claims to be whole is hashed on its way, by its own reader, and its last
//! bytes are withheld until the digest matches. What a fill brought into its file before the disk refused is used.

mod sluice;

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;

use crate::oci::{Digest, Hasher};
use crate::store::{BlobFile, Ranges};
use crate::upstream::Trail;

use super::fill::{Delivery, Phase, Progress, ReadError, Source, Wrong};
use super::relay::{Relays, Tap};
use sluice::{Failed, Sluice, read, unprovable};

/// How much of a file is hashed at once.
const HASH: u64 = 1 << 20;

/// How much of a file a reader has in hand at once.
const READ: u64 = 64 << 10;

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
    pub(super) relays: Relays,
    /// Who sent something else lately.
    pub(super) wrong: Wrong,
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
        // One, since a thousand readers may be slow at once.
        let (tell, stream) = mpsc::channel(1);
        let direct = self.clone();
        self.relays.tasks().spawn(Trail::carried(async move {
            let stop = direct.relays.stopping().clone();
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
        }));
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
        let before = before.map(Arc::new);
        // What was read from a file may be the file's fault.
        let is_all_from_upstream = before.is_none();
        let (held, held_len) = (VecDeque::new(), 0);
        let mut sluice = Sluice { start, end, at: start, proof: None, sent: None, held, held_len, tell };
        if delivery == Delivery::Verified {
            let hashed = self.hash_before(start, before.as_deref()).await;
            let unproven = before.clone().filter(|before| before.fill.is_some() && before.from < start);
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
        let target = if sluice.proof.is_some() { self.size.unwrap_or(u64::MAX) } else { end };
        let mut road = Road { direct: &self, target, tap: None, file: before };
        while let Some(chunk) = road.next(sluice.at).await? {
            if !sluice.pass(chunk).await? {
                break;
            }
        }
        let (upstream, is_proof) = (self.source.site.name(), sluice.proof.is_some());
        match sluice.finish(&self.digest).await {
            Ok(()) => {
                if is_proof {
                    self.wrong.forget(upstream, &self.digest);
                }
                Ok(())
            }
            Err(Failed::Wrong(error)) => {
                if road.condemn() && is_all_from_upstream {
                    self.wrong.note(&self.source.site, &self.digest, &error.0);
                }
                Err(error)
            }
            Err(Failed::Other(error)) => Err(error),
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
                let end = there.min(at + HASH);
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

    /// What the file of a fill has from `at` on. A blob's own file is done with: it has failed to be read.
    fn run_at(&self, at: u64) -> Option<Range<u64>> {
        self.fill.as_ref()?;
        self.present.run_end(at).filter(|end| *end > at).map(|end| at..end)
    }

    /// Where the file has something again.
    fn next_run(&self, at: u64) -> Option<u64> {
        self.fill.as_ref()?;
        self.present.iter().map(|run| run.start).find(|start| *start > at)
    }
}

/// Where a reader's bytes come from, one after the other: what the file has, from the file, the rest from a relay.
struct Road<'a> {
    direct: &'a Direct,
    target: u64,
    tap: Option<Tap>,
    /// Until it cannot be read.
    file: Option<Arc<Before>>,
}

impl Road<'_> {
    /// The bytes at `at`; none at the end.
    async fn next(&mut self, at: u64) -> Result<Option<Bytes>, ReadError> {
        if let Some(before) = &self.file
            && let Some(run) = before.run_at(at)
        {
            self.tap = None;
            let (before, end) = (Arc::clone(before), run.end.min(at + READ).min(self.target));
            match spawn_blocking(move || read(&before.file, at..end)).await {
                Ok(Ok(bytes)) => return Ok(Some(bytes.into()).filter(|bytes: &Bytes| !bytes.is_empty())),
                _ => self.file = None,
            }
        }
        let tap = match &mut self.tap {
            Some(tap) => tap,
            None => {
                let Direct { digest, size, source, relays, .. } = self.direct;
                let next = self.file.as_ref().and_then(|before| before.next_run(at));
                let end = next.unwrap_or(u64::MAX).min(self.target);
                self.tap.insert(relays.tap(digest, *size, source, at, end))
            }
        };
        tap.next().await
    }

    /// What came was wrong; whether nobody has said so before.
    fn condemn(&self) -> bool {
        self.tap.as_ref().is_some_and(Tap::condemn)
    }
}
