//! Content digests: their text form, and their computation.
//!
//! A [`Digest`] is of an algorithm that this crate can verify; there is no other kind, so nothing that is named by one
//! can be served without having been checked. An algorithm that is merely well-formed is told apart from garbage,
//! because a newer client is not a broken one.

use std::fmt;
use std::str::FromStr;

use sha2::Digest as _;

use super::name::quoted;

/// The digest algorithms that the OCI specification registers and that this crate computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// SHA-256: 32 bytes.
    Sha256,
    /// SHA-512: 64 bytes.
    Sha512,
}

/// The digest of some content. Text form: `sha256:` or `sha512:` and lower-case hexadecimal.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest(Value);

/// SHA-512 is rare, so it pays for an allocation and keeps the common value at 40 bytes without one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Value {
    Sha256([u8; 32]),
    Sha512(Box<[u8; 64]>),
}

/// A digest in the making: fed as the bytes pass by.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

/// Why a text is not a digest that this crate can work with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DigestError {
    /// Not the grammar of a digest, or not that of its algorithm: wrong length, upper case.
    Malformed(String),
    /// A well-formed digest of an algorithm that this crate does not compute; the algorithm's name.
    Unsupported(String),
}

impl Algorithm {
    /// The name in front of the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// How many bytes a digest of this algorithm has.
    pub fn size(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }

    /// The digest of no bytes at all, in hexadecimal.
    fn of_nothing(self) -> &'static str {
        match self {
            Self::Sha256 => "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            Self::Sha512 => {
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce\
                 47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"
            }
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Algorithm {
    type Err = DigestError;

    fn from_str(name: &str) -> Result<Self, DigestError> {
        match name {
            "sha256" => Ok(Self::Sha256),
            "sha512" => Ok(Self::Sha512),
            other => Err(DigestError::Unsupported(other.to_owned())),
        }
    }
}

impl Digest {
    /// The digest of these bytes.
    pub fn of(algorithm: Algorithm, content: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(content);
        hasher.finish()
    }

    /// A digest whose value is already at hand; none if the length is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, value: &[u8]) -> Option<Self> {
        Some(Self(match algorithm {
            Algorithm::Sha256 => Value::Sha256(value.try_into().ok()?),
            Algorithm::Sha512 => Value::Sha512(Box::new(value.try_into().ok()?)),
        }))
    }

    /// The algorithm that made it.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            Value::Sha256(_) => Algorithm::Sha256,
            Value::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// The value as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Value::Sha256(value) => value,
            Value::Sha512(value) => value.as_slice(),
        }
    }

    /// The value in lower-case hexadecimal, without the algorithm.
    pub fn hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(self.as_bytes().len() * 2);
        for byte in self.as_bytes() {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        text
    }

    /// Whether this is the digest of no bytes: the only one whose content is empty.
    pub fn is_empty_content(&self) -> bool {
        self.hex() == self.algorithm().of_nothing()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm(), self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed(quoted(text));
        let (algorithm, encoded) = text.split_once(':').ok_or_else(malformed)?;
        if !is_algorithm(algorithm) || !is_encoded(encoded) {
            return Err(malformed());
        }
        let algorithm: Algorithm = algorithm.parse()?;
        let value = unhex(encoded).ok_or_else(malformed)?;
        Self::from_bytes(algorithm, &value).ok_or_else(malformed)
    }
}

impl Hasher {
    /// Nothing hashed yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => State::Sha512(sha2::Sha512::new()),
        })
    }

    /// Takes the next bytes of the content.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(bytes),
            State::Sha512(state) => state.update(bytes),
        }
    }

    /// The digest of all that was taken.
    pub fn finish(self) -> Digest {
        Digest(match self.0 {
            State::Sha256(state) => Value::Sha256(state.finalize().into()),
            State::Sha512(state) => Value::Sha512(Box::new(state.finalize().into())),
        })
    }
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let algorithm = match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        };
        f.debug_tuple("Hasher").field(&algorithm).finish()
    }
}

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(text) => write!(
                f,
                "{text} is not a digest: it takes sha256: and 64, or sha512: and 128, lower-case hexadecimal digits"
            ),
            Self::Unsupported(algorithm) => {
                write!(f, "digests of {} are not supported: use sha256 or sha512", quoted(algorithm))
            }
        }
    }
}

