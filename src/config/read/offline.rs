//! What is said of being offline: for all upstreams in `[uplink]`, and by each for itself.

use super::section::{Reading, Section};
use super::text::Expected;
use super::value::{list, one, or_empty, truth};
use super::warm::{platform, values};
use crate::config::{Mode, Offline, OfflineMiss};
use crate::oci::Platform;

/// What is said of misses, where anything is.
struct Misses {
    miss: Option<OfflineMiss>,
    complete_only: Option<bool>,
    complete_platforms: Option<Vec<Platform>>,
}

/// What `[uplink]` says for all upstreams.
pub(super) fn of_all<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Offline {
    let default = Offline::default();
    let all = reading.get(section, "mode", one(mode)).unwrap_or(default.all);
    misses(reading, section).over(Offline { all, ..default })
}

/// What an upstream says, and else what is said for all.
pub(super) fn of_one<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>, all: &Offline) -> Offline {
    let own: Option<Mode> = reading.get(section, "mode", or_empty(one(mode))).flatten();
    misses(reading, section).over(Offline { own, ..all.clone() })
}

fn misses<'t>(reading: &mut Reading<'t>, section: &mut Section<'t>) -> Misses {
    Misses {
        miss: reading.get(section, "offline_miss", one(offline_miss)),
        complete_only: reading.get(section, "complete_only", truth),
        complete_platforms: reading.get(section, "complete_platforms", list(platform)).map(values),
    }
}

impl Misses {
    fn over(self, rest: Offline) -> Offline {
        Offline {
            miss: self.miss.unwrap_or(rest.miss),
            complete_only: self.complete_only.unwrap_or(rest.complete_only),
            complete_platforms: self.complete_platforms.unwrap_or(rest.complete_platforms),
            ..rest
        }
    }
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
