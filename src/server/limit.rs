//! How many may be here at a time, connections and requests, in all and from one address; and how often one may come.
//!
//! Connections beyond their limit are refused at once. Requests beyond theirs wait, in their order, in a line that is bounded
//! as well, and for a bounded time; so a short rush is only slower, and a long one is told honestly to come back. One address
//! can take only a part of all, so that nobody keeps the others out, and no more of the processors than its pace
//! ([`super::pace`]) lets through.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep, timeout_at};

use super::pace::{Visit, Visits, counted_as};

/// How many may be here at a time.
#[derive(Clone, Copy, Debug)]
pub struct CrowdLimits {
    /// Connections in all.
    pub connections: usize,
    /// Connections of one address.
    pub connections_of_one: usize,
    /// Requests in all, from their head to the end of their answer.
    pub requests: usize,
    /// Requests of one address.
    pub requests_of_one: usize,
    /// New connections a second of one address; zero: as many as come.
    pub connection_rate_of_one: usize,
    /// Requests a second of one address; zero: as many as come.
    pub request_rate_of_one: usize,
    /// Requests that wait for others to end.
    pub waiting: usize,
    /// For how long anybody waits.
    pub patience: Duration,
}

/// Who is here. Clones are the same.
#[derive(Clone, Debug)]
pub struct Crowd {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limits: RwLock<CrowdLimits>,
    connections: Arc<Count>,
    connecting: Visits,
    requests: Arc<Count>,
    asking: Visits,
    turns: Arc<Semaphore>,
    /// Turns that are to end with whoever has them, since fewer are allowed than are taken.
    owed: AtomicUsize,
    waiting: AtomicUsize,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    /// That of all.
    All,
    /// That of the address.
    Address,
    /// That of how often the address comes.
    Often {
        /// After how long it would be let in.
        again: Duration,
    },
}

/// A place for a connection.
#[derive(Debug)]
pub(super) struct Place {
    /// It is taken until this is dropped.
    pub(super) seat: Seat,
    /// For how long it is held back before it is looked at.
    pub(super) wait: Duration,
}

/// A connection that is not let in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) full: Full,
    /// Whether it is worth telling: not to an address that comes as fast as it can.
    pub(super) told: bool,
}

/// As how many connections one counts that came to no good: what it sent was no request, or TLS could not be agreed on.
const BLAME: u32 = 10;

/// The place of a request, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _seat: Seat,
    permit: Option<OwnedSemaphorePermit>,
    crowd: Crowd,
}

impl Crowd {
    /// Nobody is here yet.
    #[must_use]
    pub fn new(limits: CrowdLimits) -> Self {
        let inner = Inner {
            connections: Count::new(limits.connections, limits.connections_of_one),
            connecting: Visits::new(limits.connection_rate_of_one, limits.patience),
            asking: Visits::new(limits.request_rate_of_one, limits.patience),
            // In all they are counted by their turns.
            requests: Count::new(usize::MAX, limits.requests_of_one),
            turns: Arc::new(Semaphore::new(turns(&limits))),
            owed: AtomicUsize::new(0),
            waiting: AtomicUsize::new(0),
            limits: RwLock::new(limits),
        };
        Self { inner: Arc::new(inner) }
    }

    /// From now on so many. Whoever is here stays; where that is more, nobody comes in until enough have gone.
    pub fn limit(&self, limits: CrowdLimits) {
        let inner = &self.inner;
        let mut now = inner.limits.write().unwrap_or_else(PoisonError::into_inner);
        inner.connections.limit(limits.connections, limits.connections_of_one);
        inner.connecting.limit(limits.connection_rate_of_one, limits.patience);
        inner.requests.limit(usize::MAX, limits.requests_of_one);
        inner.asking.limit(limits.request_rate_of_one, limits.patience);
        let (before, after) = (turns(&now), turns(&limits));
        if after < before {
            let gone = inner.turns.forget_permits(before - after);
            inner.owed.fetch_add(before - after - gone, Ordering::Relaxed);
        } else {
            let mut more = after - before;
            while more > 0 && inner.pay() {
                more -= 1;
            }
            inner.turns.add_permits(more);
        }
        *now = limits;
    }

    /// A place for a connection; `address` is `None` where nobody counts whose it is.
    pub(super) fn connect(&self, address: Option<IpAddr>) -> Result<Place, Away> {
        let Inner { connections, connecting, .. } = &*self.inner;
        let seat = connections.enter(address);
        let seat = seat.map_err(|full| Away { full, told: connecting.visit_now(address) })?;
        match connecting.visit(address) {
            Visit::Now => Ok(Place { seat, wait: Duration::ZERO }),
            Visit::After(wait) => Ok(Place { seat, wait }),
            Visit::Refused(again) => Err(Away { full: Full::Often { again }, told: false }),
        }
    }

    /// A connection from there came to no good.
    pub(super) fn blame(&self, address: Option<IpAddr>) {
        self.inner.connecting.blame(address, BLAME - 1);
    }

