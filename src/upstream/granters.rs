//! Whether a server that grants tokens is worth asking.
//!
//! It is left alone as an endpoint is, by the same rules, so that one that hangs does not keep each repository waiting anew.
//! It has no ping: when its rest is over, whoever needs a token asks for it, and the others wait for a moment for how that
//! goes. What a repository is for an endpoint, a scope is for a token server.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lru::LruCache;
use tokio::time::{sleep, timeout};
use url::Url;

use crate::telemetry::Up;

use super::auth::Realm;
use super::failure::{Cause, Failure};
use super::health::{Epoch, Health, Probe, Subject};
use super::redirect::Bare;

/// How long is waited for the end of a rest, and for who asks first after it: what comes after that takes its time too.
const SHORT: Duration = Duration::from_secs(2);

/// How many servers are remembered. Upstream names them, so that there could be any number.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(64).expect("not zero");

/// The token servers of one upstream.
#[derive(Debug)]
pub(super) struct Granters {
    upstream: String,
    known: Mutex<LruCache<Url, Arc<Health>>>,
}

/// One that may be asked, for one token.
pub(super) struct Visit<'a> {
    granters: &'a Granters,
    server: Url,
    health: Arc<Health>,
    /// This visit is to find out whether it is back.
    probe: Option<Probe>,
    since: Epoch,
    scope: Subject,
}

impl Granters {
    pub(super) fn new(upstream: &str) -> Self {
        Self { upstream: upstream.to_owned(), known: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// The leave to ask for a token; or why nobody is asked.
    pub(super) async fn visit(&self, realm: &Realm) -> Result<Visit<'_>, Failure> {
        let server = realm.server();
        let health = self.health(&server);
        let visit = |health: Arc<Health>, probe| Visit {
            granters: self,
            server: server.clone(),
            since: health.epoch(),
            health,
            probe,
            scope: realm.subject(),
        };
        if health.is_well() {
            return Ok(visit(health, None));
        }
        if let Some(rest) = health.rest().filter(|rest| *rest <= SHORT) {
            sleep(rest).await;
        }
        if let Some(probe) = health.probe() {
            return Ok(visit(health, Some(probe)));
        }
        let is_back = health.rest().is_none() && timeout(SHORT, health.is_back()).await == Ok(true);
        if is_back { Ok(visit(health, None)) } else { Err(Cause::Resting(Box::new(health.last())).into()) }
    }

    /// Those that are left alone, and why.
    pub(super) fn away(&self) -> Vec<(String, String)> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let away = known.iter().filter(|(_, health)| !health.is_well());
        away.map(|(server, health)| {
            (Bare(server).to_string(), Cause::Resting(Box::new(health.last())).to_string())
        })
        .collect()
    }

    fn health(&self, server: &Url) -> Arc<Health> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let health = known.get_or_insert(server.clone(), || Arc::new(Health::new(Up::default())));
        Arc::clone(health)
    }
}

impl Visit<'_> {
    /// How it went. Dropped without a word it counts for nothing, but where it was to find out whether the server is back
    /// it did not.
    pub(super) fn over(self, failure: Option<&Failure>) {
        let (upstream, server) = (&self.granters.upstream, Bare(&self.server));
        match silence(failure) {
            None => {
                if let Some(probe) = self.probe {
                    probe.answered();
                    tracing::info!(upstream, %server, "a token server answers again");
                }
                self.health.answered();
            }
            Some(cause) => {
                if self.health.failed(cause, self.since, self.scope) {
                    tracing::warn!(
                        upstream, %server, last = %cause,
                        "a token server did not answer several times: it is left alone for a moment"
                    );
                }
            }
        }
    }
}

/// Why a server has not done its work, if it has not. What is wrong with what it was asked is for the operator to mend.
fn silence(failure: Option<&Failure>) -> Option<&Cause> {
    match failure {
        Some(Failure::DidNotAnswer(Cause::Status(status))) if *status < 500 => None,
        // It was not asked to the end.
        Some(Failure::DidNotAnswer(Cause::Offline)) => None,
        Some(Failure::DidNotAnswer(cause)) => Some(cause),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::connect::Reach;

    fn realm(scope: &str) -> Realm {
        let url = format!("https://auth.example/token?account={scope}").parse().expect("a URL");
        Realm { url, service: None, scope: scope.into(), reach: Reach::Configured }
    }

    async fn fails(granters: &Granters, scope: &str, cause: Cause) {
        let visit = granters.visit(&realm(scope)).await.unwrap_or_else(|_| panic!("it is asked"));
        visit.over(Some(&cause.into()));
    }

    fn resting(granted: &Result<Visit<'_>, Failure>) -> bool {
        matches!(granted, Err(Failure::DidNotAnswer(Cause::Resting(_))))
    }

    #[tokio::test(start_paused = true)]
    async fn g3_a_token_server_that_hangs_is_left_alone_whatever_it_is_asked_for() {
        let granters = Granters::new("registry.example");
        for scope in ["a", "b", "c"] {
            fails(&granters, scope, Cause::HeaderTimeout).await;
        }
        assert_eq!(granters.away().len(), 1);
        // Its rest is short, and so it is waited for; who is first asks, and the others do not wait for long.
        let first = granters.visit(&realm("d")).await.unwrap_or_else(|_| panic!("it is asked again"));
        assert!(resting(&granters.visit(&realm("e")).await));
        drop(first);
        tokio::time::advance(Duration::from_millis(1)).await;
        let second = granters.visit(&realm("f")).await.unwrap_or_else(|_| panic!("after two seconds"));
        drop(second);
        assert!(resting(&granters.visit(&realm("g")).await), "four seconds are too long");
    }

    #[tokio::test(start_paused = true)]
    async fn g6_a_token_server_that_is_back_is_asked_by_all_who_wait() {
        let granters = Granters::new("registry.example");
        for scope in ["a", "b", "c"] {
            fails(&granters, scope, Cause::ConnectTimeout).await;
        }
        let first = granters.visit(&realm("d")).await.unwrap_or_else(|_| panic!("it is asked again"));
        let second = realm("e");
        let (waits, ()) = tokio::join!(granters.visit(&second), async { first.over(None) });
        assert!(waits.is_ok() && granters.away().is_empty());
    }

    #[test]
    fn g6_only_silence_speaks_against_a_token_server() {
        for (failure, silent) in [
            (Failure::RefusedUs { status: 401 }, false),
            (Cause::Status(404).into(), false),
            (Cause::Status(503).into(), true),
            (Failure::garbage("a page"), true),
            (Cause::IdleTimeout.into(), true),
            (Failure::Limited { retry_after: None }, false),
        ] {
            assert_eq!(silence(Some(&failure)).is_some(), silent, "{failure:?}");
        }
        assert_eq!(silence(None), None);
    }
}
