//! Whether an upstream may be spoken to at all.
//!
//! While it is shut nothing is sent: no question, no look at a name, no probe, no renewal of a token. What was under way
//! ends in the moment that it is shut, and every connection is closed with it, the unused ones as well. Who comes then is
//! told so at once.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use super::failure::{Cause, Failure};

/// The gate of one upstream.
#[derive(Debug)]
pub(super) struct Gate(Mutex<Option<CancellationToken>>);

impl Gate {
    /// One that is open.
    pub(super) fn new() -> Self {
        Self(Mutex::new(Some(CancellationToken::new())))
    }

    /// What is cancelled when it is shut; none while it is.
    pub(super) fn pass(&self) -> Option<CancellationToken> {
        self.lock().clone()
    }

    pub(super) fn is_open(&self) -> bool {
        self.lock().is_some()
    }

    /// Shuts it.
    pub(super) fn shut(&self) {
        // Not under the lock: who is woken may look at it.
        let passed = self.lock().take();
        if let Some(passed) = passed {
            passed.cancel();
        }
    }

    /// Opens it; whether it was shut.
    pub(super) fn open(&self) -> bool {
        let mut passed = self.lock();
        let was_shut = passed.is_none();
        passed.get_or_insert_default();
        was_shut
    }

    /// Has something done that speaks to upstream, for as long as that may be.
    pub(super) async fn through<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let Some(pass) = self.pass() else { return Err(Cause::Offline.into()) };
        pass.run_until_cancelled(asking).await.unwrap_or_else(|| Err(Cause::Offline.into()))
    }

    fn lock(&self) -> MutexGuard<'_, Option<CancellationToken>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    const SHUT: Result<(), Failure> = Err(Failure::DidNotAnswer(Cause::Offline));

    #[tokio::test]
    async fn what_is_under_way_ends_when_the_gate_is_shut_and_what_comes_is_not_begun() {
        let gate = Gate::new();
        assert_eq!(gate.through(ready(Ok(()))).await, Ok(()));
        let (ended, ()) = tokio::join!(gate.through(pending()), async { gate.shut() });
        assert_eq!(ended, SHUT);
        gate.shut();
        let begun = gate.through(async { unreachable!("nothing is begun behind a gate that is shut") });
        assert_eq!(begun.await, SHUT);
        assert!(!gate.is_open() && gate.pass().is_none());
    }

    #[tokio::test]
    async fn a_gate_that_is_opened_again_lets_through_what_comes_and_not_what_was_ended() {
        let gate = Gate::new();
        assert!(!gate.open(), "it was open");
        let old = gate.pass().expect("it is open");
        gate.shut();
        assert!(gate.open() && gate.is_open());
        assert!(old.is_cancelled() && !gate.pass().expect("it is open").is_cancelled());
        assert_eq!(gate.through(ready(Ok(()))).await, Ok(()));
    }
}
