//! What the task of a relay and its readers share: the window with its bytes.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::fill::{ReadError, Source};
use super::blocks::Blocks;
use super::window::{Next, Window};
use crate::oci::Digest;

/// The bytes of one blob as they come by.
pub(super) struct Stream {
    pub(super) digest: Digest,
    /// The size, as those believe who read from it.
    pub(super) size: Option<u64>,
    pub(super) source: Source,
    began: Instant,
    state: Mutex<State>,
    /// Bytes came, or the end.
    news: Notify,
    /// Something changed that the task may be waiting for.
    wake: Notify,
}

pub(super) struct State {
    pub(super) window: Window,
    pub(super) blocks: Blocks,
    phase: Phase,
    /// Somebody found that the bytes are wrong: nobody new is to have them.
    condemned: bool,
    /// Whether the task waits for its readers.
    waits: bool,
}

enum Phase {
    Running,
    /// The window has reached the end of the blob.
    Whole,
    Failed(ReadError),
}

/// What a reader finds at its place.
pub(super) enum Taken {
    Bytes(Bytes),
    /// Not here yet.
    Wait,
    /// The blob ends here.
    End,
    /// Not here any more.
    FallenOut,
    Failed(ReadError),
}

impl Stream {
    /// An empty one at `start`, without room for anything yet.
    pub(super) fn new(digest: Digest, size: Option<u64>, source: Source, start: u64) -> Self {
        let (window, blocks) = (Window::new(start, 0), Blocks::new(start));
        let state = State { window, blocks, phase: Phase::Running, condemned: false, waits: false };
        let (news, wake) = (Notify::new(), Notify::new());
        Self { digest, size, source, began: Instant::now(), state: Mutex::new(state), news, wake }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a reader at `at` finds its bytes here, or soon will; how far the window has come then.
    pub(super) fn covers(&self, at: u64) -> Option<u64> {
        let state = self.lock();
        state.is_open_at(at).then(|| state.window.reach())
    }

    /// Whether a new request does well to read here, from `at` on, rather than try the store again: not from what is
    /// left of a transfer that is over.
    pub(super) fn is_under_way(&self, at: u64) -> bool {
        let state = self.lock();
        let over = matches!(state.phase, Phase::Whole) && !state.window.has_readers();
        state.is_open_at(at) && !over
    }

    /// A reader comes, unless its bytes have gone by in this moment.
    pub(super) fn join(&self, at: u64, end: u64) -> bool {
        let mut state = self.lock();
        let here = state.is_open_at(at);
        if here {
            state.window.join(at, end);
            self.wake.notify_one();
        }
        here
    }

    /// A reader takes the bytes at its place, up to `end`.
    pub(super) fn take(&self, at: u64, end: u64) -> Taken {
        let mut state = self.lock();
        if at < state.window.start() {
            return Taken::FallenOut;
        }
        let Some(mut bytes) = state.blocks.at(at) else {
            return match &state.phase {
                Phase::Running => Taken::Wait,
                Phase::Whole => Taken::End,
                Phase::Failed(error) => Taken::Failed(error.clone()),
            };
        };
        bytes.truncate(usize::try_from(end - at).unwrap_or(usize::MAX));
        state.window.advance(at, at + bytes.len() as u64, end);
        if std::mem::take(&mut state.waits) {
            self.wake.notify_one();
        }
        Taken::Bytes(bytes)
    }

    /// A reader leaves.
    pub(super) fn leave(&self, at: u64, end: u64) {
        self.lock().window.leave(at, end);
        self.wake.notify_one();
    }

    /// A reader found the bytes wrong; whether it is the first.
    pub(super) fn condemn(&self) -> bool {
        !std::mem::replace(&mut self.lock().condemned, true)
    }

    /// Resolves when something has come since it was made.
    pub(super) fn news(&self) -> tokio::sync::futures::Notified<'_> {
        self.news.notified()
    }

    /// What the task is to do. Where that is to wait, its readers wake it.
    pub(super) fn next(&self) -> Next {
        let mut state = self.lock();
        let next = match (&state.phase, state.window.has_readers()) {
            (Phase::Running, _) | (_, false) => state.window.next(self.age()),
            _ => Next::Enough,
        };
        state.waits = !matches!(next, Next::Read(_));
        next
    }

    /// What to ask of upstream: from where, and up to where. None: not now; the readers wake the task.
    pub(super) fn ask(&self) -> Option<(u64, u64)> {
        let mut state = self.lock();
        let end = state.window.ask(self.age());
        state.waits = end.is_none();
        end.map(|end| (state.window.reach(), end))
    }

    /// Whether the fastest reader needs more soon.
    pub(super) fn is_short(&self) -> bool {
        self.lock().window.is_short()
    }

    pub(super) fn reach(&self) -> u64 {
        self.lock().window.reach()
    }

    /// Adds as much of what came as there is room for; whether that is the end of the blob.
    pub(super) fn push(&self, bytes: &mut Bytes) -> bool {
        let mut state = self.lock();
        while !bytes.is_empty()
            && let Next::Read(most) = state.window.next(self.age())
        {
            let now = usize::try_from(most).unwrap_or(usize::MAX).min(bytes.len());
            // First the room, then the bytes.
            state.window.arrive(now as u64);
            state.trim();
            state.blocks.push(&bytes[..now]);
            bytes.advance(now);
        }
        let whole = self.size == Some(state.window.reach());
        if whole {
            state.phase = Phase::Whole;
        }
        drop(state);
        self.news.notify_waiters();
        whole
    }

    /// The blob ends where the window has come to.
    pub(super) fn ends_here(&self) {
        self.lock().phase = Phase::Whole;
        self.news.notify_waiters();
    }

    /// Nothing more will come.
    pub(super) fn fail(&self, error: ReadError) {
        let mut state = self.lock();
        if matches!(state.phase, Phase::Running) {
            state.phase = Phase::Failed(error);
        }
        drop(state);
        self.news.notify_waiters();
    }

    /// Ends it if nobody reads, so that nobody can join any more.
    pub(super) fn end_unread(&self) -> bool {
        let mut state = self.lock();
        let unread = !state.window.has_readers();
        if unread {
            state.phase = Phase::Failed(ReadError("the transfer has ended for want of readers".to_owned()));
        }
        unread
    }

    /// Waits until a reader has come, moved on where the task waits for that, or left.
    pub(super) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// Waits until nobody reads.
    pub(super) async fn deserted(&self) {
        while self.lock().window.has_readers() {
            self.woken().await;
        }
    }

    /// Makes the task look again, since it has been given other room, or is to make room.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// When the window has this age.
    pub(super) fn at_age(&self, age: Duration) -> Instant {
        self.began + age
    }

    fn age(&self) -> Duration {
        self.began.elapsed()
    }
}

impl State {
    fn is_open_at(&self, at: u64) -> bool {
        !self.condemned && !matches!(self.phase, Phase::Failed(_)) && self.window.covers(at)
    }

    /// Drops the bytes that the window keeps no more.
    pub(super) fn trim(&mut self) {
        self.blocks.drop_before(self.window.start());
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("digest", &self.digest).finish_non_exhaustive()
    }
}
