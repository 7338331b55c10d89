//! A node: it pulls an image as containerd does, and checks every byte.
//!
//! A HEAD of the tag, the manifest by digest, then configuration and layers, three at a time. Nothing is asked twice:
//! what goes wrong is the mirror's doing, and is reported.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::time::{Instant, timeout};

use super::source::Source;
use crate::oci::{self, Descriptor, Digest, Hasher, Manifest, ManifestKind, Platform, Reference};

/// What came of a pull.
#[derive(Debug, Default)]
pub(crate) struct Pull {
    /// How long it took.
    pub(crate) took: Duration,
    /// Bodies that came whole and had the digest they were asked by.
    pub(crate) right: u64,
    /// From the request for a manifest to all of it, for each; the question what a tag is among them.
    pub(crate) manifests: Vec<Duration>,
    /// From the request for a layer to its first byte, for each layer.
    pub(crate) first_bytes: Vec<Duration>,
    /// How a cache says that it came by its answers.
    pub(crate) answered: Answered,
    /// What ended the pull early.
    pub(crate) trouble: Option<Trouble>,
}

/// How many answers a cache says to have come by in which way (`Cache-Status`, RFC 9211).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answered {
    /// Out of what it had.
    pub(crate) hits: u64,
    /// Together with others, for whom it was on its way already.
    pub(crate) joins: u64,
    /// By asking further.
    pub(crate) forwarded: u64,
    /// It does not say.
    pub(crate) unsaid: u64,
}

/// What an image consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// Bytes of manifests, configuration and layers.
    pub(crate) bytes: u64,
    /// How many layers there are.
    pub(crate) layers: usize,
}

/// What went wrong, and at what.
#[derive(Debug)]
pub struct Trouble {
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
    NoPlatform(Platform),
}

/// A node with connections of its own.
#[derive(Debug)]
struct Node<'a> {
    source: &'a Source,
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    received: &'a AtomicU64,
}

impl<'a> Node<'a> {
    fn new(source: &'a Source, received: &'a AtomicU64) -> Self {
        let client = Client::builder(TokioExecutor::new()).build(source.connector());
        Self { source, client, received }
    }
}

/// Pulls the image once. Bytes of bodies are added to `received` as they come.
pub(crate) async fn pull(source: &Source, received: &AtomicU64) -> Pull {
    let (start, mut pull) = (Instant::now(), Pull::default());
    pull.trouble = Node::new(source, received).pull(&mut pull).await.err();
    pull.took = start.elapsed();
    pull
}

/// Reads the manifests, and nothing of what they name.
pub(crate) async fn look(source: &Source) -> Result<Contents, Trouble> {
    let received = AtomicU64::new(0);
    let image = Node::new(source, &received).image(&mut Pull::default()).await?;
    let named: u64 = image.config.iter().chain(&image.layers).map(|named| named.size).sum();
    Ok(Contents { bytes: received.into_inner() + named, layers: image.layers.len() })
}

