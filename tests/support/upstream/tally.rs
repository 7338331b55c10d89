//! What the upstream saw and sent, counted at its socket.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Instant;

use tokio::sync::watch;

use super::script::{Asked, On};
use crate::support::soon;

/// One request and what went out for it, so far.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The request.
    pub asked: Asked,
    /// The status that was answered; 0 while there is none.
    pub status: u16,
    /// Bytes of status line and headers that were written.
    pub header_bytes: u64,
    /// Bytes of the body that were written; the framing of chunks does not count.
    pub body_bytes: u64,
    /// The digest of the object that was sent, if it was one.
    pub object: Option<String>,
    /// Where in the object the body begins.
    pub offset: u64,
    /// Whether the exchange is over, well or not.
    pub over: bool,
    /// The word of the act that it got.
    pub note: Option<&'static str>,
    /// When the request was here.
    pub began: Instant,
    /// Just before the last bytes of the body were written that were: the peer had not all of it then.
    pub last: Option<Instant>,
    /// When the exchange was over, as upstream found: its peer may have known before.
    pub ended: Option<Instant>,
}

/// All requests of one upstream.
#[derive(Debug, Default)]
pub struct Tally {
    seen: Mutex<Vec<Seen>>,
    changes: watch::Sender<()>,
    connections: AtomicUsize,
    open: AtomicUsize,
    most: AtomicUsize,
}

impl Tally {
    /// Everything seen so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// How many requests matched.
    pub fn count(&self, on: &On) -> usize {
        self.seen.lock().unwrap().iter().filter(|seen| on.meets(&seen.asked)).count()
    }

    /// How many body bytes went out for requests that matched.
    pub fn sent(&self, on: &On) -> u64 {
        self.sum(|seen| if on.meets(&seen.asked) { seen.body_bytes } else { 0 })
    }

    /// How many bytes of this object went out, wherever it was asked for.
    pub fn sent_of(&self, digest: &str) -> u64 {
        self.sum(|seen| if seen.object.as_deref() == Some(digest) { seen.body_bytes } else { 0 })
    }

    /// How many bytes of status lines and headers went out.
    pub fn header_bytes(&self) -> u64 {
        self.sum(|seen| seen.header_bytes)
    }

    /// How many connections were ever accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many connections were open at one moment, at the most.
    pub fn most_connections(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    /// The `Authorization` headers that came, in order.
    pub fn authorizations(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|seen| seen.asked.header("authorization").map(str::to_owned)).collect()
    }

    /// Waits until `count` requests have matched.
    pub async fn wait(&self, on: On, count: usize) {
        self.until(&format!("{count} requests like {on:?}"), || self.count(&on) >= count).await;
    }

    /// Waits until no request is being answered.
    pub async fn quiet(&self) {
        self.until("upstream quiet", || self.seen.lock().unwrap().iter().all(|seen| seen.over)).await;
    }

    async fn until(&self, what: &str, holds: impl Fn() -> bool) {
        let mut changes = self.changes.subscribe();
        let wait = async {
            while !holds() {
                let _ = changes.changed().await;
            }
        };
        soon(what, wait).await;
    }

    fn sum(&self, of: impl Fn(&Seen) -> u64) -> u64 {
        self.seen.lock().unwrap().iter().map(of).sum()
    }

    pub(super) fn connect(&self) -> usize {
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        self.connections.fetch_add(1, Ordering::SeqCst)
    }

    pub(super) fn disconnect(&self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.changes.send_replace(());
    }

    pub(super) fn enter(&self, asked: Asked) -> Exchange<'_> {
        let mut seen = self.seen.lock().unwrap();
        seen.push(Seen {
            asked,
            status: 0,
            header_bytes: 0,
            body_bytes: 0,
            object: None,
            offset: 0,
            over: false,
            note: None,
            began: Instant::now(),
            last: None,
            ended: None,
        });
        self.changes.send_replace(());
        Exchange { tally: self, place: seen.len() - 1 }
    }
}

/// The entry of a request that is being answered; closes itself when dropped.
#[derive(Debug)]
pub(super) struct Exchange<'a> {
    tally: &'a Tally,
    place: usize,
}

impl Exchange<'_> {
    pub(super) fn note(&self, word: &'static str) {
        self.change(|seen| seen.note = Some(word));
    }

    pub(super) fn head(&self, status: u16, bytes: u64, object: Option<&(String, u64)>) {
        self.change(|seen| {
            seen.status = status;
            seen.header_bytes += bytes;
            if let Some((digest, offset)) = object {
                seen.object = Some(digest.clone());
                seen.offset = *offset;
            }
        });
    }

    /// Counts what `write` brings out of the body. Whoever has these bytes finds them counted, because nobody can look
    /// before this ends.
    pub(super) fn body(&self, write: impl FnOnce() -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let written = {
            let mut seen = self.tally.seen.lock().unwrap();
            let (seen, now) = (&mut seen[self.place], Instant::now());
            let written = write();
            if let Poll::Ready(Ok(bytes)) = written {
                seen.body_bytes += bytes as u64;
                seen.last = Some(now);
            }
            written
        };
        self.tally.changes.send_replace(());
        written
    }

    fn change(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut self.tally.seen.lock().unwrap()[self.place]);
        self.tally.changes.send_replace(());
    }
}

impl Drop for Exchange<'_> {
    fn drop(&mut self) {
        self.change(|seen| {
            seen.over = true;
            seen.ended = Some(Instant::now());
        });
    }
}
