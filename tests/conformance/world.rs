//! A registry, the mirror before it, and the router that makes one of the two.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};

use crate::router::Router;
use crate::support::client::{Answer, request};
use crate::support::images::Object;
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::tools::Tools;

/// See the module. Everything ends with it.
pub(crate) struct World {
    pub(crate) registry: Registry,
    pub(crate) mirror: Mirror,
    pub(crate) router: Router,
}

impl World {
    /// An empty one, whose mirror believes neither a tag nor its absence.
    pub(crate) async fn start(tools: &Tools) -> Self {
        let registry = Registry::start(tools);
        let at = format!("http://{}", registry.address);
        let lines = "default = true\ntag_ttl = \"0s\"\nnegative_ttl = \"0s\"";
        let mirror = Setup::empty().upstream_at(REGISTRY, &[&at], lines).start().await;
        let router = Router::start(registry.address, mirror.address()).await;
        Self { registry, mirror, router }
    }
}

/// A registry in a process of its own.
pub(crate) struct Registry {
    process: Child,
    /// It ends when this is closed, also if this process is killed.
    _life: Option<ChildStdin>,
    pub(crate) address: SocketAddr,
}

impl Registry {
    fn start(tools: &Tools) -> Self {
        let mut registry = Command::new(&tools.registry);
        registry.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = registry.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap_or_else(|_| panic!("no address in {line:?}"));
        Self { _life: process.stdin.take(), process, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Pushes a blob, by the digest that it says it has.
pub(crate) async fn push_blob(to: SocketAddr, repository: &str, blob: &Object) {
    let path = format!("/v2/{repository}/blobs/uploads/");
    let begun = request(to, "POST", &path).body(b"").send().await.expect(202);
    let place = begun.header("location").expect("a place to upload to");
    let place = place.strip_prefix(&format!("http://{to}")).unwrap_or(place);
    let separator = if place.contains('?') { '&' } else { '?' };
    let put = request(to, "PUT", &format!("{place}{separator}digest={}", blob.digest));
    put.header("Content-Type", "application/octet-stream").body(&blob.bytes).send().await.expect(201);
}

/// Pushes a manifest by a tag or by its digest.
pub(crate) async fn push_manifest(
    to: SocketAddr,
    repository: &str,
    reference: &str,
    manifest: &Object,
) -> Answer {
    let put = request(to, "PUT", &format!("/v2/{repository}/manifests/{reference}"));
    put.header("Content-Type", &manifest.media_type).body(&manifest.bytes).send().await.expect(201)
}
