//! Bundles over the store of a configuration, by a process of its own: while a mirror runs on that store, it is its.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::bundle::{
    self, ExportOptions, Exported, FromStore, ImportOptions, Imported, IntoStore, Naming, Progress,
};
use crate::config::Config;
use crate::oci::Namespace;
use crate::store::Store;
use crate::store::fs::RealDisk;

use super::StartError;
use super::build;

/// How long a walk through a large store may take, on a disk that is slow.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A store that bundles are made from and brought into.
#[derive(Debug)]
pub struct Carrier {
    store: Store,
    naming: Naming,
}

impl Carrier {
    /// Opens the store, and keeps others out until this is dropped. Blocks.
    ///
    /// # Errors
    /// Another process has it, or it cannot be opened.
    pub fn open(config: &Config) -> Result<Self, StartError> {
        let names: Vec<Namespace> = config.upstreams.iter().map(build::namespace).collect();
        let naming = Naming::new(&names).map_err(|conflicts| {
            let conflicts: Vec<_> = conflicts.iter().map(ToString::to_string).collect();
            StartError::Upstreams(conflicts.join("; "))
        })?;
        // Nothing is read again while somebody waits for the end.
        let mut options = build::store_options(&config.store, &config.upstreams);
        options.scrub = crate::store::Scrub::NEVER;
        let store = Store::open(Arc::new(RealDisk), options).map_err(StartError::Store)?;
        // After a crash, what is not known yet would be missing from a bundle.
        store.await_manifests(PATIENCE);
        Ok(Self { store, naming })
    }

    /// What names of images mean in this configuration.
    pub fn naming(&self) -> Naming {
        self.naming.clone()
    }

    /// Makes a bundle of what the store has.
    ///
    /// # Errors
    /// As [`bundle::export`].
    pub fn export(
        &self,
        output: &Path,
        options: &ExportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Exported, bundle::Error> {
        bundle::export(&mut FromStore::new(self.store.clone()), &RealDisk, output, options, progress)
    }

    /// Brings what an archive holds into the store.
    ///
    /// # Errors
    /// As [`bundle::import`].
    pub fn import(
        &self,
        paths: &[PathBuf],
        options: &ImportOptions,
        progress: &mut dyn Progress,
    ) -> Result<Imported, bundle::Error> {
        bundle::import(paths, &mut IntoStore::new(self.store.clone()), options, progress)
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.store.close();
    }
}
