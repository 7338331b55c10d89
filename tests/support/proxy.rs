//! A proxy of HTTP on loopback, written by hand: tunnels by CONNECT, and requests by their whole URL. It resolves names by
//! a table of its own, so that what arrives can have come by it alone, and remembers what it was asked.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running proxy; it takes no more connections when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    inner: Arc<Inner>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Where a host with a port really is.
    hosts: Mutex<HashMap<String, SocketAddr>>,
    account: Mutex<Option<String>>,
    answer: Mutex<Option<String>>,
    heads: Mutex<Vec<String>>,
}

impl Proxy {
    /// One that knows no host yet.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let inner = Arc::new(Inner::default());
        let shared = Arc::clone(&inner);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let inner = Arc::clone(&shared);
                tokio::spawn(async move { inner.serve(stream).await });
            }
        });
        Self { address, inner, task }
    }

    /// Its URL, with this account if there is one.
    pub fn url(&self, account: &str) -> String {
        let at = if account.is_empty() { "" } else { "@" };
        format!("http://{account}{at}{}", self.address)
    }

    /// From now on this host, with its port, is there.
    pub fn knows(&self, host: &str, address: SocketAddr) {
        self.inner.hosts.lock().unwrap().insert(host.to_owned(), address);
    }

    /// Asks for this `Proxy-Authorization`.
    pub fn requires(&self, account: &str) {
        *self.inner.account.lock().unwrap() = Some(account.to_owned());
    }

    /// Answers everything with this head.
    pub fn answers(&self, head: &str) {
        *self.inner.answer.lock().unwrap() = Some(head.to_owned());
    }

    /// The heads of all requests, as they came.
    pub fn heads(&self) -> Vec<String> {
        self.inner.heads.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Inner {
    async fn serve(&self, mut client: TcpStream) -> Option<()> {
        let head = head(&mut client).await?;
        self.heads.lock().unwrap().push(head.clone());
        let refusal = self.refusal(&head);
        let mut first = head.split(' ');
        let (method, target) = (first.next()?, first.next()?);
        let (host, path) = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or((rest, "/"), |slash| rest.split_at(slash)),
            None => (target, ""),
        };
        let place = self.hosts.lock().unwrap().get(host).copied();
        let refusal = refusal.or_else(|| place.is_none().then(|| "502 Bad Gateway".to_owned()));
        if let Some(refusal) = refusal {
            let answer = format!("HTTP/1.1 {refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes()).await.ok();
        }
        let mut server = TcpStream::connect(place?).await.ok()?;
        if method == "CONNECT" {
            client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.ok()?;
            copy_bidirectional(&mut client, &mut server).await.ok()?;
            return Some(());
        }
        // One request a connection, so that each is seen.
        let lines = head.split("\r\n").skip(1).filter(|line| !line.is_empty());
        let lines = lines.filter(|line| !line.to_ascii_lowercase().starts_with("proxy-authorization:"));
        let lines: String = lines.map(|line| format!("{line}\r\n")).collect();
        let request = format!("{method} {path} HTTP/1.1\r\n{lines}Connection: close\r\n\r\n");
        server.write_all(request.as_bytes()).await.ok()?;
        let answer = self::head(&mut server).await?;
        let answer = answer.replacen("\r\n", "\r\nConnection: close\r\n", 1);
        client.write_all(answer.as_bytes()).await.ok()?;
        copy(&mut server, &mut client).await.ok()?;
        client.shutdown().await.ok()
    }

    fn refusal(&self, head: &str) -> Option<String> {
        if let Some(answer) = self.answer.lock().unwrap().clone() {
            return Some(answer);
        }
        let account = self.account.lock().unwrap().clone()?;
        let shown = header(head, "proxy-authorization");
        (shown != Some(account.as_str()))
            .then(|| "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=x".to_owned())
    }
}

/// A header of a head.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
    lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

async fn head(stream: &mut TcpStream) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
