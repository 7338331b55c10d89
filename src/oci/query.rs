//! What the query of a request says. Unknown parameters are ignored, as everywhere on the web.
//!
//! `ns` decides whom this mirror talks to, so it is read strictly: once, and only what could be the name of a registry.
//! Whether that registry is a configured one is for [`Namespaces`](super::Namespaces) to say.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::name::{is_authority, quoted};
use super::route::{RouteError, bad_namespace};

/// The parameters of a call that this mirror knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// The registry that the client means, as it wrote it.
    pub ns: Option<String>,
    /// At most so many results.
    pub n: Option<u64>,
    /// Only results after this one.
    pub last: Option<String>,
    /// Where a list goes on, in the words of an upstream; see [`Page`](super::Page).
    pub next_page: Option<String>,
    /// Only referrers of this type.
    pub artifact_type: Option<String>,
}

impl Query {
    /// Parses a query as it came over the wire, without the question mark; empty if there was none.
    pub fn parse(raw: &str) -> Result<Self, RouteError> {
        let mut query = Self::default();
        for pair in raw.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            // A key that does not decode is none that is known.
            let Some(key) = decoded(key) else { continue };
            match key.as_str() {
                "ns" => {
                    let ns =
                        decoded(value).filter(|ns| is_authority(ns)).ok_or_else(|| bad_namespace(value))?;
                    if query.ns.replace(ns).is_some() {
                        return Err(bad_namespace(value));
                    }
                }
                "n" if !value.is_empty() && query.n.is_none() => {
                    let n = decoded(value).and_then(|n| number(&n));
                    query.n = Some(n.ok_or_else(|| RouteError::PageInvalid(quoted(value)))?);
                }
                "last" => first(&mut query.last, value),
                "next_page" => first(&mut query.next_page, value),
                "artifactType" => first(&mut query.artifact_type, value),
                _ => {}
            }
        }
        Ok(query)
    }
}

/// Of a repeated parameter the first value counts, and an empty one is none.
fn first(slot: &mut Option<String>, value: &str) {
    if slot.is_none() && !value.is_empty() {
        *slot = decoded(value);
    }
}

/// Digits only: the standard parser would take a sign too.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// None if it is not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oci::Code;

    #[test]
    fn t72_ns_is_given_once_and_could_be_a_registry() {
        let rows: &[(&str, Result<Option<&str>, Code>)] = &[
            ("", Ok(None)),
            ("x=1", Ok(None)),
            ("ns=docker.io", Ok(Some("docker.io"))),
            ("a&ns=docker.io&b=c", Ok(Some("docker.io"))),
            ("ns=registry.local:5000", Ok(Some("registry.local:5000"))),
            ("ns=registry.local%3A5000", Ok(Some("registry.local:5000"))),
            ("ns=Docker.IO", Ok(Some("Docker.IO"))),
            ("ns=%5B%3A%3A1%5D:5000", Ok(Some("[::1]:5000"))),
            // These are well-formed; that nobody configured them is found out later.
            ("ns=169.254.169.254", Ok(Some("169.254.169.254"))),
            ("ns=localhost:6379", Ok(Some("localhost:6379"))),
            ("ns", Err(Code::NameInvalid)),
            ("ns=", Err(Code::NameInvalid)),
            ("ns=a&ns=a", Err(Code::NameInvalid)),
            ("ns=a&%6es=b", Err(Code::NameInvalid)),
            ("ns=&ns=a", Err(Code::NameInvalid)),
            ("ns=evil.com/path", Err(Code::NameInvalid)),
            ("ns=evil.com%2Fpath", Err(Code::NameInvalid)),
            ("ns=a@b", Err(Code::NameInvalid)),
            ("ns=a%40b", Err(Code::NameInvalid)),
            ("ns=a%2540b", Err(Code::NameInvalid)),
            ("ns=http://a", Err(Code::NameInvalid)),
            ("ns=a+b", Err(Code::NameInvalid)),
            ("ns=a%20b", Err(Code::NameInvalid)),
            ("ns=a%00", Err(Code::NameInvalid)),
            ("ns=a%0d%0ab", Err(Code::NameInvalid)),
            ("ns=%ff", Err(Code::NameInvalid)),
            ("ns=%", Err(Code::NameInvalid)),
            ("ns=é", Err(Code::NameInvalid)),
            ("ns=a?b", Err(Code::NameInvalid)),
        ];
        for (raw, expected) in rows {
            let ns = Query::parse(raw).map(|query| query.ns).map_err(|error| error.code());
            assert_eq!(ns, expected.map(|ns| ns.map(str::to_owned)), "{raw:?}");
        }
        let long = format!("ns={}", "a".repeat(1000));
        assert!(Query::parse(&long).is_err());
    }

    #[test]
    fn pages_are_numbers() {
        let rows: &[(&str, Result<Option<u64>, Code>)] = &[
            ("n=0", Ok(Some(0))),
            ("n=1000", Ok(Some(1000))),
            ("n=1&n=2", Ok(Some(1))),
            ("n=", Ok(None)),
            ("n=-1", Err(Code::PaginationNumberInvalid)),
            ("n=%2B1", Err(Code::PaginationNumberInvalid)),
            ("n=x", Err(Code::PaginationNumberInvalid)),
            ("n=99999999999999999999999", Err(Code::PaginationNumberInvalid)),
        ];
        for (raw, expected) in rows {
            assert_eq!(Query::parse(raw).map(|q| q.n).map_err(|e| e.code()), *expected, "{raw:?}");
        }
    }

    #[test]
    fn texts_are_decoded_and_the_first_counts() {
        let query =
            Query::parse("last=a%2Bb&last=c&artifactType=application%2Fx+y&unknown=%ff&%ff=1").unwrap();
        assert_eq!(query.last.as_deref(), Some("a+b"));
        assert_eq!(query.artifact_type.as_deref(), Some("application/x y"));
        assert_eq!(Query::parse("last=&artifactType").unwrap(), Query::default());
    }

    proptest! {
        #[test]
        fn no_query_makes_it_panic(raw in "(ns=|n=|last=|&|%|[a-z0-9.:/]|.){0,20}") {
            if let Ok(Query { ns: Some(ns), .. }) = Query::parse(&raw) {
                prop_assert!(is_authority(&ns));
            }
        }
    }
}
