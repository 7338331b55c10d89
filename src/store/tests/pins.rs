//! What is pinned stays, whatever room is needed for.

use super::catalogue::{INDEX, about, index, put_as};
use super::power::{LOSSES, Platter, PowerDisk, open_on};
use super::restart::wait_for_settled;
use super::*;
use crate::oci::{Pattern, Reference};

fn name(text: &str) -> Reference {
    text.parse().unwrap()
}

fn pin(store: &Store, reference: &str) {
    store.pin("docker.io", &repo("a"), &name(reference)).unwrap();
}

fn is_whole(store: &Store, root: &Digest) -> bool {
    store.closure("docker.io", &repo("a"), root, &Wanted::ALL).is_whole()
}

/// An image with one blob of that size, by a tag.
fn pulled(store: &Store, seed: u8, size: usize, by: &str) -> Digest {
    let blob = commit(store, &content(seed, size), "a");
    put(store, &image(&[(&blob, size)]), "a", Some(by))
}

/// A store of 16 MiB that makes no more room than is needed.
fn small() -> Fixture {
    Fixture::with(16 << 20, Policy { low_mark: 100, ..EAGER })
}

/// Needs so much more room than is free, after all there is has become old.
fn press(store: &Store, beyond: u64) -> Result<(), StoreError> {
    assert!(store.flush());
    std::thread::sleep(Duration::from_millis(2));
    let stats = store.stats();
    store.partial(&sha256(b"pressure"), stats.max_bytes - stats.used_bytes + beyond).map(Partial::discard)
}

fn has_no_room(store: &Store) -> bool {
    matches!(press(store, 500_000), Err(StoreError::NoSpace))
}

#[test]
fn what_is_pinned_stays_and_what_is_not_goes() {
    let fixture = small();
    let store = &fixture.store;
    let kept = pulled(store, 1, 1_000_000, "kept");
    let by_digest = pulled(store, 2, 1_000_000, "other");
    let gone = pulled(store, 3, 1_000_000, "gone");
    let layer = commit(store, &content(4, 50_000), "a");
    let signature = put(store, &about(&kept, &layer), "a", None);
    pin(store, "kept");
    pin(store, &by_digest.to_string());
    press(store, 500_000).unwrap();
    assert!(is_whole(store, &kept) && is_whole(store, &by_digest));
    assert!(store.has_manifest(&signature) && store.blob(&layer).is_some());
    assert!(!is_whole(store, &gone));
    assert!(has_no_room(store) && is_whole(store, &kept), "nothing goes that is pinned");

    assert!(store.unpin("docker.io", &repo("a"), &name("kept")));
    assert!(!store.unpin("docker.io", &repo("a"), &name("kept")));
    press(store, 500_000).unwrap();
    assert!(!is_whole(store, &kept) && is_whole(store, &by_digest));
}

#[test]
fn what_a_fill_left_of_a_pinned_image_stays() {
    let fixture = small();
    let store = &fixture.store;
    let (left, partial) = fill(store, &content(2, 1_000_000)).unwrap();
    partial.keep(&[0..1_000_000, 0..1].into_iter().collect());
    put(store, &image(&[(&left, 1_000_000)]), "a", Some("t"));
    pin(store, "t");
    assert!(has_no_room(store) && store.recorded(&left).is_some());
    store.unpin("docker.io", &repo("a"), &name("t"));
    press(store, 500_000).unwrap();
    assert!(store.recorded(&left).is_none());
}

#[test]
fn what_a_pinned_tag_stood_for_stays_until_the_new_image_is_whole() {
    let fixture = small();
    let store = &fixture.store;
    let old = pulled(store, 1, 1_000_000, "t");
    pin(store, "t");
    let blob = content(2, 1_000_000);
    let new = put(store, &image(&[(&sha256(&blob), 1_000_000)]), "a", Some("t"));
    assert!(has_no_room(store));
    assert!(is_whole(store, &old) && store.has_manifest(&new));

    // A third one comes before the second is whole: the last that was whole is held.
    let third = put(store, &image(&[(&sha256(&blob), 1_000_000), (&sha256(b"x"), 1)]), "a", Some("t"));
    assert!(has_no_room(store));
    assert!(is_whole(store, &old) && store.has_manifest(&third));

    let again = put(store, &image(&[(&sha256(&blob), 1_000_000)]), "a", Some("t"));
    commit(store, &blob, "a");
    press(store, 500_000).unwrap();
    assert!(is_whole(store, &again) && !is_whole(store, &old));
}

