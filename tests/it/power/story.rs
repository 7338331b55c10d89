//! What happens on the disk before the power goes: three runs of a mirror before an open and a closed upstream.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use super::later;
use crate::support::images::{Image, OCI_MANIFEST, Object, image, image_of, layer, manifest_json};
use crate::support::mirror::{Mirror, Setup};
use crate::support::power::PowerDisk;
use crate::support::soon;
use crate::support::upstream::Upstream;

/// An upstream that anybody may ask, and one that asks for a password.
const OPEN: &str = "open.test";
const CLOSED: &str = "closed.test";
/// The image that is pulled, before and after its tag has moved, and one that makes room for it.
pub(super) const APP: &str = "team/app";
const OLD: &str = "team/old";
/// Where the private image is, and who names its layer without having it.
const SECRET: &str = "team/secret";
const THIEF: &str = "team/thief";
const TAG: &str = "latest";

/// All of the store. The index takes its part of it; the old image and the new one do not fit together.
pub(super) const BUDGET: u64 = 2 << 20;
const OLD_SIZE: u64 = 600_000;
const BIG_SIZE: u64 = 700_000;

/// Made once: the two versions, the old one, the private one.
static IMAGES: LazyLock<[Image; 4]> = LazyLock::new(|| {
    let first = image(1, &[20_000, 300_000, 200_000, BIG_SIZE]);
    let second = image_of(2, vec![first.layers[0].clone(), layer(2_001, 90_000)]);
    [first, second, image(3, &[OLD_SIZE]), image(4, &[60_000])]
});

/// A tag's digest is asked for at every pull; durable is what it stands for after a second.
const BINDINGS_ARE_DURABLE: Duration = Duration::from_secs(1);

/// What was said to be durable.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// Blobs that were committed, by digest.
    pub(super) blobs: Vec<String>,
    /// Whether there was an orderly end after the first version of the tag, and after the second.
    pub(super) tags: usize,
    /// When an answer told which version.
    told: Vec<Instant>,
}

/// Two upstreams, a configuration, and what has been said of the disk.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) open: Upstream,
    pub(super) closed: Upstream,
    setup: Option<Setup>,
    home: PathBuf,
    pub(super) versions: [Image; 2],
    pub(super) old: Image,
    pub(super) secret: Image,
    /// Names the secret layer in a repository that does not have it.
    pub(super) thief: Object,
    pub(super) said: Said,
    /// The old image may have been evicted by now.
    pub(super) evicting: bool,
}

/// One thing that can be asked for.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) object: Object,
    pub(super) manifest: bool,
    /// Nobody may have it here.
    pub(super) stolen: bool,
}

impl Story {
    pub(super) async fn begin() -> Self {
        let (open, closed) = (Upstream::start().await, Upstream::start().await);
        closed.require_basic(None, "ann", "secret");
        let [first, second, old, secret] = IMAGES.clone();
        let config = Object::new("application/vnd.oci.image.config.v1+json", "{}");
        let thief = Object::new(OCI_MANIFEST, manifest_json(&config, &secret.layers).to_string());
        open.push(APP, Some(TAG), &first);
        open.push(APP, None, &second);
        open.push(OLD, Some(TAG), &old);
        open.push_manifest(THIEF, &thief);
        closed.push(SECRET, Some(TAG), &secret);
        let setup = Setup::empty()
            .upstream(OPEN, &open, "default = true\ntag_ttl = \"0s\"\nnegative_ttl = \"0s\"")
            .upstream(CLOSED, &closed, "username = \"ann\"\npassword = \"secret\"")
            .set("store", &format!("max_bytes = \"{BUDGET}B\""));
        let home = setup.data().parent().unwrap().to_owned();
        Self {
            open,
            closed,
            setup: Some(setup),
            home,
            versions: [first, second],
            old,
            secret,
            thief,
            said: Said::default(),
            evicting: false,
        }
    }

    /// The directory in which the store makes its own.
    pub(super) fn home(&self) -> &Path {
        &self.home
    }

