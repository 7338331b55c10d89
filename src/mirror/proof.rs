//! The proof: were upstream gone, would clients of a repository be given all of an image?
//!
//! Owns the check of images. What the store knows of one is walked, and each file of it looked at, because a file can be
//! taken away or cut short without the store being told; whoever wants to be sure has every byte hashed again. Guarantees
//! that nothing is asked of upstream; that an object is looked at once, however many of the images need it; that what turns
//! out wrong is dropped, so that it is fetched again when somebody wants it; and that to look at something is not to use it:
//! what nobody pulls stays what goes first. Leaves to others which images are looked at, and bringing in what is missing.

use std::collections::HashMap;

use crate::oci::{Digest, Hasher, Repository};
use crate::store::{BlobFile, Closure, Kind, Needed, Standing, Store, Wanted};

/// How much of a file is read at a time.
const CHUNK: usize = 1 << 20;

/// A proof under way.
#[derive(Debug)]
pub struct Proof<'a> {
    store: &'a Store,
    deep: bool,
    /// What was looked at, and whether it was right.
    seen: HashMap<Digest, bool>,
    read: u64,
}

/// Whoever wanted the proof does not want it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abandoned;

impl<'a> Proof<'a> {
    /// Of what this store has; `deep` reads all of it.
    pub fn new(store: &'a Store, deep: bool) -> Self {
        Self { store, deep, seen: HashMap::new(), read: 0 }
    }

    /// How many bytes of blobs were read so far.
    pub fn read(&self) -> u64 {
        self.read
    }

    /// Looks whether all that is wanted of an image is here. Blocks. `go_on` is told how many bytes were read so far, now
    /// and then, and says whether to go on.
    ///
    /// # Errors
    /// It said no.
    pub fn of(
        &mut self,
        (upstream, repository): (&str, &Repository),
        root: &Digest,
        wanted: &Wanted,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<Closure, Abandoned> {
        loop {
            let mut closure = self.store.closure(upstream, repository, root, wanted);
            let mut is_news = false;
            for needed in closure.objects.iter().filter(|needed| needed.standing == Standing::Here) {
                if self.seen.contains_key(&needed.digest) {
                    continue;
                }
                let is_right = self.is_right(needed, go_on)?;
                self.seen.insert(needed.digest.clone(), is_right);
                is_news |= !is_right;
            }
            // What was dropped is a gap in the next walk; each object is looked at once, so this ends.
            if !is_news {
                // What a disk does not give at the moment is not dropped, and nobody would be given it either.
                for needed in &mut closure.objects {
                    if needed.standing == Standing::Here && self.seen.get(&needed.digest) == Some(&false) {
                        needed.standing = Standing::Absent;
                    }
                }
                return Ok(closure);
            }
        }
    }

    /// Whether the file of an object is what it should be. One that is not is dropped from the store by the look at it.
    fn is_right(&mut self, needed: &Needed, go_on: &mut dyn FnMut(u64) -> bool) -> Result<bool, Abandoned> {
        if !go_on(self.read) {
            return Err(Abandoned);
        }
        match needed.kind {
            // Reading it verifies it.
            Kind::Manifest => Ok(matches!(self.store.inspect_manifest(&needed.digest), Ok(Some(_)))),
            Kind::Blob => match self.store.inspect_blob(&needed.digest) {
                Ok(Some(file)) if self.deep && !self.has_digest(&file, &needed.digest, go_on)? => {
                    self.store.distrust(&file);
                    Ok(false)
                }
                Ok(Some(_)) => Ok(true),
                Ok(None) | Err(_) => Ok(false),
            },
        }
    }

    fn has_digest(
        &mut self,
        file: &BlobFile,
        digest: &Digest,
        go_on: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, Abandoned> {
        let mut hasher = Hasher::new(digest.algorithm());
        let (mut buffer, mut at) = (vec![0; CHUNK], 0);
        while at < file.size() {
            match file.read_at(&mut buffer, at) {
                Ok(0) | Err(_) => return Ok(false),
                Ok(read) => {
                    hasher.update(&buffer[..read]);
                    at += read as u64;
                    self.read += read as u64;
                }
            }
            if !go_on(self.read) {
                return Err(Abandoned);
            }
        }
        Ok(hasher.finish() == *digest)
    }
}
