//! Requests on their way: redirects followed, heads waited for, lost connections replaced.
//!
//! Every request leaves here, and so carries `Accept-Encoding: identity`, our name, and in `Via` the mirrors that it comes
//! by, and has its head within `header_timeout`. `Authorization` is given beside the other headers, because it goes no further than the origin it was
//! meant for.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_TYPE, LOCATION, USER_AGENT, VIA};
use http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt, Full, Limited};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::http::via;
use crate::telemetry::Kind;

use super::Upstream;
use super::body::Received;
use super::connect::Reach;
use super::endpoint::Witness;
use super::failure::{Cause, Failure};
use super::redirect::{Bare, MAX_HOPS, is_redirect, next, same_origin};
use super::request::{Reply, Topic};
use super::retry;
use super::trail::Trail;

const OUR_NAME: &str = concat!("roadstead/", env!("CARGO_PKG_VERSION"));

/// How much of an error's body, or of a token server's answer, is read.
const SMALL_BODY: usize = 64 * 1024;

/// How long is waited for the end of a body that nobody needs, so that its connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

impl Upstream {
    /// Sends a request, and sends it on wherever it is redirected. The proof is dropped for good at the first hop to
    /// another origin.
    pub(super) async fn follow(
        &self,
        topic: Topic,
        reach: Reach,
        start: &Url,
        method: &Method,
        headers: &HeaderMap,
        mut proof: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        let (mut url, mut reach) = (start.clone(), reach);
        for _ in 0..=MAX_HOPS {
            let ask = Sent { method, headers, proof: proof.as_ref(), body: &Bytes::new() };
            let witness = self.witness_at(&url, topic.subject);
            let response = self.send(topic.kind, reach, &url, ask, witness.as_ref()).await?;
            if !is_redirect(response.status()) {
                let crossed = !same_origin(start, &url);
                return Ok(Reply { response, url, crossed, by: 0, witness });
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let Some(location) = location else {
                return Err(Failure::garbage("a redirect that leads nowhere"));
            };
            let target = next(&url, location, &self.places)?;
            drain(response).await;
            if !same_origin(&url, &target) {
                proof = None;
                reach = if self.places.is_endpoint(&target) { Reach::Configured } else { Reach::Guarded };
            }
            url = target;
        }
        Err(Cause::RedirectRefused(format!("{} redirects more than {MAX_HOPS} times", Bare(start))).into())
    }

    /// Posts a form to a host that the operator named. It holds a secret, and so is sent nowhere else: a redirect is given
    /// back as it came.
    pub(super) async fn post(
        &self,
        topic: Topic,
        url: &Url,
        form: String,
    ) -> Result<Response<Received>, Cause> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let ask = Sent { method: &Method::POST, headers: &headers, proof: None, body: &Bytes::from(form) };
        let witness = self.witness_at(url, topic.subject);
        self.send(topic.kind, Reach::Configured, url, ask, witness.as_ref()).await
    }

    /// One request, sent again at once if its connection was lost before there was an answer. What storage or a token
    /// server does has no witness.
    async fn send(
        &self,
        kind: Kind,
        reach: Reach,
        url: &Url,
        ask: Sent<'_>,
        witness: Option<&Witness>,
    ) -> Result<Response<Received>, Cause> {
        let uri = Uri::try_from(url.as_str())
            .map_err(|_| Cause::RedirectRefused(format!("{} does not fit into a request", Bare(url))))?;
        let begun = Instant::now();
        let mut retried = false;
        loop {
            let request = ask.request(&uri, self.via());
            let left = self.patience().saturating_sub(begun.elapsed());
            let sent = timeout(left, self.net.send(kind, reach, request)).await;
            let sent = sent.unwrap_or(Err(Cause::HeaderTimeout));
            let pause = sent
                .as_ref()
                .err()
                .and_then(|cause| retry::pause(cause, retried, begun.elapsed(), self.patience()));
            let (Err(cause), Some(pause)) = (&sent, pause) else {
                if let Some(witness) = witness {
                    witness.heard(kind, &sent);
                }
                return sent;
            };
            tracing::debug!(upstream = %self.name, url = %Bare(url), %cause, "a request is sent once more");
            tokio::time::sleep(pause).await;
            retried = true;
        }
    }
}

impl Upstream {
    /// The mirrors that the request in hand has passed, and this one behind them.
    pub(super) fn via(&self) -> Option<HeaderValue> {
        let passed = Trail::current();
        HeaderValue::try_from(via(passed.passed().chain([self.pseudonym]))).ok()
    }
}

/// What is sent, but for where to.
#[derive(Clone, Copy)]
struct Sent<'a> {
    method: &'a Method,
    headers: &'a HeaderMap,
    proof: Option<&'a HeaderValue>,
    body: &'a Bytes,
}

impl Sent<'_> {
    fn request(&self, uri: &Uri, via: Option<HeaderValue>) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.uri_mut() = uri.clone();
        *request.method_mut() = self.method.clone();
        let all = request.headers_mut();
        *all = self.headers.clone();
        all.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        all.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
        if let Some(via) = via {
            all.insert(VIA, via);
        }
        if let Some(proof) = self.proof {
            all.insert(AUTHORIZATION, proof.clone());
        }
        request
    }
}

/// A request for what everybody may have.
pub(super) fn plain_get(uri: Uri) -> Request<Full<Bytes>> {
    let (method, headers) = (Method::GET, HeaderMap::new());
    Sent { method: &method, headers: &headers, proof: None, body: &Bytes::new() }.request(&uri, None)
}

/// A body that has to be small.
pub(super) async fn small_body(response: Response<Received>) -> Result<Bytes, Failure> {
    match Limited::new(response.into_body(), SMALL_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::garbage("an answer far larger than it should be"))
        }
        Err(_) => Err(Failure::DidNotAnswer(Cause::Cut)),
    }
}

/// Reads to the end of a body that is not needed, if the end is near.
pub(super) async fn drain(response: Response<Received>) -> Option<Bytes> {
    timeout(DRAIN, small_body(response)).await.ok()?.ok()
}
