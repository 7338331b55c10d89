//! What is said of being offline: for all upstreams in `[uplink]`, and by each for itself.

use super::section::{Reading, Section};
use super::text::Expected;
use super::value::{one, or_empty, truth};
use crate::config::{Mode, Offline, OfflineMiss};

/// What `[uplink]` says for all upstreams.
pub(super) fn of_all<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Offline {
    let default = Offline::default();
    let all = reading.get(section, "mode", one(mode)).unwrap_or(default.all);
    let (miss, complete_only) = misses(reading, section);
    Offline {
        own: None,
        all,
        miss: miss.unwrap_or(default.miss),
        complete_only: complete_only.unwrap_or(default.complete_only),
    }
}

/// What an upstream says, and else what is said for all.
pub(super) fn of_one<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, all: Offline) -> Offline {
    let own: Option<Mode> = reading.get(section, "mode", or_empty(one(mode))).flatten();
    let (miss, complete_only) = misses(reading, section);
    Offline {
        own,
        miss: miss.unwrap_or(all.miss),
        complete_only: complete_only.unwrap_or(all.complete_only),
        ..all
    }
}

fn misses<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> (Option<OfflineMiss>, Option<bool>) {
    let miss = reading.get(section, "offline_miss", one(offline_miss));
    (miss, reading.get(section, "complete_only", truth))
}

fn mode(text: &str) -> Result<Mode, Expected> {
    match text {
        "online" => Ok(Mode::Online),
        "offline" => Ok(Mode::Offline),
        "auto" => Ok(Mode::Auto),
        _ => Err("\"online\", \"offline\" or \"auto\"".into()),
    }
}

fn offline_miss(text: &str) -> Result<OfflineMiss, Expected> {
    match text {
        "503" => Ok(OfflineMiss::Unavailable),
        "404" => Ok(OfflineMiss::NotFound),
        _ => Err("\"503\" or \"404\"".into()),
    }
}
