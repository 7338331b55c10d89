//! Power that goes at every operation of an import: whatever manifest can be asked for afterwards can be pulled to its
//! end, and what is said to be imported is all there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use roadstead::bundle::{
    ExportOptions, FromStore, ImportOptions, IntoStore, Limits, Naming, Silent, Wanted, export_to_files,
    import,
};
use roadstead::oci::{Digest, Manifest, Namespace, Platforms, Repository, Tag};
use roadstead::store::fs::{Disk, RealDisk};
use roadstead::store::{Budget, OpenError, Options, Scrub, Seen, Store};
use tempfile::TempDir;

use crate::support::images::{Image, Object, image, image_of};
use crate::support::power::{Loss, PowerDisk};

const UPSTREAM: &str = "registry.test";

/// What is imported: a private image in two repositories, one in a third that shares a layer with it, one for everybody.
struct Cargo {
    bundle: PathBuf,
    /// Repository, whether it was had without credentials, and the image.
    images: Vec<(&'static str, bool, Image)>,
    _directory: TempDir,
}

impl Cargo {
    fn new() -> Self {
        let secret = image(1, &[3_000, 500]);
        let sharing = image_of(2, vec![secret.layers[0].clone()]);
        let open = image(3, &[2_000]);
        let images = vec![
            ("team/a", false, secret.clone()),
            ("team/b", false, secret),
            ("team/c", false, sharing),
            ("team/d", true, open),
        ];
        let directory = tempfile::tempdir().unwrap();
        let store = open_on(Arc::new(RealDisk), &directory.path().join("origin"));
        for (repository, anonymous, image) in &images {
            let repository = repo(repository);
            for blob in image.blobs() {
                let digest = digest(blob);
                if store.blob(&digest).is_none() {
                    let partial = store.partial(&digest, blob.size()).unwrap();
                    partial.file().write_at(&blob.bytes, 0).unwrap();
                    partial.commit(*anonymous, UPSTREAM, &repository).unwrap();
                }
                store.add_member(UPSTREAM, &repository, &digest);
            }
            let seen =
                Seen { upstream: UPSTREAM.to_owned(), repository, tag: Some("v1".parse::<Tag>().unwrap()) };
            let (digest, bytes) = (digest(&image.manifest), image.manifest.bytes.clone());
            store.put_manifest(&digest, &image.manifest.media_type, &bytes, *anonymous, &seen).unwrap();
        }
        let bundle = directory.path().join("site.tar");
        let options = ExportOptions {
            wanted: Wanted::All,
            naming: naming(),
            platforms: Platforms::All,
            referrers: true,
            since: Vec::new(),
            max_volume: None,
        };
        export_to_files(&mut FromStore::new(store), &bundle, &options, &mut Silent).unwrap();
        Self { bundle, images, _directory: directory }
    }

