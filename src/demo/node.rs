//! A node: it pulls an image as containerd does, and checks every byte.
//!
//! A HEAD of the tag, the manifest by digest, then configuration and layers, three at a time. Nothing is asked twice:
//! what goes wrong is the mirror's doing, and is reported.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout};

use super::upstream::{DIGEST_HEADER, REPOSITORY, TAG};
use crate::oci::{self, Digest, Hasher, Manifest};

/// Where a node pulls from.
#[derive(Clone, Copy, Debug)]
pub(super) struct Door {
    /// A mirror or a registry.
    pub(super) address: SocketAddr,
    /// The upstream that a mirror is asked for; a registry is not asked for one.
    pub(super) namespace: Option<&'static str>,
}

/// What came of a pull.
#[derive(Debug, Default)]
pub(super) struct Pull {
    /// Bodies that came whole and had the digest they were asked by.
    pub(super) right: u64,
    /// From the request for a layer to its first byte, for each layer.
    pub(super) first_bytes: Vec<Duration>,
    /// What ended the pull early.
    pub(super) trouble: Option<Trouble>,
}

/// What went wrong, and at what.
#[derive(Debug)]
pub(super) struct Trouble {
    what: String,
    why: Why,
}

#[derive(Debug)]
enum Why {
    Connection(String),
    Status(StatusCode),
    Patience,
    WrongDigest,
    WrongManifest(String),
}

/// A node with connections of its own.
#[derive(Debug)]
struct Node<'a> {
    door: Door,
    client: Client<HttpConnector, Empty<Bytes>>,
    received: &'a AtomicU64,
}

/// Pulls the image once. Bytes of bodies are added to `received` as they come.
pub(super) async fn pull(door: Door, received: &AtomicU64) -> Pull {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let node = Node { door, client, received };
    let mut pull = Pull::default();
    pull.trouble = node.pull(&mut pull).await.err();
    pull
}

impl Node<'_> {
    async fn pull(&self, pull: &mut Pull) -> Result<(), Trouble> {
        let digest = self.resolve().await?;
        let manifest = self.manifest(&digest).await?;
        pull.right += 1;
        let config = manifest.config.into_iter().map(|config| (config.digest, false));
        let layers = manifest.layers.into_iter().map(|layer| (layer.digest, true));
        let fetches = config.chain(layers).map(|(digest, layer)| async move {
            self.blob(&digest).await.map(|first| layer.then_some(first))
        });
        let mut fetches = stream::iter(fetches).buffer_unordered(AT_ONCE);
        while let Some(fetched) = fetches.next().await {
            pull.first_bytes.extend(fetched?);
            pull.right += 1;
        }
        Ok(())
    }

    /// The digest of the tag.
    async fn resolve(&self) -> Result<Digest, Trouble> {
        let what = format!("manifests/{TAG}");
        let response = self.ask(Method::HEAD, &what).await?;
        let digest = response.headers().get(DIGEST_HEADER).and_then(|digest| digest.to_str().ok());
        let digest = digest.and_then(|digest| digest.parse().ok());
        digest.ok_or_else(|| Trouble { what, why: Why::WrongManifest("a HEAD tells no digest".to_owned()) })
    }

    async fn manifest(&self, digest: &Digest) -> Result<Manifest, Trouble> {
        let what = format!("manifests/{digest}");
        let response = self.ask(Method::GET, &what).await?;
        let media_type = text(response.headers());
        let mut bytes = BytesMut::new();
        self.body(&what, digest, response, |piece| bytes.extend_from_slice(piece)).await?;
        Manifest::parse(&media_type, &bytes)
            .map_err(|error| Trouble { what, why: Why::WrongManifest(error.to_string()) })
    }

    /// Returns how long the first byte took.
    async fn blob(&self, digest: &Digest) -> Result<Duration, Trouble> {
        let what = format!("blobs/{digest}");
        let start = Instant::now();
        let mut first = None;
        let response = self.ask(Method::GET, &what).await?;
        self.body(&what, digest, response, |_| {
            first.get_or_insert_with(|| start.elapsed());
        })
        .await?;
        Ok(first.unwrap_or_else(|| start.elapsed()))
    }

    async fn ask(&self, method: Method, what: &str) -> Result<Response<Incoming>, Trouble> {
        let trouble = |why| Trouble { what: format!("{method} {what}"), why };
        let query = self.door.namespace.map(|namespace| format!("?ns={namespace}")).unwrap_or_default();
        let uri: Uri = format!("http://{}/v2/{REPOSITORY}/{what}{query}", self.door.address)
            .parse()
            .map_err(|error: http::uri::InvalidUri| trouble(Why::Connection(error.to_string())))?;
        let mut request = Request::new(Empty::new());
        *request.method_mut() = method.clone();
        *request.uri_mut() = uri;
        request.headers_mut().insert(ACCEPT, http::HeaderValue::from_static(oci::ACCEPT));
        let response = timeout(PATIENCE, self.client.request(request))
            .await
            .map_err(|_| trouble(Why::Patience))?
            .map_err(|error| trouble(Why::Connection(error.to_string())))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => Err(trouble(Why::Status(status))),
        }
    }

    /// Reads a body to its end and compares its digest.
    async fn body(
        &self,
        what: &str,
        digest: &Digest,
        response: Response<Incoming>,
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), Trouble> {
        let trouble = |why| Trouble { what: what.to_owned(), why };
        let mut body = response.into_body();
        let mut hasher = Hasher::new(digest.algorithm());
        while let Some(frame) = timeout(PATIENCE, body.frame()).await.map_err(|_| trouble(Why::Patience))? {
            let frame = frame.map_err(|error| trouble(Why::Connection(error.to_string())))?;
            let Some(piece) = frame.data_ref().filter(|piece| !piece.is_empty()) else {
                continue;
            };
            take(piece);
            hasher.update(piece);
            self.received.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
        if hasher.finish() == *digest { Ok(()) } else { Err(trouble(Why::WrongDigest)) }
    }
}

