//! Clients. They throw away what they get, and look at no more of it than its status and its length.

pub(crate) mod crowd;
pub(crate) mod plain;
pub(crate) mod probe;
pub(crate) mod secure;
pub(crate) mod two;
pub(crate) mod wrk;

use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::content::Blob;

/// After this long without a byte a server has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a load came to: how much in how long.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) amount: u64,
    pub(crate) took: Duration,
}

impl Load {
    /// Units a second.
    pub(crate) fn rate(&self) -> f64 {
        self.amount as f64 / self.took.as_secs_f64()
    }
}

impl AddAssign for Load {
    /// The one after the other.
    fn add_assign(&mut self, other: Self) {
        self.amount += other.amount;
        self.took += other.took;
    }
}

/// A connection on which one request is made after the other.
pub(crate) trait Connection {
    /// Gets a body, and returns after how long its first byte came, and its length.
    fn get(&mut self, path: &str) -> (Duration, u64);
}

/// Pulls for about so long, by so many clients over a connection each: what is begun is finished.
pub(crate) fn pull<C: Connection>(
    connect: impl Fn() -> C + Sync,
    blobs: &[Blob],
    clients: usize,
    span: Duration,
) -> Load {
    let amount = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            let (amount, connect) = (&amount, &connect);
            scope.spawn(move || {
                let mut connection = connect();
                // Each begins elsewhere.
                let first = client * blobs.len() / clients;
                for at in first.. {
                    let blob = &blobs[at % blobs.len()];
                    let (_, came) = connection.get(&blob.path);
                    assert_eq!(came, blob.size, "{}", blob.path);
                    amount.fetch_add(came, Ordering::Relaxed);
                    if begun.elapsed() >= span {
                        break;
                    }
                }
            });
        }
    });
    Load { amount: amount.into_inner(), took: begun.elapsed() }
}

/// What the head of an answer says of its length, and that it is one of what was asked for.
fn length(head: &[u8], path: &str) -> u64 {
    length_of(head, "200", path)
}

/// The same of an answer with this status.
fn length_of(head: &[u8], status: &str, path: &str) -> u64 {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    assert!(text.starts_with(&format!("http/1.1 {status}")), "{path}: {text}");
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
    length.unwrap_or_else(|| panic!("{path}: no length: {text}"))
}

/// Where a head ends, if it is all there.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// A request for a path.
fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {}\r\n\r\n", crate::content::MANIFEST)
}