impl std::error::Error for DigestError {}

/// Alphanumeric components with one of `+._-` between them.
fn is_algorithm(text: &str) -> bool {
    text.split(['+', '.', '_', '-']).all(|component| {
        !component.is_empty() && component.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    })
}

fn is_encoded(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'=' | b'_' | b'-'))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_256: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn t32_sha256_and_sha512_are_parsed_and_anything_else_is_told_apart() {
        let valid = |algorithm: &str, digit: &str, n: usize| format!("{algorithm}:{}", digit.repeat(n));
        let rows: &[(String, Option<bool>)] = &[
            // Some(true): parsed. Some(false): well-formed but unknown. None: malformed.
            (valid("sha256", "a", 64), Some(true)),
            (valid("sha256", "0", 64), Some(true)),
            (valid("sha512", "f", 128), Some(true)),
            (valid("blake3", "a", 64), Some(false)),
            (valid("sha384", "a", 96), Some(false)),
            (valid("multihash+base58", "Qm", 20), Some(false)),
            (valid("sha256+b64u", "L", 43), Some(false)),
            (valid("sha256", "A", 64), None),
            (valid("sha256", "a", 63), None),
            (valid("sha256", "a", 65), None),
            (valid("sha256", "a", 66), None),
            (valid("sha256", "a", 128), None),
            (valid("sha512", "a", 64), None),
            (valid("sha256", "g", 64), None),
            (valid("SHA256", "a", 64), None),
            (valid("sha256:sha256", "a", 64), None),
            (valid("sha+", "a", 64), None),
            (valid("+sha", "a", 64), None),
            (valid("", "a", 64), None),
            ("sha256:".into(), None),
            ("sha256".into(), None),
            ("sha256:baddigeststring".into(), None),
            ("sha256:é".into(), None),
            (format!(" {EMPTY_256}"), None),
            (format!("{EMPTY_256}\n"), None),
            (String::new(), None),
        ];
        for (text, expected) in rows {
            let parsed = text.parse::<Digest>();
            match (expected, &parsed) {
                (Some(true), Ok(digest)) => assert_eq!(digest.to_string(), *text),
                (Some(false), Err(DigestError::Unsupported(_))) | (None, Err(DigestError::Malformed(_))) => {}
                _ => panic!("{text:?}: {parsed:?}"),
            }
        }
    }

    #[test]
    fn t31_only_the_digest_of_nothing_is_of_empty_content() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            assert!(Digest::of(algorithm, b"").is_empty_content());
            assert!(!Digest::of(algorithm, b"x").is_empty_content());
        }
        assert_eq!(Digest::of(Algorithm::Sha256, b"").to_string(), EMPTY_256);
    }

    #[test]
    fn content_hashed_in_pieces_has_the_digest_of_the_whole() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(b"road");
            let early = hasher.clone();
            hasher.update(b"stead");
            assert_eq!(hasher.finish(), Digest::of(algorithm, b"roadstead"));
            assert_eq!(early.finish(), Digest::of(algorithm, b"road"));
        }
    }

    #[test]
    fn a_digest_survives_the_way_through_its_bytes() {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
            let digest = Digest::of(algorithm, b"roadstead");
            assert_eq!(digest.as_bytes().len(), algorithm.size());
            assert_eq!(Digest::from_bytes(algorithm, digest.as_bytes()), Some(digest.clone()));
            assert_eq!(Digest::from_bytes(algorithm, &digest.as_bytes()[1..]), None);
            assert_eq!(digest.algorithm(), algorithm);
        }
    }

    #[test]
    fn the_common_digest_is_small() {
        assert!(size_of::<Digest>() <= 40);
    }

    #[test]
    fn errors_say_what_was_expected() {
        let error = "sha256:ABC".parse::<Digest>().unwrap_err();
        assert!(error.to_string().contains("\"sha256:ABC\" is not a digest"), "{error}");
        let error = "blake3:abc".parse::<Digest>().unwrap_err();
        assert!(error.to_string().contains("\"blake3\" are not supported"), "{error}");
    }
}
