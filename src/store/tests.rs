//! The store as its users see it, over a real directory.

use super::fs::RealDisk;
use super::*;
use crate::oci::Algorithm;

fn open(path: &std::path::Path, max: u64) -> Store {
    let options = Options { path: path.to_owned(), max_bytes: Budget::Bytes(max), max_blob: None };
    Store::open(Arc::new(RealDisk), options).unwrap()
}

fn commit(store: &Store, content: &[u8], repository: &str) -> Digest {
    let digest = Digest::of(Algorithm::Sha256, content);
    let partial = store.partial(&digest, content.len() as u64).unwrap();
    partial.file().write_at(content, 0).unwrap();
    partial.commit(true, "docker.io", &repository.parse().unwrap()).unwrap();
    digest
}

#[test]
fn a_committed_blob_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), 1 << 20);
    let digest = commit(&store, b"hello", "a");
    store.close();
    drop(store);
    let store = open(dir.path(), 1 << 20);
    assert_eq!(store.blob(&digest), Some(BlobInfo { size: 5, anonymous: true }));
    let file = store.open_blob(&digest).unwrap().unwrap();
    let mut buf = [0; 8];
    assert_eq!(file.read_at(&mut buf, 0).unwrap(), 5);
    assert_eq!(&buf[..5], b"hello");
    assert!(store.is_member("docker.io", &"a".parse().unwrap(), &digest));
    assert!(!store.is_member("ghcr.io", &"a".parse().unwrap(), &digest));
}
