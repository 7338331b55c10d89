//! Out and in again.

use super::*;
use serde_json::Value;

const FORMS: [&str; 3] = ["site", "site.tar", "site.tar.zst"];

#[test]
fn t94_what_is_exported_is_imported_as_it_was_with_all_digests_and_all_that_refers_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    for form in FORMS {
        let path = dir.path().join(form);
        let exported = exports(&mut yard, &path, &export_options()).unwrap();
        assert_eq!(exported.files, std::slice::from_ref(&path));
        assert_eq!((exported.blobs, exported.needs), (yard.blobs.len(), 0), "{form}");
        let mut other = Yard::default();
        let imported = imports(&[path], &mut other, &import_options()).unwrap();
        assert_eq!(other.content(), yard.content(), "{form}");
        assert_eq!((imported.blobs, imported.already), (yard.blobs.len(), 0));
        assert_eq!(imported.warnings, []);
        assert_eq!(imported.images.len(), 4 + 1 + 2, "tags, a signature by tag, and two by their subject");
    }
}

#[test]
fn what_no_tag_names_is_exported_by_its_digest_with_all_and_with_all_of_its_repository() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    let bare = yard.image("bare", &[(9, 800)]);
    yard.show("docker.io/library/app", None, &bare);
    yard.untagged.push((place("docker.io/library/app"), bare.clone()));
    let app = |tags: &str| Wanted::These(vec![format!("docker.io/library/app:{tags}").parse().unwrap()]);
    for (wanted, is_in) in [(Wanted::All, true), (app("*"), true), (app("v*"), false)] {
        let path = dir.path().join(format!("{wanted:?}").len().to_string() + ".tar");
        exports(&mut yard, &path, &ExportOptions { wanted: wanted.clone(), ..export_options() }).unwrap();
        let mut other = Yard::default();
        imports(&[path], &mut other, &import_options()).unwrap();
        let member = (place("docker.io/library/app"), bare.clone());
        assert_eq!(other.members.contains(&member), is_in, "{wanted:?}");
        assert_eq!(other.manifests.contains_key(&bare), is_in, "{wanted:?}");
    }
}

#[test]
fn the_same_images_make_the_same_bytes_and_nothing_of_the_time_is_in_them() {
    for form in FORMS {
        let bytes = || {
            let dir = tempfile::tempdir().unwrap();
            exports(&mut Yard::full(), &dir.path().join(form), &export_options()).unwrap();
            tree(dir.path())
        };
        let (one, other) = (bytes(), bytes());
        assert!(!one.is_empty());
        assert!(one == other, "{form}");
    }
}

#[test]
fn what_came_with_credentials_stays_where_it_belongs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.tar");
    let mut yard = Yard::full();
    let secret = yard.blobs.keys().next().unwrap().clone();
    yard.blobs.get_mut(&secret).unwrap().1 = false;
    let manifest = yard.manifests.keys().next().unwrap().clone();
    yard.manifests.get_mut(&manifest).unwrap().anonymous = false;
    exports(&mut yard, &path, &export_options()).unwrap();
    let mut other = Yard::default();
    imports(&[path], &mut other, &import_options()).unwrap();
    assert_eq!(other.content(), yard.content());
}

#[test]
fn an_import_that_stopped_goes_on_and_shows_nothing_before_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site.tar.zst");
    let mut yard = Yard::full();
    exports(&mut yard, &path, &export_options()).unwrap();
    let mut other = Yard { most: Some(3), ..Yard::default() };
    let paths = [path];
    let stopped = imports(&paths, &mut other, &import_options()).unwrap_err();
    assert!(matches!(stopped, Error::Side { error: SideError::NoSpace, .. }), "{stopped}");
    assert_eq!((other.manifests.len(), other.tags.len(), other.blobs.len()), (0, 0, 3));
    other.most = None;
    let imported = imports(&paths, &mut other, &import_options()).unwrap();
    assert_eq!((imported.already, imported.blobs), (3, yard.blobs.len() - 3));
    assert_eq!(other.content(), yard.content());
}

