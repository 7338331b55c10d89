//! The budget: reservations, eviction, and what is refused.

use super::*;
use proptest::prelude::*;
use std::sync::mpsc;

/// What the files of the store take, without the index.
fn on_disk(path: &Path) -> u64 {
    RealDisk
        .list(path)
        .unwrap()
        .into_iter()
        .map(|entry| match entry.dir {
            true => on_disk(&path.join(&entry.name)),
            false if entry.name.starts_with("index") => 0,
            false => entry.meta.allocated.min(space_of(entry.meta.len)),
        })
        .sum()
}

/// A store whose budget leaves `free` for content, beside an index that is written once and then no more, so that its
/// size does not change under the test; and that size.
fn store_with(free: u64) -> (Fixture, u64) {
    store_by(free, EAGER)
}

fn store_by(free: u64, policy: Policy) -> (Fixture, u64) {
    let policy = Policy { commit_every: Duration::from_secs(3600), ..policy };
    let measured = Fixture::with(64 << 20, policy);
    let index = index_size(&measured.store);
    let fixture = Fixture::with(index + free, policy);
    assert_eq!(index_size(&fixture.store), index);
    (fixture, index)
}

/// Has the index written, and says how large it is.
fn index_size(store: &Store) -> u64 {
    store.add_member("docker.io", &repo("a"), &sha256(b"first"));
    assert!(store.flush());
    store.core().state().model.ledger.index
}

#[test]
fn a_fill_is_counted_at_its_full_size_until_it_is_left() {
    let fixture = Fixture::new();
    let base = fixture.store.stats().used_bytes;
    let digest = sha256(b"x");
    let partial = fixture.store.partial(&digest, 1 << 20).unwrap();
    partial.file().write_at(&[1; 4096], 0).unwrap();
    let unfinished = || fixture.store.core().state().model.ledger.unfinished;
    assert_eq!(unfinished(), space_to_fill(1 << 20));
    partial.keep(&[0..4096, 0..1].into_iter().collect());
    assert!((4096..1 << 20).contains(&unfinished()), "{}", unfinished());
    fixture.store.partial(&digest, 1 << 20).unwrap().discard();
    assert_eq!(unfinished(), 0);
    assert!(fixture.store.stats().used_bytes >= base);
}

#[test]
fn what_does_not_fit_at_all_is_refused() {
    let (fixture, _) = store_with(1 << 20);
    assert!(matches!(fixture.store.partial(&sha256(b"x"), 64 << 20), Err(StoreError::TooLarge)));
    assert!(matches!(fixture.store.partial(&sha256(b"x"), u64::MAX), Err(StoreError::TooLarge)));
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_blob: Some(100), ..options(dir.path(), 64 << 20) };
    let store = Store::open(Arc::new(RealDisk), options).unwrap();
    assert!(matches!(store.partial(&sha256(b"x"), 101), Err(StoreError::TooLarge)));
    assert!(store.partial(&sha256(b"x"), 100).is_ok());
}

#[test]
fn the_least_recently_used_blob_goes_first_and_comes_below_the_low_mark() {
    let (fixture, index) = store_with(1_000_000);
    let store = &fixture.store;
    let blobs: Vec<Digest> = (0..9).map(|seed| commit(store, &content(seed, 100_000), "a")).collect();
    std::thread::sleep(Duration::from_millis(2));
    store.touch(&blobs[0]);
    assert_eq!(store.stats().evicted, 0);
    let last = commit(store, &content(9, 150_000), "a");
    assert!(store.blob(&blobs[0]).is_some() && store.blob(&last).is_some());
    assert_eq!(store.blob(&blobs[1]), None);
    assert!(!exists(&fixture.layout().content(Tree::Blobs, &blobs[1])));
    let stats = store.stats();
    assert!(stats.evicted >= 1 && stats.evicted_bytes == stats.evicted * 100_000);
    assert!(stats.used_bytes <= (index + 1_000_000) / 100 * 90 + 100, "{stats:?}");
}

