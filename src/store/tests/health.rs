//! Disks that stop taking anything and begin again, and directories that go: what the store says of it, and that it stores
//! again by itself.

use super::*;
use std::sync::atomic::AtomicBool;
use tracing::Level;
use tracing::subscriber::Interest;

/// A subscriber that keeps the levels of the store's lines on this thread.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<Level>>>);

impl Lines {
    fn loud(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|level| **level <= Level::WARN).count()
    }
}

impl tracing::Subscriber for Lines {
    fn register_callsite(&self, _: &'static tracing::Metadata<'static>) -> Interest {
        Interest::sometimes()
    }
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "roadstead::store"
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.0.lock().unwrap().push(*event.metadata().level());
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

/// A store over a disk that can fail, which says that all is well only after a long calm.
fn faulty(max: u64) -> (FaultDisk, tempfile::TempDir, Store) {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let policy = Policy { calm: Duration::from_secs(600), ..EAGER };
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), max), policy).unwrap();
    (disk, dir, store)
}

/// What a fill and a manifest put do, as far as the disk lets them.
fn try_to_store(store: &Store, seed: u8) -> bool {
    let bytes = content(seed, 10_000);
    let stored = fill(store, &bytes).and_then(|(digest, partial)| {
        let half: Ranges = std::iter::once(0..5_000).collect();
        // What cannot be recorded is recorded the next time.
        let _ = partial.record(&half);
        partial.commit(false, "docker.io", &repo("a")).map(|()| digest)
    });
    let manifest = image(&[(&sha256(&bytes), 10_000)]);
    let put = store.put_manifest(&sha256(&manifest), MANIFEST, &manifest, true, &seen("a", Some("t")));
    stored.is_ok() && put.is_ok()
}

#[test]
fn g7_a_disk_that_fails_is_told_in_one_line_whatever_fails_of_it_and_for_how_many_blobs() {
    let changes = [Op::Open, Op::Write, Op::Sync, Op::SyncDir, Op::Rename, Op::Remove, Op::SetLen];
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other];
    for (op, kind) in changes.into_iter().flat_map(|op| kinds.map(|kind| (op, kind))) {
        let (disk, _dir, store) = faulty(64 << 20);
        let lines = Lines::default();
        let listening = tracing::subscriber::set_default(lines.clone());
        assert!(!store.stats().writes_failing);
        disk.set(move |this, _| (this == op).then_some(kind));
        for seed in 0..20 {
            try_to_store(&store, seed);
        }
        assert!(store.stats().writes_failing, "{op:?} {kind}");
        assert_eq!(lines.loud(), 1, "{op:?} {kind}");
        disk.heal();
        assert!(try_to_store(&store, 200), "{op:?} {kind}");
        assert!(!store.stats().writes_failing, "{op:?} {kind}");
        assert_eq!(lines.loud(), 1, "{op:?} {kind}");
        drop(listening);
    }
}

