//! What is said of files that have changed and cannot be used: once, and again after long.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::telemetry::{Metrics, Watched};

/// How often it is said again that a file cannot be used.
const REMIND: Duration = Duration::from_secs(12 * 60 * 60);

/// Says it, by metric and log.
#[derive(Debug)]
pub(super) struct Remarks {
    metrics: Metrics,
    /// What was last said to be wrong with which files, and when.
    told: Mutex<HashMap<Watched, (String, SystemTime)>>,
}

impl Remarks {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { metrics, told: Mutex::default() }
    }

    /// What a look at files has found: all well, or what is wrong with them.
    pub(super) fn tell(&self, files: Watched, found: Result<(), String>) {
        self.metrics.files_refused(files, found.is_err());
        let name = match files {
            Watched::Tls => "certificates",
            Watched::Users => "users",
            Watched::Upstreams => "upstreams' certificates",
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let Err(why) = found else {
            told.remove(&files);
            return;
        };
        let now = SystemTime::now();
        let again = told.get(&files).is_none_or(|(said, when)| {
            *said != why || now.duration_since(*when).is_ok_and(|since| since >= REMIND)
        });
        if again {
            tracing::error!(
                reason = why,
                "files of {name} have changed and cannot be used; what was in them before stays in use"
            );
            told.insert(files, (why, now));
        }
    }
}
