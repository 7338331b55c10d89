//! Whether a question may be sent, as far as limits go: values and a clock.
//!
//! The tap of one endpoint and account has a valve for everything and one for each sort of question. A limit closes the one
//! that it is about. When its time is over, one question goes first; the others wait for what it hears. So it is before the
//! first pull as well, because nothing is left, for all one knows, where others pull as the same account or address.

use std::time::{Duration, Instant};

use super::budget::{Budget, LOOK_AGAIN, Ticket};
use super::reach::{Reach, Sort};
use super::words::Allowance;

/// For how long a tap is closed at the first time, where nothing is said. It doubles each time that follows.
const UNTOLD: Duration = Duration::from_secs(30);
const LONGEST_UNTOLD: Duration = Duration::from_secs(15 * 60);

/// The shortest time: what is to be asked again at once is no limit that could be kept.
const SHORTEST: Duration = Duration::from_secs(1);

/// The tap of one endpoint and account.
#[derive(Debug)]
pub(super) struct Tap {
    all: Valve,
    sorts: [Valve; Sort::ALL.len()],
    pub(super) budget: Budget,
    /// When upstream refused a pull, or was looked at since.
    looked: Option<Instant>,
}

/// One of its valves.
#[derive(Debug)]
struct Valve {
    state: State,
    /// One question is on its way to find out.
    tried: bool,
    /// How often it was closed without being open in between.
    times: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing was heard yet.
    New,
    Closed {
        until: Instant,
        /// The time was upstream's word.
        told: bool,
    },
}

/// Whether a question may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may, with this in hand.
    Go(Going),
    /// Another one is on its way, and its answer decides.
    Wait,
    /// It may not, for so long.
    No(Duration),
}

/// What a question that is sent has in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Going {
    sort: Sort,
    ticket: Ticket,
    /// It is the one that finds out whether the valve is open again: for everything, and for its sort.
    tries_all: bool,
    tries_sort: bool,
    /// No pull is left, by what was heard last: whether there is by now is looked at first, because looking is free.
    pub(super) look_first: bool,
}

impl Tap {
    pub(super) fn new() -> Self {
        let mut sorts = Sort::ALL.map(|_| Valve::new(State::Open));
        sorts[Sort::Pull as usize] = Valve::new(State::New);
        Self { all: Valve::new(State::Open), sorts, budget: Budget::default(), looked: None }
    }

    /// Whether a question of this sort may be sent. One that has been `patient` for long enough is told yes or no.
    pub(super) fn enter(&mut self, sort: Sort, patient: bool, now: Instant) -> Leave {
        if let Some(left) = self.closed_for(sort, now) {
            return Leave::No(left);
        }
        if self.valves(sort).any(|valve| valve.tried) {
            let again = self.valves(sort).any(|valve| valve.tried && valve.state != State::New);
            match (patient, again) {
                (true, _) => return Leave::Wait,
                (false, true) => return Leave::No(SHORTEST),
                // Whoever went first hears nothing at all; that is no reason to be silent as well.
                (false, false) => {}
            }
        }
        let tries = |valve: &Valve| valve.state != State::Open && !valve.tried;
        let tries_sort = tries(&self.sorts[sort as usize]);
        let tries_all = sort != Sort::Token && tries(&self.all);
        let mut look_first = false;
        if sort == Sort::Pull
            && let Some((0, under_way)) = self.budget.free(now)
        {
            match (tries_sort, under_way, patient) {
                (true, ..) => look_first = true,
                (false, 0, _) => return Leave::No(self.sorts[sort as usize].close(None, now)),
                (false, _, true) => return Leave::Wait,
                (false, _, false) => return Leave::No(SHORTEST),
            }
        }
        self.all.tried |= tries_all;
        self.sorts[sort as usize].tried |= tries_sort;
        let ticket = self.budget.begin(sort == Sort::Pull);
        Leave::Go(Going { sort, ticket, tries_all, tries_sort, look_first })
    }

