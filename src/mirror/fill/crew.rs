//! The transfers of a fill that are under way.

use std::ops::Range;
use std::sync::Arc;

use tokio::task::{self, Id, JoinSet};

use crate::upstream::Transfer;

use super::fetch::{Ended, Order, Work};
use super::source::Source;

/// The transfers under way.
pub(super) struct Crew {
    pub(super) work: Arc<Work>,
    pub(super) transfers: JoinSet<(Id, Source, Ended)>,
    under_way: Vec<(Id, Range<u64>)>,
    /// Upstream sends the whole blob or nothing, so one transfer at a time.
    pub(super) sequential: bool,
}

impl Crew {
    pub(super) fn new(work: Arc<Work>) -> Self {
        Self { work, transfers: JoinSet::new(), under_way: Vec::new(), sequential: false }
    }

    pub(super) fn send(&mut self, source: Source, range: Range<u64>, running: Option<Box<Transfer>>) {
        let sequential = self.sequential;
        let order = Order { source: source.clone(), range: range.clone(), running, sequential };
        let work = Arc::clone(&self.work);
        let handle = self.transfers.spawn(async move { (task::id(), source, order.run(work).await) });
        self.under_way.push((handle.id(), range));
    }

    /// What is on its way.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.under_way.iter().map(|(_, range)| range.clone()).collect()
    }

    /// A transfer has ended; what it was to bring.
    pub(super) fn forget(&mut self, id: Id) -> Option<Range<u64>> {
        let at = self.under_way.iter().position(|(other, _)| *other == id)?;
        Some(self.under_way.swap_remove(at).1)
    }

    /// Calls all transfers off, and waits until none of their bytes are on their way to the file: what comes late
    /// would lie over bytes that are hashed already.
    pub(super) async fn recall(&mut self) {
        self.transfers.shutdown().await;
        self.under_way.clear();
        self.work.writes.close();
        self.work.writes.wait().await;
        self.work.writes.reopen();
    }
}
