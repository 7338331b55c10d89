//! Differences to an earlier bundle.

use super::*;

const LAYER: usize = 1_000_000;

/// A yard with a first version, and one with a second that shares two of its three layers.
fn versions() -> (Yard, Yard) {
    let mut first = Yard::default();
    let one = first.image("one", &[(1, LAYER), (2, LAYER), (3, LAYER)]);
    first.show("docker.io/library/app", Some("v1"), &one);
    let mut second = first.clone();
    let two = second.image("two", &[(1, LAYER), (2, LAYER), (4, LAYER)]);
    second.show("docker.io/library/app", Some("v2"), &two);
    (first, second)
}

fn since(base: &Path, wanted: Wanted) -> ExportOptions {
    ExportOptions { since: vec![base.to_owned()], wanted, ..export_options() }
}

#[test]
fn a_difference_is_no_larger_than_what_is_new_and_needs_its_base() {
    let (mut first, mut second) = versions();
    let dir = tempfile::tempdir().unwrap();
    for form in ["", ".tar", ".tar.zst"] {
        let base = dir.path().join(format!("base{form}"));
        exports(&mut first, &base, &export_options()).unwrap();
        let delta = dir.path().join(format!("delta{form}.tar"));
        let exported = exports(&mut second, &delta, &since(&base, these(&["app:v2"]))).unwrap();
        assert_eq!((exported.blobs, exported.needs), (2, 2), "a layer and a configuration are new");
        let size = read_file(&delta).len();
        let manifests: usize = second.manifests.values().map(|document| document.bytes.len()).sum();
        assert!(size <= (LAYER + manifests) * 101 / 100, "{size} bytes");

        let mut other = Yard::default();
        let untouched = other.clone();
        let delta = [delta];
        let refused = imports(&delta, &mut other, &import_options()).unwrap_err();
        let Error::Lacks { missing, delta: true } = &refused else { panic!("{refused}") };
        assert_eq!(missing.len(), 2);
        for (digest, size) in missing {
            assert_eq!(*size, LAYER as u64);
            assert!(refused.to_string().contains(&digest.to_string()), "{refused}");
        }
        assert_eq!(other, untouched, "nothing has changed");

        imports(&[base], &mut other, &import_options()).unwrap();
        let imported = imports(&delta, &mut other, &import_options()).unwrap();
        assert_eq!((imported.blobs, other.content()), (2, second.content()));
    }
}

#[test]
fn a_difference_to_a_difference_is_one_to_both() {
    let (mut first, mut second) = versions();
    let mut third = second.clone();
    let three = third.image("three", &[(1, LAYER), (4, LAYER), (5, LAYER)]);
    third.show("docker.io/library/app", Some("v3"), &three);
    let dir = tempfile::tempdir().unwrap();
    let [one, two, three] = ["1.tar", "2.tar", "3.tar"].map(|name| dir.path().join(name));
    exports(&mut first, &one, &export_options()).unwrap();
    exports(&mut second, &two, &since(&one, Wanted::All)).unwrap();
    let exported = exports(&mut third, &three, &since(&two, Wanted::All)).unwrap();
    assert_eq!(exported.blobs, 2, "a layer and a configuration");
    let mut other = Yard::default();
    for path in [one, two, three] {
        imports(&[path], &mut other, &import_options()).unwrap();
    }
    assert_eq!(other.content(), third.content());
}

#[test]
fn docker_is_not_told_of_images_whose_layers_are_elsewhere() {
    let (mut first, mut second) = versions();
    let dir = tempfile::tempdir().unwrap();
    let (base, delta) = (dir.path().join("base.tar"), dir.path().join("delta"));
    exports(&mut first, &base, &export_options()).unwrap();
    exports(&mut second, &delta, &since(&base, Wanted::All)).unwrap();
    assert!(RealDisk.open(&delta.join("manifest.json"), Access::Read).is_err());
}
