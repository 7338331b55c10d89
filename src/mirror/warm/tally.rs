//! What warming an image came to.

use crate::oci::Digest;

/// What became of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warmed {
    /// The image, in full; a pattern that came to nothing, as it was written.
    pub image: String,
    /// What it is.
    pub digest: Option<Digest>,
    /// In one word.
    pub verdict: Verdict,
    /// What could not be brought in, and why.
    pub lacks: Vec<Lack>,
    /// What there is to know beside it.
    pub notes: Vec<String>,
    /// Manifests and blobs that are here for it.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many of them had to be fetched.
    pub fetched: u64,
    /// The bytes that were fetched, for it or together with another image.
    pub fetched_bytes: u64,
    /// Whether something is missing because upstream said nothing: what is missing is not known then.
    pub unanswered: bool,
}

/// Warming an image in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// All of it is here now.
    Done,
    /// All of it was here before.
    AlreadyHere,
    /// Something is missing.
    Missing,
}

/// Something that could not be brought in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lack {
    /// What: `layer sha256:...`.
    pub what: String,
    /// Why not, in the words for people.
    pub why: String,
}

impl Warmed {
    /// Of an image of which nothing is known yet.
    pub(super) fn of(image: String) -> Self {
        Self {
            image,
            digest: None,
            verdict: Verdict::AlreadyHere,
            lacks: Vec::new(),
            notes: Vec::new(),
            objects: 0,
            bytes: 0,
            fetched: 0,
            fetched_bytes: 0,
            unanswered: false,
        }
    }

    /// Of an image of which nothing could be had.
    pub(super) fn nothing(image: String, why: String) -> Self {
        let lacks = vec![Lack { what: "image".to_owned(), why }];
        Self { lacks, ..Self::of(image) }.judged()
    }

    /// Something of it is here.
    pub(super) fn add(&mut self, bytes: u64, fetched: Option<u64>) {
        self.objects += 1;
        self.bytes += bytes;
        if let Some(fetched) = fetched {
            self.fetched += 1;
            self.fetched_bytes += fetched;
        }
    }

    /// With the verdict that follows from the rest.
    pub(super) fn judged(mut self) -> Self {
        // Objects are brought in at the same time; the order of what is told should not depend on who was first.
        self.lacks.sort_by(|one, other| one.what.cmp(&other.what));
        self.notes.sort();
        self.notes.dedup();
        self.verdict = match (self.lacks.is_empty(), self.fetched) {
            (false, _) => Verdict::Missing,
            (true, 0) => Verdict::AlreadyHere,
            (true, _) => Verdict::Done,
        };
        self
    }
}

impl Verdict {
    /// The word for people and machines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::AlreadyHere => "already here",
            Self::Missing => "missing",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_follows_from_what_is_missing_and_what_was_fetched() {
        let lack = Lack { what: "layer".to_owned(), why: "gone".to_owned() };
        for (lacks, fetched, verdict) in [
            (vec![], vec![None, None], Verdict::AlreadyHere),
            (vec![], vec![None, Some(7)], Verdict::Done),
            (vec![lack.clone()], vec![Some(7)], Verdict::Missing),
            (vec![lack], vec![], Verdict::Missing),
        ] {
            let mut warmed = Warmed { lacks, ..Warmed::of("a".to_owned()) };
            for bytes in fetched {
                warmed.add(10, bytes);
            }
            assert_eq!(warmed.judged().verdict, verdict);
        }
    }
}
