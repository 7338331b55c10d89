//! How upstreams are reached: versions of HTTP, whom to trust, proxies.

mod proxies;
mod trust;
mod two;

use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::Upstream;

/// For a machine that has other things to do: what is tested here is not how fast it makes connections.
const PATIENT: &str = "connect_timeout = \"15s\"";

/// A mirror of this upstream, whose authority it trusts, with further lines of TOML.
async fn mirror_of(upstream: &Upstream, lines: &str) -> Mirror {
    let setup = Setup::empty();
    let ca = setup.file("ca.pem", &upstream.authority_pem());
    let lines = format!("default = true\n{PATIENT}\nca = {ca:?}\n{lines}");
    setup.upstream(REGISTRY, upstream, &lines).start().await
}
