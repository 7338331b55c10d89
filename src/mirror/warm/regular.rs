//! Warmings that come again and again, as the configuration has them.
//!
//! Each begins soon after the mirror, and then an interval after its last one has ended, both a little later by chance, so
//! that mirrors that were started together do not ask together. Two runs of one never go on at the same time, also when what
//! it brings in was changed meanwhile.
//!
//! Images of an upstream that cannot be asked are left out of a run, and where no other is on the list there is none: it
//! begins when one of them can be asked again. What is told of them is what was proven last.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::select_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::super::mode::Contact;
use super::super::site::{Mirror, Site};
use super::Warming;
use super::jobs::{Ending, Job};
use super::proven::Proven;
use crate::oci::Images;

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

/// How a regular warming is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoundState {
    /// What it is called.
    pub name: String,
    /// How many images were looked at, each by the last run that could ask for it.
    pub images: u64,
    /// Of how many of them something was missing.
    pub incomplete: u64,
    /// When the last run ended.
    pub ended: Option<SystemTime>,
    /// The upstreams that are waited for.
    pub waits_for: Vec<String>,
}

/// The regular warmings of a mirror.
#[derive(Debug, Default)]
pub(in crate::mirror) struct Rounds(Mutex<Vec<Round>>);

#[derive(Debug)]
struct Round {
    regular: Regular,
    /// What ends it.
    end: CancellationToken,
    known: Arc<Mutex<Known>>,
}

/// What there is to tell of a regular warming.
#[derive(Debug, Default)]
struct Known {
    proven: Proven,
    waits_for: Vec<String>,
}

impl Rounds {
    fn list(&self) -> MutexGuard<'_, Vec<Round>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mirror {
    /// Has these come again and again until the mirror ends, in place of those that came before. One that is the same goes
    /// on; one that is not among these any more ends, with the run that goes on.
    pub fn warm_regularly(&self, wanted: Vec<Regular>) {
        let mut rounds = self.rounds().list();
        rounds.retain(|round| {
            let stays = wanted.contains(&round.regular);
            if !stays {
                round.end.cancel();
            }
            stays
        });
        for regular in wanted {
            if rounds.iter().any(|round| round.regular == regular) {
                continue;
            }
            let (end, known) = (self.stopping().child_token(), Arc::<Mutex<Known>>::default());
            rounds.push(Round { regular: regular.clone(), end: end.clone(), known: Arc::clone(&known) });
            let mirror = self.clone();
            self.tasks().spawn(async move {
                end.run_until_cancelled(mirror.again_and_again(regular, &known)).await;
            });
        }
    }

    /// How each regular warming is, in the order of the configuration.
    pub fn rounds_of_warming(&self) -> Vec<RoundState> {
        let state = |round: &Round| {
            let known = locked(&round.known);
            RoundState {
                name: round.regular.name.clone(),
                images: known.proven.images(),
                incomplete: known.proven.incomplete(),
                ended: known.proven.ended,
                waits_for: known.waits_for.clone(),
            }
        };
        self.rounds().list().iter().map(state).collect()
    }

    /// The last run of each regular warming that has begun, going on or over, by name.
    pub fn regular_warmings(&self) -> Vec<(String, Arc<Job>)> {
        let names: Vec<_> = self.rounds().list().iter().map(|round| round.regular.name.clone()).collect();
        let named = self.warmings().into_iter().filter_map(|job| Some((job.name.clone()?, job)));
        // Of each name the last one stays.
        named.filter(|(name, _)| names.contains(name)).collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    async fn again_and_again(&self, regular: Regular, known: &Mutex<Known>) {
        let Regular { name, warming, every } = regular;
        sleep(SOON.mul_f64(chance())).await;
        // One of the same name that was otherwise, and has been told to stop.
        for before in self.warmings().iter().filter(|job| job.name.as_ref() == Some(&name)) {
            before.over().await;
        }
        loop {
            let left_out = self.run_once(&name, &warming, known).await;
            let pause = sleep(every.mul_f64(1.0 + JITTER * chance()));
            tokio::select! {
                () = pause => {}
                () = self.until_one_is_open(&left_out), if !left_out.is_empty() => {}
            }
        }
    }

    /// One run, when an upstream of the list can be asked. Gives the images that were left out of it, or that an upstream
    /// was asked for that could not be asked at its end any more.
    async fn run_once(&self, name: &str, warming: &Warming, known: &Mutex<Known>) -> Vec<Images> {
        let (open, left_out) = loop {
            let (open, closed): (Vec<_>, Vec<_>) =
                warming.images.iter().cloned().partition(|images| self.can_be_asked(images));
            locked(known).waits_for = self.names_of(&closed);
            if !open.is_empty() || closed.is_empty() {
                break (open, closed);
            }
            tracing::debug!(warm = name, "a regular warming waits: none of its upstreams is asked now");
            self.until_one_is_open(&closed).await;
        };
        let begun = self.begin_warming(Warming { images: open, ..warming.clone() }, Some(name.to_owned()));
        let job = match begun {
            Ok(job) => Stopped(job),
            Err(why) => {
                tracing::warn!(warm = name, %why, "a regular warming is left out");
                return left_out;
            }
        };
        job.0.over().await;
        tell(name, &job.0);
        let Some((Ending::Whole | Ending::Missing, ended)) = job.0.ended() else { return left_out };
        let images = job.0.ledger.finished_since(0);
        let was_asked = |image: &str| image.parse().is_ok_and(|image| self.was_asked(&image));
        locked(known).proven.take(&images, was_asked, left_out.is_empty(), ended);
        let closed = warming.images.iter().filter(|images| !self.can_be_asked(images));
        closed.cloned().collect()
    }

    /// The upstream of these images, where there is one.
    fn site_of(&self, images: &Images) -> Option<Arc<Site>> {
        let selected = match images {
            Images::One(image) => self.select_image(image.written_registry(), image.written_name().as_str()),
            // Any name will do: it is the registry that is asked for.
            Images::Matching(glob) => self.select_image(glob.written_registry(), "any"),
        };
        selected.ok().map(|target| target.site)
    }

    /// Whether a run may begin with these: also where it is the run that finds out that nobody answers.
    fn can_be_asked(&self, images: &Images) -> bool {
        self.site_of(images).is_none_or(|site| site.contact() == Contact::Open)
    }

    /// Whether what was found of an image is upstream's word.
    fn was_asked(&self, images: &Images) -> bool {
        let is_silent = |site: Arc<Site>| site.contact() != Contact::Open || site.upstream().is_left_alone();
        !self.site_of(images).is_some_and(is_silent)
    }

    fn names_of(&self, images: &[Images]) -> Vec<String> {
        let sites = images.iter().filter_map(|images| self.site_of(images));
        let mut names: Vec<_> = sites.map(|site| site.name().to_owned()).collect();
        names.sort();
        names.dedup();
        names
    }

    /// Waits until one of these can be asked for that could not, by a switch, another configuration, or by itself.
    async fn until_one_is_open(&self, images: &[Images]) {
        loop {
            // Before it is looked, so that no turn is missed.
            let mut turns = self.switch().turns();
            if images.iter().any(|images| self.can_be_asked(images)) {
                return;
            }
            let away = images.iter().filter_map(|images| self.site_of(images));
            let away = away.filter(|site| site.contact() == Contact::Away);
            let mut answers: Vec<_> = away
                .map(|site| -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
                    Box::pin(async move { site.upstream().until_asked().await })
                })
                .collect();
            answers.push(Box::pin(async move {
                // The sender is the mirror's own.
                let _ = turns.changed().await;
            }));
            select_all(answers).await;
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
