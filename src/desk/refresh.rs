//! `refresh`: somebody has just pushed, and upstream is asked at once.

use super::Office;
use crate::api::{Problem, ProblemCode, Refreshed};
use crate::mirror::{Refusal, Why};
use crate::oci::Reference;

impl Office {
    pub(super) fn ask_again(&self, words: &str) -> Result<Refreshed, Problem> {
        let image = self.image(words)?;
        let Reference::Tag(tag) = image.reference() else {
            return Err(Problem::bad_request("what a digest stands for never changes")
                .hint("refresh a tag, as in ghcr.io/org/app:1.2"));
        };
        let target = self.mirror.select_image(image.written_registry(), image.written_name().as_str());
        let target = target.map_err(|error| Problem::not_found(error.to_string()))?;
        let reference = format!("{}/{}:{tag}", target.site.name(), target.repository);
        let asked = self.runtime.block_on(self.mirror.refresh(&target, &tag));
        let news = asked.map_err(|refusal| problem(&reference, &refusal))?;
        let changed = news.before.as_ref() != Some(&news.digest);
        let before = news.before.map(|digest| digest.to_string());
        Ok(Refreshed { reference, digest: news.digest.to_string(), before, changed })
    }
}

/// What came of a question to upstream, as operators are told it: the reasons are theirs to know.
pub(super) fn problem(about: &str, refusal: &Refusal) -> Problem {
    let (code, why) = match refusal {
        Refusal::SaidNo { status: status @ (401 | 403) } => {
            (ProblemCode::Refused, format!("upstream does not give it to this mirror ({status})"))
        }
        Refusal::SaidNo { .. } => (ProblemCode::NotFound, "upstream has no such tag".to_owned()),
        Refusal::RefusedUs => {
            (ProblemCode::Refused, "upstream refuses the account of this mirror".to_owned())
        }
        Refusal::Limited { retry_after } => {
            let until = retry_after.map(|wait| format!(", for {} s", wait.as_secs())).unwrap_or_default();
            (ProblemCode::Unreachable, format!("upstream limits this mirror{until}"))
        }
        Refusal::DidNotAnswer { reason, .. } => {
            (ProblemCode::Unreachable, format!("upstream did not answer: {reason}"))
        }
        Refusal::OutOfTime { reason } => {
            (ProblemCode::Unreachable, format!("upstream did not answer in time: {reason}"))
        }
        Refusal::WrongContent { reason } => {
            (ProblemCode::Unreachable, format!("upstream sent something else: {reason}"))
        }
        Refusal::Crowded => (ProblemCode::Unavailable, "as many blobs as may be are on their way".to_owned()),
        Refusal::Offline { why: Why::Away, .. } => {
            (ProblemCode::Unreachable, "upstream does not answer, and is not asked meanwhile".to_owned())
        }
        Refusal::Offline { .. } => {
            (ProblemCode::Conflict, "upstream is not asked: its mode is offline (roadstead mode)".to_owned())
        }
        Refusal::Internal { reason } => (ProblemCode::Internal, reason.clone()),
    };
    Problem::new(code, format!("{about}: {why}"))
}
