//! How fast bodies flow: gates that a test opens, holds before headers, and links with a rate.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::support::soon;

/// Lets the bytes of one object pass only where a test has said so, by their offset in the object, whichever request
/// they answer. A test can await the moment a transfer is held, and so needs no sleep to be "in the middle".
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<watch::Sender<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    open: bool,
    allowed: Vec<Range<u64>>,
    held: Vec<u64>,
}

impl Gate {
    /// Lets the bytes before `offset` pass.
    pub fn allow(&self, offset: u64) {
        self.allow_range(0..offset);
    }

    /// Lets the bytes of `range` pass.
    pub fn allow_range(&self, range: Range<u64>) {
        self.0.send_modify(|state| state.allowed.push(range));
    }

    /// Lets everything pass, from now on.
    pub fn open(&self) {
        self.0.send_modify(|state| state.open = true);
    }

    /// Waits until a transfer is held at `offset`: everything before it has been written to the socket.
    pub async fn held_at(&self, offset: u64) {
        let mut changes = self.0.subscribe();
        let wait = changes.wait_for(|state| state.held.contains(&offset));
        soon(&format!("a transfer held at byte {offset}"), wait).await.unwrap();
    }

    /// Waits until nothing is held.
    pub async fn idle(&self) {
        let mut changes = self.0.subscribe();
        soon("no transfer held", changes.wait_for(|state| state.held.is_empty())).await.unwrap();
    }

    /// Offsets at which transfers are held now.
    pub fn held(&self) -> Vec<u64> {
        self.0.borrow().held.clone()
    }

    /// How many of the `most` bytes from `at` may go; waits until at least one may.
    pub(super) async fn pass(&self, at: u64, most: u64) -> u64 {
        let free = self.0.borrow().free(at);
        if free > 0 {
            return free.min(most);
        }
        let _held = Held::enter(self, at);
        let mut changes = self.0.subscribe();
        let free =
            changes.wait_for(|state| state.free(at) > 0).await.map_or(u64::MAX, |state| state.free(at));
        free.min(most)
    }
}

impl GateState {
    fn free(&self, at: u64) -> u64 {
        if self.open {
            return u64::MAX;
        }
        self.allowed.iter().filter(|range| range.contains(&at)).map(|range| range.end - at).max().unwrap_or(0)
    }
}

/// One transfer that waits; leaves the list also when its connection is dropped.
struct Held<'a>(&'a Gate, u64);

impl<'a> Held<'a> {
    fn enter(gate: &'a Gate, at: u64) -> Self {
        gate.0.send_modify(|state| state.held.push(at));
        Self(gate, at)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| {
            if let Some(place) = state.held.iter().position(|&at| at == self.1) {
                state.held.swap_remove(place);
            }
        });
    }
}

/// Keeps answers back before their status line until it is released.
#[derive(Clone, Debug, Default)]
pub struct Hold(Arc<watch::Sender<(usize, bool)>>);

impl Hold {
    /// A hold that keeps everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until `count` requests have come to it since the start.
    pub async fn arrived(&self, count: usize) {
        let mut changes = self.0.subscribe();
        let wait = changes.wait_for(|state| state.0 >= count);
        soon(&format!("{count} requests at the hold"), wait).await.unwrap();
    }

    /// Lets all go, and all that come later.
    pub fn release(&self) {
        self.0.send_modify(|state| state.1 = true);
    }

    pub(super) async fn wait(&self) {
        self.0.send_modify(|state| state.0 += 1);
        let mut changes = self.0.subscribe();
        let _ = changes.wait_for(|state| state.1).await;
    }
}

/// For so long a line goes on with what it was given, as by the queue before a real one: what is handed over late by no
/// more than this costs it nothing, so that its rate does not depend on how busy the machine is.
const QUEUE: Duration = Duration::from_millis(100);

/// A line that carries so many bytes a second, for all who share it. Zero: no limit.
#[derive(Debug)]
pub struct Link {
    rate: u64,
    stopped: AtomicBool,
    free: Mutex<Instant>,
}

impl Link {
    /// A line of `rate` bytes a second.
    pub fn new(rate: u64) -> Self {
        Self { rate, stopped: AtomicBool::new(false), free: Mutex::new(Instant::now()) }
    }

    /// How many bytes to hand over at once, so that the line is smooth.
    pub(super) fn piece(&self) -> u64 {
        if self.rate == 0 { u64::MAX } else { (self.rate / 100).max(1) }
    }

    /// Waits until the line has carried `bytes`.
    pub(super) async fn carry(&self, bytes: u64) {
        if self.rate == 0 {
            return;
        }
        let done = {
            let mut free = self.free.lock().unwrap();
            let now = Instant::now();
            let start = (*free).max(now.checked_sub(QUEUE).unwrap_or(now));
            *free = start + Duration::from_secs_f64(bytes as f64 / self.rate as f64);
            *free
        };
        tokio::time::sleep_until(done).await;
        while self.stopped.load(Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether it carries nothing from now on. Has no effect on a line without a limit.
    pub(super) fn stop(&self, stopped: bool) {
        self.stopped.store(stopped, Ordering::SeqCst);
    }
}
