//! How many may be here at a time: connections and requests, in all and from one address.
//!
//! Connections beyond their limit are refused at once. Requests beyond theirs wait, in their order, in a line that is bounded
//! as well, and for a bounded time; so a short rush is only slower, and a long one is told honestly to come back. One address
//! can take only a part of all, so that nobody keeps the others out.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

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
    /// Requests that wait for others to end.
    pub waiting: usize,
    /// For how long they wait.
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
    requests: Arc<Count>,
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
}

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
        inner.requests.limit(usize::MAX, limits.requests_of_one);
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
    pub(super) fn connect(&self, address: Option<IpAddr>) -> Result<Seat, Full> {
        self.inner.connections.enter(address)
    }

    /// A turn for a request, perhaps after a while.
    pub(super) async fn ask(&self, address: Option<IpAddr>) -> Result<Turn, Full> {
        let inner = &self.inner;
        let seat = inner.requests.enter(address)?;
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
        let permit = timeout(patience, turns.acquire_owned()).await;
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

/// Whoever has one address of IPv6 has all that begin with the same 64 bits.
fn counted_as(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64))),
        four => four,
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
            waiting: 2,
            patience: Duration::from_secs(5),
        })
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
        assert_eq!(enter("10.0.0.1").unwrap_err(), Full::Address);
        let others = [enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap()];
        assert_eq!(enter("2001:db8::3").unwrap_err(), Full::Address, "they are the same network");
        let last = crowd.connect(None).unwrap();
        assert_eq!(crowd.connect(None).unwrap_err(), Full::All);
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
        assert_eq!(crowd.connect(None).unwrap_err(), Full::All);
        drop(seats);
        assert!(crowd.connect(None).is_ok());
        // Three are here, of one that may be; then four may.
        crowd.limit(of(3, 9));
        let mut here = Vec::new();
        for _ in 0..3 {
            here.push(crowd.ask(None).await.unwrap());
        }
        crowd.limit(of(1, 9));
        here.truncate(1);
        assert_eq!(crowd.ask(None).await.unwrap_err(), Full::All, "one is here still");
        here.clear();
        here.push(crowd.ask(None).await.unwrap());
        assert_eq!(crowd.ask(None).await.unwrap_err(), Full::All);
        crowd.limit(of(0, 9));
        crowd.limit(of(4, 9));
        for _ in 0..3 {
            here.push(crowd.ask(None).await.unwrap());
        }
        assert_eq!(crowd.ask(None).await.unwrap_err(), Full::All);
        here.clear();
        assert_eq!(crowd.inner.turns.available_permits(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_wait_in_a_line_that_ends_and_for_a_time_that_ends() {
        let crowd = crowd();
        let first = crowd.ask(from("10.0.0.1")).await.unwrap();
        let _second = crowd.ask(from("10.0.0.1")).await.unwrap();
        assert_eq!(crowd.ask(from("10.0.0.1")).await.unwrap_err(), Full::Address);
        let _third = crowd.ask(from("10.0.0.2")).await.unwrap();
        let wait = |address: &'static str| {
            let crowd = crowd.clone();
            tokio::spawn(async move { crowd.ask(from(address)).await })
        };
        let (served, late) = (wait("10.0.0.3"), wait("10.0.0.4"));
        while crowd.inner.waiting.load(Ordering::Relaxed) < 2 {
            tokio::task::yield_now().await;
        }
        let begun = Instant::now();
        assert_eq!(crowd.ask(from("10.0.0.5")).await.unwrap_err(), Full::All, "the line is full");
        assert_eq!(begun.elapsed(), Duration::ZERO);
        drop(first);
        let _served = served.await.unwrap().unwrap();
        assert_eq!(late.await.unwrap().unwrap_err(), Full::All);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
        assert_eq!(crowd.inner.waiting.load(Ordering::Relaxed), 0);
    }
}
