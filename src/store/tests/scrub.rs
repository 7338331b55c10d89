//! Reading what is stored again: what rots is found, and nothing else happens.

use super::*;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

const OFTEN: Scrub = Scrub { rate: 1 << 30, every: Duration::from_millis(1) };
const ONCE: Scrub = Scrub { rate: 1 << 30, every: Duration::from_secs(3600) };

/// A store in `path` that is read again.
fn scrubbed(path: &Path, disk: Arc<dyn Disk>, scrub: Scrub) -> Store {
    Store::open_with(disk, &Options { scrub, ..options(path, 64 << 20) }, EAGER).unwrap()
}

fn eventually(what: &str, holds: impl Fn() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until everything has been read once more, from now on.
fn pass(store: &Store) {
    let size: u64 = {
        let ledger = store.core().state().model.ledger;
        ledger.blobs + ledger.manifests
    };
    let now = store.stats().scrubbed_bytes;
    eventually("a round", || store.stats().scrubbed_bytes >= now + 2 * size);
}

/// Changes a byte of a file behind everybody's back.
fn rot(path: &Path) {
    let file = RealDisk.open(path, Access::Write).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 3).unwrap();
    file.write_at(&[byte[0] ^ 1], 3).unwrap();
}

#[test]
fn g7_a_byte_that_flips_on_the_disk_is_found_and_the_blob_can_be_stored_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = scrubbed(dir.path(), Arc::new(RealDisk), OFTEN);
    let layout = Layout::new(dir.path());
    let contents: Vec<_> = (0..20).map(|seed| content(seed, 5_000 * usize::from(seed + 1))).collect();
    let digests: Vec<_> = contents.iter().map(|bytes| commit(&store, bytes, "a")).collect();
    let manifest = image(&[(&digests[0], 5_000)]);
    let named = put(&store, &manifest, "a", Some("t"));
    pass(&store);
    assert_eq!((store.stats().scrub_found, store.stats().quarantined), (0, 0));

    rot(&layout.content(Tree::Blobs, &digests[7]));
    eventually("the blob", || store.stats().scrub_found == 1);
    assert_eq!(store.blob(&digests[7]), None);
    assert!(store.is_member("docker.io", &repo("a"), &digests[0]), "nothing is forgotten of the others");
    rot(&layout.content(Tree::Manifests, &named));
    eventually("the manifest", || store.stats().scrub_found == 2);
    assert!(!store.has_manifest(&named));
    assert!(store.binding("docker.io", &repo("a"), &tag("t")).is_some(), "what upstream said is still so");
    assert_eq!(store.stats().quarantined, 2);
    commit(&store, &contents[7], "a");
    put(&store, &manifest, "a", None);
    pass(&store);
    assert_eq!(store.stats().scrub_found, 2);
    for (digest, bytes) in digests.iter().zip(&contents) {
        assert_eq!(read_blob(&store, digest).as_ref(), Some(bytes));
    }
}

#[test]
fn g7_a_blob_that_was_cut_is_found_and_one_that_is_gone_or_unknown_is_nobodys_concern() {
    let dir = tempfile::tempdir().unwrap();
    let store = scrubbed(dir.path(), Arc::new(RealDisk), OFTEN);
    let layout = Layout::new(dir.path());
    let [cut, gone, kept] = [1, 2, 3].map(|seed| commit(&store, &content(seed, 5_000), "a"));
    RealDisk.remove(&layout.content(Tree::Blobs, &gone)).unwrap();
    let strange = layout.content(Tree::Blobs, &sha256(b"never seen"));
    RealDisk.create_dir(strange.parent().unwrap()).unwrap();
    write_file(&strange, b"something else");
    RealDisk.open(&layout.content(Tree::Blobs, &cut), Access::Write).unwrap().set_len(100).unwrap();
    eventually("the one that was cut", || store.stats().scrub_found == 1);
    pass(&store);
    assert_eq!(store.stats().scrub_found, 1);
    assert!(store.blob(&kept).is_some() && store.blob(&cut).is_none() && exists(&strange));
}

#[test]
fn a_round_is_one_read_of_each_file_and_the_next_does_not_begin_before_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let bytes: usize = (1..30).map(|seed| store_one(&store, seed)).sum();
    store.close();
    drop(store);
    let store = scrubbed(dir.path(), Arc::new(RealDisk), ONCE);
    eventually("the round", || store.stats().scrubbed_bytes == bytes as u64);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(store.stats().scrubbed_bytes, bytes as u64);
}

/// Stores a blob and its manifest; their bytes.
fn store_one(store: &Store, seed: u8) -> usize {
    let blob = commit(store, &content(seed, 1_000), "a");
    let manifest = image(&[(&blob, 1_000)]);
    put(store, &manifest, "a", None);
    1_000 + manifest.len()
}

#[test]
fn what_is_read_again_is_not_used_by_that_and_the_rate_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    for seed in 0..10 {
        commit(&store, &content(seed, 100_000), "a");
        std::thread::sleep(Duration::from_millis(2));
    }
    store.close();
    drop(store);
    let begun = Instant::now();
    let store = scrubbed(dir.path(), Arc::new(RealDisk), Scrub { rate: 4 << 20, ..ONCE });
    let order = |store: &Store| {
        let state = store.core().state();
        let blobs = state.model.blobs().map(|(digest, entry)| (digest.clone(), entry.accessed));
        blobs.collect::<Vec<_>>()
    };
    let before = order(&store);
    eventually("the round", || store.stats().scrubbed_bytes == 1_000_000);
    // The last bytes are counted before they are waited for.
    assert!(begun.elapsed() > Duration::from_millis(200), "{:?}", begun.elapsed());
    assert_eq!(order(&store), before);
    assert!(store.core().state().model.dirty.is_empty());
}

