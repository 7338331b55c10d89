//! What other tools write.

use super::yard::{CONFIG, OCI_IMAGE, OCI_INDEX, noise};
use super::*;
use crate::oci::Manifest;
use serde_json::{Value, json};
use std::io::Write;

const MARK: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);

fn as_named(name: &str) -> ImportOptions {
    ImportOptions { naming: naming().with_unnamed(name).unwrap(), ..import_options() }
}

/// The files of a layout that holds all of a yard, under an index of these entries.
fn layout(yard: &Yard, entries: &[Value]) -> Vec<(String, Vec<u8>)> {
    let path = |digest: &Digest| format!("blobs/{}/{}", digest.algorithm(), digest.hex());
    let manifests = yard.manifests.iter().map(|(digest, document)| (path(digest), document.bytes.to_vec()));
    let blobs = yard.blobs.iter().map(|(digest, (bytes, _))| (path(digest), bytes.to_vec()));
    let mut files: Vec<_> = manifests.chain(blobs).collect();
    let index = json!({"schemaVersion": 2, "manifests": entries});
    files.push(("index.json".to_owned(), index.to_string().into_bytes()));
    // Last, as whoever packs a directory in order writes it.
    files.push((MARK.0.to_owned(), MARK.1.to_vec()));
    files
}

fn import_files(files: &[(String, Vec<u8>)], options: &ImportOptions) -> (Yard, Result<Imported, Error>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("archive.tar");
    let list: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    write_file(&path, &tar_of(&list));
    let mut yard = Yard::default();
    let packed = imports(&[path], &mut yard, options);

    // The same as a directory, and packed with gzip.
    let folder = dir.path().join("folder");
    for (path, bytes) in files {
        write_file(&folder.join(path), bytes);
    }
    let mut other = Yard::default();
    let same = imports(&[folder], &mut other, options);
    assert_eq!(same.is_ok(), packed.is_ok());
    assert_eq!(other.content(), yard.content());
    let gzip = dir.path().join("archive.gz");
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&tar_of(&list)).unwrap();
    write_file(&gzip, &packer.finish().unwrap());
    let mut other = Yard::default();
    assert_eq!(imports(&[gzip], &mut other, options).is_ok(), packed.is_ok());
    assert_eq!(other.content(), yard.content());
    (yard, packed)
}

fn annotated(yard: &Yard, digest: &Digest, annotations: &Value) -> Value {
    let mut entry = yard.descriptor(digest);
    entry["annotations"] = annotations.clone();
    entry
}

#[test]
fn t97_a_layout_of_skopeo_has_a_tag_and_is_told_where_it_belongs() {
    let mut yard = Yard::default();
    let one = yard.image("a", &[(1, 5000)]);
    let two = yard.image("b", &[(1, 5000), (2, 10)]);
    let index = yard.index(&[(&one, "amd64"), (&two, "arm64")]);
    let entry = annotated(&yard, &index, &json!({"org.opencontainers.image.ref.name": "v7"}));
    let files = layout(&yard, &[entry]);
    let (empty, refused) = import_files(&files, &import_options());
    assert!(matches!(refused, Err(Error::Names(_))));
    assert_eq!(empty, Yard::default());
    let (other, imported) = import_files(&files, &as_named("quay.io/team/app"));
    assert_eq!(imported.unwrap().warnings, []);
    assert_eq!(other.tags, [((place("quay.io/team/app"), tag("v7")), index)].into());
    assert_eq!((other.manifests.len(), other.blobs.len()), (3, yard.blobs.len()));
    assert!(other.blobs.values().all(|(_, anonymous)| !anonymous), "nobody said that everybody may have it");

    // One without any name gets the whole of it.
    let files = layout(&yard, &[yard.descriptor(&one)]);
    let (other, imported) = import_files(&files, &as_named("quay.io/team/app:v1"));
    imported.unwrap();
    assert_eq!(other.tags, [((place("quay.io/team/app"), tag("v1")), one)].into());
}

