//! The stand-in for a registry: one image under one tag, behind the link. It counts what it is asked and what it
//! sends, and can vanish.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName, RANGE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::image::{Blob, Image, MANIFEST_TYPE};
use super::link::Link;
use super::tally::{Asked, Tally};
use crate::http::{Answer, answer, parse_range, unsatisfied};
use crate::oci::{Call, Reference, Route};

/// The repository of the image.
pub(super) const REPOSITORY: &str = "demo/image";
/// The tag of the image.
pub(super) const TAG: &str = "latest";
/// Where registries tell the digest of a manifest.
pub(super) const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// A registry that is running.
#[derive(Debug)]
pub(super) struct StandIn {
    address: SocketAddr,
    tally: Arc<Tally>,
    gone: CancellationToken,
    connections: TaskTracker,
}

/// What a connection needs to answer.
#[derive(Clone, Debug)]
struct Desk {
    image: Arc<Image>,
    link: Link,
    tally: Arc<Tally>,
}

/// A part of a blob, made while it is sent.
#[derive(Debug)]
struct Content {
    blob: Option<Blob>,
    at: u64,
    end: u64,
    tally: Arc<Tally>,
}

impl StandIn {
    /// Listens on a port of its own, and answers until it vanishes.
    pub(super) async fn start(image: Arc<Image>, link: Link) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let desk = Desk { image, link, tally: Arc::default() };
        let tally = Arc::clone(&desk.tally);
        let (gone, connections) = (CancellationToken::new(), TaskTracker::new());
        let accepting = accept(listener, desk, gone.clone(), connections.clone());
        connections.spawn(gone.clone().run_until_cancelled_owned(accepting));
        Ok(Self { address, tally, gone, connections })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was asked so far.
    pub(super) fn asked(&self) -> Asked {
        self.tally.read()
    }

    /// Stops listening and cuts every connection. Once this returns, connecting is refused.
    pub(super) async fn vanish(&self) {
        self.gone.cancel();
        self.connections.close();
        self.connections.wait().await;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.gone.cancel();
    }
}

async fn accept(listener: TcpListener, desk: Desk, gone: CancellationToken, connections: TaskTracker) {
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let desk = desk.clone();
        let serving = async move {
            sleep(desk.link.latency()).await;
            let io = TokioIo::new(desk.link.carry(socket));
            let service = service_fn(|request| {
                let desk = desk.clone();
                async move { Ok::<_, Infallible>(desk.answer(&request).await) }
            });
            // A client that leaves is none of the stand-in's business.
            let _ = http1::Builder::new().serve_connection(io, service).await;
        };
        connections.spawn(gone.clone().run_until_cancelled_owned(serving));
    }
}

impl Desk {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Content> {
        let route = Route::parse(request.uri().path()).ok();
        let call = route.as_ref().map(|route| &route.call);
        self.tally.asked(request.method(), call);
        sleep(self.link.latency()).await;
        let head = request.method() == Method::HEAD;
        if !head && request.method() != Method::GET {
            return self.empty(StatusCode::METHOD_NOT_ALLOWED);
        }
        let mut response = match call {
            Some(Call::Ping) => self.empty(StatusCode::OK),
            Some(Call::Manifest { name, reference }) if name == REPOSITORY => self.manifest(reference),
            Some(Call::Blob { name, digest }) if name == REPOSITORY => match self.image.blob(digest) {
                Some(blob) => self.blob(blob, request.headers()),
                None => self.empty(StatusCode::NOT_FOUND),
            },
            _ => self.empty(StatusCode::NOT_FOUND),
        };
        if head {
            *response.body_mut() = self.nothing();
        }
        response
    }

