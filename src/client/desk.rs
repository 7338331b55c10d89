//! Every call of the desk, as a request.

use super::Remote;
use crate::api::{
    Desk, Images, ModeSwitch, Modes, PinRequest, Pins, Problem, ProblemCode, Refresh, Refreshed, Removal,
    Removed, Status, StopWarming, Tags, Usage, Verified, Verify, VerifyLine, VerifyProgress, Warm, WarmJob,
    WarmJobs,
};

impl Desk for Remote {
    fn status(&self) -> Result<Status, Problem> {
        self.get("/api/v1/status", &[])
    }

    fn images(&self, of: Option<&str>) -> Result<Images, Problem> {
        self.get("/api/v1/images", &[("of", of)])
    }

    fn usage(&self, of: Option<&str>) -> Result<Usage, Problem> {
        self.get("/api/v1/usage", &[("of", of)])
    }

    fn tags(&self, of: &str) -> Result<Tags, Problem> {
        self.get("/api/v1/tags", &[("of", Some(of))])
    }

    fn refresh(&self, asked: &Refresh) -> Result<Refreshed, Problem> {
        self.post("/api/v1/refresh", asked)
    }

    fn remove(&self, removal: &Removal) -> Result<Removed, Problem> {
        self.post("/api/v1/images/remove", removal)
    }

    fn pins(&self) -> Result<Pins, Problem> {
        self.get("/api/v1/pins", &[])
    }

    fn pin(&self, asked: &PinRequest) -> Result<Pins, Problem> {
        self.post("/api/v1/pins", asked)
    }

    fn unpin(&self, asked: &PinRequest) -> Result<Pins, Problem> {
        self.post("/api/v1/pins/remove", asked)
    }

    fn modes(&self) -> Result<Modes, Problem> {
        self.get("/api/v1/mode", &[])
    }

    fn set_mode(&self, switch: &ModeSwitch) -> Result<Modes, Problem> {
        self.post("/api/v1/mode", switch)
    }

    fn warm(&self, asked: &Warm) -> Result<WarmJob, Problem> {
        self.post("/api/v1/warm", asked)
    }

    fn warm_job(&self, job: u64, since: u64) -> Result<WarmJob, Problem> {
        let (job, since) = (job.to_string(), since.to_string());
        self.get("/api/v1/warm/job", &[("job", Some(&job)), ("since", Some(&since))])
    }

    fn warm_jobs(&self) -> Result<WarmJobs, Problem> {
        self.get("/api/v1/warm", &[])
    }

    fn stop_warming(&self, asked: &StopWarming) -> Result<WarmJob, Problem> {
        self.post("/api/v1/warm/stop", asked)
    }

    fn verify(
        &self,
        asked: &Verify,
        watch: &mut dyn FnMut(&VerifyProgress) -> bool,
    ) -> Result<Verified, Problem> {
        self.watch("/api/v1/verify/watch", asked, &mut |line| match line {
            VerifyLine::Progress(progress) if watch(&progress) => None,
            VerifyLine::Progress(_) => Some(Err(nobody_waits())),
            VerifyLine::Verified(verified) => Some(Ok(verified)),
            VerifyLine::Error(problem) => Some(Err(problem)),
        })
    }
}

fn nobody_waits() -> Problem {
    Problem::new(ProblemCode::Unavailable, "nobody waits for the proof any more")
}
