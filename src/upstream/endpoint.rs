//! The base URLs that answer for an upstream: which is asked first, and what becomes of one that does not answer.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::select_all;
use http::header::RETRY_AFTER;
use http::{Response, StatusCode, Uri};
use tokio::time::{sleep, timeout};
use url::Url;

use crate::telemetry::{Kind, Up};

use super::Upstream;
use super::circle::Registry;
use super::connect::{Net, Reach};
use super::failure::{Cause, Failure};
use super::gate::Gate;
use super::health::{Epoch, Health, Probe, Subject};
use super::redirect::{Bare, same_origin};
use super::request::{Question, Reply};
use super::transfer::Origin;
use super::whereabouts::Whereabouts;
use super::wire::{drain, plain_get};

/// The longest that a probe takes, whatever the settings: somebody may wait for it.
const PROBE: Duration = Duration::from_secs(10);

/// The longest rest that a request waits for. Who has been away for longer is most likely away for longer still.
const SHORT_REST: Duration = Duration::from_secs(2);

/// One of them.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) url: Url,
    upstream: Arc<str>,
    pub(super) health: Arc<Health>,
    pub(super) registry: Registry,
    gate: Arc<Gate>,
}

impl Endpoint {
    pub(super) fn new(upstream: Arc<str>, url: Url, up: Up, gate: Arc<Gate>) -> Arc<Self> {
        let health = Arc::new(Health::new(up));
        Arc::new(Self { upstream, url, health, registry: Registry::default(), gate })
    }

    /// Whether anything may be sent there at all.
    pub(super) fn may_be_asked(&self) -> bool {
        self.gate.is_open()
    }

    /// It did not answer a request, nor whether it is there at all.
    fn given_up(&self, why: &Cause) {
        if self.may_be_asked() && self.health.given_up(why) {
            self.say_left_alone(why);
        }
    }

    fn say_left_alone(&self, why: &Cause) {
        tracing::warn!(
            upstream = %self.upstream, endpoint = %Bare(&self.url), last = %why,
            "an endpoint did not answer several times: it is left alone, and asked now and then whether it is back"
        );
    }

    /// It is asked about this from now on.
    pub(super) fn asked(self: &Arc<Self>, subject: Subject) -> Witness {
        Witness { endpoint: Arc::clone(self), since: self.health.epoch(), subject }
    }
}

/// Somebody who asks an endpoint, and tells how that went.
#[derive(Clone, Debug)]
pub(super) struct Witness {
    endpoint: Arc<Endpoint>,
    since: Epoch,
    subject: Subject,
}

impl Witness {
    /// Whether anything may be sent there at all.
    pub(super) fn may_be_asked(&self) -> bool {
        self.endpoint.may_be_asked()
    }

    /// It did its work.
    pub(super) fn answered(&self) {
        let Endpoint { url, upstream, health, .. } = &*self.endpoint;
        if health.answered() {
            tracing::info!(%upstream, endpoint = %Bare(url), "an endpoint answers again");
        }
    }

    /// It did not; `why`, for the operator too.
    pub(super) fn failed(&self, why: &Cause) {
        // What ended because nothing may be sent any more says nothing of it.
        let endpoint = &self.endpoint;
        if endpoint.may_be_asked() && endpoint.health.failed(why, self.since, self.subject) {
            endpoint.say_left_alone(why);
        }
    }
}

impl Witness {
    /// Notes what a head, or its absence, says of it.
    pub(super) fn heard<T>(&self, kind: Kind, head: &Result<Response<T>, Cause>) {
        match head {
            // It may be a limit, which its body tells.
            Ok(head) if head.headers().contains_key(RETRY_AFTER) => {}
            // What not every registry has says nothing of the rest.
            Ok(_) if matches!(kind, Kind::Tags | Kind::Referrers | Kind::Token) => {}
            Ok(head) => self.heard_status(head.status()),
            Err(cause) => self.failed(cause),
        }
    }

    /// Notes what a status says of it.
    pub(super) fn heard_status(&self, status: StatusCode) {
        if is_ill(status) {
            self.failed(&Cause::Status(status.as_u16()));
        }
    }
}

/// The order in which endpoints are asked: that of the configuration, but for those before `first`, which come last.
pub(super) fn in_order(first: usize, all: usize) -> impl Iterator<Item = usize> {
    (0..all).map(move |step| (first + step) % all)
}

/// Whether a status that came from the endpoint itself speaks against it. That it does not know a method, or some API, does
/// not.
fn is_ill(status: StatusCode) -> bool {
    status.is_server_error() && status.as_u16() != 501
}

/// Whether an outcome shows that an endpoint does its work. Where there is a body to come, that has to come for it: see
/// [`Origin`].
fn is_well(kind: Kind, outcome: Result<&Reply, &Failure>) -> bool {
    match outcome {
        Ok(reply) => reply.crossed || matches!(kind, Kind::ManifestHead | Kind::BlobHead),
        Err(Failure::SaidNo(_) | Failure::RefusedUs { .. } | Failure::RangeNotSatisfiable { .. }) => true,
        // Where a limit is known of, nothing was asked.
        Err(Failure::NoLogin { .. } | Failure::Limited { .. } | Failure::DidNotAnswer(_)) => false,
    }
}

