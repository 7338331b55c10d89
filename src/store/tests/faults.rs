//! Disks that are full, broken, or stop in the middle.

use super::*;
use restart::wait_for_settled;
use std::sync::atomic::{AtomicBool, AtomicUsize};

fn faulty() -> (FaultDisk, tempfile::TempDir, Store) {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 64 << 20), EAGER).unwrap();
    (disk, dir, store)
}

fn is_index(path: &Path) -> bool {
    path.to_string_lossy().contains("index.redb")
}

#[test]
fn t37_a_full_disk_is_no_space_and_nothing_is_lost() {
    let (disk, _dir, store) = faulty();
    let kept = commit(&store, b"kept", "a");
    disk.set(|op, path| {
        let full = matches!(op, Op::Write | Op::SetLen | Op::CreateDir) && !is_index(path);
        full.then_some(io::ErrorKind::StorageFull)
    });
    assert!(matches!(store.partial(&sha256(b"x"), 100), Err(StoreError::NoSpace)));
    let bytes = image(&[]);
    let put = store.put_manifest(&sha256(&bytes), MANIFEST, &bytes, true, &seen("a", None));
    assert!(matches!(put, Err(StoreError::NoSpace)), "{put:?}");
    assert_eq!(read_blob(&store, &kept), Some(b"kept".to_vec()));
    disk.heal();
    commit(&store, b"again", "a");
    put.unwrap_err();
    store.put_manifest(&sha256(&bytes), MANIFEST, &bytes, true, &seen("a", None)).unwrap();
    let ledger = store.core().state().model.ledger;
    let expected = 2 * space_of(5) + ManifestEntry::space_for(bytes.len() as u64);
    assert_eq!(ledger.used() - ledger.index, expected, "no reservation is left behind");
}

#[test]
fn what_a_fill_left_is_counted_also_while_it_cannot_be_opened() {
    let (disk, _dir, store) = faulty();
    let (digest, partial) = fill(&store, &content(1, 1 << 20)).unwrap();
    partial.keep(&[0..1 << 20, 0..1].into_iter().collect());
    let left = store.core().state().model.ledger.unfinished;
    assert!(left >= 1 << 20, "{left}");
    let name = layout::flat(&digest);
    disk.set(move |op, path| (op == Op::Open && path.ends_with(&name)).then_some(io::ErrorKind::Other));
    assert!(matches!(store.partial(&digest, 1 << 20), Err(StoreError::Io { .. })));
    assert!(store.core().state().model.ledger.unfinished >= left, "its bytes are still on the disk");
    disk.heal();
    assert!(store.partial(&digest, 1 << 20).is_ok());
}

#[test]
fn a_commit_that_fails_leaves_the_bytes_for_the_next_try() {
    for failing in [Op::Sync, Op::Rename] {
        let (disk, _dir, store) = faulty();
        let bytes = content(1, 100);
        let (digest, partial) = fill(&store, &bytes).unwrap();
        partial.record(&[0..100, 0..1].into_iter().collect()).unwrap();
        disk.set(move |op, path| (op == failing && !is_index(path)).then_some(io::ErrorKind::Other));
        let failed = partial.commit(true, "docker.io", &repo("a"));
        assert!(matches!(failed, Err(StoreError::Io { .. })), "{failed:?}");
        assert_eq!(store.blob(&digest), None);
        disk.heal();
        let partial = store.partial(&digest, 100).unwrap();
        assert_eq!(partial.present().total(), 100);
        partial.set_anonymous(true);
        partial.commit(true, "docker.io", &repo("a")).unwrap();
        assert_eq!(read_blob(&store, &digest), Some(bytes));
    }
}

#[test]
fn g8_a_sync_that_has_failed_once_is_never_taken_back() {
    let (disk, _dir, store) = faulty();
    let (digest, partial) = fill(&store, &content(1, 100)).unwrap();
    let failed = AtomicBool::new(false);
    disk.set(move |op, path| {
        // The system tells of lost pages once.
        let lost = op == Op::Sync && !is_index(path) && !failed.swap(true, Ordering::SeqCst);
        lost.then_some(io::ErrorKind::Other)
    });
    let all: Ranges = [0..100, 0..1].into_iter().collect();
    assert!(partial.record(&all).is_err());
    assert!(partial.record(&all).is_err());
    assert!(matches!(partial.commit(true, "docker.io", &repo("a")), Err(StoreError::Io { .. })));
    assert_eq!((store.blob(&digest), store.recorded(&digest)), (None, None));
    commit(&store, &content(1, 100), "a");
    assert_eq!(read_blob(&store, &digest), Some(content(1, 100)));
}

#[test]
fn g9_bytes_that_a_former_fill_brought_with_credentials_keep_the_blob_secret() {
    for (former, this, expected) in [(true, true, true), (false, true, false), (true, false, false)] {
        let fixture = Fixture::new();
        let (digest, partial) = fill(&fixture.store, b"bytes").unwrap();
        partial.set_anonymous(former);
        partial.keep(&[0..3, 0..1].into_iter().collect());
        let fixture = fixture.restart();
        fixture.store.partial(&digest, 5).unwrap().commit(this, "docker.io", &repo("a")).unwrap();
        let anonymous = fixture.store.blob(&digest).unwrap().anonymous;
        assert_eq!(anonymous, expected, "{former} then {this}");
    }
}

