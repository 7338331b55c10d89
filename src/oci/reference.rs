//! What a manifest is asked by: a tag, or its digest.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError};
use super::name::{Tag, TagError};

/// A tag or a digest. A colon tells them apart: no tag has one, every digest has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reference {
    /// A name that may mean other content tomorrow.
    Tag(Tag),
    /// Content itself.
    Digest(Digest),
}

/// Why a text is neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferenceError {
    /// It has no colon, and is no tag.
    Tag(TagError),
    /// It has a colon, and is no digest that can be verified here.
    Digest(DigestError),
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        if text.contains(':') { Ok(Self::Digest(text.parse()?)) } else { Ok(Self::Tag(text.parse()?)) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl From<Tag> for Reference {
    fn from(tag: Tag) -> Self {
        Self::Tag(tag)
    }
}

impl From<Digest> for Reference {
    fn from(digest: Digest) -> Self {
        Self::Digest(digest)
    }
}

impl From<TagError> for ReferenceError {
    fn from(error: TagError) -> Self {
        Self::Tag(error)
    }
}

impl From<DigestError> for ReferenceError {
    fn from(error: DigestError) -> Self {
        Self::Digest(error)
    }
}

impl fmt::Display for ReferenceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(error) => error.fmt(f),
            Self::Digest(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ReferenceError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_makes_a_digest_and_anything_else_is_a_tag() {
        let digest = format!("sha256:{}", "0".repeat(64));
        assert!(matches!(digest.parse(), Ok(Reference::Digest(_))));
        assert!(matches!("latest".parse(), Ok(Reference::Tag(_))));
        // The fallback tag of referrers looks like a digest and is none.
        assert!(matches!(digest.replace(':', "-").parse(), Ok(Reference::Tag(_))));

        assert!(matches!("".parse::<Reference>(), Err(ReferenceError::Tag(_))));
        assert!(matches!("-".parse::<Reference>(), Err(ReferenceError::Tag(_))));
        assert!(matches!("sha256:x".parse::<Reference>(), Err(ReferenceError::Digest(_))));
        assert!(matches!(":".parse::<Reference>(), Err(ReferenceError::Digest(_))));
    }

    #[test]
    fn a_reference_is_written_as_it_was_read() {
        for text in ["latest".to_owned(), format!("sha256:{}", "ab".repeat(32))] {
            assert_eq!(text.parse::<Reference>().map(|r| r.to_string()), Ok(text));
        }
    }
}
