//! What is here, as an operator asks for it.

use super::*;
use crate::oci::{Platforms, Reference};

pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// An index of these manifests, with their platforms.
pub(super) fn index(children: &[(&Digest, &str)]) -> Bytes {
    let rows: Vec<String> = children
        .iter()
        .map(|(digest, platform)| {
            let (os, architecture) = platform.split_once('/').unwrap();
            format!(
                r#"{{"mediaType":"{MANIFEST}","digest":"{digest}","size":100,"platform":{{"os":"{os}","architecture":"{architecture}"}}}}"#
            )
        })
        .collect();
    format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, rows.join(",")).into()
}

/// A signature, or the like, of a manifest.
pub(super) fn about(subject: &Digest, layer: &Digest) -> Bytes {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","artifactType":"x/y","subject":{{"mediaType":"{MANIFEST}","digest":"{subject}","size":9}},"layers":[{{"mediaType":"x/y","digest":"{layer}","size":9}}]}}"#
    )
    .into()
}

pub(super) fn put_as(store: &Store, media_type: &str, bytes: &Bytes, anonymous: bool, seen: &Seen) -> Digest {
    let digest = sha256(bytes);
    store.put_manifest(&digest, media_type, bytes, anonymous, seen).unwrap();
    digest
}

fn gaps(closure: &Closure) -> Vec<(Digest, Standing)> {
    closure.gaps().map(|needed| (needed.digest.clone(), needed.standing)).collect()
}

#[test]
fn what_is_here_is_told_by_repository_tag_and_platform() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let layer = commit(store, &content(1, 5_000), "a");
    let amd = put(store, &image(&[(&layer, 5_000)]), "a", None);
    let arm = sha256(b"not here");
    let list = index(&[(&amd, "linux/amd64"), (&arm, "linux/arm64")]);
    let root = put_as(store, INDEX, &list, true, &seen("a", Some("latest")));
    let other = put(store, &image(&[]), "a", None);
    store.add_member("ghcr.io", &repo("b"), &layer);
    let fixture = fixture.restart();
    let store = &fixture.store;

    let repositories = store.repositories();
    assert_eq!(repositories, [("docker.io".to_owned(), repo("a")), ("ghcr.io".to_owned(), repo("b"))]);
    let tagged = store.tagged("docker.io", &repo("a"));
    assert_eq!((tagged.len(), &tagged[0].tag, &tagged[0].digest), (1, &tag("latest"), &root));
    assert!(store.tagged("ghcr.io", &repo("b")).is_empty());
    assert_eq!(store.members("ghcr.io", &repo("b")), std::slice::from_ref(&layer));
    let mut expected = vec![layer.clone(), amd.clone(), root.clone(), other.clone()];
    expected.sort();
    assert_eq!(store.members("docker.io", &repo("a")), expected);
    assert_eq!(store.untagged("docker.io", &repo("a")), [other]);

    let kept = store.kept(&root).unwrap();
    assert_eq!((kept.media_type.as_str(), kept.size), (INDEX, list.len() as u64));
    let platforms: Vec<_> =
        kept.children.iter().map(|link| (&link.digest, link.platform.as_deref())).collect();
    assert_eq!(platforms, [(&amd, Some("linux/amd64")), (&arm, Some("linux/arm64"))]);
    assert!(kept.accessed > SystemTime::UNIX_EPOCH);
    assert!(store.accessed(&layer).is_some());
    assert_eq!((store.kept(&arm), store.accessed(&arm)), (None, None));

    let latest = Reference::Tag(tag("latest"));
    let closure = store.closure_of("docker.io", &repo("a"), &latest, &Wanted::ALL).unwrap();
    assert_eq!(gaps(&closure), [(arm, Standing::Absent)]);
    let wanted = Wanted { platforms: Platforms::These(vec!["linux/amd64".parse().unwrap()]), ..Wanted::ALL };
    let closure = store.closure("docker.io", &repo("a"), &root, &wanted);
    assert!(closure.is_whole());
    assert_eq!(closure.bytes(), 5_000 + kept.size + store.kept(&amd).unwrap().size);
    assert_eq!(store.closure_of("docker.io", &repo("a"), &Reference::Tag(tag("no")), &Wanted::ALL), None);
}

