//! Coming back after every kind of end.

use super::*;
use redb::{Database, TableDefinition};

/// A store with two blobs of an image, its tag, and a blob that came with credentials.
struct Pulled {
    fixture: Fixture,
    layers: Vec<Vec<u8>>,
    manifest: Digest,
    secret: Digest,
}

fn pulled() -> Pulled {
    let fixture = Fixture::new();
    let layers = vec![content(1, 2_000), content(2, 3_000)];
    let digests: Vec<Digest> =
        layers.iter().map(|layer| commit(&fixture.store, layer, "library/a")).collect();
    let bytes = image(&[(&digests[0], 2_000), (&digests[1], 3_000)]);
    let manifest = put(&fixture.store, &bytes, "library/a", Some("latest"));
    let (secret, partial) = fill(&fixture.store, b"secret").unwrap();
    partial.commit(false, "ghcr.io", &repo("private")).unwrap();
    Pulled { fixture, layers, manifest, secret }
}

/// Everything that a pull without upstream needs is there, and no more than that is shown.
fn serves(pulled: &Pulled, store: &Store) {
    let a = repo("library/a");
    let binding = store.binding("docker.io", &a, &tag("latest")).expect("the tag is known");
    assert_eq!(binding.digest, pulled.manifest);
    assert!(store.is_member("docker.io", &a, &pulled.manifest));
    let manifest = store.manifest(&pulled.manifest).unwrap().expect("the manifest is there");
    assert_eq!((manifest.media_type.as_str(), manifest.anonymous), (MANIFEST, true));
    for layer in &pulled.layers {
        let digest = sha256(layer);
        assert_eq!(store.is_named("docker.io", &a, &digest), Some(layer.len() as u64));
        assert!(store.blob(&digest).expect("the blob is there").anonymous);
        assert_eq!(read_blob(store, &digest).as_ref(), Some(layer));
    }
    let secret = store.blob(&pulled.secret).expect("the blob is there");
    assert!(!secret.anonymous, "what came with credentials stays a secret");
    assert!(store.is_member("ghcr.io", &repo("private"), &pulled.secret));
    assert!(!store.is_member("docker.io", &a, &pulled.secret));
}

