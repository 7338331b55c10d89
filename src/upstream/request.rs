//! How one thing is asked for: endpoints in order, challenges, redirects, timeouts.
//!
//! Every request leaves through [`Upstream::send`], and so carries `Accept-Encoding: identity` and our name, and has its
//! head within `header_timeout`. `Authorization` is given to [`Upstream::follow`] beside the other headers, because it
//! goes no further than the origin it was meant for.

use std::future::Future;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, LOCATION, RANGE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};
use url::Url;

use crate::oci::Repository;
use crate::telemetry::{Kind, UpstreamResult};

use super::Upstream;
use super::auth::{Scheme, UNAUTHORIZED, basic, choose};
use super::blob::Ask;
use super::connect::Reach;
use super::failure::{Cause, Failure, SaidNo, Voice, of_status};
use super::redirect::{Bare, MAX_HOPS, is_redirect, next, same_origin};
use super::token::Token;
use super::{blob, manifest, retry};

const OUR_NAME: &str = concat!("roadstead/", env!("CARGO_PKG_VERSION"));

/// The longest that any call takes to a head, whatever the settings: clients give up after 30 s, and must hear from us first.
const LONGEST: Duration = Duration::from_secs(19);

/// How much of an error's body, or of a token server's answer, is read.
const SMALL_BODY: usize = 64 * 1024;

/// How long is waited for the end of a body that nobody needs, so that its connection can be used again.
const DRAIN: Duration = Duration::from_secs(1);

/// How much of an error's body is logged.
const LOGGED: usize = 500;

/// What is asked of a registry.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) kind: Kind,
    pub(super) repository: &'a Repository,
    /// What follows the repository in the path.
    pub(super) path: String,
    /// Which part, of a blob.
    pub(super) ask: Ask,
}

impl Question<'_> {
    fn method(&self) -> Method {
        match self.kind {
            Kind::ManifestHead | Kind::BlobHead => Method::HEAD,
            Kind::Manifest | Kind::Blob | Kind::Token => Method::GET,
        }
    }

    fn url(&self, endpoint: &Url) -> Result<Url, Failure> {
        let base = endpoint.as_str().trim_end_matches('/');
        format!("{base}/v2/{}/{}", self.repository, self.path)
            .parse()
            .map_err(|_| Failure::garbage("the endpoint and the repository make no URL"))
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.kind {
            Kind::Manifest | Kind::ManifestHead => {
                headers.insert(ACCEPT, HeaderValue::from_static(crate::oci::ACCEPT));
            }
            Kind::Blob | Kind::BlobHead | Kind::Token => {
                headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
            }
        }
        if let Some(range) = self.ask.header() {
            headers.insert(RANGE, range);
        }
        headers
    }

    /// Whether a success has the shape of what was asked for.
    fn check(&self, status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
        match self.kind {
            Kind::Manifest | Kind::ManifestHead => manifest::check(status, headers),
            Kind::Blob => blob::placed(self.ask, status, headers).map(drop),
            Kind::BlobHead | Kind::Token => Ok(()),
        }
    }
}

/// A head, and the body to come.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response<Incoming>,
    /// Who answered, at the end of all redirects.
    pub(super) url: Url,
    /// Whether that is another origin than the one first asked.
    pub(super) crossed: bool,
}

impl Reply {
    fn is_challenge(&self) -> bool {
        self.response.status().as_u16() == UNAUTHORIZED && !self.crossed
    }

    fn voice(&self) -> Voice {
        // Some registries answer by redirecting to another registry (registry.k8s.io does); storage has other paths.
        if self.crossed && !self.url.path().starts_with("/v2/") { Voice::Storage } else { Voice::Registry }
    }
}

