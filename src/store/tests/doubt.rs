//! Files that were replaced: read once, however many ask, and never while somebody waits long.

use super::model::BlobEntry;
use super::*;
use std::sync::atomic::AtomicUsize;

/// A store that reads so much at once, with one blob whose file has been restored from elsewhere; and how often blobs
/// are read from then on.
fn replaced(
    read_at_once: u64,
    bytes: &[u8],
    restored: &[u8],
) -> (Store, tempfile::TempDir, Digest, Arc<AtomicUsize>) {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let policy = Policy { read_at_once, ..EAGER };
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 64 << 20), policy).unwrap();
    let (digest, partial) = fill(&store, bytes).unwrap();
    partial.set_anonymous(true);
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    let path = Layout::new(dir.path()).content(Tree::Blobs, &digest);
    write_file(&path.with_extension("copy"), restored);
    RealDisk.rename(&path.with_extension("copy"), &path).unwrap();
    let reads = Arc::new(AtomicUsize::new(0));
    let counted = reads.clone();
    disk.set(move |op, path| {
        if op == Op::Read && path.to_string_lossy().contains("/blobs/") {
            counted.fetch_add(1, Ordering::SeqCst);
        }
        None
    });
    (store, dir, digest, reads)
}

#[test]
fn g1_a_replaced_file_is_read_once_for_all_who_ask() {
    let bytes = content(3, 8 << 20);
    let (store, _dir, digest, reads) = replaced(64 << 20, &bytes, &bytes);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(store.open_blob(&digest).unwrap().is_some()));
        }
    });
    // In pieces of a mebibyte, and a last look that finds the end.
    assert_eq!(reads.load(Ordering::SeqCst), 9);
}

#[test]
fn g3_a_large_replaced_file_is_left_to_a_fill_and_keeps_all_that_is_known_of_it() {
    let bytes = content(3, 3 << 20);
    let (store, dir, digest, reads) = replaced(1 << 20, &bytes, &bytes);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| assert!(store.open_blob(&digest).unwrap().is_none()));
        }
    });
    assert_eq!(reads.load(Ordering::SeqCst), 0, "nobody waits for the whole");
    assert_eq!((store.blob(&digest), store.stats().quarantined), (None, 0));
    assert!(store.is_member("docker.io", &repo("a"), &digest));

    let all: Ranges = std::iter::once(0..3 << 20).collect();
    store.close();
    drop(store);
    let store = open(dir.path());
    let recorded = store.recorded(&digest).unwrap();
    assert_eq!((recorded.size, &recorded.present), (3 << 20, &all));
    assert_eq!(recorded.sources, [("docker.io".to_owned(), repo("a"))]);
    assert!(store.is_member("docker.io", &repo("a"), &digest));
    let partial = store.partial(&digest, 3 << 20).unwrap();
    assert_eq!(partial.present(), all);
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    assert_eq!(read_blob(&store, &digest), Some(bytes));
    assert!(store.blob(&digest).unwrap().anonymous);
    assert!(RealDisk.list(&Layout::new(dir.path()).partials()).unwrap().is_empty());
}

#[test]
fn g9_a_secret_that_is_left_to_a_fill_stays_one() {
    let bytes = content(3, 3 << 20);
    let (store, _dir, digest, _) = replaced(1 << 20, &bytes, &bytes);
    store.core().change(|model| {
        let secret = model.blob(&digest).unwrap();
        model.insert_blob(&digest, BlobEntry { anonymous: false, ..secret });
    });
    assert!(store.open_blob(&digest).unwrap().is_none());
    store.partial(&digest, 3 << 20).unwrap().commit(true, "docker.io", &repo("a")).unwrap();
    assert!(!store.blob(&digest).unwrap().anonymous);
}

#[test]
fn a_replaced_file_that_cannot_be_moved_is_read_on_the_spot() {
    let bytes = content(3, 3 << 20);
    for restored in [bytes.clone(), content(4, 3 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        let disk = FaultDisk::new();
        let policy = Policy { read_at_once: 1 << 20, ..EAGER };
        let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 64 << 20), policy).unwrap();
        let digest = commit(&store, &bytes, "a");
        let path = Layout::new(dir.path()).content(Tree::Blobs, &digest);
        write_file(&path.with_extension("copy"), &restored);
        RealDisk.rename(&path.with_extension("copy"), &path).unwrap();
        disk.set(|op, path| {
            (op == Op::Rename && path.to_string_lossy().contains("/partial/")).then_some(io::ErrorKind::Other)
        });
        let right = restored == bytes;
        assert_eq!(read_blob(&store, &digest), right.then(|| bytes.clone()));
        assert_eq!(store.stats().unfinished, 0);
        assert_eq!(store.stats().quarantined, u64::from(!right));
    }
}
