//! Reading `multipart/byteranges`, strictly.

use super::Answer;

/// One part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its `Content-Type`.
    pub content_type: String,
    /// Its `Content-Range`.
    pub content_range: String,
    /// Its bytes.
    pub body: Vec<u8>,
}

/// The parts of a 206 with several ranges, in their order; fails on anything RFC 2046 does not allow.
#[track_caller]
pub fn parts(answer: &Answer) -> Vec<Part> {
    let content_type = answer.header("content-type").expect("a Content-Type");
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    assert!(
        boundary.len() <= 70 && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    );
    let mut rest = &answer.body[..];
    let opening = format!("--{boundary}\r\n");
    rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    rest = rest.strip_prefix(opening.as_bytes()).expect("the first boundary");
    let mut parts = Vec::new();
    loop {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("the head of a part");
        let head = String::from_utf8(rest[..end].to_vec()).unwrap();
        let header = |name: &str| {
            let mut lines = head.split("\r\n").filter_map(|line| line.split_once(": "));
            lines.find(|(have, _)| have.eq_ignore_ascii_case(name)).expect(name).1.to_owned()
        };
        let content_range = header("content-range");
        rest = &rest[end + 4..];
        let (first, last) = span(&content_range);
        let length = last - first + 1;
        parts.push(Part {
            content_type: header("content-type"),
            content_range,
            body: rest[..length].to_vec(),
        });
        rest = rest[length..].strip_prefix(b"\r\n--").expect("a boundary");
        rest = rest.strip_prefix(boundary.as_bytes()).expect("our boundary");
        if rest.strip_prefix(b"--").is_some() {
            return parts;
        }
        rest = rest.strip_prefix(b"\r\n").expect("the end of a boundary");
    }
}

fn span(content_range: &str) -> (usize, usize) {
    let range = content_range.strip_prefix("bytes ").expect("bytes").split('/').next().unwrap();
    let (first, last) = range.split_once('-').expect("a range");
    (first.parse().unwrap(), last.parse().unwrap())
}
