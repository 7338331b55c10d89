//! The middle of a fill: keeps transfers running, by what is present, who waits and which connections there are.

use std::ops::Range;
use std::sync::Arc;

use tokio::task::{Id, JoinError};

use crate::oci::Digest;

use super::super::answer::{Refusal, Wanted};
use super::super::policy::FillPolicy;
use super::coding::Reading;
use super::crew::{Crew, Done, Ready};
use super::driver::{Driver, End};
use super::fetch::Ended;
use super::plan::{self, Outlook, Ways};
use super::progress::Phase;
use super::recorder::Recorder;
use super::sink;
use super::ways::{Unread, until, ways};

/// How much has to come before a plan is made anew that had nothing more to fetch.
const PLAN_EVERY: u64 = 1 << 20;

impl Driver {
    /// Fetches until the verdict on the whole is there, or nothing can be fetched any more.
    pub(super) async fn fill_up(
        &self,
        crew: &mut Crew,
        recorder: &mut Recorder,
        policy: FillPolicy,
    ) -> Result<(), End> {
        let sink = Arc::clone(&crew.work.sink);
        let verdict = sink.verdict();
        tokio::pin!(verdict);
        let mut present = self.fill.progress.subscribe();
        let mut planned_at = 0;
        let mut plan_anew = true;
        let mut unread = Unread::default();
        let mut turns = self.fills.turns.clone();
        let mut is_cut_off = false;
        loop {
            let took_more = crew.takes_more();
            let look_at = crew.look();
            // Nothing else says that it is time for more.
            plan_anew |= crew.takes_more() != took_more;
            is_cut_off = self.note_cut_off(crew, is_cut_off);
            if plan_anew && !is_cut_off && !unread.is_over(&self.fill, policy) {
                planned_at = present.borrow().present.total();
                self.staff(crew, policy)?;
            }
            plan_anew = true;
            let pause = unread.deadline(&self.fill, policy);
            let idle = crew.busy() == 0;
            let Crew { transfers, waiting, .. } = &mut *crew;
            tokio::select! {
                // A blob that is whole is whole, whatever else happens in the same moment.
                biased;
                verdict = &mut verdict => return match verdict {
                    sink::Verdict::Matches => Ok(()),
                    sink::Verdict::Differs(found) => Err(End::WrongDigest(self.accusation(crew.work.size, &found))),
                    sink::Verdict::Unreadable(error) => Err(End::Unstored(error)),
                },
                Some(ended) = transfers.join_next() => self.take_back(crew, ended).await?,
                ready = waiting.ready() => self.use_turn(crew, ready, policy),
                () = self.fills.stop.cancelled() => return Err(End::Stopped),
                () = self.fill.wants.changed() => {}
                Ok(()) = turns.changed() => {}
                // What is under way comes to its end, so that none of it is asked for twice.
                () = until(pause), if idle => {
                    if self.fill.wants.close_if_unread() {
                        return Err(End::Paused);
                    }
                }
                () = until(look_at), if look_at.is_some() => {}
                () = recorder.look() => {}
                _ = present.changed() => {
                    // Every write comes by here, so the full plan is made only when it may change something. Nothing
                    // else looks at the progress while this does: a writer that waits in between would stop both.
                    let (is_free, under_way) =
                        (crew.busy() < ways(&self.fill, policy, crew).slots, crew.ranges());
                    let here = &present.borrow_and_update().present;
                    plan_anew = is_free
                        && (plan::is_handover_due(here, &under_way) || here.total() >= planned_at + PLAN_EVERY);
                }
            }
            recorder.record_if_due(&self.fill);
        }
    }

    /// Tells the readers that nobody can be asked for more, or that somebody can again. What is under way comes to its end
    /// first: it is soon told that it cannot go on, or it goes on.
    fn note_cut_off(&self, crew: &mut Crew, was_cut_off: bool) -> bool {
        // What is all here is only to be proven yet.
        let is_idle = crew.busy() == 0 && !self.fill.has(&Wanted::Whole);
        let cut_off = if is_idle { self.fill.cut_off() } else { None };
        let Some(refusal) = cut_off else {
            if was_cut_off {
                self.fill.reopen();
            }
            return false;
        };
        crew.leave_queue();
        let phase = Phase::CutOff(refusal);
        self.fill.progress.send_if_modified(|progress| {
            let changes = progress.phase == Phase::Running;
            if changes {
                progress.phase = phase;
            }
            changes
        });
        true
    }

