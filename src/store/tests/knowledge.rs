//! What is known of content: tags, members, the image graph.

use super::*;
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use restart::wait_for_settled;
use std::time::UNIX_EPOCH;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

#[test]
fn t35_a_digest_is_a_member_only_where_it_was_said_to_be() {
    let fixture = Fixture::new();
    let digest = commit(&fixture.store, b"layer", "library/a");
    let store = &fixture.store;
    assert!(store.is_member("docker.io", &repo("library/a"), &digest));
    assert!(!store.is_member("docker.io", &repo("library/b"), &digest));
    assert!(!store.is_member("ghcr.io", &repo("library/a"), &digest));
    store.add_member("ghcr.io", &repo("x"), &digest);
    assert!(store.is_member("ghcr.io", &repo("x"), &digest));
    let fixture = fixture.restart();
    assert!(fixture.store.is_member("ghcr.io", &repo("x"), &digest));
    assert!(fixture.store.is_member("docker.io", &repo("library/a"), &digest));
}

#[test]
fn g9_a_digest_is_named_by_the_manifests_of_its_repository_alone() {
    let fixture = Fixture::new();
    let layer = sha256(b"layer");
    put(&fixture.store, &image(&[(&layer, 123)]), "a", None);
    // The others are known repositories too.
    put(&fixture.store, &image(&[(&sha256(b"theirs"), 1)]), "b", None);
    fixture.store.add_member("ghcr.io", &repo("a"), &layer);
    assert!(fixture.store.flush());
    for fixture in [fixture.killed(), fixture.restart()] {
        let store = &fixture.store;
        wait_for_settled(store);
        assert_eq!(store.is_named("docker.io", &repo("a"), &layer), Some(123));
        assert_eq!(store.is_named("docker.io", &repo("b"), &layer), None);
        assert_eq!(store.is_named("ghcr.io", &repo("a"), &layer), None);
        assert_eq!(store.is_named("docker.io", &repo("a"), &sha256(b"other")), None);
        assert!(!store.is_member("docker.io", &repo("a"), &layer), "named is not a member");
    }
}

#[test]
fn a_tag_stands_for_what_it_was_last_bound_to() {
    let fixture = Fixture::new();
    let (old, new) = (put(&fixture.store, &image(&[]), "a", Some("latest")), sha256(b"new"));
    let latest = |store: &Store| store.binding("docker.io", &repo("a"), &tag("latest"));
    assert_eq!(latest(&fixture.store).unwrap().digest, old);
    fixture.store.bind("docker.io", &repo("a"), &tag("latest"), &new, at(1_000));
    let expected = Some(Binding { digest: new.clone(), confirmed: at(1_000), gone: None });
    assert_eq!(latest(&fixture.store), expected);
    assert!(fixture.store.is_member("docker.io", &repo("a"), &new));
    assert_eq!(fixture.store.binding("docker.io", &repo("b"), &tag("latest")), None);
    assert_eq!(fixture.store.binding("ghcr.io", &repo("a"), &tag("latest")), None);
    let fixture = fixture.restart();
    assert_eq!(latest(&fixture.store), expected);
    fixture.store.unbind("docker.io", &repo("a"), &tag("latest"));
    assert_eq!(latest(&fixture.store), None);
    assert_eq!(latest(&fixture.restart().store), None);
}

#[test]
fn t13_that_a_tag_is_gone_upstream_is_remembered_until_it_is_bound_anew() {
    let fixture = Fixture::new();
    let digest = put(&fixture.store, &image(&[]), "a", None);
    for name in ["v1", "v2", "v3", "v4"] {
        fixture.store.bind("docker.io", &repo("a"), &tag(name), &digest, at(1_000));
    }
    for name in ["v1", "v2", "v3", "none"] {
        fixture.store.mark_gone("docker.io", &repo("a"), &tag(name), at(2_000));
    }
    fixture.store.mark_gone("docker.io", &repo("a"), &tag("v1"), at(3_000));
    fixture.store.mark_gone("docker.io", &repo("b"), &tag("v1"), at(3_000));
    fixture.store.bind("docker.io", &repo("a"), &tag("v2"), &digest, at(4_000));
    fixture.store.unbind("docker.io", &repo("a"), &tag("v3"));
    let check = |store: &Store, what: &str| {
        let bound = |confirmed, gone| Some(Binding { digest: digest.clone(), confirmed, gone });
        let expected = [
            ("v1", bound(at(1_000), Some(at(2_000)))),
            ("v2", bound(at(4_000), None)),
            ("v3", None),
            ("v4", bound(at(1_000), None)),
            ("none", None),
        ];
        for (name, expected) in expected {
            assert_eq!(store.binding("docker.io", &repo("a"), &tag(name)), expected, "{name}, {what}");
        }
    };
    check(&fixture.store, "at once");
    assert!(fixture.store.flush());
    check(&fixture.killed().store, "after a crash");
    let fixture = fixture.restart();
    check(&fixture.store, "after a restart");
    let fixture = fixture.broken(|layout| write_file(&layout.index(), b"garbage"));
    wait_for_settled(&fixture.store);
    check(&fixture.store, "without an index");
}

