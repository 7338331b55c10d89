//! `warm`: images are brought in, in the background, and whoever asked may look how far it is.

use std::time::Duration;

use super::Office;
use crate::api::{
    Problem, ProblemCode, Warm, WarmBlob, WarmJob, WarmJobs, WarmLack, WarmList, WarmProgress, WarmState,
    WarmVerdict, WarmedImage,
};
use crate::mirror::{Ending, Job, RoundState, Snapshot, Verdict, Warmed, Warming};
use crate::oci::{Images, Platform, Platforms};

/// How many images one request may name.
const MOST_IMAGES: usize = 10_000;

impl Office {
    pub(super) fn begin_warming(&self, asked: &Warm) -> Result<WarmJob, Problem> {
        let warming = warming(asked)?;
        let runtime = self.runtime.clone();
        let _inside = runtime.enter();
        let begun = self.mirror.begin_warming(warming, None);
        let job = begun.map_err(|too_many| {
            Problem::new(ProblemCode::Conflict, too_many.to_string())
                .hint("try again when one of them is over")
        })?;
        Ok(describe(&job, 0))
    }

    pub(super) fn describe_warming(&self, id: u64, since: usize) -> Result<WarmJob, Problem> {
        let job = self.job(id)?;
        Ok(describe(&job, since))
    }

    pub(super) fn list_warmings(&self) -> WarmJobs {
        let list = |round: RoundState| WarmList {
            name: round.name,
            images: round.images,
            incomplete: round.incomplete,
            ended: round.ended.map(Into::into),
            waits_for: round.waits_for,
        };
        WarmJobs {
            jobs: self.mirror.warmings().iter().map(|job| describe(job, usize::MAX)).collect(),
            lists: self.mirror.rounds_of_warming().into_iter().map(list).collect(),
        }
    }

    pub(super) fn end_warming(&self, id: u64) -> Result<WarmJob, Problem> {
        let job = self.job(id)?;
        job.stop();
        Ok(describe(&job, 0))
    }

    fn job(&self, id: u64) -> Result<std::sync::Arc<Job>, Problem> {
        self.mirror.warming(id).ok_or_else(|| {
            Problem::not_found(format!("there is no warming {id}"))
                .hint("GET /api/v1/warm lists those that are known; after a restart none is")
        })
    }
}

/// What is asked for, checked.
fn warming(asked: &Warm) -> Result<Warming, Problem> {
    if asked.images.is_empty() || asked.images.len() > MOST_IMAGES {
        let told = format!("{} images are named; it takes between 1 and {MOST_IMAGES}", asked.images.len());
        return Err(Problem::bad_request(told));
    }
    let images: Result<Vec<Images>, _> =
        asked.images.iter().map(|image| super::select::images(image)).collect();
    let mut warming = Warming::of(images?);
    warming.platforms = platforms(&asked.platforms)?;
    warming.referrers = !asked.without_referrers;
    warming.newest = asked.newest.map(|newest| usize::try_from(newest).unwrap_or(usize::MAX));
    if let Some(at_once) = asked.at_once {
        warming.at_once = usize::from(at_once).clamp(1, 64);
    }
    if let Some(patience) = asked.patience {
        warming.patience = Duration::from_secs(patience.into());
    }
    Ok(warming)
}

/// The machines that are meant; none named means all.
pub(super) fn platforms(named: &[String]) -> Result<Platforms, Problem> {
    if named.is_empty() {
        return Ok(Platforms::All);
    }
    let platforms: Result<Vec<Platform>, _> = named.iter().map(|platform| platform.parse()).collect();
    platforms.map(Platforms::These).map_err(Problem::bad_request)
}

fn describe(job: &Job, since: usize) -> WarmJob {
    let ended = job.ended();
    WarmJob {
        job: job.id,
        name: job.name.clone(),
        state: match ended {
            None => WarmState::Running,
            Some((Ending::Whole, _)) => WarmState::Done,
            Some((Ending::Missing, _)) => WarmState::Missing,
            Some((Ending::Stopped, _)) => WarmState::Stopped,
        },
        started: job.started.into(),
        ended: ended.map(|(_, at)| at.into()),
        progress: progress(job.ledger.look()),
        images: job.ledger.finished_since(since).iter().map(|warmed| image(warmed)).collect(),
    }
}

fn progress(look: Snapshot) -> WarmProgress {
    let Snapshot { images, finished, blobs, bytes, present, fetched, under_way, waits } = look;
    let under_way = under_way.into_iter().map(|blob| WarmBlob {
        digest: blob.digest.to_string(),
        image: blob.image.to_string(),
        size: blob.size,
        present: blob.present,
    });
    WarmProgress { images, finished, blobs, bytes, present, fetched, under_way: under_way.collect(), waits }
}

fn image(warmed: &Warmed) -> WarmedImage {
    WarmedImage {
        image: warmed.image.clone(),
        digest: warmed.digest.as_ref().map(ToString::to_string),
        verdict: match warmed.verdict {
            Verdict::Done => WarmVerdict::Done,
            Verdict::AlreadyHere => WarmVerdict::AlreadyHere,
            Verdict::Missing => WarmVerdict::Missing,
        },
        missing: warmed
            .lacks
            .iter()
            .map(|lack| WarmLack { what: lack.what.clone(), why: lack.why.clone() })
            .collect(),
        notes: warmed.notes.clone(),
        objects: warmed.objects,
        bytes: warmed.bytes,
        fetched: warmed.fetched,
        fetched_bytes: warmed.fetched_bytes,
    }
}
