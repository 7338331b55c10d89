//! Who reads from a fill and what they have still to read, for the order in which it is fetched, and for whether it goes
//! on at all.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::plan::Wanting;

/// The readers of one fill, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Wants {
    state: Mutex<State>,
    /// Whether the fill wants to know how far its readers are, beside who they are.
    watched: AtomicBool,
    /// How many places are wanted at which nobody waits yet.
    later: AtomicUsize,
    changed: Notify,
    over: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    places: Vec<Arc<Place>>,
    clients: usize,
    /// Clients that have received nothing yet: they alone can be given another file.
    untouched: usize,
    /// Somebody has asked for the whole blob, or can be given the end of it only with the whole.
    whole: bool,
    /// The fill is ending because nobody reads from it: who comes now has to start another.
    closed: bool,
}

#[derive(Debug)]
struct Place {
    start: u64,
    position: AtomicU64,
    end: u64,
    /// Nobody waits there yet.
    later: bool,
}

/// One client of a fill, from its request on: counted as untouched until one of its readers has received something.
#[derive(Debug)]
pub(in crate::mirror) struct Client {
    wants: Arc<Wants>,
    touched: AtomicBool,
}

/// One reader's want; gone when dropped.
#[derive(Debug)]
pub(super) struct Want {
    client: Arc<Client>,
    place: Arc<Place>,
    touched: bool,
}

impl Wants {
    /// Counts a client, who may be given another file until it has received something. `whole`: it asks for all of the
    /// blob. None when the fill is ending for want of readers.
    pub(super) fn client(wants: &Arc<Self>, whole: bool) -> Option<Arc<Client>> {
        let mut state = wants.state();
        if state.closed {
            return None;
        }
        state.clients += 1;
        state.untouched += 1;
        state.whole |= whole;
        drop(state);
        wants.changed.notify_one();
        Some(Arc::new(Client { wants: Arc::clone(wants), touched: AtomicBool::new(false) }))
    }

    /// What is still wanted, by whoever came first, first.
    pub(super) fn snapshot(&self) -> Vec<Wanting> {
        let wanting = |place: &Arc<Place>| {
            let position = place.position.load(Ordering::Relaxed);
            // Whoever waits comes before.
            let had = if place.later { u64::MAX } else { position - place.start };
            Wanting { position, end: place.end, had }
        };
        self.state().places.iter().map(wanting).filter(|want| want.position < want.end).collect()
    }

    /// Whether some client has received nothing yet.
    pub(super) fn any_untouched(&self) -> bool {
        self.state().untouched > 0
    }

    /// Whether somebody is about to read in other places than where he is.
    pub(super) fn looks_ahead(&self) -> bool {
        self.later.load(Ordering::Relaxed) > 0
    }

    /// Whether somebody has asked for the whole blob, or needs it, be he still here or not.
    pub(super) fn whole(&self) -> bool {
        self.state().whole
    }

    /// How many clients are here.
    pub(super) fn clients(&self) -> usize {
        self.state().clients
    }

    /// Whether nobody is here.
    pub(super) fn is_unread(&self) -> bool {
        self.state().clients == 0
    }

    /// Takes no client any more, if there is none; whether it is so.
    pub(super) fn close_if_unread(&self) -> bool {
        let mut state = self.state();
        state.closed |= state.clients == 0;
        state.closed
    }

    /// From now on, readers that move on are a change, or are not.
    pub(super) fn watch(&self, watched: bool) {
        self.watched.store(watched, Ordering::Relaxed);
    }

    /// Resolves when a client or a want has come, or a client gone, since the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The fill has ended, one way or the other: nobody looks away any more.
    pub(super) fn end(&self) {
        self.over.cancel();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A reader of this range has come.
    pub(super) fn wants(self: &Arc<Self>, start: u64, end: u64) -> Want {
        self.want(start, end, false)
    }

    /// A reader of this range is about to come.
    pub(super) fn wants_later(self: &Arc<Self>, start: u64, end: u64) -> Want {
        self.wants.later.fetch_add(1, Ordering::Relaxed);
        self.want(start, end, true)
    }

    fn want(self: &Arc<Self>, start: u64, end: u64, later: bool) -> Want {
        let place = Arc::new(Place { start, position: AtomicU64::new(start), end, later });
        self.wants.state().places.push(Arc::clone(&place));
        self.wants.changed.notify_one();
        Want { client: Arc::clone(self), place, touched: false }
    }

    fn touch(&self) {
        if !self.touched.swap(true, Ordering::Relaxed) {
            self.wants.state().untouched -= 1;
        }
    }
}

/// How long each of so many looks away: to wake one and have him send what came costs some 20 us here and as much where he
/// is, and of each connection pieces come up to 200 times a second, or for each MiB. One alone is woken for each piece; up to forty
/// take a thirtieth of a processor for it, and each of more is woken 40 times a second.
fn pause(clients: usize) -> Duration {
    const EACH: Duration = Duration::from_micros(640);
    const LEAST: Duration = Duration::from_millis(1);
    const MOST: Duration = Duration::from_millis(25);
    let pause = EACH.saturating_mul(u32::try_from(clients).unwrap_or(u32::MAX)).min(MOST);
    if pause < LEAST { Duration::ZERO } else { pause }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.touch();
        self.wants.state().clients -= 1;
        self.wants.changed.notify_one();
    }
}

