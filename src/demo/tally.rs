//! What the stand-in was asked, and what it sent.

use std::ops::Sub;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Method;

use crate::oci::Call;

/// Counts of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// Requests of any kind.
    pub(super) requests: u64,
    /// Of those: HEAD of a manifest.
    pub(super) manifest_heads: u64,
    /// Of those: GET of a manifest.
    pub(super) manifest_gets: u64,
    /// Of those: for a blob, GET or HEAD.
    pub(super) blobs: u64,
    /// Bytes of bodies that went to the socket.
    pub(super) bytes: u64,
}

/// Counts that grow.
#[derive(Debug, Default)]
pub(super) struct Tally {
    requests: AtomicU64,
    manifest_heads: AtomicU64,
    manifest_gets: AtomicU64,
    blobs: AtomicU64,
    bytes: AtomicU64,
}

impl Tally {
    pub(super) fn asked(&self, method: &Method, call: Option<&Call>) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let count = match call {
            Some(Call::Manifest { .. }) if method == Method::HEAD => &self.manifest_heads,
            Some(Call::Manifest { .. }) => &self.manifest_gets,
            Some(Call::Blob { .. }) => &self.blobs,
            _ => return,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Everything so far.
    pub(super) fn read(&self) -> Asked {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Asked {
            requests: read(&self.requests),
            manifest_heads: read(&self.manifest_heads),
            manifest_gets: read(&self.manifest_gets),
            blobs: read(&self.blobs),
            bytes: read(&self.bytes),
        }
    }
}

impl Sub for Asked {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            manifest_heads: self.manifest_heads - before.manifest_heads,
            manifest_gets: self.manifest_gets - before.manifest_gets,
            blobs: self.blobs - before.blobs,
            bytes: self.bytes - before.bytes,
        }
    }
}
