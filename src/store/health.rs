//! Whether the disk takes what the store writes: said in one line when it begins to fail, and in one when that is over.
//!
//! A disk that fails does so for every blob, many times a second, and who reads the log needs it once: what failed, where,
//! and what to do. So the store writes through a watched disk (`watched`), which notes here what fails and what works, and
//! whoever gets the error handles it without a word of its own. Each kind of writing fails and recovers for itself: a full disk still takes
//! names and small records, and that is no recovery. The index is not watched; it is tried again on its own and has a
//! figure of its own.
//!
//! What is not there is no failure of the disk: a directory that somebody removed is made again by who misses it.
//!
//! A disk may also hang. Whoever began a call waits for it, but nobody else has to: while calls of a kind do not return,
//! nothing new is begun, save one try now and then, in case that the disk has lost a call and answers others. Reads of what
//! is stored are watched for that alone, and by themselves: where they hang, nobody else begins one.

use super::error::is_full;
use super::policy::Policy;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tracing::{info, warn};

/// What a store does to a disk, as far as one may work while another does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(super) enum Kind {
    /// There is room for a blob on the disk.
    Room = 1,
    /// The bytes of blobs.
    Bytes = 1 << 1,
    /// Small files: manifests, records of ranges, sidecars.
    Records = 1 << 2,
    /// Making any of it durable.
    Syncs = 1 << 3,
    /// New files, new names, directories.
    Names = 1 << 4,
    /// Files that go.
    Removals = 1 << 5,
    /// That any of these returns.
    Answers = 1 << 6,
    /// What is stored is read.
    Reads = 1 << 7,
}

/// How writing fares.
#[derive(Debug)]
pub(super) struct Health {
    /// The kinds that fail, as `state` has them, for those who only look.
    failing: AtomicU8,
    state: Mutex<State>,
    calm: Duration,
    calls: Mutex<Calls>,
    /// Those that read what is stored, of which nothing follows for those that write.
    reads: Mutex<Calls>,
    /// Whether it has been said that reads do not return.
    reads_hang: AtomicBool,
    /// Numbers the calls in the order in which they begin.
    serial: AtomicU64,
    hung_after: Duration,
}

/// Whether a new blob may be begun, as far as the disk answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It does.
    Prompt,
    /// It does not, but it is time to see whether it does again.
    Try,
    /// It does not.
    Hangs,
}

/// The calls that have not returned.
#[derive(Debug, Default)]
struct Calls {
    /// By kind, those that began after the last one that has returned.
    waiting: HashMap<Kind, BTreeMap<u64, Instant>>,
    /// When somebody was last let through although the disk hung, or it was noticed.
    tried: Option<Instant>,
}

impl Calls {
    fn begin(&mut self, kind: Kind, call: u64, now: Instant) {
        self.waiting.entry(kind).or_default().insert(call, now);
    }

    /// A call has returned: those that began before it are slow, and no sign of a disk that hangs.
    fn end(&mut self, kind: Kind, call: u64) {
        if let Some(waiting) = self.waiting.get_mut(&kind) {
            *waiting = waiting.split_off(&(call + 1));
        }
    }

    fn answer(&mut self, now: Instant, hung_after: Duration) -> Answer {
        let hangs = self.waiting.iter().any(|(kind, waiting)| {
            // What many writes have left to be done is done by a sync.
            let patience = if *kind == Kind::Syncs { 6 * hung_after } else { hung_after };
            waiting
                .first_key_value()
                .is_some_and(|(_, begun)| now.saturating_duration_since(*begun) >= patience)
        });
        if !hangs {
            self.tried = None;
            return Answer::Prompt;
        }
        match self.tried {
            Some(tried) if now.saturating_duration_since(tried) >= 3 * hung_after => {
                self.tried = Some(now);
                Answer::Try
            }
            Some(_) => Answer::Hangs,
            None => {
                self.tried = Some(now);
                Answer::Hangs
            }
        }
    }
}

/// A time of trouble that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Spell {
    failures: u64,
    lasted: Duration,
}

#[derive(Debug, Default)]
struct State {
    failing: u8,
    /// Whether the last failure was for want of room.
    full: bool,
    /// Failures since it was last said that all is well.
    failures: u64,
    /// When the first and the last of them were, while it has been said that writing fails.
    said: Option<(Instant, Instant)>,
}

impl State {
    /// Notes a failure; true when that is news.
    fn failed(&mut self, kind: Kind, now: Instant) -> bool {
        self.failing |= kind as u8;
        self.failures += 1;
        let news = self.said.is_none();
        self.said = Some((self.said.map_or(now, |(first, _)| first), now));
        news
    }