#[test]
fn t97_an_export_of_containerd_has_names_for_containerd_and_may_be_sparse() {
    let mut yard = Yard::default();
    let one = yard.image("a", &[(1, 5000)]);
    let two = yard.image("b", &[(3, 5000)]);
    let index = yard.index(&[(&one, "amd64"), (&two, "arm64")]);
    let about = yard.artifact(Some(&one), "sbom");
    let names = json!({"io.containerd.image.name": "docker.io/library/app:v1", "org.opencontainers.image.ref.name": "v1"});
    let subject = json!({"io.containerd.manifest.subject": one.to_string()});
    let entries = [annotated(&yard, &index, &names), annotated(&yard, &about, &subject)];
    yard.manifests.remove(&two);
    yard.blobs.retain(|_, (bytes, _)| **bytes != noise(3, 5000)[..]);
    let mut files = layout(&yard, &entries);
    files.push((
        "manifest.json".to_owned(),
        br#"[{"Config":"nowhere","RepoTags":["x"],"Layers":[]}]"#.to_vec(),
    ));
    let (other, imported) = import_files(&files, &import_options());
    let imported = imported.unwrap();
    assert_eq!(imported.warnings, [Warning::Sparse(1)]);
    assert_eq!(other.tags, [((place("docker.io/library/app"), tag("v1")), index)].into());
    assert!(other.members.contains(&(place("docker.io/library/app"), about)));
}

#[test]
fn what_docker_saves_with_a_layout_is_unpacked_and_a_warning_says_so() {
    let mut yard = Yard::default();
    let layer = yard.blob(Algorithm::Sha256, "application/vnd.oci.image.layer.v1.tar", noise(1, 2000));
    let config = yard.blob(Algorithm::Sha256, CONFIG, b"{}".to_vec());
    let image = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": [layer]});
    let image = yard.manifest(Algorithm::Sha256, OCI_IMAGE, &image);
    let names = json!({"io.containerd.image.name": "docker.io/library/alpine:3", "org.opencontainers.image.ref.name": "3"});
    let mut files = layout(&yard, &[annotated(&yard, &image, &names)]);
    files.push(("manifest.json".to_owned(), b"[]".to_vec()));
    files.push(("repositories".to_owned(), b"{}".to_vec()));
    let (other, imported) = import_files(&files, &import_options());
    assert_eq!(imported.unwrap().warnings, [Warning::LayersUnpacked]);
    assert_eq!(other.tags, [((place("docker.io/library/alpine"), tag("3")), image)].into());
}

/// What `docker save` wrote for years, with a layer that two images share by a link.
fn saved(break_it: bool) -> Vec<u8> {
    let (base, top) = (noise(1, 3000), noise(2, 700));
    let config = |layers: &[&[u8]]| {
        let ids: Vec<_> = layers.iter().map(|layer| sha256(layer).to_string()).collect();
        json!({"architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": ids}})
            .to_string()
            .into_bytes()
    };
    let (one, two) = (config(&[&base]), config(&[&base, &top]));
    let name = |config: &[u8]| format!("{}.json", sha256(config).hex());
    let manifest = json!([
        {"Config": name(&one), "RepoTags": ["alpine:3", "quay.io/team/alpine:3"], "Layers": ["a/layer.tar"]},
        {"Config": name(&two), "RepoTags": null, "Layers": ["b/layer.tar", "c/layer.tar"]},
    ]);
    let mut builder = tar::Builder::new(Vec::new());
    append(&mut builder, &name(&one), &one);
    append(&mut builder, &name(&two), &two);
    append(&mut builder, "a/layer.tar", &base);
    append(&mut builder, "a/VERSION", b"1.0");
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, "b/layer.tar", "../a/layer.tar").unwrap();
    append(&mut builder, "c/layer.tar", if break_it { b"other" } else { &top });
    append(&mut builder, "manifest.json", manifest.to_string().as_bytes());
    builder.into_inner().unwrap()
}

#[test]
fn t97_what_docker_saved_of_old_is_taken_with_manifests_that_are_made_and_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.tar");
    write_file(&path, &saved(false));
    let options = as_named("docker.io/team/unnamed:1");
    let mut yard = Yard::default();
    let imported = imports(std::slice::from_ref(&path), &mut yard, &options).unwrap();
    assert_eq!(imported.warnings, [Warning::ManifestsMade]);
    assert_eq!((yard.manifests.len(), yard.blobs.len()), (2, 4));
    let names: Vec<_> = yard.tags.keys().map(|(place, tag)| format!("{place}:{tag}")).collect();
    assert_eq!(names, ["docker.io/library/alpine:3", "docker.io/team/unnamed:1", "quay.io/team/alpine:3"]);
    for document in yard.manifests.values() {
        let manifest = Manifest::parse(&document.media_type, &document.bytes).unwrap();
        for blob in manifest.blobs() {
            assert_eq!(yard.blobs[&blob.digest].0.len() as u64, blob.size);
        }
    }
    let mut again = Yard::default();
    imports(&[path], &mut again, &options).unwrap();
    assert_eq!(again, yard, "they are made alike each time");
}

