//! How the mirror is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Office;
use super::modes::{contact, mode};
use crate::api::{Phase, Status, StoreStatus, UpstreamStatus};
use crate::mirror;

impl Office {
    pub(super) fn tell_status(&self) -> Status {
        let stats = self.store.stats();
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            process: std::process::id(),
            started: self.started.into(),
            phase: if self.draining.load(Ordering::Relaxed) { Phase::Draining } else { Phase::Serving },
            store: StoreStatus {
                path: self.path.display().to_string(),
                used_bytes: stats.used_bytes,
                max_bytes: stats.max_bytes,
                blobs: stats.blobs,
                manifests: stats.manifests,
                unfinished: stats.unfinished,
                trouble: trouble(stats.writes_failing, stats.index_degraded).map(str::to_owned),
            },
            upstreams: self.upstreams(),
        }
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let (limits, away, refused) =
            (self.mirror.limits(), self.mirror.away(), self.mirror.refused_accounts());
        let of = |told: mirror::UpstreamMode| {
            let name = &told.upstream;
            let troubles = |all: &[(Arc<str>, String, String)], what: &str| {
                let own = all.iter().filter(|(of, ..)| of == name);
                own.map(|(_, at, how)| format!("{what}{at}: {how}")).collect::<Vec<_>>()
            };
            let trouble =
                [troubles(&away, ""), troubles(&limits, ""), troubles(&refused, "account ")].concat();
            let (mode, contact) = (mode(told.mode), contact(told.contact));
            UpstreamStatus { name: name.to_string(), mode, contact, trouble }
        };
        self.mirror.modes().into_iter().map(of).collect()
    }
}

/// What is wrong with the disk, by what the store says of it.
pub fn trouble(writes_failing: bool, index_degraded: bool) -> Option<&'static str> {
    match (writes_failing, index_degraded) {
        (true, _) => Some("the disk takes no writes"),
        (false, true) => Some("the index cannot be written"),
        (false, false) => None,
    }
}
