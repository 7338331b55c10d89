//! What is written is read back, in the form of today and in that of older programs.

use super::*;
use crate::oci::{Algorithm, Digest};
use crate::store::fs::RealDisk;
use crate::store::model::{BlobEntry, Graph, Link, ManifestEntry, Role};
use redb::ReadableDatabase;
use serde_json::json;

const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

fn digest(number: u64) -> Digest {
    let algorithm = if number.is_multiple_of(3) { Algorithm::Sha512 } else { Algorithm::Sha256 };
    Digest::of(algorithm, &number.to_le_bytes())
}

fn image(number: u64) -> ManifestEntry {
    let role = |place| if place == 0 { Role::Config } else { Role::Part };
    let link =
        |place| Link { digest: digest(number + place), size: place, platform: None, role: role(place) };
    let graph = Graph { blobs: (0..3).map(link).collect(), ..Graph::default() };
    ManifestEntry {
        media_type: IMAGE.to_owned(),
        size: number,
        anonymous: number.is_multiple_of(2),
        graph,
        accessed: 100 - number,
    }
}

/// Blobs, images of them, members and tags.
fn model() -> Model {
    let mut model = Model::new();
    let repo = model.intern("docker.io", &"a".parse().unwrap());
    for number in (1..40).rev() {
        let (size, accessed) = (number * 1000, 1_000 - number);
        let entry =
            BlobEntry { size, inode: number, mtime: -7, anonymous: number.is_multiple_of(2), accessed };
        model.insert_blob(&digest(number), entry);
        model.add_member(repo, &digest(number));
    }
    for number in (50..60).rev() {
        model.insert_manifest(&digest(number), image(number));
        model.bind(repo, &format!("t{number}").parse().unwrap(), &digest(number), number);
    }
    model
}

/// All that is in an index, as text.
fn told(model: &Model) -> String {
    let blobs: Vec<_> = model.blobs().collect();
    let manifests: Vec<_> = model.manifests().map(|(digest, manifest)| (digest, manifest.entry())).collect();
    let mut members: Vec<_> = model.members().collect();
    members.sort();
    let mut tags: Vec<_> = model.bindings.values().flatten().collect();
    tags.sort_by_key(|(tag, _)| (*tag).clone());
    format!("{blobs:?} {manifests:?} {members:?} {tags:?} {:?}", model.ledger)
}

fn format_of(index: &Index) -> String {
    let read = index.database.begin_read().unwrap();
    let meta = read.open_table(tables::META).unwrap();
    meta.get(tables::FORMAT_KEY).unwrap().unwrap().value().to_owned()
}

/// Makes it what a program wrote that knew format 1 only.
fn make_old(index: &Index, model: &Model) {
    let write = index.database.begin_write().unwrap();
    {
        write.open_table(tables::META).unwrap().insert(tables::FORMAT_KEY, "1").unwrap();
        let mut table = write.open_table(tables::BLOBS).unwrap();
        for (digest, entry) in model.blobs() {
            let BlobEntry { size, inode, mtime, anonymous, .. } = entry;
            let row = json!({ "size": size, "inode": inode, "mtime": mtime, "anonymous": anonymous });
            table.insert(tables::key(digest).as_slice(), row.to_string().as_bytes()).unwrap();
        }
        let mut table = write.open_table(tables::MANIFESTS).unwrap();
        for (digest, manifest) in model.manifests() {
            let blobs: Vec<_> = manifest
                .blobs()
                .map(|link| match link.role {
                    Role::Config => {
                        json!({ "digest": link.digest.to_string(), "size": link.size, "role": "config" })
                    }
                    _ => json!({ "digest": link.digest.to_string(), "size": link.size }),
                })
                .collect();
            let row = json!({
                "media_type": manifest.media_type(), "size": manifest.size(),
                "anonymous": manifest.anonymous(), "blobs": blobs
            });
            table.insert(tables::key(digest).as_slice(), row.to_string().as_bytes()).unwrap();
        }
    }
    write.commit().unwrap();
}

#[test]
fn what_was_written_is_read_back_and_so_is_what_an_older_program_wrote() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&RealDisk, &dir.path().join("index"), Access::Create).unwrap();
    assert!(index.load().unwrap().is_none(), "a new one");
    let model = model();
    index.write(&Batch::everything(&model)).unwrap();
    assert_eq!(format_of(&index), tables::FORMAT);
    let loaded = index.load().unwrap().unwrap();
    assert_eq!(told(&loaded), told(&model));
    assert!(loaded.dirty.is_empty());

    make_old(&index, &loaded);
    assert_eq!(format_of(&index), "1");
    let old = index.load().unwrap().unwrap();
    assert_eq!(told(&old), told(&loaded));

    // One change of it, and an older program knows that it is not one of its own any more.
    let dirty = Dirty { blobs: [digest(1)].into(), ..Dirty::default() };
    index.write(&Batch::of(&old, &dirty)).unwrap();
    assert_eq!(format_of(&index), tables::FORMAT);
    assert_eq!(told(&index.load().unwrap().unwrap()), told(&loaded));
}

#[test]
fn rows_without_a_time_of_use_are_as_old_as_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let index = Index::open(&RealDisk, &dir.path().join("index"), Access::Create).unwrap();
    let model = model();
    let mut batch = Batch::everything(&model);
    let without: Vec<Digest> = (1_u64..60).filter(|number| number.is_multiple_of(4)).map(digest).collect();
    batch.access.retain(|(key, _)| !without.iter().any(|digest| tables::key(digest) == *key));
    // And times of what is not there.
    batch.access.extend((100..200).map(|number| (tables::key(&digest(number)), Some(number))));
    index.write(&batch).unwrap();
    let loaded = index.load().unwrap().unwrap();
    let expected = |digest: &Digest, accessed| if without.contains(digest) { 0 } else { accessed };
    for (digest, entry) in model.blobs() {
        assert_eq!(loaded.blob(digest).unwrap().accessed, expected(digest, entry.accessed));
    }
    for (digest, manifest) in model.manifests() {
        assert_eq!(loaded.manifest(digest).unwrap().accessed(), expected(digest, manifest.accessed()));
    }
    assert_eq!((loaded.blob_count(), loaded.manifest_count()), (39, 10));
}
