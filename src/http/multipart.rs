//! `multipart/byteranges` (RFC 9110, section 14.6): the answer to several ranges at once.
//!
//! The layout is fixed before the first byte is sent, so that the answer has an exact `Content-Length`. Parts come in the
//! order of the ranges, one for each.

use std::fmt::Write as _;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::body::{Part, Parts};
use super::content_range::ContentRange;
use super::region::Region;

/// The layout of one multipart answer.
#[derive(Debug)]
pub struct Multipart {
    boundary: String,
    ranges: Vec<ContentRange>,
    /// The heads of all parts and the closing delimiter, one behind the other.
    frame: Bytes,
    /// Where in `frame` each of them is: one more than there are ranges.
    cuts: Vec<Range<usize>>,
}

impl Multipart {
    /// Lays out an answer of these ranges of content of that type.
    pub fn new(content_type: &str, ranges: Vec<ContentRange>) -> Self {
        Self::with_boundary(next_boundary(), content_type, ranges)
    }

    fn with_boundary(boundary: String, content_type: &str, ranges: Vec<ContentRange>) -> Self {
        let mut frame = String::new();
        let mut cuts = Vec::with_capacity(ranges.len() + 1);
        for range in &ranges {
            let from = frame.len();
            // The line break in front belongs to the delimiter, and the first one has nothing to be parted from.
            let before = if from == 0 { "" } else { "\r\n" };
            let head = format_args!(
                "{before}--{boundary}\r\nContent-Type: {content_type}\r\nContent-Range: {range}\r\n\r\n"
            );
            let _ = frame.write_fmt(head); // writing to a String does not fail
            cuts.push(from..frame.len());
        }
        let from = frame.len();
        let _ = write!(frame, "\r\n--{boundary}--\r\n");
        cuts.push(from..frame.len());
        Self { boundary, ranges, frame: frame.into(), cuts }
    }

    /// The value of `Content-Type` for the whole answer.
    pub fn content_type(&self) -> String {
        format!("multipart/byteranges; boundary={}", self.boundary)
    }

    /// The value of `Content-Length` for the whole answer.
    pub fn content_length(&self) -> u64 {
        self.ranges.iter().map(ContentRange::len).fold(self.frame.len() as u64, u64::saturating_add)
    }

    /// The body, of which each range is opened by `open`. What it opens must be as long as the range.
    pub fn body<E>(&self, mut open: impl FnMut(ContentRange) -> Result<Region, E>) -> Result<Parts, E> {
        let mut parts = Vec::with_capacity(2 * self.ranges.len() + 1);
        let mut cuts = self.cuts.iter().map(|cut| Part::Bytes(self.frame.slice(cut.clone())));
        for (range, head) in self.ranges.iter().zip(&mut cuts) {
            let region = open(*range)?;
            debug_assert_eq!(
                region.remaining(),
                Some(range.len()),
                "the layout promised the length of {range}"
            );
            parts.extend([head, Part::Region(region)]);
        }
        parts.extend(cuts);
        Ok(Parts::new(parts))
    }
}

/// A boundary that no content contains but by a chance of 2^-128: it cannot be foreseen, and none is used twice.
/// Its characters need no quotes, and no client's pattern for boundaries is known to refuse them.
fn next_boundary() -> String {
    static KEYS: LazyLock<(RandomState, RandomState)> = LazyLock::new(Default::default);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{:016x}{:016x}", KEYS.0.hash_one(n), KEYS.1.hash_one(n))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::convert::Infallible;

    use super::super::body::Body;
    use super::super::region::fixture::{File, content, drain, region, span};
    use super::*;

    fn ranges(of: &[(u64, u64)], size: u64) -> Vec<ContentRange> {
        of.iter().map(|(start, end)| ContentRange::new(*start, *end, size).expect("sound")).collect()
    }

    async fn sent(layout: &Multipart, all: &[u8]) -> Vec<u8> {
        let file = File::of(all.to_vec());
        let open = |range: ContentRange| {
            Ok::<_, Infallible>(region(Some(range.len()), [span(&file, range.start(), range.end())]))
        };
        let body = Body::from(layout.body(open).expect("opens"));
        assert_eq!(body.remaining(), Some(layout.content_length()));
        let (got, error) = drain(body).await;
        assert_eq!(error, None);
        assert_eq!(got.len() as u64, layout.content_length());
        got
    }

    #[tokio::test]
    async fn t46_the_wire_form_is_exact() {
        let layout = Multipart::with_boundary("B".into(), "text/plain", ranges(&[(7, 10), (0, 2)], 10));
        let got = sent(&layout, b"0123456789").await;
        let expected = "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 7-9/10\r\n\r\n789\
                        \r\n--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\
                        \r\n--B--\r\n";
        assert_eq!(String::from_utf8_lossy(&got), expected);
        assert_eq!(layout.content_type(), "multipart/byteranges; boundary=B");
    }

    #[tokio::test]
    async fn t46_1024_parts_come_in_order_with_the_length_that_was_announced() {
        let all = content(1 << 20);
        let of: Vec<(u64, u64)> = (0..1024).rev().map(|i| (i * 1000, i * 1000 + 1 + i % 7)).collect();
        let layout = Multipart::new("application/octet-stream", ranges(&of, all.len() as u64));
        let got = sent(&layout, &all).await;
        let mut rest = &got[..];
        for (start, end) in of {
            let head = rest.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
            let text = String::from_utf8_lossy(&rest[..head]);
            assert!(
                text.contains(&format!("Content-Range: bytes {start}-{}/1048576\r\n", end - 1)),
                "{text}"
            );
            let len = (end - start) as usize;
            assert_eq!(rest[head..head + len], all[start as usize..end as usize]);
            rest = &rest[head + len..];
        }
        assert_eq!(rest, format!("\r\n--{}--\r\n", layout.boundary).as_bytes());
    }

    #[test]
    fn t46_boundaries_are_plain_and_never_the_same() {
        let seen: HashSet<String> = (0..1000).map(|_| next_boundary()).collect();
        assert_eq!(seen.len(), 1000);
        assert!(seen.iter().all(|b| b.len() <= 70 && b.bytes().all(|c| c.is_ascii_alphanumeric())));
    }

    #[test]
    fn a_range_that_cannot_be_opened_is_the_callers_error() {
        let layout = Multipart::new("text/plain", ranges(&[(0, 1), (2, 3)], 10));
        assert_eq!(layout.body(|_| Err("gone")).err(), Some("gone"));
    }
}