    /// A mirror over this disk; none if the power goes before it is up.
    pub(super) async fn mirror(&mut self, disk: &PowerDisk) -> Option<Mirror> {
        let setup = self.setup.take().unwrap().disk(Arc::new(disk.clone()));
        match setup.try_start().await {
            Ok(mirror) => Some(mirror),
            Err((setup, why)) => {
                assert!(!disk.is_on(), "it does not start: {why}");
                self.setup = Some(setup);
                None
            }
        }
    }

    /// An orderly end; also after the power has gone it has to come.
    pub(super) async fn end(&mut self, mirror: Mirror) {
        self.setup = Some(soon("an orderly end", mirror.stop()).await);
    }

    /// All three runs, or as far as the power lasts.
    pub(super) async fn tell(&mut self, disk: &PowerDisk) {
        for run in 0..3 {
            let Some(mirror) = self.mirror(disk).await else { return };
            tokio::select! {
                biased;
                () = disk.gone() => {}
                () = async {
                    match run {
                        0 => self.first_run(&mirror, disk).await,
                        1 => self.second_run(&mirror, disk).await,
                        _ => self.third_run(&mirror, disk).await,
                    }
                } => {}
            }
            self.stop_holding_when(disk);
            self.end(mirror).await;
            if !disk.is_on() {
                let old = |told: &&Instant| disk.age_of(**told) >= BINDINGS_ARE_DURABLE;
                self.said.tags = self.said.tags.max(self.said.told.iter().filter(old).count());
                return;
            }
            self.said.tags = self.said.told.len();
        }
    }

    /// An image that is old later, and a part of a layer: recorded while it comes, and at the end.
    async fn first_run(&mut self, mirror: &Mirror, disk: &PowerDisk) {
        pull(mirror, OPEN, OLD, &self.old).await;
        self.committed(mirror, disk, &self.old.clone()).await;

        let left = self.versions[0].layers[2].clone();
        let gate = self.open.gate(&left.digest);
        gate.allow(70_000);
        let reading = mirror.get(&blob(OPEN, APP, &left)).open().await;
        gate.held_at(70_000).await;
        later(Duration::from_secs(2)).await;
        disk.done("rename", &record(&left), 1).await;
        gate.allow(110_000);
        gate.held_at(110_000).await;
        drop(reading);
    }

    /// The image: a layer that goes on, one that comes in pieces out of order, one for which the old image has to go; and
    /// a private one.
    async fn second_run(&mut self, mirror: &Mirror, disk: &PowerDisk) {
        let version = self.versions[0].clone();
        mirror.get(&tag(OPEN, APP)).send().await.expect_bytes(&version.manifest.bytes);
        self.said.told.push(Instant::now());
        let pieces = &version.layers[1];
        let gate = self.open.gate(&pieces.digest);
        gate.allow_range(200_000..300_000);
        let tail = mirror.get(&blob(OPEN, APP, pieces)).range("200000-249999").send().await;
        tail.expect_range(&pieces.bytes, 200_000, 249_999);
        later(Duration::from_secs(2)).await;
        disk.done("rename", &record(pieces), 1).await;
        let mut whole = mirror.get(&blob(OPEN, APP, pieces)).open().await;
        gate.allow(100_000);
        gate.held_at(100_000).await;
        whole.until(80_000).await;
        later(Duration::from_secs(2)).await;
        disk.done("rename", &record(pieces), 2).await;
        gate.open();
        whole.rest().await.expect_bytes(&pieces.bytes);

        self.open.gate(&version.layers[2].digest).open();
        for part in [&version.config, &version.layers[0], &version.layers[2]] {
            mirror.get(&blob(OPEN, APP, part)).send().await.expect_bytes(&part.bytes);
        }
        pull(mirror, CLOSED, SECRET, &self.secret).await;
        mirror.get(&manifest(OPEN, THIEF, &self.thief)).send().await.expect_bytes(&self.thief.bytes);
        self.committed(mirror, disk, &self.secret.clone()).await;

        self.evicting = true;
        self.said.blobs.retain(|digest| self.old.blobs().all(|blob| blob.digest != *digest));
        let big = &version.layers[3];
        mirror.get(&blob(OPEN, APP, big)).send().await.expect_bytes(&big.bytes);
        self.committed(mirror, disk, &version).await;
        assert_eq!(
            disk.count("remove", &self.old.layers[0].digest[7..]),
            1,
            "the old layer has to be evicted"
        );
    }

