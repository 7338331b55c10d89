//! What is being said on one HTTP/1.1 connection, as its two ends see it: whose turn it is, and since when.
//!
//! Whoever reads below the HTTP server (`brief`) may answer in its place only between two requests: when every byte that
//! the server was given belonged to a request that it has answered, and every byte of that answer is written. That is known
//! here, from what passes: bytes that are handed on, a request that begins, its body that ends, a flush. On any doubt (two
//! requests at once, a head in pieces, a request with a body) it is the server's turn for as long as the connection lasts.
//!
//! It is also the clock of a connection on which nothing is asked, for both of them.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, sleep, sleep_until};

/// The longest head that is remembered as it came.
const LONGEST: usize = 1024;

/// The head of a request, as it came. Goes with the request.
#[derive(Clone, Debug)]
pub(super) struct Verbatim(pub(super) Bytes);

/// One connection. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Talk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    turn: Turn,
    /// Whether an answer has ended that may not be written yet.
    ended: bool,
    /// Since when a request is awaited.
    awaited: Option<Instant>,
    /// Whether that is not counted, because what was written is still on its way to the socket.
    lingers: bool,
}

#[derive(Debug)]
enum Turn {
    /// Nothing is under way.
    Quiet,
    /// The server has the head of one request and nothing else.
    Head(Bytes),
    /// It is answering that request.
    Answering,
    /// It is the server's for good.
    Servers,
}

impl Talk {
    /// A connection that begins now.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State {
            turn: Turn::Quiet,
            ended: false,
            awaited: Some(Instant::now()),
            lingers: false,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is under way.
    pub(super) fn is_quiet(&self) -> bool {
        matches!(self.state().turn, Turn::Quiet)
    }

    /// The server is given these bytes.
    pub(super) fn hand_on(&self, bytes: &[u8]) {
        let mut state = self.state();
        state.turn = match state.turn {
            Turn::Quiet if is_one_head(bytes) => Turn::Head(Bytes::copy_from_slice(bytes)),
            _ => Turn::Servers,
        };
    }

    /// The server has understood a request; its head as it came, where that is known and all there is.
    pub(super) fn begin(&self, has_body: bool) -> Option<Verbatim> {
        let mut state = self.state();
        (state.awaited, state.ended, state.lingers) = (None, false, false);
        let turn = std::mem::replace(&mut state.turn, Turn::Servers);
        match turn {
            Turn::Head(head) if !has_body => {
                state.turn = Turn::Answering;
                Some(Verbatim(head))
            }
            _ => None,
        }
    }

    /// The server has all of an answer.
    fn end(&self) {
        self.state().ended = true;
    }

    /// All that the server had to write is written.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        if !std::mem::take(&mut state.ended) {
            return;
        }
        state.awaited = Some(Instant::now());
        if matches!(state.turn, Turn::Answering) {
            state.turn = Turn::Quiet;
        }
    }

    /// A request was answered without the server.
    pub(super) fn answered(&self) {
        self.state().awaited = Some(Instant::now());
    }

    /// Whether all that was flushed has gone to the socket: a client that still takes it is not one that asks nothing.
    pub(super) fn settled(&self, is_settled: bool) {
        let mut state = self.state();
        if !is_settled && state.awaited.is_some() {
            (state.awaited, state.lingers) = (None, true);
        } else if is_settled && std::mem::take(&mut state.lingers) {
            state.awaited = Some(Instant::now());
        }
    }

    /// Ends when a request was awaited for so long.
    pub(super) async fn too_long(&self, patience: Duration) {
        loop {
            let awaited = self.state().awaited;
            match awaited {
                Some(since) if since.elapsed() >= patience => return,
                Some(since) => sleep_until(since + patience).await,
                None => sleep(patience).await,
            }
        }
    }
}

/// Whether this is one head and nothing else, for whoever takes a line to end at a line feed, too.
fn is_one_head(bytes: &[u8]) -> bool {
    let Some(lines) = bytes.strip_suffix(b"\r\n\r\n").filter(|_| bytes.len() <= LONGEST) else {
        return false;
    };
    let mut lines = lines.rsplit(|byte| *byte == b'\n');
    // The end of the last line was taken off above.
    let last = lines.next();
    let mut lines = last.into_iter().map(Some).chain(lines.map(|line| line.strip_suffix(b"\r")));
    lines.all(|line| line.is_some_and(|line| !line.is_empty() && !line.contains(&b'\r')))
}

