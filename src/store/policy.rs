//! The numbers by which the store decides; no operator has a reason to change them, tests do.

use std::time::Duration;

/// What shields from eviction, how far it goes, and how long the index may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Policy {
    /// What was used within this time may still be on its way to becoming a whole image.
    pub(super) lately: Duration,
    /// A manifest that was used within this time stays: a client that got its digest from a HEAD will come for it.
    pub(super) manifest_grace: Duration,
    /// How much of the budget is used after eviction, in percent, so that it comes in batches.
    pub(super) low_mark: u64,
    /// How much goes at once beyond what is needed, so that whoever waits for room does not wait for many files to go.
    pub(super) batch: u64,
    /// Manifests may take one part in so many of the budget before they are evicted for their own sake.
    pub(super) manifest_part: u64,
    /// Kept free of content, so that the index may grow between one look at its size and the next; at most a sixteenth of
    /// the budget.
    pub(super) index_spare: u64,
    /// The largest blob that is read whole before its request is answered, when its file has been replaced: what slow
    /// disks read within a second or so.
    pub(super) read_at_once: u64,
    /// How long after the last failure of the disk it is said to work again.
    pub(super) calm: Duration,
    /// When a call of the disk has not returned for so long, nothing new is begun; a sync may take six times as long.
    pub(super) hung_after: Duration,
    /// How long after the start what is stored begins to be read again.
    pub(super) scrub_after: Duration,
    /// For how long it is not, when the disk lets nothing be read.
    pub(super) scrub_rest: Duration,
    /// For how long a fill waits to learn what a crash has left, where that decides whether there is room for it.
    pub(super) walk_holds: Duration,
    /// Commits of the index begin at most this often.
    pub(super) commit_every: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            lately: Duration::from_secs(10 * 60),
            manifest_grace: Duration::from_secs(5 * 60),
            low_mark: 90,
            batch: 8 << 30,
            manifest_part: 32,
            index_spare: 512 << 10,
            read_at_once: 64 << 20,
            calm: Duration::from_secs(30),
            hung_after: Duration::from_secs(10),
            scrub_after: Duration::from_secs(60),
            scrub_rest: Duration::from_secs(10 * 60),
            walk_holds: Duration::from_secs(5),
            commit_every: Duration::from_millis(200),
        }
    }
}
