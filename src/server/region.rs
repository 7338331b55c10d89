//! Blobs as the mirror hands them out, in the shape that response bodies are made of.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use crate::http::{BodyError, Piece, ReadAt, Region, Span, Spans};
use crate::mirror::{self, BlobAnswer, BlobFile, BlobReader, Delivery};

/// Bytes `start..end` of `blob`; an end of `u64::MAX` is the blob's own end, wherever that is.
///
/// The reader behind it is made when the first byte is asked for: an answer of a thousand parts reads one at a time.
pub(super) fn region(blob: &Arc<BlobAnswer>, start: u64, end: u64, delivery: Delivery) -> Region {
    Region::new(BlobSpans { blob: Arc::clone(blob), start, end, delivery, reader: None })
}

struct BlobSpans {
    blob: Arc<BlobAnswer>,
    start: u64,
    end: u64,
    delivery: Delivery,
    reader: Option<BlobReader>,
}

impl Spans for BlobSpans {
    fn poll_span(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        let Self { blob, start, end, delivery, reader } = self;
        let reader = reader.get_or_insert_with(|| blob.reader(*start, *end, *delivery));
        Poll::Ready(ready!(reader.poll_piece(cx)).map(|piece| match piece {
            Ok(mirror::Piece::Span { file, start, end }) => {
                let file = Arc::new(Watched { file, blob: Arc::clone(blob) });
                Ok(Piece::Span(Span { file, start, end }))
            }
            Ok(mirror::Piece::Bytes(bytes)) => Ok(Piece::Bytes(bytes)),
            Err(error) => Err(BodyError::Source(error.to_string())),
        }))
    }

    fn unreadable(&mut self, at: u64) -> bool {
        self.reader.as_mut().is_some_and(|reader| reader.leave_file(at))
    }

    fn hanging(&mut self, at: u64) -> bool {
        self.reader.as_mut().is_some_and(|reader| reader.leave_disk(at))
    }

    fn remaining(&self) -> Option<u64> {
        (self.end != u64::MAX).then(|| self.end.saturating_sub(self.start))
    }
}

/// A blob's file that tells when it cannot be read. Whoever reads it goes on without it, or is cut; the blob must not stay
/// as it is, or so would everybody after him.
struct Watched {
    file: Arc<BlobFile>,
    blob: Arc<BlobAnswer>,
}

impl ReadAt for Watched {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let read = self.file.read_at(buf, offset);
        let ends_early = matches!(read, Ok(0)) && !buf.is_empty() && offset < self.file.size();
        if ends_early || read.is_err() {
            self.blob.distrust();
        }
        read
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.file.as_file().map(File::as_fd)
    }
}