/// A body that tells when it has ended.
#[derive(Debug)]
pub(super) struct Told<B> {
    body: B,
    talk: Talk,
}

impl<B> Told<B> {
    pub(super) fn new(body: B, talk: Talk) -> Self {
        Self { body, talk }
    }
}

impl<B> Drop for Told<B> {
    fn drop(&mut self) {
        self.talk.end();
    }
}

impl<B: Body + Unpin> Body for Told<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

    #[test]
    fn one_head_is_one_whoever_reads_it() {
        assert!(is_one_head(HEAD));
        for other in [
            &b""[..],
            b"\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n\r\nx",
            b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\n\nGET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            &[&b"GET /"[..], &[b'x'; LONGEST], b" HTTP/1.1\r\n\r\n"].concat(),
        ] {
            assert!(!is_one_head(other), "{:?}", String::from_utf8_lossy(other));
        }
    }

    #[test]
    fn it_is_quiet_again_when_an_answer_has_ended_and_is_written() {
        let talk = Talk::new();
        for _ in 0..3 {
            assert!(talk.is_quiet());
            talk.hand_on(HEAD);
            assert!(!talk.is_quiet());
            assert_eq!(talk.begin(false).expect("as it came").0, HEAD);
            // What was written before does not count.
            talk.flushed();
            assert!(!talk.is_quiet());
            drop(Told::new(http_body_util::Empty::<Bytes>::new(), talk.clone()));
            assert!(!talk.is_quiet());
            talk.flushed();
        }
        assert!(talk.is_quiet());
    }

    #[test]
    fn on_any_doubt_it_is_the_servers_turn_for_good() {
        let in_pieces = |talk: &Talk| talk.hand_on(&HEAD[..9]);
        let more = |talk: &Talk| {
            talk.hand_on(HEAD);
            talk.hand_on(b"x");
        };
        let early = |talk: &Talk| {
            talk.hand_on(HEAD);
            talk.begin(false);
            talk.hand_on(HEAD);
        };
        let with_a_body = |talk: &Talk| {
            talk.hand_on(HEAD);
            assert!(talk.begin(true).is_none());
        };
        let unasked = |talk: &Talk| assert!(talk.begin(false).is_none());
        for doubt in [&in_pieces as &dyn Fn(&Talk), &more, &early, &with_a_body, &unasked] {
            let talk = Talk::new();
            doubt(&talk);
            for _ in 0..2 {
                let _ = talk.begin(false);
                talk.end();
                talk.flushed();
                assert!(!talk.is_quiet());
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_asks_nothing_for_long_is_told_from_whoever_waits_for_an_answer() {
        let patience = Duration::from_secs(10);
        let (talk, begun) = (Talk::new(), Instant::now());
        talk.too_long(patience).await;
        assert_eq!(begun.elapsed(), patience);
        talk.hand_on(HEAD);
        talk.begin(false);
        let other = talk.clone();
        let answer = tokio::spawn(async move {
            sleep(patience * 7 / 2).await;
            other.end();
            other.flushed();
        });
        talk.too_long(patience).await;
        answer.await.unwrap();
        assert_eq!(begun.elapsed(), patience + patience * 7 / 2 + patience);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_still_takes_an_answer_is_not_one_who_asks_nothing() {
        let patience = Duration::from_secs(10);
        let (talk, begun) = (Talk::new(), Instant::now());
        talk.settled(true);
        talk.settled(false);
        let other = talk.clone();
        let taking = tokio::spawn(async move {
            for _ in 0..7 {
                sleep(patience / 2).await;
                other.settled(false);
            }
            other.settled(true);
            other.settled(true);
        });
        talk.too_long(patience).await;
        taking.await.unwrap();
        assert_eq!(begun.elapsed(), patience * 7 / 2 + patience);
        // A request that begins is waited for no longer, however that ended.
        talk.settled(false);
        talk.begin(false);
        talk.settled(true);
        assert!(tokio::time::timeout(patience * 3, talk.too_long(patience)).await.is_err());
    }
}
