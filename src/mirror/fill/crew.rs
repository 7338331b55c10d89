//! The transfers of a fill that are under way, and the connection that the next one waits for.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use tokio::task::{self, Id, JoinSet};
use tokio::time::Instant;

use crate::upstream::{Share, Trail, Transfer, Turn};

use super::fetch::{Ended, Order, Work};
use super::pace::{Load, Pace};
use super::source::Source;

/// The transfers under way.
pub(super) struct Crew {
    pub(super) work: Arc<Work>,
    /// Upstream sends the whole blob or nothing, so one transfer at a time.
    pub(super) sequential: bool,
    pub(super) transfers: JoinSet<(Id, Done)>,
    pub(super) waiting: Waiting,
    /// The last transfer that was sent out went to the lowest missing byte, and was the only one then.
    pub(super) prefix_was_last: bool,
    under_way: Vec<Leg>,
    pace: Pace,
    load: Load,
}

/// A transfer that has ended, and what it gives back.
pub(super) struct Done {
    pub(super) source: Source,
    pub(super) turn: Turn,
    pub(super) ended: Ended,
}

struct Leg {
    id: Id,
    range: Range<u64>,
    since: Instant,
}

/// The connection that is to come, if one is wanted.
#[derive(Default)]
pub(super) struct Waiting(Option<Wanted>);

struct Wanted {
    source: Source,
    range: Option<Range<u64>>,
    turn: Pin<Box<dyn Future<Output = Turn> + Send>>,
}

impl Waiting {
    /// The connection that was waited for; pends while none is.
    pub(super) async fn ready(&mut self) -> Ready {
        let turn = match &mut self.0 {
            Some(wanted) => wanted.turn.as_mut().await,
            None => std::future::pending().await,
        };
        match self.0.take() {
            Some(Wanted { source, range, .. }) => Ready { source, range, turn },
            None => std::future::pending().await,
        }
    }
}

/// A connection to fetch something by.
pub(super) struct Ready {
    pub(super) source: Source,
    /// What is to be fetched, unless the plan says that.
    pub(super) range: Option<Range<u64>>,
    pub(super) turn: Turn,
}

impl Crew {
    pub(super) fn new(work: Arc<Work>) -> Self {
        Self {
            work,
            sequential: false,
            transfers: JoinSet::new(),
            waiting: Waiting::default(),
            prefix_was_last: false,
            under_way: Vec::new(),
            pace: Pace::default(),
            load: Load::default(),
        }
    }

    /// How many transfers are under way.
    pub(super) fn busy(&self) -> usize {
        self.under_way.len()
    }

    /// How much to ask for at once.
    pub(super) fn piece(&self) -> u64 {
        self.pace.piece()
    }

    /// Whether more connections would bring more, as far as is known by now.
    pub(super) fn takes_more(&self) -> bool {
        self.load.takes_more()
    }

    /// Looks at how busy the disk is with this fill; when to look again.
    pub(super) fn look(&mut self) -> Option<Instant> {
        self.load.look(Instant::now(), self.work.busy());
        self.load.look_at()
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.waiting.0.is_some()
    }

    /// Waits for a connection from now on, while the others go on. It is for `range`, or for what the plan says then.
    pub(super) fn wait_for_turn(&mut self, source: Source, range: Option<Range<u64>>, share: &Share) {
        let (site, share) = (Arc::clone(&source.site), share.clone());
        let turn = Box::pin(async move { site.upstream().turn(&share).await });
        self.waiting = Waiting(Some(Wanted { source, range, turn }));
    }

    /// Waits for no connection any more.
    pub(super) fn leave_queue(&mut self) {
        self.waiting = Waiting::default();
    }

    pub(super) fn send(
        &mut self,
        source: Source,
        range: Range<u64>,
        turn: Turn,
        running: Option<Box<Transfer>>,
    ) {
        let sequential = self.sequential;
        self.load.begin(Instant::now(), self.work.busy());
        let order = Order { source: source.clone(), range: range.clone(), running, sequential };
        let work = Arc::clone(&self.work);
        let handle = self.transfers.spawn(Trail::carried(async move {
            let ended = order.run(work, &turn).await;
            (task::id(), Done { source, turn, ended })
        }));
        self.under_way.push(Leg { id: handle.id(), range, since: Instant::now() });
    }

    /// Takes a transfer that has ended out of the list; what it was to bring.
    pub(super) fn settle(&mut self, id: Id, ended: &Ended) -> Range<u64> {
        let Some(at) = self.under_way.iter().position(|leg| leg.id == id) else { return 0..self.work.size };
        let leg = self.under_way.swap_remove(at);
        if matches!(ended, Ended::Done) {
            self.pace.note(leg.range.end - leg.range.start, leg.since.elapsed());
        }
        leg.range
    }

    /// What is on its way.
    pub(super) fn ranges(&self) -> Vec<Range<u64>> {
        self.under_way.iter().map(|leg| leg.range.clone()).collect()
    }

    /// Calls all transfers off, and waits until none of their bytes are on their way to the file: what comes late
    /// would lie over bytes that are hashed already.
    pub(super) async fn recall(&mut self) {
        self.waiting = Waiting::default();
        self.transfers.shutdown().await;
        self.under_way.clear();
        self.work.writes.close();
        self.work.writes.wait().await;
        self.work.writes.reopen();
    }
}
