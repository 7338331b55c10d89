//! Archives of somebody who means harm, by the real command: each is refused with a reason, by a process that has little
//! address space and may write no large file, into a store that stays as it was.

use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::{cut_off, text};
use crate::support::images::sha256;
use crate::support::mirror::{REGISTRY, files_under};
use crate::world::REPOSITORY;

const GB: u64 = 1 << 30;
/// What the process may map, its threads and its index with it; half of it has been seen to do. None of the bombs would fit.
const ADDRESS_SPACE_KIB: u64 = 1 << 19;
/// What it may write into one file, in blocks of 512 bytes: an index is smaller.
const FILE_BLOCKS: u64 = 32 << 11;
/// What an empty store takes.
const STORE: u64 = 8 << 20;

/// A header that says what it is told to.
fn header(kind: EntryType, path: &str, link: &str, size: u64) -> Vec<u8> {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_cksum();
    header.as_bytes().to_vec()
}

/// A layout of one image whose layer has these bytes, under that digest.
fn layout(layer: &[u8], digest: &str) -> Vec<(String, Vec<u8>)> {
    let at = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
    let config = br#"{"architecture":"amd64","os":"linux"}"#.to_vec();
    let descriptor = |media_type: &str, digest: &str, size: usize| json!({"mediaType": media_type, "digest": digest, "size": size});
    let oci = |name: &str| format!("application/vnd.oci.image.{name}");
    let manifest = json!({
        "schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
        "config": descriptor(&oci("config.v1+json"), &sha256(&config), config.len()),
        "layers": [descriptor(&oci("layer.v1.tar"), digest, layer.len())],
    });
    let manifest = manifest.to_string().into_bytes();
    let mut top = descriptor(&oci("manifest.v1+json"), &sha256(&manifest), manifest.len());
    top["annotations"] =
        json!({"org.opencontainers.image.ref.name": format!("{REGISTRY}/{REPOSITORY}:hostile")});
    vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), json!({"schemaVersion": 2, "manifests": [top]}).to_string().into_bytes()),
        (at(&sha256(&manifest)), manifest),
        (at(&sha256(&config)), config),
        (at(digest), layer.to_vec()),
    ]
}

/// The archive of some files, without the end that an archive has.
fn pack(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    let mut bytes = builder.into_inner().unwrap();
    bytes.truncate(bytes.len() - 1024);
    bytes
}

/// So many packed zeros behind these bytes, made without ever having them.
fn zeros(start: &[u8], count: u64) -> Vec<u8> {
    const FRAME: u64 = 64 << 20;
    let frame = zstd::encode_all(std::io::repeat(0).take(FRAME), 3).unwrap();
    let mut packed = zstd::encode_all(start, 3).unwrap();
    for _ in 0..count / FRAME {
        packed.extend_from_slice(&frame);
    }
    packed
}

/// Imports it in a process with narrow bounds; gives the exit code and what was said.
fn import(bundle: &Path, config: &Path) -> (Option<i32>, String) {
    let bounds = format!("ulimit -v {ADDRESS_SPACE_KIB}; ulimit -f {FILE_BLOCKS}; exec \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &bounds, "sh", env!("CARGO_BIN_EXE_roadstead"), "import", text(bundle), "--config"])
        .arg(config)
        .env_clear()
        // Each of these reserves 64 MiB of addresses that nobody uses.
        .env("MALLOC_ARENA_MAX", "1")
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn t95_the_real_command_refuses_every_hostile_archive_without_filling_disk_or_memory() {
    let layer = b"this is a layer ".repeat(300);
    let whole = pack(&layout(&layer, &sha256(&layer)));
    let with = |more: Vec<u8>| [whole.clone(), more, vec![0; 1024]].concat();
    let thousands = |path: &str, link: &str, kind: EntryType| with(header(kind, path, link, 0).repeat(5000));
    let mut many = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    many.write_all(&whole).unwrap();
    for number in 0..=500_000 {
        many.write_all(&header(EntryType::Regular, &format!("file-{number}"), "", 0)).unwrap();
    }
    let many = many.finish().unwrap();
    let wrong = sha256(b"something else");
    // Of which the file system holds only the beginning.
    let mut json = header(EntryType::Regular, "index.json", "", 5 * GB);
    json.extend_from_slice(b"{\"schemaVersion\":2,\"manifests\":[");
    // One that is no larger than a document may be, and holds nothing but beginnings.
    let deep = "[".repeat(4 << 20).into_bytes();
    let deep = vec![
        ("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        ("index.json".to_owned(), deep),
    ];
    let archives = [
        ("traversal", with(header(EntryType::Regular, "../../evil", "", 0)), "leaves the archive"),
        ("absolute path", with(header(EntryType::Regular, "/etc/cron.d/evil", "", 0)), "leaves the archive"),
        (
            "link to outside",
            with(header(EntryType::Symlink, "a", "../../etc/passwd", 0)),
            "outside of the archive",
        ),
        (
            "hard link to outside",
            with(header(EntryType::Link, "a", "/etc/passwd", 0)),
            "outside of the archive",
        ),
        ("character device", with(header(EntryType::Char, "a", "", 0)), "neither a file nor a directory"),
        ("block device", with(header(EntryType::Block, "a", "", 0)), "neither a file nor a directory"),
        ("pipe", with(header(EntryType::Fifo, "a", "", 0)), "neither a file nor a directory"),
        ("wrong digest", [pack(&layout(&layer, &wrong)), vec![0; 1024]].concat(), "its content is sha256"),
        ("zeros", zeros(&with_zeros(&whole), 100 * GB), "unpacks to more than 200 times"),
        ("huge JSON", json, "a document has"),
        (
            "huge packed JSON",
            zeros(&header(EntryType::Regular, "index.json", "", 5 * GB), 5 * GB),
            "its size",
        ),
        ("deep JSON", [pack(&deep), vec![0; 1024]].concat(), "cannot be read"),
        ("one path", thousands("blobs/x", "", EntryType::Regular), "two of that path"),
        ("many paths", many, "more than 500000 entries"),
        ("long name", with(header(EntryType::GNULongName, "long", "", 100 * GB)), "its name is longer"),
        ("end inside", whole[..whole.len() - 2000].to_vec(), "ends before it does"),
    ];
    let dir = tempfile::tempdir().unwrap();
    for (name, bytes, why) in archives {
        let setup = cut_off();
        let config = setup.file("roadstead.toml", &setup.toml());
        let bundle = dir.path().join("bundle");
        let mut file = std::fs::File::create(&bundle).unwrap();
        file.write_all(&bytes).unwrap();
        if name == "huge JSON" {
            file.set_len(6 * GB).unwrap();
        }
        let (code, told) = import(&bundle, &config);
        assert_eq!(code, Some(1), "{name}: {told}");
        assert!(told.contains(why), "{name}: {told}");
        let files = files_under(&setup.data(), "");
        let taken: u64 = files.iter().map(|file| file.metadata().unwrap().len()).sum();
        assert!(taken < STORE, "{name}: {taken} bytes in {files:?}");
        assert_eq!(files_under(&setup.data(), "partial/").len(), 0, "{name}");
        assert!(!dir.path().parent().unwrap().join("evil").exists(), "{name}");
    }
}

/// The beginning of a file of a hundred gigabytes behind an archive.
fn with_zeros(whole: &[u8]) -> Vec<u8> {
    [whole, &header(EntryType::Regular, "zeros", "", 100 * GB)].concat()
}