#[test]
fn the_new_image_has_to_be_whole_only_for_platforms_that_the_old_one_was_whole_for() {
    let fixture = small();
    let store = &fixture.store;
    let list = |amd: &Digest, arm: &[u8]| index(&[(amd, "linux/amd64"), (&sha256(arm), "linux/arm64")]);
    let old = pulled(store, 1, 1_000_000, "amd-1");
    let old_list = put_as(store, INDEX, &list(&old, b"arm 1"), true, &seen("a", Some("t")));
    pin(store, "t");
    let blob = content(2, 1_000_000);
    let manifest = image(&[(&sha256(&blob), 1_000_000)]);
    let new_list = list(&sha256(&manifest), b"arm 2");
    let new_list = put_as(store, INDEX, &new_list, true, &seen("a", Some("t")));
    assert!(has_no_room(store));
    assert!(is_whole(store, &old) && store.has_manifest(&old_list));

    let new = put(store, &manifest, "a", None);
    commit(store, &blob, "a");
    press(store, 500_000).unwrap();
    assert!(is_whole(store, &new) && store.has_manifest(&new_list));
    assert!(!is_whole(store, &old));
}

#[test]
fn what_would_outgrow_the_budget_is_refused_with_figures_and_changes_nothing() {
    let fixture = small();
    let store = &fixture.store;
    pulled(store, 1, 4_000_000, "first");
    put(store, &image(&[(&sha256(b"not here"), 14_000_000)]), "a", Some("large"));
    pin(store, "first");
    let first = store.stats();
    assert_eq!(first.pins, 1);
    assert!((4_000_000..4_100_000).contains(&first.pinned_bytes), "{first:?}");
    let refused = store.pin("docker.io", &repo("a"), &name("large"));
    let Err(PinError::Outgrows { adds, pinned, budget }) = refused else { panic!("{refused:?}") };
    assert!((14_000_000..14_100_000).contains(&adds) && adds + pinned > budget);
    assert_eq!(pinned, first.pinned_bytes);
    assert_eq!(store.pins().len(), 1);
    assert_eq!(store.stats().pinned_bytes, first.pinned_bytes);

    // What is not here can be pinned, and may turn out to be too large afterwards: that is told, and no error.
    pin(store, "later");
    put(store, &image(&[(&sha256(b"nor this"), 14_000_000)]), "a", Some("later"));
    store.core().change(model::Model::look_after_pins);
    let later = store.stats();
    assert!(later.pinned_bytes > budget && later.pins == 2, "{later:?}");
}

#[test]
fn what_a_rule_spells_out_and_nothing_is_here_of_is_wanting() {
    let fixture = small();
    let store = &fixture.store;
    let rule = |repository: &str, tag: &str, pinned| PinRule {
        upstream: "docker.io".to_owned(),
        repositories: vec![Pattern::of_repositories(repository).unwrap()],
        tags: vec![Pattern::of_tags(tag).unwrap()],
        pinned,
    };
    pulled(store, 1, 1000, "here");
    let rules = [
        rule("a", "never", false),
        rule("a", "never", true),
        rule("a", "here", true),
        rule("a", "gone", true),
        rule("b/c", "v1", true),
        rule("a", "v*", true),
        rule("**", "v1", true),
    ];
    store.pin_by(rules.to_vec());
    let wanting = || -> Vec<String> {
        let told = |pin: Pin| format!("{}:{}", pin.repository, pin.reference);
        store.wanting_pins().into_iter().map(told).collect()
    };
    assert_eq!(wanting(), ["a:gone", "b/c:v1"]);
    // By name it is listed among the pins.
    pin(store, "gone");
    assert_eq!(wanting(), ["b/c:v1"]);
}

