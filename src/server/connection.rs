//! One client connection, until the client, the drain or a timer ends it.
//!
//! HTTP/1.1 and HTTP/2 have the same limits: how long a head may be and take, how long nothing may be asked, and how long a
//! client may take nothing of a body ([`super::streams`] for the one, [`super::stall`] for the other). The bytes may be
//! those of a socket or of TLS.

use std::convert::Infallible;
use std::pin::pin;
use std::task::Context;

use bytes::Bytes;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::brief::{Brief, Knows};
use super::streams::{Streams, Taken};
use super::talk::{Talk, Told};
use super::turns::in_turns;

/// How many requests of one connection may be answered at a time over HTTP/2.
const MAX_STREAMS: u32 = 128;

/// How much of a body waits in memory for the window of its client over HTTP/2.
const SEND_BUFFER: usize = 256 * 1024;

/// What a client may send before it is told to go on. Requests have no bodies to speak of.
const RECEIVE_WINDOW: u32 = 64 * 1024;

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// The two ways in which a connection is ended from here.
#[derive(Clone, Debug)]
pub(super) struct Ends {
    /// No further request.
    pub(super) stop: CancellationToken,
    /// Wherever it is.
    pub(super) cut: CancellationToken,
}

/// What came on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoken {
    /// Requests, or nothing.
    Http,
    /// At last something else, or the head of a request that is too long.
    Else,
}

/// Serves requests that come on `transport` through `handle` until it ends, by itself or by one of the two signals:
/// `stop` lets the running answers finish, `cut` does not.
pub(super) async fn serve<T, H, F, B>(transport: T, protocol: Protocol, handle: H, limits: Limits, ends: Ends)
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    serve_and_tell(transport, protocol, handle, (None, None), limits, ends).await;
}

/// Who is told that a connection waits for something outside, and tells whether all that it flushed is on its way.
pub(super) type AtRest = Box<dyn FnMut(&mut Context<'_>) -> bool + Send>;

/// The same with somebody who knows answers to heads of HTTP/1.1, which are then not heard of by `handle`, and somebody who is
/// told when nothing is being done; returns what came.
pub(super) async fn serve_and_tell<T, H, F, B>(
    transport: T,
    protocol: Protocol,
    handle: H,
    (knows, at_rest): (Option<Knows>, Option<AtRest>),
    limits: Limits,
    ends: Ends,
) -> Spoken
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F + Send,
    F: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match protocol {
        Protocol::Http1 => {
            let talk = Talk::new();
            let transport = TokioIo::new(Brief::new(transport, talk.clone(), knows));
            let serving = Box::pin(serve_1(transport, talk.clone(), handle, limits, ends));
            match at_rest {
                Some(mut at_rest) => in_turns(serving, |cx| talk.settled(at_rest(cx))).await,
                None => serving.await,
            }
        }
        Protocol::Http2 => {
            let streams = Streams::new(limits.stall_timeout);
            let serving = Box::pin(serve_2(TokioIo::new(transport), streams.clone(), handle, limits, ends));
            match at_rest {
                Some(mut at_rest) => in_turns(serving, |cx| streams.settled(at_rest(cx))).await,
                None => serving.await,
            }
            Spoken::Http
        }
    }
}

async fn serve_1<T, H, F, B>(
    transport: TokioIo<Brief<T>>,
    talk: Talk,
    handle: H,
    limits: Limits,
    Ends { stop, cut }: Ends,
) -> Spoken
where
    T: AsyncRead + AsyncWrite + Unpin,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>>,
    B: hyper::body::Body + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|mut request: Request<Incoming>| {
        if let Some(head) = talk.begin(!request.body().is_end_stream()) {
            request.extensions_mut().insert(head);
        }
        let (answer, talk) = (handle(request), talk.clone());
        async move { Ok::<_, Infallible>(answer.await.map(|body| Told::new(body, talk))) }
    });
    let connection = http1::Builder::new()
        // How long a head may be awaited is seen to below: not every request comes up to the server.
        .header_read_timeout(None)
        .max_header_size(limits.header_bytes)
        // What is written is passed on as it is, piece by piece: marks of regions must not be copied.
        .writev(true)
        // What is read ahead of a body is for its window to say; this is also the room for a head, so it is no less.
        .max_buf_size(limits.header_bytes)
        // Who closes its sending side is gone: no client of registries does so and waits, and a body that waits for
        // upstream would not notice otherwise.
        .half_close(false)
        .serve_connection(transport, service);
    let mut connection = pin!(connection);
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => ended,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    };
    tokio::select! {
        // Clients come and go as they like: what ends a connection is the client's matter, and of interest only when
        // one looks for it.
        ended = ended => match ended {
            Ok(()) => Spoken::Http,
            Err(reason) => {
                tracing::debug!(%reason, "a client connection ended early");
                if reason.is_parse() { Spoken::Else } else { Spoken::Http }
            }
        },
        () = cut.cancelled() => Spoken::Http,
        () = talk.too_long(limits.header_timeout) => {
            tracing::debug!("a client asked nothing for too long; its connection is ended");
            Spoken::Http
        }
    }
}

async fn serve_2<T, H, F, B>(
    transport: TokioIo<T>,
    streams: Streams,
    handle: H,
    limits: Limits,
    Ends { stop, cut }: Ends,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    H: Fn(Request<Incoming>) -> F,
    F: Future<Output = Response<B>> + Send + 'static,
    B: hyper::body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = service_fn(|request| {
        let answer = handle(request);
        async move { Ok::<_, Infallible>(answer.await.map(Taken::new)) }
    });
    let connection = http2::Builder::new(streams.clone())
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .initial_stream_window_size(RECEIVE_WINDOW)
        .initial_connection_window_size(RECEIVE_WINDOW * 4)
        // Whoever is not there any more does not answer; nothing else would show it on a connection without bodies.
        .keep_alive_interval(limits.header_timeout)
        .keep_alive_timeout(limits.header_timeout)
        .serve_connection(transport, service);
    let mut connection = pin!(connection);
    let ended = async {
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = stop.cancelled() => {}
            () = streams.idle(limits.header_timeout) => {}
        }
        connection.as_mut().graceful_shutdown();
        tokio::select! {
            ended = connection.as_mut() => ended,
            // What waits in its buffers for a client that takes nothing, once no answer is under way.
            () = streams.idle(limits.stall_timeout) => Ok(()),
        }
    };
    tokio::select! {
        biased;
        ended = ended => if let Err(reason) = ended {
            tracing::debug!(%reason, "a client connection ended early");
        },
        never = streams.run() => match never {},
        () = cut.cancelled() => {}
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod two;
