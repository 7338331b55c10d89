//! What the readers of a fill can see of it.

use std::sync::Arc;

use crate::store::{BlobFile, Ranges};

use super::super::answer::Refusal;
use super::source::{Right, Source};

/// The bytes at the end of a blob that nobody whose body is to be proven right gets before the digest matches (G2).
///
/// One byte would do to keep a body from completing. A little more keeps clients that stop reading when they have
/// parsed what they need (the end of a gzip stream, of a JSON document) from ever acting on unproven bytes of small
/// blobs, which are withheld whole.
pub(in crate::mirror) const WITHHELD: u64 = 16 << 10;

/// A snapshot of a fill. Readers watch it; only the fill's own task and its writers change it.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Progress {
    /// Counts the files this fill has begun: one more after each wrong digest.
    pub(in crate::mirror) generation: u32,
    /// Upstream's word on the size; unknown until its first answer.
    pub(in crate::mirror) size: Option<u64>,
    /// The file of this generation.
    pub(in crate::mirror) file: Option<Arc<BlobFile>>,
    /// What of it is there.
    pub(in crate::mirror) present: Ranges,
    pub(in crate::mirror) phase: Phase,
    /// The sources that are asked no more.
    pub(in crate::mirror) dropped: Vec<Dropped>,
}

/// A source that said no, or failed beyond its budget.
#[derive(Clone, Debug)]
pub(in crate::mirror) struct Dropped {
    pub(in crate::mirror) source: Source,
    pub(in crate::mirror) refusal: Refusal,
    /// What was known of its right before.
    pub(in crate::mirror) right: Right,
}

/// How far a fill has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::mirror) enum Phase {
    /// Waiting for upstream's verdict, or filling.
    #[default]
    Running,
    /// Every byte is there and the digest matches.
    Verified,
    /// The disk would not take it: each reader goes on by itself (G7).
    Unstored,
    /// It ended without the blob.
    Failed(Refusal),
    /// Nobody can be asked for more at the moment. What is there is read; who waits for more is told so.
    CutOff(Refusal),
    /// Nobody read from it, so it stopped; the next request goes on where it was.
    Paused,
}

/// What a reader at a position may do next.
#[derive(Debug)]
pub(in crate::mirror) enum Step {
    /// The bytes up to here are there.
    Read(Arc<BlobFile>, u64),
    Wait,
    /// Go on without the store.
    Leave,
    Fail(Refusal),
}

impl Progress {
    /// Decides for a reader at `position` of what ends at `end`; `proven` readers wait for the digest before the
    /// last bytes of the blob.
    pub(in crate::mirror) fn step(&self, position: u64, end: u64, proven: bool) -> Step {
        let limit = match (&self.phase, self.size) {
            (Phase::Verified, _) => end,
            (_, Some(size)) if proven => end.min(size.saturating_sub(WITHHELD)),
            _ => end,
        };
        let there = self.present.run_end(position).unwrap_or(position).min(limit);
        match (&self.file, &self.phase) {
            (Some(file), _) if there > position => Step::Read(Arc::clone(file), there),
            (_, Phase::Unstored) => Step::Leave,
            (_, Phase::Failed(refusal) | Phase::CutOff(refusal)) => Step::Fail(refusal.clone()),
            // Verified means all present, so a reader that finds nothing is past the end of the blob.
            (_, Phase::Verified) => Step::Fail(Refusal::Internal {
                reason: format!("a reader stands at {position} of a blob of {:?} bytes", self.size),
            }),
            // It stops only while it has no reader.
            (_, Phase::Paused) => {
                Step::Fail(Refusal::Internal { reason: "the fill stopped under its reader".to_owned() })
            }
            (_, Phase::Running) => Step::Wait,
        }
    }
}
