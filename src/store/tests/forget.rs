//! What an operator takes away, and what stays.

use super::catalogue::{about, put_as};
use super::power::{LOSSES, Platter, PowerDisk, open_on};
use super::restart::wait_for_settled;
use super::*;

fn forget_image(store: &Store, root: &Digest) -> Forgotten {
    store.forget_image("docker.io", &repo("a"), root).unwrap()
}

/// Two images that share a layer, one signed: the layer, what is the first's own, the two images, and the signature with
/// its layer.
fn two(store: &Store) -> [Digest; 6] {
    let base = commit(store, &content(1, 8_000), "a");
    let own = commit(store, &content(2, 3_000), "a");
    let one = put(store, &image(&[(&base, 8_000), (&own, 3_000)]), "a", Some("one"));
    let other = put(store, &image(&[(&base, 8_000)]), "a", Some("two"));
    let layer = commit(store, &content(3, 100), "a");
    let signed = put(store, &about(&one, &layer), "a", Some(&format!("sha256-{}", one.hex())));
    [base, own, one, other, signed, layer]
}

#[test]
fn an_image_goes_with_its_tags_and_what_is_attached_and_what_others_need_stays() {
    let fixture = Fixture::new();
    let [_, own, one, other, signed, layer] = two(&fixture.store);
    let store = &fixture.store;
    let reader = store.open_blob(&own).unwrap().unwrap();
    let forgotten = forget_image(store, &one);
    let tags: Vec<_> = forgotten.tags.iter().map(|(_, _, tag)| tag.to_string()).collect();
    assert_eq!(tags, ["one".to_owned(), format!("sha256-{}", one.hex())]);
    assert_eq!(forgotten.objects, 4);

    let mut bytes = vec![0; 3_000];
    assert_eq!(reader.read_at(&mut bytes, 0).unwrap(), 3_000);
    assert_eq!(bytes, content(2, 3_000), "who reads it reads on");
    assert_eq!(store.core().state().model.ledger.lingering, space_of(3_000));
    drop(reader);

    let expect = |store: &Store, when: &str| {
        wait_for_settled(store);
        for gone in [&own, &layer] {
            assert!(store.adopt_blob(gone).unwrap().is_none(), "{when}");
        }
        for gone in [&one, &signed] {
            assert!(!store.adopt_manifest(gone).unwrap(), "{when}");
        }
        assert!(store.closure("docker.io", &repo("a"), &other, &Wanted::ALL).is_whole(), "{when}");
        let members = store.members("docker.io", &repo("a"));
        let left = [&own, &layer, &one, &signed].into_iter().filter(|digest| members.contains(digest));
        assert_eq!((left.count(), members.contains(&other)), (0, true), "{when}");
        assert_eq!(store.tags("docker.io", &repo("a")), [tag("two")], "{when}");
    };
    expect(store, "at once");
    expect(&fixture.killed().store, "after a kill");
    let fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    expect(&fixture.store, "without the index");
}

#[test]
fn g9_what_another_repository_has_stays_there_and_belongs_to_this_one_no_more() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (secret, partial) = fill(store, &content(1, 4_000)).unwrap();
    partial.commit(false, "docker.io", &repo("a")).unwrap();
    store.add_member("docker.io", &repo("b"), &secret);
    let bytes = image(&[(&secret, 4_000)]);
    let root = put_as(store, MANIFEST, &bytes, false, &seen("a", Some("t")));
    put_as(store, MANIFEST, &bytes, false, &seen("b", Some("t")));

    let forgotten = forget_image(store, &root);
    assert_eq!((forgotten.tags.len(), forgotten.objects), (1, 0));
    let expect = |store: &Store, when: &str| {
        wait_for_settled(store);
        assert!(store.closure("docker.io", &repo("b"), &root, &Wanted::ALL).is_whole(), "{when}");
        for digest in [&root, &secret] {
            assert!(!store.is_member("docker.io", &repo("a"), digest), "{when}");
        }
        assert!(store.tags("docker.io", &repo("a")).is_empty(), "{when}");
    };
    expect(store, "at once");
    expect(&fixture.killed().store, "after a kill");
    let fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    expect(&fixture.store, "without the index");
}

