//! Whether regions of files go out as they should, tried before any client comes.
//!
//! What is sent by the kernel depends on the system, the file system and on how hyper hands on what it is given. One
//! answer is sent over a pair of sockets as clients get them, with bytes and regions in turn, and held against its file.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::carried::{Carried, Pieces};
use super::connection::{self, Ends, Protocol};
use super::lane::{Lane, Sending, Waiting};
use super::stall::Transport;
use crate::http::{Body, BodyError, Part, Parts, Piece, ReadAt, Region, Span, Spans};
use crate::mirror::BlobFile;

/// Long for what takes a millisecond.
const WITHIN: Duration = Duration::from_secs(5);

/// How long the file is: two regions of it are more than a socket takes at once.
const LEN: usize = 250_000;

/// Why files are not sent by the kernel.
#[derive(Debug)]
pub struct Unfit(String);

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unfit {}

impl From<io::Error> for Unfit {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

/// What is in the file that is sent. No two places of it look alike.
#[must_use]
pub fn content() -> Vec<u8> {
    (0..LEN as u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
}

/// Sends a file of [`content`] that is in the store's file system, as answers are sent.
///
/// # Errors
/// What came is not what was sent.
pub async fn send(scratch: Arc<BlobFile>) -> Result<(), Unfit> {
    send_file(Arc::new(Scratch(scratch))).await
}

async fn send_file(file: Arc<dyn ReadAt>) -> Result<(), Unfit> {
    let content = content();
    let (ours, theirs) = UnixStream::pair()?;
    let sending = Sending::new(true);
    let lane = Lane::new(sending.clone());
    let answer = {
        let lane = lane.clone();
        move |_: Request<Incoming>| {
            let (file, lane) = (Arc::clone(&file), lane.clone());
            async move {
                let middle = LEN as u64 / 2;
                let span = |start, end| {
                    Part::Region(Region::new(Once(Some(Span { file: Arc::clone(&file), start, end }))))
                };
                let bytes = |text| Part::Bytes(Bytes::from_static(text));
                let parts =
                    [bytes(b"<"), span(0, middle), bytes(b"|"), span(middle, LEN as u64), bytes(b">")];
                Response::new(Carried::new(Body::from(Parts::new(parts)), Some(&lane)))
            }
        }
    };
    let limits = Limits {
        header_timeout: WITHIN,
        header_bytes: 16 * 1024,
        stall_timeout: WITHIN,
        drain_timeout: WITHIN,
    };
    let ends = Ends { stop: CancellationToken::new(), cut: CancellationToken::new() };
    let transport = Transport::new(ours, WITHIN).beside(Some(lane));
    let serving = connection::serve(transport, Protocol::Http1, answer, limits, ends);
    let (got, ()) = timeout(WITHIN, async { tokio::join!(ask_twice(theirs), serving) })
        .await
        .map_err(|_| Unfit("it does not come to an end".to_owned()))?;
    let middle = LEN / 2;
    let expected = [b"<", &content[..middle], b"|", &content[middle..], b">"].concat();
    let mut rest = &got?[..];
    for _ in 0..2 {
        let head = rest.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
        let body = head.and_then(|head| rest.get(head..head + expected.len()));
        if body != Some(&expected[..]) {
            return Err(Unfit("other bytes come than those of the file".to_owned()));
        }
        rest = &rest[head.unwrap_or_default() + expected.len()..];
    }
    match rest.is_empty() && sending.by_kernel() {
        true => Ok(()),
        false => Err(Unfit("the kernel does not send the file".to_owned())),
    }
}

/// Two requests at once on one connection, and all that is answered.
async fn ask_twice(mut socket: UnixStream) -> io::Result<Vec<u8>> {
    socket.write_all(b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n").await?;
    let mut got = Vec::new();
    socket.read_to_end(&mut got).await?;
    Ok(got)
}

struct Scratch(Arc<BlobFile>);

impl ReadAt for Scratch {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buf, offset)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.as_file().map(File::as_fd)
    }
}

struct Once(Option<Span>);

impl Spans for Once {
    fn poll_span(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        Poll::Ready(self.0.take().map(|span| Ok(Piece::Span(span))))
    }

    fn remaining(&self) -> Option<u64> {
        self.0.as_ref().map(Span::len)
    }
}

impl Pieces for Body {
    fn poll_sendable(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piece, BodyError>>> {
        Self::poll_sendable(self, cx)
    }
}

impl Waiting for Body {
    fn unsent(&mut self, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::region::fixture::{OnDisk, content};
    use crate::server::carried::tests::Refused;

    /// A file that reads well, in whose place the kernel sends another.
    struct Behind {
        read: Arc<OnDisk>,
        sent: Arc<OnDisk>,
    }

    impl ReadAt for Behind {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
            self.read.read_at(buf, offset)
        }
        fn as_fd(&self) -> Option<BorrowedFd<'_>> {
            self.sent.as_fd()
        }
    }

    #[tokio::test]
    async fn g2_what_comes_as_anything_but_the_file_is_unfit() {
        let all = super::content();
        let right = OnDisk::of(&all);
        let behind = |sent: &[u8]| Behind { read: Arc::clone(&right), sent: OnDisk::of(sent) };
        let mut one_wrong = all.clone();
        one_wrong[LEN - 1] ^= 1;
        let rows: [(&str, Arc<dyn ReadAt>, bool); 6] = [
            ("the file", Arc::<OnDisk>::clone(&right), true),
            ("other bytes", Arc::new(behind(&content(LEN + 1)[1..])), false),
            ("one other byte, the last", Arc::new(behind(&one_wrong)), false),
            ("less than there is", Arc::new(behind(&all[..LEN / 3])), false),
            ("a refusal of the kernel", Arc::new(Refused::of(&all)), false),
            ("a file that cannot be read either", OnDisk::of(&all[..1]), false),
        ];
        for (what, file, fit) in rows {
            let told = send_file(file).await;
            assert_eq!(told.is_ok(), fit, "{what}: {told:?}");
            if let Err(why) = told {
                assert_eq!(why.to_string(), "other bytes come than those of the file", "{what}");
            }
        }
    }
}
