//! Where an object's bytes were found: by which endpoint, and at which storage it redirected to.
//!
//! An endpoint that broke off is asked last from then on, for as long as this object is fetched, whatever it says when it
//! is asked: the next one goes on at the byte that was reached. One that means something else by the object's digest is not
//! asked any more, until the object is begun anew.
//!
//! A signed URL is resolved once a fill, is asked directly from then on, and is resolved again when it refuses: by one
//! transfer for all that run at that moment. A registry that does not redirect keeps nobody waiting.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use url::Url;

/// Where the bytes of one object were found, for as long as they are fetched. Storage is asked directly the next time, and
/// forgotten when it refuses, because signed URLs expire. Never stored. Clones are the same.
#[derive(Clone, Default)]
pub struct Whereabouts(Arc<Parts>);

#[derive(Default)]
struct Parts {
    /// The endpoint to begin with, by its place in the list.
    first: AtomicUsize,
    /// The endpoints that are not asked any more, by their places.
    left_out: Mutex<BTreeSet<usize>>,
    found: watch::Sender<Found>,
}

#[derive(Default)]
struct Found {
    target: Option<Storage>,
    /// Whether somebody asks the registry anew; the others wait for what it says.
    being_asked: bool,
}

/// Where a redirect led.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Storage {
    pub(super) url: Url,
    /// The endpoint that redirected there, by its place in the list.
    pub(super) by: usize,
}

/// Where to ask.
pub(super) enum Way<'a> {
    /// The storage that was found.
    Storage(Storage),
    /// The registry; where there is an [`Asking`], for the others too.
    Registry(Option<Asking<'a>>),
}

/// Asks the registry for all. Dropped without a word it lets the others go on by themselves.
pub(super) struct Asking<'a>(&'a Whereabouts);

impl Whereabouts {
    /// The endpoint to begin with.
    pub(super) fn first(&self) -> usize {
        self.0.first.load(Ordering::Relaxed)
    }

    /// A body that came by this endpoint broke off. Where there is another, that is asked from now on.
    pub(super) fn leave(&self, place: usize, endpoints: usize) {
        if endpoints < 2 {
            return;
        }
        // Of several bodies that broke at once, one moves on.
        let next = (place + 1) % endpoints;
        let _ = self.0.first.compare_exchange(place, next, Ordering::Relaxed, Ordering::Relaxed);
        self.0.found.send_if_modified(|found| {
            let left = found.target.as_ref().is_some_and(|storage| storage.by == place);
            if left {
                found.target = None;
            }
            left
        });
    }

    /// What comes by this endpoint is something else: it is not asked for this object any more. Whether there is another.
    pub(super) fn leave_out(&self, place: usize, endpoints: usize) -> bool {
        self.leave(place, endpoints);
        let mut left_out = self.left_out();
        left_out.insert(place);
        left_out.len() < endpoints
    }

    /// Whether this endpoint is not asked any more.
    pub(super) fn is_left_out(&self, place: usize) -> bool {
        self.left_out().contains(&place)
    }

    /// The object is begun anew: all may be asked for it again.
    pub fn begin_anew(&self) {
        self.left_out().clear();
    }

    fn left_out(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.0.left_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to ask, after `refused` has refused. Who is the first to say so of what is remembered asks the registry; the
    /// others get what it finds.
    pub(super) async fn way(&self, refused: Option<&Storage>) -> Way<'_> {
        loop {
            if let Some(way) = self.way_now(refused) {
                return way;
            }
            let mut found = self.0.found.subscribe();
            // The sender is our own: the wait does not end with it.
            let _ = found.wait_for(|found| !found.being_asked).await;
        }
    }

    /// `None`: somebody is asking.
    fn way_now(&self, refused: Option<&Storage>) -> Option<Way<'_>> {
        let mut way = None;
        self.0.found.send_if_modified(|found| {
            way = match &found.target {
                _ if found.being_asked => None,
                None => Some(Way::Registry(None)),
                Some(target) if Some(target) == refused => {
                    *found = Found { target: None, being_asked: true };
                    Some(Way::Registry(Some(Asking(self))))
                }
                Some(target) => Some(Way::Storage(target.clone())),
            };
            false
        });
        way
    }

    /// The bytes were found there.
    pub(super) fn remember(&self, target: Storage) {
        self.0.found.send_modify(|found| found.target = Some(target));
    }

    /// This target refused, and nobody is going to ask for another now.
    pub(super) fn forget(&self, target: &Storage) {
        self.0.found.send_if_modified(|found| {
            let known = found.target.as_ref() == Some(target);
            if known {
                found.target = None;
            }
            known
        });
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.0.found.send_modify(|found| found.being_asked = false);
    }
}

