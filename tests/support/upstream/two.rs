//! One connection of HTTP/2: the same content and the same script, and what only HTTP/2 can do wrong.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{Request, Response};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::Inner;
use super::pace::Link;
use super::script::Asked;
use super::tally::Exchange;
use super::wire::{Flow, PIECE, classify};

pub use h2::Reason;

/// How an exchange ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Break {
    /// The stream is reset.
    Reset(Reason),
    /// The server goes away at once, with all streams.
    GoAway(Reason),
    /// The server takes no new streams, and ends those that it has.
    Leave,
    /// The connection stays, and nothing comes over it any more.
    Die,
}

/// A break to come.
#[derive(Debug)]
pub(super) struct Planned {
    /// The object and the byte; `None`: before the answer.
    pub(super) object: Option<(String, u64)>,
    pub(super) how: Break,
}

impl Inner {
    fn broken_before(&self) -> Option<Break> {
        let mut breaks = self.breaks.lock().unwrap();
        let place = breaks.iter().position(|planned| planned.object.is_none())?;
        Some(breaks.remove(place).how)
    }

    /// Where the next break of this object is, at this byte or after it.
    fn broken_from(&self, digest: &str, offset: u64) -> Option<u64> {
        let breaks = self.breaks.lock().unwrap();
        let all = breaks.iter().filter_map(|planned| planned.object.as_ref());
        all.filter(|(object, at)| object == digest && *at >= offset).map(|(_, at)| *at).min()
    }

    fn broken_at(&self, digest: &str, offset: u64) -> Option<Break> {
        let mut breaks = self.breaks.lock().unwrap();
        let is_here = |planned: &Planned| planned.object.as_ref() == Some(&(digest.to_owned(), offset));
        let place = breaks.iter().position(is_here)?;
        Some(breaks.remove(place).how)
    }
}

/// Answers requests until the connection ends.
pub(super) async fn converse(inner: &Arc<Inner>, io: TlsStream<TcpStream>, number: usize) {
    let Ok(mut connection) = h2::server::handshake(io).await else { return };
    let (orders, mut ordered) = mpsc::unbounded_channel();
    let mut streams = JoinSet::new();
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let (inner, orders) = (Arc::clone(inner), orders.clone());
                    streams.spawn(async move { stream(&inner, request, respond, number, &orders).await });
                }
                Some(Err(_)) | None => return,
            },
            Some(how) = ordered.recv() => match how {
                Break::GoAway(reason) => connection.abrupt_shutdown(reason),
                Break::Leave => connection.graceful_shutdown(),
                Break::Die => std::future::pending().await,
                Break::Reset(_) => {}
            },
            Some(_) = streams.join_next() => {}
        }
    }
}

/// One exchange; `None`: it ended before its time.
async fn stream(
    inner: &Inner,
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    number: usize,
    orders: &mpsc::UnboundedSender<Break>,
) -> Option<()> {
    let asked = asked(request, number).await?;
    let exchange = inner.tally.enter(asked.clone());
    exchange.note("h2");
    let act = inner.act(&asked);
    if let Some(how) = inner.broken_before() {
        match how {
            Break::Reset(reason) => respond.send_reset(reason),
            how => drop(orders.send(how)),
        }
        if how != Break::Leave {
            return waits(how).await;
        }
    }
    if let Some(hold) = &act.hold {
        hold.wait().await;
    }
    if let Some(delay) = act.delay {
        tokio::time::sleep(delay).await;
    }
    if act.hang {
        return std::future::pending().await;
    }
    if act.raw.is_some() {
        // There is no way to say something else here.
        respond.send_reset(Reason::INTERNAL_ERROR);
        return None;
    }
    let reply = inner.reply(&asked, &act);
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    let empty = asked.method == "HEAD" || reply.body.is_empty();
    let mut body = respond.send_response(response.body(()).ok()?, empty).ok()?;
    exchange.head(reply.status, 0, reply.object.as_ref());
    if empty {
        return Some(());
    }
    let (digest, start) = reply.object.clone().unwrap_or_default();
    let flow = Flow { gate: inner.gate_of(&digest), start, line: Link::new(act.rate), shared: inner.link() };
    let size = reply.body.len() as u64;
    let mut sent = 0;
    while sent < size {
        let until = inner.broken_from(&digest, start + sent).map_or(size, |at| at - start);
        if act.stall == Some(sent) {
            return std::future::pending().await;
        }
        if act.cut == Some(sent) {
            body.send_reset(if act.reset { Reason::INTERNAL_ERROR } else { Reason::CANCEL });
            return None;
        }
        let marks = [act.cut, act.stall].into_iter().flatten().filter(|&mark| mark > sent);
        let until = marks.fold(until, u64::min);
        let mut most = PIECE.min(until.max(sent + 1) - sent).min(size - sent);
        if let Some(every) = act.drip {
            tokio::time::sleep(every).await;
            most = 1;
        }
        let piece = flow.pass(sent, most).await;
        if let Some(how) = inner.broken_at(&digest, start + sent) {
            match how {
                Break::Reset(reason) => body.send_reset(reason),
                how => drop(orders.send(how)),
            }
            if how != Break::Leave {
                return waits(how).await;
            }
        }
        let bytes = reply.body.slice(sent as usize..(sent + piece) as usize);
        sent += piece;
        write(&mut body, bytes, sent == size, &exchange).await?;
    }
    Some(())
}

/// Where the connection has to do what was ordered, the stream is held until it has.
async fn waits(how: Break) -> Option<()> {
    match how {
        Break::Reset(_) => None,
        _ => std::future::pending().await,
    }
}

async fn write(
    body: &mut SendStream<Bytes>,
    mut bytes: Bytes,
    last: bool,
    exchange: &Exchange<'_>,
) -> Option<()> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        let room = poll_fn(|cx| body.poll_capacity(cx)).await?.ok()?;
        let part = bytes.split_to(room.min(bytes.len()));
        let (length, end) = (part.len(), last && bytes.is_empty());
        let send = || Poll::Ready(body.send_data(part, end).map(|()| length).map_err(io::Error::other));
        let Poll::Ready(Ok(_)) = exchange.body(send) else { return None };
    }
    Some(())
}

async fn asked(request: Request<RecvStream>, connection: usize) -> Option<Asked> {
    let (head, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(bytes) = stream.data().await {
        body.extend_from_slice(&bytes.ok()?);
    }
    let headers = head.headers.iter();
    let (kind, repository, reference) = classify(head.uri.path());
    Some(Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect(),
        body,
        kind,
        repository,
        reference,
        connection,
    })
}