#[test]
fn some_images_of_a_yard_take_their_signatures_with_them_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    for (name, names, manifests) in [
        ("one.tar", &["quay.io/team/app:one"][..], 1),
        ("both.tar", &["app:v1"], 3 + 3),
        ("glob.tar", &["docker.io/**:v*", "quay.io/team/*:*"], 3 + 3),
        ("all.tar", &["app:*", "quay.io/team/app:*", "registry.local:5000/long:v1"], 7),
    ] {
        let options = ExportOptions { wanted: these(names), ..export_options() };
        let path = dir.path().join(name);
        exports(&mut yard, &path, &options).unwrap();
        let mut other = Yard::default();
        imports(&[path], &mut other, &import_options()).unwrap();
        assert_eq!(other.manifests.len(), manifests, "{name}");
    }
    let options = ExportOptions { wanted: these(&["app:v1"]), referrers: false, ..export_options() };
    let path = dir.path().join("bare.tar");
    exports(&mut yard, &path, &options).unwrap();
    let mut other = Yard::default();
    imports(&[path], &mut other, &import_options()).unwrap();
    assert_eq!((other.manifests.len(), other.tags.len()), (3, 1));

    let options = ExportOptions { wanted: these(&["app:v2"]), ..export_options() };
    let path = dir.path().join("none.tar");
    let refused = exports(&mut yard, &path, &options).unwrap_err();
    assert!(matches!(&refused, Error::NotHere(name) if name.contains("app:v2")), "{refused}");
    assert!(RealDisk.open(&path, Access::Read).is_err());
}

#[test]
fn t96_one_platform_of_an_index_is_exported_with_the_index_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    let platforms = Platforms::These(vec!["linux/arm64".parse().unwrap()]);
    let options =
        ExportOptions { wanted: these(&["app:v1"]), platforms, referrers: false, ..export_options() };
    let path = dir.path().join("arm.tar");
    let exported = exports(&mut yard, &path, &options).unwrap();
    assert_eq!(
        exported.loads.iter().map(|loads| loads.platform.as_str()).collect::<Vec<_>>(),
        ["linux/arm64"]
    );
    let mut other = Yard::default();
    let imported = imports(&[path], &mut other, &import_options()).unwrap();
    assert_eq!(other.manifests.len(), 2);
    assert_eq!(imported.warnings, [Warning::Sparse(1)]);
    // What was asked for by name has to be there.
    let platforms = Platforms::These(vec!["linux/arm64".parse().unwrap()]);
    let arm64 = other.manifests.keys().find(|digest| !other.tags.values().any(|tagged| tagged == *digest));
    let arm64 = arm64.unwrap().clone();
    yard.manifests.remove(&arm64);
    let options = ExportOptions { wanted: these(&["app:v1"]), platforms, ..export_options() };
    let refused = exports(&mut yard, &dir.path().join("gap.tar"), &options).unwrap_err();
    assert!(matches!(&refused, Error::Gaps(gaps) if gaps[0].0 == arm64), "{refused}");
}

#[test]
fn an_image_that_is_not_whole_is_not_exported_and_its_gaps_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    let gone = yard.blobs.keys().next().unwrap().clone();
    yard.blobs.remove(&gone);
    for form in FORMS {
        let path = dir.path().join(form);
        let refused = exports(&mut yard, &path, &export_options()).unwrap_err();
        assert!(matches!(&refused, Error::Gaps(gaps) if gaps[0].0 == gone), "{refused}");
        assert!(refused.to_string().contains(&gone.to_string()));
    }
    assert_eq!(tree(dir.path()), []);
}

#[test]
fn g2_what_has_rotted_in_the_store_is_not_carried_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut yard = Yard::full();
    let rotten = yard.blobs.iter().find(|(_, (bytes, _))| !bytes.is_empty()).unwrap().0.clone();
    let size = yard.blobs[&rotten].0.len();
    yard.blobs.get_mut(&rotten).unwrap().0 = vec![7; size].into();
    for form in FORMS {
        let path = dir.path().join(form);
        let refused = exports(&mut yard, &path, &export_options()).unwrap_err();
        assert!(refused.to_string().contains(&rotten.to_string()), "{refused}");
        assert!(RealDisk.open(&path, Access::Read).is_err(), "nothing is under the name");
    }
}