    fn manifest(&self, reference: &Reference) -> Response<Content> {
        let manifest = self.image.manifest();
        let known = match reference {
            Reference::Tag(tag) => tag.as_str() == TAG,
            Reference::Digest(digest) => *digest == manifest.digest,
        };
        if !known {
            return self.empty(StatusCode::NOT_FOUND);
        }
        let mut response = self.part(StatusCode::OK, manifest, 0, manifest.size);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MANIFEST_TYPE));
        insert(headers, DIGEST_HEADER, &manifest.digest.to_string());
        response
    }

    fn blob(&self, blob: &Blob, asked: &HeaderMap) -> Response<Content> {
        let range = asked.get(RANGE).and_then(|range| range.to_str().ok()).unwrap_or_default();
        let mut response = match answer(&parse_range(range), blob.size) {
            Answer::Single(range) => {
                let mut response = self.part(StatusCode::PARTIAL_CONTENT, blob, range.start(), range.end());
                insert(response.headers_mut(), CONTENT_RANGE, &range.header());
                response
            }
            Answer::Unsatisfiable => {
                let mut response = self.empty(StatusCode::RANGE_NOT_SATISFIABLE);
                insert(response.headers_mut(), CONTENT_RANGE, &unsatisfied(blob.size));
                response
            }
            // Several ranges at once may be answered by the whole, and nobody here asks for them.
            Answer::Whole | Answer::Multi(_) => self.part(StatusCode::OK, blob, 0, blob.size),
        };
        let headers = response.headers_mut();
        headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        response
    }

    fn part(&self, status: StatusCode, blob: &Blob, start: u64, end: u64) -> Response<Content> {
        let tally = Arc::clone(&self.tally);
        let mut response = Response::new(Content { blob: Some(blob.clone()), at: start, end, tally });
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(end - start));
        response
    }

    fn empty(&self, status: StatusCode) -> Response<Content> {
        let mut response = Response::new(self.nothing());
        *response.status_mut() = status;
        response
    }

    fn nothing(&self) -> Content {
        Content { blob: None, at: 0, end: 0, tally: Arc::clone(&self.tally) }
    }
}

impl http_body::Body for Content {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        let Some(blob) = this.blob.as_ref().filter(|_| this.at < this.end) else {
            return Poll::Ready(None);
        };
        let bytes = blob.part(this.at, this.end.min(this.at + PIECE));
        this.at += bytes.len() as u64;
        this.tally.sent(bytes.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.at >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end - self.at)
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

const PIECE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::client::legacy::Client;
    use hyper_util::rt::TokioExecutor;
    use std::sync::atomic::AtomicU64;
    use std::time::Duration;

    use super::*;
    use crate::demo::source;
    use crate::load::pull;

    async fn stand_in() -> (Arc<Image>, StandIn) {
        let image = Arc::new(Image::generate(300_000));
        let upstream = StandIn::start(Arc::clone(&image), Link::new(10_000, Duration::ZERO)).await.unwrap();
        (image, upstream)
    }

    #[tokio::test]
    async fn a_node_pulls_every_byte_of_the_image_and_the_stand_in_counts_them() {
        let (image, upstream) = stand_in().await;
        let received = AtomicU64::new(0);
        let pull = pull(&source(upstream.address(), None).unwrap(), &received).await;
        assert!(pull.trouble.is_none(), "{:?}", pull.trouble);
        assert_eq!((pull.right, pull.first_bytes.len()), (image.bodies(), image.layers().len()));
        assert_eq!((pull.manifests.len() as u64, pull.answered.unsaid), (2, image.bodies() + 1));
        assert_eq!(received.into_inner(), image.bytes());
        let asked = upstream.asked();
        assert_eq!((asked.manifest_heads, asked.manifest_gets, asked.blobs), (1, 1, 5));
        assert_eq!((asked.requests, asked.bytes), (7, image.bytes()));
    }

    #[tokio::test]
    async fn a_stand_in_that_vanished_refuses_connections() {
        let (_, upstream) = stand_in().await;
        upstream.vanish().await;
        let pull = pull(&source(upstream.address(), None).unwrap(), &AtomicU64::new(0)).await;
        let said = pull.trouble.unwrap();
        assert!(!said.is_wrong_content() && said.to_string().contains("refused"), "{said}");
    }

    #[tokio::test]
    async fn the_stand_in_answers_ranges_and_heads_as_registries_do() {
        let (image, upstream) = stand_in().await;
        let layer = &image.layers()[0];
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let ask = async |method: Method, range: &str| {
            let uri = format!("http://{}/v2/{REPOSITORY}/blobs/{}", upstream.address(), layer.digest);
            let request = Request::builder().method(method).uri(uri).header(RANGE, range);
            client.request(request.body(Empty::new()).unwrap()).await.unwrap()
        };
        let part = ask(Method::GET, "bytes=10-29").await;
        assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
        assert_eq!(part.headers()[CONTENT_RANGE], format!("bytes 10-29/{}", layer.size));
        assert_eq!(part.into_body().collect().await.unwrap().to_bytes(), layer.part(10, 30));
        let beyond = ask(Method::GET, &format!("bytes={}-", layer.size)).await;
        assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
        let head = ask(Method::HEAD, "").await;
        assert_eq!(head.headers()[CONTENT_LENGTH], layer.size.to_string());
        assert_eq!(upstream.asked().bytes, 20);
    }
}
