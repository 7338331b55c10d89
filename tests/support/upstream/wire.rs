//! One connection: requests read by hand, answers written piece by piece and counted as they are written.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use super::Inner;
use super::content::Reply;
use super::pace::{Gate, Link};
use super::script::{Act, Asked, Kind};
use super::tally::Exchange;

/// A connection, with or without TLS.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// The most that is written at once; small, so that counting and cutting are fine-grained.
pub(super) const PIECE: u64 = 16 * 1024;

/// Where token servers answer, by their beginnings.
const TOKEN_PATHS: [&str; 7] =
    ["/token", "/v2/token", "/v2/auth", "/auth/realms/", "/oauth2/token", "/jwt/auth", "/service/token"];

/// How the connection goes on after an answer.
#[derive(PartialEq, Eq)]
enum Then {
    Next,
    Close,
    Reset,
}

/// Answers requests until the connection ends. Returns whether it is to be reset rather than closed.
pub(super) async fn converse(inner: &Arc<Inner>, io: Box<dyn Io>, connection: usize) -> bool {
    let (reader, writer) = tokio::io::split(io);
    let mut wire = Wire { reader, writer, buffer: Vec::new() };
    loop {
        match wire.exchange(inner, connection).await {
            Ok(Then::Next) => {}
            Ok(Then::Reset) => return true,
            Ok(Then::Close) | Err(_) => {
                let _ = wire.writer.shutdown().await;
                return false;
            }
        }
    }
}

struct Wire {
    reader: ReadHalf<Box<dyn Io>>,
    writer: WriteHalf<Box<dyn Io>>,
    buffer: Vec<u8>,
}

impl Wire {
    async fn exchange(&mut self, inner: &Arc<Inner>, connection: usize) -> io::Result<Then> {
        let asked = self.request(connection).await?;
        let close = asked.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let exchange = inner.tally.enter(asked.clone());
        let act = inner.act(&asked);
        if let Some(word) = act.note {
            exchange.note(word);
        }
        if let Some(hold) = &act.hold {
            self.unless_gone(hold.wait()).await?;
        }
        if let Some(delay) = act.delay {
            self.unless_gone(tokio::time::sleep(delay)).await?;
        }
        if act.hang {
            self.unless_gone(std::future::pending::<()>()).await?;
        }
        if let Some(raw) = &act.raw {
            self.writer.write_all(raw).await?;
            return Ok(Then::Close);
        }
        let reply = inner.reply(&asked, &act);
        let then = self.answer(inner, &asked, &act, reply, &exchange).await?;
        Ok(if then == Then::Next && close { Then::Close } else { then })
    }

