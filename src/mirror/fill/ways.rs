//! What an upstream's policy makes of a fill at the moment: in how many places it is fetched, how much of it, and whether it
//! goes on at all.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::super::answer::Wanted;
use super::super::policy::{self, Extent, FillPolicy};
use super::crew::Crew;
use super::plan::Ways;
use super::progress::Phase;
use super::table::Fill;

/// Transfers at a time of a blob that is not split: one at the lowest missing byte, one where a reader waits or to follow
/// the first.
const UNSPLIT: usize = 2;

/// How a blob is fetched now. Of an answer in parts as many places are fetched at once as of a blob that is split: or its
/// parts would come one after the other.
pub(super) fn ways(fill: &Fill, policy: FillPolicy, crew: &Crew) -> Ways {
    let split = crew.work.size > policy.split_above && policy.connections > 1 && crew.takes_more();
    Ways {
        slots: if split || fill.wants.looks_ahead() {
            policy.connections
        } else {
            policy.connections.min(UNSPLIT)
        },
        // With one connection for all, who waits first is served first.
        readers_first: policy.connections == 1,
        split,
        whole: is_whole(fill, policy, crew.work.size),
        piece: crew.piece(),
    }
}

/// Whether all of a blob is to be fetched: by the policy, because somebody wants all of it, or because so much of it was
/// asked for that the rest is soon asked for too.
pub(super) fn is_whole(fill: &Fill, policy: FillPolicy, size: u64) -> bool {
    policy.extent == Extent::Whole
        || fill.opening == Wanted::Whole
        || fill.wants.whole()
        || fill.progress.borrow().present.total() >= size.div_ceil(2)
}

/// How long a fill waits for a reader while nobody can be asked for more: the request that has begun it is on its way.
const CUT_OFF_UNREAD: Duration = Duration::from_secs(5);

/// Since when nobody reads from a fill that would pause for that.
#[derive(Default)]
pub(super) struct Unread(Option<Instant>);

impl Unread {
    /// Whether it is to fetch nothing more.
    pub(super) fn is_over(&mut self, fill: &Fill, policy: FillPolicy) -> bool {
        self.deadline(fill, policy).is_some_and(|deadline| deadline <= Instant::now())
    }

    /// When it is to pause, if nobody comes.
    pub(super) fn deadline(&mut self, fill: &Fill, policy: FillPolicy) -> Option<Instant> {
        let size = fill.progress.borrow().size.unwrap_or(u64::MAX);
        let is_cut_off = matches!(fill.progress.borrow().phase, Phase::CutOff(_));
        let may_pause = is_cut_off || policy.unread == policy::Unread::Pause || !is_whole(fill, policy, size);
        if !may_pause || !fill.wants.is_unread() {
            self.0 = None;
            return None;
        }
        let after = if is_cut_off { CUT_OFF_UNREAD } else { policy.unread_after };
        Some(*self.0.get_or_insert_with(Instant::now) + after)
    }
}

/// Pends for ever where there is no deadline.
pub(super) async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}
