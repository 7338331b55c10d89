//! The way to an upstream, which can be cut: a port of loopback that passes connections on to it. Cut, it is a black hole:
//! nothing is refused and nothing closed, but what is sent there vanishes, the first packet of a new connection too.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{JoinHandle, sleep, spawn};
use std::time::Duration;

/// How often it is looked whether somebody has come or something is to be done.
const LOOK: Duration = Duration::from_millis(5);

/// See the module. It ends with this value.
pub(crate) struct Link {
    address: SocketAddr,
    shared: Arc<Shared>,
    listening: Option<JoinHandle<()>>,
}

struct Shared {
    to: SocketAddr,
    listener: TcpListener,
    /// Connections of our own that nobody accepts, so that the queue is full while the way is cut. Whoever accepts holds
    /// the lock.
    plugs: Mutex<Vec<TcpStream>>,
    is_cut: AtomicBool,
    is_over: AtomicBool,
    /// Connections that were passed on.
    passed: AtomicU64,
}

impl Link {
    /// A way to this address.
    pub(crate) fn to(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            to,
            listener,
            plugs: Mutex::default(),
            is_cut: AtomicBool::new(false),
            is_over: AtomicBool::new(false),
            passed: AtomicU64::new(0),
        });
        let listening = Arc::clone(&shared);
        Self { address, shared, listening: Some(spawn(move || listening.listen())) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it has passed on.
    pub(crate) fn passed(&self) -> u64 {
        self.shared.passed.load(Ordering::SeqCst)
    }

    /// From now on everything that is sent vanishes.
    pub(crate) fn cut(&self) {
        let mut plugs = self.shared.plugs.lock().unwrap();
        self.shared.is_cut.store(true, Ordering::SeqCst);
        // A queue that is full answers no first packet.
        rustix::net::listen(&self.shared.listener, 0).unwrap();
        const MOST: usize = 16;
        while let Ok(plug) = TcpStream::connect_timeout(&self.address, Duration::from_millis(300)) {
            plugs.push(plug);
            assert!(plugs.len() < MOST, "the queue does not fill");
        }
    }

    /// The way is there again, for new connections and for those that were open when it was cut.
    pub(crate) fn mend(&self) {
        let _plugs = self.shared.plugs.lock().unwrap();
        rustix::net::listen(&self.shared.listener, 1024).unwrap();
        self.shared.is_cut.store(false, Ordering::SeqCst);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        if let Some(listening) = self.listening.take() {
            // It has panicked if it does; then a test has failed by that.
            let _ = listening.join();
        }
    }
}

impl Shared {
    fn listen(self: &Arc<Self>) {
        while !self.is_over() {
            match self.accept() {
                Some(client) => {
                    let shared = Arc::clone(self);
                    drop(spawn(move || shared.pass(&client)));
                }
                None => sleep(LOOK),
            }
        }
    }

    fn accept(&self) -> Option<TcpStream> {
        let mut plugs = self.plugs.lock().unwrap();
        if self.is_cut() {
            return None;
        }
        let (client, from) = self.listener.accept().ok()?;
        let plug = plugs.iter().position(|plug| plug.local_addr().is_ok_and(|plug| plug == from));
        match plug {
            Some(plug) => {
                plugs.remove(plug);
                None
            }
            None => Some(client),
        }
    }

    fn pass(self: Arc<Self>, client: &TcpStream) {
        client.set_nonblocking(false).unwrap();
        let Ok(server) = TcpStream::connect(self.to) else { return };
        self.passed.fetch_add(1, Ordering::SeqCst);
        let (back_from, back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let shared = Arc::clone(&self);
        let back = spawn(move || shared.copy(&back_from, &back_to));
        self.copy(client, &server);
        let _ = back.join();
    }

    /// One direction, until it ends. What has been read while the way is cut waits until it is mended.
    fn copy(&self, mut from: &TcpStream, mut to: &TcpStream) {
        let mut buffer = vec![0; 64 << 10];
        from.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        loop {
            if self.is_over() {
                break;
            }
            if self.is_cut() {
                sleep(LOOK);
                continue;
            }
            let read = match from.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if is_nothing_yet(&error) => continue,
                Err(_) => break,
            };
            while self.is_cut() && !self.is_over() {
                sleep(LOOK);
            }
            if to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
        let _ = from.shutdown(Shutdown::Read);
    }

    fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.is_over.load(Ordering::SeqCst)
    }
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
