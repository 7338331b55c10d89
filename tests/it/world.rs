//! The usual scene: one upstream, one mirror before it, one repository.

use std::time::{Duration, SystemTime};

use roadstead::clock::Clock;

use crate::support::client::{Connection, Request};
use crate::support::images::{Image, Object};
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::Upstream;

/// The repository of the scene.
pub(crate) const REPOSITORY: &str = "team/app";
/// Its tag, where it has one.
pub(crate) const TAG: &str = "v1";

/// An upstream and the mirror before it.
#[derive(Debug)]
pub(crate) struct World {
    /// The scripted upstream.
    pub(crate) upstream: Upstream,
    /// The mirror.
    pub(crate) mirror: Mirror,
}

impl World {
    /// Nothing upstream yet, everything else by default.
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// The same with further lines of TOML for the upstream.
    pub(crate) async fn with(lines: &str) -> Self {
        let upstream = Upstream::start().await;
        let mirror = Setup::with(&upstream, lines).start().await;
        Self { upstream, mirror }
    }

    /// The same, and it is what this clock says.
    pub(crate) async fn by(clock: &Clock, lines: &str) -> Self {
        let upstream = Upstream::start().await;
        let mirror = Setup::with(&upstream, lines).clock(clock).start().await;
        Self { upstream, mirror }
    }

    /// With this image upstream, under [`TAG`].
    pub(crate) async fn holding(image: &Image) -> Self {
        let world = Self::new().await;
        world.upstream.push(REPOSITORY, Some(TAG), image);
        world
    }

    /// With this one blob upstream.
    pub(crate) async fn holding_blob(blob: &Object) -> Self {
        let world = Self::new().await;
        world.upstream.push_blob(REPOSITORY, blob);
        world
    }

    /// Asks the mirror for a manifest.
    pub(crate) fn manifest(&self, reference: &str) -> Request {
        self.mirror.get(&manifest_path(reference))
    }

    /// Asks the mirror for a blob.
    pub(crate) fn blob(&self, digest: &str) -> Request {
        self.mirror.get(&blob_path(digest))
    }

    /// Has so many clients ask the same, none of whom reads an answer yet. All of them are being answered when this
    /// ends: the mirror, on the one thread of the test, turns to whoever comes after them when it has turned to them.
    pub(crate) async fn ask_together(&self, clients: usize, request: &Request) -> Vec<Connection> {
        let mut asking = Vec::new();
        for _ in 0..clients {
            let mut connection = Connection::open(self.mirror.address()).await;
            connection.write(request).await;
            asking.push(connection);
        }
        for _ in 0..3 {
            self.mirror.get("/v2/").send().await.expect(200);
        }
        asking
    }

    /// Asks the mirror for the headers of a manifest.
    pub(crate) fn head_manifest(&self, reference: &str) -> Request {
        self.mirror.head(&manifest_path(reference))
    }

    /// Asks the mirror for the headers of a blob.
    pub(crate) fn head_blob(&self, digest: &str) -> Request {
        self.mirror.head(&blob_path(digest))
    }

    /// Pulls the image by its tag, as a client does: manifest, configuration, layers; everything is right.
    pub(crate) async fn pull(&self, image: &Image) {
        self.manifest(TAG).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            self.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        }
    }

    /// Another start of the mirror over the same store.
    pub(crate) async fn restart(self) -> Self {
        Self { mirror: self.mirror.restart().await, upstream: self.upstream }
    }
}

/// Where a manifest of the repository is.
pub(crate) fn manifest_path(reference: &str) -> String {
    format!("/v2/{REPOSITORY}/manifests/{reference}")
}

/// Where a blob of the repository is.
pub(crate) fn blob_path(digest: &str) -> String {
    format!("/v2/{REPOSITORY}/blobs/{digest}")
}

/// A clock that stands still until it is put forward.
pub(crate) fn clock_by_hand() -> Clock {
    Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

/// Longer than any limit of upstream lasts.
pub(crate) const ANOTHER_DAY: Duration = Duration::from_secs(25 * 60 * 60);
