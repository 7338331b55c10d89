//! What is done after a refusal: wait and ask again, or give up and say why.
//!
//! A limit is waited for, for as long as upstream says and patience lasts: it ends. An upstream that does not answer is
//! asked again a few times, because links break for moments; a longer outage is for whoever runs the command again, since
//! what has come stays. What upstream says of the object itself is final.

use std::time::Duration;

use super::super::answer::Refusal;

/// How often an upstream that does not answer is asked again.
const TRIES: u32 = 3;

/// How long after the first time; doubled with each further one.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a limit is waited for that does not say how long it lasts.
const UNTOLD: Duration = Duration::from_secs(15);

/// What one object has waited for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    waited: Duration,
    unanswered: u32,
}

impl Patience {
    /// How long to wait before the object is asked for again; none to give up. `most` is the time for limits in all.
    pub(super) fn after(&mut self, refusal: &Refusal, most: Duration) -> Option<Duration> {
        match refusal {
            Refusal::Limited { retry_after } => {
                // A limit that is over at once would be asked about without end.
                let pause = retry_after.unwrap_or(UNTOLD).max(PAUSE);
                let waited = self.waited + pause;
                (waited <= most).then(|| {
                    self.waited = waited;
                    pause
                })
            }
            // Others end.
            Refusal::Crowded => {
                let waited = self.waited + PAUSE;
                (waited <= most).then(|| {
                    self.waited = waited;
                    PAUSE
                })
            }
            Refusal::DidNotAnswer { .. } | Refusal::OutOfTime { .. } if self.unanswered < TRIES => {
                let pause = PAUSE * 2_u32.pow(self.unanswered);
                self.unanswered += 1;
                Some(pause.min(most))
            }
            _ => None,
        }
    }
}

/// Why there is no answer, for people.
pub(super) fn why(refusal: &Refusal) -> String {
    match refusal {
        Refusal::SaidNo { status: 404 | 410 } => "upstream does not have it".to_owned(),
        Refusal::SaidNo { status } => format!("upstream does not give it to us (status {status})"),
        Refusal::RefusedUs => "upstream refuses our account".to_owned(),
        Refusal::Limited { retry_after: Some(after) } => {
            format!("upstream limits us for another {} s, which is longer than is waited", after.as_secs())
        }
        Refusal::Limited { retry_after: None } => "upstream limits us".to_owned(),
        Refusal::DidNotAnswer { reason, .. } | Refusal::OutOfTime { reason } => {
            format!("upstream did not answer: {reason}")
        }
        Refusal::Crowded => "as many blobs as may be are on their way (limits.max_fills)".to_owned(),
        Refusal::Offline { .. } => "upstream is not asked: this mirror is offline".to_owned(),
        Refusal::WrongContent { reason } | Refusal::Internal { reason } => reason.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn limited(seconds: u64) -> Refusal {
        Refusal::Limited { retry_after: Some(Duration::from_secs(seconds)) }
    }

    #[test]
    fn a_limit_is_waited_for_as_long_as_patience_lasts() {
        let mut patience = Patience::default();
        assert_eq!(patience.after(&limited(20), MINUTE), Some(Duration::from_secs(20)));
        assert_eq!(patience.after(&limited(0), MINUTE), Some(PAUSE));
        assert_eq!(patience.after(&limited(30), MINUTE), Some(Duration::from_secs(30)));
        assert_eq!(patience.after(&limited(20), MINUTE), None);
        assert_eq!(Patience::default().after(&limited(6 * 3600), MINUTE), None);
        assert_eq!(Patience::default().after(&Refusal::Limited { retry_after: None }, MINUTE), Some(UNTOLD));
    }

    #[test]
    fn an_upstream_that_does_not_answer_is_asked_a_few_times_more() {
        let silent = Refusal::OutOfTime { reason: String::new() };
        let mut patience = Patience::default();
        let pauses: Vec<_> =
            std::iter::from_fn(|| patience.after(&silent, MINUTE)).map(|pause| pause.as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4]);
    }

    #[test]
    fn what_upstream_says_of_the_object_is_final() {
        for refusal in [
            Refusal::SaidNo { status: 404 },
            Refusal::RefusedUs,
            Refusal::WrongContent { reason: String::new() },
            Refusal::Internal { reason: String::new() },
        ] {
            assert_eq!(Patience::default().after(&refusal, MINUTE), None, "{refusal:?}");
        }
    }
}
