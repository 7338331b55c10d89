//! Archives of somebody who means harm, or whose medium did.

use super::yard::{OCI_IMAGE, OCI_INDEX, noise};
use super::*;
use crate::oci::MAX_MANIFEST_BYTES;
use serde_json::{Value, json};
use std::io::Write;
use tar::{Builder, EntryType, Header};

const GB: u64 = 1 << 30;
const MARK: (&str, &[u8]) = ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#);

/// What a layout of one image has, by path.
fn layout() -> Vec<(String, Vec<u8>)> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("site");
    let mut yard = Yard::default();
    let image = yard.image("a", &[(1, 5000), (2, 700)]);
    yard.show("docker.io/library/app", Some("v1"), &image);
    exports(&mut yard, &path, &export_options()).unwrap();
    tree(&path)
}

fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect();
    tar_of(&files)
}

/// The path of the layer that has so many bytes.
fn blob_of(files: &[(String, Vec<u8>)], size: usize) -> usize {
    files.iter().position(|(path, bytes)| path.starts_with("blobs/") && bytes.len() == size).unwrap()
}

/// Imports these bytes, which are refused, and gives where and why; nothing is shown.
#[track_caller]
fn refused_with(bytes: &[u8], options: &ImportOptions) -> (String, Refusal, Yard) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle");
    write_file(&path, bytes);
    let mut yard = Yard::default();
    let error = imports(&[path], &mut yard, options).unwrap_err();
    assert!(yard.tags.is_empty() && yard.manifests.is_empty(), "{error}");
    let text = error.to_string();
    let Error::Entry { entry, refusal } = error else { panic!("{text}") };
    assert!(text.contains(&format!("{entry:?}")[1..entry.len().min(100)]), "{text} names {entry}");
    assert!(text.contains(';'), "{text} says what to do");
    (entry, refusal, yard)
}

#[track_caller]
fn refused(bytes: &[u8]) -> (String, Refusal) {
    let (entry, refusal, yard) = refused_with(bytes, &import_options());
    assert!(yard.blobs.is_empty(), "refused before anything was written");
    (entry, refusal)
}

fn special(kind: EntryType, path: &str, link: &str) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    append(&mut builder, MARK.0, MARK.1);
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, std::io::empty()).unwrap();
    builder.into_inner().unwrap()
}

#[test]
fn t95_paths_that_leave_the_archive_are_refused() {
    for path in ["../evil", "/etc/cron.d/evil", "blobs/../../evil", "blobs/sha256/../../../evil"] {
        let mut files = layout();
        files.push((path.to_owned(), b"evil".to_vec()));
        let (entry, refusal) = refused(&pack(&files));
        assert_eq!((entry.as_str(), refusal), (path, Refusal::Escapes));
    }
}

#[test]
fn t95_links_that_leave_the_archive_and_devices_are_refused() {
    for (kind, link) in [
        (EntryType::Symlink, "/etc/passwd"),
        (EntryType::Symlink, "../../etc/passwd"),
        (EntryType::Link, "/etc/passwd"),
        (EntryType::Link, "../etc/passwd"),
    ] {
        let (entry, refusal) = refused(&special(kind, "blobs/x", link));
        assert_eq!((entry.as_str(), refusal), ("blobs/x", Refusal::LinkEscapes(link.to_owned())));
    }
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        let (entry, refusal) = refused(&special(kind, "blobs/x", ""));
        assert_eq!((entry.as_str(), refusal), ("blobs/x", Refusal::Device));
    }
}

#[test]
fn t95_a_link_in_the_place_of_a_blob_is_refused_in_an_archive_and_in_a_directory() {
    let mut files = layout();
    let at = blob_of(&files, 5000);
    let (path, bytes) = files.remove(at);
    let mut builder = Builder::new(Vec::new());
    for (path, bytes) in &files {
        append(&mut builder, path, bytes);
    }
    append(&mut builder, "elsewhere", &bytes);
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Symlink);
    header.set_size(0);
    builder.append_link(&mut header, &path, "../../elsewhere").unwrap();
    assert_eq!(refused(&builder.into_inner().unwrap()), (path.clone(), Refusal::Link));

    let dir = tempfile::tempdir().unwrap();
    for (path, bytes) in &files {
        write_file(&dir.path().join("site").join(path), bytes);
    }
    let secret = dir.path().join("secret");
    write_file(&secret, &bytes);
    rustix::fs::symlink(&secret, dir.path().join("site").join(&path)).unwrap();
    let mut yard = Yard::default();
    let error = imports(&[dir.path().join("site")], &mut yard, &import_options()).unwrap_err();
    let Error::Entry { entry, refusal } = error else { panic!("{error}") };
    assert_eq!((entry, refusal), (path, Refusal::Link));
    assert_eq!(yard, Yard::default());
}

