//! Bytes: committing, reading, and noticing what is wrong.

use super::*;

#[test]
fn a_committed_blob_is_there_after_a_restart() {
    let fixture = Fixture::new();
    let hello = content(1, 5_000);
    let digest = commit(&fixture.store, &hello, "a");
    let fixture = fixture.restart();
    assert_eq!(fixture.store.blob(&digest), Some(BlobInfo { size: 5_000, anonymous: true }));
    assert_eq!(read_blob(&fixture.store, &digest), Some(hello));
    assert!(fixture.store.is_member("docker.io", &repo("a"), &digest));
}

#[test]
fn t21_nothing_is_seen_of_a_blob_before_it_is_committed() {
    let fixture = Fixture::new();
    let bytes = content(1, 100);
    let (digest, partial) = fill(&fixture.store, &bytes).unwrap();
    let path = fixture.layout().content(Tree::Blobs, &digest);
    assert_eq!(fixture.store.blob(&digest), None);
    assert!(fixture.store.open_blob(&digest).unwrap().is_none());
    assert!(!exists(&path));
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    assert!(exists(&path));
    assert_eq!(read_blob(&fixture.store, &digest), Some(bytes));
}

#[test]
fn the_file_of_a_fill_becomes_the_blobs_and_is_shared_by_all() {
    let fixture = Fixture::new();
    let (digest, partial) = fill(&fixture.store, b"shared").unwrap();
    let filling = partial.file();
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    let first = fixture.store.open_blob(&digest).unwrap().unwrap();
    let second = fixture.store.open_blob(&digest).unwrap().unwrap();
    assert!(Arc::ptr_eq(&filling, &first) && Arc::ptr_eq(&first, &second));
    drop((filling, first, second));
    let opened = fixture.store.open_blob(&digest).unwrap().unwrap();
    assert!(Arc::ptr_eq(&opened, &fixture.store.open_blob(&digest).unwrap().unwrap()));
}

#[test]
fn g2_a_committed_blob_cannot_be_written_nor_one_beyond_its_size() {
    let fixture = Fixture::new();
    let (_, partial) = fill(&fixture.store, b"12345").unwrap();
    let file = partial.file();
    assert!(file.write_at(b"x", 5).is_err());
    assert!(file.write_at(b"x", u64::MAX).is_err());
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
}

#[test]
fn blobs_of_every_kind_of_size_and_digest_are_kept() {
    let fixture = Fixture::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for size in [0, 1, 4095, 4096, 4097, 1 << 20] {
            let bytes = content(7, size);
            let digest = Digest::of(algorithm, &bytes);
            let partial = fixture.store.partial(&digest, size as u64).unwrap();
            partial.file().write_at(&bytes, 0).unwrap();
            partial.commit(true, "docker.io", &repo("a")).unwrap();
            assert_eq!(read_blob(&fixture.store, &digest), Some(bytes), "{digest} of {size}");
        }
    }
    let before = fixture.store.stats();
    let after = fixture.restart().store.stats();
    assert_eq!((before.blobs, after.blobs), (12, 12));
}

#[test]
fn g7_a_blob_that_is_truncated_replaced_or_gone_is_dropped_and_can_be_filled_again() {
    let breakages: [Breakage<fn(&Path)>; 3] = [
        ("truncated", |path| RealDisk.open(path, Access::Write).unwrap().set_len(10).unwrap()),
        ("replaced", |path| {
            write_file(&path.with_extension("other"), &[0; 100]);
            RealDisk.rename(&path.with_extension("other"), path).unwrap();
        }),
        ("gone", |path| RealDisk.remove(path).unwrap()),
    ];
    for (what, breakage) in breakages {
        let fixture = Fixture::new();
        let bytes = content(3, 100);
        let digest = commit(&fixture.store, &bytes, "a");
        breakage(&fixture.layout().content(Tree::Blobs, &digest));
        assert_eq!(read_blob(&fixture.store, &digest), None, "{what}");
        assert_eq!(fixture.store.blob(&digest), None, "{what}");
        let quarantined = u64::from(what != "gone");
        assert_eq!(fixture.store.stats().quarantined, quarantined, "{what}");
        commit(&fixture.store, &bytes, "a");
        assert_eq!(read_blob(&fixture.store, &digest), Some(bytes), "{what}");
    }
}

