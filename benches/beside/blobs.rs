//! Clients that pull blobs, one after the other over a connection each, and throw away what they get.

use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};

use crate::Load;
use crate::content::Blob;

/// Pulls for about so long: what is begun is finished.
pub(crate) fn pull(from: SocketAddr, blobs: &[Blob], clients: usize, span: Duration) -> Load {
    let amount = AtomicU64::new(0);
    let begun = Instant::now();
    thread::scope(|scope| {
        for client in 0..clients {
            let amount = &amount;
            scope.spawn(move || {
                let mut connection = Connection::to(from);
                // Each begins elsewhere.
                let first = client * blobs.len() / clients;
                for at in first.. {
                    let blob = &blobs[at % blobs.len()];
                    connection.get(blob);
                    amount.fetch_add(blob.size, Ordering::Relaxed);
                    if begun.elapsed() >= span {
                        break;
                    }
                }
            });
        }
    });
    Load { amount: amount.into_inner(), took: begun.elapsed() }
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; 1 << 20] }
    }

    fn get(&mut self, blob: &Blob) {
        let request = format!("GET {} HTTP/1.1\r\nHost: bench\r\n\r\n", blob.path);
        self.stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        let (end, came) = loop {
            let (_, read) = recv(&self.stream, &mut self.buffer[..4096], RecvFlags::empty()).unwrap();
            assert!(read > 0, "cut in the head");
            head.extend_from_slice(&self.buffer[..read]);
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break (end + 4, head.len());
            }
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 200"), "{}: {text}", blob.path);
        assert!(text.contains(&format!("content-length: {}\r\n", blob.size)), "{}: {text}", blob.path);
        let mut left = blob.size - (came - end) as u64;
        while left > 0 {
            let most = self.buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            // Nothing is copied out of the kernel: the machine is the servers'.
            let (_, read) = recv(&self.stream, &mut self.buffer[..most], RecvFlags::TRUNC).unwrap();
            assert!(read > 0, "{}: cut, {left} bytes before the end", blob.path);
            left -= read as u64;
        }
    }
}
