//! The leave to send one question, from when it is given until the answer's head is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::{HeaderMap, StatusCode};

use crate::oci::Repository;
use crate::telemetry::Kind;

use super::super::Upstream;
use super::super::accounts::{Login, Who};
use super::super::auth::Realm;
use super::super::failure::{Cause, Failure, Voice};
use super::super::redirect::Bare;
use super::super::request::{Question, Reply};
use super::reach::{Reach, Sort};
use super::tap::Going;
use super::{Limits, Place, Post, words};

/// A question that may be sent. Dropped without having been answered, it leaves to the next one to find out.
#[derive(Debug)]
pub(in crate::upstream) struct Pass {
    limits: Limits,
    place: Place,
    post: Arc<Post>,
    going: Going,
    answered: AtomicBool,
    /// The answer told how many pulls are left.
    told: AtomicBool,
}

impl Drop for Pass {
    fn drop(&mut self) {
        let (answered, told) = (self.answered.load(Ordering::Relaxed), self.told.load(Ordering::Relaxed));
        self.post.leave(&self.going, answered, told, self.limits.instant());
    }
}

impl Pass {
    /// Reads an answer: what is left, and whether it is about a limit. Then this closes the tap, and it returns what is to
    /// be told.
    pub(in crate::upstream) fn hear(
        &self,
        kind: Kind,
        voice: Voice,
        status: StatusCode,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Option<Failure> {
        let (now, instant) = (self.limits.now(), self.limits.instant());
        self.answered.store(true, Ordering::Relaxed);
        if matches!(kind, Kind::Manifest | Kind::ManifestHead)
            && voice == Voice::Registry
            && let Some(allowance) = words::allowance(headers, now)
        {
            self.told.store(true, Ordering::Relaxed);
            self.post.tap().tell(&self.going, allowance, instant);
        }
        if !words::is_limit(status, headers, body) {
            return None;
        }
        let reach = Reach::of(kind, voice, words::is_registrys(headers, body));
        let wait = self.post.tap().close(reach, words::wait(headers, now), instant);
        tracing::warn!(
            upstream = self.place.upstream, endpoint = %Bare(&self.place.endpoint), account = %self.place.who,
            seconds = wait.as_secs(), status = status.as_u16(),
            "upstream limits us; it is not asked for {} meanwhile", reach.as_str()
        );
        Some(Failure::Limited { retry_after: Some(wait) })
    }

    /// The question is over. An answer that says nothing of limits opens what was closed.
    pub(in crate::upstream) fn over(&self, failure: Option<&Failure>) {
        if is_answer(failure) {
            self.answered.store(true, Ordering::Relaxed);
        }
    }

    /// There is no token for this question. Where that is because of a limit, questions that will need one as well are not
    /// sent before it is over.
    pub(in crate::upstream) fn without_token(&self, failure: &Failure) {
        if let Failure::Limited { retry_after } = failure {
            self.post.tap().close(Reach::Only(Sort::Token), *retry_after, self.limits.instant());
        }
    }

    async fn enter(limits: Limits, place: Place, post: Arc<Post>, sort: Sort) -> Result<Self, Duration> {
        let going = post.enter(sort, &limits).await?;
        Ok(Self { limits, place, post, going, answered: AtomicBool::default(), told: AtomicBool::default() })
    }

    /// After a look: whether there still is no pull left, and for how long it is not looked again.
    fn still_spent(&self) -> Option<Duration> {
        let (mut tap, now) = (self.post.tap(), self.limits.instant());
        // Counted for the look, and not for the pull that comes after it.
        if !self.told.swap(false, Ordering::Relaxed) {
            tap.budget.forget();
            return None;
        }
        let spent = tap.budget.told(now).is_some_and(|(allowance, _)| allowance.left == 0);
        spent.then(|| tap.close(Reach::Only(Sort::Pull), None, now))
    }
}

impl Upstream {
    /// Forgets what it has said of how much we may ask: an operator knows better.
    pub fn lift_limits(&self) {
        self.limits.forget(&self.name);
    }

    /// Asks one endpoint, unless a limit forbids it.
    pub(in crate::upstream) async fn ask_within_limits(
        &self,
        place: usize,
        question: &Question<'_>,
    ) -> Result<Reply, Failure> {
        let pass = match self.pass(place, question).await {
            Ok(pass) => pass,
            Err(left) => {
                self.metrics.withheld();
                return Err(limited(left));
            }
        };
        if pass.going.look_first {
            let look = Question { kind: Kind::ManifestHead, ..question.clone() };
            let seen = self.ask_with(place, &look, &pass).await;
            if let Err(limit @ Failure::Limited { .. }) = seen {
                return Err(limit);
            }
            if let Some(left) = pass.still_spent() {
                return Err(limited(left));
            }
        }
        self.ask_with(place, question, &pass).await
    }

    async fn ask_with(&self, place: usize, question: &Question<'_>, pass: &Pass) -> Result<Reply, Failure> {
        let answer = self.converse(place, question, pass).await;
        self.count(question.kind, answer.as_ref().err());
        pass.over(answer.as_ref().err());
        answer
    }

    async fn pass(&self, place: usize, question: &Question<'_>) -> Result<Pass, Duration> {
        let at = self.limit_place(place, question.repository);
        let (limits, post) = (self.limits.clone(), self.limits.post(at.clone()));
        // Where nothing is known of what it wants to see it will want a token, as it has wanted before.
        let without_token = self.schemes.of(place, question.repository).is_none();
        let no_token = post.tap().closed_for(Sort::Token, limits.instant()).filter(|_| without_token);
        if let Some(left) = no_token {
            return Err(left);
        }
        Pass::enter(limits, at, post, Sort::of(question.kind)).await
    }

    /// The leave to ask whoever grants tokens.
    pub(in crate::upstream) async fn token_pass(
        &self,
        realm: &Realm,
        login: Option<&Login>,
    ) -> Result<Pass, Failure> {
        let place = Place { upstream: self.name.clone(), endpoint: realm.server(), who: Who::of(login, "") };
        let (limits, post) = (self.limits.clone(), self.limits.post(place.clone()));
        Pass::enter(limits, place, post, Sort::Token).await.map_err(|left| {
            self.metrics.withheld();
            limited(left)
        })
    }

    pub(super) fn limit_place(&self, place: usize, repository: &Repository) -> Place {
        let endpoint = &self.endpoints[place].url;
        Place {
            upstream: self.name.clone(),
            endpoint: endpoint.clone(),
            who: self.accounts.who(endpoint, repository),
        }
    }
}

fn limited(left: Duration) -> Failure {
    Failure::Limited { retry_after: Some(left) }
}

/// Whether somebody answered, whatever it was.
fn is_answer(failure: Option<&Failure>) -> bool {
    match failure {
        None
        | Some(
            Failure::SaidNo(_)
            | Failure::RefusedUs { .. }
            | Failure::NoLogin { .. }
            | Failure::Limited { .. }
            | Failure::RangeNotSatisfiable { .. },
        ) => true,
        Some(Failure::DidNotAnswer(cause)) => {
            matches!(
                cause,
                Cause::Status(_) | Cause::Garbage(_) | Cause::TooLarge { .. } | Cause::RedirectRefused(_)
            )
        }
    }
}
