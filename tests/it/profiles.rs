//! The registries of the world, each with its habits, behind the mirror: `docs/upstreams.md` has the list.
//!
//! [`stories`] pulls a signed release of two platforms through each of them: cold, warm, and after everything that was given
//! out has come to its end. The other modules are about what is special to one family.

mod amazon;
mod azure;
mod distribution;
mod docker_hub;
mod enforced;
mod github;
mod google;
mod harbor;
mod kubernetes;
mod nvidia;
mod quay;
mod stories;
mod tunnel;

use std::collections::HashMap;

use futures_util::future::join_all;
use serde_json::Value;

use crate::support::client::Request;
use crate::support::images::{Image, Object};
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::profiles::{Profile, Wares};
use crate::support::upstream::{Kind, Seen};

/// The tag of the releases.
pub(crate) const TAG: &str = "v1";

/// Whatever is asked for by tag is asked again each time.
const FRESH: &str = "tag_ttl = \"0s\"\nnegative_ttl = \"0s\"";

/// A registry of the world and a mirror before it.
#[derive(Debug)]
pub(crate) struct Shop<P = Profile> {
    pub(crate) upstream: P,
    pub(crate) mirror: Mirror,
}

/// What is one registry of the world, whatever else it is.
pub(crate) trait Registry {
    fn profile(&self) -> &Profile;
}

impl Registry for Profile {
    fn profile(&self) -> &Profile {
        self
    }
}

impl<P: Registry> Shop<P> {
    /// A mirror that asks for tags each time.
    pub(crate) async fn open(upstream: P) -> Self {
        Self::with(upstream, FRESH).await
    }

    /// The same with other lines of TOML than those.
    pub(crate) async fn with(upstream: P, lines: &str) -> Self {
        let profile = upstream.profile();
        let lines = format!("default = true\n{}\n{lines}", profile.lines());
        let mirror = Setup::empty().upstream(profile.name, &profile.registry, &lines).start().await;
        Self { upstream, mirror }
    }

    /// A path of its repository.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}?ns={}", self.upstream.profile().repository, self.upstream.profile().name)
    }

    pub(crate) fn manifest(&self, reference: &str) -> Request {
        self.mirror.get(&self.path(&format!("manifests/{reference}")))
    }

    pub(crate) fn blob(&self, digest: &str) -> Request {
        self.mirror.get(&self.path(&format!("blobs/{digest}")))
    }

    pub(crate) fn head_blob(&self, digest: &str) -> Request {
        self.mirror.head(&self.path(&format!("blobs/{digest}")))
    }

    pub(crate) fn referrers(&self, digest: &str) -> Request {
        self.mirror.get(&self.path(&format!("referrers/{digest}")))
    }

    /// Pulls all of a release, for every platform, with its signatures, and finds it right.
    pub(crate) async fn pull(&self, wares: &Wares) {
        let head = self.mirror.head(&self.path(&format!("manifests/{TAG}"))).send().await.expect(200);
        assert_eq!(head.header("docker-content-digest"), Some(wares.index.digest.as_str()));
        self.manifest(TAG).send().await.expect_bytes(&wares.index.bytes);
        join_all(wares.images.iter().map(|image| self.pull_image(image))).await;
        self.manifest(&wares.signature_tag()).send().await.expect_bytes(&wares.signature.manifest.bytes);
        self.pull_image(&wares.signature).await;
        let list = self.referrers(&wares.index.digest).send().await.expect(200);
        let list: Value = serde_json::from_slice(&list.body).unwrap();
        assert_eq!(list["manifests"], Value::Array(vec![wares.referrer()]));
        self.pull_image(&wares.bundle).await;
    }

    async fn pull_image(&self, image: &Image) {
        self.manifest(&image.manifest.digest).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            self.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
    }

    /// Several clients pull the same release at the same time.
    pub(crate) async fn pull_together(&self, wares: &Wares) {
        join_all((0..3).map(|_| self.pull(wares))).await;
        self.mirror.settled().await;
    }

    /// Each byte of these blobs came once, and nothing was done that hurts the registry.
    pub(crate) fn expect_once<'a>(&self, blobs: impl Iterator<Item = &'a Object>) {
        for blob in blobs {
            assert_eq!(self.upstream.profile().sent_of(&blob.digest), blob.size(), "{}", blob.digest);
        }
        self.expect_no_breach();
    }

    pub(crate) fn expect_no_breach(&self) {
        assert_eq!(self.upstream.profile().breaches.all(), [""; 0]);
    }

    /// Every request that any of its servers has seen.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.upstream.profile().servers().flat_map(|server| server.seen()).collect()
    }

    /// How many of them were about a digest.
    pub(crate) fn asked_by_digest(&self) -> usize {
        self.seen().iter().filter(|seen| is_by_digest(seen)).count()
    }

    /// No digest was asked for more often than it takes to be refused, to learn what is wanted, and to be let in.
    pub(crate) fn expect_no_storm(&self) {
        let mut times: HashMap<(String, String), usize> = HashMap::new();
        for seen in self.seen().into_iter().filter(is_by_digest) {
            *times.entry((seen.asked.method, seen.asked.path)).or_default() += 1;
        }
        let most = times.iter().max_by_key(|(_, times)| **times);
        assert!(most.is_none_or(|(_, times)| *times <= 3), "{most:?}");
    }
}

fn is_by_digest(seen: &Seen) -> bool {
    let kind = seen.asked.kind;
    kind == Kind::Signed || matches!(kind, Kind::Manifest | Kind::Blob) && seen.asked.reference.contains(':')
}
