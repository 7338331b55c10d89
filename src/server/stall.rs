//! The byte stream of one client, with patience that ends.
//!
//! Owns the rule that a client which takes nothing for a while is cut: otherwise its connection, its open file and
//! its place in the drain would be held for as long as it likes. The timer runs only while there is something to
//! write and the client does not take it, and any progress, however small, starts it anew: slow is allowed, stuck is
//! not. Reading has its own limit in the HTTP server (the time for a request's head).
//!
//! This is also the place from which regions of files are handed to the kernel without passing through our memory: what
//! is written is held against the [`Lane`] beside it, and sent by [`super::outgoing`].

use std::io::{self, IoSlice};
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_cork;
use rustix::net::{SendFlags, send};
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, Sleep, sleep};

use super::lane::{Doubt, Lane, is_mark};
use super::outgoing::{Outgoing, Unsendable};

/// After so many bytes of files at one go, others have their turn.
const AT_ONE_GO: usize = 4 << 20;

/// How much the kernel takes of what a client is not ready for. Without a limit it is megabytes for each client that takes
/// nothing; what is on its way to a client that takes it is not limited by this. Files that the kernel sends are not
/// limited: it has no copies of them, and would ask for more ten times as often.
pub(super) const UNSENT: u32 = 128 * 1024;

/// So much of what is written is a body.
const LARGE: usize = 32 * 1024;

/// A socket that can be asked, beside the runtime's readiness, whether it takes bytes at this moment.
///
/// The runtime hears that a socket is writable only once a third of its send buffer is free, which can be a megabyte:
/// for a client on a thin line that is minutes of steady progress. So before anyone is cut, the socket itself is asked.
pub trait Socket: AsyncRead + AsyncWrite + Unpin {
    /// Writes what fits now; `WouldBlock` when nothing does.
    fn write_now(&self, bytes: &[u8]) -> io::Result<usize>;

    /// The descriptor, if the kernel can send files into it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether the runtime believes that bytes can be written.
    fn poll_writable(&self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::ErrorKind::Unsupported.into()))
    }

    /// Writes by `attempt`, of which the runtime learns whether the socket was full.
    fn try_write(&self, _attempt: &mut dyn FnMut() -> io::Result<()>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// For the sockets of the system, which differ in their type alone.
macro_rules! socket_of_the_system {
    ($stream:ty) => {
        impl $crate::server::stall::Socket for $stream {
            fn write_now(&self, bytes: &[u8]) -> std::io::Result<usize> {
                $crate::server::stall::send_now(self, bytes)
            }

            fn descriptor(&self) -> Option<std::os::fd::BorrowedFd<'_>> {
                Some(std::os::fd::AsFd::as_fd(self))
            }

            fn poll_writable(&self, cx: &mut std::task::Context<'_>) -> std::task::Poll<std::io::Result<()>> {
                self.poll_write_ready(cx)
            }

            fn try_write(&self, attempt: &mut dyn FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
                self.try_io(tokio::io::Interest::WRITABLE, attempt)
            }
        }
    };
}
pub(super) use socket_of_the_system;

socket_of_the_system!(TcpStream);

pub(super) fn send_now(socket: impl std::os::fd::AsFd, bytes: &[u8]) -> io::Result<usize> {
    send(socket, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL).map_err(Errno::into)
}

/// A client's connection that fails with `TimedOut` when the client has taken no byte for `patience`.
#[derive(Debug)]
pub(super) struct Transport<S> {
    socket: S,
    /// Regions of files that are written beside the bytes.
    lane: Option<Lane>,
    patience: Duration,
    timer: Pin<Box<Sleep>>,
    /// Whether `timer` runs: the last write found no room.
    waiting: bool,
    /// How much of files was sent at one go.
    gone: usize,
    /// Whether [`UNSENT`] is lifted.
    is_lifted: bool,
    /// Whether the kernel keeps what fills no packet until more comes.
    is_corked: bool,
    /// A file that could not be sent is looked at; the connection ends with what is found.
    examined: Option<JoinHandle<io::Error>>,
}

impl<S: Socket> Transport<S> {
    /// Wraps `socket`; must be called within a runtime.
    pub(super) fn new(socket: S, patience: Duration) -> Self {
        let timer = Box::pin(sleep(patience));
        Self {
            socket,
            lane: None,
            patience,
            timer,
            waiting: false,
            gone: 0,
            is_lifted: false,
            is_corked: false,
            examined: None,
        }
    }

    /// The same with regions of files from this lane.
    pub(super) fn beside(self, lane: Option<Lane>) -> Self {
        Self { lane, ..self }
    }