#[test]
fn a_look_at_a_blob_or_a_manifest_is_no_use_of_it() {
    let (fixture, _) = store_with(1_000_000);
    let store = &fixture.store;
    let blob = commit(store, &content(1, 100_000), "a");
    let manifest = put(store, &image(&[(&blob, 100_000)]), "a", Some("t"));
    store.core().change(|model| {
        model.change_blob(&blob, |entry| entry.accessed = 1);
        model.age_manifest(&manifest, 1);
    });
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let ages = || [&blob, &manifest].map(|digest| store.accessed(digest).unwrap() < long_ago);
    assert!(
        store.inspect_blob(&blob).unwrap().is_some() && store.inspect_manifest(&manifest).unwrap().is_some()
    );
    assert_eq!(ages(), [true, true]);
    assert!(store.open_blob(&blob).unwrap().is_some() && store.manifest(&manifest).unwrap().is_some());
    assert_eq!(ages(), [false, false]);
}

#[test]
fn t36_what_has_readers_is_not_evicted_and_stays_readable_when_its_file_goes() {
    let (fixture, _) = store_with(1_000_000);
    let store = &fixture.store;
    let bytes = content(1, 600_000);
    let digest = commit(store, &bytes, "a");
    let reader = store.open_blob(&digest).unwrap().unwrap();
    assert!(matches!(store.partial(&sha256(b"x"), 500_000), Err(StoreError::NoSpace)));
    assert!(store.blob(&digest).is_some(), "nothing goes for what does not fit anyway");
    RealDisk.remove(&fixture.layout().content(Tree::Blobs, &digest)).unwrap();
    let mut read = vec![0; 600_000];
    assert_eq!(reader.read_at(&mut read, 0).unwrap(), 600_000);
    assert_eq!(read, bytes);
    drop(reader);
    assert!(store.partial(&sha256(b"x"), 500_000).is_ok());
    assert_eq!(store.blob(&digest), None);
}

#[test]
fn t36_what_is_only_kept_open_is_evicted_and_closed() {
    let (fixture, _) = store_with(1_000_000);
    let store = &fixture.store;
    let digest = commit(store, &content(1, 600_000), "a");
    drop(store.open_blob(&digest).unwrap().unwrap());
    assert!(store.blob_at_hand(&digest).is_some());
    assert!(store.partial(&sha256(b"x"), 500_000).is_ok());
    assert_eq!((store.blob(&digest), store.blob_at_hand(&digest).is_none()), (None, true));
}

#[test]
fn a_look_finds_that_a_file_has_lost_its_name_while_somebody_reads_it() {
    let (fixture, _) = store_with(1_000_000);
    let store = &fixture.store;
    let bytes = content(1, 1_000);
    let digest = commit(store, &bytes, "a");
    let reader = store.open_blob(&digest).unwrap().unwrap();
    assert!(
        Arc::ptr_eq(&reader, &store.inspect_blob(&digest).unwrap().unwrap()),
        "one file for all who read it"
    );
    RealDisk.remove(&fixture.layout().content(Tree::Blobs, &digest)).unwrap();
    assert!(store.inspect_blob(&digest).unwrap().is_none());
    assert_eq!(store.blob(&digest), None, "it is fetched again");
    let mut read = vec![0; 1_000];
    assert_eq!(reader.read_at(&mut read, 0).unwrap(), 1_000);
    assert_eq!(read, bytes);
}

#[test]
fn what_a_fill_left_long_ago_goes_before_any_whole_image_and_what_was_left_lately_stays_longer() {
    for lately in [Duration::ZERO, Duration::from_secs(600)] {
        let (fixture, _) = store_by(1_000_000, Policy { lately, ..EAGER });
        let store = &fixture.store;
        let blob = commit(store, &content(1, 300_000), "a");
        let manifest = put(store, &image(&[(&blob, 300_000)]), "a", Some("t"));
        store.core().change(|model| {
            model.change_blob(&blob, |entry| entry.accessed = 1);
            model.age_manifest(&manifest, 1);
        });
        let (left, partial) = fill(store, &content(2, 400_000)).unwrap();
        partial.keep(&[0..400_000, 0..1].into_iter().collect());
        std::thread::sleep(Duration::from_millis(2));
        let partial = store.partial(&sha256(b"x"), 400_000).unwrap();
        let is_left = store.recorded(&left).is_some();
        assert_eq!(is_left, !lately.is_zero(), "{lately:?}");
        assert_eq!(store.blob(&blob).is_some(), lately.is_zero(), "{lately:?}");
        let files = [fixture.layout().partial(&left), fixture.layout().ranges(&left)];
        assert!(files.iter().all(|file| exists(file) == is_left));
        assert!(
            matches!(store.partial(&sha256(b"y"), 700_000), Err(StoreError::NoSpace)),
            "a running fill stays"
        );
        drop(partial);
    }
}