impl Want {
    /// The reader has received everything before `position`.
    pub(super) fn moved_to(&mut self, position: u64) {
        self.touched = true;
        self.client.touch();
        self.looked_to(position);
    }

    /// The reader wants nothing before `position` any more, but has not received it: he can still be given another file.
    pub(super) fn looked_to(&self, position: u64) {
        self.place.position.store(position, Ordering::Relaxed);
        if self.client.wants.watched.load(Ordering::Relaxed) {
            self.client.wants.changed.notify_one();
        }
    }

    /// The reader waits for what can be given to him only when all of the blob is here: it is wanted from now on.
    pub(super) fn all(&self) {
        let wants = &self.client.wants;
        if !std::mem::replace(&mut wants.state().whole, true) {
            wants.changed.notify_one();
        }
    }

    /// For how long the reader lets bytes come together before he looks again. Who has nothing yet does not wait.
    fn pause(&self) -> Duration {
        if self.touched { pause(self.client.wants.clients()) } else { Duration::ZERO }
    }

    /// Resolves when the reader is to look again; at once where the fill ends, since there is nothing more to wait for.
    pub(super) fn look_away(&self) -> impl Future<Output = ()> + Send + use<> {
        let (pause, over) = (self.pause(), self.client.wants.over.clone());
        async move {
            if !pause.is_zero() {
                tokio::select! {
                    () = sleep(pause) => {}
                    () = over.cancelled() => {}
                }
            }
        }
    }

    /// Whether this reader has received something.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        if self.place.later {
            self.client.wants.later.fetch_sub(1, Ordering::Relaxed);
        }
        self.client.wants.state().places.retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_closes_only_when_nobody_reads_and_then_takes_nobody() {
        let wants = Arc::new(Wants::default());
        let client = Wants::client(&wants, false).unwrap();
        assert!(!wants.close_if_unread());
        let second = Wants::client(&wants, true).unwrap();
        drop(client);
        assert!(!wants.is_unread());
        drop(second);
        assert!(wants.is_unread() && wants.whole());
        assert!(wants.close_if_unread());
        assert!(Wants::client(&wants, false).is_none());
    }

    #[test]
    fn one_is_woken_at_once_and_many_share_out_a_part_of_a_processor() {
        for (clients, micros) in
            [(0, 0), (1, 0), (2, 1_280), (7, 4_480), (16, 10_240), (40, 25_000), (usize::MAX, 25_000)]
        {
            assert_eq!(pause(clients), Duration::from_micros(micros), "{clients}");
        }
        let wants = Arc::new(Wants::default());
        let clients: Vec<_> = (0..100).map(|_| Wants::client(&wants, true).unwrap()).collect();
        let mut want = clients[0].wants(0, 10);
        assert_eq!(want.pause(), Duration::ZERO, "the first byte waits for nothing");
        want.moved_to(1);
        assert_eq!(want.pause(), Duration::from_millis(25));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_looks_away_from_a_fill_that_has_ended() {
        let wants = Arc::new(Wants::default());
        let clients: Vec<_> = (0..100).map(|_| Wants::client(&wants, true).unwrap()).collect();
        let mut want = clients[0].wants(0, 10);
        want.moved_to(1);
        let begun = tokio::time::Instant::now();
        let (waiting, ()) = tokio::join!(
            async {
                want.look_away().await;
                begun.elapsed()
            },
            async {
                sleep(Duration::from_millis(5)).await;
                wants.end();
            }
        );
        assert_eq!(waiting, Duration::from_millis(5));
        want.look_away().await;
        assert_eq!(begun.elapsed(), Duration::from_millis(5));
    }

    #[test]
    fn a_want_counts_from_where_it_began_and_goes_with_its_reader() {
        let wants = Arc::new(Wants::default());
        let client = Wants::client(&wants, false).unwrap();
        let mut want = client.wants(100, 200);
        assert!(wants.any_untouched());
        want.moved_to(130);
        assert_eq!(wants.snapshot(), [Wanting { position: 130, end: 200, had: 30 }]);
        assert!(!wants.any_untouched());
        want.moved_to(200);
        assert!(wants.snapshot().is_empty(), "it has all of it");
        drop(want);
        assert!(wants.snapshot().is_empty());
    }

    #[test]
    fn what_is_wanted_later_comes_after_all_who_wait() {
        let wants = Arc::new(Wants::default());
        let client = Wants::client(&wants, false).unwrap();
        let (_later, mut now) = (client.wants_later(500, 600), client.wants(0, 100));
        now.moved_to(50);
        let had: Vec<_> = wants.snapshot().iter().map(|want| (want.position, want.had)).collect();
        assert_eq!(had, [(500, u64::MAX), (50, 50)]);
    }
}
