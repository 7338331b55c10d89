//! Whether a server is worth asking: a breaker that opens when it has not answered several times in a row.
//!
//! Only *did not answer* counts; who says no is well. Silence, and a connection that cannot be made or does not hold, cost
//! whoever waits his time, and count whatever was asked. An answer that is none (5xx, something else than was asked for) is
//! had at once, and may be about what was asked alone: such answers open the breaker only when they are about two
//! repositories, so that one that is always 500 does not keep anybody from the others. What was begun before the breaker
//! closed says nothing of how the server has been since.
//!
//! While the breaker is open requests do not wait for the server: they
//! go to the next one, or are told at once. After a rest, which grows, and only when somebody wants something, a probe asks
//! whether it is back; requests that have nowhere else to go wait for what the probe finds. So an upstream that is away
//! costs one small question a rest, and nobody's time; and nothing at all while nobody wants anything of it.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::telemetry::Up;

use super::failure::Cause;

/// So many times in a row without an answer open the breaker.
const TRIPS_AT: u32 = 3;

/// The first rest; each that follows without an answer in between is twice as long.
const FIRST_REST: Duration = Duration::from_secs(1);

/// The longest rest: for so long, at the most, nobody notices that an endpoint is back.
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What a question was about: a repository, or a scope. Two that are taken for one only make the breaker slower.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Subject(u64);

impl Subject {
    pub(super) fn of(what: &impl Hash) -> Self {
        let mut hasher = DefaultHasher::new();
        what.hash(&mut hasher);
        Self(hasher.finish())
    }
}

/// Which time of being asked as usual a question belongs to. Each ends when the breaker closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Epoch(u32);

/// The state machine, without clock and without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Breaker {
    state: State,
    epoch: Epoch,
    /// How often it has opened since there was an answer to a request.
    rests: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Asked as usual; so many times in a row it has not answered.
    Closed { failures: u32, about: About },
    /// Left alone until then, and from then on until somebody wants something.
    Open { until: Instant },
    /// Left alone by requests while a probe asks.
    Probing,
}

/// What the failures in a row were about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum About {
    Nothing,
    /// This alone.
    One(Subject),
    /// The server itself, for all that shows.
    Server,
}

impl About {
    /// The same, with one failure more; `subject` is what that one may have been about alone.
    fn and(self, subject: Option<Subject>) -> Self {
        match (self, subject) {
            (Self::Nothing, Some(subject)) => Self::One(subject),
            (Self::One(one), Some(subject)) if one == subject => self,
            _ => Self::Server,
        }
    }
}

impl State {
    const fn closed(failures: u32) -> Self {
        Self::Closed { failures, about: About::Nothing }
    }
}

impl Breaker {
    const fn new() -> Self {
        Self { state: State::closed(0), epoch: Epoch(0), rests: 0 }
    }

    const fn is_closed(&self) -> bool {
        matches!(self.state, State::Closed { .. })
    }

    /// A request had an answer, whatever it said.
    fn answered(&mut self) {
        self.close(0);
        self.rests = 0;
    }

    /// A request of that epoch had none. What was under way when the breaker opened says nothing new, and what still is
    /// when it closes nothing of what comes after.
    fn failed(&mut self, since: Epoch, subject: Option<Subject>, now: Instant) {
        let State::Closed { failures, about } = &mut self.state else { return };
        if since != self.epoch {
            return;
        }
        *failures = failures.saturating_add(1);
        *about = about.and(subject);
        if *failures >= TRIPS_AT && *about == About::Server {
            self.open(now);
        }
    }

    /// It did not answer when it was asked whether it is there, after a request that it had not answered.
    fn given_up(&mut self, now: Instant) {
        if self.is_closed() {
            self.open(now);
        }
    }

    /// What is to be done by who watches it, and has asked it already about so many failures in a row.
    fn duty(&self, asked: u32) -> Duty {
        match self.state {
            State::Closed { failures, .. } if failures > asked => Duty::Doubt { failures },
            State::Closed { .. } | State::Probing => Duty::Nothing,
            State::Open { until } => Duty::Probe { at: until },
        }
    }

