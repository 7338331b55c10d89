//! What operators ask, done: over the store and the mirror.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use crate::api::{Desk, Phase, Problem, Status, StoreStatus, UpstreamStatus};
use crate::mirror::Mirror;
use crate::store::Store;

/// The desk of a mirror in this process.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) store: Store,
    pub(super) mirror: Mirror,
    pub(super) path: PathBuf,
    pub(super) started: SystemTime,
    pub(super) draining: Arc<AtomicBool>,
}

impl Desk for Office {
    fn status(&self) -> Result<Status, Problem> {
        let stats = self.store.stats();
        Ok(Status {
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
        })
    }
}

impl Office {
    fn upstreams(&self) -> Vec<UpstreamStatus> {
        let (limits, away, refused) =
            (self.mirror.limits(), self.mirror.away(), self.mirror.refused_accounts());
        let of = |name: &Arc<str>| {
            let told = |all: &[(Arc<str>, String, String)], what: &str| {
                let own = all.iter().filter(|(of, ..)| of == name);
                own.map(|(_, at, how)| format!("{what}{at}: {how}")).collect::<Vec<_>>()
            };
            let trouble = [told(&away, ""), told(&limits, ""), told(&refused, "account ")].concat();
            UpstreamStatus { name: name.to_string(), trouble }
        };
        self.mirror.upstreams().iter().map(of).collect()
    }
}

/// What is wrong with the disk.
pub(super) fn trouble(writes_failing: bool, index_degraded: bool) -> Option<&'static str> {
    match (writes_failing, index_degraded) {
        (true, _) => Some("the disk takes no writes"),
        (false, true) => Some("the index cannot be written"),
        (false, false) => None,
    }
}