impl Node<'_> {
    async fn pull(&self, pull: &mut Pull) -> Result<(), Trouble> {
        let image = self.image(pull).await?;
        let config = image.config.into_iter().map(|config| (config.digest, false));
        let layers = image.layers.into_iter().map(|layer| (layer.digest, true));
        let fetches = config.chain(layers).map(|(digest, layer)| async move {
            let (first, answered) = self.blob(&digest).await?;
            Ok((layer.then_some(first), answered))
        });
        let mut fetches = stream::iter(fetches).buffer_unordered(AT_ONCE);
        while let Some(fetched) = fetches.next().await {
            let (first, answered) = fetched?;
            pull.first_bytes.extend(first);
            pull.answered.add(answered);
            pull.right += 1;
        }
        Ok(())
    }

    /// The manifest of the image, by way of an index where there is one.
    async fn image(&self, pull: &mut Pull) -> Result<Manifest, Trouble> {
        let mut digest = match &self.source.reference {
            Reference::Digest(digest) => digest.clone(),
            Reference::Tag(_) => self.resolve(pull).await?,
        };
        let mut manifest = self.manifest(&digest, pull).await?;
        // An index of indexes is allowed, and is not met.
        for _ in 0..INDEXES {
            if manifest.kind != ManifestKind::Index {
                break;
            }
            digest = self.choose(&manifest)?.digest.clone();
            manifest = self.manifest(&digest, pull).await?;
        }
        Ok(manifest)
    }

    /// What of an index is for this machine: the first, as for containerd.
    fn choose<'m>(&self, index: &'m Manifest) -> Result<&'m Descriptor, Trouble> {
        let wanted = &self.source.platform;
        let is_meant = |listed: &&Descriptor| {
            listed.platform.as_ref().is_some_and(|platform| platform.is_meant_by(wanted))
        };
        index.manifests.iter().find(is_meant).ok_or_else(|| Trouble {
            what: format!("manifests/{}", self.source.reference),
            why: Why::NoPlatform(wanted.clone()),
        })
    }

    /// The digest of the tag.
    async fn resolve(&self, pull: &mut Pull) -> Result<Digest, Trouble> {
        let what = format!("manifests/{}", self.source.reference);
        let start = Instant::now();
        let response = self.ask(Method::HEAD, &what).await?;
        pull.manifests.push(start.elapsed());
        pull.answered.add(Answered::of(response.headers()));
        let digest = response.headers().get(DIGEST_HEADER).and_then(|digest| digest.to_str().ok());
        let digest = digest.and_then(|digest| digest.parse().ok());
        digest.ok_or_else(|| Trouble { what, why: Why::WrongManifest("a HEAD tells no digest".to_owned()) })
    }

    async fn manifest(&self, digest: &Digest, pull: &mut Pull) -> Result<Manifest, Trouble> {
        let what = format!("manifests/{digest}");
        let start = Instant::now();
        let response = self.ask(Method::GET, &what).await?;
        pull.answered.add(Answered::of(response.headers()));
        let media_type = text(response.headers(), &CONTENT_TYPE).to_owned();
        let mut bytes = BytesMut::new();
        self.body(&what, digest, response, |piece| bytes.extend_from_slice(piece)).await?;
        pull.manifests.push(start.elapsed());
        pull.right += 1;
        Manifest::parse(&media_type, &bytes)
            .map_err(|error| Trouble { what, why: Why::WrongManifest(error.to_string()) })
    }

    /// Returns how long the first byte took.
    async fn blob(&self, digest: &Digest) -> Result<(Duration, Answered), Trouble> {
        let what = format!("blobs/{digest}");
        let start = Instant::now();
        let mut first = None;
        let response = self.ask(Method::GET, &what).await?;
        let answered = Answered::of(response.headers());
        self.body(&what, digest, response, |_| {
            first.get_or_insert_with(|| start.elapsed());
        })
        .await?;
        Ok((first.unwrap_or_else(|| start.elapsed()), answered))
    }

    async fn ask(&self, method: Method, what: &str) -> Result<Response<Incoming>, Trouble> {
        let trouble = |why| Trouble { what: format!("{method} {what}"), why };
        let mut request =
            self.source.request(what).map_err(|error| trouble(Why::Connection(error.to_string())))?;
        *request.method_mut() = method.clone();
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(oci::ACCEPT));
        let response = timeout(PATIENCE, self.client.request(request))
            .await
            .map_err(|_| trouble(Why::Patience))?
            .map_err(|error| trouble(Why::Connection(whole(&error))))?;
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
            let frame = frame.map_err(|error| trouble(Why::Connection(whole(&error))))?;
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

impl Answered {
    /// What the last cache on the way says, which is the nearest.
    fn of(headers: &HeaderMap) -> Self {
        let said = text(headers, &CACHE_STATUS).rsplit(',').next().unwrap_or_default();
        let says = |what: &str| said.split(';').skip(1).any(|part| part.trim().starts_with(what));
        let mut answered = Self::default();
        let count = if says("hit") {
            &mut answered.hits
        } else if says("collapsed") {
            &mut answered.joins
        } else if says("fwd=") {
            &mut answered.forwarded
        } else {
            &mut answered.unsaid
        };
        *count = 1;
        answered
    }

    /// Adds up.
    pub(crate) fn add(&mut self, other: Self) {
        self.hits += other.hits;
        self.joins += other.joins;
        self.forwarded += other.forwarded;
        self.unsaid += other.unsaid;
    }
}

impl Trouble {
    /// Whether content came that was not what was asked for.
    pub(crate) fn is_wrong_content(&self) -> bool {
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
            Why::NoPlatform(platform) => write!(f, "nothing in it is for {platform}"),
        }
    }
}

fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// An error with its reasons: the first says only that there was one.
fn whole(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(reason) = source {
        said = format!("{said}: {reason}");
        source = reason.source();
    }
    said
}

/// Where registries tell the digest of a manifest.
const DIGEST_HEADER: HeaderName = HeaderName::from_static("docker-content-digest");

/// Where caches tell how they came by an answer.
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// How deep indexes may be in one another.
const INDEXES: usize = 4;

/// containerd's `max_concurrent_downloads`.
const AT_ONCE: usize = 3;

/// How long containerd waits for the head of an answer, and here also for each piece of a body.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_an_answer_came_about_is_read_from_the_nearest_cache() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_STATUS, HeaderValue::from_static(value));
            let Answered { hits, joins, forwarded, unsaid } = Answered::of(&headers);
            (hits, joins, forwarded, unsaid)
        };
        for (value, expected) in [
            ("roadstead; hit", (1, 0, 0, 0)),
            ("roadstead; hit; detail=stale; fwd-status=503", (1, 0, 0, 0)),
            ("roadstead; fwd=miss; collapsed", (0, 1, 0, 0)),
            ("roadstead; fwd=miss; stored", (0, 0, 1, 0)),
            ("roadstead; hit, roadstead; fwd=miss", (0, 0, 1, 0)),
            ("roadstead; detail=ping", (0, 0, 0, 1)),
            ("", (0, 0, 0, 1)),
        ] {
            assert_eq!(of(value), expected, "{value}");
        }
        assert_eq!(Answered::of(&HeaderMap::new()), Answered { unsaid: 1, ..Answered::default() });
    }
}
