//! Whether an answer is one that the model allows.

use crate::ask::{Answered, Ending, Part};
use crate::ledger::Evidence;
use crate::support::disk::{IncidentKind, Op};
use crate::support::upstream::Seen;
use crate::trouble::Fault;

use std::time::{Duration, Instant};

/// How long a client may wait for the head of an answer: as long as containerd does (G3).
const HEADERS: Duration = Duration::from_secs(30);
/// Trouble with an exchange reaches a client a little before or after upstream notes it, on a machine that is busy with
/// other things.
const LAG: Duration = Duration::from_secs(2);

/// What a fault may do to a client, beside costing it time.
fn statuses(fault: Fault) -> &'static [u16] {
    match fault {
        // What came stays, and the rest is asked for.
        Fault::Cut | Fault::Stall | Fault::RangeIgnored => &[],
        // Before there is anything to go on with.
        Fault::Reset | Fault::Dropped | Fault::Unavailable => &[503],
        Fault::Limited => &[429],
        Fault::WrongByte => &[502],
        // A range may lie behind what upstream says is the end.
        Fault::Truncated => &[502, 416],
    }
}

/// Says what is wrong with an answer, by all that happened to its blob; of one that is not what its client wanted, the word
/// for why it may be so.
pub(crate) fn judge(answered: &Answered, evidence: &Evidence<'_>) -> Result<Option<&'static str>, String> {
    let mut meanwhile = evidence
        .restarts
        .iter()
        .filter(|restart| restart.began <= answered.ended && answered.began <= restart.over);
    let restarted = meanwhile.clone().next().is_some();
    // No process is torn away thread by thread: what one of them says of another's end is none of its words.
    let torn = meanwhile.any(|restart| restart.abrupt.is_some());
    // What was proven right since is no excuse any more, but for who is served past the store by a transfer of before, or may
    // have been.
    let is_past_the_store = answered.is_bypass() || answered.end == Ending::Nobody;
    let proven = evidence.commits().filter(|commit| *commit <= answered.began && !is_past_the_store).max();
    let is_over =
        |seen: &Seen| proven.is_some_and(|proven| seen.ended.is_some_and(|ended| ended + LAG < proven));
    let lies: Vec<Fault> = faults(evidence)
        .filter(|(fault, seen)| fault.is_lie() && seen.began <= answered.ended && !is_over(seen))
        .map(|(fault, _)| fault)
        .collect();
    let meanwhile = |spans: &[(Instant, Instant)]| {
        let overlap = |&&(began, over): &&(Instant, Instant)| {
            answered.began <= over + LAG && began <= answered.ended + LAG
        };
        spans.iter().filter(overlap).count()
    };
    // A limit is about all blobs, and so is that upstream did not answer three times in a row.
    let (limited, left_alone) = (meanwhile(evidence.limits) > 0, meanwhile(evidence.silences) >= 3);
    match answered.end {
        Ending::Silent => return Err("nothing came, for as long as clients wait".to_owned()),
        // A body that turns out to be wrong at once takes the head that was on its way with it.
        Ending::Nobody if !restarted && lies.is_empty() => return Err("there was no answer".to_owned()),
        Ending::Nobody => return Ok(Some("nobody there")),
        Ending::Cut if restarted || !lies.is_empty() || is_unprovable(answered, evidence) => {}
        // Nobody waits for ever for who asks to be asked later.
        Ending::Cut if limited => return Ok(Some("cut for a limit")),
        Ending::Cut if left_alone => return Ok(Some("cut for silence")),
        Ending::Cut => return Err(format!("cut after {} bytes", answered.came)),
        _ => {}
    }
    if answered.headed - answered.began > HEADERS {
        return Err(format!("{:?} until the head of the answer", answered.headed - answered.began));
    }
    let part = &answered.ask.part;
    let expected = match part {
        Part::Whole | Part::Head => 200,
        // Of nothing, nothing lies behind the end.
        Part::Beyond(_) if evidence.size == 0 && answered.status == 200 => 200,
        Part::Beyond(_) => 416,
        _ => 206,
    };
    if answered.status != expected {
        let lied = lies.iter().any(|lie| statuses(*lie).contains(&answered.status));
        let excused = faults(evidence).any(|(fault, seen)| {
            let over = seen.ended.is_none_or(|ended| answered.began <= ended + LAG);
            let told = statuses(fault).contains(&answered.status);
            told && over && seen.began <= answered.ended + LAG
        });
        let limited = limited && answered.status == 429;
        let left_alone = left_alone && matches!(answered.status, 502..=504);
        let stopping = restarted && answered.status == 503 || torn && answered.status == 500;
        // What is past the end is known when the size is: not from an upstream that says another.
        let misled = matches!(part, Part::Beyond(_)) && !lies.is_empty() && answered.status == 502;
        let reasons = [
            (stopping, "refused at an end"),
            (lied || misled, "refused for a lie"),
            (excused, "refused for a fault"),
            (limited, "refused for a limit"),
            (left_alone, "refused for silence"),
        ];
        let reason = reasons.into_iter().find_map(|(is, reason)| is.then_some(reason));
        return reason.map(Some).ok_or_else(|| format!("{} instead of {expected}", answered.status));
    }
    if let Some(complaint) = &answered.complaint
        && (lies.is_empty() || answered.is_hit())
    {
        return Err(complaint.clone());
    }
    // What cannot be read goes on with what upstream sends.
    let unread = evidence.incidents.iter().any(|incident| {
        matches!(incident.kind, IncidentKind::Failed(..))
            && answered.began <= incident.at
            && incident.at <= answered.ended
    });
    let may_be_wrong = !lies.is_empty() && (unread || !answered.is_hit());
    let claims_to_be_right = answered.end == Ending::Complete && part.is_proven();
    if !answered.right && (claims_to_be_right || !may_be_wrong) {
        return Err(format!("wrong bytes, {:?} after {}", answered.end, answered.came));
    }
    Ok((answered.end == Ending::Cut).then_some("cut for another reason"))
}

/// Whether what was sent of a body cannot be proven any more: it cannot be read again, nor can the fill that brought it
/// go on, because it cannot read or write either.
fn is_unprovable(answered: &Answered, evidence: &Evidence<'_>) -> bool {
    let failed = |wanted: fn(Op) -> bool| {
        let failures = evidence.incidents.iter().filter(|incident| {
            let is_meant = matches!(incident.kind, IncidentKind::Failed(op, _) if wanted(op));
            is_meant && answered.began <= incident.at && incident.at <= answered.ended
        });
        failures.count()
    };
    answered.ask.part.is_proven() && failed(|op| op == Op::Read) > 0 && failed(|_| true) > 1
}

fn faults<'a>(evidence: &'a Evidence<'_>) -> impl Iterator<Item = (Fault, &'a Seen)> {
    evidence.seen.iter().filter_map(|seen| Some((Fault::of(seen)?, seen)))
}
