//! Whether upstream takes our accounts: said when it changes, and again from time to time, not for each request.
//!
//! Owns what is known of that by account and endpoint, as the log, a metric and [`Upstream::refused`] tell it. A refusal of
//! an account is the operator's to mend, and while it lasts what is cached goes on being served, so that nothing else shows
//! that it is there. No secret is in any of it: an account is called by the repositories that it is for.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::oci::Repository;
use crate::telemetry::{Counted, UpstreamMetrics};

use super::Upstream;
use super::failure::Failure;

/// After this time a refusal that goes on is said again.
const AGAIN: Duration = Duration::from_secs(10 * 60);

/// An account that comes and goes is told of no more often.
const CALM: Duration = Duration::from_secs(60);

/// What an account is called that is for all repositories.
const ALL: &str = "*";

/// An account at an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Account {
    /// The repositories that it is for, as the configuration names them, or the endpoint whose own it is.
    pub(super) name: String,
    /// The endpoint, by its place in the list.
    pub(super) place: usize,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Say {
    Nothing,
    /// It is refused from now on.
    Begins,
    /// It still is, and was so many times.
    GoesOn(u64),
    /// It is taken again.
    Ends,
}

/// An account that was refused at least once.
#[derive(Debug, Default)]
struct State {
    refused: Option<Refused>,
    /// When something was said of it last.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Refused {
    times: u64,
    why: String,
    /// Whether its beginning was told.
    told: bool,
    _counted: Counted,
}

impl State {
    fn refused(&mut self, now: Instant, why: String, counted: impl FnOnce() -> Counted) -> Say {
        let quiet_for = self.told.map(|told| now - told);
        let say = match &mut self.refused {
            Some(refused) => {
                refused.times += 1;
                refused.why = why;
                let after = if refused.told { AGAIN } else { CALM };
                match quiet_for.is_none_or(|quiet| quiet >= after) {
                    false => Say::Nothing,
                    true if refused.told => Say::GoesOn(refused.times),
                    true => {
                        refused.told = true;
                        Say::Begins
                    }
                }
            }
            None => {
                let told = quiet_for.is_none_or(|quiet| quiet >= CALM);
                self.refused = Some(Refused { times: 1, why, told, _counted: counted() });
                if told { Say::Begins } else { Say::Nothing }
            }
        };
        if say != Say::Nothing {
            self.told = Some(now);
        }
        say
    }

    fn taken(&mut self) -> Say {
        match self.refused.take() {
            Some(Refused { told: true, .. }) => Say::Ends,
            _ => Say::Nothing,
        }
    }
}

/// What is known of an upstream's accounts.
#[derive(Debug)]
pub(super) struct Refusals {
    upstream: String,
    metrics: UpstreamMetrics,
    states: Mutex<BTreeMap<Account, State>>,
}

impl Refusals {
    pub(super) fn new<'a>(
        upstream: &str,
        names: impl Iterator<Item = &'a str>,
        metrics: UpstreamMetrics,
    ) -> Self {
        names.for_each(|name| metrics.account(called(name)));
        Self { upstream: upstream.to_owned(), metrics, states: Mutex::default() }
    }

    /// Upstream did not take an account, or there was none to show where one is configured.
    pub(super) fn refused(&self, account: &Account, failure: &Failure) {
        let name = called(&account.name);
        let counted = || self.metrics.account_refused(name);
        let say = self.lock().entry(account.clone()).or_default().refused(
            Instant::now(),
            failure.to_string(),
            counted,
        );
        let upstream = &self.upstream;
        match say {
            Say::Nothing | Say::Ends => {}
            Say::Begins => tracing::error!(
                %upstream, account = name, why = %failure,
                "an account is refused: of what it is for only what is cached is served"
            ),
            Say::GoesOn(times) => {
                tracing::error!(%upstream, account = name, why = %failure, times, "an account is still refused");
            }
        }
    }

    /// Upstream took an account.
    pub(super) fn taken(&self, account: &Account) {
        let say = self.lock().get_mut(account).map_or(Say::Nothing, State::taken);
        if say == Say::Ends {
            tracing::info!(upstream = %self.upstream, account = called(&account.name), "an account is taken again");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Account, State>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn called(prefix: &str) -> &str {
    if prefix.is_empty() { ALL } else { prefix }
}

impl Upstream {
    /// The accounts that upstream refuses at this moment, each with the reason.
    #[must_use]
    pub fn refused(&self) -> Vec<(String, String)> {
        let states = self.refusals.lock();
        let refused = states.iter().filter_map(|(account, state)| {
            let why = state.refused.as_ref()?.why.clone();
            Some((called(&account.name).to_owned(), why))
        });
        refused.collect()
    }

    /// The account that a repository is asked for with at an endpoint, where one is configured.
    pub(super) fn account(&self, place: usize, repository: &Repository) -> Option<Account> {
        let name = self.accounts.name(&self.endpoints[place].url, repository)?;
        Some(Account { name: name.to_owned(), place })
    }

    /// Notes what an answer says of the account that it was asked with. `shown`: it was.
    pub(super) fn note_account<T>(&self, account: &Account, shown: bool, answer: &Result<T, Failure>) {
        match answer {
            Err(failure @ (Failure::RefusedUs { .. } | Failure::NoLogin { .. })) => {
                self.refusals.refused(account, failure);
            }
            Ok(_) | Err(Failure::SaidNo(_) | Failure::RangeNotSatisfiable { .. }) if shown => {
                self.refusals.taken(account);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test(start_paused = true)]
    async fn g6_a_refusal_is_said_when_it_begins_and_at_intervals_and_not_for_each_request() {
        let metrics = Metrics::new().for_upstream("a");
        let mut state = State::default();
        for (after, is, say) in [
            (0, "taken", Say::Nothing),
            (0, "refused", Say::Begins),
            (0, "refused", Say::Nothing),
            (599, "refused", Say::Nothing),
            (1, "refused", Say::GoesOn(4)),
            (1, "refused", Say::Nothing),
            (1, "taken", Say::Ends),
            (1, "taken", Say::Nothing),
            // It comes and goes.
            (1, "refused", Say::Nothing),
            (1, "taken", Say::Nothing),
            (1, "refused", Say::Nothing),
            // It has gone.
            (59, "refused", Say::Begins),
            (1, "taken", Say::Ends),
        ] {
            tokio::time::advance(Duration::from_secs(after)).await;
            let said = match is {
                "taken" => state.taken(),
                _ => state.refused(Instant::now(), "x".to_owned(), || metrics.account_refused("*")),
            };
            assert_eq!(said, say, "after {after} s, {is}");
        }
    }

    #[test]
    fn a_refused_account_is_counted_while_it_is_refused() {
        let metrics = Metrics::new();
        let refusals = Refusals::new("a", ["", "team"].into_iter(), metrics.for_upstream("a"));
        let line = |account: &str, value: u8| {
            let line = format!(
                "roadstead_upstream_accounts_refused{{upstream=\"a\",account=\"{account}\"}} {value}"
            );
            let text = metrics.encode();
            assert!(text.lines().any(|other| other == line), "{line} in {text}");
        };
        let account = Account { name: "team".to_owned(), place: 0 };
        line("team", 0);
        refusals.refused(&account, &Failure::RefusedUs { status: 401 });
        refusals.refused(&account, &Failure::RefusedUs { status: 403 });
        line("team", 1);
        line("*", 0);
        refusals.taken(&account);
        line("team", 0);
    }
}
