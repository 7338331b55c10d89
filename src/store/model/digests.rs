//! Digests as small numbers.
//!
//! A blob of an image is spoken of by its entry, by the repositories that it belongs to, and by each manifest that names it.
//! All of these hold its number; the digest itself is in memory once.

use crate::oci::Digest;
use hashbrown::HashTable;
use std::collections::HashSet;
use std::hash::{BuildHasher, RandomState};

/// The number of a digest that something is known of. When nothing is any more, it becomes that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::store) struct Id(u32);

/// The digests that have a number.
#[derive(Debug, Default)]
pub(in crate::store) struct Digests {
    /// By number; what is in the places of numbers that are free means nothing.
    values: Vec<Digest>,
    /// Their numbers, by hash. It is keyed: manifests of strangers may name what they like.
    numbers: HashTable<Id>,
    keys: RandomState,
    free: Vec<Id>,
}

impl Id {
    /// As a number among others.
    pub(super) fn raw(self) -> u32 {
        self.0
    }

    /// The opposite.
    pub(super) fn from_raw(raw: u32) -> Self {
        Self(raw)
    }

    /// As a place in a list that has one for each number.
    pub(in crate::store) fn place(self) -> usize {
        self.0 as usize
    }
}

impl Digests {
    /// The number of a digest, if it has one; asking gives it none.
    pub(in crate::store) fn find(&self, digest: &Digest) -> Option<Id> {
        self.numbers.find(self.hash(digest), |id| self.values[id.place()] == *digest).copied()
    }

    /// The same for many, whose numbers come in their order: a look-up waits for memory twice, and those of several digests
    /// wait together.
    pub(super) fn find_all(&self, digests: &[Digest]) -> Vec<Option<Id>> {
        let hashes: Vec<u64> = digests.iter().map(|digest| self.hash(digest)).collect();
        // The first that may be it, of which seven bits of the hash are looked at.
        let likely: Vec<Option<Id>> =
            hashes.iter().map(|hash| self.numbers.find(*hash, |_| true).copied()).collect();
        let is = |id: &Id, digest: &Digest| self.values[id.place()] == *digest;
        let found = likely.into_iter().zip(digests).zip(hashes);
        found
            .map(|((likely, digest), hash)| match likely {
                Some(id) if !is(&id, digest) => self.numbers.find(hash, |id| is(id, digest)).copied(),
                likely => likely,
            })
            .collect()
    }

    /// The number of a digest, which it has from now on.
    pub(super) fn intern(&mut self, digest: &Digest) -> Id {
        let hash = self.hash(digest);
        if let Some(known) = self.numbers.find(hash, |id| self.values[id.place()] == *digest) {
            return *known;
        }
        let id = match self.free.pop() {
            Some(id) => {
                self.values[id.place()] = digest.clone();
                id
            }
            None => {
                // More would not fit into the memory of any machine.
                let id = Id(u32::try_from(self.values.len()).unwrap_or(u32::MAX));
                self.values.push(digest.clone());
                id
            }
        };
        let (values, keys) = (&self.values, &self.keys);
        self.numbers.insert_unique(hash, id, |id| keys.hash_one(values[id.place()].as_bytes()));
        id
    }

    /// The same for many.
    pub(super) fn intern_all(&mut self, digests: &[Digest]) -> Vec<Id> {
        let known = self.find_all(digests);
        // One may be there twice.
        known.into_iter().zip(digests).map(|(id, digest)| id.unwrap_or_else(|| self.intern(digest))).collect()
    }

    /// The digest of a number.
    pub(in crate::store) fn get(&self, id: Id) -> &Digest {
        &self.values[id.place()]
    }

    /// Takes a number back; it may be anybody's next. One that is free stays so.
    pub(super) fn release(&mut self, id: Id) {
        let hash = self.hash(&self.values[id.place()]);
        if let Ok(number) = self.numbers.find_entry(hash, |known| *known == id) {
            number.remove();
            self.free.push(id);
        }
    }

    /// How many places a list with one for each number has.
    pub(in crate::store) fn places(&self) -> usize {
        self.values.len()
    }

    /// All numbers that are a digest's, in order.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> + '_ {
        let free: HashSet<Id> = self.free.iter().copied().collect();
        (0_u32..).zip(&self.values).map(|(number, _)| Id(number)).filter(move |id| !free.contains(id))
    }

    /// Makes room for so many.
    pub(super) fn reserve(&mut self, more: usize) {
        self.values.reserve(more);
        let (values, keys) = (&self.values, &self.keys);
        self.numbers.reserve(more, |id| keys.hash_one(values[id.place()].as_bytes()));
    }

    fn hash(&self, digest: &Digest) -> u64 {
        self.keys.hash_one(digest.as_bytes())
    }
}