#[test]
fn a_tag_goes_alone_and_does_not_come_back() {
    let fixture = Fixture::new();
    let [_, _, one, ..] = two(&fixture.store);
    let (docker, a) = ("docker.io", repo("a"));
    assert_eq!(fixture.store.forget_tag(docker, &a, &tag("one")).unwrap(), Some(one.clone()));
    assert_eq!(fixture.store.forget_tag(docker, &a, &tag("one")).unwrap(), None);
    assert_eq!(fixture.store.forget_tag("x", &a, &tag("one")).unwrap(), None);
    assert!(fixture.store.closure(docker, &a, &one, &Wanted::ALL).is_whole());
    assert_eq!(fixture.store.history(docker, &a, &tag("one")).len(), 1);
    assert!(fixture.killed().store.binding(docker, &a, &tag("one")).is_none());
    let fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    assert!(fixture.store.binding(docker, &a, &tag("one")).is_none());
    assert!(fixture.store.has_manifest(&one));
}

#[test]
fn a_blob_or_a_manifest_goes_everywhere_and_is_a_gap_then() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let [base, _, one, other, ..] = two(store);
    assert_eq!(store.forget_blob(&base).unwrap(), Forgotten { tags: Vec::new(), objects: 1, bytes: 8_000 });
    let gaps = |root| store.closure("docker.io", &repo("a"), root, &Wanted::ALL).gaps().count();
    assert_eq!((gaps(&one), gaps(&other)), (1, 1));
    assert!(!exists(&fixture.layout().content(Tree::Blobs, &base)));
    // It comes again by the next pull.
    commit(store, &content(1, 8_000), "a");
    assert_eq!((gaps(&one), gaps(&other)), (0, 0));

    let forgotten = store.forget_blob(&other).unwrap();
    assert_eq!(forgotten.tags, [("docker.io".to_owned(), repo("a"), tag("two"))]);
    assert!(!store.has_manifest(&other) && !exists(&fixture.layout().sidecar(&other)));
    assert_eq!(store.forget_blob(&sha256(b"unknown")).unwrap(), Forgotten::default());
}

#[test]
fn what_is_pinned_is_not_forgotten() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let [base, own, one, other, signed, _] = two(store);
    let (docker, a) = ("docker.io", repo("a"));
    store.pin(docker, &a, &tag("one").into()).unwrap();
    let is_pinned = |refused: Result<Forgotten, ForgetError>| matches!(refused, Err(ForgetError::Pinned));
    assert!(is_pinned(store.forget_image(docker, &a, &one)));
    assert!(is_pinned(store.forget_image(docker, &a, &signed)));
    assert!(is_pinned(store.forget_blob(&own)));
    assert!(matches!(store.forget_tag(docker, &a, &tag("one")), Err(ForgetError::Pinned)));
    // What it shares with another image is no reason to keep that.
    assert_eq!(forget_image(store, &other).objects, 1);
    assert!(store.blob(&base).is_some());
    store.unpin(docker, &a, &tag("one").into());
    assert_eq!(forget_image(store, &one).objects, 5);
}

#[test]
fn what_a_fill_left_goes_with_its_image_and_what_is_filled_now_stays() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (left, partial) = fill(store, &content(1, 4_000)).unwrap();
    partial.keep(&std::iter::once(0..2_000).collect());
    let (filling, partial) = fill(store, &content(2, 4_000)).unwrap();
    let root = put(store, &image(&[(&left, 4_000), (&filling, 4_000)]), "a", Some("t"));
    forget_image(store, &root);
    assert!(store.recorded(&left).is_none() && !exists(&fixture.layout().partial(&left)));
    partial.commit(true, "docker.io", &repo("a")).unwrap();
    assert!(store.blob(&filling).is_some());
}

#[test]
fn g8_what_was_forgotten_by_order_does_not_come_back_whenever_the_power_goes() {
    for stop in 0.. {
        let disk = PowerDisk::new(Platter::default());
        let store = open_on(&disk);
        let [base, own, one, other, signed, layer] = two(&store);
        assert!(store.flush());
        disk.lose_power_after(stop);
        let done = store.forget_image("docker.io", &repo("a"), &one).is_ok() && disk.is_on();
        drop(store);
        for (names_kept, bytes) in LOSSES {
            let store = open_on(&disk.found_again(names_kept, bytes));
            wait_for_settled(&store);
            let when = format!("after {stop} changes, names kept: {names_kept}, bytes: {bytes:?}");
            assert!(store.closure("docker.io", &repo("a"), &other, &Wanted::ALL).is_whole(), "{when}");
            assert_eq!(read_blob(&store, &base), Some(content(1, 8_000)), "{when}");
            if done {
                assert!(store.blob(&own).is_none() && store.blob(&layer).is_none(), "{when}");
                assert!(!store.has_manifest(&one) && !store.has_manifest(&signed), "{when}");
                assert!(store.binding("docker.io", &repo("a"), &tag("one")).is_none(), "{when}");
            }
        }
        if done {
            break;
        }
    }
}