impl Trouble {
    /// Whether content came that was not what was asked for.
    pub(super) fn is_wrong_content(&self) -> bool {
        matches!(self.why, Why::WrongDigest | Why::WrongManifest(_))
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.what)?;
        match &self.why {
            Why::Connection(why) => f.write_str(why),
            Why::Status(status) => write!(f, "answered {status}"),
            Why::Patience => write!(f, "nothing came for {} s", PATIENCE.as_secs()),
            Why::WrongDigest => f.write_str("the body has another digest"),
            Why::WrongManifest(why) => f.write_str(why),
        }
    }
}

fn text(headers: &HeaderMap) -> String {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// containerd's `max_concurrent_downloads`.
const AT_ONCE: usize = 3;

/// How long containerd waits for the head of an answer, and here also for each piece of a body.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::image::Image;
    use crate::demo::link::Link;
    use crate::demo::upstream::StandIn;
    use http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
    use std::sync::Arc;

    async fn stand_in() -> (Arc<Image>, StandIn) {
        let image = Arc::new(Image::generate(300_000));
        let upstream = StandIn::start(Arc::clone(&image), Link::new(10_000, Duration::ZERO)).await.unwrap();
        (image, upstream)
    }

    #[tokio::test]
    async fn a_node_pulls_every_byte_of_the_image_and_the_stand_in_counts_them() {
        let (image, upstream) = stand_in().await;
        let received = AtomicU64::new(0);
        let pull = pull(Door { address: upstream.address(), namespace: None }, &received).await;
        assert!(pull.trouble.is_none(), "{:?}", pull.trouble);
        assert_eq!((pull.right, pull.first_bytes.len()), (image.bodies(), image.layers().len()));
        assert_eq!(received.into_inner(), image.bytes());
        let asked = upstream.asked();
        assert_eq!((asked.manifest_heads, asked.manifest_gets, asked.blobs), (1, 1, 5));
        assert_eq!((asked.requests, asked.bytes), (7, image.bytes()));
    }

    #[tokio::test]
    async fn a_stand_in_that_vanished_refuses_connections() {
        let (_, upstream) = stand_in().await;
        upstream.vanish().await;
        let pull = pull(Door { address: upstream.address(), namespace: None }, &AtomicU64::new(0)).await;
        assert!(matches!(pull.trouble, Some(Trouble { why: Why::Connection(_), .. })), "{:?}", pull.trouble);
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
