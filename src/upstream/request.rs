//! How one thing is asked for: what it looks like on the wire, and how the endpoints are gone through.

use std::future::Future;
use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

use http::header::{ACCEPT, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::oci::Repository;
use crate::telemetry::{Kind, UpstreamResult};

use super::Upstream;
use super::auth::UNAUTHORIZED;
use super::blob::Ask;
use super::body::Received;
use super::endpoint::{Witness, in_order};
use super::failure::{Cause, Failure, Voice, of_status};
use super::health::Subject;
use super::limit::Pass;
use super::redirect::Bare;
use super::whereabouts::Whereabouts;
use super::wire::drain;
use super::{blob, listing, manifest};

/// The longest that any call takes to a head, whatever the settings: clients give up after 30 s, and must hear from us first.
const LONGEST: Duration = Duration::from_secs(19);

/// How many characters of an error's body are logged.
const LOGGED: usize = 500;

/// What is asked of a registry.
#[derive(Clone, Debug)]
pub(super) struct Question<'a> {
    pub(super) kind: Kind,
    pub(super) repository: &'a Repository,
    /// What follows the repository in the path, with a query where there is one.
    pub(super) path: String,
    /// Which part, of a blob.
    pub(super) ask: Ask,
}

/// What a request is about, as far as its outcome is counted by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Topic {
    pub(super) kind: Kind,
    pub(super) subject: Subject,
}

impl Question<'_> {
    pub(super) fn topic(&self) -> Topic {
        Topic { kind: self.kind, subject: Subject::of(self.repository) }
    }

    pub(super) fn method(&self) -> Method {
        match self.kind {
            Kind::ManifestHead | Kind::BlobHead => Method::HEAD,
            Kind::Manifest | Kind::Blob | Kind::Tags | Kind::Referrers | Kind::Token => Method::GET,
        }
    }

    /// Where it is asked. `ns` tells an endpoint that is a mirror itself which upstream is meant, and stands there once,
    /// whatever a link of that endpoint said.
    pub(super) fn url(&self, endpoint: &Url, ns: Option<&str>) -> Result<Url, Failure> {
        let base = endpoint.as_str().trim_end_matches('/');
        let (path, query) = match self.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.path.as_str(), None),
        };
        let url = format!("{base}/v2/{}/{path}", self.repository);
        let mut url: Url =
            url.parse().map_err(|_| Failure::garbage("the endpoint and the repository make no URL"))?;
        url.set_query(query);
        if let Some(ns) = ns {
            let others = query.unwrap_or_default().split('&');
            let others: Vec<_> =
                others.filter(|pair| !pair.is_empty() && *pair != "ns" && !pair.starts_with("ns=")).collect();
            url.set_query((!others.is_empty()).then(|| others.join("&")).as_deref());
            url.query_pairs_mut().append_pair("ns", ns);
        }
        Ok(url)
    }

    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        match self.kind {
            Kind::Manifest | Kind::ManifestHead => {
                headers.insert(ACCEPT, HeaderValue::from_static(crate::oci::ACCEPT));
            }
            Kind::Referrers => {
                headers.insert(ACCEPT, HeaderValue::from_static(crate::oci::REFERRERS_TYPE));
            }
            Kind::Blob | Kind::BlobHead | Kind::Tags | Kind::Token => {
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
            Kind::Blob | Kind::BlobHead => blob::placed(self.ask, status, headers).map(drop),
            Kind::Tags | Kind::Referrers => listing::check(self.kind, status, headers),
            Kind::Token => Ok(()),
        }
    }
}

/// A head, and the body to come.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) response: Response<Received>,
    /// Who answered, at the end of all redirects.
    pub(super) url: Url,
    /// Whether that is another origin than the one first asked.
    pub(super) crossed: bool,
    /// The endpoint that was asked, by its place in the list.
    pub(super) by: usize,
    /// Who asked there, if it was an endpoint that answered.
    pub(super) witness: Option<Witness>,
}

impl Reply {
    pub(super) fn is_challenge(&self) -> bool {
        self.response.status().as_u16() == UNAUTHORIZED && !self.crossed
    }