    /// What has been over for long enough to say so: a disk that is almost full fails and works by turns.
    fn over(&mut self, now: Instant, calm: Duration) -> Option<Spell> {
        let (first, last) = self.said?;
        if self.failing != 0 || now.saturating_duration_since(last) < calm {
            return None;
        }
        let spell = Spell { failures: self.failures, lasted: last.saturating_duration_since(first) };
        *self = Self::default();
        Some(spell)
    }
}

impl Health {
    /// Healthy, until something fails.
    pub(super) fn new(policy: &Policy) -> Self {
        Self {
            failing: AtomicU8::new(0),
            state: Mutex::default(),
            calm: policy.calm,
            calls: Mutex::default(),
            reads: Mutex::default(),
            reads_hang: AtomicBool::new(false),
            serial: AtomicU64::new(0),
            hung_after: policy.hung_after,
        }
    }

    /// A call begins that may hang; its number is for when it returns.
    pub(super) fn begin(&self, kind: Kind) -> u64 {
        let call = self.serial.fetch_add(1, Ordering::Relaxed);
        self.calls(kind).begin(kind, call, Instant::now());
        call
    }

    pub(super) fn end(&self, kind: Kind, call: u64) {
        self.calls(kind).end(kind, call);
    }

    /// Whether what is stored can be read, as far as the disk answers; what it does not is told of `path`.
    pub(super) fn answers_reads(&self, path: &Path) -> bool {
        let answer = self.calls(Kind::Reads).answer(Instant::now(), self.hung_after);
        let hangs = answer != Answer::Prompt;
        if self.reads_hang.load(Ordering::Relaxed) != hangs
            && self.reads_hang.swap(hangs, Ordering::Relaxed) != hangs
        {
            let path = path.display();
            if hangs {
                let advice = advice(&io::ErrorKind::TimedOut.into());
                warn!(target: "roadstead::store", %path, advice, "the disk does not answer; what it has is streamed from upstream");
            } else {
                info!(target: "roadstead::store", %path, "the disk answers again");
            }
        }
        answer != Answer::Hangs
    }

    /// Whether the disk answers; what it does not is told of `path`.
    pub(super) fn answer(&self, path: &Path) -> Answer {
        let answer = self.calls(Kind::Answers).answer(Instant::now(), self.hung_after);
        match answer {
            Answer::Prompt => self.worked(Kind::Answers),
            Answer::Try => {}
            Answer::Hangs => {
                self.failed(Kind::Answers, "have an answer", path, &io::ErrorKind::TimedOut.into());
            }
        }
        answer
    }