impl fmt::Debug for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The query of the target is a signature.
        let found = self.0.found.borrow().target.is_some();
        f.debug_struct("Whereabouts")
            .field("first", &self.first())
            .field("found", &found)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn url(name: &str) -> Storage {
        by(name, 0)
    }

    fn by(name: &str, by: usize) -> Storage {
        Storage { url: format!("https://cdn.example/{name}?sig=hidden").parse().expect("a URL"), by }
    }

    /// Where to, in a word; `None`: it waits.
    fn way<'a>(memo: &'a Whereabouts, refused: Option<&Storage>) -> Option<Way<'a>> {
        memo.way(refused).now_or_never()
    }

    #[test]
    fn t55_one_asks_anew_and_the_others_use_what_it_finds() {
        let memo = Whereabouts::default();
        assert!(
            matches!(way(&memo, None), Some(Way::Registry(None))),
            "nobody waits where nothing was found"
        );
        memo.remember(url("1"));
        assert!(matches!(way(&memo, None), Some(Way::Storage(there)) if there == url("1")));
        let Some(Way::Registry(Some(asking))) = way(&memo, Some(&url("1"))) else { panic!("the first asks") };
        assert!(way(&memo, Some(&url("1"))).is_none(), "another that it refused waits");
        assert!(way(&memo, None).is_none(), "and so does who comes now");
        memo.remember(url("2"));
        drop(asking);
        for refused in [Some(url("1")), None] {
            assert!(
                matches!(way(&memo, refused.as_ref()), Some(Way::Storage(there)) if there == url("2")),
                "what was found is not resolved again by who was late"
            );
        }
    }

    #[test]
    fn t55_who_asks_and_leaves_keeps_nobody_waiting() {
        let memo = Whereabouts::default();
        memo.remember(url("1"));
        let one = url("1");
        let asking = way(&memo, Some(&one));
        let mut waits = Box::pin(memo.way(Some(&one)));
        assert!((&mut waits).now_or_never().is_none());
        drop(asking);
        assert!(matches!(waits.now_or_never(), Some(Way::Registry(None))));
    }

    #[test]
    fn t55_only_the_target_that_refused_is_forgotten() {
        let memo = Whereabouts::default();
        memo.remember(url("2"));
        memo.forget(&url("1"));
        assert!(matches!(way(&memo, None), Some(Way::Storage(there)) if there == url("2")));
        memo.forget(&url("2"));
        assert!(matches!(way(&memo, None), Some(Way::Registry(None))));
    }

    #[test]
    fn g6_an_endpoint_that_broke_off_is_left_with_its_storage() {
        let memo = Whereabouts::default();
        memo.remember(by("1", 0));
        memo.leave(0, 1);
        assert_eq!(memo.first(), 0, "there is no other");
        assert!(matches!(way(&memo, None), Some(Way::Storage(_))), "storage may be in order all the same");
        memo.leave(0, 3);
        memo.leave(0, 3);
        assert_eq!(memo.first(), 1, "two bodies that broke at once leave one endpoint");
        assert!(matches!(way(&memo, None), Some(Way::Registry(None))));
        memo.remember(by("2", 1));
        memo.leave(0, 3);
        assert_eq!(memo.first(), 1, "late news of the one before");
        assert!(matches!(way(&memo, None), Some(Way::Storage(there)) if there == by("2", 1)));
        memo.leave(1, 3);
        memo.leave(2, 3);
        assert_eq!(memo.first(), 0, "and round again");
    }

    #[test]
    fn g2_an_endpoint_that_means_something_else_is_left_out_until_all_is_begun_anew() {
        let memo = Whereabouts::default();
        memo.leave(0, 2);
        assert!(memo.leave_out(1, 2), "there is the one before");
        assert_eq!((memo.first(), memo.is_left_out(0), memo.is_left_out(1)), (0, false, true));
        assert!(!memo.leave_out(0, 2), "nobody is left");
        memo.begin_anew();
        assert!(!memo.is_left_out(0) && !memo.is_left_out(1));
        assert!(!memo.leave_out(0, 1), "there is no other");
    }

    #[test]
    fn g9_a_memo_does_not_show_a_signature() {
        let memo = Whereabouts::default();
        memo.remember(url("1"));
        assert!(!format!("{memo:?}").contains("hidden"));
    }
}
