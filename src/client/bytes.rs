//! Content on its way to and from a server: read and written by a thread that blocks.

use std::fmt;
use std::io::{self, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// How long the next piece may take.
const IDLE: Duration = Duration::from_secs(120);

/// How much leaves at a time, and how many pieces wait for the connection.
const PIECE: usize = 256 << 10;
const WAITING: usize = 2;

/// Bytes that come from a server.
pub(super) struct Arriving {
    runtime: Arc<Runtime>,
    body: Incoming,
    piece: Bytes,
}

impl Arriving {
    pub(super) fn new(runtime: Arc<Runtime>, body: Incoming) -> Self {
        Self { runtime, body, piece: Bytes::new() }
    }
}

impl Read for Arriving {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            let body = &mut self.body;
            match self.runtime.block_on(async { timeout(IDLE, body.frame()).await }) {
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
                Ok(None) => return Ok(0),
                Ok(Some(frame)) => {
                    self.piece = frame.map_err(io::Error::other)?.into_data().unwrap_or_default();
                }
            }
        }
        let some = self.piece.len().min(buf.len());
        buf[..some].copy_from_slice(&self.piece[..some]);
        self.piece.advance(some);
        Ok(some)
    }
}

/// A body of so many bytes, and the hand that fills it.
pub(super) fn leaving(size: u64) -> (Leaving, Hand) {
    let (pieces, taken) = mpsc::channel(WAITING);
    (Leaving { taken, left: size }, Hand { pieces: Some(pieces), left: size })
}

/// The body of a request.
pub(super) struct Leaving {
    taken: mpsc::Receiver<Bytes>,
    left: u64,
}

/// What fills it.
pub(super) struct Hand {
    pieces: Option<mpsc::Sender<Bytes>>,
    left: u64,
}

impl Hand {
    /// Passes the next piece on. `false`: there is no more to do. That nothing is taken for so long is an error.
    ///
    /// The content is read to where it says that it is at its end, and only then does the last piece leave.
    pub(super) async fn next(&mut self, content: &mut dyn Read, patience: Duration) -> io::Result<bool> {
        let Some(pieces) = self.pieces.take() else { return Ok(false) };
        let mut piece = vec![0; usize::try_from(self.left).unwrap_or(usize::MAX).min(PIECE)];
        content.read_exact(&mut piece)?;
        self.left -= piece.len() as u64;
        if self.left == 0 && content.read(&mut [0])? > 0 {
            return Err(io::Error::other("there is more of it than was said"));
        }
        // Whoever does not take any more has said why, or is about to.
        if piece.is_empty() {
            return Ok(false);
        }
        let Ok(taken) = timeout(patience, pieces.send(piece.into())).await else {
            return Err(io::ErrorKind::TimedOut.into());
        };
        if taken.is_err() || self.left == 0 {
            return Ok(false);
        }
        self.pieces = Some(pieces);
        Ok(true)
    }
}

impl Body for Leaving {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.taken.poll_recv(cx).map(|piece| match piece {
            Some(piece) => {
                self.left -= piece.len() as u64;
                Some(Ok(Frame::data(piece)))
            }
            None if self.left == 0 => None,
            None => Some(Err(io::ErrorKind::BrokenPipe.into())),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

impl fmt::Debug for Arriving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Arriving")
    }
}
