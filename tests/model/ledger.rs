//! What upstream may have sent: each byte of a blob once, and once more for each time that something has lost it.
//!
//! The model knows nothing of how the mirror fetches. It holds, for each blob, how often each position was sent, counted
//! at upstream's socket, against how often it may have been lost:
//!
//! | what happened | what may come again |
//! |---|---|
//! | a cut | what was written last: at most 16 KiB |
//! | a stall, 503, 429, a connection dropped before its answer, an expired redirect | nothing |
//! | a reset | what was sent on that connection: some of it was still on its way |
//! | a range ignored | what was sent on that connection, of which some was here; and on the blob's others at that moment, which had to be closed |
//! | a transfer that is left because the machine is busy, where that is not waited for | what was sent on that connection |
//! | wrong bytes, a wrong size | the blob |
//! | another size than was told before | what was sent on each connection that told one |
//! | a failure of the disk at the blob's files, or at what is everybody's | the blob: what could not be kept |
//! | an eviction | the blob |
//! | a body that is streamed past the store, from its beginning or since a failure of the disk | that body; if it has to be proven, all before it, too |
//! | a fill that finds no room | what was sent on its connection until that was known |
//! | a head that could not wait for that, where room may be short | the bodies of all who were served meanwhile |
//! | an orderly stop | what was sent on connections that were open then |
//! | an abrupt end | what was sent, unless the blob was stored |
//!
//! Where nothing of that happened to a blob, each byte came exactly once.

use std::time::{Duration, Instant};

use crate::ask::{Answered, Part};
use crate::support::disk::{Incident, IncidentKind};
use crate::support::upstream::Seen;
use crate::trouble::{Fault, span};

/// What upstream has sent may stay in sockets for so long before the mirror takes it.
const UNREAD: Duration = Duration::from_secs(2);
/// Within this time the mirror closes what it has to close, on a machine that is busy with other things.
const RECALL: Duration = Duration::from_secs(2);
/// A head that waits for so long goes out before it is known whether the store has room, and says that the body is stored.
const UNTOLD: Duration = Duration::from_millis(900);
/// What follows at once may take so long on a machine that is busy with other things.
const BUSY: Duration = Duration::from_millis(500);
/// A transfer that stands still for so long is left, where the games say so.
pub(crate) const IDLE: Duration = Duration::from_millis(300);
/// What timers are inexact by.
const TICK: Duration = Duration::from_millis(10);
/// On a machine that has nothing else to do a transfer that was left is taken up sooner.
const HURRIED: Duration = Duration::from_millis(100);
/// The most that upstream writes at once.
const LAST_WRITE: u64 = 16 << 10;

/// The mirror came to an end, and another began.
#[derive(Clone, Debug)]
pub(crate) struct Restart {
    pub(crate) began: Instant,
    pub(crate) over: Instant,
    /// It was torn away, and had of all blobs only these whole.
    pub(crate) abrupt: Option<Vec<usize>>,
}

/// All that is known of one blob.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    pub(crate) blob: usize,
    pub(crate) size: u64,
    /// The `GET`s of it at upstream.
    pub(crate) seen: &'a [Seen],
    pub(crate) answers: &'a [Answered],
    /// When upstream had told the mirror to ask less, whatever it was asked.
    pub(crate) limits: &'a [(Instant, Instant)],
    /// When upstream did not answer, whatever it was asked, and for how long it may be left alone for that.
    pub(crate) silences: &'a [(Instant, Instant)],
    /// What happened to its files, and failures at those that are of no blob in particular.
    pub(crate) incidents: &'a [Incident],
    pub(crate) restarts: &'a [Restart],
    /// The store has no room for all blobs.
    pub(crate) is_small: bool,
    /// A transfer that stands still is given up so soon that it happens to some that were merely slow.
    pub(crate) is_hasty: bool,
    /// When the disk was smaller than that.
    pub(crate) full: &'a [(Instant, Option<Instant>)],
}

/// Positions that may have been lost, and why.
#[derive(Clone, Debug)]
struct Loss {
    first: u64,
    behind: u64,
    why: String,
}

/// What a blob has cost.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    /// What was sent more than once, in bytes.
    pub(crate) again: u64,
    /// What might have been.
    pub(crate) allowed: u64,
    /// Nothing happened to it: it came exactly once.
    pub(crate) exact: bool,
}