    /// Has a connection waited for, if there is something to fetch next.
    fn staff(&self, crew: &mut Crew, policy: FillPolicy) -> Result<(), End> {
        if crew.sequential || crew.is_waiting() {
            return Ok(());
        }
        let ways = ways(&self.fill, policy, crew);
        let wanted = crew.busy() < ways.slots && self.next_range(crew, &ways).is_some();
        // What is fetched next may depend on how far the readers are.
        self.fill.wants.watch(!ways.whole && !wanted && crew.busy() < ways.slots);
        if wanted {
            let Some(source) = self.fill.next_source() else {
                return Err(End::Refused(self.fill.last_refusal()));
            };
            crew.wait_for_turn(source, None, &self.fill.share);
        }
        Ok(())
    }

    /// Sends a transfer out by a connection that has come; gives it back if there is nothing to fetch any more.
    fn use_turn(&self, crew: &mut Crew, ready: Ready, policy: FillPolicy) {
        let Ready { source, range, turn } = ready;
        let mut ways = ways(&self.fill, policy, crew);
        let is_alone = crew.busy() == 0;
        // There may never be two at a time: neither the hash nor those who wait far ahead may have to wait for all.
        ways.readers_first |= is_alone && crew.prefix_was_last;
        if let Some(range) = range.or_else(|| self.next_range(crew, &ways)) {
            crew.prefix_was_last = is_alone && range.start == self.fill.progress.borrow().present.prefix();
            crew.send(source, range, turn, None);
        }
    }

    /// Looks at the progress and lets go of it, before anybody else's lock is taken.
    fn next_range(&self, crew: &Crew, ways: &Ways) -> Option<Range<u64>> {
        let (wants, under_way) = (self.fill.wants.snapshot(), crew.ranges());
        let present = &self.fill.progress.borrow().present;
        plan::next(&Outlook { size: crew.work.size, present, under_way: &under_way, wants: &wants }, ways)
    }

    async fn take_back(&self, crew: &mut Crew, ended: Result<(Id, Done), JoinError>) -> Result<(), End> {
        let (id, Done { source, turn, ended }) = ended.map_err(|error| {
            End::Refused(Refusal::Internal { reason: format!("a transfer's task ended early: {error}") })
        })?;
        let range = crew.settle(id, &ended);
        match ended {
            Ended::Done => {
                // The one sequential transfer is at its end, or the plan goes on.
                crew.sequential = false;
                Ok(())
            }
            Ended::RangeIgnored(transfer) => {
                if !crew.sequential {
                    tracing::info!(digest = %self.fill.digest, "upstream ignores ranges; one transfer brings all of it");
                    crew.recall().await;
                    crew.sequential = true;
                    crew.send(source, 0..crew.work.size, turn, Some(transfer));
                }
                Ok(())
            }
            Ended::Resized(total) => {
                drop(turn);
                let site = source.site.name();
                let reason =
                    format!("{site} says that it has {total} bytes, after {} were told", crew.work.size);
                if !self.fill.has_more_sources(&source) {
                    return Err(End::WrongDigest(reason));
                }
                // The others may go on with what they began.
                self.fills.wrong.note(&source.site, &self.fill.digest, &reason);
                self.fill.drop_source(&source, Refusal::WrongContent { reason: reason.clone() });
                self.go_on_elsewhere(crew, range, || Refusal::WrongContent { reason })
            }
            Ended::Disk(error) => Err(End::Unstored(error.to_string())),
            Ended::Away => {
                drop(turn);
                if let Some(refusal) = self.fill.cut_off().filter(|_| crew.work.reading != Reading::AsSent) {
                    // There is no way to go on in the middle of a coding.
                    return Err(End::Refused(refusal));
                }
                self.fill.demote(&source);
                self.go_on_elsewhere(crew, range, || Refusal::Internal {
                    reason: "nobody is left".to_owned(),
                })
            }
            Ended::Broken(failure) => {
                drop(turn);
                let refusal = Refusal::from(failure);
                self.fill.drop_source(&source, refusal.clone());
                self.go_on_elsewhere(crew, range, || refusal)
            }
        }
    }

    /// Has the next source bring what another could not.
    fn go_on_elsewhere(
        &self,
        crew: &mut Crew,
        range: Range<u64>,
        refusal: impl FnOnce() -> Refusal,
    ) -> Result<(), End> {
        match self.fill.next_source() {
            None => Err(End::Refused(refusal())),
            Some(other) if crew.work.reading != Reading::AsSent => {
                // Ranges of a coding are no ranges of the content.
                crew.wait_for_turn(other, Some(range), &self.fill.share);
                Ok(())
            }
            Some(_) => {
                // It may take ranges; if not, that will be seen.
                crew.sequential = false;
                Ok(())
            }
        }
    }

    /// What upstream sent in place of the blob, for the operator.
    fn accusation(&self, size: u64, found: &Digest) -> String {
        let through: Vec<_> = self
            .fill
            .confirmed()
            .iter()
            .map(|source| format!("{}/{}", source.site.name(), source.repository))
            .collect();
        format!("{size} bytes came through {} whose digest is {found}", through.join(", "))
    }
}