#[test]
fn a_store_stops_at_once_whatever_is_being_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(&store, &content(1, 1 << 20), "a");
    store.close();
    drop(store);
    let store = scrubbed(dir.path(), Arc::new(RealDisk), Scrub { rate: 1, ..ONCE });
    eventually("it to begin", || store.stats().scrubbed_bytes > 0);
    let begun = Instant::now();
    store.close();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn t53_a_blob_that_is_evicted_or_fetched_anew_while_it_is_read_is_no_finding() {
    for anew in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new();
        let store = open(dir.path());
        let bytes = content(1, 3 << 20);
        let digest = commit(&store, &bytes, "a");
        store.close();
        drop(store);
        rot(&Layout::new(dir.path()).content(Tree::Blobs, &digest));
        let (told, begun) = std::sync::mpsc::channel();
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let (told, wait) = (Mutex::new(told), Mutex::new(wait));
        disk.set(move |op, path| {
            if op == Op::Read && path.to_string_lossy().contains("/blobs/") {
                // Once nobody listens any more it goes by itself.
                let _ = told.lock().unwrap().send(());
                let _ = wait.lock().unwrap().recv();
            }
            None
        });
        // As if the file had been rotten all along: its time of change is what the index knows.
        let store =
            scrubbed(dir.path(), Arc::new(disk.clone()), Scrub { every: Duration::from_secs(60), ..ONCE });
        begun.recv().unwrap();
        store.core().distrust_blob(&digest, "somebody else has noticed");
        if anew {
            commit(&store, &bytes, "a");
        }
        drop(go_on);
        eventually("the end of it", || store.stats().scrubbed_bytes >= 3 << 20);
        store.close();
        let stats = store.stats();
        assert_eq!((stats.scrub_found, stats.quarantined), (0, 1), "{anew}");
        assert_eq!(store.blob(&digest).is_some(), anew);
    }
}

#[test]
fn g7_a_disk_that_cannot_be_read_costs_nothing_that_is_stored_and_a_file_that_cannot_goes() {
    let dir = tempfile::tempdir().unwrap();
    let disk = FaultDisk::new();
    let store = open(dir.path());
    let digests: Vec<_> = (0..20).map(|seed| commit(&store, &content(seed, 1_000), "a")).collect();
    let manifest = put(&store, &image(&[(&digests[0], 1_000)]), "a", None);
    store.close();
    drop(store);
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    let store = scrubbed(dir.path(), Arc::new(disk.clone()), OFTEN);
    disk.set(move |op, path| {
        let fails = op == Op::Read && !path.to_string_lossy().contains("index");
        counted.fetch_add(usize::from(fails), Ordering::SeqCst);
        fails.then_some(io::ErrorKind::Other)
    });
    eventually("many reads", || reads.load(Ordering::SeqCst) > 60);
    disk.heal();
    pass(&store);
    assert_eq!((store.stats().scrub_found, store.stats().quarantined), (0, 0));

    let bad = digests[5].clone();
    let name = bad.hex();
    disk.set(move |op, path| (op == Op::Read && path.ends_with(&name)).then_some(io::ErrorKind::Other));
    eventually("the one", || store.blob(&bad).is_none());
    disk.heal();
    pass(&store);
    assert_eq!(store.stats().scrub_found, 1);
    assert!(store.manifest(&manifest).unwrap().is_some());
}

#[test]
fn the_page_cache_is_given_back_save_of_what_somebody_reads_or_has_read_lately() {
    for (lately, held, expected) in [(false, false, true), (false, true, false), (true, false, false)] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new();
        let forgotten = Arc::new(AtomicUsize::new(0));
        let counted = forgotten.clone();
        disk.set(move |op, _| {
            counted.fetch_add(usize::from(op == Op::Forget), Ordering::SeqCst);
            None
        });
        let policy =
            Policy { lately: if lately { Duration::from_secs(60) } else { Duration::ZERO }, ..EAGER };
        let options = Options { scrub: OFTEN, ..options(dir.path(), 64 << 20) };
        let store = Store::open_with(Arc::new(disk), &options, policy).unwrap();
        let (digest, partial) = fill(&store, &content(1, 10_000)).unwrap();
        let open = partial.file();
        partial.commit(true, "docker.io", &repo("a")).unwrap();
        let open = held.then_some(open);
        pass(&store);
        assert_eq!(forgotten.load(Ordering::SeqCst) > 0, expected, "{lately} {held}");
        assert_eq!(store.core().open.is_held(&digest), open.is_some());
    }
}

#[test]
fn a_store_ends_also_where_everything_is_always_due_to_be_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = scrubbed(dir.path(), Arc::new(RealDisk), Scrub { every: Duration::ZERO, ..OFTEN });
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        drop(store);
        tell.send(()).unwrap();
    });
    told.recv_timeout(Duration::from_secs(60)).expect("its threads end");
}

#[test]
fn who_reads_a_blob_that_is_found_rotten_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = scrubbed(dir.path(), Arc::new(RealDisk), OFTEN);
    let digest = commit(&store, &content(1, 10_000), "a");
    let file = store.open_blob(&digest).unwrap().unwrap();
    rot(&Layout::new(dir.path()).content(Tree::Blobs, &digest));
    eventually("the blob", || store.stats().scrub_found == 1);
    assert_eq!(file.read_at(&mut [0; 10_000], 0).unwrap(), 10_000);
    assert!(store.open_blob(&digest).unwrap().is_none());
}
