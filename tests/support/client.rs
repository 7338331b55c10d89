//! A raw HTTP/1.1 client: it shows the bytes as they came, and how they ended.
//!
//! Nothing is hidden or repaired: no redirects, no decompression, no retries, headers in their order. It reads as
//! slowly as it is told, or not at all, and leaves in the middle by being dropped.

mod multipart;

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub use multipart::{Part, parts};

use super::PATIENCE;

/// Room for one read from the socket.
const READ: usize = 64 * 1024;

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// By its length, by its last chunk, or with the headers where no body is allowed.
    Complete,
    /// The connection was closed or reset before that, after so many body bytes.
    CutAt(u64),
    /// Nothing came for [`PATIENCE`], after so many body bytes.
    Silent(u64),
}

/// An answer as it came.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status line and headers, byte for byte.
    pub head: Vec<u8>,
    /// The status.
    pub status: u16,
    /// The headers in their order, names as sent.
    pub headers: Vec<(String, String)>,
    /// The body, out of its chunks if it was chunked.
    pub body: Vec<u8>,
    /// How the body ended.
    pub end: End,
}

impl Answer {
    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        find(&self.headers, name)
    }

    /// The `Content-Length`.
    pub fn length(&self) -> Option<u64> {
        self.header("content-length").map(|value| value.parse().unwrap())
    }

    /// Fails unless the status is this one and the body is complete; gives the answer back.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", text(&self.head), text(&self.body));
        assert_eq!(self.end, End::Complete, "{}", text(&self.head));
        self
    }

    /// Fails unless this is a complete 200 with exactly these bytes; does not print them.
    #[track_caller]
    pub fn expect_bytes(self, bytes: &[u8]) -> Self {
        let answer = self.expect(200);
        assert!(answer.body == bytes, "{} bytes, other than the {} expected", answer.body.len(), bytes.len());
        answer
    }

    /// Fails unless this is a complete 206 of exactly bytes `first..=last` of `whole`.
    #[track_caller]
    pub fn expect_range(self, whole: &[u8], first: usize, last: usize) -> Self {
        let answer = self.expect(206);
        let content_range = format!("bytes {first}-{last}/{}", whole.len());
        assert_eq!(answer.header("content-range"), Some(content_range.as_str()));
        assert_eq!(answer.length(), Some((last - first + 1) as u64));
        assert!(answer.body == whole[first..=last], "the bytes of {content_range} are others");
        answer
    }

    /// Fails unless this is the error JSON of the distribution specification with this status and code.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str) -> Self {
        let answer = self.expect(status);
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("error JSON");
        assert_eq!(body["errors"][0]["code"], code, "{body}");
        assert!(body["errors"][0]["message"].is_string(), "{body}");
        answer
    }

    /// The outcome word the mirror reports: the rest of `Cache-Status` after `roadstead; `.
    pub fn cache_status(&self) -> &str {
        self.header("cache-status").and_then(|value| value.strip_prefix("roadstead; ")).unwrap_or_default()
    }
}

/// A request that is being put together.
#[derive(Clone, Debug)]
pub struct Request {
    address: SocketAddr,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// A `GET` of `target`, which goes out byte for byte as it stands here.
pub fn get(address: SocketAddr, target: &str) -> Request {
    request(address, "GET", target)
}

/// A `HEAD` of `target`.
pub fn head(address: SocketAddr, target: &str) -> Request {
    request(address, "HEAD", target)
}

/// Any method.
pub fn request(address: SocketAddr, method: &str, target: &str) -> Request {
    let headers = vec![("Host".to_owned(), address.to_string())];
    Request { address, method: method.to_owned(), target: target.to_owned(), headers, body: Vec::new() }
}

impl Request {
    /// Adds a header; `Host` replaces the one that is there.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if name.eq_ignore_ascii_case("host") {
            self.headers.clear();
        }
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for `bytes=<range>`.
    pub fn range(self, range: &str) -> Self {
        self.header("Range", &format!("bytes={range}"))
    }

