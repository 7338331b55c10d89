//! `Cache-Status` (RFC 9211): how an answer came about, for whoever looks at it.
//!
//! The value is a structured field (RFC 8941) whatever is put into it: a detail that is no token becomes a quoted string,
//! and characters that have no place in one become question marks.

use std::fmt;

/// What this cache calls itself in the header.
pub const CACHE: &str = "roadstead";

/// Whether a value of the header was written by one of our kind, last of all caches.
pub fn says_roadstead(value: &str) -> bool {
    let last = value.rsplit(',').next().unwrap_or_default();
    last.split(';').next().is_some_and(|cache| cache.trim() == CACHE)
}

/// Why a request went forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The cache was told not to handle the request.
    Bypass,
    /// The cache had nothing for it.
    Miss,
    /// The cache had something, but too old.
    Stale,
    /// The cache had a part of it.
    Partial,
}

impl Forward {
    fn as_str(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// The value of the header. An answer is a hit, or forwarded, or neither.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheStatus {
    how: How,
    fwd_status: Option<u16>,
    stored: bool,
    collapsed: bool,
    detail: Option<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum How {
    #[default]
    Unsaid,
    Hit,
    Forwarded(Forward),
}

impl CacheStatus {
    /// Answered from here.
    pub fn hit() -> Self {
        Self { how: How::Hit, ..Self::default() }
    }

    /// Sent on.
    pub fn forwarded(why: Forward) -> Self {
        Self { how: How::Forwarded(why), ..Self::default() }
    }

    /// Neither answered from here nor sent on.
    pub fn unsaid() -> Self {
        Self::default()
    }

    /// What the next server answered, or would have: the status that came from it.
    #[must_use]
    pub fn fwd_status(self, status: u16) -> Self {
        Self { fwd_status: Some(status), ..self }
    }

    /// The answer is being kept.
    #[must_use]
    pub fn stored(self) -> Self {
        Self { stored: true, ..self }
    }

    /// The request was joined to another one that had gone forward.
    #[must_use]
    pub fn collapsed(self) -> Self {
        Self { collapsed: true, ..self }
    }

    /// What else there is to say, in a word.
    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }
}

impl fmt::Display for CacheStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(CACHE)?;
        match self.how {
            How::Unsaid => {}
            How::Hit => f.write_str("; hit")?,
            How::Forwarded(why) => write!(f, "; fwd={}", why.as_str())?,
        }
        if self.stored {
            f.write_str("; stored")?;
        }
        if self.collapsed {
            f.write_str("; collapsed")?;
        }
        if let Some(detail) = &self.detail {
            f.write_str("; detail=")?;
            write_item(f, detail)?;
        }
        if let Some(status) = self.fwd_status {
            write!(f, "; fwd-status={status}")?;
        }
        Ok(())
    }
}

/// Writes a token where the text is one, else a string.
fn write_item(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let in_token = |b: u8| b.is_ascii_alphanumeric() || b":/!#$%&'*+-.^_`|~".contains(&b);
    let starts_token = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'*');
    if starts_token && text.bytes().all(in_token) {
        return f.write_str(text);
    }
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            ' '..='~' => write!(f, "{c}")?,
            _ => f.write_str("?")?,
        }
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t93_one_of_our_kind_is_known_by_what_it_says_last() {
        for (said, ours) in [
            (CacheStatus::hit().to_string(), true),
            ("roadstead".to_owned(), true),
            ("nginx; hit, roadstead; detail=ping".to_owned(), true),
            ("roadstead; fwd=miss, nginx; hit".to_owned(), false),
            ("roadstead2; hit".to_owned(), false),
            ("harbor; detail=roadstead".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(says_roadstead(&said), ours, "{said}");
        }
    }

    #[test]
    fn every_outcome_has_its_form() {
        let miss = || CacheStatus::forwarded(Forward::Miss);
        let table = [
            (CacheStatus::hit(), "roadstead; hit"),
            (CacheStatus::hit().detail("revalidated"), "roadstead; hit; detail=revalidated"),
            (miss().collapsed(), "roadstead; fwd=miss; collapsed"),
            (miss().stored(), "roadstead; fwd=miss; stored"),
            (
                CacheStatus::hit().detail("stale").fwd_status(503),
                "roadstead; hit; detail=stale; fwd-status=503",
            ),
            (CacheStatus::unsaid().detail("offline"), "roadstead; detail=offline"),
            (CacheStatus::forwarded(Forward::Bypass), "roadstead; fwd=bypass"),
            (CacheStatus::forwarded(Forward::Partial), "roadstead; fwd=partial"),
            (CacheStatus::forwarded(Forward::Stale).fwd_status(200), "roadstead; fwd=stale; fwd-status=200"),
            (miss().fwd_status(404), "roadstead; fwd=miss; fwd-status=404"),
            (CacheStatus::unsaid(), "roadstead"),
        ];
        for (status, expected) in table {
            assert_eq!(status.to_string(), expected);
        }
    }

    #[test]
    fn a_detail_is_always_a_structured_field_item() {
        let table = [
            ("timeout", "timeout"),
            ("a/b:c", "a/b:c"),
            ("no such host", "\"no such host\""),
            ("say \"x\\y\"", "\"say \\\"x\\\\y\\\"\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
            ("a;b,c=d", "\"a;b,c=d\""),
            ("line\r\nbreak: gr\u{fc}n", "\"line??break: gr?n\""),
        ];
        for (detail, expected) in table {
            assert_eq!(
                CacheStatus::hit().detail(detail).to_string(),
                format!("roadstead; hit; detail={expected}")
            );
        }
    }
}
