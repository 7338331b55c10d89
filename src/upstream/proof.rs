//! Coming back with what an endpoint wants to see.
//!
//! What it wanted last time is shown at once. If that is not good any more, the question is asked once without any proof,
//! because only then is the challenge about the question; with the answer to that challenge the endpoint's word is final.
//! An account is looked up when it is needed and not before. One that is rejected is looked up once more, and if it is
//! another by now, the endpoint is asked again with that. One that stays rejected is shown again after a while (`standing`).

use std::time::SystemTime;

use http::header::ACCEPT;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use tokio::time::{Instant, timeout};

use crate::oci::Repository;
use crate::telemetry::Kind;

use super::Upstream;
use super::accounts::{Login, Trouble};
use super::auth::{Realm, Scheme, UNAUTHORIZED, basic, bearer, choose};
use super::body::Received;
use super::connect::Reach;
use super::failure::{Cause, Failure, SaidNo, Voice, of_status};
use super::health::Subject;
use super::limit::Pass;
use super::manifest::BODY_IDLE;
use super::redirect::Bare;
use super::refused::Account;
use super::renewal::Due;
use super::request::{Question, Reply, Topic};
use super::token::{Secret, Token};
use super::wire::{drain, small_body};

const FORBIDDEN: u16 = 403;

impl Upstream {
    /// Asks one endpoint, with what it is known to want, and else with what it says it wants.
    pub(super) async fn converse(
        &self,
        place: usize,
        question: &Question<'_>,
        pass: &Pass,
    ) -> Result<Reply, Failure> {
        let account = self.account(place, question.repository);
        let mut shown = None;
        let mut answer = self.attempt(place, question, pass, account.as_ref(), &mut shown).await;
        if self.has_other_login(place, question.repository, &answer, shown.as_ref()).await {
            answer = self.attempt(place, question, pass, account.as_ref(), &mut shown).await;
        }
        if let Some(login) = &shown
            && self.is_basic_403(place, question.repository, answer.as_ref().err())
            && self.is_at_its_end(place, login).await
        {
            answer = Err(Failure::RefusedUs { status: FORBIDDEN });
        }
        if let Some(account) = &account {
            self.note_account(account, shown.is_some(), &answer);
        }
        answer
    }

    /// Whether an answer is for the account that was shown, and there is another by now.
    async fn has_other_login(
        &self,
        place: usize,
        repository: &Repository,
        answer: &Result<Reply, Failure>,
        shown: Option<&Login>,
    ) -> bool {
        let endpoint = &self.endpoints[place].url;
        let (Err(failure), Some(login)) = (answer, shown) else { return false };
        let refused = matches!(failure, Failure::RefusedUs { .. })
            || self.is_basic_403(place, repository, Some(failure));
        if !refused || !self.accounts.renewed(endpoint, repository, login).await {
            return false;
        }
        tracing::info!(
            upstream = %self.name, endpoint = %Bare(endpoint), %repository,
            "credentials were refused, and have changed meanwhile: they are tried once more"
        );
        self.schemes.forget(place, repository);
        true
    }

    /// Whether a password was answered 403. ECR says so of one that has come to its end; others, of a repository.
    fn is_basic_403(&self, place: usize, repository: &Repository, failure: Option<&Failure>) -> bool {
        failure == Some(&Failure::SaidNo(SaidNo { status: FORBIDDEN }))
            && self.schemes.of(place, repository) == Some(Scheme::Basic)
    }