    fn open(&mut self, now: Instant) {
        let rest = FIRST_REST.saturating_mul(1 << self.rests.min(16)).min(LONGEST_REST);
        self.state = State::Open { until: now + rest };
        self.rests += 1;
    }

    fn close(&mut self, failures: u32) {
        if !self.is_closed() {
            self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        }
        self.state = State::closed(failures);
    }

    /// Nothing that was begun before this says anything any more.
    fn forget(&mut self) {
        self.epoch = Epoch(self.epoch.0.wrapping_add(1));
        self.state = State::closed(0);
        self.rests = 0;
    }

    /// Whether a probe is to be sent now; then it is under way.
    fn begin_probe(&mut self, now: Instant) -> bool {
        let due = matches!(self.state, State::Open { until } if until <= now);
        if due {
            self.state = State::Probing;
        }
        due
    }

    /// What the probe found. Who has answered one question is believed one failure, not three.
    fn probed(&mut self, answered: bool, now: Instant) {
        match (self.state, answered) {
            (State::Probing, true) => self.close(TRIPS_AT - 1),
            (State::Probing, false) => self.open(now),
            _ => {}
        }
    }
}

/// Whether a server may have failed for what it was asked, and not for how it is.
fn is_about_the_question(why: &Cause) -> bool {
    match why {
        Cause::Status(_) | Cause::Garbage(_) | Cause::RedirectRefused(_) | Cause::TooLarge { .. } => true,
        Cause::Resolve { .. }
        | Cause::Connect(_)
        | Cause::Proxy(_)
        | Cause::Tls(_)
        | Cause::ConnectTimeout
        | Cause::HeaderTimeout
        | Cause::IdleTimeout
        | Cause::Cut
        | Cause::Offline
        | Cause::Resting(_) => false,
    }
}

/// What is to be done by who watches an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Duty {
    /// Wait until something happens to it.
    Nothing,
    /// Ask whether it is there: lately it has not answered, so many times in a row.
    Doubt {
        /// How many times.
        failures: u32,
    },
    /// Ask whether it is back, when it has rested.
    Probe {
        /// When that is.
        at: Instant,
    },
}

/// How one server has been.
pub(super) struct Health {
    breaker: watch::Sender<Breaker>,
    /// Why it did not answer the last time that it did not.
    last: Mutex<Cause>,
    up: Up,
}

impl Health {
    pub(super) fn new(up: Up) -> Self {
        up.set(true);
        Self { breaker: watch::Sender::new(Breaker::new()), last: Mutex::new(Cause::Cut), up }
    }

    /// Whether requests go there.
    pub(super) fn is_well(&self) -> bool {
        self.breaker.borrow().is_closed()
    }

    /// How long it is left alone for; none when it may be asked, or asked whether it is back.
    pub(super) fn rest(&self) -> Option<Duration> {
        match self.breaker.borrow().state {
            State::Open { until } => {
                until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            }
            State::Closed { .. } | State::Probing => None,
        }
    }

    /// It answered; whether it was thought to be away.
    pub(super) fn answered(&self) -> bool {
        self.change(|breaker, _| breaker.answered()) == Some(true)
    }

    /// To be noted when something is asked, for how that goes.
    pub(super) fn epoch(&self) -> Epoch {
        self.breaker.borrow().epoch
    }

