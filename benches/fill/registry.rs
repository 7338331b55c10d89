//! An upstream that costs next to nothing: one thread a connection, which sends the same block again and again, each blob
//! from another place of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::noise::noise;

/// What is sent again and again. No multiple of anything that bodies are cut into.
const BLOCK: u64 = 4_000_037;
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The most that is written at once.
const PIECE: u64 = 128 << 10;
/// What a line may make up for after it was handed something late.
const QUEUE: Duration = Duration::from_millis(20);

/// How fast the upstream sends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Line {
    /// As fast as it is read.
    Free,
    /// So many bytes a second on each connection.
    Each(u64),
    /// So many for all connections together.
    Shared(u64),
}

/// A registry with some blobs, and an image of all of them; its threads end with the process.
#[derive(Debug)]
pub(crate) struct Registry {
    address: SocketAddr,
    shared: Arc<Shared>,
}

/// A blob, which is the block again and again from some place of it.
#[derive(Debug)]
struct Blob {
    digest: String,
    size: u64,
    from: u64,
}

/// What is asked for.
enum Asked<'a> {
    Blob(&'a Blob),
    Manifest,
    Ping,
}

#[derive(Debug)]
struct Shared {
    line: Line,
    trip: Duration,
    blobs: Vec<Blob>,
    /// The manifest of the image and its digest.
    manifest: (String, String),
    block: Vec<u8>,
    /// When the line that all share is free again.
    free: Mutex<Instant>,
    sent: AtomicU64,
    last: Mutex<Instant>,
}

impl Registry {
    /// Holds blobs of these sizes, and lets every answer wait for `trip`.
    pub(crate) fn start(line: Line, sizes: &[u64], trip: Duration) -> Self {
        let block = noise(7, BLOCK as usize);
        let blobs: Vec<Blob> = (0_u64..).zip(sizes).map(|(at, size)| Blob::of(&block, at, *size)).collect();
        let text = manifest(&blobs);
        let manifest = (text.clone(), digest(|hasher| hasher.update(&text)));
        let (now, sent) = (Instant::now(), AtomicU64::new(0));
        let shared =
            Shared { line, trip, blobs, manifest, block, free: Mutex::new(now), sent, last: Mutex::new(now) };
        let shared = Arc::new(shared);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let all = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&all);
                // A peer that closes in the middle is none of its business.
                thread::spawn(move || drop(shared.converse(stream)));
            }
        });
        Self { address, shared }
    }

    /// Its base URL.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a blob is.
    pub(crate) fn path(&self, blob: usize) -> String {
        format!("/v2/team/app/blobs/{}", self.shared.blobs[blob].digest)
    }

    /// Where the manifest of all its blobs is, by a tag.
    pub(crate) fn image(&self) -> String {
        "/v2/team/app/manifests/latest".to_owned()
    }

    /// How many bytes of bodies it has sent so far.
    pub(crate) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// When it sent the last of them.
    pub(crate) fn last_byte(&self) -> Instant {
        *self.shared.last.lock().unwrap()
    }
}