    /// Sends a body.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header("Content-Length", &body.len().to_string())
    }

    /// Sends it on a connection of its own and reads the whole answer.
    pub async fn send(self) -> Answer {
        self.open().await.rest().await
    }

    /// The same, or nothing where there is nobody, or nobody answers.
    pub async fn try_send(self) -> Option<Answer> {
        Some(self.try_open().await?.rest().await)
    }

    /// As [`Request::open`], or nothing where there is nobody, or nobody answers.
    pub async fn try_open(self) -> Option<Reading> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        let mut connection = Connection { stream, buffer: Vec::new() };
        connection.write(&self).await;
        connection.try_read(&self.method).await
    }

    /// Sends it on a connection of its own and reads as far as the end of the headers.
    pub async fn open(self) -> Reading {
        let mut connection = Connection::open(self.address).await;
        connection.write(&self).await;
        connection.read(&self).await
    }

    /// Whom it goes to.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes that go over the wire.
    pub fn wire(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A connection that can carry several requests, also before the answers to earlier ones are read.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Self {
        Self { stream: TcpStream::connect(address).await.unwrap(), buffer: Vec::new() }
    }

    /// Connects with a small receive buffer, so that what is not read stays with the sender.
    pub async fn open_narrow(address: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self { stream: socket.connect(address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends a request and reads nothing. A peer that has gone is noticed when the answer is read.
    pub async fn write(&mut self, request: &Request) {
        let _ = self.stream.write_all(&request.wire()).await;
    }

    /// Sends any bytes.
    pub async fn write_raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// Reads the headers of the next answer, which is one to `request`. Fails if none come.
    pub async fn read(self, request: &Request) -> Reading {
        self.try_read(&request.method).await.expect("an answer, not the end of the connection")
    }

    /// The same, or nothing if the connection ends before the headers do.
    pub async fn try_read(mut self, method: &str) -> Option<Reading> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if !matches!(self.more().await, More::Some) {
                return None;
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let lines = text(&head);
        let mut lines = lines.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let framing = if method == "HEAD" || matches!(status, 204 | 304) {
            Framing::Length(0)
        } else if find(&headers, "transfer-encoding").is_some() {
            Framing::Chunked { left: 0, first: true }
        } else if let Some(length) = find(&headers, "content-length") {
            Framing::Length(length.parse().unwrap())
        } else {
            Framing::Close
        };
        let answer = Answer { head, status, headers, body: Vec::new(), end: End::Complete };
        Some(Reading { connection: self, framing, over: false, answer })
    }

    async fn more(&mut self) -> More {
        self.buffer.reserve(READ);
        let read = self.stream.read_buf(&mut self.buffer);
        match tokio::time::timeout(PATIENCE, read).await {
            Err(_) => More::Silence,
            Ok(Ok(0) | Err(_)) => More::Gone,
            Ok(Ok(_)) => More::Some,
        }
    }
}

enum More {
    Some,
    Gone,
    Silence,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// So many bytes of this chunk are left.
    Chunked { left: u64, first: bool },
    /// Until the connection closes.
    Close,
}

/// An answer whose headers are here and whose body is read at the test's pace. Dropping it leaves in the middle.
#[derive(Debug)]
pub struct Reading {
    connection: Connection,
    framing: Framing,
    over: bool,
    answer: Answer,
}

impl Reading {
    /// The status.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// The first header of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.answer.header(name)
    }

    /// The body bytes read so far.
    pub fn so_far(&self) -> &[u8] {
        &self.answer.body
    }

    /// How the body ended, once it has.
    pub fn end(&self) -> Option<End> {
        self.over.then_some(self.answer.end)
    }

    /// Reads on until the body read so far is `total` bytes, or over.
    pub async fn until(&mut self, total: u64) -> &[u8] {
        while !self.over && (self.answer.body.len() as u64) < total {
            self.advance(total - self.answer.body.len() as u64).await;
        }
        &self.answer.body
    }

    /// Reads on by what comes next, if the body is not over.
    pub async fn more(&mut self) {
        if !self.over {
            self.advance(u64::MAX).await;
        }
    }

    /// Reads at most so many more bytes, at least one unless the body is over, and keeps nothing of them.
    pub async fn take(&mut self, most: u64) -> Vec<u8> {
        if !self.over {
            self.advance(most).await;
        }
        std::mem::take(&mut self.answer.body)
    }

    /// Reads to the end.
    pub async fn rest(mut self) -> Answer {
        self.until(u64::MAX).await;
        self.answer
    }

    /// Reads to the end, no faster than so many bytes a second.
    pub async fn rest_at(mut self, bytes_per_second: u64) -> Answer {
        let piece = (bytes_per_second / 20).max(1);
        while !self.over {
            self.advance(piece).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.answer
    }

    /// Reads to the end and gives the connection back for the next request.
    pub async fn finish(mut self) -> (Answer, Connection) {
        self.until(u64::MAX).await;
        (self.answer, self.connection)
    }

    /// Whether body bytes beyond those read have come within `time`: for showing that none do.
    pub async fn more_within(&mut self, time: Duration) -> bool {
        let before = self.answer.body.len();
        let _ = tokio::time::timeout(time, self.until(before as u64 + 1)).await;
        self.answer.body.len() > before
    }

    /// Takes at most `most` more body bytes, at least one unless the body is over.
    async fn advance(&mut self, most: u64) {
        if let Framing::Chunked { left: 0, first } = self.framing {
            self.next_chunk(first).await;
            return;
        }
        let left = match self.framing {
            Framing::Length(left) | Framing::Chunked { left, .. } => left,
            Framing::Close => u64::MAX,
        };
        if left == 0 {
            self.over = true;
            return;
        }
        if self.connection.buffer.is_empty() {
            match self.connection.more().await {
                More::Some => {}
                More::Gone if matches!(self.framing, Framing::Close) => {
                    return self.finish_with(End::Complete);
                }
                More::Gone => return self.finish_with(End::CutAt(self.answer.body.len() as u64)),
                More::Silence => return self.finish_with(End::Silent(self.answer.body.len() as u64)),
            }
        }
        let take = left.min(most).min(self.connection.buffer.len() as u64);
        self.answer.body.extend_from_slice(&self.connection.buffer[..take as usize]);
        self.connection.buffer.drain(..take as usize);
        match &mut self.framing {
            Framing::Length(left) | Framing::Chunked { left, .. } => *left -= take,
            Framing::Close => {}
        }
    }

    /// Reads the line before a chunk, and the line end after the one before it.
    async fn next_chunk(&mut self, first: bool) {
        let skip = if first { 0 } else { 2 };
        loop {
            let rest = self.connection.buffer.get(skip..).unwrap_or_default();
            if let Some(end) = rest.windows(2).position(|window| window == b"\r\n") {
                let line = text(&rest[..end]);
                let size = line.split(';').next().and_then(|size| u64::from_str_radix(size.trim(), 16).ok());
                let size = size.unwrap_or_else(|| panic!("the size of a chunk, not {line:?}"));
                let trailer = if size == 0 { 2 } else { 0 };
                if rest.len() >= end + 2 + trailer {
                    self.connection.buffer.drain(..skip + end + 2 + trailer);
                    self.framing = Framing::Chunked { left: size, first: false };
                    if size == 0 {
                        self.finish_with(End::Complete);
                    }
                    return;
                }
            }
            match self.connection.more().await {
                More::Some => {}
                More::Gone => return self.finish_with(End::CutAt(self.answer.body.len() as u64)),
                More::Silence => return self.finish_with(End::Silent(self.answer.body.len() as u64)),
            }
        }
    }

    fn finish_with(&mut self, end: End) {
        self.over = true;
        self.answer.end = end;
    }
}

fn find<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
    headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn text(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(64 * 1024)];
    String::from_utf8_lossy(shown).into_owned()
}
