//! A request, parsed once: what comes behind this module never looks at a raw path, query or header.
//!
//! Not kept at all: `Authorization`, which clients may have meant for somebody else (T77), `Accept` (T7), the body.

use hyper::header::{AsHeaderName, HOST, HeaderMap, IF_NONE_MATCH, IF_RANGE, RANGE, VIA};
use hyper::http::request::Parts;
use hyper::{Method, Version};

use super::respond::Rejection;
use crate::http::{Asked, Pseudonym, WAITS, etag, if_none_match, if_range, parse_range, parse_via};
use crate::oci::{Call, Digest, Query, Route};

/// What a client asks for.
#[derive(Debug)]
pub(super) struct Request {
    /// Only the headers of the answer.
    pub(super) head: bool,
    pub(super) route: Route,
    pub(super) query: Query,
    /// The host that the client believes to be talking to, maybe with a port.
    pub(super) host: Option<String>,
    /// Whether the client sees the end of a body whose length was not announced (HTTP/1.1).
    pub(super) can_be_chunked: bool,
    pub(super) conditions: Conditions,
    /// The mirrors that it came by.
    pub(super) passed: Vec<Pseudonym>,
    /// What another mirror asks about, in a ping.
    pub(super) waits: Option<Waits>,
}

/// Whether something is waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Waits {
    /// The mirror that asks first.
    pub(super) first: Pseudonym,
    /// What a client would ask for.
    pub(super) call: Call,
}

impl Waits {
    /// What does not read so says nothing.
    fn parse(said: &str) -> Option<Self> {
        let (first, path) = said.split_once(' ')?;
        let [first] = parse_via(first)[..] else { return None };
        let Route { before: None, call } = Route::parse(path).ok()? else { return None };
        call.object().map(|_| Self { first, call })
    }
}

/// Headers that depend on what the client has already.
#[derive(Debug)]
pub(super) struct Conditions {
    range: Asked,
    if_range: Option<String>,
    if_none_match: Option<String>,
}

impl Request {
    /// Reads the head of a request.
    pub(super) fn parse(head: &Parts) -> Result<Self, Rejection> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return Err(Rejection::Write);
        }
        let route = Route::parse(head.uri.path()).map_err(Rejection::Route)?;
        let query = Query::parse(head.uri.query().unwrap_or_default()).map_err(Rejection::Route)?;
        let host = match head.uri.authority() {
            Some(authority) => Some(authority.to_string()),
            None => text(&head.headers, HOST),
        };
        let can_be_chunked = head.version >= Version::HTTP_11;
        let head_only = head.method == Method::HEAD;
        Ok(Self {
            head: head_only,
            route,
            query,
            host,
            can_be_chunked,
            conditions: Conditions::of(&head.headers),
            passed: text(&head.headers, VIA).map_or_else(Vec::new, |via| parse_via(&via)),
            waits: text(&head.headers, WAITS).and_then(|said| Waits::parse(&said)),
        })
    }
}

impl Conditions {
    fn of(headers: &HeaderMap) -> Self {
        Self {
            range: text(headers, RANGE).map_or(Asked::Ignored, |asked| parse_range(&asked)),
            if_range: text(headers, IF_RANGE),
            if_none_match: text(headers, IF_NONE_MATCH),
        }
    }

    /// The range that is asked of this content: none where `If-Range` names other content (T51).
    pub(super) fn range(&self, digest: &Digest) -> Asked {
        match &self.if_range {
            Some(condition) if !if_range(condition, &etag(&digest.to_string())) => Asked::Ignored,
            _ => self.range.clone(),
        }
    }

    /// Whether the client says that it has this content already (T16).
    pub(super) fn none_match(&self, digest: &Digest) -> bool {
        self.if_none_match
            .as_ref()
            .is_some_and(|condition| if_none_match(condition, &etag(&digest.to_string())))
    }
}

