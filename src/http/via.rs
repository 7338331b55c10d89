//! `Via` (RFC 9110, 7.6.3): which mirrors a request has come by, so that one that goes in a circle is noticed.
//!
//! Each mirror adds a name to every request it sends, one that was drawn at random when the process began and says
//! nothing of where it stands. Of what is received only such names are kept: other intermediaries' entries may tell
//! hosts that are nobody's business further on, and find no circle.

use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _};

use http::HeaderName;

/// By which a ping asks whether what is at this path is waited for, and by whom in the end. It begins with the name of the
/// mirror that asks so first.
pub const WAITS: HeaderName = HeaderName::from_static("roadstead-waits");

/// What all names begin with.
const PRODUCT: &str = "roadstead-";

/// How many digits follow.
const DIGITS: usize = 16;

/// The name by which one running mirror is known to others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pseudonym(u64);

impl Pseudonym {
    /// One that no other mirror has, by all odds.
    #[must_use]
    pub fn random() -> Self {
        // The seeds of std's hash tables come from the system's source of randomness.
        Self(RandomState::new().build_hasher().finish())
    }

    /// Reads what stands in a header.
    fn parse(received_by: &str) -> Option<Self> {
        let digits = received_by.strip_prefix(PRODUCT)?;
        let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        plain.then(|| u64::from_str_radix(digits, 16).ok().map(Self)).flatten()
    }
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PRODUCT}{:0DIGITS$x}", self.0)
    }
}

impl fmt::Debug for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The mirrors in the value of a `Via`, in the order in which they were passed. Several headers are one list.
pub fn parse_via(header: &str) -> Vec<Pseudonym> {
    // A name is found wherever it stands: no comment that a proxy adds may hide it.
    let words = header.split([',', ' ', '\t', '(', ')']);
    words.filter_map(Pseudonym::parse).collect()
}

/// The value that says that a request has come by these.
pub fn via(passed: impl IntoIterator<Item = Pseudonym>) -> String {
    let entries: Vec<String> = passed.into_iter().map(|mirror| format!("1.1 {mirror}")).collect();
    entries.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t93_mirrors_are_found_among_other_proxies_in_the_order_of_their_passing() {
        let [one, two] = [Pseudonym(1), Pseudonym(u64::MAX)];
        let rows = [
            ("1.1 roadstead-0000000000000001", vec![one]),
            ("1.1 roadstead-0000000000000001, 1.1 roadstead-ffffffffffffffff", vec![one, two]),
            ("HTTP/2 roadstead-ffffffffffffffff (nginx, 1.2),1.0 roadstead-0000000000000001", vec![two, one]),
            ("1.1 proxy.corp:3128 (squid), 1.1 vegur", vec![]),
            ("1.1 roadstead-1, 1.1 roadstead-zzzzzzzzzzzzzzzz, 1.1 roadstead-+000000000000001", vec![]),
            ("", vec![]),
        ];
        for (header, mirrors) in rows {
            assert_eq!(parse_via(header), mirrors, "{header}");
        }
    }

    #[test]
    fn t93_what_is_written_is_read_again() {
        let passed = [Pseudonym::random(), Pseudonym::random()];
        assert_ne!(passed[0], passed[1]);
        assert_eq!(parse_via(&via(passed)), passed);
        assert_eq!(via([]), "");
    }
}