#[test]
fn g7_what_is_kept_open_is_looked_at_each_time_it_is_given() {
    let breakages: [Breakage<fn(&Path)>; 4] = [
        ("truncated", |path| RealDisk.open(path, Access::Write).unwrap().set_len(10).unwrap()),
        ("replaced", |path| {
            write_file(&path.with_extension("other"), &[0; 100]);
            RealDisk.rename(&path.with_extension("other"), path).unwrap();
        }),
        ("gone", |path| RealDisk.remove(path).unwrap()),
        ("fine", |_| {}),
    ];
    for (what, breakage) in breakages {
        let fixture = Fixture::new();
        let (store, bytes) = (&fixture.store, content(3, 100));
        let digest = commit(store, &bytes, "a");
        assert!(store.blob_at_hand(&digest).is_none(), "nobody has read it");
        drop(store.open_blob(&digest).unwrap().unwrap());
        let open = store.blob_at_hand(&digest).unwrap();
        assert!(store.core().open.is_held(&digest));
        drop(open);
        assert!(!store.core().open.is_held(&digest), "nobody reads it");
        breakage(&fixture.layout().content(Tree::Blobs, &digest));
        let is_fine = what == "fine";
        assert_eq!(store.blob_at_hand(&digest).is_some(), is_fine, "{what}");
        assert_eq!(read_blob(store, &digest).is_some(), is_fine, "{what}");
    }
}

#[test]
fn a_file_that_was_restored_from_a_backup_is_read_and_kept() {
    let fixture = Fixture::new();
    let bytes = content(3, 3 << 20);
    let digest = commit(&fixture.store, &bytes, "a");
    let path = fixture.layout().content(Tree::Blobs, &digest);
    write_file(&path.with_extension("copy"), &bytes);
    RealDisk.rename(&path.with_extension("copy"), &path).unwrap();
    assert_eq!(read_blob(&fixture.store, &digest), Some(bytes.clone()));
    assert_eq!(fixture.store.stats().quarantined, 0);
    assert_eq!(read_blob(&fixture.restart().store, &digest), Some(bytes));
}

#[test]
fn a_distrusted_blob_is_put_aside() {
    let fixture = Fixture::new();
    let digest = commit(&fixture.store, b"bad", "a");
    let file = fixture.store.open_blob(&digest).unwrap().unwrap();
    fixture.store.distrust(&file);
    assert_eq!(fixture.store.blob(&digest), None);
    assert!(!exists(&fixture.layout().content(Tree::Blobs, &digest)));
    assert_eq!(RealDisk.list(&fixture.layout().quarantine()).unwrap().len(), 1);
    commit(&fixture.store, b"bad", "a");
    fixture.store.distrust(&file);
    assert!(fixture.store.blob(&digest).is_some(), "another file has come since");
}

#[test]
fn a_manifest_is_kept_verbatim_with_its_media_type() {
    let fixture = Fixture::new();
    let bytes = Bytes::from_static(b"{ \"odd\" :   1 }\n");
    let digest = sha256(&bytes);
    fixture.store.put_manifest(&digest, "a/b; c=d", &bytes, false, &seen("a", None)).unwrap();
    let expected = StoredManifest { bytes, media_type: "a/b; c=d".to_owned(), anonymous: false };
    assert_eq!(fixture.store.manifest(&digest).unwrap(), Some(expected.clone()));
    let fixture = fixture.restart();
    assert!(fixture.store.has_manifest(&digest));
    assert_eq!(fixture.store.manifest(&digest).unwrap(), Some(expected));
}

#[test]
fn g7_a_manifest_with_a_flipped_bit_is_dropped_and_can_be_put_again() {
    let fixture = Fixture::new();
    let bytes = image(&[]);
    let digest = put(&fixture.store, &bytes, "a", Some("latest"));
    let mut rotten = bytes.to_vec();
    rotten[5] ^= 1;
    write_file(&fixture.layout().content(Tree::Manifests, &digest), &rotten);
    assert_eq!(fixture.store.manifest(&digest).unwrap(), None);
    assert!(!fixture.store.has_manifest(&digest));
    let binding = fixture.store.binding("docker.io", &repo("a"), &tag("latest"));
    assert_eq!(binding.map(|binding| binding.digest), Some(digest.clone()), "what upstream said is still so");
    put(&fixture.store, &bytes, "a", None);
    assert_eq!(fixture.store.manifest(&digest).unwrap().map(|stored| stored.bytes), Some(bytes));
}