    fn calls(&self, kind: Kind) -> MutexGuard<'_, Calls> {
        let calls = if kind == Kind::Reads { &self.reads } else { &self.calls };
        calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the last try of anything failed, or has no end.
    pub(super) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed) != 0
    }

    /// Whether it fails for want of room.
    pub(super) fn is_full(&self) -> bool {
        self.is_failing() && self.lock().full
    }

    pub(super) fn failed(&self, kind: Kind, doing: &'static str, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        let mut state = self.lock();
        let news = state.failed(kind, Instant::now());
        state.full = is_full(error);
        self.failing.store(state.failing, Ordering::Relaxed);
        drop(state);
        if news {
            warn!(
                target: "roadstead::store", doing, path = %path.display(), %error, advice = advice(error),
                "the disk fails; what it does not take is streamed past the store, and tried again with the next blob",
            );
        }
    }

    pub(super) fn worked(&self, kind: Kind) {
        self.clear(kind as u8);
    }

    /// A blob was stored: all that this takes works, which is all but removing.
    pub(super) fn stored(&self) {
        self.clear(!(Kind::Removals as u8 | Kind::Answers as u8));
    }

    fn clear(&self, kinds: u8) {
        if self.failing.load(Ordering::Relaxed) & kinds == 0 {
            return;
        }
        let mut state = self.lock();
        state.failing &= !kinds;
        self.failing.store(state.failing, Ordering::Relaxed);
        drop(state);
        self.look();
    }

    /// Says so when trouble has been over for a while; to be called now and then.
    pub(super) fn look(&self) {
        let over = self.lock().over(Instant::now(), self.calm);
        if let Some(Spell { failures, lasted }) = over {
            info!(
                target: "roadstead::store", failures, seconds = lasted.as_secs(),
                "the disk takes writes again",
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What whoever reads the line should do.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        _ if is_full(error) => {
            "free space, or inodes, on the file system of the data directory, or lower store.max_bytes"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "see the kernel's log for why the file system is read-only, and mount it writable again"
        }
        io::ErrorKind::PermissionDenied => "give the data directory to the user that the mirror runs as",
        io::ErrorKind::TimedOut => {
            "see the kernel's log, or whether the storage behind the data directory is away"
        }
        _ => "see the kernel's log; the disk may be dying",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Duration = Duration::from_secs(30);

    #[test]
    fn trouble_is_said_once_and_its_end_once_however_often_it_comes_and_goes_between() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut state = State::default();
        assert_eq!(state.over(at(0), CALM), None, "nothing has been said");
        assert!(state.failed(Kind::Bytes, at(1)));
        assert!(!state.failed(Kind::Bytes, at(2)) && !state.failed(Kind::Syncs, at(3)));
        state.failing &= !(Kind::Bytes as u8);
        assert_eq!(state.over(at(100), CALM), None, "syncs still fail");
        state.failing = 0;
        assert_eq!(state.over(at(32), CALM), None, "it has only just worked");
        assert!(!state.failed(Kind::Bytes, at(33)));
        state.failing = 0;
        assert_eq!(state.over(at(62), CALM), None);
        let spell = Spell { failures: 4, lasted: Duration::from_secs(32) };
        assert_eq!(state.over(at(63), CALM), Some(spell));
        assert_eq!(state.over(at(1000), CALM), None, "it is said once");
        assert!(state.failed(Kind::Names, at(1001)), "the next trouble is news again");
    }

    #[test]
    fn each_kind_of_writing_recovers_for_itself_and_a_stored_blob_says_that_all_does() {
        let health = Health::new(&Policy { calm: Duration::ZERO, ..Policy::default() });
        let full = io::Error::from(io::ErrorKind::StorageFull);
        health.failed(Kind::Bytes, "write", Path::new("x"), &full);
        health.failed(Kind::Removals, "remove", Path::new("x"), &io::Error::other("broken"));
        health.worked(Kind::Records);
        assert!(health.is_failing() && !health.is_full());
        health.failed(Kind::Room, "reserve", Path::new("x"), &full);
        assert!(health.is_full());
        health.stored();
        assert!(health.is_failing(), "nothing was removed");
        health.worked(Kind::Removals);
        assert!(!health.is_failing() && !health.is_full());
        health.failed(Kind::Names, "open", Path::new("x"), &io::ErrorKind::NotFound.into());
        assert!(!health.is_failing(), "what is not there is not broken");
    }

    #[test]
    fn reads_that_do_not_return_are_told_to_who_reads_alone() {
        let (health, path) =
            (Health::new(&Policy { hung_after: Duration::ZERO, ..Policy::default() }), Path::new("x"));
        assert!(health.answers_reads(path));
        let call = health.begin(Kind::Reads);
        assert!(!health.answers_reads(path));
        assert_eq!(health.answer(path), Answer::Prompt, "nothing follows for those that write");
        assert!(!health.is_failing());
        health.end(Kind::Reads, call);
        assert!(health.answers_reads(path));
        health.begin(Kind::Names);
        assert_eq!(health.answer(path), Answer::Hangs);
        assert!(health.answers_reads(path), "nor the other way round");
    }

    #[test]
    fn a_disk_hangs_while_no_call_of_a_kind_returns_and_now_and_then_one_more_is_tried() {
        const LIMIT: Duration = Duration::from_secs(10);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut calls = Calls::default();
        assert_eq!(calls.answer(at(0), LIMIT), Answer::Prompt);
        calls.begin(Kind::Syncs, 0, at(0));
        calls.begin(Kind::Names, 1, at(0));
        calls.begin(Kind::Names, 2, at(5));
        assert_eq!(calls.answer(at(9), LIMIT), Answer::Prompt);
        calls.end(Kind::Names, 2);
        assert_eq!(
            calls.answer(at(30), LIMIT),
            Answer::Prompt,
            "a later one returned, and syncs may take long"
        );
        calls.begin(Kind::Names, 3, at(31));
        calls.begin(Kind::Bytes, 4, at(40));
        calls.end(Kind::Bytes, 4);
        for (second, expected) in [
            (41, Answer::Hangs),
            (60, Answer::Hangs),
            (71, Answer::Try),
            (72, Answer::Hangs),
            (100, Answer::Hangs),
            (101, Answer::Try),
        ] {
            assert_eq!(calls.answer(at(second), LIMIT), expected, "at {second}");
        }
        // The one that was let through has its answer; the others never will.
        calls.begin(Kind::Names, 5, at(101));
        calls.end(Kind::Names, 5);
        calls.end(Kind::Syncs, 0);
        assert_eq!(calls.answer(at(102), LIMIT), Answer::Prompt);
    }
}
