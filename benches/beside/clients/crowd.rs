//! A thousand clients at once that read one body, over a connection each, for as long as it is wanted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::{RecvFlags, recv};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use super::secure::localhost;
use super::two::{connect, fetch, within};
use super::{PATIENCE, request};

/// How they speak.
#[derive(Clone)]
pub(crate) enum Speaks {
    Plain,
    /// HTTP/1.1 over TLS.
    One(Arc<ClientConfig>),
    /// HTTP/2 over TLS.
    Two(Arc<ClientConfig>),
}

/// Those that read; dropped, they leave.
pub(crate) struct Crowd {
    runtime: Option<Runtime>,
    clients: JoinSet<()>,
    told: Arc<Told>,
}

#[derive(Default)]
struct Told {
    reading: AtomicUsize,
    received: AtomicU64,
    stop: AtomicBool,
}

impl Told {
    /// A piece came; whether to go on.
    fn took(&self, begun: &mut bool, bytes: usize) -> bool {
        if !std::mem::replace(begun, true) {
            self.reading.fetch_add(1, Ordering::Relaxed);
        }
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
        !self.stop.load(Ordering::Relaxed)
    }
}

impl Crowd {
    /// So many begin to read what is there, and begin again at its end. Returns once each has had something of it.
    pub(crate) fn gather(clients: usize, address: SocketAddr, path: &str, speaks: &Speaks) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let told = Arc::new(Told::default());
        let mut all = JoinSet::new();
        for _ in 0..clients {
            let (told, path, speaks) = (Arc::clone(&told), path.to_owned(), speaks.clone());
            all.spawn_on(
                async move {
                    match speaks {
                        Speaks::Plain => plain(address, &path, &told).await,
                        Speaks::One(config) => one(address, &path, &config, &told).await,
                        Speaks::Two(config) => two(address, &path, &config, &told).await,
                    }
                },
                runtime.handle(),
            );
        }
        let deadline = Instant::now() + PATIENCE;
        while told.reading.load(Ordering::Relaxed) < clients {
            let reading = told.reading.load(Ordering::Relaxed);
            assert!(Instant::now() < deadline, "{reading} of {clients} clients have got something");
            thread::sleep(Duration::from_millis(20));
        }
        Self { runtime: Some(runtime), clients: all, told }
    }

    /// How much all of them have got so far.
    pub(crate) fn received(&self) -> u64 {
        self.told.received.load(Ordering::Relaxed)
    }

    /// How many of them are still there.
    pub(crate) fn staying(&mut self) -> usize {
        while self.clients.try_join_next().is_some() {}
        self.clients.len()
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.told.stop.store(true, Ordering::Relaxed);
        self.clients.abort_all();
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_timeout(Duration::from_secs(10));
        }
    }
}

/// Whatever the head is: bodies are so long that it does not matter.
async fn plain(address: SocketAddr, path: &str, told: &Told) {
    let (mut buffer, mut begun) = (vec![0; 1 << 16], false);
    loop {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream
            .write_all(request(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        loop {
            within(stream.readable()).await.unwrap();
            let took = stream.try_io(Interest::READABLE, || {
                let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
                Ok(recv(&stream, &mut buffer[..], flags)?.1)
            });
            match took {
                Ok(0) => break,
                Ok(bytes) if !told.took(&mut begun, bytes) => return,
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => panic!("{path}: {error}"),
            }
        }
    }
}

async fn one(address: SocketAddr, path: &str, config: &Arc<ClientConfig>, told: &Told) {
    let (mut buffer, mut begun) = (vec![0; 1 << 15], false);
    loop {
        let stream = TcpStream::connect(address).await.unwrap();
        let mut stream =
            within(TlsConnector::from(Arc::clone(config)).connect(localhost(), stream)).await.unwrap();
        stream
            .write_all(request(path).replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n").as_bytes())
            .await
            .unwrap();
        loop {
            match within(stream.read(&mut buffer)).await.unwrap() {
                0 => break,
                bytes if !told.took(&mut begun, bytes) => return,
                _ => {}
            }
        }
    }
}

async fn two(address: SocketAddr, path: &str, config: &Arc<ClientConfig>, told: &Told) {
    let mut begun = false;
    let mut sender = within(connect(address, config)).await;
    while !told.stop.load(Ordering::Relaxed) {
        fetch(&mut sender, path, |bytes| told.took(&mut begun, bytes)).await;
    }
}