    fn voice(&self) -> Voice {
        // Some registries answer by redirecting to another registry (registry.k8s.io does); storage has other paths.
        if self.crossed && !self.url.path().starts_with("/v2/") { Voice::Storage } else { Voice::Registry }
    }
}

impl Upstream {
    /// How long one request may take to its head: not so long that its silence goes unnoticed, nor, where there is
    /// another endpoint, that there is no time left for that.
    pub(super) fn patience(&self) -> Duration {
        let most = if self.endpoints.len() > 1 { LONGEST / 2 } else { LONGEST };
        self.header_timeout.min(most.saturating_sub(Duration::from_millis(500)))
    }

    /// Limits the time of all that has to happen until a head is there.
    pub(super) async fn within<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let limit = (self.header_timeout * 2).min(LONGEST);
        timeout(limit, asking).await.unwrap_or(Err(Failure::DidNotAnswer(Cause::HeaderTimeout)))
    }

    /// Asks the endpoints in their order until one answers; those that are left alone only where no other answers, and
    /// only if a probe finds them back. What one says is final, also when it says no.
    pub(super) async fn ask(&self, question: &Question<'_>) -> Result<Reply, Failure> {
        self.ask_by(&Whereabouts::default(), question).await
    }

    /// The same, with the endpoints that did not do for this object coming last, or not at all.
    pub(super) async fn ask_by(
        &self,
        whereabouts: &Whereabouts,
        question: &Question<'_>,
    ) -> Result<Reply, Failure> {
        // What it takes is kept off the stack of who asks: a connection may be made on top of it.
        self.gate.through(Box::pin(self.ask_in_turn(whereabouts, question))).await
    }

    async fn ask_in_turn(
        &self,
        whereabouts: &Whereabouts,
        question: &Question<'_>,
    ) -> Result<Reply, Failure> {
        let first = whereabouts.first();
        let (mut failed, mut denied) = (None, None);
        let mut resting = Vec::new();
        let places = in_order(first, self.endpoints.len()).filter(|place| !whereabouts.is_left_out(*place));
        for place in places {
            if !self.is_well(place) {
                resting.push(place);
                continue;
            }
            match self.ask_one(place, question).await {
                // The one that should be asked first had it a moment ago. What another does not have says nothing.
                ControlFlow::Break(Err(no @ Failure::SaidNo(_))) if first != 0 && place != 0 => {
                    denied = Some(no)
                }
                ControlFlow::Break(answer) => return answer,
                ControlFlow::Continue(failure) => failed = Some(told(question.kind, failed, failure)),
            }
        }
        for place in resting {
            if self.comes_back(place).await {
                match self.ask_one(place, question).await {
                    ControlFlow::Break(answer) => return answer,
                    ControlFlow::Continue(failure) => failed = Some(told(question.kind, failed, failure)),
                }
            }
        }
        Err(failed.or(denied).unwrap_or_else(|| self.left_alone()))
    }

    /// Asks one endpoint: its answer, or why the next one is to be asked.
    async fn ask_one(
        &self,
        place: usize,
        question: &Question<'_>,
    ) -> ControlFlow<Result<Reply, Failure>, Failure> {
        let witness = self.witness(place, question.topic().subject);
        let (asked, awaiting) = (Instant::now(), self.awaited.at(place, question.repository, &question.path));
        let answer = self.ask_within_limits(place, question).await;
        drop(awaiting);
        if answer.is_ok() {
            self.metrics.upstream_latency(asked.elapsed());
        }
        let answer = answer.map(|reply| Reply { by: place, ..reply });
        Self::note_outcome(&witness, question.kind, answer.as_ref());
        let endpoint = Bare(&self.endpoints[place].url);
        match answer {
            // Told when the limit was heard of.
            Err(failure @ Failure::Limited { .. }) => ControlFlow::Continue(failure),
            Err(failure @ Failure::DidNotAnswer(_)) => {
                tracing::info!(
                    upstream = %self.name, %endpoint, repository = %question.repository, path = %question.path,
                    %failure, "an endpoint did not answer"
                );
                ControlFlow::Continue(failure)
            }
            Err(failure @ (Failure::RefusedUs { .. } | Failure::NoLogin { .. })) => {
                // `refused` says it aloud, once.
                tracing::debug!(
                    upstream = %self.name, %endpoint, repository = %question.repository, %failure,
                    "our credentials do not do"
                );
                ControlFlow::Continue(failure)
            }
            answer => ControlFlow::Break(answer),
        }
    }

    pub(super) fn count(&self, kind: Kind, failure: Option<&Failure>) {
        let result = match failure {
            None | Some(Failure::RangeNotSatisfiable { .. }) => UpstreamResult::Ok,
            Some(Failure::SaidNo(_)) => UpstreamResult::SaidNo,
            Some(Failure::RefusedUs { .. } | Failure::NoLogin { .. }) => UpstreamResult::RefusedUs,
            Some(Failure::Limited { .. }) => UpstreamResult::Limited,
            Some(Failure::DidNotAnswer(cause)) => {
                self.metrics.upstream_failure(cause.as_str());
                UpstreamResult::DidNotAnswer
            }
        };
        self.metrics.upstream_request(kind, result);
    }

    /// Lets a success of the right shape through. `proof` is what was shown for it, and `pass` the leave to ask.
    pub(super) async fn judge(
        &self,
        question: &Question<'_>,
        reply: Reply,
        proof: Option<&HeaderValue>,
        pass: Option<&Pass>,
    ) -> Result<Reply, Failure> {
        let (status, headers, voice) =
            (reply.response.status(), reply.response.headers().clone(), reply.voice());
        let hear = |body: &[u8]| pass?.hear(question.kind, voice, status, &headers, body);
        if status.is_success() {
            hear(&[]);
            question.check(status, &headers)?;
            return Ok(reply);
        }
        let (url, witness) = (reply.url, reply.witness);
        let body = drain(reply.response).await;
        let limit = hear(body.as_deref().unwrap_or_default());
        match (&witness, &limit) {
            // It does its work, and is asked when the time comes.
            (Some(witness), Some(_)) => witness.answered(),
            // It wants to be asked later, and that is no limit of ours.
            (Some(witness), None) if headers.contains_key(RETRY_AFTER) => witness.heard_status(status),
            _ => {}
        }
        let failure = limit.unwrap_or_else(|| of_status(status, &headers, voice, SystemTime::now()));
        if let Some(body) = body {
            tracing::debug!(
                upstream = %self.name, url = %Bare(&url), status = status.as_u16(),
                body = %self.words(&body, &url, proof).escape_debug(),
                "upstream's own words"
            );
        }
        Err(failure)
    }

    /// The beginning of an error's body, without our secrets: there are servers that repeat in it what they were sent.
    fn words(&self, body: &[u8], url: &Url, proof: Option<&HeaderValue>) -> String {
        let proof = proof.and_then(|proof| proof.to_str().ok()?.split_once(' ')).map(|(_, secret)| secret);
        let query = url.query().unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        // Signatures are long; what is short in a query is a word that may stand anywhere.
        let signed = query.map(|(_, value)| value).filter(|value| value.len() >= 8);
        let mut words = String::from_utf8_lossy(body).into_owned();
        for secret in proof.into_iter().chain(signed).filter(|secret| !secret.is_empty()) {
            words = words.replace(secret, "...");
        }
        self.accounts.hide(&mut words);
        words.chars().take(LOGGED).collect()
    }
}

/// Which failure is told when this one comes after another: the first, but of two limits the one that is over first. Who
/// fetches a blob takes up what broke, and is told what is over soonest: a limit may have a long time to go.
fn told(kind: Kind, first: Option<Failure>, then: Failure) -> Failure {
    match (first, &then) {
        (Some(Failure::Limited { retry_after: one }), Failure::Limited { retry_after: other }) => {
            let left = one.into_iter().chain(*other).min();
            Failure::Limited { retry_after: left }
        }
        (Some(Failure::Limited { .. }), Failure::DidNotAnswer(_)) if kind == Kind::Blob => then,
        (first, _) => first.unwrap_or(then),
    }
}
