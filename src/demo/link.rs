//! A slow link, simulated: one rate that all connections share, and a latency.
//!
//! Only what the stand-in sends is held back; requests are too small to matter. The rate is kept by arithmetic, not by
//! ticks: each piece is told when it has passed, after all pieces before it, so that the link is fair and timers that
//! are late cost no throughput.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// The link. Clones are the same link.
#[derive(Clone, Debug)]
pub(super) struct Link {
    bucket: Arc<Mutex<Bucket>>,
    latency: Duration,
}

/// When bytes have passed, at a rate.
#[derive(Debug)]
struct Bucket {
    /// Bytes a second.
    rate: u64,
    /// When everything that was taken so far has passed.
    free: Instant,
}

/// A connection whose writes pass over the link.
#[derive(Debug)]
pub(super) struct Linked<S> {
    inner: S,
    link: Link,
    /// Bytes that have passed the link and that the socket has not taken yet.
    passed: usize,
    wait: Pin<Box<Sleep>>,
}

impl Link {
    pub(super) fn new(mbit_per_second: u64, latency: Duration) -> Self {
        let bucket = Bucket { rate: mbit_per_second * 1_000_000 / 8, free: Instant::now() };
        Self { bucket: Arc::new(Mutex::new(bucket)), latency }
    }

    pub(super) fn latency(&self) -> Duration {
        self.latency
    }

    pub(super) fn carry<S>(&self, inner: S) -> Linked<S> {
        Linked { inner, link: self.clone(), passed: 0, wait: Box::pin(sleep_until(Instant::now())) }
    }

    fn take(&self, bytes: usize) -> Instant {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now(), bytes)
    }
}

impl Bucket {
    /// Sends `bytes` behind everything that was sent before; returns when they have passed.
    fn take(&mut self, now: Instant, bytes: usize) -> Instant {
        let start = now.checked_sub(SLACK).map_or(self.free, |earliest| self.free.max(earliest));
        self.free = start + Duration::from_nanos(bytes as u64 * 1_000_000_000 / self.rate);
        self.free
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Linked<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.passed == 0 {
            this.passed = buf.len().min(PIECE);
            this.wait.as_mut().reset(this.link.take(this.passed));
        }
        ready!(this.wait.as_mut().poll(cx));
        let buf = &buf[..buf.len().min(this.passed)];
        let written = ready!(Pin::new(&mut this.inner).poll_write(cx, buf))?;
        this.passed -= written;
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Linked<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

/// The most that one connection puts on the link at once: 5 ms at 100 Mbit/s, so that connections take turns.
const PIECE: usize = 64 * 1024;

/// How long the link may have stood idle and still catch up: more than a timer is late on a busy machine, and too
/// little to matter against a pull.
const SLACK: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn pieces_pass_one_after_another_at_the_rate() {
        let now = Instant::now();
        let mut bucket = Bucket { rate: 1_000_000, free: now };
        assert_eq!(bucket.take(now, 500_000), now + Duration::from_millis(500));
        assert_eq!(bucket.take(now, 250_000), now + Duration::from_millis(750));
    }

    #[test]
    fn an_idle_link_saves_up_no_more_than_the_slack() {
        let now = Instant::now();
        let mut bucket = Bucket { rate: 1_000_000, free: now };
        let later = now + Duration::from_secs(60);
        assert_eq!(bucket.take(later, 500_000), later - SLACK + Duration::from_millis(500));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_share_the_rate_of_the_link() {
        let link = Link::new(100, Duration::ZERO);
        let start = Instant::now();
        let one = |size: usize| {
            let (far, mut near) = tokio::io::duplex(16 * 1024);
            let mut far = link.carry(far);
            let sent = tokio::spawn(async move { far.write_all(&vec![7; size]).await });
            let read = tokio::spawn(async move { near.read_to_end(&mut Vec::new()).await });
            async move {
                sent.await.unwrap().unwrap();
                assert_eq!(read.await.unwrap().unwrap(), size);
                start.elapsed()
            }
        };
        let (short, long) = tokio::join!(one(1_250_000), one(11_250_000));
        // 12.5 MB at 12.5 MB a second in all; the short one has half of the link while it lasts.
        assert!((195..=215).contains(&short.as_millis()), "{short:?}");
        assert!((980..=1005).contains(&long.as_millis()), "{long:?}");
    }
}
