//! Requests of other mirrors that wait for an answer which waits for them: noticed while they wait.

use std::time::Duration;

use crate::upstream::Pseudonym;

use super::site::{Mirror, Target};

/// When it is first looked. What is answered sooner costs nobody a question.
const FIRST_LOOK: Duration = Duration::from_millis(100);

/// It is looked again and again, with twice as long in between, up to this.
const RARELY: Duration = Duration::from_secs(3);

impl Mirror {
    /// Comes back when it is this mirror that has to give way in a circle of mirrors which wait for each other, with this
    /// request in it, for this path behind the repository. Without such a circle, never.
    pub async fn has_to_give_way(&self, target: &Target, path: &str) {
        let upstream = target.site.upstream();
        let mut pause = FIRST_LOOK;
        loop {
            tokio::time::sleep(pause).await;
            if upstream.waits_in_a_circle(&target.repository, path, upstream.pseudonym()).await {
                return;
            }
            pause = (pause * 2).min(RARELY);
        }
    }

    /// Whether the mirror that asks so first has to give way, since what is waited for here waits for one that its question
    /// has come by.
    pub async fn waits_in_a_circle(&self, target: &Target, path: &str, first: Pseudonym) -> bool {
        target.site.upstream().waits_in_a_circle(&target.repository, path, first).await
    }
}