#[test]
fn t95_a_layer_that_is_not_what_its_configuration_says_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("saved.tar");
    write_file(&path, &saved(true));
    let mut yard = Yard::default();
    let error = imports(&[path], &mut yard, &as_named("docker.io/team/unnamed:1")).unwrap_err();
    let Error::Entry { entry, refusal: Refusal::Digest { .. } } = &error else { panic!("{error}") };
    assert_eq!(entry, "c/layer.tar");
    assert!(yard.tags.is_empty());
}

#[test]
fn t97_a_directory_of_skopeo_is_taken_with_its_images_and_a_sha512() {
    let mut yard = Yard::default();
    let one = yard.image("a", &[(1, 5000)]);
    let two = yard.image_by(Algorithm::Sha512, "b", &[(2, 70)]);
    let index = yard.index(&[(&one, "amd64"), (&two, "arm64")]);
    let flat = |digest: &Digest| match digest.algorithm() {
        Algorithm::Sha256 => digest.hex(),
        Algorithm::Sha512 => format!("sha512-{}", digest.hex()),
    };
    let mut files = vec![("version".to_owned(), b"Directory Transport Version: 1.1\n".to_vec())];
    for (digest, document) in &yard.manifests {
        let name =
            if *digest == index { "manifest.json".to_owned() } else { flat(digest) + ".manifest.json" };
        files.push((name, document.bytes.to_vec()));
    }
    files.extend(yard.blobs.iter().map(|(digest, (bytes, _))| (flat(digest), bytes.to_vec())));
    files.push(("signature-1".to_owned(), b"x".to_vec()));
    let (other, imported) = import_files(&files, &as_named("docker.io/app:v1"));
    imported.unwrap();
    assert_eq!(other.tags, [((place("docker.io/library/app"), tag("v1")), index.clone())].into());
    assert_eq!(other.manifests[&index].media_type, OCI_INDEX);
    assert_eq!((other.manifests.len(), other.blobs.len()), (3, 4));
    let (_, refused) = import_files(&files, &import_options());
    assert!(matches!(refused, Err(Error::Names(_))));
}

#[test]
fn t97_the_volume_of_a_registry_is_taken_with_all_repositories_and_tags() {
    let mut yard = Yard::full();
    // A registry that pulls through notes links of what it never had.
    let links = |yard: &Yard| {
        let mut files = Vec::new();
        let root = "docker/registry/v2";
        let algorithm = |digest: &Digest| digest.algorithm().as_str();
        let data = |digest: &Digest, bytes: &[u8]| {
            let hex = digest.hex();
            (format!("{root}/blobs/{}/{}/{hex}/data", algorithm(digest), &hex[..2]), bytes.to_vec())
        };
        files.extend(yard.manifests.iter().map(|(digest, document)| data(digest, &document.bytes)));
        // Whatever digest a blob was pushed by, it lies under its SHA-256.
        files.extend(yard.blobs.values().map(|(bytes, _)| data(&sha256(bytes), bytes)));
        let name = |place: &Place| match place.upstream.as_str() {
            "docker.io" => place.repository.to_string(),
            upstream => format!("{upstream}/{}", place.repository),
        };
        for (place, digest) in &yard.members {
            let blob = yard.blobs.get(digest);
            let kind = if blob.is_none() { "_manifests/revisions" } else { "_layers" };
            let lies = blob.map_or_else(|| digest.clone(), |(bytes, _)| sha256(bytes));
            let path = format!(
                "{root}/repositories/{}/{kind}/{}/{}/link",
                name(place),
                algorithm(digest),
                digest.hex()
            );
            files.push((path, lies.to_string().into_bytes()));
        }
        for ((place, tag), digest) in &yard.tags {
            let tags = format!("{root}/repositories/{}/_manifests/tags/{tag}", name(place));
            files.push((format!("{tags}/current/link"), digest.to_string().into_bytes()));
            let index = format!("{tags}/index/{}/{}/link", algorithm(digest), digest.hex());
            files.push((index, digest.to_string().into_bytes()));
        }
        files
    };
    let (other, imported) = import_files(&links(&yard), &import_options());
    assert_eq!(imported.unwrap().warnings, []);
    for (_, anonymous) in yard.blobs.values_mut() {
        *anonymous = false;
    }
    for document in yard.manifests.values_mut() {
        document.anonymous = false;
    }
    assert_eq!(other.content(), yard.content());

    let naming = naming().with_upstream("quay.io").unwrap();
    let options = ImportOptions { naming, ..import_options() };
    let (other, imported) = import_files(&links(&yard), &options);
    imported.unwrap();
    assert!(other.tags.contains_key(&(place("quay.io/library/app"), tag("v1"))));
    assert!(other.tags.keys().all(|(place, _)| place.upstream != "docker.io"));
}
