//! Coming back with what an endpoint wants to see.
//!
//! What it wanted last time is shown at once. If that is not good any more, the question is asked once without any proof,
//! because only then is the challenge about the question; with the answer to that challenge the endpoint's word is final.

use std::time::SystemTime;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use tokio::time::{Instant, timeout};
use url::Url;

use crate::telemetry::Kind;

use super::Upstream;
use super::auth::{Scheme, UNAUTHORIZED, basic, choose};
use super::connect::Reach;
use super::failure::{Cause, Failure, SaidNo, Voice, of_status};
use super::redirect::Bare;
use super::request::{Question, Reply};
use super::token::Token;
use super::wire::{drain, small_body};

impl Upstream {
    /// Asks one endpoint, with what it is known to want, and else with what it says it wants.
    pub(super) async fn converse(&self, place: usize, question: &Question<'_>) -> Result<Reply, Failure> {
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
                    return self.judge(question, reply, Some(&proof)).await;
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
            return self.judge(question, reply, None).await;
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
        self.judge(question, reply, Some(&proof)).await
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
}