    /// Upstream told us to ask less: from now on, questions that are meant are not sent, for how long it returns.
    pub(super) fn close(&mut self, reach: Reach, told: Option<Duration>, now: Instant) -> Duration {
        match reach {
            Reach::All => self.all.close(told, now),
            Reach::Only(sort) => {
                if sort == Sort::Pull {
                    self.budget.spend();
                    self.looked = Some(now);
                }
                self.sorts[sort as usize].close(told, now)
            }
        }
    }

    /// An answer told how many pulls are left. Where a tap was closed for want of them, without a time, and there are some
    /// again, it opens.
    pub(super) fn tell(&mut self, going: &Going, allowance: Allowance, now: Instant) {
        let some = allowance.left > 0;
        self.budget.tell(going.ticket, allowance, now);
        let valve = &mut self.sorts[Sort::Pull as usize];
        if let State::Closed { until, told: false } = &mut valve.state
            && some
        {
            *until = now.min(*until);
        }
    }

    /// A question is over: it was answered, in whatever way, or not; `told` says that the answer told how many are left.
    pub(super) fn leave(&mut self, going: &Going, answered: bool, told: bool, now: Instant) {
        if going.sort == Sort::Pull {
            self.budget.end(told);
        }
        if going.sort == Sort::Look && answered {
            self.looked = Some(now);
        }
        if going.tries_all {
            self.all.end(answered, now);
        }
        if going.tries_sort {
            self.sorts[going.sort as usize].end(answered, now);
        }
    }

    /// Whether what is cached is better not asked about: fewer pulls are left than `reserve`, or upstream gives none, so
    /// that a tag which has moved could not be had anyway. It is looked at again after a while all the same.
    pub(super) fn is_scarce(&mut self, reserve: u64, now: Instant) -> bool {
        let lately = self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < LOOK_AGAIN);
        self.budget.is_scarce(reserve, now) || (lately && self.closed_for(Sort::Pull, now).is_some())
    }

    /// For how long questions of this sort are not sent.
    pub(super) fn closed_for(&self, sort: Sort, now: Instant) -> Option<Duration> {
        self.valves(sort).filter_map(|valve| valve.closed_for(now)).max()
    }

    /// What a question of this sort has to get through. Tokens are granted by another server, for questions that have been
    /// let through themselves.
    fn valves(&self, sort: Sort) -> impl Iterator<Item = &Valve> {
        let all = (sort != Sort::Token).then_some(&self.all);
        all.into_iter().chain([&self.sorts[sort as usize]])
    }

    /// The limits that are in force, and for how long.
    pub(super) fn limits(&self, now: Instant) -> Vec<(Reach, Duration)> {
        let all = self.all.closed_for(now).map(|left| (Reach::All, left));
        let sorts = Sort::ALL.into_iter().zip(&self.sorts);
        let sorts = sorts.filter_map(|(sort, valve)| Some((Reach::Only(sort), valve.closed_for(now)?)));
        all.into_iter().chain(sorts).collect()
    }
}

impl Valve {
    fn new(state: State) -> Self {
        Self { state, tried: false, times: 0 }
    }

    fn closed_for(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Closed { until, .. } => {
                Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
            }
            State::Open | State::New => None,
        }
    }

    /// The question that tried it is over.
    fn end(&mut self, answered: bool, now: Instant) {
        self.tried = false;
        match self.state {
            State::Closed { until, .. } if until > now || !answered => {}
            State::Closed { .. } | State::New | State::Open => *self = Self::new(State::Open),
        }
    }

    /// Closes it, for as long as is told, but never for less than it is closed already; returns for how long.
    fn close(&mut self, told: Option<Duration>, now: Instant) -> Duration {
        let before = self.closed_for(now);
        if before.is_none() {
            self.times += 1;
        }
        let wait = told.map_or_else(|| untold(self.times), |told| told.max(SHORTEST));
        let wait = before.map_or(wait, |before| before.max(wait));
        self.state = State::Closed { until: now + wait, told: told.is_some() };
        wait
    }
}

/// For how long a tap is closed where nothing is said, at the n-th time in a row.
fn untold(times: u32) -> Duration {
    UNTOLD.saturating_mul(1 << times.saturating_sub(1).min(16)).min(LONGEST_UNTOLD)
}

#[cfg(test)]
mod tests;
