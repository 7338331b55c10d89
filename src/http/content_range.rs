//! `Content-Range`: the one we send, and the one we are sent.

use std::fmt;

/// Bytes `start..end` of content of a known size: never empty, never past the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    start: u64,
    end: u64,
    size: u64,
}

impl ContentRange {
    /// The range, if it names at least one byte and none that is not there.
    pub fn new(start: u64, end: u64, size: u64) -> Option<Self> {
        (start < end && end <= size).then_some(Self { start, end, size })
    }

    /// The first byte.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// One past the last byte.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The size of the whole content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// How many bytes it names.
    #[expect(clippy::len_without_is_empty, reason = "it is never empty")]
    pub fn len(&self) -> u64 {
        self.end - self.start
    }

    /// The value of `Content-Range` in a 206.
    pub fn header(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ContentRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {}-{}/{}", self.start, self.end - 1, self.size)
    }
}

/// The value of `Content-Range` in a 416.
pub fn unsatisfied(size: u64) -> String {
    format!("bytes */{size}")
}

/// A `Content-Range` that a server sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceivedRange {
    /// Bytes `start..end`, of a 206. The size is unknown where the server wrote `*`.
    Bytes {
        /// The first byte.
        start: u64,
        /// One past the last byte.
        end: u64,
        /// The size of the whole content.
        size: Option<u64>,
    },
    /// No bytes, of a 416.
    Unsatisfied {
        /// The size of the whole content.
        size: Option<u64>,
    },
}

/// Reads a `Content-Range`; `None` if it is of another unit, contradicts itself or is garbage.
pub fn parse_content_range(header: &str) -> Option<ReceivedRange> {
    let header = header.trim();
    let unit = header.get(..5).filter(|unit| unit.eq_ignore_ascii_case("bytes"))?;
    let (range, size) = header[unit.len()..].strip_prefix([' ', '=', '\t'])?.trim().split_once('/')?;
    let size = match size.trim() {
        "*" => None,
        digits => Some(number(digits)?),
    };
    if range.trim() == "*" {
        return Some(ReceivedRange::Unsatisfied { size });
    }
    let (first, last) = range.split_once('-')?;
    let (start, end) = (number(first.trim())?, number(last.trim())?.checked_add(1)?);
    let sound = start < end && size.is_none_or(|size| end <= size);
    sound.then_some(ReceivedRange::Bytes { start, end, size })
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_content_range_names_at_least_one_byte_that_is_there() {
        assert_eq!(ContentRange::new(0, 1, 1).map(|r| r.header()).as_deref(), Some("bytes 0-0/1"));
        assert_eq!(
            ContentRange::new(5, 10, 100).map(|r| (r.len(), r.header())),
            Some((5, "bytes 5-9/100".into()))
        );
        assert_eq!(ContentRange::new(5, 5, 100), None);
        assert_eq!(ContentRange::new(6, 5, 100), None);
        assert_eq!(ContentRange::new(5, 101, 100), None);
        assert_eq!(unsatisfied(7), "bytes */7");
    }

    #[test]
    fn what_servers_send_is_read_or_refused() {
        let bytes = |start, end, size| Some(ReceivedRange::Bytes { start, end, size });
        let none = |size| Some(ReceivedRange::Unsatisfied { size });
        let table = [
            ("bytes 0-0/1", bytes(0, 1, Some(1))),
            ("bytes 5-9/100", bytes(5, 10, Some(100))),
            (" BYTES  5 - 9 / 100 ", bytes(5, 10, Some(100))),
            ("bytes=5-9/100", bytes(5, 10, Some(100))),
            ("bytes 5-9/*", bytes(5, 10, None)),
            ("bytes */100", none(Some(100))),
            ("bytes */*", none(None)),
            // Past its own size, reversed, overflowing, other units, garbage.
            ("bytes 5-100/100", None),
            ("bytes 9-5/100", None),
            ("bytes 0-18446744073709551615/*", None),
            ("bytes 0-99999999999999999999/*", None),
            ("items 0-1/2", None),
            ("bytes 0-1", None),
            ("bytes -1/2", None),
            ("bytes 0-/2", None),
            ("bytes +0-1/2", None),
            ("bytes0-1/2", None),
            ("bytes", None),
            ("byte\u{e9} 0-1/2", None),
            ("", None),
        ];
        for (header, expected) in table {
            assert_eq!(parse_content_range(header), expected, "{header}");
        }
    }

    #[test]
    fn what_we_send_is_what_we_read() {
        let range = ContentRange::new(3, 9, 12).expect("sound");
        let read = parse_content_range(&range.header());
        assert_eq!(read, Some(ReceivedRange::Bytes { start: 3, end: 9, size: Some(12) }));
        assert_eq!(
            parse_content_range(&unsatisfied(12)),
            Some(ReceivedRange::Unsatisfied { size: Some(12) })
        );
    }
}
