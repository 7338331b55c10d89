//! The whole module against scripted servers on loopback.

mod bodies;
mod chains;
mod endpoints;
mod gate;
mod paced;
mod proofs;
mod redirects;
mod room;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::clock::Clock;
use crate::oci::{Algorithm, Digest, Reference};

const MANIFEST: &str = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;

/// A request as it arrived.
#[derive(Clone, Debug)]
struct Seen {
    method: String,
    path: String,
    headers: HashMap<String, String>,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// What the server does.
#[derive(Clone, Debug)]
enum Act {
    /// Says this and waits for the next request.
    Say(Vec<u8>),
    /// Says this and closes the connection.
    Last(Vec<u8>),
    /// Says each piece after a pause, then waits for the next request.
    Drip(Duration, Vec<Vec<u8>>),
    /// Says this, and then nothing for ever.
    Stall(Vec<u8>),
}

fn response(status: u16, headers: &[&str], body: &str) -> Vec<u8> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n{headers}\r\n{body}", body.len()).into_bytes()
}

fn say(status: u16, headers: &[&str], body: &str) -> Act {
    Act::Say(response(status, headers, body))
}

fn raw(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

fn manifest() -> Act {
    say(200, &["content-type: application/vnd.oci.image.manifest.v1+json"], MANIFEST)
}

/// A server that answers by a function of the request and of how many came before it.
struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    async fn start(script: impl Fn(&Seen, usize) -> Act + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (script, log) = (Arc::new(script), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, Arc::clone(&script), Arc::clone(&log)));
            }
        });
        Self { port, seen }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn requests(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.path)).collect()
    }
}

async fn converse<S>(mut stream: TcpStream, script: Arc<S>, log: Arc<Mutex<Vec<Seen>>>)
where
    S: Fn(&Seen, usize) -> Act,
{
    while let Some(seen) = read_head(&mut stream).await {
        let before = {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.push(seen.clone());
            log.len() - 1
        };
        let (pause, pieces, stay) = match script(&seen, before) {
            Act::Say(bytes) => (Duration::ZERO, vec![bytes], true),
            Act::Last(bytes) => (Duration::ZERO, vec![bytes], false),
            Act::Drip(pause, pieces) => (pause, pieces, true),
            Act::Stall(bytes) => {
                let _ = stream.write_all(&bytes).await;
                std::future::pending().await
            }
        };
        for piece in pieces {
            tokio::time::sleep(pause).await;
            if stream.write_all(&piece).await.is_err() {
                return;
            }
        }
        if !stay {
            let _ = stream.shutdown().await;
            return;
        }
    }
}

async fn read_head(stream: &mut TcpStream) -> Option<Seen> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let text = String::from_utf8(head).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
    let headers: HashMap<_, _> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Seen { method, path, headers, body: String::from_utf8(body).ok()? })
}

fn settings(endpoints: &[&str]) -> Settings {
    Settings {
        name: "registry.example".into(),
        endpoints: endpoints.iter().map(|one| one.parse::<Url>().expect("a URL").into()).collect(),
        accounts: Vec::new(),
        pseudonym: Pseudonym::random(),
        pass_ns: false,
        realm_hosts: Vec::new(),
        redirect_hosts: Vec::new(),
        ca: Vec::new(),
        http2: Http2::default(),
        proxies: Proxies::default(),
        connect_timeout: Duration::from_secs(2),
        header_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(5),
        max_connections: 32,
        max_rate: None,
        pull_reserve: 0,
        limits: Limits::new(Clock::system()),
        refreshed: Refreshed::new(),
        uplink: Uplink::unlimited(),
    }
}

fn with_account(endpoint: &str) -> Settings {
    let pair = Credentials { username: "robot".into(), password: "hidden".into() };
    let account = Account { prefix: String::new(), login: LoginSource::Fixed(pair) };
    Settings { accounts: vec![account], ..settings(&[endpoint]) }
}

fn upstream(settings: Settings) -> Upstream {
    Upstream::new(settings, &Metrics::new()).expect("good settings")
}

fn repository() -> Repository {
    "team/app".parse().expect("a repository")
}

fn tag() -> Reference {
    "v1".parse().expect("a tag")
}

fn digest() -> Digest {
    Digest::of(Algorithm::Sha256, b"0123456789")
}

impl Upstream {
    async fn tagged(&self) -> Result<FetchedManifest, Failure> {
        self.manifest(&repository(), &tag()).await
    }

    async fn part(&self, ask: Ask) -> Result<Transfer, Failure> {
        let turn = self.turn(&Share::new()).await;
        self.blob(&repository(), &digest(), ask, &Whereabouts::default(), &turn).await
    }
}

async fn all(mut transfer: Transfer) -> Result<Vec<u8>, Cause> {
    let mut bytes = Vec::new();
    while let Some(chunk) = transfer.chunk().await? {
        assert!(!chunk.is_empty());
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}