#[test]
fn t98_an_unfinished_blob_goes_on_from_what_was_recorded() {
    let fixture = Fixture::new();
    let bytes = content(9, 10_000);
    let digest = sha256(&bytes);
    let partial = fixture.store.partial(&digest, 10_000).unwrap();
    assert!(partial.present().is_empty());
    partial.file().write_at(&bytes[..4_000], 0).unwrap();
    partial.file().write_at(&bytes[8_000..], 8_000).unwrap();
    let present: Ranges = [0..4_000, 8_000..10_000].into_iter().collect();
    partial.record(&present).unwrap();
    partial.file().write_at(&bytes[4_000..5_000], 4_000).unwrap();
    drop(partial);

    for fixture in [fixture.killed(), fixture.restart()] {
        let recorded = fixture.store.recorded(&digest).unwrap();
        assert_eq!((recorded.size, &recorded.present), (10_000, &present));
        let partial = fixture.store.partial(&digest, 10_000).unwrap();
        assert_eq!(partial.present(), present, "only what was recorded after a sync");
        partial.file().write_at(&bytes[4_000..8_000], 4_000).unwrap();
        partial.commit(true, "docker.io", &repo("a")).unwrap();
        assert_eq!(read_blob(&fixture.store, &digest), Some(bytes.clone()));
        assert_eq!(fixture.store.stats().unfinished, 0);
        assert!(RealDisk.list(&fixture.layout().partials()).unwrap().is_empty());
    }
}

#[test]
fn g8_whom_upstream_said_yes_for_is_known_when_the_blob_is_gone_on_with() {
    let fixture = Fixture::new();
    let source = |name: &str| ("docker.io".to_owned(), repo(name));
    let (digest, partial) = fill(&fixture.store, &content(9, 10_000)).unwrap();
    let present: Ranges = std::iter::once(0..10_000).collect();
    partial.add_sources([source("a"), source("b"), source("a")]);
    partial.set_anonymous(true);
    partial.keep(&present);
    let fixture = fixture.killed();
    let recorded = fixture.store.recorded(&digest).unwrap();
    let sources = vec![source("a"), source("b")];
    assert_eq!(recorded, Recorded { size: 10_000, present: present.clone(), sources, anonymous: true });

    let partial = fixture.store.partial(&digest, 10_000).unwrap();
    assert_eq!(partial.sources(), [source("a"), source("b")]);
    partial.add_sources([source("c"), source("b")]);
    drop(partial);
    let recorded = fixture.store.recorded(&digest).unwrap();
    assert_eq!(recorded.sources, [source("a"), source("b")], "what was not recorded is not known");
    let partial = fixture.store.partial(&digest, 10_000).unwrap();
    partial.add_sources([source("c")]);
    partial.keep(&present);
    let recorded = fixture.restart().store.recorded(&digest).unwrap();
    assert_eq!(recorded.sources, [source("a"), source("b"), source("c")]);
    assert!(!recorded.anonymous, "the second fill did not say that it had no credentials");
}

#[test]
fn the_unfinished_blobs_are_those_that_nobody_fills() {
    let fixture = Fixture::new();
    let mut left = Vec::new();
    for seed in 0..3 {
        let (digest, partial) = fill(&fixture.store, &content(seed, 5_000)).unwrap();
        partial.keep(&std::iter::once(0..4_096).collect());
        left.insert(0, digest);
        fixture.tick();
    }
    let fixture = fixture.restart();
    assert_eq!(fixture.store.unfinished(), left, "the last one first");
    let partial = fixture.store.partial(&left[1], 5_000).unwrap();
    assert_eq!(fixture.store.unfinished(), [left[0].clone(), left[2].clone()]);
    drop(partial);
    assert_eq!(fixture.store.unfinished(), [left[1].clone(), left[0].clone(), left[2].clone()]);
    fixture.store.partial(&left[1], 5_000).unwrap().commit(true, "docker.io", &repo("a")).unwrap();
    fixture.store.partial(&left[2], 5_000).unwrap().discard();
    assert_eq!(fixture.store.unfinished(), [left[0].clone()]);
}

#[test]
fn an_unfinished_blob_whose_record_and_size_disagree_starts_anew() {
    type Break = fn(&Layout, &Digest);
    let breakages: [Breakage<Break>; 3] = [
        ("a torn record", |layout, digest| write_file(&layout.ranges(digest), b"{\"size\":100,\"pre")),
        ("a short file", |layout, digest| write_file(&layout.partial(digest), b"short")),
        ("no file", |layout, digest| RealDisk.remove(&layout.partial(digest)).unwrap()),
    ];
    for (what, breakage) in breakages {
        let fixture = Fixture::new();
        let (digest, partial) = fill(&fixture.store, &content(1, 100)).unwrap();
        partial.keep(&[0..100, 0..1].into_iter().collect());
        let fixture = fixture.broken(|layout| breakage(layout, &digest));
        let partial = fixture.store.partial(&digest, 100).unwrap();
        assert!(partial.present().is_empty(), "{what}");
        assert_eq!(partial.file().size(), 100);
    }
    let fixture = Fixture::new();
    let (digest, partial) = fill(&fixture.store, &content(1, 100)).unwrap();
    partial.keep(&[0..50, 50..100].into_iter().collect());
    assert!(fixture.store.partial(&digest, 101).unwrap().present().is_empty(), "another size");
}