#[test]
fn g7_a_disk_that_becomes_read_only_costs_nothing_that_is_stored_and_is_used_again_when_it_is_not() {
    let (disk, dir, store) = faulty(4_000_000);
    let stored: Vec<_> = (0..40).map(|seed| (seed, commit(&store, &content(seed, 100_000), "a"))).collect();
    assert!(store.flush());
    let evicted = store.stats().evicted;
    let kept = stored.into_iter().filter(|(_, digest)| store.blob(digest).is_some()).collect::<Vec<_>>();
    assert!(evicted > 0 && !kept.is_empty());
    disk.set(|op, _| {
        (!matches!(op, Op::Open | Op::Read | Op::List | Op::Space))
            .then_some(io::ErrorKind::ReadOnlyFilesystem)
    });
    for seed in 100..120 {
        assert!(matches!(fill(&store, &content(seed, 1_500_000)), Err(StoreError::Io { .. })));
    }
    assert_eq!(store.stats().evicted, evicted, "nothing makes way for what cannot be written");
    for (seed, digest) in &kept {
        assert_eq!(read_blob(&store, digest), Some(content(*seed, 100_000)));
    }
    disk.heal();
    let new = commit(&store, &content(200, 1_500_000), "a");
    assert!(store.stats().evicted > evicted && !store.stats().writes_failing);
    for _ in 0..6_000 {
        if store.flush() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(!store.stats().index_degraded);
    store.close();
    drop(store);
    let store = open(dir.path());
    assert!(store.core().is_settled());
    assert_eq!(read_blob(&store, &new), Some(content(200, 1_500_000)));
}

#[test]
fn g7_a_full_table_of_inodes_makes_files_go_where_bytes_would_not_have_to() {
    let (disk, _dir, store) = faulty(64 << 20);
    let kept: Vec<_> = (0..20).map(|seed| commit(&store, &content(seed, 100_000), "a")).collect();
    *disk.space.lock().unwrap() = Some(Space { total: 1 << 40, available: 1 << 39, files: Some(0) });
    commit(&store, &content(100, 1_000), "a");
    assert_eq!(store.stats().evicted, 0, "a file system that only says so, and takes files all the same");
    let removed = Arc::new(AtomicBool::new(false));
    disk.set(move |op, path| {
        let blob = path.to_string_lossy().contains("/blobs/");
        if op == Op::Remove && blob {
            removed.store(true, Ordering::SeqCst);
        }
        // What is there can be opened, and nothing else.
        let new = !blob && path.extension().is_none_or(|extension| extension != "ranges");
        let full = op == Op::Open && new && !removed.load(Ordering::SeqCst);
        full.then_some(io::ErrorKind::StorageFull)
    });
    assert!(matches!(fill(&store, &content(101, 1_000)), Err(StoreError::NoSpace)));
    commit(&store, &content(102, 1_000), "a");
    let evicted = store.stats().evicted;
    assert!((1..8).contains(&evicted), "{evicted} had to go");
    assert!(store.blob(&kept[19]).is_some());
}

#[test]
fn g7_a_disk_that_others_have_filled_is_told_and_a_blob_that_it_could_never_hold_is_not() {
    let (disk, _dir, store) = faulty(1 << 40);
    commit(&store, &content(1, 10_000), "a");
    *disk.space.lock().unwrap() = Some(Space { total: 64_000_000, available: 2_000_000, files: None });
    assert!(matches!(store.partial(&sha256(b"huge"), 64_000_000), Err(StoreError::TooLarge)));
    assert!(!store.stats().writes_failing);
    assert!(matches!(store.partial(&sha256(b"large"), 2_000_000), Err(StoreError::NoSpace)));
    assert!(store.stats().writes_failing);
    commit(&store, &content(2, 10_000), "a");
    assert!(!store.stats().writes_failing);
}

#[test]
fn g7_every_directory_that_is_removed_under_the_store_is_made_again_where_it_is_needed() {
    let directories = Layout::new(Path::new("")).directories();
    for gone in directories {
        let fixture = Fixture::new();
        let layout = fixture.layout();
        let (old, rotten) = (commit(&fixture.store, b"old", "a"), commit(&fixture.store, b"rotten", "a"));
        assert!(fixture.store.flush());
        let aside = tempfile::tempdir().unwrap();
        RealDisk.rename(&fixture.dir.path().join(&gone), &aside.path().join("aside")).unwrap();

        let gone = gone.display();
        let file = fixture.store.open_blob(&rotten).unwrap();
        file.iter().for_each(|file| fixture.store.distrust(file));
        assert!(!exists(&layout.content(Tree::Blobs, &rotten)), "{gone}: what is wrong is found again");
        let new = commit(&fixture.store, b"new", "a");
        let manifest = image(&[(&new, 3)]);
        let put = put(&fixture.store, &manifest, "a", Some("t"));
        let (left, partial) = fill(&fixture.store, &content(1, 5_000)).unwrap();
        partial.keep(&std::iter::once(0..4_000).collect());
        if fixture.store.open_blob(&old).unwrap().is_none() {
            commit(&fixture.store, b"old", "a");
        }
        assert!(!fixture.store.stats().writes_failing, "{gone}");
        let fixture = fixture.restart();
        assert!(fixture.store.core().is_settled(), "{gone}: the index has it all");
        assert_eq!(read_blob(&fixture.store, &new), Some(b"new".to_vec()), "{gone}");
        assert_eq!(read_blob(&fixture.store, &old), Some(b"old".to_vec()), "{gone}");
        assert!(fixture.store.manifest(&put).unwrap().is_some(), "{gone}");
        assert!(fixture.store.recorded(&left).is_some(), "{gone}");
    }
}

#[test]
fn g7_an_index_that_is_removed_under_the_store_is_made_again() {
    let fixture = Fixture::new();
    let before = commit(&fixture.store, b"before", "a");
    assert!(fixture.store.flush());
    RealDisk.remove(&fixture.layout().index()).unwrap();
    let after = commit(&fixture.store, b"after", "a");
    assert!(fixture.store.flush());
    let fixture = fixture.restart();
    assert!(fixture.store.core().is_settled());
    assert!(fixture.store.blob(&before).is_some() && fixture.store.blob(&after).is_some());
}

#[test]
fn g6_a_store_on_a_full_disk_opens_and_gives_what_it_has() {
    let fixture = Fixture::new();
    let kept = commit(&fixture.store, b"kept", "a");
    let manifest = put(&fixture.store, &image(&[(&kept, 4)]), "a", Some("t"));
    let Fixture { dir, store } = fixture;
    for clean in [true, false] {
        if clean {
            store.close();
        }
        let copied = tempfile::tempdir().unwrap();
        copy(dir.path(), copied.path());
        let disk = FaultDisk::new();
        disk.set(|op, _| matches!(op, Op::Write | Op::SetLen).then_some(io::ErrorKind::StorageFull));
        let store = Store::open(Arc::new(disk.clone()), options(copied.path(), 64 << 20)).unwrap();
        assert_eq!(read_blob(&store, &kept), Some(b"kept".to_vec()));
        assert!(store.manifest(&manifest).unwrap().is_some());
        assert!(store.binding("docker.io", &repo("a"), &tag("t")).is_some());
        disk.heal();
        commit(&store, b"more", "a");
    }
}

#[test]
fn g7_while_a_call_of_the_disk_does_not_return_nobody_else_waits_for_it_and_afterwards_all_is_stored() {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let policy = Policy { hung_after: Duration::from_secs(1), ..EAGER };
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 64 << 20), policy).unwrap();
    let kept = commit(&store, b"kept", "a");
    let name = layout::flat(&sha256(&content(1, 10_000)));
    let (release, hangs) = std::sync::mpsc::channel::<()>();
    let (begin, begun) = std::sync::mpsc::channel::<()>();
    let hangs = Mutex::new((begin, hangs));
    disk.set(move |op, path| {
        if op == Op::SetLen && path.ends_with(&name) {
            let hangs = hangs.lock().unwrap();
            let _ = hangs.0.send(());
            let _ = hangs.1.recv();
        }
        None
    });
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| fill(&store, &content(1, 10_000)).is_ok());
        begun.recv().unwrap();
        std::thread::sleep(policy.hung_after + Duration::from_millis(200));
        let begun = std::time::Instant::now();
        for seed in 100..120 {
            let refused = fill(&store, &content(seed, 1_000));
            let timed_out = |error: &io::Error| error.kind() == io::ErrorKind::TimedOut;
            assert!(matches!(&refused, Err(StoreError::Io { error, .. }) if timed_out(error)), "{refused:?}");
        }
        assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
        assert!(store.stats().writes_failing);
        assert_eq!(read_blob(&store, &kept), Some(b"kept".to_vec()));
        drop(release);
        assert!(stuck.join().unwrap());
    });
    commit(&store, &content(200, 1_000), "a");
    assert!(!store.stats().writes_failing);
}