    /// Whether an endpoint refuses a password also where nothing is asked for, so that it is the password that is meant.
    /// Asked once for all repositories, and again after some seconds.
    async fn is_at_its_end(&self, place: usize, login: &Login) -> bool {
        let Login::Password(credentials) = login else { return false };
        let endpoint = &self.endpoints[place].url;
        let (standing, subject) = (self.standings.of(endpoint, login), Subject::of(&endpoint));
        let _first = standing.go_first().await;
        if standing.is_sound() {
            return false;
        }
        if standing.admits(subject).is_err() {
            return true;
        }
        let Ok(ping) = format!("{}/v2/", endpoint.as_str().trim_end_matches('/')).parse() else {
            return false;
        };
        let topic = Topic { kind: Kind::Token, subject };
        let (proof, headers) = (Some(basic(credentials)), HeaderMap::new());
        let asked = self.follow(topic, Reach::Configured, &ping, &Method::GET, &headers, proof);
        let answer = Box::pin(asked).await;
        let refused = answer.as_ref().ok().filter(|reply| !reply.crossed).and_then(|reply| {
            let status = reply.response.status();
            matches!(status.as_u16(), 401 | 403).then_some(())
        });
        match refused {
            Some(()) => standing.ended(FORBIDDEN),
            None => standing.found_sound(),
        }
        if let Ok(reply) = answer {
            drain(reply.response).await;
        }
        refused.is_some()
    }

    /// The same with the account as it is at this moment, which is left in `shown` where it was of use.
    async fn attempt(
        &self,
        place: usize,
        question: &Question<'_>,
        pass: &Pass,
        account: Option<&Account>,
        shown: &mut Option<Login>,
    ) -> Result<Reply, Failure> {
        let (endpoint, repository) = (&self.endpoints[place].url, question.repository);
        let url = question.url(endpoint, self.pass_ns.then_some(&self.name))?;
        let (method, headers) = (question.method(), question.headers());
        let ask = |proof| {
            Box::pin(self.follow(question.topic(), Reach::Configured, &url, &method, &headers, proof))
        };
        let show = async |scheme: &Scheme, login: Option<&Login>, proof: &HeaderValue| {
            let standing = login.filter(|_| *scheme == Scheme::Basic);
            let standing = standing.map(|login| self.standings.of(endpoint, login));
            let subject = question.topic().subject;
            let _first = match &standing {
                Some(standing) => standing.enter(subject).await?,
                None => None,
            };
            let reply = ask(Some(proof.clone())).await?;
            match standing {
                Some(standing) if reply.is_challenge() && question.kind != Kind::BlobHead => {
                    standing.refused(subject, UNAUTHORIZED);
                }
                // Storage says nothing of it, but the endpoint sent us there; whoever has ended may be told 403.
                Some(standing) if reply.crossed || is_taken(reply.response.status()) => {
                    standing.taken(subject);
                }
                _ => {}
            }
            Ok::<_, Failure>(reply)
        };
        let login = async || {
            let login = self.accounts.login(endpoint, repository).await;
            login.map_err(|trouble: Trouble| Failure::NoLogin { why: trouble.to_string() })
        };

        let known = match self.schemes.of(place, repository) {
            None => None,
            Some(scheme) => {
                let login = login().await?;
                scheme.is_for(login.as_ref()).then_some((scheme, login))
            }
        };
        let reply = match &known {
            None => ask(None).await?,
            Some((scheme, login)) => {
                shown.clone_from(login);
                let proof = match self.prove(scheme, login.as_ref(), account).await {
                    Ok(proof) => proof,
                    // It is still what is wanted.
                    Err(failure @ Failure::Limited { .. }) => return Err(failure),
                    Err(failure) => {
                        self.schemes.forget(place, repository);
                        return Err(failure);
                    }
                };
                let reply = show(scheme, login.as_ref(), &proof).await?;
                if !reply.is_challenge() || question.kind == Kind::BlobHead {
                    return self.judge(question, reply, Some(&proof), Some(pass)).await;
                }
                // What was good is not any more. A challenge to a bad proof may be for something else (another realm,
                // Basic instead of Bearer), so the question is asked without one.
                self.reject(scheme, login.as_ref(), &proof);
                self.schemes.forget(place, repository);
                drain(reply.response).await;
                ask(None).await?
            }
        };
        if !reply.is_challenge() {
            return self.judge(question, reply, None, Some(pass)).await;
        }
        let (before, login) = match known {
            Some((scheme, login)) => (Some(scheme), login),
            None => (None, login().await?),
        };
        let scheme = choose(reply.response.headers(), endpoint, repository, &self.places, login.as_ref());
        drain(reply.response).await;
        let scheme = scheme?;
        if scheme == Scheme::Basic && before == Some(Scheme::Basic) {
            return Err(Failure::RefusedUs { status: UNAUTHORIZED });
        }
        shown.clone_from(&login);
        let proof = self.prove(&scheme, login.as_ref(), account).await;
        let proof = proof.inspect_err(|failure| pass.without_token(failure))?;
        let reply = show(&scheme, login.as_ref(), &proof).await?;
        if reply.is_challenge() && question.kind != Kind::BlobHead {
            drain(reply.response).await;
            self.reject(&scheme, login.as_ref(), &proof);
            return Err(match (scheme, login) {
                (Scheme::Basic, _) | (_, Some(Login::Registry(_))) => {
                    Failure::RefusedUs { status: UNAUTHORIZED }
                }
                (Scheme::Bearer(_), _) => Failure::SaidNo(SaidNo { status: UNAUTHORIZED }),
            });
        }
        self.schemes.remember(place, repository, scheme);
        self.judge(question, reply, Some(&proof), Some(pass)).await
    }