    /// Every manifest that is shown has all that it names, shown too. Returns how many are.
    fn expect_whole(&self, store: &Store, when: &str) -> usize {
        let mut shown = 0;
        for (repository, _, image) in &self.images {
            let repository = repo(repository);
            let served = serves_manifest(store, &repository, &image.manifest);
            let tag = store.binding(UPSTREAM, &repository, &"v1".parse().unwrap());
            assert!(served || tag.is_none(), "{when}: the tag of {repository} leads nowhere");
            shown += usize::from(tag.is_some());
            if !served {
                continue;
            }
            for blob in image.blobs() {
                assert!(
                    serves_blob(store, &repository, blob),
                    "{when}: {repository} shows a manifest and not its blob {}",
                    blob.digest
                );
            }
        }
        shown
    }
}

/// The store, unless the power goes before it is open.
fn try_open(disk: Arc<dyn Disk>, path: &Path) -> Result<Store, OpenError> {
    let options = Options {
        path: path.to_owned(),
        max_bytes: Budget::Bytes(64 << 20),
        max_blob: None,
        scrub: Scrub::NEVER,
        pins: Vec::new(),
    };
    Store::open(disk, options)
}

fn open_on(disk: Arc<dyn Disk>, path: &Path) -> Store {
    try_open(disk, path).unwrap()
}

fn repo(name: &str) -> Repository {
    name.parse().unwrap()
}

fn digest(object: &Object) -> Digest {
    object.digest.parse().unwrap()
}

fn naming() -> Naming {
    Naming::new(&[Namespace { name: UPSTREAM.to_owned(), ..Namespace::default() }]).unwrap()
}

/// As requests do: who is nobody's waits for what the crash has left to be read, and is looked at once more.
fn may_have(store: &Store, repository: &Repository, digest: &Digest, anonymous: bool) -> bool {
    let may = || {
        let named = anonymous && store.is_named(UPSTREAM, repository, digest).is_some();
        store.is_member(UPSTREAM, repository, digest) || named
    };
    may() || (store.await_manifests(Duration::from_secs(60)) && may())
}

fn serves_manifest(store: &Store, repository: &Repository, manifest: &Object) -> bool {
    let digest = digest(manifest);
    if !store.adopt_manifest(&digest).unwrap() {
        return false;
    }
    let anonymous = store.is_manifest_anonymous(&digest).unwrap();
    if !may_have(store, repository, &digest, anonymous) {
        return false;
    }
    let stored = store.manifest(&digest).unwrap().expect("it was here a moment ago");
    assert_eq!(stored.bytes, manifest.bytes);
    assert!(Manifest::parse(&stored.media_type, &stored.bytes).is_ok());
    true
}

fn serves_blob(store: &Store, repository: &Repository, blob: &Object) -> bool {
    let digest = digest(blob);
    let Some(info) = store.adopt_blob(&digest).unwrap() else { return false };
    if !may_have(store, repository, &digest, info.anonymous) {
        return false;
    }
    let file = store.open_blob(&digest).unwrap().expect("it was here a moment ago");
    let mut bytes = vec![0; usize::try_from(file.size()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    assert_eq!(Bytes::from(bytes), blob.bytes);
    true
}

#[test]
fn g8_power_that_goes_at_any_operation_of_an_import_shows_no_manifest_without_its_blobs() {
    let cargo = Cargo::new();
    let (next, whole, between) = (AtomicUsize::new(0), AtomicUsize::new(usize::MAX), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..super::AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let point = next.fetch_add(1, Ordering::SeqCst);
                    if point > whole.load(Ordering::SeqCst) {
                        break;
                    }
                    let (half, went) = lose_power_at(&cargo, point);
                    between.fetch_add(half, Ordering::SeqCst);
                    if !went {
                        whole.fetch_min(point, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let points = whole.into_inner();
    assert!(points > 60, "{points} operations: what has become of the import?");
    assert!(between.into_inner() > 0, "the power never went between the first manifest and the last");
}

/// One import, and what it may leave. Returns how often some manifests were there and not all, and whether the power went
/// at all.
fn lose_power_at(cargo: &Cargo, point: usize) -> (usize, bool) {
    let (base, home) = (Path::new("/ship"), Path::new("/ship/data"));
    let options = ImportOptions { naming: naming(), limits: Limits::default(), move_back: false };
    // The store is there: what an import does to it is what is looked at.
    let disk = PowerDisk::new(base);
    open_on(Arc::new(disk.clone()), home).close();
    let disk = disk.found_again(Loss::Nothing).lose_power_after(point);
    let imported = try_open(Arc::new(disk.clone()), home).is_ok_and(|store| {
        let bundle = std::slice::from_ref(&cargo.bundle);
        import(bundle, &mut IntoStore::new(store), &options, &mut Silent).is_ok()
    });
    let mut half = 0;
    for loss in [Loss::Nothing, Loss::Bytes, Loss::Names, Loss::Everything, Loss::Dice(point as u64)] {
        let store = open_on(Arc::new(disk.found_again(loss)), home);
        let when = format!("operation {point} ({:?}), {loss:?}", disk.went_at());
        let shown = cargo.expect_whole(&store, &when);
        assert!([0, cargo.images.len()].contains(&shown), "{when}: {shown} tags");
        assert!(!imported || shown > 0, "{when}: what was imported is not shown");
        half += usize::from(shown == 0 && store.stats().manifests > 0);
    }
    assert!(imported || !disk.is_on(), "it failed without a reason");
    (half, !disk.is_on())
}