/// What shows that there is no registry, but a portal or a parking page. Not every registry has lists, and where there are
/// none, anything may come.
fn garbage<'a>(kind: Kind, outcome: Result<&Reply, &'a Failure>) -> Option<&'a Cause> {
    match (kind, outcome) {
        (
            Kind::Manifest | Kind::ManifestHead | Kind::Blob | Kind::BlobHead,
            Err(Failure::DidNotAnswer(cause @ Cause::Garbage(_))),
        ) => Some(cause),
        _ => None,
    }
}

impl Upstream {
    /// Notes what an outcome says of the endpoint that was asked.
    pub(super) fn note_outcome(witness: &Witness, kind: Kind, outcome: Result<&Reply, &Failure>) {
        if is_well(kind, outcome) {
            witness.answered();
        } else if let Some(cause) = garbage(kind, outcome) {
            witness.failed(cause);
        }
    }

    /// Who asks the endpoint at this place about this, from now on.
    pub(super) fn witness(&self, place: usize, subject: Subject) -> Witness {
        self.endpoints[place].asked(subject)
    }

    /// Who asks at this URL, if it is an endpoint's.
    pub(super) fn witness_at(&self, url: &Url, subject: Subject) -> Option<Witness> {
        self.endpoint_of(url).map(|endpoint| endpoint.asked(subject))
    }

    /// The endpoint that a URL is of: where two have one origin, the one whose path is the longest.
    fn endpoint_of(&self, url: &Url) -> Option<&Arc<Endpoint>> {
        let is_below = |endpoint: &&Arc<Endpoint>| {
            same_origin(&endpoint.url, url)
                && url.path().starts_with(endpoint.url.path().trim_end_matches('/'))
        };
        self.endpoints.iter().filter(is_below).max_by_key(|endpoint| endpoint.url.path().len())
    }

    /// Whether requests go to an endpoint. Where not, and when it is time for that, it is asked whether it is back.
    pub(super) fn is_well(&self, place: usize) -> bool {
        let endpoint = &self.endpoints[place];
        let well = endpoint.health.is_well();
        if !well && !self.vigil.is_kept() {
            self.probe(endpoint);
        }
        well
    }

    /// Whether all endpoints are left alone.
    pub(super) fn is_down(&self) -> bool {
        // Not `any`, which would stop at the first: each is probed that is due.
        (0..self.endpoints.len()).filter(|place| self.is_well(*place)).count() == 0
    }

    /// Whether all endpoints are left alone. Sends nothing.
    #[must_use]
    pub fn is_left_alone(&self) -> bool {
        self.endpoints.iter().all(|endpoint| !endpoint.health.is_well())
    }

    /// Waits until not all endpoints are left alone. Sends nothing.
    pub async fn until_asked(&self) {
        let waits = self.endpoints.iter().map(|endpoint| Box::pin(endpoint.health.until_well()));
        select_all(waits).await;
    }

    /// Waits for an endpoint that is left alone, by who has nowhere else to go: to the end of a short rest, and for the
    /// probe that then asks. Whether it may be asked. Nobody waits for one that is watched.
    pub(super) async fn comes_back(&self, place: usize) -> bool {
        let health = &self.endpoints[place].health;
        if self.vigil.is_kept() {
            return health.is_well();
        }
        if let Some(rest) = health.rest() {
            // The question itself needs its time too.
            if rest > SHORT_REST.min(self.header_timeout / 2) {
                return false;
            }
            sleep(rest).await;
        }
        self.is_well(place) || health.is_back().await
    }

    /// By whom the bytes of a reply come.
    pub(super) fn origin(&self, reply: &Reply, question: &Question<'_>, whereabouts: &Whereabouts) -> Origin {
        Origin {
            witness: self.witness(reply.by, question.topic().subject),
            place: (reply.by, self.endpoints.len()),
            crossed: reply.crossed,
            whereabouts: whereabouts.clone(),
        }
    }

    /// The endpoints and token servers that are left alone, and why.
    #[must_use]
    pub fn away(&self) -> Vec<(String, String)> {
        let away = self.endpoints.iter().filter(|endpoint| !endpoint.health.is_well());
        let line = |endpoint: &Arc<Endpoint>| {
            (Bare(&endpoint.url).to_string(), Cause::Resting(Box::new(endpoint.health.last())).to_string())
        };
        away.map(line).chain(self.granters.away()).collect()
    }

    /// How many endpoints there are.
    #[must_use]
    pub fn endpoint_count(&self) -> usize {
        self.endpoints.len()
    }

    /// What came by the endpoint that is asked first was wrong: another comes first from now on.
    pub fn distrust(&self, whereabouts: &Whereabouts) {
        whereabouts.leave(whereabouts.first(), self.endpoints.len());
    }

