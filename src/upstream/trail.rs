//! Which mirrors the request that is worked for has passed before it came here.
//!
//! It travels with the tasks that work for a request, beside what they do: nothing between the listener and the socket
//! to upstream decides anything by it. What several requests share goes by the trail of the one that began it; whoever
//! stands in a circle sends its own name along anyway, so that the circle is found in one more turn.

use std::sync::Arc;

use crate::http::Pseudonym;

tokio::task_local! {
    static TRAIL: Trail;
}

/// The mirrors that a request has passed, the first one first. Empty where no client's request is worked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trail(Arc<[Pseudonym]>);

impl Trail {
    /// That of a request which came by these.
    #[must_use]
    pub fn of(passed: &[Pseudonym]) -> Self {
        Self(passed.into())
    }

    /// Does `work` for a request that came this way.
    pub fn lead<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        TRAIL.scope(self, work)
    }

    /// Takes the trail of the running task along into `work`, which becomes a task of its own.
    pub fn carried<F: Future>(work: F) -> impl Future<Output = F::Output> {
        Self::current().lead(work)
    }

    /// That of the running task.
    pub(super) fn current() -> Self {
        TRAIL.try_with(Clone::clone).unwrap_or_default()
    }

    pub(super) fn passed(&self) -> impl Iterator<Item = Pseudonym> + '_ {
        self.0.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn t93_a_trail_goes_into_the_tasks_that_are_begun_on_it_and_no_further() {
        let trail = Trail::of(&[Pseudonym::random()]);
        let seen = trail.clone().lead(async {
            let carried = tokio::spawn(Trail::carried(async { Trail::current() }));
            let plain = tokio::spawn(async { Trail::current() });
            (Trail::current(), carried.await.expect("a task"), plain.await.expect("a task"))
        });
        assert_eq!(seen.await, (trail.clone(), trail, Trail::default()));
        assert_eq!(Trail::current(), Trail::default());
    }
}