impl Shared {
    fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::new();
        loop {
            let end = loop {
                if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                    break end + 4;
                }
                let mut more = [0; 4096];
                let read = stream.read(&mut more)?;
                if read == 0 {
                    return Ok(());
                }
                buffer.extend_from_slice(&more[..read]);
            };
            let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
            buffer.drain(..end);
            thread::sleep(self.trip);
            self.answer(&mut stream, &head)?;
        }
    }

    fn asked(&self, head: &str) -> Option<Asked<'_>> {
        let path = head.split_whitespace().nth(1)?;
        let path = path.split('?').next()?;
        if path == "/v2/" {
            return Some(Asked::Ping);
        }
        match path.rsplit_once("/blobs/") {
            Some((_, digest)) => self.blobs.iter().find(|blob| blob.digest == digest).map(Asked::Blob),
            None => path.contains("/manifests/").then_some(Asked::Manifest),
        }
    }

    /// Sends the manifest; it is so small that no line holds it up.
    fn tell(&self, stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
        let (manifest, digest) = &self.manifest;
        let mut answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: {MANIFEST}\r\nDocker-Content-Digest: {digest}\r\n\r\n",
            manifest.len()
        );
        if !head.starts_with("head ") {
            self.sent.fetch_add(manifest.len() as u64, Ordering::SeqCst);
            answer.push_str(manifest);
        }
        stream.write_all(answer.as_bytes())
    }

    fn answer(&self, stream: &mut TcpStream, head: &str) -> std::io::Result<()> {
        let asked = self.asked(head);
        let (blob, kind) = match &asked {
            Some(Asked::Blob(blob)) => (*blob, "application/octet-stream"),
            Some(Asked::Manifest) => return self.tell(stream, head),
            Some(Asked::Ping) => {
                return stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
            }
            None => return stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        };
        let size = blob.size;
        let range = head.lines().find_map(|line| line.strip_prefix("range: bytes="));
        let (status, start, end) = match range.and_then(|range| range.trim().split_once('-')) {
            None => ("200 OK", 0, size),
            Some((first, last)) => {
                let first = first.parse().unwrap_or(0);
                ("206 Partial Content", first, last.parse().map_or(size, |last: u64| size.min(last + 1)))
            }
        };
        let length = end - start;
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nAccept-Ranges: bytes\r\nContent-Type: {kind}\r\n\
             Docker-Content-Digest: {}\r\n",
            blob.digest
        );
        if range.is_some() {
            answer.push_str(&format!("Content-Range: bytes {start}-{}/{size}\r\n", end - 1));
        }
        answer.push_str("\r\n");
        stream.write_all(answer.as_bytes())?;
        if head.starts_with("head ") {
            return Ok(());
        }
        let (mut at, mut free) = (start, Instant::now());
        while at < end {
            let place = (blob.from + at) % BLOCK;
            let piece = PIECE.min(end - at).min(BLOCK - place);
            match self.line {
                Line::Free => {}
                Line::Each(rate) => wait(&mut free, piece, rate, thread::sleep),
                Line::Shared(rate) => {
                    let mut due = Duration::ZERO;
                    wait(&mut self.free.lock().unwrap(), piece, rate, |time| due = time);
                    thread::sleep(due);
                }
            }
            // Counted first: the client may have it, and look, before the next line.
            self.sent.fetch_add(piece, Ordering::SeqCst);
            stream.write_all(&self.block[place as usize..(place + piece) as usize])?;
            at += piece;
            *self.last.lock().unwrap() = Instant::now();
        }
        Ok(())
    }
}

impl Blob {
    fn of(block: &[u8], at: u64, size: u64) -> Self {
        let from = at * 65_537 % BLOCK;
        let digest = digest(|hasher| {
            let (mut place, mut left) = (from, size);
            while left > 0 {
                let part = left.min(BLOCK - place);
                hasher.update(&block[place as usize..(place + part) as usize]);
                (place, left) = (0, left - part);
            }
        });
        Self { digest, size, from }
    }
}

fn digest(content: impl FnOnce(&mut Sha256)) -> String {
    let mut hasher = Sha256::new();
    content(&mut hasher);
    hasher.finalize().iter().fold("sha256:".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// An image of which the first blob passes for the configuration, and the others are the layers.
fn manifest(blobs: &[Blob]) -> String {
    let descriptor = |(at, blob): (usize, &Blob)| {
        let kind = if at == 0 { "config.v1+json" } else { "layer.v1.tar" };
        let (digest, size) = (&blob.digest, blob.size);
        format!(
            "{{\"mediaType\":\"application/vnd.oci.image.{kind}\",\"digest\":{digest:?},\"size\":{size}}}"
        )
    };
    let all: Vec<String> = blobs.iter().enumerate().map(descriptor).collect();
    let (config, layers) = all.split_first().expect("a blob at least");
    format!(
        "{{\"schemaVersion\":2,\"mediaType\":{MANIFEST:?},\"config\":{config},\"layers\":[{}]}}",
        layers.join(",")
    )
}

/// Hands `piece` to a line that is free again at `free`, and lets `sleep` wait until it has been carried.
fn wait(free: &mut Instant, piece: u64, rate: u64, sleep: impl FnOnce(Duration)) {
    let now = Instant::now();
    *free = (*free).max(now.checked_sub(QUEUE).unwrap_or(now))
        + Duration::from_secs_f64(piece as f64 / rate as f64);
    sleep(free.saturating_duration_since(now));
}