    /// A turn for a request, if there is one now, and its address does not ask too often.
    pub(super) fn ask_now(&self, address: Option<IpAddr>) -> Option<Turn> {
        let seat = self.inner.requests.enter(address).ok()?;
        let permit = Arc::clone(&self.inner.turns).try_acquire_owned().ok()?;
        let turn = Turn { _seat: seat, permit: Some(permit), crowd: self.clone() };
        self.inner.asking.visit_now(address).then_some(turn)
    }

    /// A turn for a request, perhaps after a while; `held` is called where its address asks too often.
    pub(super) async fn ask(&self, address: Option<IpAddr>, held: impl FnOnce()) -> Result<Turn, Full> {
        let inner = &self.inner;
        let begun = Instant::now();
        let seat = inner.requests.enter(address)?;
        match inner.asking.visit(address) {
            Visit::Now => {}
            Visit::After(wait) => {
                held();
                sleep(wait).await;
            }
            Visit::Refused(again) => return Err(Full::Often { again }),
        }
        let turns = Arc::clone(&inner.turns);
        let turn = |permit| Turn { _seat: seat, permit: Some(permit), crowd: self.clone() };
        if let Ok(permit) = Arc::clone(&turns).try_acquire_owned() {
            return Ok(turn(permit));
        }
        let CrowdLimits { waiting: most, patience, .. } =
            *inner.limits.read().unwrap_or_else(PoisonError::into_inner);
        let waiting = Waiting(&inner.waiting);
        if inner.waiting.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(Full::All);
        }
        let permit = timeout_at(begun + patience, turns.acquire_owned()).await;
        drop(waiting);
        permit.ok().and_then(Result::ok).map(turn).ok_or(Full::All)
    }
}

impl Inner {
    /// Whether a turn is owed; it is not any more.
    fn pay(&self) -> bool {
        let less = |owed: usize| owed.checked_sub(1);
        self.owed.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if self.crowd.inner.pay()
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
        }
    }
}

fn turns(limits: &CrowdLimits) -> usize {
    limits.requests.min(Semaphore::MAX_PERMITS)
}

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many are here, and how many of them from where.
#[derive(Debug)]
struct Count {
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    most: usize,
    most_of_one: usize,
    all: usize,
    by: HashMap<IpAddr, usize>,
}

/// A place that is taken, until it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    count: Arc<Count>,
    address: Option<IpAddr>,
}

impl Count {
    fn new(most: usize, most_of_one: usize) -> Arc<Self> {
        Arc::new(Self { now: Mutex::new(Now { most, most_of_one, ..Now::default() }) })
    }