#[test]
fn what_a_tag_has_stood_for_is_kept_over_a_restart_and_lost_with_the_index() {
    let fixture = Fixture::new();
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    let [one, two] = [b"one", b"two"].map(|content| sha256(content));
    for (digest, confirmed) in [(&one, 10), (&one, 20), (&two, 30), (&one, 40)] {
        fixture.store.bind("docker.io", &repo("a"), &tag("t"), digest, at(confirmed));
    }
    let history = |store: &Store| -> Vec<(Digest, SystemTime)> {
        let changes = store.history("docker.io", &repo("a"), &tag("t"));
        changes.into_iter().map(|change| (change.digest, change.since)).collect()
    };
    let expected = [(one.clone(), at(10)), (two, at(30)), (one, at(40))];
    assert_eq!(history(&fixture.store), expected);
    let fixture = fixture.restart();
    assert_eq!(history(&fixture.store), expected);
    fixture.store.unbind("docker.io", &repo("a"), &tag("t"));
    let fixture = fixture.restart();
    assert_eq!(history(&fixture.store), expected, "of a tag that is gone");
    assert!(fixture.store.history("docker.io", &repo("b"), &tag("t")).is_empty());

    let manifest = put(&fixture.store, &image(&[]), "a", Some("t"));
    assert_eq!(history(&fixture.store).len(), 4);
    let fixture = fixture.broken(|layout| RealDisk.remove(&layout.index()).unwrap());
    let left: Vec<_> = history(&fixture.store).into_iter().map(|(digest, _)| digest).collect();
    assert_eq!(left, [manifest]);
}

#[test]
fn g9_what_only_upstream_could_let_through_is_a_gap() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let (secret, partial) = fill(store, &content(1, 4_000)).unwrap();
    partial.commit(false, "docker.io", &repo("private")).unwrap();
    let public = commit(store, &content(2, 4_000), "elsewhere");
    let (left, partial) = fill(store, &content(3, 4_000)).unwrap();
    partial.keep(&std::iter::once(0..2_000).collect());
    let bytes = image(&[(&secret, 4_000), (&public, 4_000), (&left, 4_000)]);
    let root = put(store, &bytes, "a", Some("t"));

    let closure = store.closure("docker.io", &repo("a"), &root, &Wanted::ALL);
    assert_eq!(gaps(&closure), [(secret, Standing::NoMember), (left, Standing::Unfinished)]);
    // A repository that nothing is known of is given nothing.
    let closure = store.closure("docker.io", &repo("unknown"), &root, &Wanted::ALL);
    assert_eq!(closure.objects[0].standing, Standing::NoMember);
    assert_eq!(store.repositories().len(), 3, "asking makes no repository known");
}

#[test]
fn what_is_attached_belongs_to_the_image_while_it_is_stored() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let root = put(store, &image(&[]), "a", Some("t"));
    let layer = sha256(b"not here");
    let signature = put(store, &about(&root, &layer), "a", None);
    put(store, &about(&root, &sha256(b"nor this")), "b", None);
    let fixture = fixture.restart();
    let store = &fixture.store;

    let referrers = store.referrers("docker.io", &repo("a"), &root);
    let told: Vec<_> = referrers.iter().map(|kept| (&kept.digest, kept.artifact_type.as_deref())).collect();
    assert_eq!(told, [(&signature, Some("x/y"))]);
    let closure = store.closure("docker.io", &repo("a"), &root, &Wanted::ALL);
    assert_eq!(gaps(&closure), [(layer, Standing::Absent)]);
    assert!(
        store.closure("docker.io", &repo("a"), &root, &Wanted { referrers: false, ..Wanted::ALL }).is_whole()
    );

    store.core().change(|model| model.forget_manifest(&signature));
    assert!(store.referrers("docker.io", &repo("a"), &root).is_empty());
    assert!(store.closure("docker.io", &repo("a"), &root, &Wanted::ALL).is_whole());
}

#[test]
fn of_an_image_that_shares_what_others_need_is_told_apart() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let [base, own, other] =
        [(1, 8_000), (2, 3_000), (3, 1_000)].map(|(seed, size)| commit(store, &content(seed, size), "a"));
    let one = put(store, &image(&[(&base, 8_000), (&own, 3_000)]), "a", Some("one"));
    let two = put(store, &image(&[(&base, 8_000), (&other, 1_000)]), "a", Some("two"));
    let shared = |root: &Digest| {
        let closure = store.closure("docker.io", &repo("a"), root, &Wanted::ALL);
        store.shared_bytes("docker.io", &repo("a"), &closure)
    };
    assert_eq!((shared(&one), shared(&two)), (8_000, 8_000));
    // An image that another repository has is shared with all that it names.
    store.add_member("ghcr.io", &repo("b"), &one);
    assert_eq!(shared(&one), 11_000 + store.kept(&one).unwrap().size);
}
