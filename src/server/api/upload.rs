//! Content that is brought as bytes, on its way from the connection to whoever takes it.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Body as Received;
use hyper::header::{CONTENT_LENGTH, CONTENT_TYPE};
use hyper::http::request::Parts;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api::{Problem, ProblemCode};

/// How many pieces wait for whoever takes them.
const WAITING: usize = 4;

/// How long the next piece may take.
const IDLE: Duration = Duration::from_secs(60);

/// How much of what nobody wants any more is read and thrown away, so that its sender sees the answer.
const UNWANTED: u64 = 1 << 30;

/// Bytes that come, read by a thread that may block.
pub(super) struct Coming {
    pieces: mpsc::Receiver<Result<Bytes, String>>,
    piece: Bytes,
}

/// How many bytes a request brings; it has to say so, and that they are bytes: a form in a page could send anything else.
pub(super) fn announced(head: &Parts) -> Result<u64, Problem> {
    let text = |name| head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (media_type, length) = (text(CONTENT_TYPE), text(CONTENT_LENGTH));
    if !media_type.trim().eq_ignore_ascii_case("application/octet-stream") {
        return Err(Problem::new(ProblemCode::NotBytes, format!("the content is {media_type:?}"))
            .hint("send bytes, with the header Content-Type: application/octet-stream"));
    }
    length.parse().map_err(|_| {
        Problem::new(ProblemCode::NotBytes, "the request does not say how many bytes it brings")
            .hint("send the header Content-Length, and no Transfer-Encoding")
    })
}

/// The bytes of a request. Whoever does not read them to their end has them thrown away.
pub(super) fn coming<B>(body: B) -> Coming
where
    B: Received<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (write, pieces) = mpsc::channel(WAITING);
    // It ends with the body, which ends with its connection or when nothing comes for a while.
    drop(tokio::spawn(pass_on(body, write)));
    Coming { pieces, piece: Bytes::new() }
}

async fn pass_on<B>(mut body: B, write: mpsc::Sender<Result<Bytes, String>>)
where
    B: Received<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut unwanted = 0;
    loop {
        let piece = match timeout(IDLE, body.frame()).await {
            Ok(None) => return,
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(bytes) => Ok(bytes),
                Err(_trailers) => continue,
            },
            Ok(Some(Err(error))) => Err(error.into().to_string()),
            Err(_) => Err("nothing has come for a minute".to_owned()),
        };
        let (size, broken) = (piece.as_ref().map_or(0, Bytes::len), piece.is_err());
        if write.send(piece).await.is_err() {
            unwanted += size as u64;
        }
        if broken || unwanted > UNWANTED {
            return;
        }
    }
}

impl Read for Coming {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.piece = piece,
                Some(Err(why)) => return Err(io::Error::other(why)),
            }
        }
        let some = self.piece.len().min(buf.len());
        buf[..some].copy_from_slice(&self.piece[..some]);
        self.piece.advance(some);
        Ok(some)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;
    use tokio::task::spawn_blocking;

    use super::*;

    fn taken(mut coming: Coming) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        coming.read_to_end(&mut bytes).map(|_| bytes)
    }

    #[tokio::test]
    async fn bytes_come_in_their_order_and_end_with_the_body() {
        let pieces = (0..100u8).map(|number| Ok::<_, io::Error>(Frame::data(Bytes::from(vec![number; 3]))));
        let coming = coming(StreamBody::new(futures_util::stream::iter(pieces)));
        let bytes = spawn_blocking(move || taken(coming)).await.unwrap().unwrap();
        assert!(bytes.iter().copied().eq((0..100).flat_map(|number| [number; 3])));
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_no_end() {
        let pieces = [Ok(Frame::data(Bytes::from_static(b"half"))), Err(io::Error::other("gone"))];
        let coming = coming(StreamBody::new(futures_util::stream::iter(pieces)));
        let error = spawn_blocking(move || taken(coming)).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "gone");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_sends_nothing_more_is_not_waited_for() {
        let coming =
            coming(StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, io::Error>>()));
        let mut coming = coming;
        let told = coming.pieces.recv().await.unwrap().unwrap_err();
        assert_eq!(told, "nothing has come for a minute");
    }

    #[test]
    fn a_request_says_that_it_brings_bytes_and_how_many() {
        let head = |headers: &[(&str, &str)]| {
            let request = headers
                .iter()
                .fold(hyper::Request::post("/"), |request, (name, value)| request.header(*name, *value));
            request.body(Full::<Bytes>::default()).unwrap().into_parts().0
        };
        let octets = ("content-type", "application/octet-stream");
        assert_eq!(announced(&head(&[octets, ("content-length", "7")])).unwrap(), 7);
        for headers in [
            &[octets][..],
            &[("content-length", "7")],
            &[("content-type", "text/plain"), ("content-length", "7")],
            &[octets, ("content-length", "-7")],
        ] {
            assert_eq!(announced(&head(headers)).unwrap_err().code, ProblemCode::NotBytes);
        }
    }
}
