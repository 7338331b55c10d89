//! A body that is compared with what it has to be while it comes, so that a crowd of readers costs neither memory nor
//! much time.

use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::Instant;

use crate::support::client::Request;
use crate::support::soon;

/// Enough for the head of an answer and then some; larger reads go to the body alone.
const BUFFER: usize = 64 * 1024;
/// A receive buffer so small that what a slow reader does not read stays with the mirror.
const NARROW: u32 = 4096;

/// One answer that is being read. Dropping it leaves in the middle.
#[derive(Debug)]
pub(crate) struct Body {
    stream: TcpStream,
    partial: bool,
    expected: Bytes,
    at: usize,
    buffer: Vec<u8>,
}

impl Body {
    /// Asks, and reads the head; the body has to be these bytes.
    pub(crate) async fn open(request: &Request, expected: Bytes) -> Self {
        Self::begin(TcpSocket::new_v4().unwrap(), request, expected).await
    }

    /// The same through a narrow receive buffer.
    pub(crate) async fn open_narrow(request: &Request, expected: Bytes) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(NARROW).unwrap();
        Self::begin(socket, request, expected).await
    }

    async fn begin(socket: TcpSocket, request: &Request, expected: Bytes) -> Self {
        let mut stream = socket.connect(request.address()).await.unwrap();
        stream.write_all(&request.wire()).await.unwrap();
        let mut head = Vec::with_capacity(BUFFER);
        let end = loop {
            let read = soon("the head of an answer", stream.read_buf(&mut head)).await.unwrap();
            assert!(read > 0, "the connection ended before the head did");
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 20"), "{text}");
        assert!(text.contains(&format!("\r\ncontent-length: {}\r\n", expected.len())), "{text}");
        let partial = text.starts_with("http/1.1 206");
        let mut body = Self { stream, partial, expected, at: 0, buffer: vec![0; BUFFER] };
        body.take(&head[end..]);
        body
    }

    /// Whether the answer is a 206, and not a 200.
    pub(crate) fn is_partial(&self) -> bool {
        self.partial
    }

    /// How many bytes have come.
    pub(crate) fn at(&self) -> u64 {
        self.at as u64
    }

    /// Whether all have.
    pub(crate) fn is_over(&self) -> bool {
        self.at == self.expected.len()
    }

    /// Reads on until so many bytes have come, or all.
    pub(crate) async fn until(&mut self, total: u64) {
        let total = self.expected.len().min(total as usize);
        while self.at < total {
            let most = (total - self.at).min(BUFFER);
            let read = soon("more of a body", self.stream.read(&mut self.buffer[..most])).await.unwrap();
            assert!(read > 0, "cut at byte {} of {}", self.at, self.expected.len());
            let came = std::mem::take(&mut self.buffer);
            self.take(&came[..read]);
            self.buffer = came;
        }
    }

    /// Reads to the end.
    pub(crate) async fn rest(mut self) {
        self.until(u64::MAX).await;
    }

    /// Reads on at so many bytes a second, until `enough` holds or all is there.
    pub(crate) async fn at_rate(&mut self, bytes_per_second: u64, enough: impl Fn() -> bool) {
        let (begun, before) = (Instant::now(), self.at());
        while !self.is_over() && !enough() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let due = begun.elapsed().as_millis() as u64 * bytes_per_second / 1000;
            self.until(before + due).await;
        }
    }

    fn take(&mut self, came: &[u8]) {
        let to = self.at + came.len();
        assert!(to <= self.expected.len(), "more came than was promised");
        assert!(*came == self.expected[self.at..to], "other bytes came in {}..{to}", self.at);
        self.at = to;
    }
}