    /// What is said where no endpoint was asked.
    pub(super) fn left_alone(&self) -> Failure {
        let last = self.endpoints.first().map_or(Cause::Cut, |endpoint| endpoint.health.last());
        Cause::Resting(Box::new(last)).into()
    }

    /// How long no endpoint is asked anything, because all are left alone.
    #[must_use]
    pub fn rest(&self) -> Option<Duration> {
        let rests = self.endpoints.iter().map(|endpoint| match endpoint.health.is_well() {
            true => None,
            false => endpoint.health.rest(),
        });
        rests.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Asks for the ping that every registry answers without a word about any object.
    fn probe(&self, endpoint: &Arc<Endpoint>) {
        if !endpoint.may_be_asked() {
            return;
        }
        let Some(probe) = endpoint.health.probe() else { return };
        let (endpoint, net, limit) = (Arc::clone(endpoint), Arc::clone(&self.net), self.longest_probe());
        self.lane.errands().run(async move { endpoint.be_probed(probe, &net, limit).await });
    }

    /// How long a probe may take.
    pub(super) fn longest_probe(&self) -> Duration {
        self.header_timeout.min(PROBE)
    }
}

impl Endpoint {
    /// Asks whether it is back.
    pub(super) async fn be_probed(&self, probe: Probe, net: &Net, limit: Duration) {
        let (upstream, url) = (&*self.upstream, Bare(&self.url));
        match self.ping(net, limit).await {
            Ok(()) => {
                probe.answered();
                tracing::info!(upstream, endpoint = %url, "an endpoint answers a probe: it is asked again");
            }
            Err(cause) => {
                tracing::debug!(upstream, endpoint = %url, %cause, "an endpoint does not answer a probe");
            }
        }
    }

    /// Asks whether it is there, after it did not answer a request.
    pub(super) async fn be_doubted(&self, net: &Net, limit: Duration) {
        if let Err(cause) = self.ping(net, limit).await {
            self.given_up(&cause);
        }
    }

    async fn ping(&self, net: &Net, limit: Duration) -> Result<(), Cause> {
        match ping(&self.url) {
            Some(ping) => ping_once(net, ping, limit).await,
            None => Err(Cause::Cut),
        }
    }
}

async fn ping_once(net: &Net, ping: Uri, limit: Duration) -> Result<(), Cause> {
    let sent = timeout(limit, net.send(Kind::ManifestHead, Reach::Configured, plain_get(ping)));
    let response = sent.await.map_err(|_| Cause::HeaderTimeout)??;
    let status = response.status();
    drain(response).await;
    if is_ill(status) { Err(Cause::Status(status.as_u16())) } else { Ok(()) }
}

fn ping(endpoint: &Url) -> Option<Uri> {
    format!("{}/v2/", endpoint.as_str().trim_end_matches('/')).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::failure::SaidNo;

    #[test]
    fn endpoints_are_asked_in_their_order_and_the_broken_one_last() {
        for (first, all, order) in [
            (0, 1, vec![0]),
            (0, 3, vec![0, 1, 2]),
            (1, 3, vec![1, 2, 0]),
            (2, 3, vec![2, 0, 1]),
            (1, 1, vec![0]),
        ] {
            assert_eq!(in_order(first, all).collect::<Vec<_>>(), order, "{first} of {all}");
        }
    }

    #[test]
    fn g6_only_silence_speaks_against_an_endpoint() {
        for (status, ill) in
            [(200, false), (307, false), (401, false), (403, false), (404, false), (405, false), (416, false)]
                .into_iter()
                .chain([(429, false), (500, true), (501, false), (502, true), (503, true), (504, true)])
        {
            assert_eq!(is_ill(StatusCode::from_u16(status).expect("a status")), ill, "{status}");
        }
    }

    #[test]
    fn g6_any_answer_about_the_question_speaks_for_an_endpoint() {
        for (kind, failure, well, is_garbage) in [
            (Kind::Manifest, Failure::SaidNo(SaidNo { status: 404 }), true, false),
            (Kind::Blob, Failure::SaidNo(SaidNo { status: 403 }), true, false),
            (Kind::Manifest, Failure::RefusedUs { status: 401 }, true, false),
            (Kind::Manifest, Failure::Limited { retry_after: None }, false, false),
            (Kind::Blob, Failure::RangeNotSatisfiable { total: None }, true, false),
            (Kind::Manifest, Failure::NoLogin { why: String::new() }, false, false),
            (Kind::Manifest, Cause::Cut.into(), false, false),
            (Kind::Manifest, Failure::garbage("a page"), false, true),
            (Kind::BlobHead, Failure::garbage("a page"), false, true),
            (Kind::Referrers, Failure::garbage("a page"), false, false),
        ] {
            assert_eq!(is_well(kind, Err(&failure)), well, "{kind:?} {failure:?}");
            assert_eq!(garbage(kind, Err(&failure)).is_some(), is_garbage, "{kind:?} {failure:?}");
        }
    }
}