    /// The `Authorization` that a scheme asks for.
    async fn prove(
        &self,
        scheme: &Scheme,
        login: Option<&Login>,
        account: Option<&Account>,
    ) -> Result<HeaderValue, Failure> {
        match (scheme, login) {
            (Scheme::Basic, Some(Login::Password(credentials))) => Ok(basic(credentials)),
            (Scheme::Basic, Some(Login::Identity(_) | Login::Registry(_))) => {
                Err(Failure::RefusedUs { status: UNAUTHORIZED })
            }
            (Scheme::Basic, None) => Err(Failure::SaidNo(SaidNo { status: UNAUTHORIZED })),
            (Scheme::Bearer(_), Some(Login::Registry(token))) => bearer(token),
            (Scheme::Bearer(realm), login) => {
                let key = realm.key(login);
                let token = self.tokens.get(&key, || Box::pin(self.fetch_token(realm, login))).await?;
                if self.tokens.claim_renewal(&key, &token) {
                    let (realm, login, account) = (realm.clone(), login.cloned(), account.cloned());
                    let due = Due { realm, login, old: token.header.clone(), account };
                    if !self.renewals.order(due) {
                        self.tokens.renewed(&key, &token.header, None);
                    }
                }
                Ok(token.header)
            }
        }
    }

    fn reject(&self, scheme: &Scheme, login: Option<&Login>, proof: &HeaderValue) {
        if let Scheme::Bearer(realm) = scheme {
            self.tokens.reject(&realm.key(login), proof);
        }
    }

    /// A token from whoever grants them, unless a limit of theirs forbids to ask, they have been silent, or they refused
    /// this login a moment ago.
    pub(super) async fn fetch_token(&self, realm: &Realm, login: Option<&Login>) -> Result<Token, Failure> {
        let subject = realm.subject();
        // No other realm sees it.
        let standing = login.filter(|_| realm.reach == Reach::Configured);
        let standing = standing.map(|login| self.standings.of(&realm.server(), login));
        let _first = match &standing {
            Some(standing) => standing.enter(subject).await?,
            None => None,
        };
        let pass = self.token_pass(realm, login).await?;
        let visit = self.granters.visit(realm).await?;
        let granted = self.ask_granter(realm, login, &pass).await;
        visit.over(granted.as_ref().err());
        self.count(Kind::Token, granted.as_ref().err());
        pass.over(granted.as_ref().err());
        match (&standing, &granted) {
            (Some(standing), Ok(_)) => standing.taken(subject),
            (Some(standing), Err(Failure::RefusedUs { status })) => standing.refused(subject, *status),
            _ => {}
        }
        granted
    }

