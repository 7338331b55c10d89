//! A body that is made while it is read: one document of JSON a line.

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

struct Written(mpsc::Receiver<Bytes>);

impl Spans for Written {
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Piece::Bytes(bytes))))
    }

    fn remaining(&self) -> Option<u64> {
        None
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