impl Upstream {
    /// Limits the time of all that has to happen until a head is there.
    pub(super) async fn within<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = (self.header_timeout * 2).min(LONGEST);
        timeout(limit, asking).await.unwrap_or(Err(Failure::DidNotAnswer(Cause::HeaderTimeout)))
    }

    /// Asks the endpoints in order until one answers. What it says is final, also when it says no.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failure> {
        let mut first = None;
        for place in 0..self.endpoints.len() {
            let answer = self.converse(place, question).await;
            self.count(question.kind, answer.as_ref().err());
            match answer {
                Err(failure @ (Failure::DidNotAnswer(_) | Failure::Limited { .. })) => {
                    tracing::info!(
                        upstream = %self.name, endpoint = %Bare(&self.endpoints[place]),
                        repository = %question.repository, path = %question.path, %failure,
                        "an endpoint did not answer"
                    );
                    first.get_or_insert(failure);
                }
                Err(failure @ Failure::RefusedUs { .. }) => {
                    tracing::warn!(
                        upstream = %self.name, endpoint = %Bare(&self.endpoints[place]),
                        repository = %question.repository, %failure, "credentials were refused"
                    );
                    return Err(failure);
                }
                answer => return answer,
            }
        }
        Err(first.unwrap_or(Failure::DidNotAnswer(Cause::Cut)))
    }

    pub(super) fn count(&self, kind: Kind, failure: Option<&Failure>) {
        let result = match failure {
            None | Some(Failure::RangeNotSatisfiable { .. }) => UpstreamResult::Ok,
            Some(Failure::SaidNo(_)) => UpstreamResult::SaidNo,
            Some(Failure::RefusedUs { .. }) => UpstreamResult::RefusedUs,
            Some(Failure::Limited { .. }) => UpstreamResult::Limited,
            Some(Failure::DidNotAnswer(_)) => UpstreamResult::DidNotAnswer,
        };
        self.metrics.upstream_request(kind, result);
    }

    /// Asks one endpoint, with what it is known to want, and else with what it says it wants.
    async fn converse(&self, place: usize, question: &Question<'_>) -> Result<Reply, Failure> {
        let endpoint = &self.endpoints[place];
        let url = question.url(endpoint)?;
        let (method, headers) = (question.method(), question.headers());
        let ask = |proof| self.follow(Reach::Configured, &url, &method, &headers, proof);

        let known = self.schemes.of(place, question.repository);
        let mut reply = match &known {
            None => ask(None).await?,
            Some(scheme) => {
                let proof = match self.prove(scheme).await {
                    Ok(proof) => proof,
                    Err(failure) => {
                        self.schemes.forget(place, question.repository);
                        return Err(failure);
                    }
                };
                let reply = ask(Some(proof.clone())).await?;
                if !reply.is_challenge() || question.kind == Kind::BlobHead {
                    return self.judge(question, reply).await;
                }
                // What was good is not any more. A challenge to a bad proof may be for something else (another realm,
                // Basic instead of Bearer), so the question is asked without one.
                self.reject(scheme, &proof);
                self.schemes.forget(place, question.repository);
                drain(reply.response).await;
                ask(None).await?
            }
        };
        if !reply.is_challenge() {
            return self.judge(question, reply).await;
        }
        let scheme = choose(
            reply.response.headers(),
            endpoint,
            question.repository,
            &self.places,
            self.credentials.is_some(),
        );
        drain(reply.response).await;
        let scheme = scheme?;
        if scheme == Scheme::Basic && known == Some(Scheme::Basic) {
            return Err(Failure::RefusedUs { status: UNAUTHORIZED });
        }
        let proof = self.prove(&scheme).await?;
        reply = ask(Some(proof.clone())).await?;
        if reply.is_challenge() && question.kind != Kind::BlobHead {
            drain(reply.response).await;
            self.reject(&scheme, &proof);
            return Err(match scheme {
                Scheme::Basic => Failure::RefusedUs { status: UNAUTHORIZED },
                Scheme::Bearer(_) => Failure::SaidNo(SaidNo { status: UNAUTHORIZED }),
            });
        }
        self.schemes.remember(place, question.repository, scheme);
        self.judge(question, reply).await
    }

    /// Lets a success of the right shape through.
    pub(super) async fn judge(&self, question: &Question<'_>, reply: Reply) -> Result<Reply, Failure> {
        let (status, headers) = (reply.response.status(), reply.response.headers());
        if status.is_success() {
            question.check(status, headers)?;
            return Ok(reply);
        }
        let failure = of_status(status, headers, reply.voice(), SystemTime::now());
        let url = reply.url;
        if let Some(body) = drain(reply.response).await {
            tracing::debug!(
                upstream = %self.name, url = %Bare(&url), status = status.as_u16(),
                body = %String::from_utf8_lossy(&body[..body.len().min(LOGGED)]).escape_debug(),
                "upstream's own words"
            );
        }
        Err(failure)
    }

    /// The `Authorization` that a scheme asks for.
    async fn prove(&self, scheme: &Scheme) -> Result<HeaderValue, Failure> {
        match (scheme, &self.credentials) {
            (Scheme::Basic, Some(credentials)) => Ok(basic(credentials)),
            (Scheme::Basic, None) => Err(Failure::SaidNo(SaidNo { status: UNAUTHORIZED })),
            (Scheme::Bearer(realm), credentials) => {
                let fetch = || async {
                    let granted = self.fetch_token(&realm.request(), realm.reach).await;
                    self.count(Kind::Token, granted.as_ref().err());
                    granted
                };
                Ok(self.tokens.get(&realm.key(credentials.as_ref()), fetch).await?.header)
            }
        }
    }

    fn reject(&self, scheme: &Scheme, proof: &HeaderValue) {
        if let Scheme::Bearer(realm) = scheme {
            self.tokens.reject(&realm.key(self.credentials.as_ref()), proof);
        }
    }

    async fn fetch_token(&self, url: &Url, reach: Reach) -> Result<Token, Failure> {
        // Only a realm that the operator trusts is reached as configured; see `auth::choose`.
        let credentials = self.credentials.as_ref().filter(|_| reach == Reach::Configured);
        let proof = credentials.map(basic);
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let reply = self.follow(reach, url, &Method::GET, &headers, proof).await?;
        let status = reply.response.status();
        if status == StatusCode::OK {
            let body = timeout(self.idle_timeout, small_body(reply.response))
                .await
                .map_err(|_| Cause::IdleTimeout)??;
            return Token::parse(&body, Instant::now());
        }
        let failure = of_status(status, reply.response.headers(), Voice::Registry, SystemTime::now());
        drain(reply.response).await;
        tracing::debug!(upstream = %self.name, realm = %Bare(url), status = status.as_u16(), "no token was granted");
        Err(match failure {
            Failure::SaidNo(SaidNo { status: status @ (401 | 403) }) if credentials.is_some() => {
                Failure::RefusedUs { status }
            }
            Failure::SaidNo(SaidNo { status: status @ (404 | 410) }) => {
                Failure::DidNotAnswer(Cause::Status(status))
            }
            Failure::RangeNotSatisfiable { .. } => Failure::DidNotAnswer(Cause::Status(status.as_u16())),
            failure => failure,
        })
    }

    /// Sends a request, and sends it on wherever it is redirected. The proof is dropped for good at the first hop to
    /// another origin.
    pub(super) async fn follow(
        &self,
        reach: Reach,
        start: &Url,
        method: &Method,
        headers: &HeaderMap,
        mut proof: Option<HeaderValue>,
    ) -> Result<Reply, Failure> {
        let (mut url, mut reach) = (start.clone(), reach);
        for _ in 0..=MAX_HOPS {
            let response = self.send(reach, &url, method, headers, proof.as_ref()).await?;
            if !is_redirect(response.status()) {
                let crossed = !same_origin(start, &url);
                return Ok(Reply { response, url, crossed });
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

    /// One request, sent again at once if its connection was lost before there was an answer.
    async fn send(
        &self,
        reach: Reach,
        url: &Url,
        method: &Method,
        headers: &HeaderMap,
        proof: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, Cause> {
        let uri = Uri::try_from(url.as_str())
            .map_err(|_| Cause::RedirectRefused(format!("{} does not fit into a request", Bare(url))))?;
        let begun = Instant::now();
        let mut retried = false;
        loop {
            let request = request(&uri, method, headers, proof);
            let left = self.header_timeout.saturating_sub(begun.elapsed());
            let cause = match timeout(left, self.net.send(reach, request)).await {
                Ok(Ok(response)) => return Ok(response),
                Ok(Err(cause)) => cause,
                Err(_) => return Err(Cause::HeaderTimeout),
            };
            let Some(pause) = retry::pause(&cause, retried, begun.elapsed(), self.header_timeout) else {
                return Err(cause);
            };
            tracing::debug!(upstream = %self.name, url = %Bare(url), %cause, "a request is sent once more");
            tokio::time::sleep(pause).await;
            retried = true;
        }
    }
}

fn request(
    uri: &Uri,
    method: &Method,
    headers: &HeaderMap,
    proof: Option<&HeaderValue>,
) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = uri.clone();
    *request.method_mut() = method.clone();
    let all = request.headers_mut();
    *all = headers.clone();
    all.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    all.insert(USER_AGENT, HeaderValue::from_static(OUR_NAME));
    if let Some(proof) = proof {
        all.insert(AUTHORIZATION, proof.clone());
    }
    request
}

async fn small_body(response: Response<Incoming>) -> Result<Bytes, Failure> {
    match Limited::new(response.into_body(), SMALL_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Failure::garbage("an answer far larger than it should be"))
        }
        Err(_) => Err(Failure::DidNotAnswer(Cause::Cut)),
    }
}

/// Reads to the end of a body that is not needed, if the end is near.
async fn drain(response: Response<Incoming>) -> Option<Bytes> {
    timeout(DRAIN, small_body(response)).await.ok()?.ok()
}