#[test]
fn rules_pin_the_tags_that_they_match_and_the_first_decides() {
    let fixture = small();
    let store = &fixture.store;
    let tags = |text: &str| vec![Pattern::of_tags(text).unwrap()];
    let rule = |tags, pinned| PinRule {
        upstream: "docker.io".to_owned(),
        repositories: vec![Pattern::of_repositories("a*").unwrap()],
        tags,
        pinned,
    };
    let before = pulled(store, 1, 1_000_000, "v1");
    store.pin_by(vec![rule(tags("v*-rc"), false), rule(tags("v*"), true)]);
    let after = pulled(store, 2, 1_000_000, "v2");
    let candidate = pulled(store, 3, 1_000_000, "v3-rc");
    put(store, &image(&[]), "b", Some("v1"));
    let attached = pulled(store, 4, 1_000_000, "v9.sig");
    let told: Vec<_> = store.pins().into_iter().map(|pin| (pin.reference.to_string(), pin.since)).collect();
    assert_eq!(told, [("v1".to_owned(), None), ("v2".to_owned(), None)]);
    assert!(store.is_pinned("docker.io", &repo("a"), &name("v2")));
    assert!(!store.is_pinned("docker.io", &repo("a"), &name("v3-rc")));
    assert!(!store.is_pinned("docker.io", &repo("b"), &name("v1")));
    press(store, 1_500_000).unwrap();
    assert!(is_whole(store, &before) && is_whole(store, &after));
    assert!(!is_whole(store, &candidate) && !is_whole(store, &attached));

    // A tag that upstream has deleted is pinned by no rule.
    store.unbind("docker.io", &repo("a"), &tag("v2"));
    press(store, 500_000).unwrap();
    assert!(is_whole(store, &before) && !is_whole(store, &after));
    store.pin_by(Vec::new());
    press(store, 500_000).unwrap();
    assert!(!is_whole(store, &before) && store.pins().is_empty());
}

#[test]
fn g8_pins_are_there_after_an_orderly_end_a_kill_and_the_loss_of_the_index() {
    let fixture = Fixture::new();
    let old = pulled(&fixture.store, 1, 5_000, "t");
    pin(&fixture.store, "t");
    pin(&fixture.store, &old.to_string());
    put(&fixture.store, &image(&[(&sha256(b"not here"), 5)]), "a", Some("t"));
    assert!(fixture.store.flush());
    let expected = fixture.store.pins();
    assert_eq!(expected.len(), 2);
    let held =
        |store: &Store| -> Vec<Digest> { store.core().state().model.pins.held.values().cloned().collect() };
    let killed = fixture.killed();
    assert_eq!((killed.store.pins(), held(&killed.store)), (expected.clone(), vec![old.clone()]));
    let fixture = fixture.restart();
    assert_eq!(fixture.store.pins(), expected);
    let fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    assert_eq!((fixture.store.pins(), held(&fixture.store)), (expected, vec![old]));
    assert!(!fixture.store.stats().pins_lost);
    assert!(fixture.store.unpin("docker.io", &repo("a"), &name("t")));
    assert_eq!(fixture.killed().store.pins().len(), 1);
}

#[test]
fn a_file_of_pins_that_cannot_be_read_is_put_aside_and_told_of() {
    let fixture = Fixture::new();
    pin(&fixture.store, "t");
    let fixture = fixture.broken(|layout| write_file(&layout.pins(), b"{\"pins\":[{"));
    assert!(fixture.store.pins().is_empty() && fixture.store.stats().pins_lost);
    let aside = RealDisk.list(&fixture.layout().quarantine()).unwrap();
    assert!(aside.iter().any(|entry| entry.name.ends_with("pins.json")));
    pin(&fixture.store, "t");
    assert_eq!(fixture.restart().store.pins().len(), 1);
}

#[test]
fn a_pin_that_cannot_be_written_down_is_refused() {
    let disk = FaultDisk::new();
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with(Arc::new(disk.clone()), &options(dir.path(), 64 << 20), EAGER).unwrap();
    let is_pins = |path: &Path| path.file_name().is_some_and(|name| name == "pins.json");
    disk.set(move |op, path| (op == Op::Rename && is_pins(path)).then_some(io::ErrorKind::StorageFull));
    let refused = store.pin("docker.io", &repo("a"), &name("t"));
    assert!(matches!(refused, Err(PinError::Store(_))), "{refused:?}");
    assert!(store.pins().is_empty());
}

#[test]
fn g8_a_pin_that_was_reported_is_there_whenever_the_power_goes() {
    for stop in 0.. {
        let disk = PowerDisk::new(Platter::default());
        let store = open_on(&disk);
        disk.lose_power_after(stop);
        let mut reported = Vec::new();
        for tag in ["one", "two"] {
            let pinned = store.pin("docker.io", &repo("a"), &name(tag)).is_ok();
            reported.extend((pinned && disk.is_on()).then(|| name(tag)));
        }
        drop(store);
        for (names_kept, bytes) in LOSSES {
            let store = open_on(&disk.found_again(names_kept, bytes));
            wait_for_settled(&store);
            let found: Vec<_> = store.pins().into_iter().map(|pin| pin.reference).collect();
            let when = format!("after {stop} changes, names kept: {names_kept}, bytes: {bytes:?}: {found:?}");
            assert!(reported.iter().all(|pin| found.contains(pin)), "{when}");
            assert!(!store.stats().pins_lost, "{when}");
        }
        if reported.len() == 2 {
            break;
        }
    }
}
