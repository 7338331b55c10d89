//! Whether a request that got no response is sent once more.
//!
//! One quick second try, and only for what a second try can mend: a pooled connection that upstream had closed, a backend
//! that was just being restarted. Longer waits are for those who know what is cached, and broken bodies are continued by
//! whoever holds their bytes. Every request is a GET or a HEAD, or asks for a token, and so
//! may be repeated.

use std::time::Duration;

use super::failure::{Cause, Unresolved};

/// The pause before a second connection, so that a restart has a moment to end.
const PAUSE: Duration = Duration::from_millis(100);

/// How long to wait before sending the request again, or that it should not be.
pub(super) fn pause(cause: &Cause, retried: bool, elapsed: Duration, budget: Duration) -> Option<Duration> {
    let pause = match cause {
        Cause::Cut => Duration::ZERO,
        Cause::Connect(_) | Cause::Resolve { why: Unresolved::ForNow | Unresolved::Failed(_), .. } => PAUSE,
        _ => return None,
    };
    (!retried && elapsed + pause < budget / 2).then_some(pause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_connection_is_tried_again_once_and_early() {
        let budget = Duration::from_secs(10);
        let soon = Duration::from_millis(5);
        let unresolved = |why| Cause::Resolve { host: "a.example".into(), why };
        for (cause, retried, elapsed, wait) in [
            (Cause::Cut, false, soon, Some(Duration::ZERO)),
            (Cause::Cut, true, soon, None),
            (Cause::Cut, false, Duration::from_secs(6), None),
            (Cause::Connect("refused".into()), false, soon, Some(PAUSE)),
            (unresolved(Unresolved::ForNow), false, soon, Some(PAUSE)),
            (unresolved(Unresolved::Failed("x".into())), false, soon, Some(PAUSE)),
            (unresolved(Unresolved::Unknown), false, soon, None),
            (unresolved(Unresolved::TimedOut), false, soon, None),
            (Cause::Proxy("x".into()), false, soon, None),
            (Cause::Tls("unknown issuer".into()), false, soon, None),
            (Cause::ConnectTimeout, false, soon, None),
            (Cause::HeaderTimeout, false, soon, None),
            (Cause::RedirectRefused("x".into()), false, soon, None),
            (Cause::Garbage("x".into()), false, soon, None),
            (Cause::Status(503), false, soon, None),
            (Cause::Offline, false, soon, None),
        ] {
            assert_eq!(pause(&cause, retried, elapsed, budget), wait, "{cause:?} {retried} {elapsed:?}");
        }
    }
}