/// A header as text, several lines as one list. A line that is not ASCII says nothing that we look for.
fn text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().filter_map(|line| line.to_str().ok()).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::ByteRange;
    use crate::oci::Algorithm;

    fn parse(method: &str, target: &str, headers: &[(&str, &[u8])]) -> Result<Request, Rejection> {
        let mut request = hyper::Request::builder().method(method).uri(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Request::parse(&request.body(()).unwrap().into_parts().0)
    }

    fn get(headers: &[(&str, &[u8])]) -> Request {
        parse("GET", "/v2/", headers).unwrap()
    }

    #[test]
    fn t93_what_a_mirror_asks_in_a_ping_is_read_and_anything_else_says_nothing() {
        let waits = |said: &str| get(&[("roadstead-waits", said.as_bytes())]).waits;
        let first = "roadstead-0123456789abcdef";
        let read = waits(&format!("{first} /v2/team/app/manifests/v1")).expect("what a mirror says");
        assert_eq!(parse_via(first), [read.first]);
        assert_eq!(read.call.object().as_deref(), Some("manifests/v1"));
        for said in [
            "",
            first,
            "/v2/team/app/manifests/v1",
            "roadstead-0123 /v2/team/app/manifests/v1",
            &format!("{first},{first} /v2/team/app/manifests/v1"),
            &format!("{first} /v2/"),
            &format!("{first} /v2/_catalog"),
            &format!("{first} /v2/team/app/blobs/uploads/"),
            &format!("{first} /v2/team/app/manifests/../v1"),
            &format!("{first} /elsewhere/v2/team/app/manifests/v1"),
            &format!("{first} http://host/v2/team/app/manifests/v1"),
        ] {
            assert_eq!(waits(said), None, "{said}");
        }
    }

    #[test]
    fn t79_all_methods_but_get_and_head_are_writes_wherever_they_go() {
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"] {
            for path in ["/v2/", "/v2/a/manifests/1", "/v2/a/blobs/uploads/", "/elsewhere"] {
                assert!(matches!(parse(method, path, &[]), Err(Rejection::Write)), "{method} {path}");
            }
        }
    }

    #[test]
    fn a_request_is_its_route_its_query_and_its_host() {
        let request = parse("HEAD", "/local/v2/a/manifests/1?ns=docker.io", &[("Host", b"m:5000")]).unwrap();
        assert!(request.head);
        assert_eq!(request.route.before.as_deref(), Some("local"));
        assert!(matches!(request.route.call, Call::Manifest { .. }));
        assert_eq!(request.query.ns.as_deref(), Some("docker.io"));
        assert_eq!(request.host.as_deref(), Some("m:5000"));
    }

    #[test]
    fn a_host_in_the_target_wins_over_the_header_and_none_is_fine() {
        assert_eq!(parse("GET", "http://a/v2/", &[("Host", b"b")]).unwrap().host.as_deref(), Some("a"));
        assert_eq!(get(&[]).host, None);
    }

    #[test]
    fn t81_what_is_no_path_of_the_api_is_a_rejection() {
        for target in
            ["/", "/v2/../etc/manifests/1", "/v2/a%2Fb/manifests/1", "*", "/v2/?ns=", "/v2/?ns=a&ns=b"]
        {
            assert!(matches!(parse("GET", target, &[]), Err(Rejection::Route(_))), "{target}");
        }
    }

    #[test]
    fn t51_a_range_counts_unless_if_range_names_other_content() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let other = Digest::of(Algorithm::Sha256, b"y");
        let range = ("Range", &b"bytes=1-"[..]);
        let from_one = Asked::Ranges(vec![ByteRange::From(1)]);
        let asked = |headers: &[(&str, &[u8])]| get(headers).conditions.range(&digest);
        assert_eq!(asked(&[range]), from_one);
        assert_eq!(asked(&[range, ("If-Range", etag(&digest.to_string()).as_bytes())]), from_one);
        assert_eq!(asked(&[range, ("If-Range", etag(&other.to_string()).as_bytes())]), Asked::Ignored);
        assert_eq!(asked(&[range, ("If-Range", b"Tue, 01 Sep 2026 00:00:00 GMT")]), Asked::Ignored);
        assert_eq!(asked(&[("Range", b"lines=1-")]), Asked::Ignored);
        assert_eq!(asked(&[("Range", b"bytes=\xff-")]), Asked::Ignored);
    }

    #[test]
    fn t16_only_a_condition_of_the_client_matches() {
        let digest = Digest::of(Algorithm::Sha256, b"x");
        let tag = etag(&digest.to_string());
        let matches = |headers: &[(&str, &[u8])]| get(headers).conditions.none_match(&digest);
        assert!(!matches(&[]));
        assert!(!matches(&[("If-None-Match", b"\"sha256:00\"")]));
        assert!(!matches(&[("If-None-Match", b"\xff")]));
        assert!(matches(&[("If-None-Match", tag.as_bytes())]));
        assert!(matches(&[("If-None-Match", digest.to_string().as_bytes())]));
        assert!(matches(&[("If-None-Match", b"\"other\""), ("If-None-Match", tag.as_bytes())]));
    }

    #[test]
    fn t77_credentials_of_clients_are_not_kept() {
        let request = get(&[("Authorization", b"Basic c2VjcmV0"), ("Cookie", b"c2VjcmV0")]);
        assert!(!format!("{request:?}").contains("c2VjcmV0"));
    }
}
