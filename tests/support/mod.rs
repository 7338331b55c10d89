//! The test kit: everything a test needs around a mirror, and nothing of the mirror itself.
//!
//! * [`upstream`]: a registry that is right by default and misbehaves by script, and that counts at its own socket.
//!   `upstream::profiles` are the registries of the world, as they are.
//! * [`client`]: a client that shows bytes and headers as they came, reads as slowly as told, and leaves in the middle.
//! * [`images`]: layers, manifests and indexes by seed and size.
//! * [`dice`]: numbers of no pattern, the same for the same seed.
//! * `mirror`: the real server, in this process or as the real binary, over a directory of its own.
//! * `disk`: a disk that fails on demand.
//! * `proxy`: a proxy of HTTP that remembers what it was asked.
//! * `secure`: a client that speaks TLS, HTTP/1.1 and HTTP/2.
//! * `variants`: ways of the hot path that a run of the tests is forced into.
//! * `power`: a disk in memory whose power goes, and what may be found on it afterwards.
//!
//! The kit computes digests and parses headers on its own: what it shares with the mirror it could not check.

#![allow(dead_code, reason = "every test target uses a part of the kit")]
#![allow(unused_imports, reason = "the same, for what the kit names at its top")]
#![allow(unreachable_pub, reason = "the kit is a module of whichever target includes it")]
#![allow(clippy::unwrap_used, reason = "in a test, what cannot go on should stop with a trace")]

pub mod client;
pub mod dice;
pub mod disk;
pub mod images;
pub mod mirror;
pub mod power;
pub mod proxy;
pub mod secure;
pub mod upstream;
pub mod variants;

use std::time::{Duration, Instant};

/// After this long a test gives up on something that should have happened at once.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `holds` is true, for what cannot be awaited otherwise; fails after [`PATIENCE`] with `what`.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "did not come true in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Awaits `future`, and fails after [`PATIENCE`] with `what`.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("did not happen in time: {what}"),
    }
}
