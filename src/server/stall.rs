//! The byte stream of one client, with patience that ends.
//!
//! Owns the rule that a client which takes nothing for a while is cut: otherwise its connection, its open file and
//! its place in the drain would be held for as long as it likes. The timer runs only while there is something to
//! write and the client does not take it, and any progress, however small, starts it anew: slow is allowed, stuck is
//! not. Reading has its own limit in the HTTP server (the time for a request's head).
//!
//! It is a type of its own, not a generic wrapper, because this is the place from which file regions can be handed
//! to the kernel without passing through our memory.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// A socket that can be asked, beside the runtime's readiness, whether it takes bytes at this moment.
///
/// The runtime hears that a socket is writable only once a third of its send buffer is free, which can be a megabyte:
/// for a client on a thin line that is minutes of steady progress. So before anyone is cut, the socket itself is asked.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Writes what fits now; `WouldBlock` when nothing does.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;
}

impl Socket for TcpStream {
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize> {
        send(self, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(Errno::into)
    }
}

/// A client's connection that fails with `TimedOut` when the client has taken no byte for `patience`.
#[derive(Debug)]
pub(super) struct Transport<S> {
    socket: S,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether `timer` runs: the last write found no room.
    waiting: bool,
}

impl<S: Socket> Transport<S> {
    /// Wraps `socket`; must be called within a runtime.
    pub(super) fn new(socket: S, patience: Duration) -> Self {
        Self { socket, patience, timer: Box::pin(sleep(patience)), waiting: false }
    }

    fn after(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        next: &[u8],
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = false;
            return written;
        }
        if !self.waiting {
            self.waiting = true;
            self.timer.as_mut().reset(Instant::now() + self.patience);
        }
        ready!(self.timer.as_mut().poll(cx));
        self.waiting = false;
        Poll::Ready(match self.socket.write_now(next) {
            Err(stuck) if stuck.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client took no byte for {:?}", self.patience),
            )),
            moved => moved,
        })
    }
}

impl<S: Socket> AsyncRead for Transport<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, into)
    }
}

impl<S: Socket> AsyncWrite for Transport<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write(cx, bytes);
        self.after(cx, written, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.socket).poll_write_vectored(cx, slices);
        let next = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        self.after(cx, written, next)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    impl Socket for DuplexStream {
        fn write_now(&self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_is_cut_after_the_patience() {
        let (ours, _theirs) = duplex(10);
        let mut transport = Transport::new(ours, PATIENCE);
        let begun = Instant::now();
        let failure = transport.write_all(&[0; 11]).await.unwrap_err();
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
        assert_eq!(begun.elapsed().as_secs(), PATIENCE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_client_that_takes_a_byte_now_and_then_is_kept() {
        let (ours, mut theirs) = duplex(1);
        let mut transport = Transport::new(ours, PATIENCE);
        let reader = tokio::spawn(async move {
            for _ in 0..20 {
                sleep(PATIENCE - Duration::from_secs(1)).await;
                theirs.read_u8().await.unwrap();
            }
        });
        transport.write_all(&[0; 20]).await.unwrap();
        reader.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_nothing_to_write_may_stay_quiet() {
        let (ours, mut theirs) = duplex(10);
        let mut transport = Transport::new(ours, PATIENCE);
        let waiter = tokio::spawn(async move { transport.read_u8().await });
        sleep(PATIENCE * 10).await;
        theirs.write_u8(7).await.unwrap();
        assert_eq!(waiter.await.unwrap().unwrap(), 7);
    }

    #[tokio::test]
    async fn a_real_socket_that_is_full_and_never_read_is_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        let mut transport = Transport::new(ours, Duration::from_millis(100));
        let block = vec![0; 1 << 20];
        let failure = loop {
            if let Err(failure) = transport.write_all(&block).await {
                break failure;
            }
        };
        assert_eq!(failure.kind(), io::ErrorKind::TimedOut);
    }
}