#[test]
fn what_a_fill_left_is_not_evicted_while_somebody_reads_it() {
    let (fixture, _) = store_with(1_000_000);
    let store = &fixture.store;
    let (left, partial) = fill(store, &content(2, 600_000)).unwrap();
    let reader = partial.file();
    partial.keep(&[0..600_000, 0..1].into_iter().collect());
    assert!(matches!(store.partial(&sha256(b"x"), 500_000), Err(StoreError::NoSpace)));
    assert!(store.recorded(&left).is_some());
    drop(reader);
    assert!(store.partial(&sha256(b"x"), 500_000).is_ok());
    assert!(store.recorded(&left).is_none());
}

#[test]
fn a_file_without_a_name_is_counted_while_somebody_reads_it() {
    let (fixture, _) = store_with(1_000_000);
    let store = &fixture.store;
    let lingering = || {
        let _ = store.stats();
        store.core().state().model.ledger.lingering
    };
    let (_, partial) = fill(store, &content(2, 600_000)).unwrap();
    let reader = partial.file();
    partial.discard();
    assert_eq!((lingering(), store.stats().unfinished), (space_of(600_000), 0));
    assert!(matches!(store.partial(&sha256(b"x"), 500_000), Err(StoreError::NoSpace)));
    drop(reader);
    assert_eq!(lingering(), 0);

    // A file that the next fill cannot go on with.
    let (digest, partial) = fill(store, &content(3, 300_000)).unwrap();
    let reader = partial.file();
    drop(partial);
    let partial = store.partial(&digest, 300_000).unwrap();
    assert!(lingering() >= space_of(300_000));
    drop(reader);
    assert_eq!(lingering(), 0);
    drop(partial);
}

#[test]
fn t10_a_manifest_that_was_just_asked_for_survives_every_pressure() {
    let (fixture, _) = store_by(200_000, Policy { manifest_grace: Duration::from_secs(300), ..EAGER });
    let store = &fixture.store;
    let manifest = put(store, &image(&[]), "a", Some("latest"));
    for seed in 0..20 {
        commit(store, &content(seed, 90_000), "a");
    }
    assert!(store.stats().evicted >= 17);
    assert!(store.manifest(&manifest).unwrap().is_some());
    assert!(store.binding("docker.io", &repo("a"), &tag("latest")).is_some());
}

#[test]
fn an_evicted_manifest_takes_its_tags_and_what_is_known_by_it() {
    let (fixture, _) = store_with(100_000);
    let store = &fixture.store;
    let layer = sha256(b"layer");
    let manifest = put(store, &image(&[(&layer, 5)]), "a", Some("latest"));
    store.add_member("docker.io", &repo("a"), &layer);
    std::thread::sleep(Duration::from_millis(2));
    let partial = store.partial(&sha256(b"x"), 90_000).unwrap();
    assert!(!store.has_manifest(&manifest));
    assert_eq!(store.binding("docker.io", &repo("a"), &tag("latest")), None);
    assert!(!store.is_member("docker.io", &repo("a"), &layer));
    assert_eq!(store.is_named("docker.io", &repo("a"), &layer), None);
    assert!(!exists(&fixture.layout().sidecar(&manifest)));
    drop(partial);
}

#[test]
fn an_evicted_secret_leaves_no_way_to_be_taken_for_a_public_blob() {
    let (fixture, _) = store_with(100_000);
    let (secret, partial) = fill(&fixture.store, &content(1, 60_000)).unwrap();
    partial.commit(false, "ghcr.io", &repo("p")).unwrap();
    let marker = fixture.layout().private(&secret);
    assert!(exists(&marker));
    std::thread::sleep(Duration::from_millis(2));
    commit(&fixture.store, &content(2, 60_000), "a");
    assert_eq!(fixture.store.blob(&secret), None);
    assert!(!exists(&marker) && !exists(&fixture.layout().content(Tree::Blobs, &secret)));
}