    /// It did not answer a question about this that was begun then; whether it is left alone from now on.
    pub(super) fn failed(&self, why: &Cause, since: Epoch, subject: Subject) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(why);
        let subject = Some(subject).filter(|_| is_about_the_question(why));
        self.change(|breaker, now| breaker.failed(since, subject, now)) == Some(false)
    }

    /// It did not answer a request, nor whether it is there; whether it is left alone from now on.
    pub(super) fn given_up(&self, why: &Cause) -> bool {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone_from(why);
        self.change(Breaker::given_up) == Some(false)
    }

    /// Nothing is known of it any more.
    pub(super) fn forget(&self) {
        self.change(|breaker, _| breaker.forget());
    }

    /// Waits until there is something to be done by who watches it, and has asked about `asked` failures in a row already.
    pub(super) async fn duty(&self, asked: &mut u32) -> Duty {
        let mut breaker = self.breaker.subscribe();
        loop {
            let now = *breaker.borrow_and_update();
            if let State::Closed { failures, .. } = now.state {
                *asked = failures.min(*asked);
            }
            let changed = breaker.changed();
            match now.duty(*asked) {
                doubt @ Duty::Doubt { .. } => return doubt,
                // An answer that was under way may come before its rest is over.
                probe @ Duty::Probe { at } => {
                    if timeout_at(at, changed).await.is_err() {
                        return probe;
                    }
                }
                // The sender is our own: the wait does not end with it.
                Duty::Nothing => drop(changed.await),
            }
        }
    }

    /// Why it is left alone.
    pub(super) fn last(&self) -> Cause {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The right to ask whether it is back, where that is due and nobody does.
    pub(super) fn probe(self: &Arc<Self>) -> Option<Probe> {
        let mut due = false;
        self.change(|breaker, now| due = breaker.begin_probe(now));
        due.then(|| Probe(Arc::clone(self)))
    }

    /// Waits for the probe that is under way; whether requests may go there. At once where there is none.
    pub(super) async fn is_back(&self) -> bool {
        let mut breaker = self.breaker.subscribe();
        // The sender is our own: the wait does not end with it.
        let settled = breaker.wait_for(|breaker| breaker.state != State::Probing).await;
        settled.is_ok_and(|breaker| breaker.is_closed())
    }

    /// Waits until requests may go there.
    pub(super) async fn until_well(&self) {
        // The sender is our own: the wait does not end with it.
        let _ = self.breaker.subscribe().wait_for(Breaker::is_closed).await;
    }

    /// What the breaker went to, if it opened (false) or closed (true).
    fn change(&self, change: impl FnOnce(&mut Breaker, Instant)) -> Option<bool> {
        let mut went = None;
        self.breaker.send_if_modified(|breaker| {
            let before = *breaker;
            change(breaker, Instant::now());
            if before.is_closed() != breaker.is_closed() {
                went = Some(breaker.is_closed());
                // Under the lock, so that the figure is the last one's.
                self.up.set(breaker.is_closed());
            }
            *breaker != before
        });
        went
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.breaker.borrow().fmt(f)
    }
}

/// A probe under way. Dropped without a word it found nothing.
pub(super) struct Probe(Arc<Health>);

