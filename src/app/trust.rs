//! What is believed and shown at upstreams: certificates that are taken into use when their files change.
//!
//! As with the files of the doors, they are compared by what is in them. Only they are read again: what else the
//! configuration says by now is for SIGHUP.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::config::{self, Config};
use crate::mirror::Mirror;
use crate::telemetry::{Metrics, Watched};

use super::StartError;
use super::build::{self, Shared};
use super::doors::EVERY;
use super::remarks::Remarks;

/// The upstreams as they are configured, and what they are used by. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Trust {
    config: Arc<Mutex<Config>>,
    mirror: Mirror,
    shared: Arc<Shared>,
    metrics: Metrics,
    remarks: Arc<Remarks>,
}

impl Trust {
    pub(super) fn new(
        config: Arc<Mutex<Config>>,
        mirror: Mirror,
        shared: Arc<Shared>,
        metrics: Metrics,
    ) -> Self {
        let remarks = Arc::new(Remarks::new(metrics.clone()));
        Self { config, mirror, shared, metrics, remarks }
    }

    /// Takes other upstreams into use in place of those that are.
    ///
    /// # Errors
    /// They cannot be set up; all stays as it was.
    pub(super) fn replace(&self, upstreams: &[config::Upstream]) -> Result<(), StartError> {
        let (namespaces, sites) = build::sites(upstreams, &self.shared, &self.metrics)?;
        self.mirror.replace_sites(namespaces, sites);
        Ok(())
    }

    /// Looks at the files again and again, for as long as it is let.
    pub(super) async fn watch(self) {
        loop {
            sleep(EVERY).await;
            let trust = self.clone();
            // The files are on a disk that may be slow.
            if let Err(error) = spawn_blocking(move || trust.look()).await {
                tracing::error!(%error, "the files of upstreams were not looked at");
            }
        }
    }

    /// Looks at the files once. One that cannot be used keeps its upstream as it was, and no other. Blocks.
    pub(super) fn look(&self) {
        let config = || self.config.lock().unwrap_or_else(PoisonError::into_inner);
        let old = config().upstreams.clone();
        let mut trouble = Vec::new();
        let read = |upstream: &config::Upstream| {
            upstream.read_again().unwrap_or_else(|why| {
                trouble.push(format!("{}: {why}", upstream.name));
                upstream.clone()
            })
        };
        let new: Vec<_> = old.iter().map(read).collect();
        if new != old {
            let mut config = config();
            // Unless the configuration was read again meanwhile, with these files or others.
            if config.upstreams != old {
                return;
            }
            match self.replace(&new) {
                Ok(()) => {
                    tracing::info!("files of upstreams' certificates have changed, and are taken into use");
                    config.upstreams = new;
                }
                Err(error) => trouble.push(error.to_string()),
            }
        }
        let found = if trouble.is_empty() { Ok(()) } else { Err(trouble.join("; ")) };
        self.remarks.tell(Watched::Upstreams, found);
    }
}