#[test]
fn g7_a_file_to_try_things_with_is_written_only_where_there_is_room_for_it() {
    let (fixture, _) = store_with(1 << 20);
    assert!(fixture.store.scratch(&[1; 250_000]).is_ok());
    let _filling = fixture.store.partial(&sha256(b"x"), 900_000).unwrap();
    let refused = fixture.store.scratch(&[1; 250_000]).map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::StorageFull));
}

/// A store of 16 MiB after a kill, of whose 8 MiB its index has not heard, and a walk that finds them when the last is
/// dropped; it says that the file system has `in_use`.
fn uncounted(walk_holds: Duration, in_use: u64) -> (tempfile::TempDir, Store, Digest, mpsc::Sender<()>) {
    let fixture = Fixture::with(16 << 20, Policy { commit_every: Duration::from_secs(3600), ..EAGER });
    index_size(&fixture.store);
    let uncounted = commit(&fixture.store, &content(1, 8 << 20), "a");
    let dir = tempfile::tempdir().unwrap();
    copy(fixture.dir.path(), dir.path());
    let (disk, blobs) = (FaultDisk::new(), dir.path().join("blobs"));
    let (gate, opened) = mpsc::channel::<()>();
    let opened = Mutex::new(opened);
    disk.set(move |op, path| {
        if op == Op::List && path.starts_with(&blobs) {
            // Until the sender is gone.
            let _ = opened.lock().unwrap().recv();
        }
        None
    });
    *disk.space.lock().unwrap() = Some(Space { total: 1 << 40, available: (1 << 40) - in_use, files: None });
    let policy = Policy { walk_holds, ..EAGER };
    let store = Store::open_with(Arc::new(disk), &options(dir.path(), 16 << 20), policy).unwrap();
    (dir, store, uncounted, gate)
}

#[test]
fn g7_after_a_kill_a_fill_is_streamed_past_the_store_while_it_could_be_too_much_beside_what_is_not_counted_yet()
 {
    let (_dir, store, _, _gate) = uncounted(Duration::ZERO, 8 << 20);
    assert!(matches!(store.partial(&sha256(b"large"), 12 << 20), Err(StoreError::NoSpace)));
    let small = store.partial(&sha256(b"small"), 1 << 20);
    assert!(small.is_ok(), "{small:?}, though it fits whatever is found");
}

#[test]
fn g7_after_a_kill_a_fill_waits_until_all_is_counted_that_the_index_did_not_hear_of() {
    let (dir, store, uncounted, gate) = uncounted(Duration::from_secs(60), 1 << 30);
    let filling = {
        let store = store.clone();
        std::thread::spawn(move || fill(&store, &content(2, 12 << 20)).map(|(_, partial)| partial.discard()))
    };
    drop(gate);
    filling.join().unwrap().unwrap();
    // It was found, and had to go.
    assert!(store.core().is_settled());
    assert_eq!(store.blob(&uncounted), None);
    assert!(on_disk(dir.path()) < 8 << 20);
}

#[test]
fn a_disk_with_less_room_than_the_budget_is_the_limit() {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 1 << 30), EAGER).unwrap();
    let old = commit(&store, &content(1, 500_000), "a");
    std::thread::sleep(Duration::from_millis(2));
    *disk.space.lock().unwrap() = Some(Space { total: 64_000_000, available: 1_300_000, files: None });
    // A 64th of the disk is left alone: 300,000 are free.
    let partial = store.partial(&sha256(b"x"), 250_000).unwrap();
    assert!(store.blob(&old).is_some());
    drop(partial);
    let partial = store.partial(&sha256(b"y"), 600_000).unwrap();
    assert_eq!(store.blob(&old), None);
    drop(partial);
    assert!(matches!(store.partial(&sha256(b"z"), 2_000_000), Err(StoreError::NoSpace)));
}

#[test]
fn a_budget_in_percent_follows_the_file_system() {
    let disk = FaultDisk::new();
    *disk.space.lock().unwrap() = Some(Space { total: 1_000_000, available: 1_000_000, files: None });
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Budget::Percent(80), ..options(dir.path(), 0) };
    let store = Store::open(Arc::new(disk), options).unwrap();
    assert_eq!(store.stats().max_bytes, 800_000);
}

