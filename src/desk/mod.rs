//! What operators ask, answered: over the store and the mirror.
//!
//! Owns what each call of [`Desk`] does, and what the words of a request mean (`select`). Guarantees nothing that the store
//! and the mirror do not: what is here is told from memory, as it is at some moment of the call. Leaves to others who may
//! ask (the admin listener) and how people are shown it (the commands).

mod content;
mod images;
mod modes;
mod pins;
mod refresh;
mod removal;
mod select;
mod status;
mod tags;
mod usage;
mod verify;
mod warm;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use tokio::runtime::Handle;

use crate::api::{
    Desk, Images, ModeSwitch, Modes, PinRequest, Pins, Problem, Refresh, Refreshed, Removal, Removed, Status,
    StopWarming, Tags, Usage, Verified, Verify, VerifyProgress, Warm, WarmJob, WarmJobs,
};
use crate::mirror::Mirror;
use crate::store::Store;
use crate::telemetry::Metrics;

pub use status::trouble;

/// The desk of a mirror in this process.
#[derive(Debug)]
pub struct Office {
    /// What is here.
    pub store: Store,
    /// The way to upstreams.
    pub mirror: Mirror,
    /// Where the mirror's own tasks run, and never a call of the desk.
    pub runtime: Handle,
    /// What has been counted.
    pub metrics: Metrics,
    /// The directory of the store.
    pub path: PathBuf,
    /// When the process began to serve.
    pub started: SystemTime,
    /// Whether it was told to stop.
    pub draining: Arc<AtomicBool>,
    /// What the rules give to anybody.
    pub given: Given,
}

/// What the rules give to anybody, as they are now: asked with the upstream and the repository.
#[derive(Clone)]
pub struct Given(pub Arc<Gives>);

/// Whether a repository of an upstream is given to anybody.
pub type Gives = dyn Fn(&str, &str) -> bool + Send + Sync;

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Given")
    }
}

impl Desk for Office {
    fn status(&self) -> Result<Status, Problem> {
        Ok(self.tell_status())
    }

    fn images(&self, of: Option<&str>) -> Result<Images, Problem> {
        self.list(of)
    }

    fn usage(&self, of: Option<&str>) -> Result<Usage, Problem> {
        self.measure(of)
    }

    fn tags(&self, of: &str) -> Result<Tags, Problem> {
        self.tags_of(of)
    }

    fn refresh(&self, asked: &Refresh) -> Result<Refreshed, Problem> {
        self.ask_again(&asked.reference)
    }

    fn remove(&self, removal: &Removal) -> Result<Removed, Problem> {
        self.take_away(removal)
    }

    fn pins(&self) -> Result<Pins, Problem> {
        Ok(self.tell_pins())
    }

    fn pin(&self, asked: &PinRequest) -> Result<Pins, Problem> {
        self.pin_all(&asked.of)
    }

    fn unpin(&self, asked: &PinRequest) -> Result<Pins, Problem> {
        self.unpin_all(&asked.of)
    }

    fn modes(&self) -> Result<Modes, Problem> {
        Ok(self.tell_modes())
    }

    fn set_mode(&self, switch: &ModeSwitch) -> Result<Modes, Problem> {
        self.switch_mode(switch)
    }

    fn warm(&self, asked: &Warm) -> Result<WarmJob, Problem> {
        self.begin_warming(asked)
    }

    fn warm_job(&self, job: u64, since: u64) -> Result<WarmJob, Problem> {
        self.describe_warming(job, usize::try_from(since).unwrap_or(usize::MAX))
    }

    fn warm_jobs(&self) -> Result<WarmJobs, Problem> {
        Ok(self.list_warmings())
    }

    fn stop_warming(&self, asked: &StopWarming) -> Result<WarmJob, Problem> {
        self.end_warming(asked.job)
    }

    fn verify(
        &self,
        asked: &Verify,
        watch: &mut dyn FnMut(&VerifyProgress) -> bool,
    ) -> Result<Verified, Problem> {
        self.prove(asked, watch)
    }
}
