//! Warmings that come again and again, as the configuration has them.
//!
//! Each begins soon after the mirror, and then an interval after its last one has ended, both a little later by chance, so
//! that mirrors that were started together do not ask together. Two runs of one never go on at the same time, also when what
//! it brings in was changed meanwhile.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::site::Mirror;
use super::Warming;
use super::jobs::{Ending, Job};

/// How long after the start of the mirror the first runs begin, at the most.
const SOON: Duration = Duration::from_secs(10);

/// By which part of itself an interval is longer, at the most.
const JITTER: f64 = 0.1;

/// A warming that comes again and again.
#[derive(Clone, Debug, PartialEq)]
pub struct Regular {
    /// What it is called; no two are called the same.
    pub name: String,
    /// What is brought in.
    pub warming: Warming,
    /// How long after its end it begins again.
    pub every: Duration,
}

/// The regular warmings of a mirror, each with what ends it.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Rounds(Mutex<Vec<(Regular, CancellationToken)>>);

impl Rounds {
    fn list(&self) -> MutexGuard<'_, Vec<(Regular, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mirror {
    /// Has these come again and again until the mirror ends, in place of those that came before. One that is the same goes
    /// on; one that is not among these any more ends, with the run that goes on.
    pub fn warm_regularly(&self, wanted: Vec<Regular>) {
        let mut rounds = self.rounds().list();
        rounds.retain(|(regular, end)| {
            let stays = wanted.contains(regular);
            if !stays {
                end.cancel();
            }
            stays
        });
        for regular in wanted {
            if rounds.iter().any(|(known, _)| *known == regular) {
                continue;
            }
            let end = self.stopping().child_token();
            rounds.push((regular.clone(), end.clone()));
            let mirror = self.clone();
            self.tasks().spawn(async move {
                end.run_until_cancelled(mirror.again_and_again(regular)).await;
            });
        }
    }

    /// The last run of each regular warming that has begun, going on or over, by name.
    pub fn regular_warmings(&self) -> Vec<(String, Arc<Job>)> {
        let names: Vec<_> = self.rounds().list().iter().map(|(regular, _)| regular.name.clone()).collect();
        let named = self.warmings().into_iter().filter_map(|job| Some((job.name.clone()?, job)));
        // Of each name the last one stays.
        named.filter(|(name, _)| names.contains(name)).collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    async fn again_and_again(&self, regular: Regular) {
        let Regular { name, warming, every } = regular;
        sleep(SOON.mul_f64(chance())).await;
        // One of the same name that was otherwise, and has been told to stop.
        for before in self.warmings().iter().filter(|job| job.name.as_ref() == Some(&name)) {
            before.over().await;
        }
        loop {
            match self.begin_warming(warming.clone(), Some(name.clone())) {
                Ok(job) => {
                    let job = Stopped(job);
                    job.0.over().await;
                    tell(&name, &job.0);
                }
                Err(why) => tracing::warn!(warm = name, %why, "a regular warming is left out"),
            }
            sleep(every.mul_f64(1.0 + JITTER * chance())).await;
        }
    }
}

/// A run that is stopped when nobody waits for it any more.
struct Stopped(Arc<Job>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.stop();
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
