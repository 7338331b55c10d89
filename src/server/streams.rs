//! The answers under way on one HTTP/2 connection: they are part of its task, and end with it at the latest.
//!
//! An answer and its connection wake each other for every frame. As tasks of their own they would do so across threads, which
//! costs more than the frame does; what may block has threads of its own anyway.
//!
//! Over HTTP/1.1 a client that takes nothing is noticed at its socket. Over HTTP/2 the socket may be as busy as ever while
//! one body waits for its window, so each answer has a patience of its own: it begins anew whenever a piece was taken, and
//! does not run while it is the body that has nothing to give. When it is spent that answer alone is ended, which its client
//! sees as a reset.

use std::convert::Infallible;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use hyper::body::{Body, Frame, SizeHint};
use hyper::rt::Executor;
use tokio::time::{Instant, sleep, sleep_until};

tokio::task_local! {
    static WAITING: Arc<Waiting>;
}

/// Since when a piece of an answer waits to be taken; `None`: none does.
#[derive(Debug, Default)]
struct Waiting(Mutex<Option<Instant>>);

impl Waiting {
    fn set(&self, since: Option<Instant>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = since;
    }

    fn since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends when a piece was not taken for so long.
    async fn too_long(&self, patience: Duration) {
        loop {
            match self.since() {
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => sleep_until(since + patience).await,
                None => sleep(patience).await,
            }
        }
    }
}

/// An answer, from its request to the end of its body.
type Answer = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answers under way on a connection. Clones are the same.
#[derive(Clone)]
pub(super) struct Streams {
    /// Those that are not polled yet.
    new: Arc<Mutex<Vec<Answer>>>,
    /// How many there have been, and how many of those have ended.
    begun: Arc<AtomicU64>,
    ended: Arc<AtomicU64>,
    /// Whether what was written is still on its way to the socket.
    lingers: Arc<AtomicBool>,
    patience: Duration,
}

impl Streams {
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            new: Arc::default(),
            begun: Arc::default(),
            ended: Arc::default(),
            lingers: Arc::default(),
            patience,
        }
    }

    /// Whether all that was flushed has gone to the socket: a client that still takes it is under way.
    pub(super) fn settled(&self, is_settled: bool) {
        self.lingers.store(!is_settled, Ordering::Relaxed);
    }

    /// Ends when there was none for so long, or for up to twice as long.
    pub(super) async fn idle(&self, time: Duration) {
        let count = || [&self.begun, &self.ended].map(|count| count.load(Ordering::Relaxed));
        loop {
            let before @ [begun, ended] = count();
            let lingered = self.lingers.load(Ordering::Relaxed);
            sleep(time).await;
            let lingers = lingered || self.lingers.load(Ordering::Relaxed);
            if begun == ended && !lingers && count() == before {
                return;
            }
        }
    }

    /// Makes the answers. It has to be polled after the connection, whose polling begins them; when it is dropped they end.
    pub(super) async fn run(&self) -> Infallible {
        let mut answers = FuturesUnordered::new();
        poll_fn(|cx| {
            loop {
                answers.extend(self.new.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
                match answers.poll_next_unpin(cx) {
                    Poll::Ready(Some(())) => _ = self.ended.fetch_add(1, Ordering::Relaxed),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, answer: F) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        let patience = self.patience;
        let waiting = Arc::new(Waiting::default());
        let answer = Box::pin(async move {
            // One that panics ends alone, as a task of its own would; the panic itself is reported by the hook.
            let answer = AssertUnwindSafe(answer).catch_unwind();
            tokio::select! {
                _ = WAITING.scope(Arc::clone(&waiting), answer) => {}
                () = waiting.too_long(patience) => {
                    tracing::debug!(?patience, "a client took nothing of an answer, which is ended");
                }
            }
        });
        self.new.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
    }
}

/// A body in small pieces that tells its task whether one waits to be taken.
#[derive(Debug)]
pub(super) struct Taken<B> {
    body: B,
    /// What is left of a piece of the body.
    rest: Bytes,
}

/// How much has to be taken for the patience to begin anew. It is what one frame carries.
const PIECE: usize = 16 * 1024;

impl<B> Taken<B> {
    pub(super) fn new(body: B) -> Self {
        Self { body, rest: Bytes::new() }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Taken<B> {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)).map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => self.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Taken<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        // It is asked for the next piece once there is room for it: the one before has been taken.
        let _outside = WAITING.try_with(|waiting| waiting.set(None));
        let piece = ready!(self.poll_piece(cx));
        if matches!(piece, Some(Ok(_))) {
            let _outside = WAITING.try_with(|waiting| waiting.set(Some(Instant::now())));
        }
        Poll::Ready(piece)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (left, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(left.lower() + rest);
        if let Some(upper) = left.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
