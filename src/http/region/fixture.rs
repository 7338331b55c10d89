//! Files in memory and producers that follow a script, for the tests of bodies.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Body as _;

use super::{BodyError, Piece, ReadAt, Region, Span, Spans};
use crate::http::Body;

/// A file whose reads bring at most `at_most` bytes, and every other time none but an interruption.
pub(crate) struct File {
    pub(crate) content: Vec<u8>,
    pub(crate) at_most: usize,
    pub(crate) broken: bool,
    pub(crate) reads: AtomicUsize,
}

impl File {
    pub(crate) fn of(content: Vec<u8>) -> Arc<Self> {
        Arc::new(Self { content, at_most: usize::MAX, broken: false, reads: AtomicUsize::new(0) })
    }
}

impl ReadAt for File {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let reads = self.reads.fetch_add(1, Ordering::SeqCst);
        if self.broken {
            return Err(io::Error::other("the disk is gone"));
        }
        if self.at_most < usize::MAX && reads.is_multiple_of(2) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let rest = self.content.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len()).min(self.at_most);
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
}

/// A file that the kernel can send.
pub(crate) struct OnDisk(pub(crate) std::fs::File);

impl OnDisk {
    pub(crate) fn of(content: &[u8]) -> Arc<Self> {
        use std::io::Write as _;
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        Arc::new(Self(file))
    }
}

impl ReadAt for OnDisk {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.0, buf, offset)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(std::os::fd::AsFd::as_fd(&self.0))
    }
}

/// Content in which no two places look alike.
pub(crate) fn content(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Piece(Piece),
    /// Not there yet; wakes at once.
    Wait,
    Fail(&'static str),
}

/// A producer that follows a script, and fails the test when it is asked after its end.
pub(crate) struct Script {
    steps: VecDeque<Step>,
    promise: Option<u64>,
    over: bool,
}

impl Spans for Script {
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        assert!(!self.over, "asked again after its end");
        match self.steps.pop_front() {
            Some(Step::Piece(piece)) => Poll::Ready(Some(Ok(piece))),
            Some(Step::Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Some(Step::Fail(why)) => {
                self.over = true;
                Poll::Ready(Some(Err(BodyError::Source(why.to_owned()))))
            }
            None => {
                self.over = true;
                Poll::Ready(None)
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.promise
    }
}

pub(crate) fn region(promise: Option<u64>, steps: impl IntoIterator<Item = Step>) -> Region {
    Region::new(Script { steps: steps.into_iter().collect(), promise, over: false })
}

pub(crate) fn span(file: &Arc<File>, start: u64, end: u64) -> Step {
    Step::Piece(Piece::Span(Span { file: Arc::<File>::clone(file), start, end }))
}

pub(crate) fn on_disk(file: &Arc<OnDisk>, start: u64, end: u64) -> Step {
    Step::Piece(Piece::Span(Span { file: Arc::<OnDisk>::clone(file), start, end }))
}

pub(crate) fn bytes(bytes: &'static str) -> Step {
    Step::Piece(Piece::Bytes(Bytes::from_static(bytes.as_bytes())))
}

/// Everything up to the end or the error, with the size hint checked before each frame.
pub(crate) async fn drain(mut body: Body) -> (Vec<u8>, Option<BodyError>) {
    use http_body_util::BodyExt as _;
    let total = body.size_hint().exact();
    let mut got = Vec::new();
    loop {
        assert_eq!(
            body.size_hint().exact(),
            total.map(|n| n - got.len() as u64),
            "after {} bytes",
            got.len()
        );
        let ended = body.is_end_stream();
        match body.frame().await {
            None => return (got, None),
            Some(Ok(frame)) => {
                assert!(!ended, "a body that said it had ended went on");
                let data = frame.into_data().expect("only data");
                assert!(!data.is_empty(), "an empty frame");
                got.extend_from_slice(&data);
            }
            Some(Err(error)) => {
                assert!(!body.is_end_stream(), "a body that failed has not ended");
                assert!(body.frame().await.is_none(), "something followed an error");
                return (got, Some(error));
            }
        }
    }
}