/// Holds what was sent against what was lost.
pub(crate) fn settle(evidence: &Evidence<'_>) -> Result<Cost, String> {
    let losses = evidence.losses();
    let mut steps: Vec<(u64, i64, i64)> = Vec::new();
    // Bodies of errors are no bytes of the blob.
    for seen in evidence.seen.iter().filter(|seen| seen.object.is_some() && seen.body_bytes > 0) {
        steps.extend([(seen.offset, 1, 0), (seen.offset + seen.body_bytes, -1, 0)]);
    }
    for loss in losses.iter().filter(|loss| loss.first < loss.behind) {
        steps.extend([(loss.first, 0, 1), (loss.behind, 0, -1)]);
    }
    steps.extend([(0, 0, 0), (evidence.size, 0, 0)]);
    steps.sort_unstable();
    let mut cost = Cost { exact: losses.is_empty(), ..Cost::default() };
    let (mut times, mut lost) = (0, 0);
    for pair in steps.windows(2) {
        times += pair[0].1;
        lost += pair[0].2;
        let (from, to) = (pair[0].0, pair[1].0.min(evidence.size));
        if from >= to {
            continue;
        }
        if times > 1 + lost {
            let losses: Vec<_> = losses
                .iter()
                .map(|loss| format!("\n    {}..{}: {}", loss.first, loss.behind, loss.why))
                .collect();
            return Err(format!(
                "upstream sent {from}..{to} of {} bytes {times} times, though it was lost {lost} times:{}",
                evidence.size,
                losses.concat()
            ));
        }
        cost.again += (to - from) * times.saturating_sub(1).max(0) as u64;
        cost.allowed += (to - from) * lost as u64;
    }
    Ok(cost)
}

