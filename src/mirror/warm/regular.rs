//! Warmings that come again and again, as the configuration has them.
//!
//! Each begins soon after the mirror, and then an interval after its last one has ended, both a little later by chance, so
//! that mirrors that were started together do not ask together. Two runs of one never go on at the same time.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::super::site::Mirror;
use super::Warming;
use super::jobs::{Ending, Job};

/// How long after the start of the mirror the first runs begin, at the most.
const SOON: Duration = Duration::from_secs(10);

/// By which part of itself an interval is longer, at the most.
const JITTER: f64 = 0.1;

/// A warming that comes again and again.
#[derive(Clone, Debug)]
pub struct Regular {
    /// What it is called.
    pub name: String,
    /// What is brought in.
    pub warming: Warming,
    /// How long after its end it begins again.
    pub every: Duration,
}

impl Mirror {
    /// Begins a regular warming, which ends with the mirror.
    pub fn warm_regularly(&self, regular: Regular) {
        let mirror = self.clone();
        self.tasks().spawn(async move {
            let stop = mirror.stopping().clone();
            stop.run_until_cancelled(mirror.again_and_again(regular)).await;
        });
    }

    /// The last run of each regular warming that has begun, going on or over, by name.
    pub fn regular_warmings(&self) -> Vec<(String, Arc<Job>)> {
        let named = self.warmings().into_iter().filter_map(|job| Some((job.name.clone()?, job)));
        // Of each name the last one stays.
        named.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    async fn again_and_again(&self, regular: Regular) {
        let Regular { name, warming, every } = regular;
        sleep(SOON.mul_f64(chance())).await;
        loop {
            match self.begin_warming(warming.clone(), Some(name.clone())) {
                Ok(job) => {
                    job.over().await;
                    tell(&name, &job);
                }
                Err(why) => tracing::warn!(warm = name, %why, "a regular warming is left out"),
            }
            sleep(every.mul_f64(1.0 + JITTER * chance())).await;
        }
    }
}

fn tell(name: &str, job: &Job) {
    let look = job.ledger.look();
    match job.ended() {
        Some((Ending::Whole, _)) => {
            tracing::info!(
                warm = name,
                images = look.finished,
                fetched = look.fetched,
                "a regular warming is done"
            );
        }
        Some((Ending::Missing, _)) => {
            for warmed in job.ledger.finished_since(0) {
                if let Some(lack) = warmed.lacks.first() {
                    tracing::warn!(
                        warm = name,
                        image = warmed.image,
                        what = lack.what,
                        why = lack.why,
                        lacks = warmed.lacks.len(),
                        "an image could not be brought in whole"
                    );
                }
            }
        }
        Some((Ending::Stopped, _)) | None => {}
    }
}

/// Between 0 and 1, another each time.
fn chance() -> f64 {
    let draw = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(draw).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}