    async fn ask_granter(&self, realm: &Realm, login: Option<&Login>, pass: &Pass) -> Result<Token, Failure> {
        // Only a realm that the operator trusts is reached as configured; see `auth::choose`.
        let login = login.filter(|_| realm.reach == Reach::Configured);
        let Some(login @ Login::Identity(_)) = login else {
            return self.fetch_token_with(realm, login, None, pass).await;
        };
        let replaced = self.refreshed.of(&realm.url, login);
        let show = async |refresh: Option<&Secret>| {
            let granted = self.fetch_token_with(realm, Some(login), refresh, pass).await;
            if let Ok(Token { refresh: Some(newest), .. }) = &granted {
                replaced.keep(Some(newest.clone()));
            }
            granted
        };
        let mut refused = None;
        if replaced.newest().is_none() {
            let _shared = replaced.turn.read().await;
            match show(None).await {
                Err(failure @ Failure::RefusedUs { .. }) => refused = Some(failure),
                granted => return granted,
            }
        }
        let _alone = replaced.turn.write().await;
        // Who asked at the same time may have been given a new one for what was refused here.
        if let Some(newest) = replaced.newest() {
            match show(Some(&newest)).await {
                Err(Failure::RefusedUs { .. }) => replaced.keep(None),
                granted => return granted,
            }
        }
        match refused {
            Some(refused) => Err(refused),
            // What came beside a token is good no more; what the operator gave may be.
            None => show(None).await,
        }
    }

    async fn fetch_token_with(
        &self,
        realm: &Realm,
        login: Option<&Login>,
        refresh: Option<&Secret>,
        pass: &Pass,
    ) -> Result<Token, Failure> {
        let response = self.ask_for_token(realm, login, refresh).await?;
        let status = response.status();
        if status == StatusCode::OK {
            let patience = self.idle_timeout.min(BODY_IDLE);
            let body = timeout(patience, small_body(response)).await.map_err(|_| Cause::IdleTimeout)??;
            return Token::parse(&body, Instant::now());
        }
        let headers = response.headers().clone();
        let body = drain(response).await.unwrap_or_default();
        if let Some(limit) = pass.hear(Kind::Token, Voice::Registry, status, &headers, &body) {
            return Err(limit);
        }
        let failure = of_status(status, &headers, Voice::Registry, SystemTime::now());
        tracing::debug!(
            upstream = %self.name, realm = %Bare(&realm.url), status = status.as_u16(), "no token was granted"
        );
        Err(match failure {
            Failure::SaidNo(SaidNo { status: status @ (401 | 403) }) if login.is_some() => {
                Failure::RefusedUs { status }
            }
            // The word of OAuth 2 for a refresh token that is good no more comes with this status.
            Failure::DidNotAnswer(Cause::Status(status @ 400))
                if matches!(login, Some(Login::Identity(_))) =>
            {
                Failure::RefusedUs { status }
            }
            Failure::SaidNo(SaidNo { status: status @ (404 | 410) }) => {
                Failure::DidNotAnswer(Cause::Status(status))
            }
            Failure::RangeNotSatisfiable { .. } => Failure::DidNotAnswer(Cause::Status(status.as_u16())),
            failure => failure,
        })
    }

    async fn ask_for_token(
        &self,
        realm: &Realm,
        login: Option<&Login>,
        refresh: Option<&Secret>,
    ) -> Result<Response<Received>, Failure> {
        let topic = Topic { kind: Kind::Token, subject: realm.subject() };
        let proof = match login {
            Some(Login::Identity(token)) => {
                let token = refresh.map_or(token, |Secret(refresh)| refresh);
                return Ok(self.post(topic, &realm.url, realm.form(token)).await?);
            }
            Some(Login::Password(credentials)) => Some(basic(credentials)),
            Some(Login::Registry(_)) | None => None,
        };
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let url = realm.request();
        let reply = self.follow(topic, realm.reach, &url, &Method::GET, &headers, proof).await?;
        Ok(reply.response)
    }
}

/// Whether a status says that a password was taken.
fn is_taken(status: StatusCode) -> bool {
    status.is_success() || matches!(status.as_u16(), 404 | 416)
}