impl Evidence<'_> {
    /// When it was stored whole, and so proven right.
    pub(crate) fn commits(&self) -> impl Iterator<Item = Instant> {
        let is_commit = |incident: &&Incident| matches!(&incident.kind, IncidentKind::Renamed(to) if to.to_string_lossy().contains("/blobs/"));
        self.incidents.iter().filter(is_commit).map(|incident| incident.at)
    }

    fn losses(&self) -> Vec<Loss> {
        let mut losses = Vec::new();
        self.of_exchanges(&mut losses);
        self.of_the_disk(&mut losses);
        self.of_restarts(&mut losses);
        losses
    }

    fn whole(&self, why: impl Into<String>) -> Loss {
        Loss { first: 0, behind: self.size, why: why.into() }
    }

    /// What was sent on connections that were open in this time, or whose last bytes may not have been read before.
    fn open_at(&self, from: Instant, to: Instant, why: &str, losses: &mut Vec<Loss>) {
        let open = self.seen.iter().filter(|seen| {
            seen.began <= to && seen.ended.is_none_or(|ended| ended + UNREAD >= from) && seen.body_bytes > 0
        });
        losses.extend(open.map(|seen| of(seen, why)));
    }

    fn of_exchanges(&self, losses: &mut Vec<Loss>) {
        if self.seen.iter().any(|seen| Fault::of(seen) == Some(Fault::Truncated)) {
            losses.extend(self.seen.iter().map(|seen| of(seen, "sizes that differ")));
        }
        for seen in self.seen {
            if self.is_hasty && self.was_left(seen) {
                losses.push(of(seen, "it stood still for a moment"));
            }
            match Fault::of(seen) {
                // What was written last may go with the socket that is closed.
                Some(Fault::Cut) => losses.push(Loss {
                    first: (seen.offset + seen.body_bytes).saturating_sub(LAST_WRITE).max(seen.offset),
                    ..of(seen, "a cut")
                }),
                Some(Fault::Reset) => losses.push(of(seen, "a reset")),
                Some(Fault::RangeIgnored) => {
                    self.open_at(seen.began, seen.began + RECALL, "a range ignored", losses)
                }
                Some(fault) if fault.is_lie() => losses.push(self.whole(fault.word())),
                _ => {}
            }
        }
    }

    /// The mirror left before all that it had asked for was sent; or it took up in the middle, before the blob was whole,
    /// what had been sent so long ago that it may have taken it for standing still: on a busy machine, what was sent had
    /// not got there. Nothing else is taken up that late.
    fn was_left(&self, seen: &Seen) -> bool {
        let (from, to) = span(seen.asked.header("range"), self.size);
        let (first, behind) = (seen.offset, seen.offset + seen.body_bytes);
        // One that does stand still is always taken up so late; only what is later still tells of a busy machine.
        let after = if Fault::of(seen) == Some(Fault::Stall) { IDLE + HURRIED } else { IDLE - TICK };
        let mut names = self.incidents.iter().filter(|incident| {
            incident.at >= seen.began && matches!(incident.kind, IncidentKind::Renamed(_))
        });
        let whole = names.next().map(|incident| incident.at);
        let is_taken_up = |again: &Seen| {
            let (at, _) = span(again.asked.header("range"), self.size);
            (first..behind).contains(&at)
                && again.began >= seen.began + after
                && whole.is_none_or(|whole| again.began <= whole)
        };
        let is_cut_short = Fault::of(seen).is_none() && seen.body_bytes < to - from;
        seen.object.is_some() && (is_cut_short || self.seen.iter().any(is_taken_up))
    }

    fn of_the_disk(&self, losses: &mut Vec<Loss>) {
        let mut last = None;
        for incident in self.incidents {
            match &incident.kind {
                IncidentKind::Failed(op, errno) => {
                    // Failures between which upstream was not asked have lost the same bytes.
                    let before = self.seen.iter().filter(|seen| seen.began <= incident.at).count();
                    if last.replace(before) != Some(before) {
                        losses.push(self.whole(format!("{op:?} failed with {errno}")));
                    }
                    self.readers_at(incident.at, losses);
                }
                IncidentKind::Removed if self.is_small || self.is_full(incident.at) => {
                    losses.push(self.whole("it was evicted"));
                }
                IncidentKind::Removed | IncidentKind::Renamed(_) => {}
            }
        }
        for answer in self.answers.iter().filter(|answer| answer.is_bypass()) {
            losses.push(self.streamed(answer, "it was streamed past the store"));
        }
        for untold in self.answers.iter().filter(|answer| self.is_untold(answer)) {
            let meanwhile = self.answers.iter().filter(|answer| {
                let has_body = !matches!(answer.ask.part, Part::Head | Part::Beyond(_));
                has_body && answer.began <= untold.ended && untold.began <= answer.ended
            });
            losses.extend(
                meanwhile.map(|answer| self.streamed(answer, "may have been streamed past the store")),
            );
        }
        let unroomed = |at: Instant| {
            self.is_full(at)
                || self.answers.iter().any(|answer| {
                    // Who asks for what lies behind the end is not told that there is no room.
                    let unkept = answer.is_bypass() || matches!(answer.ask.part, Part::Beyond(_));
                    let until = if self.is_untold(answer) { answer.ended } else { answer.headed };
                    (unkept || self.is_untold(answer)) && answer.began <= at && at <= until
                })
        };
        let begun = self.seen.iter().filter(|seen| unroomed(seen.began));
        losses.extend(begun.map(|seen| of(seen, "there was no room")));
    }

    /// Whether its head went out before it was known whether there is room, and there may have been none.
    fn is_untold(&self, answer: &Answered) -> bool {
        let is_short = self.is_small || self.is_full(answer.began) || self.is_full(answer.headed);
        is_short && answer.headed - answer.began >= UNTOLD
    }

    /// Whether the disk was smaller than the budget.
    fn is_full(&self, at: Instant) -> bool {
        self.full.iter().any(|(from, to)| *from <= at && to.is_none_or(|to| at <= to))
    }

    /// Those who read when the disk fails go on by themselves.
    fn readers_at(&self, moment: Instant, losses: &mut Vec<Loss>) {
        // Who comes in the next moment may still be let in to what has failed.
        let readers =
            self.answers.iter().filter(|answer| answer.began <= moment + BUSY && moment <= answer.ended);
        losses.extend(readers.map(|answer| self.streamed(answer, "read when the disk failed")));
    }

    fn streamed(&self, answer: &Answered, why: &str) -> Loss {
        let part = &answer.ask.part;
        let (first, behind) = part.span(self.size);
        let why = format!("request {} {why}", answer.ask.number);
        if part.is_proven() || first >= behind { self.whole(why) } else { Loss { first, behind, why } }
    }

    fn of_restarts(&self, losses: &mut Vec<Loss>) {
        for restart in self.restarts {
            if restart.abrupt.is_some() {
                // Its threads end one after the other: some still ask for what its disk gives to none of them.
                let dying =
                    self.seen.iter().filter(|seen| restart.began <= seen.began && seen.began <= restart.over);
                losses.extend(dying.map(|seen| of(seen, "asked for by one that was being torn away")));
            }
            match &restart.abrupt {
                None => self.open_at(restart.began, restart.over, "the mirror stopped", losses),
                Some(stored) if stored.contains(&self.blob) => {}
                Some(_) => {
                    // What was asked for last may reach upstream when nobody is there any more.
                    let mut before = self.seen.iter().filter(|seen| seen.began <= restart.over + BUSY);
                    if before.any(|seen| seen.body_bytes > 0) {
                        losses.push(self.whole("the mirror was torn away"));
                    }
                }
            }
        }
    }
}

fn of(seen: &Seen, why: &str) -> Loss {
    Loss { first: seen.offset, behind: seen.offset + seen.body_bytes, why: why.to_owned() }
}
