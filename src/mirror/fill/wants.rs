//! What the readers of a fill have still to read, for the order in which it is fetched.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The wants of all readers of one fill, in the order in which the readers came.
#[derive(Debug, Default)]
pub(super) struct Wants {
    list: Mutex<Vec<Arc<Place>>>,
    /// Clients that have received nothing yet: they alone can be given another file.
    untouched: AtomicUsize,
    changed: Notify,
}

#[derive(Debug)]
struct Place {
    position: AtomicU64,
    end: u64,
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
    /// Counts a client, who may be given another file until it has received something.
    pub(super) fn client(wants: &Arc<Self>) -> Arc<Client> {
        wants.untouched.fetch_add(1, Ordering::Relaxed);
        Arc::new(Client { wants: Arc::clone(wants), touched: AtomicBool::new(false) })
    }

    /// What is still wanted, by whoever came first, first.
    pub(super) fn snapshot(&self) -> Vec<Range<u64>> {
        let list = self.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.iter()
            .map(|place| place.position.load(Ordering::Relaxed)..place.end)
            .filter(|want| want.start < want.end)
            .collect()
    }

    /// Whether some client has received nothing yet.
    pub(super) fn any_untouched(&self) -> bool {
        self.untouched.load(Ordering::Relaxed) > 0
    }

    /// Resolves when a want has come since the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Client {
    pub(super) fn wants(self: &Arc<Self>, start: u64, end: u64) -> Want {
        let place = Arc::new(Place { position: AtomicU64::new(start), end });
        self.wants.list.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&place));
        self.wants.changed.notify_one();
        Want { client: Arc::clone(self), place, touched: false }
    }

    fn touch(&self) {
        if !self.touched.swap(true, Ordering::Relaxed) {
            self.wants.untouched.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.touch();
    }
}

impl Want {
    /// The reader has received everything before `position`.
    pub(super) fn moved_to(&mut self, position: u64) {
        self.place.position.store(position, Ordering::Relaxed);
        self.touched = true;
        self.client.touch();
    }

    /// Whether this reader has received something.
    pub(super) fn touched(&self) -> bool {
        self.touched
    }
}

impl Drop for Want {
    fn drop(&mut self) {
        let mut list = self.client.wants.list.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|place| !Arc::ptr_eq(place, &self.place));
    }
}