#[test]
fn t95_content_that_is_not_what_its_name_says_is_refused() {
    // A manifest is refused before anything is written, a blob before it is kept.
    let files = layout();
    for at in 0..files.len() {
        let mut files = files.clone();
        let (path, bytes) = &mut files[at];
        if !path.starts_with("blobs/") {
            continue;
        }
        let path = path.clone();
        let expected: Digest = path.replacen("blobs/", "", 1).replacen('/', ":", 1).parse().unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        let found = sha256(bytes);
        let (entry, refusal, yard) = refused_with(&pack(&files), &import_options());
        assert_eq!((entry, refusal), (path, Refusal::Digest { expected: expected.clone(), found }));
        assert!(!yard.blobs.contains_key(&expected));
    }
}

#[test]
fn t95_content_of_another_size_than_its_descriptor_says_is_refused_before_it_is_read() {
    for (more, less) in [(1, 0), (1 << 20, 0), (0, 1)] {
        let mut files = layout();
        for at in [blob_of(&files, 5000), blob_of(&files, 700)] {
            let bytes = &mut files[at].1;
            let size = bytes.len();
            bytes.resize(size + more - less, 0);
        }
        let (_, refusal) = refused(&pack(&files));
        assert!(matches!(refusal, Refusal::Size { said: 5000 | 700, .. }), "{refusal:?}");
    }
}

/// The header of a file of that size, and nothing of it.
fn header_of(path: &str, kind: EntryType, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.set_path(path).unwrap();
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// So many packed zeros behind these bytes, made without ever having them.
fn zstd_bomb(start: &[u8], zeros: u64) -> Vec<u8> {
    const FRAME: u64 = 64 << 20;
    let frame = zstd::encode_all(std::io::repeat(0).take(FRAME), 3).unwrap();
    let mut packed = zstd::encode_all(start, 3).unwrap();
    for _ in 0..zeros / FRAME {
        packed.extend_from_slice(&frame);
    }
    packed
}

use std::io::Read as _;

#[test]
fn t95_a_hundred_gigabytes_of_zeros_are_refused_early() {
    let whole = pack(&layout());
    let start = &whole[..whole.len() - 1024];
    for (path, kind) in [("zeros", EntryType::Regular), ("blobs/sha256/00", EntryType::Regular)] {
        let mut bytes = start.to_vec();
        bytes.extend(header_of(path, kind, 100 * GB));
        let (entry, refusal) = refused(&zstd_bomb(&bytes, 100 * GB));
        assert_eq!((entry.as_str(), refusal), (path, Refusal::Expands(200)));
    }
    // And with gzip, in which only the beginning of them is made.
    let mut bytes = start.to_vec();
    bytes.extend(header_of("zeros", EntryType::Regular, 100 * GB));
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packer.write_all(&bytes).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(8 << 20), &mut packer).unwrap();
    let limits = Limits { ratio: 20, slack: 1 << 20, ..Limits::default() };
    let options = ImportOptions { limits, ..import_options() };
    let (entry, refusal, _) = refused_with(&packer.finish().unwrap(), &options);
    assert_eq!((entry.as_str(), refusal), ("zeros", Refusal::Expands(20)));
}

#[test]
fn t95_names_of_gigabytes_are_refused_unread() {
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let mut bytes = header_of("x", EntryType::Regular, 0);
        bytes.extend(header_of("long", kind, 100 * GB));
        let (_, refusal) = refused(&zstd_bomb(&bytes, GB));
        assert!(matches!(refusal, Refusal::LongName(_)), "{refusal:?}");
    }
}

#[test]
fn t95_a_frame_that_asks_for_gigabytes_of_memory_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(30).unwrap();
    encoder.write_all(&pack(&layout())).unwrap();
    let (_, refusal) = refused(&encoder.finish().unwrap());
    assert!(matches!(refusal, Refusal::Packing(_)), "{refusal:?}");
}