    fn after(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
        now: impl FnOnce(&S) -> io::Result<usize>,
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
        Poll::Ready(match now(&self.socket) {
            Err(stuck) if stuck.kind() == io::ErrorKind::WouldBlock => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the client took no byte for {:?}", self.patience),
            )),
            moved => moved,
        })
    }

    /// Whether what is written has regions of files in it.
    fn has_regions(&self, written: &[IoSlice<'_>]) -> Result<bool, Doubt> {
        match &self.lane {
            Some(lane) => lane.reconcile(written),
            None if written.iter().any(|slice| is_mark(slice)) => Err(Doubt::NoRegion),
            None => Ok(false),
        }
    }

    /// Sends bytes and regions of files, in their order.
    fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
        lane: &Lane,
    ) -> Poll<io::Result<usize>> {
        if self.gone >= AT_ONE_GO {
            self.gone = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.lift(true);
        if lane.follows() {
            self.cork(true);
        }
        let mut outgoing = Outgoing::new(slices, lane);
        let polled = loop {
            match self.socket.poll_writable(cx) {
                Poll::Ready(Ok(())) => {}
                other => break other.map_ok(|()| 0),
            }
            let socket = &self.socket;
            let tried = socket.try_write(&mut || match socket.descriptor() {
                Some(descriptor) => outgoing.send(descriptor),
                None => Err(io::ErrorKind::Unsupported.into()),
            });
            match tried {
                Err(full) if full.kind() == io::ErrorKind::WouldBlock && outgoing.sent() == 0 => {}
                Err(full) if full.kind() == io::ErrorKind::WouldBlock => break Poll::Ready(Ok(0)),
                tried => break Poll::Ready(tried.map(|()| 0)),
            }
        };
        if let Some(unsendable) = outgoing.unsendable() {
            self.examine(unsendable, lane);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let sent = outgoing.sent();
        self.gone = if polled.is_pending() { 0 } else { self.gone + sent };
        self.after(cx, polled.map_ok(|_| sent), |socket| {
            let Some(descriptor) = socket.descriptor() else { return Err(io::ErrorKind::Unsupported.into()) };
            match outgoing.send(descriptor) {
                Err(error) if outgoing.sent() == 0 => Err(error),
                _ => Ok(outgoing.sent()),
            }
        })
    }

    /// Lifts the limit of [`UNSENT`], or sets it again.
    fn lift(&mut self, lifted: bool) {
        if self.is_lifted != lifted
            && let Some(descriptor) = self.socket.descriptor()
        {
            self.is_lifted = lifted;
            // A file socket has no such limit.
            let _ = SockRef::from(&descriptor).set_tcp_notsent_lowat(if lifted { u32::MAX } else { UNSENT });
        }
    }

    /// Has the kernel keep what fills no packet, or send it after all. Each call that sends a part of a file ends in such a rest,
    /// and every one of these would be a packet of its own, with its answer and a client that is woken. It is sent when what was
    /// written is flushed and nothing follows at once.
    fn cork(&mut self, corked: bool) {
        if self.is_corked != corked
            && let Some(descriptor) = self.socket.descriptor()
        {
            self.is_corked = corked;
            // A file socket has no packets.
            let _ = set_tcp_cork(descriptor, corked);
        }
    }

    /// Looks at a file that the kernel does not send, and is let go of. Whoever has it learns of it by the read.
    fn examine(&mut self, Unsendable { span, why }: Unsendable, lane: &Lane) {
        let lane = lane.clone();
        self.examined = Some(spawn_blocking(move || match span.file.read_at(&mut [0], span.start) {
            Ok(0) => io::Error::other(format!("a file ends at byte {}, before its end", span.start)),
            Ok(_) => {
                if lane.give_up() {
                    tracing::warn!(%why, "the kernel does not send files of this store; they are copied from now on");
                }
                why
            }
            Err(unreadable) => unreadable,
        }));
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
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        if let Some(examined) = &mut this.examined {
            let reason = ready!(Pin::new(examined).poll(cx)).unwrap_or_else(io::Error::other);
            tracing::warn!(%reason, "a file could not be sent to its end; the connection is cut");
            this.examined = None;
            return Poll::Ready(Err(reason));
        }
        match this.has_regions(slices) {
            Ok(false) => {}
            Ok(true) => {
                let Some(lane) = this.lane.clone() else { return Poll::Ready(Err(Doubt::NoRegion.into())) };
                return this.poll_send(cx, slices, &lane);
            }
            Err(doubt) => {
                tracing::error!(%doubt, "what is written to a connection is not what was to be sent; it is cut");
                return Poll::Ready(Err(doubt.into()));
            }
        }
        if this.is_lifted && slices.iter().any(|slice| slice.len() > LARGE) {
            this.lift(false);
        }
        let written = match slices {
            [bytes] => Pin::new(&mut this.socket).poll_write(cx, bytes),
            _ => Pin::new(&mut this.socket).poll_write_vectored(cx, slices),
        };
        let next = slices.iter().find(|slice| !slice.is_empty()).map_or(&[][..], |slice| slice);
        this.after(cx, written, |socket| socket.write_now(next))
    }

    fn is_write_vectored(&self) -> bool {
        self.lane.is_some() || self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // All was written, so there is nothing left on the lane.
        self.has_regions(&[])?;
        if self.is_corked && !self.lane.as_ref().is_some_and(Lane::follows) {
            self.cork(false);
        }
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.has_regions(&[])?;
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
