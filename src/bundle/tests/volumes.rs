//! Bundles in volumes.

use super::*;

fn cut(dir: &Path, name: &str, most: u64) -> Vec<PathBuf> {
    let options = ExportOptions { max_volume: Some(most), ..export_options() };
    exports(&mut Yard::full(), &dir.join(name), &options).unwrap().files
}

#[test]
fn volumes_are_no_larger_than_was_said_and_are_imported_by_any_of_them_or_by_all() {
    for name in ["site.tar", "site.tar.zst"] {
        let dir = tempfile::tempdir().unwrap();
        let files = cut(dir.path(), name, 9000);
        assert!(files.len() >= 2, "{files:?}");
        assert!(files[0].to_string_lossy().ends_with(".001"));
        for file in &files {
            let size = read_file(file).len();
            assert!(size <= 9000 && size.is_multiple_of(512), "{size}");
        }
        for paths in [vec![files[1].clone()], files.clone(), files.iter().rev().cloned().collect()] {
            let mut other = Yard::default();
            imports(&paths, &mut other, &import_options()).unwrap();
            assert_eq!(other.content(), Yard::full().content());
        }
    }
}

#[test]
fn volumes_put_together_by_hand_are_the_bundle() {
    let dir = tempfile::tempdir().unwrap();
    let whole = dir.path().join("whole.tar");
    exports(&mut Yard::full(), &whole, &export_options()).unwrap();
    let mut joined = Vec::new();
    for file in cut(dir.path(), "site.tar", 9000) {
        let bytes = read_file(&file);
        let mut archive = tar::Archive::new(bytes.as_slice());
        for entry in archive.entries().unwrap() {
            let mut entry = entry.unwrap();
            if entry.path().unwrap() == Path::new("slice") {
                std::io::Read::read_to_end(&mut entry, &mut joined).unwrap();
            }
        }
    }
    assert!(joined == read_file(&whole));
}

#[test]
fn volumes_that_are_missing_are_named_wherever_the_others_lie() {
    let dir = tempfile::tempdir().unwrap();
    let files = cut(dir.path(), "site.tar", 7500);
    assert!(files.len() >= 3);
    RealDisk.remove(&files[1]).unwrap();
    let refused = imports(&files[..1], &mut Yard::default(), &import_options()).unwrap_err();
    let Error::Volumes { missing, of, .. } = &refused else { panic!("{refused}") };
    assert_eq!((missing.as_slice(), *of as usize), (&[2][..], files.len()));
    assert!(refused.to_string().contains("missing: 2 of"), "{refused}");

    // Another set beside it is none of this one.
    let other = tempfile::tempdir().unwrap();
    let options = ExportOptions { wanted: these(&["app:v1"]), max_volume: Some(7500), ..export_options() };
    let strangers = exports(&mut Yard::full(), &other.path().join("site.tar"), &options).unwrap().files;
    let stranger = dir.path().join("stranger");
    write_file(&stranger, &read_file(&strangers[1]));
    let paths = [files[0].clone(), stranger.clone()];
    let refused = imports(&paths, &mut Yard::default(), &import_options()).unwrap_err();
    assert!(matches!(&refused, Error::StrangeVolume(path) if *path == stranger), "{refused}");
    let refused = imports(&files[..1], &mut Yard::default(), &import_options()).unwrap_err();
    assert!(matches!(refused, Error::Volumes { .. }), "{refused}");

    // It may be brought on another medium.
    let elsewhere = other.path().join("second");
    let again = tempfile::tempdir().unwrap();
    write_file(&elsewhere, &read_file(&cut(again.path(), "site.tar", 7500)[1]));
    let mut yard = Yard::default();
    imports(&[files[2].clone(), elsewhere], &mut yard, &import_options()).unwrap();
    assert_eq!(yard.content(), Yard::full().content());
}

#[test]
fn a_difference_may_be_made_to_a_bundle_in_volumes_and_be_cut_itself() {
    let dir = tempfile::tempdir().unwrap();
    let base = cut(dir.path(), "base.tar.zst", 9000);
    let mut yard = Yard::full();
    let image = yard.image("new", &[(1, 5000), (9, 20_000)]);
    yard.show("quay.io/team/app", Some("two"), &image);
    let options = ExportOptions { since: base[..1].to_vec(), max_volume: Some(9000), ..export_options() };
    let exported = exports(&mut yard, &dir.path().join("delta.tar"), &options).unwrap();
    assert_eq!(exported.blobs, 2);
    let mut other = Yard::default();
    imports(&base[..1], &mut other, &import_options()).unwrap();
    imports(&exported.files[1..2], &mut other, &import_options()).unwrap();
    assert_eq!(other.content(), yard.content());
}