#[test]
fn a_failing_read_is_an_error_and_not_a_drop() {
    let (disk, _dir, store) = faulty();
    let digest = commit(&store, b"kept", "a");
    let manifest = put(&store, &image(&[]), "a", None);
    disk.set(|op, path| (op == Op::Open && !is_index(path)).then_some(io::ErrorKind::Other));
    assert!(matches!(store.open_blob(&digest), Err(StoreError::Io { .. })));
    let failed = store.manifest(&manifest).unwrap_err();
    assert!(!failed.to_string().contains('/'), "what may reach a client names no path: {failed}");
    disk.heal();
    assert!(store.open_blob(&digest).unwrap().is_some());
    assert!(store.manifest(&manifest).unwrap().is_some());
}

#[test]
fn an_index_that_cannot_be_written_stops_nobody_and_is_made_again() {
    let (disk, dir, store) = faulty();
    let before = commit(&store, b"before", "a");
    assert!(store.flush());
    disk.set(|op, path| (is_index(path) && !matches!(op, Op::Read)).then_some(io::ErrorKind::StorageFull));
    let during = commit(&store, b"during", "a");
    assert!(!store.flush());
    assert!(store.stats().index_degraded);
    assert_eq!(read_blob(&store, &during), Some(b"during".to_vec()));
    disk.heal();
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
    assert!(store.blob(&before).is_some() && store.blob(&during).is_some());
}

#[test]
fn a_store_whose_index_cannot_be_written_at_the_end_is_compared_at_the_next_start() {
    let (disk, dir, store) = faulty();
    store.flush();
    disk.set(|_, path| is_index(path).then_some(io::ErrorKind::Other));
    let digest = commit(&store, b"only on disk", "a");
    store.close();
    drop(store);
    disk.heal();
    let store = open(dir.path());
    assert!(store.adopt_blob(&digest).unwrap().is_some());
    wait_for_settled(&store);
    assert!(store.blob(&digest).is_some());
}

#[test]
fn a_directory_that_is_removed_under_the_store_is_made_again() {
    let fixture = Fixture::new();
    let first = commit(&fixture.store, b"first", "a");
    let layout = fixture.layout();
    let aside = fixture.dir.path().join("aside");
    RealDisk.rename(&layout.shelf(Tree::Blobs, &first), &aside).unwrap();
    RealDisk.rename(&layout.partials(), &fixture.dir.path().join("partials-aside")).unwrap();
    assert_eq!(read_blob(&fixture.store, &first), None);
    commit(&fixture.store, b"first", "a");
    assert_eq!(read_blob(&fixture.store, &first), Some(b"first".to_vec()));
}

/// A pull: a manifest and two blobs, one of them in two goes. What is said to be durable is noted.
fn pull(store: &Store, durable: &mut Vec<Digest>) -> Result<(), StoreError> {
    let (first, second) = (content(1, 5_000), content(2, 7_000));
    let manifest = image(&[(&sha256(&first), 5_000), (&sha256(&second), 7_000)]);
    store.put_manifest(&sha256(&manifest), MANIFEST, &manifest, true, &seen("a", Some("t")))?;
    let (digest, partial) = fill(store, &first)?;
    partial.commit(true, "docker.io", &repo("a"))?;
    if store.flush() {
        durable.push(digest);
    }
    let digest = sha256(&second);
    let partial = store.partial(&digest, 7_000)?;
    partial.file().write_at(&second[..4_000], 0).map_err(StoreError::io("write"))?;
    partial.keep(&std::iter::once(0..4_000).collect());
    let partial = store.partial(&digest, 7_000)?;
    let reached = partial.present().prefix();
    partial.file().write_at(&second[reached as usize..], reached).map_err(StoreError::io("write"))?;
    partial.commit(false, "docker.io", &repo("a"))?;
    if store.flush() {
        durable.push(digest);
    }
    Ok(())
}

#[test]
fn g8_a_disk_that_stops_at_any_operation_leaves_a_store_that_is_right() {
    let contents = [content(1, 5_000), content(2, 7_000)];
    let mut finished = 0;
    for stop in 0.. {
        let (disk, dir, store) = faulty();
        let operations = AtomicUsize::new(0);
        disk.set(move |op, _| {
            let changes = !matches!(op, Op::Read | Op::List | Op::Open);
            let stopped = operations.fetch_add(usize::from(changes), Ordering::SeqCst) >= stop;
            (changes && stopped).then_some(io::ErrorKind::Other)
        });
        let mut durable = Vec::new();
        let whole = pull(&store, &mut durable).is_ok() && durable.len() == 2;
        drop(store);

        let store = open(dir.path());
        for digest in &durable {
            assert!(store.adopt_blob(digest).unwrap().is_some(), "stopped at {stop}: {digest} was durable");
        }
        wait_for_settled(&store);
        for bytes in &contents {
            let digest = sha256(bytes);
            match read_blob(&store, &digest) {
                Some(read) => assert_eq!(read, *bytes, "stopped at {stop}"),
                None => {
                    let partial = store.partial(&digest, bytes.len() as u64).unwrap();
                    for run in partial.present().iter() {
                        let mut read = vec![0; (run.end - run.start) as usize];
                        partial.file().read_at(&mut read, run.start).unwrap();
                        assert_eq!(read, bytes[run.start as usize..run.end as usize], "stopped at {stop}");
                    }
                }
            }
        }
        if let Some(secret) = store.blob(&sha256(&contents[1])) {
            assert!(!secret.anonymous, "stopped at {stop}: the marker came before the blob");
        }
        assert!(!durable.contains(&sha256(&contents[1])) || whole);
        // The index thread's share of the operations differs from run to run.
        finished += usize::from(whole);
        if finished >= 3 {
            assert!(stop > 20, "{stop}");
            break;
        }
    }
}