#[test]
fn figures_ask_no_disk() {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let options = Options { max_bytes: Budget::Percent(80), ..options(dir.path(), 0) };
    let set = |total| *disk.space.lock().unwrap() = Some(Space { total, available: total, files: None });
    set(1_000_000);
    let store = Store::open(Arc::new(disk.clone()), options).unwrap();
    assert!(store.flush());
    let this = std::thread::current().id();
    // The index thread may still be at it.
    disk.set(move |_, _| {
        assert_ne!(std::thread::current().id(), this, "the disk is asked");
        None
    });
    assert_eq!(store.stats().max_bytes, 800_000);
    disk.heal();
    set(2_000_000);
    commit(&store, b"something", "a");
    assert_eq!(store.stats().max_bytes, 1_600_000, "as of when room was last made");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is done, what is counted is what is there, down to the blocks that files take, and it is never above the
    /// budget.
    #[test]
    fn g7_the_store_stays_inside_its_budget(
        steps in proptest::collection::vec((0u8..9, 0u8..8, 1usize..600_000), 1..40),
    ) {
        const BUDGET: u64 = 1_500_000;
        /// VERSION and LOCK.
        const UNCOUNTED: u64 = 2 * 4096;
        let fixture = Fixture::with(BUDGET, Policy { index_spare: u64::MAX, ..EAGER });
        let store = &fixture.store;
        let mut filling: Vec<Partial> = Vec::new();
        let mut reading: Vec<Arc<BlobFile>> = Vec::new();
        for (step, seed, size) in steps {
            let bytes = content(seed, size);
            match step {
                0 | 1 => if let Ok((_, partial)) = fill(store, &bytes) {
                    partial.commit(seed % 2 == 0, "docker.io", &repo("a")).unwrap();
                },
                2 => filling.extend(fill(store, &bytes).ok().map(|(_, partial)| partial)),
                3 => if let Some(partial) = filling.pop() {
                    let size = partial.file().size();
                    partial.keep(&std::iter::once(0..size).collect());
                },
                4 => if let Some(partial) = filling.pop() {
                    reading.extend((seed % 2 == 0).then(|| partial.file()));
                    partial.discard();
                },
                5 => if let Some(file) = reading.pop() && seed % 2 == 0 { store.distrust(&file) },
                6 => {
                    let digests: Vec<Digest> = {
                        let state = store.core().state();
                        state.model.blobs().map(|(digest, _)| digest.clone()).collect()
                    };
                    for digest in digests.iter().take(1) {
                        reading.extend(store.open_blob(digest).unwrap());
                    }
                }
                7 => if let Some(partial) = filling.pop() { partial.set_aside() },
                _ => {
                    let bytes = image(&[(&sha256(&bytes), size)]);
                    let _ = store.put_manifest(&sha256(&bytes), MANIFEST, &bytes, true, &seen("a", None));
                }
            }
            let stats = store.stats();
            prop_assert!(stats.used_bytes <= BUDGET, "{stats:?}");
            // The index grows in a thread of its own, for which something may have to go: held until that has gone.
            let _room = store.core().room();
            let ledger = store.core().state().model.ledger;
            let taken = on_disk(fixture.dir.path());
            prop_assert!(taken <= ledger.used() - ledger.index + UNCOUNTED, "{taken} of {ledger:?}");
        }
        drop((filling, reading));
        let _ = store.stats();
        let state = store.core().state();
        let blobs = state.model.blobs().map(|(_, blob)| blob.space()).sum::<u64>();
        let manifests = state.model.manifests().map(|(_, manifest)| manifest.space()).sum::<u64>();
        let unfinished = state.model.unfinished.values().map(|entry| entry.counted).sum::<u64>();
        let quarantine = state.model.quarantine.iter().map(|(_, taken)| taken).sum::<u64>();
        let ledger = state.model.ledger;
        prop_assert_eq!(
            (ledger.blobs, ledger.manifests, ledger.unfinished, ledger.quarantine, ledger.lingering),
            (blobs, manifests, unfinished, quarantine, 0)
        );
    }
}