impl Probe {
    /// It answered.
    pub(super) fn answered(self) {
        self.0.change(|breaker, now| breaker.probed(true, now));
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.change(|breaker, now| breaker.probed(false, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Answered,
        /// Silence.
        Failed,
        /// An answer that is none, about the repository of this number.
        About(u64),
        /// Silence of what was begun at the very beginning.
        Late,
        /// Somebody wants something.
        Wanted,
        ProbeAnswered,
        ProbeFailed,
        /// So many milliseconds pass.
        Wait(u64),
    }
    use Event::*;

    const ONE: Subject = Subject(1);

    /// Whether it is closed after each event, and whether a probe is under way.
    fn play(events: &[Event]) -> String {
        let (mut breaker, mut now) = (Breaker::new(), Instant::now());
        let first = breaker.epoch;
        let mut seen = String::new();
        for event in events {
            match event {
                Answered => breaker.answered(),
                Failed => breaker.failed(breaker.epoch, None, now),
                About(subject) => breaker.failed(breaker.epoch, Some(Subject(*subject)), now),
                Late => breaker.failed(first, None, now),
                Wanted => _ = breaker.begin_probe(now),
                ProbeAnswered => breaker.probed(true, now),
                ProbeFailed => breaker.probed(false, now),
                Wait(ms) => now += Duration::from_millis(*ms),
            }
            seen.push(match breaker.state {
                State::Closed { .. } => 'c',
                State::Open { .. } => 'o',
                State::Probing => 'p',
            });
        }
        seen
    }

    /// The same after three failures, a rest and a probe that was answered.
    fn play_after_a_probe(events: &[Event]) -> String {
        let before = [Failed, Failed, Failed, Wait(1000), Wanted, ProbeAnswered];
        let seen = play(&[&before, events].concat());
        assert_eq!(seen[..6], *"ccoopc");
        seen[6..].to_owned()
    }

    #[tokio::test(start_paused = true)]
    async fn g6_a_breaker_opens_rests_and_closes_as_the_table_says() {
        for (why, events, states) in [
            ("three in a row open it", &[Failed, Failed, Failed][..], "cco"),
            ("an answer in between does not let it", &[Failed, Failed, Answered, Failed, Failed], "ccccc"),
            ("it is not probed before it has rested", &[Failed, Failed, Failed, Wait(999), Wanted], "ccooo"),
            ("then it is, by who wants something", &[Failed, Failed, Failed, Wait(1000), Wanted], "ccoop"),
            ("nobody wants anything: nothing is sent", &[Failed, Failed, Failed, Wait(90_000)], "ccoo"),
            (
                "a probe without an answer opens it for twice as long",
                &[
                    Failed,
                    Failed,
                    Failed,
                    Wait(1000),
                    Wanted,
                    ProbeFailed,
                    Wait(1999),
                    Wanted,
                    Wait(1),
                    Wanted,
                ],
                "ccoopoooop",
            ),
            (
                "an answer that was under way closes it",
                &[Failed, Failed, Failed, Answered, Failed, Failed],
                "ccoccc",
            ),
            (
                "and a failure that was under way with it does not count",
                &[Failed, Failed, Failed, Answered, Failed, Failed, Late, Late],
                "ccoccccc",
            ),
            (
                "a failure that was under way changes nothing",
                &[Failed, Failed, Failed, Failed, Wait(1000), Wanted],
                "ccooop",
            ),
            (
                "nor during a probe",
                &[Failed, Failed, Failed, Wait(1000), Wanted, Failed, ProbeAnswered],
                "ccooppc",
            ),
        ] {
            assert_eq!(play(events), states, "{why}");
        }
        for (why, events, states) in [
            ("one failure more opens it again", &[Failed][..], "o"),
            ("for twice as long", &[Failed, Wait(1999), Wanted, Wait(1), Wanted], "oooop"),
            ("but none that was begun before", &[Late, Late, Late, Late], "cccc"),
            ("and an answer makes all good", &[Answered, Failed, Failed, Failed], "ccco"),
        ] {
            assert_eq!(play_after_a_probe(events), states, "after a probe: {why}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn g6_answers_about_one_repository_keep_nobody_from_the_others() {
        for (why, events, states) in [
            ("one that is always 500", &[About(1), About(1), About(1), About(1), About(1)][..], "ccccc"),
            ("two are the server's", &[About(1), About(1), About(2)], "cco"),
            ("also when the other comes late", &[About(1), About(1), About(1), About(1), About(2)], "cccco"),
            ("two failures are not three", &[About(1), About(2)], "cc"),
            ("silence is the server's", &[About(1), About(1), Failed], "cco"),
            ("and stays so", &[Failed, About(1), About(1)], "cco"),
            ("an answer makes all good", &[About(1), About(2), Answered, About(1), About(1)], "ccccc"),
        ] {
            assert_eq!(play(events), states, "{why}");
        }
        for (why, events, states) in [
            ("one that is always 500", &[About(1), About(1), About(1)][..], "ccc"),
            ("two are the server's", &[About(1), About(2)], "co"),
        ] {
            assert_eq!(play_after_a_probe(events), states, "after a probe: {why}");
        }
    }

    #[test]
    fn g6_what_was_had_at_once_may_be_about_the_question() {
        for (cause, about_the_question) in [
            (Cause::Status(500), true),
            (Cause::Garbage("a page".into()), true),
            (Cause::Connect("refused".into()), false),
            (Cause::ConnectTimeout, false),
            (Cause::HeaderTimeout, false),
            (Cause::IdleTimeout, false),
            (Cause::Cut, false),
            (Cause::Tls("unknown issuer".into()), false),
        ] {
            assert_eq!(is_about_the_question(&cause), about_the_question, "{cause:?}");
        }
    }

    #[test]
    fn g6_who_watches_asks_once_about_each_failure_and_after_each_rest() {
        let now = Instant::now();
        let closed = State::closed;
        for (state, asked, duty) in [
            (closed(0), 0, Duty::Nothing),
            (closed(1), 0, Duty::Doubt { failures: 1 }),
            (closed(1), 1, Duty::Nothing),
            (closed(2), 1, Duty::Doubt { failures: 2 }),
            (State::Probing, 0, Duty::Nothing),
            (State::Open { until: now }, 0, Duty::Probe { at: now }),
        ] {
            assert_eq!(Breaker { state, ..Breaker::new() }.duty(asked), duty, "{state:?} {asked}");
        }
        let mut breaker = Breaker::new();
        breaker.failed(breaker.epoch, None, now);
        breaker.given_up(now);
        assert!(!breaker.is_closed(), "one failure and one question without an answer are enough");
        let open = breaker;
        breaker.given_up(now + LONGEST_REST);
        assert_eq!(breaker, open, "what was under way when it opened says nothing new");
    }

    #[tokio::test(start_paused = true)]
    async fn g6_who_watches_is_called_when_there_is_something_to_do() {
        let health = Arc::new(Health::new(Up::default()));
        let mut asked = 0;
        let failed = || _ = health.failed(&Cause::ConnectTimeout, health.epoch(), ONE);
        let (duty, ()) = tokio::join!(health.duty(&mut asked), async { failed() });
        assert_eq!(duty, Duty::Doubt { failures: 1 });
        asked = 1;
        assert!(health.given_up(&Cause::ConnectTimeout), "it is left alone now");
        let begun = Instant::now();
        let duty = health.duty(&mut asked).await;
        assert_eq!((duty, begun.elapsed()), (Duty::Probe { at: Instant::now() }, FIRST_REST));
        health.probe().expect("it is due").answered();
        asked = u32::MAX;
        let quiet = timeout_at(Instant::now() + LONGEST_REST, health.duty(&mut asked)).await;
        assert!(quiet.is_err(), "what a probe leaves behind is nothing to ask about");
        failed();
        assert!(!health.is_well(), "who has answered one question is believed one failure");
        let old = health.epoch();
        health.forget();
        assert!(health.is_well());
        (0..TRIPS_AT).for_each(|_| _ = health.failed(&Cause::Cut, old, ONE));
        assert!(health.is_well(), "what was begun before says nothing any more");
    }

    #[tokio::test(start_paused = true)]
    async fn the_rests_grow_to_ten_seconds_and_no_further() {
        let (mut breaker, now) = (Breaker::new(), Instant::now());
        let mut rests = Vec::new();
        (0..TRIPS_AT).for_each(|_| breaker.failed(Epoch(0), None, now));
        for _ in 0..40 {
            let State::Open { until } = breaker.state else { panic!("{breaker:?}") };
            rests.push((until - now).as_secs());
            assert!(breaker.begin_probe(until));
            breaker.probed(false, now);
        }
        assert_eq!(rests[..6], [1, 2, 4, 8, 10, 10]);
        assert_eq!(rests[39], 10);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_nowhere_else_to_go_waits_for_the_probe() {
        let health = Arc::new(Health::new(Up::default()));
        let failed = || health.failed(&Cause::ConnectTimeout, health.epoch(), ONE);
        assert!(!failed() && !failed() && failed(), "the third opens it");
        assert_eq!(health.last(), Cause::ConnectTimeout);
        assert!(health.rest().is_some() && health.probe().is_none() && !health.is_back().await);
        tokio::time::advance(FIRST_REST).await;
        let probe = health.probe().expect("it is due");
        assert!(health.probe().is_none(), "one at a time");
        let (back, ()) = tokio::join!(health.is_back(), async { probe.answered() });
        assert!(back && health.is_well());
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_is_given_up_leaves_nobody_waiting() {
        let health = Arc::new(Health::new(Up::default()));
        (0..TRIPS_AT).for_each(|_| _ = health.failed(&Cause::Cut, health.epoch(), ONE));
        tokio::time::advance(FIRST_REST).await;
        let probe = health.probe().expect("it is due");
        let (back, ()) = tokio::join!(health.is_back(), async { drop(probe) });
        assert!(!back && health.rest().is_some());
    }
}