    async fn request(&mut self, connection: usize) -> io::Result<Asked> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).into_owned();
        self.buffer.drain(..end);
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (kind, repository, reference) = classify(path);
        let length = headers.iter().find(|(name, _)| name == "content-length");
        let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
        while self.buffer.len() < length {
            self.more().await?;
        }
        Ok(Asked {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.to_owned(),
            headers,
            body: self.buffer.drain(..length).collect(),
            kind,
            repository,
            reference,
            connection,
        })
    }

    async fn answer(
        &mut self,
        inner: &Arc<Inner>,
        asked: &Asked,
        act: &Act,
        reply: Reply,
        exchange: &Exchange<'_>,
    ) -> io::Result<Then> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", reply.status);
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        self.writer.write_all(head.as_bytes()).await?;
        self.writer.flush().await?;
        exchange.head(reply.status, head.len() as u64, reply.object.as_ref());
        if asked.method == "HEAD" || matches!(reply.status, 204 | 304) {
            return Ok(Then::Next);
        }
        let gate = reply.object.as_ref().and_then(|(digest, _)| inner.gate_of(digest));
        let mut flow = Flow {
            gate,
            start: reply.object.as_ref().map_or(0, |(_, offset)| *offset),
            line: Link::new(act.rate),
            shared: inner.link(),
        };
        let then = self.body(act, &reply.body, &mut flow, exchange).await?;
        if then == Then::Next && act.chunked {
            self.writer.write_all(b"0\r\n\r\n").await?;
        }
        self.writer.flush().await?;
        Ok(then)
    }

    async fn body(
        &mut self,
        act: &Act,
        body: &Bytes,
        flow: &mut Flow,
        exchange: &Exchange<'_>,
    ) -> io::Result<Then> {
        let size = body.len() as u64;
        let mut sent = 0;
        while sent < size {
            if act.cut == Some(sent) {
                return Ok(if act.reset { Then::Reset } else { Then::Close });
            }
            if act.stall == Some(sent) {
                self.unless_gone(std::future::pending::<()>()).await?;
            }
            let marks = [act.cut, act.stall].into_iter().flatten().filter(|&mark| mark > sent);
            let until = marks.min().unwrap_or(size).min(size);
            let mut most = PIECE.min(until - sent).min(flow.line.piece()).min(flow.shared.piece());
            if let Some(every) = act.drip {
                self.unless_gone(tokio::time::sleep(every)).await?;
                most = 1;
            }
            let piece = self.unless_gone(flow.pass(sent, most)).await?;
            let bytes = &body[sent as usize..(sent + piece) as usize];
            if act.chunked {
                self.writer.write_all(format!("{piece:x}\r\n").as_bytes()).await?;
            }
            self.count(bytes, exchange).await?;
            if act.chunked {
                self.writer.write_all(b"\r\n").await?;
            }
            self.writer.flush().await?;
            sent += piece;
        }
        Ok(Then::Next)
    }

    /// Writes body bytes, counting what the socket takes even if the peer leaves halfway.
    async fn count(&mut self, mut bytes: &[u8], exchange: &Exchange<'_>) -> io::Result<()> {
        while !bytes.is_empty() {
            let writer = &mut self.writer;
            let taken = poll_fn(|cx| exchange.body(|| Pin::new(&mut *writer).poll_write(cx, bytes))).await?;
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    async fn more(&mut self) -> io::Result<()> {
        match self.reader.read_buf(&mut self.buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// Awaits `future` unless the peer closes first.
    async fn unless_gone<T>(&mut self, future: impl Future<Output = T>) -> io::Result<T> {
        tokio::pin!(future);
        loop {
            tokio::select! {
                biased;
                value = &mut future => return Ok(value),
                read = self.more() => read?,
            }
        }
    }
}

/// What a body has to pass on its way.
pub(super) struct Flow {
    pub(super) gate: Option<Gate>,
    pub(super) start: u64,
    pub(super) line: Link,
    pub(super) shared: Arc<Link>,
}

impl Flow {
    /// How many of the `most` bytes after the first `sent` may go now.
    pub(super) async fn pass(&self, sent: u64, most: u64) -> u64 {
        let piece = match &self.gate {
            Some(gate) => gate.pass(self.start + sent, most).await,
            None => most,
        };
        self.line.carry(piece).await;
        self.shared.carry(piece).await;
        piece
    }
}

/// What a path asks for, and its repository and reference.
pub(super) fn classify(path: &str) -> (Kind, String, String) {
    let parsed = |kind, name: &str, reference: &str| (kind, name.to_owned(), reference.to_owned());
    if path.starts_with("/signed/") {
        return parsed(Kind::Signed, "", "");
    }
    if TOKEN_PATHS.iter().any(|token| path.starts_with(token)) || path == "/proxy_auth" {
        return parsed(Kind::Token, "", "");
    }
    let Some(rest) = path.strip_prefix("/v2") else { return parsed(Kind::Other, "", "") };
    let rest = rest.trim_start_matches('/');
    if rest.is_empty() {
        return parsed(Kind::Ping, "", "");
    }
    for (part, kind) in [
        ("/manifests/", Kind::Manifest),
        ("/blobs/", Kind::Blob),
        ("/tags/", Kind::Tags),
        ("/referrers/", Kind::Referrers),
    ] {
        if let Some((name, reference)) = rest.rsplit_once(part) {
            return parsed(kind, name, reference);
        }
    }
    parsed(Kind::Other, "", "")
}

/// Where `needle` first occurs.
fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}
