//! From a host's name to its addresses, by the system's resolver, with words for what goes wrong: an operator does one
//! thing about a name that does not exist, and another about a resolver that does not answer.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::failure::{Cause, Unresolved};

type Lookup =
    dyn Fn(String) -> Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>> + Send + Sync;

/// Whom names are asked of.
#[derive(Clone)]
pub(super) struct Names(Arc<Lookup>);

impl Names {
    /// The system.
    pub(super) fn of_the_system() -> Self {
        Self(Arc::new(|name| {
            Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) })
        }))
    }

    /// Whoever answers in a test.
    #[cfg(test)]
    pub(super) fn by<F>(lookup: impl Fn(String) -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = io::Result<Vec<SocketAddr>>> + Send + 'static,
    {
        Self(Arc::new(move |name| Box::pin(lookup(name))))
    }

    /// The addresses of a host, at least one, each with this port.
    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
        limit: Duration,
    ) -> Result<Vec<SocketAddr>, Cause> {
        let failed = |why| Err(Cause::Resolve { host: host.to_owned(), why });
        match tokio::time::timeout(limit, (self.0)(host.to_owned())).await {
            Err(_) => failed(Unresolved::TimedOut),
            Ok(Err(error)) => {
                tracing::debug!(host, %error, "a name was not resolved");
                failed(why(&error))
            }
            Ok(Ok(found)) if found.is_empty() => failed(Unresolved::Unknown),
            Ok(Ok(found)) => {
                Ok(found.into_iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
            }
        }
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Names")
    }
}

/// What the C library says of a name that is not there: glibc, then musl.
const UNKNOWN: &[&str] = &[
    "Name or service not known",
    "No address associated with hostname",
    "Address family for hostname not supported",
    "Name does not resolve",
    "Name has no usable address",
];

/// What it says when the servers that should know did not answer, or answered that they cannot tell.
const FOR_NOW: &[&str] = &["Temporary failure in name resolution", "Try again"];

/// The standard library keeps of the resolver's verdict the text alone.
fn why(error: &io::Error) -> Unresolved {
    let text = error.to_string();
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match error.kind() {
        io::ErrorKind::TimedOut => Unresolved::TimedOut,
        _ if says(UNKNOWN) => Unresolved::Unknown,
        _ if says(FOR_NOW) => Unresolved::ForNow,
        _ => Unresolved::Failed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_resolver_says_is_told_apart() {
        for (text, expected) in [
            ("Name or service not known", Unresolved::Unknown),
            ("No address associated with hostname", Unresolved::Unknown),
            ("Name does not resolve", Unresolved::Unknown),
            ("Name has no usable address", Unresolved::Unknown),
            ("Temporary failure in name resolution", Unresolved::ForNow),
            ("Try again", Unresolved::ForNow),
        ] {
            let error = io::Error::other(format!("failed to lookup address information: {text}"));
            assert_eq!(why(&error), expected, "{text}");
        }
        let lost = "failed to lookup address information: Non-recoverable failure in name resolution";
        assert_eq!(why(&io::Error::other(lost)), Unresolved::Failed(lost.to_owned()));
        assert_eq!(why(&io::ErrorKind::TimedOut.into()), Unresolved::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_is_silent_is_left_in_time_and_called_by_its_name() {
        let silent = Names::by(|_| std::future::pending());
        let failed = silent.resolve("registry.example", 443, Duration::from_secs(4)).await;
        let why = Unresolved::TimedOut;
        assert_eq!(failed, Err(Cause::Resolve { host: "registry.example".into(), why }));
    }

    #[tokio::test]
    async fn addresses_come_with_the_port_and_in_their_order() {
        let names = Names::by(|_| async { Ok(vec![([192, 0, 2, 1], 0).into(), ([192, 0, 2, 2], 9).into()]) });
        let found = names.resolve("registry.example", 443, Duration::from_secs(4)).await;
        assert_eq!(found, Ok(vec![([192, 0, 2, 1], 443).into(), ([192, 0, 2, 2], 443).into()]));
        let nothing = Names::by(|_| async { Ok(Vec::new()) });
        let failed = nothing.resolve("registry.example", 443, Duration::from_secs(4)).await;
        assert!(matches!(failed, Err(Cause::Resolve { why: Unresolved::Unknown, .. })), "{failed:?}");
    }
}
