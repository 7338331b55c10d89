//! A reader's end of the relays: the bytes of a blob in their order, from whichever relay has them.

use std::sync::Arc;

use bytes::Bytes;

use crate::oci::Digest;

use super::super::fill::{ReadError, Source};
use super::stream::{Stream, Taken};
use super::table::Relays;

/// Reads a blob from relays. Dropping it leaves the one it reads from.
#[derive(Debug)]
pub(in crate::mirror) struct Tap {
    relays: Relays,
    pub(super) digest: Digest,
    pub(super) size: Option<u64>,
    pub(super) source: Source,
    /// The next byte to be given.
    pub(super) at: u64,
    pub(super) end: u64,
    /// The relay that it reads from, or read its last bytes from.
    relay: Option<Arc<Stream>>,
    /// Whether that one counts it as a reader.
    joined: bool,
}

impl Tap {
    pub(super) fn new(
        relays: Relays,
        digest: Digest,
        size: Option<u64>,
        source: Source,
        at: u64,
        end: u64,
    ) -> Self {
        Self { relays, digest, size, source, at, end, relay: None, joined: false }
    }

    /// The next bytes, never empty; none at the end of what was asked for, or of the blob. Nothing is lost when the
    /// future is dropped.
    pub(in crate::mirror) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        while self.at < self.end {
            let Some(relay) = &self.relay else {
                self.relay = Some(self.relays.join(self).await?);
                self.joined = true;
                continue;
            };
            let taken = {
                let mut news = std::pin::pin!(relay.news());
                // Before the look, so that what comes after it is not missed.
                news.as_mut().enable();
                let taken = relay.take(self.at, self.end);
                if matches!(taken, Taken::Wait) {
                    news.await;
                }
                taken
            };
            match taken {
                Taken::Bytes(bytes) => {
                    self.at += bytes.len() as u64;
                    if self.at == self.end {
                        // Before the client has them: who asks after that finds nobody reading.
                        self.leave();
                    }
                    return Ok(Some(bytes));
                }
                Taken::Wait => {}
                Taken::End => break,
                Taken::FallenOut => self.relay = None,
                Taken::Failed(error) => return Err(error),
            }
        }
        self.leave();
        Ok(None)
    }

    /// What came was wrong: nobody new is to have it from the same transfer. Whether nobody has said so before.
    pub(in crate::mirror) fn condemn(&self) -> bool {
        self.relay.as_ref().is_some_and(|relay| relay.condemn())
    }

    fn leave(&mut self) {
        if let Some(relay) = self.relay.as_ref().filter(|_| self.joined) {
            relay.leave(self.at, self.end);
            self.joined = false;
        }
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.leave();
    }
}