#[test]
fn a_bundle_is_never_replaced() {
    let dir = tempfile::tempdir().unwrap();
    for form in FORMS {
        let path = dir.path().join(form);
        exports(&mut Yard::full(), &path, &export_options()).unwrap();
        let refused = exports(&mut Yard::full(), &path, &export_options()).unwrap_err();
        assert!(matches!(refused, Error::Exists(_)), "{refused}");
    }
}

#[test]
fn others_find_full_names_and_docker_finds_one_image_of_an_index() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site");
    let exported = exports(&mut Yard::full(), &path, &export_options()).unwrap();
    let json = |name: &str| serde_json::from_slice::<Value>(&read_file(&path.join(name))).unwrap();
    assert_eq!(json("oci-layout")["imageLayoutVersion"], "1.0.0");
    let index = json("index.json");
    let names: Vec<_> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|entry| {
            let annotations = &entry["annotations"];
            assert_eq!(
                annotations["io.containerd.image.name"],
                annotations["org.opencontainers.image.ref.name"]
            );
            assert!(annotations["dev.roadstead.repository"].is_string());
            let own = annotations["dev.roadstead.name"].as_str();
            let name = annotations["org.opencontainers.image.ref.name"].as_str();
            // A signature looks like an image that cannot be unpacked.
            assert!(own.is_none_or(|own| name.is_none() && own.ends_with(".sig")), "{annotations}");
            name
        })
        .collect();
    assert_eq!(
        names,
        [
            "docker.io/library/app:latest",
            "docker.io/library/app:v1",
            "quay.io/team/app:one",
            "registry.local:5000/long:v1"
        ]
    );
    let list = json("manifest.json");
    let of = |name: &str| {
        let images = list.as_array().unwrap().iter();
        let mut found =
            images.filter(|image| image["RepoTags"].as_array().unwrap().iter().any(|tag| tag == name));
        let image = found.next().unwrap_or_else(|| panic!("{name} is not in {list}")).clone();
        assert!(found.next().is_none());
        image
    };
    let app = of("docker.io/library/app:v1");
    assert_eq!(app, of("quay.io/team/app:one"), "the image for amd64 is the same");
    assert_eq!(app["Layers"].as_array().unwrap().len(), 3);
    for file in [&app["Config"], &app["Layers"][0]] {
        assert!(!read_file(&path.join(file.as_str().unwrap())).is_empty());
    }
    assert!(exported.loads.contains(&Loads {
        name: "docker.io/library/app:v1".to_owned(),
        platform: "linux/amd64".to_owned()
    }));
}

#[test]
fn an_export_into_a_directory_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site");
    let half = dir.path().join("site.partial");
    let mut yard = Yard::full();
    // The last blob cannot be read.
    let last = yard.blobs.iter().rfind(|(_, (bytes, _))| !bytes.is_empty()).unwrap().0.clone();
    let kept = yard.blobs[&last].clone();
    yard.blobs.insert(last.clone(), (vec![1; kept.0.len()].into(), true));
    exports(&mut yard, &path, &export_options()).unwrap_err();
    let before = RealDisk.list(&half.join("blobs/sha256")).unwrap();
    assert!(before.len() > 4, "{before:?}");
    write_file(&half.join("blobs/sha256/stray"), b"of another try");
    yard.blobs.insert(last, kept);
    exports(&mut yard, &path, &export_options()).unwrap();
    let after = RealDisk.list(&path.join("blobs/sha256")).unwrap();
    for file in before.iter().filter(|file| !file.name.ends_with(".partial")) {
        let now = after.iter().find(|now| now.name == file.name);
        // Manifests and blobs alike: found to be right, and left as they were.
        assert_eq!(now.map(|now| now.meta.inode), Some(file.meta.inode), "{}", file.name);
    }
    let clean = dir.path().join("clean");
    exports(&mut yard, &clean, &export_options()).unwrap();
    assert!(tree(&clean) == tree(&path));
}