#[test]
fn an_unfinished_blob_of_another_size_makes_way_for_the_new_one() {
    for size in [1, 3_999, 4_001, 9_000] {
        let fixture = Fixture::new();
        let former = content(1, 4_000);
        let bytes = content(2, size);
        let digest = sha256(&bytes);
        let partial = fixture.store.partial(&digest, 4_000).unwrap();
        partial.file().write_at(&former, 0).unwrap();
        partial.keep(&std::iter::once(0..4_000).collect());
        let fixture = fixture.restart();
        let partial = fixture.store.partial(&digest, size as u64).unwrap();
        assert_eq!((partial.file().size(), partial.present().is_empty()), (size as u64, true), "{size}");
        let unfinished = fixture.store.core().state().model.ledger.unfinished;
        assert_eq!(unfinished, space_to_fill(size as u64), "the former one is not counted any more");
        // What the former record said is not believed of the new file, whenever the power goes.
        assert_eq!(fixture.killed().store.recorded(&digest), None, "{size}");
        partial.file().write_at(&bytes, 0).unwrap();
        partial.commit(true, "docker.io", &repo("a")).unwrap();
        assert_eq!(read_blob(&fixture.store, &digest), Some(bytes));
        assert!(RealDisk.list(&fixture.layout().partials()).unwrap().is_empty());
    }
}

#[test]
fn t53_what_was_set_aside_is_never_gone_on_with() {
    let fixture = Fixture::new();
    let (digest, partial) = fill(&fixture.store, &content(1, 100)).unwrap();
    let readers = partial.file();
    partial.record(&[0..100, 0..1].into_iter().collect()).unwrap();
    partial.set_aside();
    let partial = fixture.store.partial(&digest, 100).unwrap();
    assert!(partial.present().is_empty());
    partial.file().write_at(&[0; 100], 0).unwrap();
    let mut byte = [0];
    readers.read_at(&mut byte, 99).unwrap();
    assert_eq!(byte[0], content(1, 100)[99], "readers of the file that was put aside keep it");
    assert_eq!(fixture.store.stats().quarantined, 1);
}

#[test]
fn a_fill_that_starts_anew_does_not_touch_the_file_that_readers_of_the_last_one_have() {
    let fixture = Fixture::new();
    let bytes = content(5, 100);
    let (digest, partial) = fill(&fixture.store, &bytes).unwrap();
    let reader = partial.file();
    // Nothing was recorded.
    drop(partial);
    let again = fixture.store.partial(&digest, 100).unwrap();
    again.file().write_at(&[0; 100], 0).unwrap();
    let mut kept = vec![1; 100];
    assert_eq!(reader.read_at(&mut kept, 0).unwrap(), 100);
    assert_eq!(kept, bytes);
}

#[test]
fn the_quarantine_keeps_the_last_few() {
    let fixture = Fixture::new();
    for seed in 0..20 {
        fill(&fixture.store, &content(seed, 50)).unwrap().1.set_aside();
    }
    assert_eq!(RealDisk.list(&fixture.layout().quarantine()).unwrap().len(), 16);
    assert_eq!(fixture.store.stats().quarantined, 20);
}

#[test]
fn what_is_put_aside_is_counted_once_also_while_the_disk_takes_its_time() {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 64 << 20), EAGER).unwrap();
    let (_, partial) = fill(&store, &content(1, 1 << 20)).unwrap();
    let before = store.stats().used_bytes;
    let (seen, during) = (store.clone(), Arc::new(Mutex::new(0)));
    let told = Arc::clone(&during);
    disk.set(move |op, path| {
        if op == Op::SyncDir && path.ends_with("partial") {
            *told.lock().unwrap() = seen.stats().used_bytes;
        }
        None
    });
    partial.set_aside();
    disk.heal();
    let during = *during.lock().unwrap();
    assert!(during > 0 && during < before + (1 << 19), "{before} before, and then {during}");
    // Not before the disk has let go of its own.
    drop(store);
}

#[test]
fn a_blob_is_filled_by_one_at_a_time() {
    let fixture = Fixture::new();
    let (digest, partial) = fill(&fixture.store, b"12345").unwrap();
    assert!(matches!(fixture.store.partial(&digest, 5), Err(StoreError::Busy)));
    partial.discard();
    assert!(!exists(&fixture.layout().partial(&digest)));
    drop(fixture.store.partial(&digest, 5).unwrap());
    fixture.store.partial(&digest, 5).unwrap();
}