#[test]
fn t95_huge_documents_are_refused() {
    let large = vec![b' '; MAX_MANIFEST_BYTES + 1];
    let size = large.len() as u64;
    assert_eq!(
        refused(&tar_of(&[MARK, ("index.json", &large)])),
        ("index.json".to_owned(), Refusal::LargeDocument(size))
    );
    assert_eq!(
        refused(&tar_of(&[("manifest.json", &large)])),
        ("manifest.json".to_owned(), Refusal::LargeDocument(size))
    );
    let digest = sha256(&large);
    let index = index_of(&[(&digest, large.len(), "app:v1")]);
    let path = format!("blobs/sha256/{}", digest.hex());
    let bytes = tar_of(&[MARK, ("index.json", &index), (&path, &large)]);
    assert_eq!(refused(&bytes), (path, Refusal::LargeDocument(size)));

    // Each is small, and there are many.
    let images: Vec<_> =
        (0..20).map(|n| json!({"layers": [], "config": {}, "n": n, "x": "x".repeat(1000)})).collect();
    let images: Vec<_> = images.iter().map(|image| image.to_string().into_bytes()).collect();
    let digests: Vec<_> = images.iter().map(|image| sha256(image)).collect();
    let names: Vec<_> = (0..20).map(|n| format!("app:{n}")).collect();
    let entries: Vec<_> = (0..20).map(|n| (&digests[n], images[n].len(), names[n].as_str())).collect();
    let index = index_of(&entries);
    let paths: Vec<_> = digests.iter().map(|digest| format!("blobs/sha256/{}", digest.hex())).collect();
    let mut files = vec![MARK, ("index.json", index.as_slice())];
    files.extend((0..20).map(|n| (paths[n].as_str(), images[n].as_slice())));
    let limits = Limits { documents: 10_000, ..Limits::default() };
    let (_, refusal, _) = refused_with(&tar_of(&files), &ImportOptions { limits, ..import_options() });
    assert_eq!(refusal, Refusal::LargeDocuments(10_000));

    let deep = format!("{}{}", "[".repeat(1 << 20), "]".repeat(1 << 20));
    for (path, bytes) in [("index.json", deep.clone()), ("index.json", format!(r#"{{"manifests":{deep}}}"#))]
    {
        let (_, refusal) = refused(&tar_of(&[MARK, (path, bytes.as_bytes())]));
        assert!(matches!(refusal, Refusal::Document(_)), "{refusal:?}");
    }
}

fn index_of(entries: &[(&Digest, usize, &str)]) -> Vec<u8> {
    let entry = |&(digest, size, name): &(&Digest, usize, &str)| {
        json!({"mediaType": OCI_IMAGE, "digest": digest.to_string(), "size": size,
            "annotations": {"org.opencontainers.image.ref.name": name}})
    };
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    json!({"schemaVersion": 2, "manifests": entries}).to_string().into_bytes()
}

#[test]
fn t95_thousands_of_entries_of_one_path_are_refused_at_the_second() {
    for path in ["index.json", "blobs/sha256/00", "stray"] {
        let mut files = layout();
        files.extend((0..5000).map(|_| (path.to_owned(), b"{}".to_vec())));
        let (entry, refusal) = refused(&pack(&files));
        assert_eq!((entry.as_str(), refusal), (path, Refusal::Twice));
    }
}

#[test]
fn t95_entries_without_end_are_refused() {
    let mut files = layout();
    files.extend((0..200).map(|n| (format!("stray/{n}"), Vec::new())));
    let limits = Limits { entries: 100, ..Limits::default() };
    let (_, refusal, _) = refused_with(&pack(&files), &ImportOptions { limits, ..import_options() });
    assert_eq!(refusal, Refusal::TooMany(100));
}

#[test]
fn t95_indexes_of_indexes_without_end_are_refused() {
    let mut yard = Yard::default();
    let mut digest = yard.image("a", &[(1, 10)]);
    for _ in 0..20 {
        let index =
            json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [yard.descriptor(&digest)]});
        digest = yard.manifest(Algorithm::Sha256, OCI_INDEX, &index);
    }
    yard.show("docker.io/library/app", Some("v1"), &digest);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep.tar");
    exports(&mut yard, &path, &export_options()).unwrap();
    let (_, refusal) = refused(&read_file(&path));
    assert!(matches!(refusal, Refusal::Deep(_)), "{refusal:?}");
}

#[test]
fn t95_holes_and_unknown_versions_are_refused() {
    let (_, refusal) = refused(&special(EntryType::GNUSparse, "blobs/x", ""));
    assert_eq!(refusal, Refusal::Sparse);
    let index = index_of(&[]);
    let later = br#"{"imageLayoutVersion":"2.0.0"}"#;
    let bytes = tar_of(&[("oci-layout", later), ("index.json", &index)]);
    assert_eq!(refused(&bytes), ("oci-layout".to_owned(), Refusal::Version("2.0.0".to_owned())));
    let bytes = tar_of(&[MARK, ("index.json", &index), ("roadstead.json", br#"{"version":9,"set":"x"}"#)]);
    assert_eq!(refused(&bytes), ("roadstead.json".to_owned(), Refusal::Version("9".to_owned())));
}

#[test]
fn what_is_no_archive_of_images_is_told_as_that() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    for bytes in [&b""[..], b"hello", &noise(1, 5000), &tar_of(&[("hello", b"world")])] {
        write_file(&path, bytes);
        let error =
            imports(std::slice::from_ref(&path), &mut Yard::default(), &import_options()).unwrap_err();
        assert!(matches!(error, Error::UnknownFormat(_)), "{error}");
    }
    write_file(&path, &tar_of(&[MARK, ("index.json", &index_of(&[]))]));
    let error = imports(&[path], &mut Yard::default(), &import_options()).unwrap_err();
    assert!(matches!(error, Error::Empty(_)), "{error}");
}

#[test]
fn content_that_is_named_and_nowhere_is_listed_and_nothing_is_written() {
    let mut files = layout();
    let at = blob_of(&files, 5000);
    let (path, _) = files.remove(at);
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    write_file(&bundle, &pack(&files));
    let mut yard = Yard::default();
    let error = imports(&[bundle], &mut yard, &import_options()).unwrap_err();
    let Error::Lacks { missing, delta: false } = &error else { panic!("{error}") };
    assert_eq!(missing.len(), 1);
    assert!(path.ends_with(&missing[0].0.hex()) && missing[0].1 == 5000);
    assert_eq!(yard, Yard::default());
}

#[test]
fn names_that_mean_nothing_here_are_all_told_before_anything_is_written() {
    let mut yard = Yard::default();
    let image = yard.image("a", &[(1, 10)]);
    let bytes = yard.manifests[&image].bytes.clone();
    let size = bytes.len();
    let index =
        index_of(&[(&image, size, "ghcr.io/a/b:1"), (&image, size, "UPPER/x:1"), (&image, size, "v1")]);
    let mut files = vec![
        (MARK.0.to_owned(), MARK.1.to_vec()),
        ("index.json".to_owned(), index),
        (format!("blobs/sha256/{}", image.hex()), bytes.to_vec()),
    ];
    for (digest, (bytes, _)) in &yard.blobs {
        files.push((format!("blobs/sha256/{}", digest.hex()), bytes.to_vec()));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bundle");
    write_file(&path, &pack(&files));
    let mut other = Yard::default();
    let error = imports(&[path], &mut other, &import_options()).unwrap_err();
    let Error::Names(names) = &error else { panic!("{error}") };
    assert_eq!(names.len(), 3);
    for part in ["[[upstream]]", "ghcr.io", "--as", "UPPER"] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    assert_eq!(other, Yard::default());
}

#[test]
fn t95_an_archive_that_ends_early_or_is_garbled_anywhere_shows_nothing_that_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let mut good = Yard::full();
    for form in ["site.tar", "site.tar.zst"] {
        let path = dir.path().join(form);
        exports(&mut good, &path, &export_options()).unwrap();
        let whole = read_file(&path);
        let bad = dir.path().join("bad");
        let check = |bytes: &[u8]| {
            write_file(&bad, bytes);
            let mut yard = Yard::default();
            match imports(std::slice::from_ref(&bad), &mut yard, &import_options()) {
                // What was garbled may be what nobody needs, or a name.
                Ok(_) => assert!(yard.blobs.keys().all(|digest| good.blobs.contains_key(digest))),
                Err(_) => assert!(yard.tags.is_empty()),
            }
        };
        for cut in (0..whole.len()).step_by(whole.len() / 50) {
            check(&whole[..cut]);
        }
        for at in (0..whole.len()).step_by(whole.len() / 100) {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            check(&bytes);
        }
    }
}
