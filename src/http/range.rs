//! `Range`: from what is asked to what can be answered.
//!
//! The two are different types. [`Asked`] is the header, read without knowing the content; [`Answer`] needs the size, and
//! is the only thing that responses are built from. Both steps are pure.
//!
//! Where RFC 9110 leaves a choice, what real clients make of it decides:
//!
//! - Ranges keep the order in which they were asked and are never merged: clients count the parts.
//! - If one of several ranges cannot be satisfied, the answer is 416, not the remaining ones: a client that gets fewer
//!   parts than it asked for takes them for the wrong ones.
//! - Several ranges that together are longer than the content are answered with the whole, so that a list of overlapping
//!   ranges does not multiply what is sent. So is a list of more than [`MAX_RANGES`].
//! - Empty content satisfies any range, as whole content: clients ask `bytes=0-` of everything.
//! - A range that ends before it begins is 416 rather than ignored.

use super::content_range::ContentRange;

/// The longest list that is answered in parts. Known clients ask for at most 1024 at once.
pub const MAX_RANGES: usize = 4096;

/// One range as it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-`
    From(u64),
    /// `first-last`, where `first <= last`
    Closed {
        /// The first byte.
        first: u64,
        /// The last byte, included.
        last: u64,
    },
    /// `-length`
    Suffix(u64),
}

impl ByteRange {
    /// Clamps the range to content of that size; `None` if nothing of it is there.
    fn within(self, size: u64) -> Option<ContentRange> {
        let (start, end) = match self {
            Self::From(first) => (first, size),
            Self::Closed { first, last } => (first, last.saturating_add(1).min(size)),
            Self::Suffix(length) => (size.saturating_sub(length), size),
        };
        ContentRange::new(start, end, size)
    }
}

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The whole: there is no header, or none that is understood, which is to be treated alike.
    Ignored,
    /// These ranges, at least one, in this order.
    Ranges(Vec<ByteRange>),
    /// Ranges of which one ends before it begins.
    Unsatisfiable,
}

/// Reads a `Range` header. Numbers too large for any content count as the largest there is.
pub fn parse_range(header: &str) -> Asked {
    let Some((unit, set)) = header.split_once('=') else { return Asked::Ignored };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Asked::Ignored;
    }
    let mut ranges = Vec::new();
    let mut reversed = false;
    for spec in set.split(',').map(str::trim).filter(|spec| !spec.is_empty()) {
        let Some(range) = parse_spec(spec) else { return Asked::Ignored };
        reversed |= matches!(range, ByteRange::Closed { first, last } if last < first);
        ranges.push(range);
        if ranges.len() > MAX_RANGES {
            return Asked::Ignored;
        }
    }
    match (ranges.is_empty(), reversed) {
        (true, _) => Asked::Ignored,
        (_, true) => Asked::Unsatisfiable,
        _ => Asked::Ranges(ranges),
    }
}

fn parse_spec(spec: &str) -> Option<ByteRange> {
    let (first, last) = spec.split_once('-')?;
    match (first.trim(), last.trim()) {
        ("", length) => number(length).map(ByteRange::Suffix),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => Some(ByteRange::Closed { first: number(first)?, last: number(last)? }),
    }
}

fn number(digits: &str) -> Option<u64> {
    let all_digits = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    all_digits.then(|| digits.parse().unwrap_or(u64::MAX))
}

/// How content of a known size answers a [`Asked`] range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// 200 with everything.
    Whole,
    /// 206 with this range.
    Single(ContentRange),
    /// 206 with `multipart/byteranges` of these, at least two.
    Multi(Vec<ContentRange>),
    /// 416.
    Unsatisfiable,
}

/// What to answer when that is asked of content of that size.
pub fn answer(asked: &Asked, size: u64) -> Answer {
    let ranges = match asked {
        Asked::Ignored => return Answer::Whole,
        Asked::Unsatisfiable => return Answer::Unsatisfiable,
        Asked::Ranges(_) if size == 0 => return Answer::Whole,
        Asked::Ranges(ranges) => ranges,
    };
    let Some(found) = ranges.iter().map(|range| range.within(size)).collect::<Option<Vec<_>>>() else {
        return Answer::Unsatisfiable;
    };
    match found[..] {
        [] => Answer::Whole,
        [single] => Answer::Single(single),
        _ if found.iter().map(|range| u128::from(range.len())).sum::<u128>() > u128::from(size) => {
            Answer::Whole
        }
        _ => Answer::Multi(found),
    }
}

#[cfg(test)]
mod tests;
