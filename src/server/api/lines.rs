//! A body that is made while it is read: one document of JSON a line, or bytes that a thread has to fetch.

use std::io::{self, Read};
use std::task::{Context, Poll};

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::http::{Body, BodyError, Piece, Region, Spans};

/// How many lines wait for a client that reads slowly, before whoever makes them waits as well.
const WAITING: usize = 64;

/// A call that tells how far it is.
pub(super) struct Lines(Box<dyn FnOnce(&Tell) + Send>);

/// Where it tells that.
pub(super) struct Tell(mpsc::Sender<Bytes>);

impl Lines {
    /// Does this while the client reads, on a thread that may block.
    pub(super) fn of(work: impl FnOnce(&Tell) + Send + 'static) -> Self {
        Self(Box::new(work))
    }

    pub(super) fn into_body(self) -> Body {
        let (write, read) = mpsc::channel(WAITING);
        drop(spawn_blocking(move || (self.0)(&Tell(write))));
        Region::new(Written(read)).into()
    }
}

impl Tell {
    /// Sends a line. `false`: the client has left, and what is done for it alone need not go on. Blocks.
    pub(super) fn line(&self, document: &impl Serialize) -> bool {
        let Ok(mut line) = serde_json::to_vec(document) else { return true };
        line.push(b'\n');
        self.0.blocking_send(line.into()).is_ok()
    }
}

/// So many bytes, read while the client takes them.
pub(super) fn body_of(size: u64, mut content: Box<dyn Read + Send>) -> Body {
    let (write, read) = mpsc::channel(PIECES);
    // It ends with the content, or when the client has left.
    drop(spawn_blocking(move || {
        let mut left = size;
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
            let mut piece = vec![0; most];
            let sent = match content.read(&mut piece) {
                Ok(0) => return,
                Ok(some) => {
                    piece.truncate(some);
                    left -= some as u64;
                    write.blocking_send(Ok(piece.into()))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => {
                    drop(write.blocking_send(Err(BodyError::Read(error.to_string()))));
                    return;
                }
            };
            if sent.is_err() {
                return;
            }
        }
    }));
    Region::new(Fetched { read, size }).into()
}

/// How much is read at a time, and how many pieces wait.
const PIECE: usize = 256 << 10;
const PIECES: usize = 4;

struct Written(mpsc::Receiver<Bytes>);

impl Spans for Written {
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Piece::Bytes(bytes))))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

struct Fetched {
    read: mpsc::Receiver<Result<Bytes, BodyError>>,
    size: u64,
}

impl Spans for Fetched {
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        self.read.poll_recv(cx).map(|bytes| bytes.map(|bytes| bytes.map(Piece::Bytes)))
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.size)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn lines_come_in_their_order_and_end_with_the_call() {
        let lines = Lines::of(|tell| (0..1000).for_each(|number| assert!(tell.line(&number))));
        let body = lines.into_body().collect().await.unwrap().to_bytes();
        let text = std::str::from_utf8(&body).unwrap();
        assert!(text.lines().map(|line| line.parse::<u32>().unwrap()).eq(0..1000));
    }

    #[tokio::test]
    async fn whoever_makes_lines_learns_that_nobody_reads_them() {
        let (told, learnt) = tokio::sync::oneshot::channel();
        let lines = Lines::of(move |tell| {
            while tell.line(&"more") {}
            told.send(()).unwrap();
        });
        drop(lines.into_body());
        learnt.await.unwrap();
    }
}