    /// The tag has moved.
    async fn third_run(&mut self, mirror: &Mirror, disk: &PowerDisk) {
        let version = self.versions[1].clone();
        self.open.tag(APP, TAG, &version.manifest.digest);
        pull(mirror, OPEN, APP, &version).await;
        self.said.told.push(Instant::now());
        self.committed(mirror, disk, &version).await;
        // Not a wait for something: this is the time after which a tag is durable without an orderly end.
        tokio::time::sleep(BINDINGS_ARE_DURABLE).await;
    }

    /// Waits until the blobs of an image are committed, and takes the mirror at its word, unless the power has gone.
    async fn committed(&mut self, mirror: &Mirror, disk: &PowerDisk, image: &Image) {
        mirror.settled().await;
        if disk.is_on() {
            self.said.blobs.extend(image.blobs().map(|blob| blob.digest.clone()));
        }
    }

    /// What upstream holds back goes once the power has gone, so that nobody waits for it.
    fn stop_holding_when(&self, disk: &PowerDisk) {
        if !disk.is_on() {
            self.stop_holding();
        }
    }

    pub(super) fn stop_holding(&self) {
        for layer in &self.versions[0].layers {
            self.open.gate(&layer.digest).open();
        }
    }

    /// Every blob and manifest by digest, where it may be asked for, and where it may not; first the small ones and last
    /// the old one, because a large one may cost others their place.
    pub(super) fn everything(&self) -> Vec<Asked> {
        let mut list = Vec::new();
        let images = [
            (OPEN, APP, &self.versions[0]),
            (OPEN, APP, &self.versions[1]),
            (CLOSED, SECRET, &self.secret),
            (OPEN, OLD, &self.old),
        ];
        let ask =
            |path, object: &Object, manifest| Asked { path, object: object.clone(), manifest, stolen: false };
        list.push(ask(manifest(OPEN, THIEF, &self.thief), &self.thief, true));
        for (upstream, repository, image) in images {
            list.push(ask(manifest(upstream, repository, &image.manifest), &image.manifest, true));
            list.extend(image.blobs().map(|part| ask(blob(upstream, repository, part), part, false)));
        }
        for repository in [THIEF, APP] {
            let secret = &self.secret.layers[0];
            list.push(Asked { stolen: true, ..ask(blob(OPEN, repository, secret), secret, false) });
        }
        let old = &self.old.layers[0];
        list.sort_by_key(|asked| (asked.object == *old, asked.object.size()));
        list
    }

    /// Every object by the hex of its digest.
    pub(super) fn contents(&self) -> BTreeMap<String, Object> {
        let all = self.everything().into_iter();
        all.map(|asked| (asked.object.digest[7..].to_owned(), asked.object)).collect()
    }

    pub(super) fn tag_path(&self) -> String {
        tag(OPEN, APP)
    }
}

async fn pull(mirror: &Mirror, upstream: &str, repository: &str, image: &Image) {
    mirror.get(&tag(upstream, repository)).send().await.expect_bytes(&image.manifest.bytes);
    for part in image.blobs() {
        mirror.get(&blob(upstream, repository, part)).send().await.expect_bytes(&part.bytes);
    }
}

fn tag(upstream: &str, repository: &str) -> String {
    format!("/v2/{repository}/manifests/{TAG}?ns={upstream}")
}

fn manifest(upstream: &str, repository: &str, manifest: &Object) -> String {
    format!("/v2/{repository}/manifests/{}?ns={upstream}", manifest.digest)
}

fn blob(upstream: &str, repository: &str, blob: &Object) -> String {
    format!("/v2/{repository}/blobs/{}?ns={upstream}", blob.digest)
}

/// The name of the record of what is present of a blob.
fn record(blob: &Object) -> String {
    format!("{}.ranges", &blob.digest[7..])
}
