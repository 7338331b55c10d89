//! How the mirror is.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Office;
use super::modes::{contact, mode};
use crate::api::{FillStatus, Phase, Status, StoreStatus, Traffic, UpstreamStatus};
use crate::mirror::{self, FillProgress};
use crate::telemetry::Counts;

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
            traffic: self
                .metrics
                .traffic()
                .into_iter()
                .map(|(_, of)| traffic(of))
                .reduce(together)
                .unwrap_or_default(),
            upstreams: self.upstreams(),
            fills: self.mirror.fills_under_way().into_iter().map(fill).collect(),
        }
    }

    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let (limits, away, refused) =
            (self.mirror.limits(), self.mirror.away(), self.mirror.refused_accounts());
        // What upstreams tell of their limits is put into the metrics when somebody looks.
        self.mirror.show_limits();
        let counted = self.metrics.traffic();
        let of = |told: mirror::UpstreamMode| {
            let name = &told.upstream;
            let troubles = |all: &[(Arc<str>, String, String)], what: &str| {
                let own = all.iter().filter(|(of, ..)| of == name);
                own.map(|(_, at, how)| format!("{what}{at}: {how}")).collect::<Vec<_>>()
            };
            let trouble =
                [troubles(&away, ""), troubles(&limits, ""), troubles(&refused, "account ")].concat();
            let (pulls_left, pulls_limit) = self.metrics.pulls(name);
            let counts = counted.iter().find(|(of, _)| **of == **name);
            UpstreamStatus {
                name: name.to_string(),
                mode: mode(told.mode),
                contact: contact(told.contact),
                trouble,
                pulls_left,
                pulls_limit,
                traffic: counts.map(|(_, counts)| traffic(*counts)).unwrap_or_default(),
            }
        };
        self.mirror.modes().into_iter().map(of).collect()
    }
}

fn traffic(of: Counts) -> Traffic {
    Traffic {
        requests: of.requests,
        hits: of.hits,
        sent_bytes: of.sent,
        fetched_bytes: of.fetched,
        saved_bytes: of.saved,
    }
}

fn together(one: Traffic, other: Traffic) -> Traffic {
    Traffic {
        requests: one.requests + other.requests,
        hits: one.hits + other.hits,
        sent_bytes: one.sent_bytes + other.sent_bytes,
        fetched_bytes: one.fetched_bytes + other.fetched_bytes,
        saved_bytes: one.saved_bytes + other.saved_bytes,
    }
}

fn fill(of: FillProgress) -> FillStatus {
    FillStatus {
        digest: of.digest.to_string(),
        upstream: of.upstream.to_string(),
        repository: of.repository.to_string(),
        size: of.size,
        present_bytes: of.present,
        readers: of.readers as u64,
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