    fn limit(&self, most: usize, most_of_one: usize) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        (now.most, now.most_of_one) = (most, most_of_one);
    }

    fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, Full> {
        let address = address.map(counted_as);
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if now.all >= now.most {
            return Err(Full::All);
        }
        if let Some(address) = address {
            let of_one = now.by.get(&address).copied().unwrap_or(0);
            if of_one >= now.most_of_one {
                return Err(Full::Address);
            }
            now.by.insert(address, of_one + 1);
        }
        now.all += 1;
        Ok(Seat { count: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut now = self.count.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.all -= 1;
        if let Some(address) = self.address
            && let Entry::Occupied(mut of_one) = now.by.entry(address)
        {
            *of_one.get_mut() -= 1;
            if *of_one.get() == 0 {
                of_one.remove();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    fn crowd() -> Crowd {
        Crowd::new(CrowdLimits {
            connections: 5,
            connections_of_one: 2,
            requests: 3,
            requests_of_one: 2,
            connection_rate_of_one: 0,
            request_rate_of_one: 0,
            waiting: 2,
            patience: Duration::from_secs(5),
        })
    }

    fn full<T: std::fmt::Debug>(entered: Result<T, Away>) -> Full {
        entered.unwrap_err().full
    }

    async fn ask(crowd: &Crowd, address: Option<IpAddr>) -> Result<Turn, Full> {
        crowd.ask(address, || {}).await
    }

    fn from(address: &str) -> Option<IpAddr> {
        Some(address.parse().unwrap())
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address_and_their_places_come_back() {
        let crowd = crowd();
        let enter = |address| crowd.connect(from(address));
        let one = enter("10.0.0.1").unwrap();
        let two = enter("::ffff:10.0.0.1").unwrap();
        assert_eq!(full(enter("10.0.0.1")), Full::Address);
        let others = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert_eq!(full(enter("2001:db8::3")), Full::Address, "they are the same network");
        let last = crowd.connect(None).unwrap();
        assert_eq!(full(crowd.connect(None)), Full::All);
        drop(one);
        assert!(enter("10.0.0.2").is_ok());
        drop((two, others, last));
        let now = crowd.inner.connections.now.lock().unwrap();
        assert_eq!((now.all, now.by.len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn other_limits_count_at_once_and_whoever_is_here_stays() {
        let crowd = crowd();
        let limits = *crowd.inner.limits.read().unwrap();
        let of = |requests, connections| CrowdLimits { requests, connections, requests_of_one: 9, ..limits };
        let seats = [crowd.connect(None).unwrap(), crowd.connect(None).unwrap()];
        crowd.limit(of(1, 1));
        assert_eq!(full(crowd.connect(None)), Full::All);
        drop(seats);
        assert!(crowd.connect(None).is_ok());
        // Three are here, of one that may be; then four may.
        crowd.limit(of(3, 9));
        let mut here = Vec::new();
        for _ in 0..3 {
            here.push(ask(&crowd, None).await.unwrap());
        }
        crowd.limit(of(1, 9));
        here.truncate(1);
        assert_eq!(ask(&crowd, None).await.unwrap_err(), Full::All, "one is here still");
        here.clear();
        here.push(ask(&crowd, None).await.unwrap());
        assert_eq!(ask(&crowd, None).await.unwrap_err(), Full::All);
        crowd.limit(of(0, 9));
        crowd.limit(of(4, 9));
        for _ in 0..3 {
            here.push(ask(&crowd, None).await.unwrap());
        }
        assert_eq!(ask(&crowd, None).await.unwrap_err(), Full::All);
        here.clear();
        assert_eq!(crowd.inner.turns.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_a_line_that_ends_and_for_a_time_that_ends() {
        let crowd = crowd();
        let first = ask(&crowd, from("10.0.0.1")).await.unwrap();
        let _second = ask(&crowd, from("10.0.0.1")).await.unwrap();
        assert_eq!(ask(&crowd, from("10.0.0.1")).await.unwrap_err(), Full::Address);
        let _third = ask(&crowd, from("10.0.0.2")).await.unwrap();
        let wait = |address: &'static str| {
            let crowd = crowd.clone();
            tokio::spawn(async move { ask(&crowd, from(address)).await })
        };
        let (served, late) = (wait("10.0.0.3"), wait("10.0.0.4"));
        while crowd.inner.waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        assert_eq!(ask(&crowd, from("10.0.0.5")).await.unwrap_err(), Full::All, "the line is full");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(first);
        let _served = served.await.unwrap().unwrap();
        assert_eq!(late.await.unwrap().unwrap_err(), Full::All);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert_eq!(crowd.inner.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_comes_too_often_is_held_back_and_then_refused_without_a_word() {
        let crowd = crowd();
        let limits = *crowd.inner.limits.read().unwrap();
        let many =
            CrowdLimits { connections: 100, connections_of_one: 100, connection_rate_of_one: 2, ..limits };
        crowd.limit(many);
        let mut here = Vec::new();
        let away = loop {
            match crowd.connect(from("10.0.0.1")) {
                Ok(place) => here.push(place),
                Err(away) => break away,
            }
        };
        let again = Duration::from_millis(5500);
        assert_eq!(away, Away { full: Full::Often { again }, told: false });
        let held = here.iter().filter(|place| !place.wait.is_zero()).count();
        assert_eq!((here.len(), held), (30, 10), "ten seconds' worth at once, five seconds' worth held back");
        assert!(crowd.connect(from("10.0.0.2")).unwrap().wait.is_zero());
        crowd.blame(from("10.0.0.2"));
        crowd.blame(from("10.0.0.2"));
        let held = crowd.connect(from("10.0.0.2")).unwrap().wait;
        assert_eq!(held, Duration::ZERO, "ten seconds are taken, of ten and five");
        let held = crowd.connect(from("10.0.0.2")).unwrap().wait;
        assert_eq!(held, Duration::from_millis(500));
        drop(here);
        let now = crowd.inner.connections.now.lock().unwrap();
        assert_eq!((now.all, now.by.len()), (0, 0), "no place is kept by whoever was refused");
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_refused_for_how_many_are_here_is_told_so_at_its_pace_alone() {
        let crowd = crowd();
        let limits = *crowd.inner.limits.read().unwrap();
        crowd.limit(CrowdLimits { connection_rate_of_one: 1, ..limits });
        let _here = [crowd.connect(from("10.0.0.1")).unwrap(), crowd.connect(from("10.0.0.1")).unwrap()];
        let told = || (0..100).filter(|_| crowd.connect(from("10.0.0.1")).unwrap_err().told).count();
        assert_eq!((told(), told()), (8, 0));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(told(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_that_come_too_often_are_held_back_within_the_patience_of_all_waits() {
        let crowd = crowd();
        let limits = *crowd.inner.limits.read().unwrap();
        crowd.limit(CrowdLimits { requests: 1, requests_of_one: 99, request_rate_of_one: 1, ..limits });
        let begun = Instant::now();
        for _ in 0..13 {
            drop(ask(&crowd, from("10.0.0.1")).await.unwrap());
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(3));
        drop(ask(&crowd, from("10.0.0.2")).await.unwrap());
        let _here = ask(&crowd, from("10.0.0.2")).await.unwrap();
        let waits = Instant::now();
        assert_eq!(ask(&crowd, from("10.0.0.1")).await.unwrap_err(), Full::All);
        assert_eq!(waits.elapsed(), Duration::from_secs(5), "one second for its pace, four for a turn");
        let many = (0..12).map(|_| ask(&crowd, from("10.0.0.1")));
        let refused = futures_util::future::join_all(many).await;
        assert!(refused.iter().any(|ended| matches!(ended, Err(Full::Often { .. }))), "{refused:?}");
    }
}
