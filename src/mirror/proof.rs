//! The proof: were upstream gone, would clients of a repository be given all of an image?
//!
//! Owns the check of one image. What the store knows of it is walked, and each file of it looked at, because a file can be
//! taken away or cut short without the store being told; whoever wants to be sure has every byte hashed again. Guarantees
//! that nothing is asked of upstream, and that what turns out wrong is dropped, so that it is fetched again when somebody
//! wants it. Leaves to others which images are looked at, and bringing in what is missing.

use std::collections::HashSet;

use crate::oci::{Digest, Hasher, Repository};
use crate::store::{BlobFile, Closure, Kind, Needed, Standing, Store, Wanted};

/// How much of a file is read at a time.
const CHUNK: usize = 1 << 20;

/// Looks whether all that is wanted of an image is here; `deep` reads all of it. Blocks.
pub fn prove(
    store: &Store,
    (upstream, repository): (&str, &Repository),
    root: &Digest,
    wanted: &Wanted,
    deep: bool,
) -> Closure {
    let (mut looked_at, mut wrong) = (HashSet::<Digest>::new(), HashSet::<Digest>::new());
    loop {
        let mut closure = store.closure(upstream, repository, root, wanted);
        let before = wrong.len();
        for needed in closure.objects.iter().filter(|needed| needed.standing == Standing::Here) {
            if looked_at.insert(needed.digest.clone()) && !is_right(store, needed, deep) {
                wrong.insert(needed.digest.clone());
            }
        }
        // What was dropped is a gap in the next walk; each object is looked at once, so this ends.
        if wrong.len() == before {
            // What a disk does not give at the moment is not dropped, and nobody would be given it either.
            for needed in closure.objects.iter_mut().filter(|needed| wrong.contains(&needed.digest)) {
                if needed.standing == Standing::Here {
                    needed.standing = Standing::Absent;
                }
            }
            return closure;
        }
    }
}

/// Whether the file of an object is what it should be. One that is not is dropped from the store by the look at it.
fn is_right(store: &Store, needed: &Needed, deep: bool) -> bool {
    match needed.kind {
        // Reading it verifies it.
        Kind::Manifest => matches!(store.inspect_manifest(&needed.digest), Ok(Some(_))),
        Kind::Blob => match store.inspect_blob(&needed.digest) {
            Ok(Some(file)) if deep && !has_digest(&file, &needed.digest) => {
                store.distrust(&file);
                false
            }
            Ok(Some(_)) => true,
            Ok(None) | Err(_) => false,
        },
    }
}

fn has_digest(file: &BlobFile, digest: &Digest) -> bool {
    let mut hasher = Hasher::new(digest.algorithm());
    let (mut buffer, mut at) = (vec![0; CHUNK], 0);
    while at < file.size() {
        match file.read_at(&mut buffer, at) {
            Ok(0) | Err(_) => return false,
            Ok(read) => {
                hasher.update(&buffer[..read]);
                at += read as u64;
            }
        }
    }
    hasher.finish() == *digest
}