pub(super) fn wait_for_settled(store: &Store) {
    for _ in 0..6_000 {
        if store.core().is_settled() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the walk does not end");
}

#[test]
fn g8_everything_serves_after_an_orderly_end_without_a_walk() {
    let mut pulled = pulled();
    pulled.fixture = pulled.fixture.restart();
    assert!(pulled.fixture.store.core().is_settled());
    serves(&pulled, &pulled.fixture.store);
}

#[test]
fn g8_everything_that_was_durable_serves_at_once_after_a_kill() {
    let pulled = pulled();
    assert!(pulled.fixture.store.flush());
    let killed = pulled.fixture.killed();
    // Before the walk has had time to do anything, or after.
    serves(&pulled, &killed.store);
    wait_for_settled(&killed.store);
    serves(&pulled, &killed.store);
    assert_eq!(killed.store.stats().blobs, 3);
}

#[test]
fn g8_what_the_index_did_not_hear_of_is_found_by_who_misses_it() {
    let fixture = Fixture::new();
    fixture.store.flush();
    // The index thread is at rest for a while after a commit of its own.
    let blob = commit(&fixture.store, b"just now", "a");
    let manifest = put(&fixture.store, &image(&[]), "a", Some("t"));
    let killed = fixture.killed();
    assert_eq!(killed.store.adopt_blob(&blob).unwrap(), Some(BlobInfo { size: 8, anonymous: true }));
    assert!(killed.store.adopt_manifest(&manifest).unwrap());
    assert_eq!(read_blob(&killed.store, &blob), Some(b"just now".to_vec()));
    let binding = killed.store.binding("docker.io", &repo("a"), &tag("t"));
    assert_eq!(binding.map(|binding| binding.digest), Some(manifest));
    assert_eq!(killed.store.adopt_blob(&sha256(b"never")).unwrap(), None);
    assert!(!killed.store.adopt_manifest(&sha256(b"never")).unwrap());
}

#[test]
fn the_walk_after_a_kill_finds_what_came_and_drops_what_went() {
    let fixture = Fixture::new();
    let gone = commit(&fixture.store, b"gone", "a");
    let gone_manifest = put(&fixture.store, &image(&[]), "a", None);
    fixture.store.flush();
    let new = commit(&fixture.store, b"new", "a");
    let dir = tempfile::tempdir().unwrap();
    copy(fixture.dir.path(), dir.path());
    let layout = Layout::new(dir.path());
    RealDisk.remove(&layout.content(Tree::Blobs, &gone)).unwrap();
    RealDisk.remove(&layout.content(Tree::Manifests, &gone_manifest)).unwrap();
    write_file(&layout.root().join("blobs/sha256/lost+found"), b"not ours");
    let store = open(dir.path());
    wait_for_settled(&store);
    assert_eq!(store.blob(&gone), None);
    assert!(!store.has_manifest(&gone_manifest));
    assert_eq!(store.blob(&new).map(|blob| blob.size), Some(3));
    assert!(exists(&layout.root().join("blobs/sha256/lost+found")));
    assert_eq!(store.stats().blobs, 1);
}

#[test]
fn g8_an_index_that_is_lost_is_made_again_from_the_files() {
    let mut pulled = pulled();
    pulled.fixture = pulled.fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    serves(&pulled, &pulled.fixture.store);
    pulled.fixture = pulled.fixture.restart();
    serves(&pulled, &pulled.fixture.store);
}

#[test]
fn g9_a_private_blob_belongs_to_all_its_repositories_also_when_the_index_is_lost() {
    let fixture = Fixture::new();
    let (others, told) = ([repo("x"), repo("y")], ["ghcr.io", "quay.io"]);
    // One is known before the blob is whole, one comes after.
    let (secret, partial) = fill(&fixture.store, b"secret").unwrap();
    fixture.store.add_member(told[0], &others[0], &secret);
    partial.commit(false, "ghcr.io", &repo("private")).unwrap();
    fixture.store.add_member(told[1], &others[1], &secret);
    let check = |store: &Store, what: &str| {
        assert!(!store.blob(&secret).expect("the blob is there").anonymous, "{what}");
        assert!(store.is_member("ghcr.io", &repo("private"), &secret), "{what}");
        for (upstream, repository) in told.iter().zip(&others) {
            assert!(store.is_member(upstream, repository, &secret), "{what}: {repository}");
        }
        assert!(!store.is_member("docker.io", &others[0], &secret), "{what}");
    };
    check(&fixture.store, "at first");
    let mut fixture = fixture;
    for what in ["without an index", "without the next one"] {
        fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
        check(&fixture.store, what);
    }
    // Whoever is no member any more does not come back with the files.
    fixture.store.core().change(|model| {
        let repo = model.intern(told[1], &others[1]);
        model.remove_member(repo, &secret);
    });
    let fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    assert!(!fixture.store.is_member(told[1], &others[1], &secret));
    assert!(fixture.store.is_member(told[0], &others[0], &secret));
}

#[test]
fn g8_a_private_blob_that_was_just_committed_is_found_with_all_its_repositories() {
    let fixture = Fixture::new();
    let (secret, partial) = fill(&fixture.store, b"secret").unwrap();
    fixture.store.add_member("ghcr.io", &repo("b"), &secret);
    partial.commit(false, "ghcr.io", &repo("a")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy(fixture.dir.path(), dir.path());
    RealDisk.remove(&Layout::new(dir.path()).index()).unwrap();
    let store = open(dir.path());
    for name in ["a", "b"] {
        assert!(store.is_member("ghcr.io", &repo(name), &secret), "{name}");
    }
}

#[test]
fn g8_a_manifest_that_comes_again_while_a_crash_is_read_back_loses_no_repository_and_no_tag() {
    let fixture = Fixture::new();
    commit(&fixture.store, b"the index has something", "a");
    fixture.store.flush();
    let bytes = image(&[]);
    let digest = put(&fixture.store, &bytes, "a", Some("t"));
    // As a crash leaves it before the index hears of that.
    let dir = tempfile::tempdir().unwrap();
    copy(fixture.dir.path(), dir.path());
    let disk = FaultDisk::new();
    let (held, gate) = std::sync::mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    disk.set(move |op, path| {
        if op == Op::List && path.ends_with("manifests/sha256") {
            // Until the test lets it go on.
            let _ = gate.lock().unwrap().recv();
        }
        None
    });
    let store = Store::open(Arc::new(disk), options(dir.path(), 64 << 20)).unwrap();
    assert!(!store.knows_manifests());
    put(&store, &bytes, "b", Some("t"));
    drop(held);
    wait_for_settled(&store);
    let expect = |store: &Store, what: &str| {
        for name in ["a", "b"] {
            let binding = store.binding("docker.io", &repo(name), &tag("t"));
            assert_eq!(binding.map(|binding| binding.digest), Some(digest.clone()), "{name} {what}");
        }
    };
    expect(&store, "when all is read");
    store.close();
    drop(store);
    RealDisk.remove(&Layout::new(dir.path()).index()).unwrap();
    expect(&open(dir.path()), "without an index");
}

#[test]
fn an_index_that_cannot_be_used_is_put_aside_and_made_again() {
    let breakages: [Breakage<fn(&Layout)>; 4] = [
        ("garbage", |layout| write_file(&layout.index(), &content(1, 100_000))),
        ("empty", |layout| write_file(&layout.index(), b"")),
        ("cut", |layout| {
            let index = RealDisk.open(&layout.index(), Access::Write).unwrap();
            index.set_len(index.meta().unwrap().len / 3).unwrap();
        }),
        ("another format", |layout| {
            let database = Database::create(layout.index()).unwrap();
            let write = database.begin_write().unwrap();
            write
                .open_table(TableDefinition::<&str, &str>::new("meta"))
                .unwrap()
                .insert("format", "0")
                .unwrap();
            write.commit().unwrap();
        }),
    ];
    for (what, breakage) in breakages {
        let mut pulled = pulled();
        pulled.fixture = pulled.fixture.broken(breakage);
        serves(&pulled, &pulled.fixture.store);
        let aside = |layout: Layout| RealDisk.list(&layout.quarantine()).unwrap().len();
        assert_eq!(aside(pulled.fixture.layout()), usize::from(what != "empty"), "{what}");
        pulled.fixture = pulled.fixture.broken(breakage);
        serves(&pulled, &pulled.fixture.store);
        assert_eq!(aside(pulled.fixture.layout()), 2 * usize::from(what != "empty"), "{what}");
        let ledger = pulled.fixture.store.core().state().model.ledger;
        assert_eq!(ledger.quarantine > 0, what != "empty", "what is put aside is counted");
    }
}

#[test]
fn an_index_with_any_page_overwritten_is_used_or_made_again() {
    let mut pulled = pulled();
    for page in 0..12 {
        pulled.fixture = pulled.fixture.broken(|layout| {
            let index = RealDisk.open(&layout.index(), Access::Write).unwrap();
            index.write_at(&[0xa5; 4096], page * 4096).unwrap();
        });
        // Whatever the index says now, the files decide what is served.
        let store = &pulled.fixture.store;
        for layer in &pulled.layers {
            let digest = sha256(layer);
            if store.blob(&digest).is_some() {
                assert_eq!(read_blob(store, &digest).as_ref(), Some(layer), "page {page}");
            }
        }
        pulled.fixture = pulled.fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
        serves(&pulled, &pulled.fixture.store);
    }
}

#[test]
fn of_two_manifests_that_claim_a_tag_the_later_has_it_after_a_rebuild() {
    let fixture = Fixture::new();
    let old = put(&fixture.store, &image(&[]), "a", Some("t"));
    std::thread::sleep(Duration::from_millis(5));
    let new = put(&fixture.store, &image(&[(&sha256(b"l"), 1)]), "a", Some("t"));
    // As it is when the rewrite of the old one's sidecar does not come about.
    let stale = fs::read(&RealDisk, &fixture.layout().sidecar(&old)).unwrap();
    let fixture = fixture.broken(|layout| {
        write_file(&layout.sidecar(&old), &stale);
        RealDisk.remove(&layout.index()).unwrap();
    });
    let binding = fixture.store.binding("docker.io", &repo("a"), &tag("t")).unwrap();
    assert_eq!(binding.digest, new);
    assert!(fixture.store.has_manifest(&old));
}

#[test]
fn a_manifest_whose_sidecar_is_torn_is_as_if_it_were_not_there() {
    let mut pulled = pulled();
    let digest = pulled.manifest.clone();
    pulled.fixture = pulled.fixture.broken(|layout| {
        write_file(&layout.sidecar(&digest), b"{\"mediaType\":\"appl");
        RealDisk.remove(&layout.index()).unwrap();
    });
    let store = &pulled.fixture.store;
    assert!(!store.has_manifest(&digest));
    assert_eq!(store.binding("docker.io", &repo("library/a"), &tag("latest")), None);
    let bytes = image(&[(&sha256(&pulled.layers[0]), 2_000), (&sha256(&pulled.layers[1]), 3_000)]);
    put(store, &bytes, "library/a", Some("latest"));
    serves(&pulled, store);
}

#[test]
fn t99_a_second_process_is_refused_and_the_first_goes_on() {
    let fixture = Fixture::new();
    let refused = Store::open(Arc::new(RealDisk), options(fixture.dir.path(), 1 << 20)).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { holder: Some(_), .. }), "{refused}");
    commit(&fixture.store, b"still ours", "a");
    fixture.store.close();
    Store::open(Arc::new(RealDisk), options(fixture.dir.path(), 1 << 20)).unwrap();
}

#[test]
fn leftovers_of_a_commit_that_was_cut_off_are_swept() {
    let fixture = Fixture::new();
    let bytes = content(4, 500);
    let digest = commit(&fixture.store, &bytes, "a");
    let dir = tempfile::tempdir().unwrap();
    fixture.store.flush();
    copy(fixture.dir.path(), dir.path());
    let layout = Layout::new(dir.path());
    write_file(&layout.partial(&digest), &bytes);
    sidecar::RangesSidecar::new(500, true, &[0..500, 0..1].into_iter().collect())
        .write(&RealDisk, &layout.ranges(&digest))
        .unwrap();
    write_file(&layout.partials().join("sha256-00.7.new"), b"half");
    let orphan = sha256(b"no record");
    write_file(&layout.partial(&orphan), b"no rec");
    let store = open(dir.path());
    wait_for_settled(&store);
    assert!(RealDisk.list(&layout.partials()).unwrap().is_empty());
    assert_eq!(store.stats().unfinished, 0);
    assert_eq!(read_blob(&store, &digest), Some(bytes));
}
