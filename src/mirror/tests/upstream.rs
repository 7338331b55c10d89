//! A registry of one blob and one manifest, right in everything, that counts what it sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// The manifest, under every tag and digest.
pub(super) const MANIFEST: &[u8] = br#"{"schemaVersion":2,"layers":[]}"#;

pub(super) struct Registry {
    address: std::net::SocketAddr,
    counts: Arc<Counts>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    sent: AtomicU64,
    manifests: AtomicU64,
}

impl Registry {
    pub(super) async fn serve(content: Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let counts = Arc::new(Counts::default());
        let (told, content) = (Arc::clone(&counts), Arc::new(content));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer_all(stream, Arc::clone(&content), Arc::clone(&told)));
            }
        });
        Self { address, counts, task }
    }

    pub(super) fn url(&self) -> Url {
        format!("http://{}", self.address).parse().expect("a URL")
    }

    /// Bytes of the blob that were sent.
    pub(super) fn sent(&self) -> u64 {
        self.counts.sent.load(Ordering::SeqCst)
    }

    pub(super) fn manifests_sent(&self) -> u64 {
        self.counts.manifests.load(Ordering::SeqCst)
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer_all(stream: TcpStream, content: Arc<Vec<u8>>, counts: Arc<Counts>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut head = Vec::new();
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_ascii_lowercase());
        }
        let get = head[0].starts_with("get");
        let (head, body) = if head[0].contains("/manifests/") {
            counts.manifests.fetch_add(u64::from(get), Ordering::SeqCst);
            ("200 OK\r\nContent-Type: application/vnd.oci.image.manifest.v1+json".to_owned(), MANIFEST)
        } else {
            blob(&head, &content)
        };
        let head = format!("HTTP/1.1 {head}\r\nContent-Length: {}\r\n\r\n", body.len());
        if stream.write_all(head.as_bytes()).await.is_err() {
            return;
        }
        for piece in body.chunks(50_000).filter(|_| get) {
            // Before they are written: who has them all may look at once.
            counts.sent.fetch_add(if body == MANIFEST { 0 } else { piece.len() as u64 }, Ordering::SeqCst);
            if stream.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

fn blob<'a>(head: &[String], content: &'a [u8]) -> (String, &'a [u8]) {
    let range = head.iter().find_map(|line| line.strip_prefix("range: bytes=")).and_then(|range| {
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?))
    });
    match range {
        None => ("200 OK".to_owned(), content),
        Some((first, _)) if first >= content.len() => {
            (format!("416 Range\r\nContent-Range: bytes */{}", content.len()), &[])
        }
        Some((first, last)) => {
            let last = last.min(content.len() - 1);
            let place = format!("206 Partial\r\nContent-Range: bytes {first}-{last}/{}", content.len());
            (place, &content[first..=last])
        }
    }
}