#[test]
fn an_index_of_a_program_that_does_not_know_of_deleted_tags_is_read() {
    const GONE: TableDefinition<'_, (u32, &str), u64> = TableDefinition::new("gone");
    let binding = |store: &Store| store.binding("docker.io", &repo("a"), &tag("v1")).unwrap();
    let fixture = Fixture::new();
    let digest = put(&fixture.store, &image(&[]), "a", None);
    fixture.store.bind("docker.io", &repo("a"), &tag("v1"), &digest, at(1_000));
    let edited = |fixture: Fixture, edit: fn(&WriteTransaction)| {
        fixture.broken(|layout| {
            let database = Database::open(layout.index()).unwrap();
            let write = database.begin_write().unwrap();
            edit(&write);
            write.commit().unwrap();
        })
    };
    let fixture = edited(fixture, |write| assert!(write.delete_table(GONE).unwrap()));
    assert_eq!(binding(&fixture.store).gone, None);
    fixture.store.mark_gone("docker.io", &repo("a"), &tag("v1"), at(2_000));
    // Such a program has confirmed the tag since, and left the table alone.
    let fixture = edited(fixture, |write| {
        let mut table =
            write.open_table(TableDefinition::<(u32, &str), (&[u8], u64)>::new("bindings")).unwrap();
        let key = table.iter().unwrap().next().unwrap().unwrap();
        let (repo, digest) = (key.0.value().0, key.1.value().0.to_vec());
        drop(key);
        table.insert((repo, "v1"), (digest.as_slice(), 3_000_000)).unwrap();
    });
    assert_eq!(binding(&fixture.store), Binding { digest, confirmed: at(3_000), gone: None });
}

#[test]
fn g6_a_binding_is_durable_within_a_second() {
    let fixture = Fixture::new();
    let digest = put(&fixture.store, &image(&[]), "a", None);
    fixture.store.flush();
    fixture.store.bind("docker.io", &repo("a"), &tag("v1"), &digest, at(7));
    let expected = Some(Binding { digest, confirmed: at(7), gone: None });
    // What the disk takes its time for is nobody's promise; the pause before it is a matter of settings.
    assert!(Policy::default().commit_every < Duration::from_secs(1));
    let begun = std::time::Instant::now();
    while fixture.killed().store.binding("docker.io", &repo("a"), &tag("v1")) != expected {
        assert!(begun.elapsed() < Duration::from_secs(60), "never");
    }
}

#[test]
fn what_is_known_of_members_is_bounded_by_what_is_stored() {
    let fixture = Fixture::new();
    let (stranger, bound, stored) =
        (sha256(b"stranger"), sha256(b"bound"), commit(&fixture.store, b"s", "a"));
    fixture.store.add_member("docker.io", &repo("a"), &stranger);
    fixture.store.bind("docker.io", &repo("a"), &tag("t"), &bound, at(1));
    let fixture = fixture.restart().restart();
    assert!(!fixture.store.is_member("docker.io", &repo("a"), &stranger));
    assert!(fixture.store.is_member("docker.io", &repo("a"), &bound));
    assert!(fixture.store.is_member("docker.io", &repo("a"), &stored));
}

#[test]
fn the_sidecar_of_a_manifest_follows_its_tags() {
    let fixture = Fixture::new();
    let old = put(&fixture.store, &image(&[]), "a", Some("latest"));
    let new = put(&fixture.store, &image(&[(&sha256(b"l"), 1)]), "a", None);
    fixture.store.bind("docker.io", &repo("a"), &tag("latest"), &new, at(2_000_000_000));
    fixture.store.bind("ghcr.io", &repo("b"), &tag("v1"), &new, at(5));
    fixture.store.close();
    let tags = |digest: &Digest| {
        let sidecar = sidecar::ManifestSidecar::read(&RealDisk, &fixture.layout().sidecar(digest)).unwrap();
        let seen = sidecar.unwrap().seen.into_iter();
        seen.map(|seen| (seen.upstream, seen.tags.into_iter().map(|tag| tag.tag).collect::<Vec<_>>()))
            .collect::<Vec<_>>()
    };
    assert_eq!(tags(&old), [("docker.io".to_owned(), vec![])]);
    let expected =
        [("docker.io".to_owned(), vec!["latest".to_owned()]), ("ghcr.io".to_owned(), vec!["v1".to_owned()])];
    assert_eq!(tags(&new), expected);
}
