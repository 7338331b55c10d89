//! A body of upstream's, as it comes.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use crate::telemetry::UpstreamMetrics;

use super::connect::broken;
use super::encoding::Gunzip;
use super::failure::Cause;

/// Where the bytes of a response belong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) start: u64,
    pub(super) end: Option<u64>,
    pub(super) total: Option<u64>,
    pub(super) encoded: Option<String>,
}

/// Bytes on their way: a contiguous part of a blob, from `start` on. Dropping it closes the connection, unless the end
/// was reached.
pub struct Transfer {
    /// Where in the blob the first byte belongs. The start of what was asked, or 0 if upstream ignored the range.
    pub start: u64,
    /// Where the part ends, exclusive; `None`: unknown until it does.
    pub end: Option<u64>,
    /// The size of the whole blob, if upstream said.
    pub total: Option<u64>,
    /// The content coding that upstream says it used although it was asked for none. If it is true, then `end` and `total`
    /// count encoded bytes; which it is, the digest tells.
    pub encoded: Option<String>,
    body: Incoming,
    /// How many bytes are to come, as they are sent, if upstream promised a number.
    promised: Option<u64>,
    gunzip: Option<Gunzip>,
    idle_timeout: Duration,
    metrics: UpstreamMetrics,
}

impl Transfer {
    pub(super) fn new(
        placed: Placed,
        body: Incoming,
        idle_timeout: Duration,
        metrics: UpstreamMetrics,
    ) -> Self {
        let Placed { start, end, total, encoded } = placed;
        let promised = end.map(|end| end - start);
        Self { start, end, total, encoded, body, promised, gunzip: None, idle_timeout, metrics }
    }

    /// Takes the gzip coding off while the bytes come. Where they end is then unknown until they do.
    pub(super) fn decoded(mut self) -> Self {
        (self.end, self.total) = (None, None);
        self.gunzip = Some(Gunzip::new());
        self
    }

    /// The next bytes, never empty. `None` only at the end: of the promised length where there is one, else of the
    /// response. A body that ends early, says more than it promised, or pauses for too long is an error.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let Some(bytes) = self.raw().await? else {
                let Some(mut gunzip) = self.gunzip.take() else { return Ok(None) };
                let rest = gunzip.finish().map_err(|_| Cause::Cut)?;
                return Ok((!rest.is_empty()).then_some(rest));
            };
            let bytes = match &mut self.gunzip {
                None => bytes,
                Some(gunzip) => {
                    gunzip.push(&bytes).map_err(|_| Cause::Garbage("it is not gzip".to_owned()))?
                }
            };
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
        }
    }

    async fn raw(&mut self) -> Result<Option<Bytes>, Cause> {
        loop {
            let frame = match timeout(self.idle_timeout, self.body.frame()).await {
                Err(_) => return Err(Cause::IdleTimeout),
                Ok(Some(Err(error))) => return Err(broken(&error)),
                Ok(Some(Ok(frame))) => frame,
                Ok(None) if self.promised.is_some_and(|left| left > 0) => return Err(Cause::Cut),
                Ok(None) => return Ok(None),
            };
            let Ok(bytes) = frame.into_data() else { continue };
            if bytes.is_empty() {
                continue;
            }
            let length = bytes.len() as u64;
            if let Some(left) = &mut self.promised {
                *left = left
                    .checked_sub(length)
                    .ok_or_else(|| Cause::Garbage("more bytes than the response promised".to_owned()))?;
            }
            self.metrics.upstream_bytes(length);
            return Ok(Some(bytes));
        }
    }
}

impl fmt::Debug for Transfer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transfer")
            .field("start", &self.start)
            .field("end", &self.end)
            .field("total", &self.total)
            .field("encoded", &self.encoded)
            .field("promised", &self.promised)
            .finish_non_exhaustive()
    }
}
