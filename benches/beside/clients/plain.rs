//! HTTP/1.1 without TLS. Nothing is copied out of the kernel: the machine is the servers'.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};

use super::{Connection, PATIENCE, end_of_head, length_of, request};
use crate::content::Blob;

/// A connection.
pub(crate) struct Plain {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Plain {
    /// Connects.
    pub(crate) fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    fn read(&mut self, most: u64, flags: RecvFlags) -> u64 {
        let most = self.buffer.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let (_, read) = recv(&self.stream, &mut self.buffer[..most], flags).unwrap();
        assert!(read > 0, "cut before the end");
        read as u64
    }
}

impl Plain {
    /// Asks for the head of a blob, and throws it away.
    pub(crate) fn head(&mut self, blob: &Blob) {
        self.stream.write_all(request(&blob.path).replacen("GET", "HEAD", 1).as_bytes()).unwrap();
        let (size, body) = self.await_head("200", &blob.path);
        assert_eq!((size, body), (blob.size, 0), "{}", blob.path);
    }

    /// Gets bytes of a blob, from its front.
    pub(crate) fn front(&mut self, path: &str, bytes: u64) {
        let range = format!("\r\nRange: bytes=0-{}\r\n\r\n", bytes - 1);
        self.stream.write_all(request(path).replace("\r\n\r\n", &range).as_bytes()).unwrap();
        let (size, mut came) = self.await_head("206", path);
        assert_eq!(size, bytes, "{path}");
        while came < size {
            came += self.read(size - came, RecvFlags::TRUNC);
        }
    }

    /// The length that an answer of this status has, and how much of it came with its head.
    fn await_head(&mut self, status: &str, path: &str) -> (u64, u64) {
        let mut head = Vec::new();
        loop {
            let read = self.read(4096, RecvFlags::empty());
            head.extend_from_slice(&self.buffer[..usize::try_from(read).unwrap()]);
            if let Some(end) = end_of_head(&head) {
                return (length_of(&head[..end], status, path), (head.len() - end) as u64);
            }
        }
    }
}

impl Connection for Plain {
    fn get(&mut self, path: &str) -> (Duration, u64) {
        let begun = Instant::now();
        self.stream.write_all(request(path).as_bytes()).unwrap();
        let (size, mut came) = self.await_head("200", path);
        let mut first = (came > 0 || size == 0).then(|| begun.elapsed());
        while came < size {
            came += self.read(size - came, RecvFlags::TRUNC);
            first.get_or_insert_with(|| begun.elapsed());
        }
        (first.unwrap_or_default(), size)
    }
}
