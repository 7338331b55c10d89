//! Upstreams that compress although they were asked not to, or say that they do and do not (T29, T30).
//!
//! A digest is that of the content, never of a coding around it. Which of the two an answer is can be told by the
//! size that a manifest gives; where no manifest names the blob, small ones are decoded once to see, and large ones
//! are taken as they come, because what carries such a label by mistake is layers, which are gzip files themselves.

use std::time::Duration;

use tokio::time::timeout;

use crate::oci::{Digest, Hasher, Repository};
use crate::upstream::{Transfer, Turn, Upstream, Whereabouts};

/// The largest answer that is decoded only to see what it is.
const SMALL: u64 = 8 << 20;

/// How long a head waits for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the bytes of an upstream's answer are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    AsSent,
    /// With the coding taken off; the content then has this size.
    Decoded {
        size: u64,
    },
}

/// How to read an answer that is labelled with a coding.
pub(super) async fn reading_of(
    transfer: &Transfer,
    hint: Option<u64>,
    upstream: &Upstream,
    repository: &Repository,
    digest: &Digest,
    turn: &Turn,
) -> Reading {
    if transfer.encoded.is_none() {
        return Reading::AsSent;
    }
    match (hint, transfer.total) {
        (Some(size), Some(total)) if size == total => Reading::AsSent,
        (Some(size), _) => Reading::Decoded { size },
        (None, Some(total)) if total > SMALL => Reading::AsSent,
        (None, _) => {
            match timeout(PATIENCE, decoded_size(upstream, repository, digest, turn)).await.ok().flatten() {
                Some(size) => Reading::Decoded { size },
                None => Reading::AsSent,
            }
        }
    }
}

/// The size of the decoded content, if its digest is the asked one.
async fn decoded_size(
    upstream: &Upstream,
    repository: &Repository,
    digest: &Digest,
    turn: &Turn,
) -> Option<u64> {
    let mut transfer = upstream.blob_decoded(repository, digest, &Whereabouts::default(), turn).await.ok()?;
    let mut hasher = Hasher::new(digest.algorithm());
    let mut size = 0;
    while let Some(chunk) = transfer.chunk().await.ok()? {
        hasher.update(&chunk);
        size += chunk.len() as u64;
        if size > SMALL {
            return None;
        }
    }
    (hasher.finish() == *digest).then_some(size)
}
