//! The thread that writes the index.
//!
//! It takes whatever is dirty, writes it in one transaction, and then says so. Commits begin at most every
//! 200 ms, so that a burst costs a few syncs, and no later than that after a change, so that a binding is
//! durable well within a second. Times of use alone wait longer. Nobody waits for this thread, save who asks to: when
//! the index cannot be written, the store says so once, goes on from memory, and tries again with a new file made from
//! all that memory knows.

use super::{Batch, Index, IndexError};
use crate::store::core::Core;
use crate::store::fs::Access;
use crate::store::model::Dirty;
use std::mem::take;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

const ACCESS_EVERY: Duration = Duration::from_secs(5);
/// How often pins are counted, and let go what they need not hold any more.
const PINS_EVERY: Duration = Duration::from_secs(5);
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MOST: Duration = Duration::from_secs(30);

/// Runs until the store stops, which it does not do without a last try.
pub(in crate::store) fn run(core: &Arc<Core>, mut index: Option<Index>) {
    let mut retry = RETRY_FIRST;
    let mut not_before = Instant::now();
    let mut pins_due = Instant::now();
    loop {
        let Some(work) = wait(core, not_before, &mut pins_due) else { return };
        let begun = Instant::now();
        match write(core, &mut index, &work) {
            Ok(()) => {
                retry = RETRY_FIRST;
                not_before = begun + core.policy.commit_every;
                done(core, index.as_ref(), work);
            }
            Err(error) => {
                // redb trusts nothing of a file after it has failed, nor do we.
                index = None;
                not_before = Instant::now() + retry;
                retry = (retry * 2).min(RETRY_MOST);
                failed(core, work, &error);
                if core.stopping() {
                    return;
                }
            }
        }
    }
}

/// What there is to do for one commit.
struct Work {
    dirty: Dirty,
    /// The last change that it includes.
    upto: u64,
}

/// Waits until something has to be written; `None` when the store stops and nothing has.
fn wait(core: &Core, not_before: Instant, pins_due: &mut Instant) -> Option<Work> {
    let mut state = core.state();
    let mut access_since = None;
    loop {
        let now = Instant::now();
        core.health.look();
        if now >= *pins_due {
            state.model.look_after_pins();
            // Others wait for the lock meanwhile: many pins are looked after less often.
            *pins_due = now + PINS_EVERY.max(now.elapsed() * 100);
        }
        let dirty = &state.model.dirty;
        if core.stopping() {
            if dirty.is_empty() {
                return None;
            }
            break;
        }
        let due = if dirty.is_urgent() {
            not_before
        } else if dirty.is_empty() {
            now + ACCESS_EVERY
        } else {
            not_before.max(*access_since.get_or_insert(now) + ACCESS_EVERY)
        };
        if due <= now && !dirty.is_empty() {
            break;
        }
        let pause = due.saturating_duration_since(now);
        (state, _) = core.wake.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner);
    }
    let upto = state.changed;
    Some(Work { dirty: take(&mut state.model.dirty), upto })
}

fn write(core: &Core, index: &mut Option<Index>, work: &Work) -> Result<(), IndexError> {
    if work.dirty.pins {
        // Before the index: that a pinned tag has moved is not to be known longer than what it stood for is held.
        core.write_pins().map_err(IndexError::Io)?;
    }
    match index {
        Some(index) if index.is_at(&*core.disk, &core.layout.index()) => {
            let batch = Batch::of(&core.state().model, &work.dirty);
            index.write(&batch.in_order())
        }
        gone => {
            *gone = None;
            *gone = Some(renew(core)?);
            Ok(())
        }
    }
}

/// A new index of all that memory knows, in place of the one that failed.
fn renew(core: &Core) -> Result<Index, IndexError> {
    let path = core.layout.index();
    let temporary = core.layout.new_index();
    // Until the old one goes there are two, as large as each other.
    let old =
        core.disk.open(&path, Access::Read).and_then(|file| file.meta()).map_or(0, |meta| meta.allocated);
    core.change(|model| model.ledger.index = model.ledger.index.max(2 * old));
    core.trim();
    core.remake_directories().map_err(IndexError::Io)?;
    let index = Index::open(&*core.disk, &temporary, Access::Fresh)?;
    let batch = Batch::everything(&core.state().model);
    index.write(&batch.in_order())?;
    core.disk
        .rename(&temporary, &path)
        .and_then(|()| core.disk.sync_dir(core.layout.root()))
        .map_err(IndexError::Io)?;
    Ok(index)
}

fn done(core: &Core, index: Option<&Index>, work: Work) {
    let size = index.map_or(0, Index::size);
    let (recovered, grown) = {
        let mut state = core.state();
        let former = std::mem::replace(&mut state.model.ledger.index, size);
        state.durable = state.durable.max(work.upto);
        (take(&mut state.degraded), size > former)
    };
    core.progress.notify_all();
    if grown {
        core.trim();
    }
    if recovered {
        info!(target: "roadstead::store", "the index is written again");
    }
    for (digest, size) in &work.dirty.committed {
        info!(target: "roadstead::store", %digest, size, "committed");
    }
    for digest in work.dirty.sidecars {
        // What loses its name meanwhile would leave its sidecar behind.
        let _room = core.room();
        if let Err(error) = core.refresh_sidecar(&digest).and_then(|()| core.refresh_mark(&digest)) {
            // It is used only when the index is lost; the next change of it is the next try.
            debug!(target: "roadstead::store", %digest, %error, "cannot write what is kept beside content");
        }
    }
}

fn failed(core: &Core, work: Work, error: &IndexError) {
    let first = {
        let mut state = core.state();
        state.model.dirty.merge(work.dirty);
        !std::mem::replace(&mut state.degraded, true)
    };
    core.progress.notify_all();
    if first {
        warn!(
            target: "roadstead::store", %error,
            "cannot write the index; serving goes on from memory, and it is tried again",
        );
    }
}
