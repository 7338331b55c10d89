//! Validators: the entity tag of content that never changes, and the conditions that name it.
//!
//! Tags are strong: whoever names one has exactly these bytes. There is no `Last-Modified` here, so a condition that is a
//! date is not met. Clients that leave out the quotes are understood.

/// The strong entity tag of content with that name, quoted. Names of ours need no escape.
pub fn etag(name: &str) -> String {
    format!("\"{name}\"")
}

/// Whether an `If-None-Match` names this tag, so that the answer is 304. Weak tags match as well (RFC 9110, 13.1.2).
pub fn if_none_match(header: &str, etag: &str) -> bool {
    header.trim() == "*" || Tags(header).any(|tag| tag.opaque == unquoted(etag))
}

/// Whether an `If-Range` allows the range that was asked: it names this tag, and not weakly (RFC 9110, 13.1.5).
/// Otherwise the whole is to be sent.
pub fn if_range(header: &str, etag: &str) -> bool {
    let mut tags = Tags(header);
    let first = tags.next();
    first.is_some_and(|tag| !tag.weak && tag.opaque == unquoted(etag)) && tags.next().is_none()
}

fn unquoted(tag: &str) -> &str {
    tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')).unwrap_or(tag)
}

struct Tag<'a> {
    weak: bool,
    opaque: &'a str,
}

/// The tags of a list, in which a comma inside quotes does not part anything.
struct Tags<'a>(&'a str);

impl<'a> Iterator for Tags<'a> {
    type Item = Tag<'a>;

    fn next(&mut self) -> Option<Tag<'a>> {
        let rest = self.0.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        if rest.is_empty() {
            return None;
        }
        let stripped = rest.strip_prefix("W/");
        let weak = stripped.is_some();
        let rest = stripped.unwrap_or(rest);
        let (opaque, rest) = match rest.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => rest.split_at(rest.find(',').unwrap_or(rest.len())),
        };
        self.0 = rest;
        Some(Tag { weak, opaque: opaque.trim_ascii_end() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t16_if_none_match_finds_the_tag_however_it_is_written() {
        let tag = etag("sha256:ab");
        assert_eq!(tag, "\"sha256:ab\"");
        let table = [
            ("\"sha256:ab\"", true),
            ("sha256:ab", true),
            (" \"sha256:ab\" ", true),
            ("W/\"sha256:ab\"", true),
            ("\"x\", \"sha256:ab\"", true),
            ("\"x\",sha256:ab ,\"y\"", true),
            ("*", true),
            (" * ", true),
            ("", false),
            ("\"\"", false),
            ("\"sha256:abc\"", false),
            ("\"sha256:a\"", false),
            ("\"x,sha256:ab\"", false),
            ("\"x\", *", false),
            ("\"unclosed", false),
        ];
        for (header, expected) in table {
            assert_eq!(if_none_match(header, &tag), expected, "{header}");
        }
    }

    #[test]
    fn t51_if_range_allows_a_range_only_of_the_very_same_bytes() {
        let table = [
            ("\"sha256:ab\"", true),
            ("sha256:ab", true),
            (" \"sha256:ab\" ", true),
            ("W/\"sha256:ab\"", false),
            ("\"other\"", false),
            ("\"sha256:ab\", \"other\"", false),
            ("Wed, 21 Oct 2015 07:28:00 GMT", false),
            ("*", false),
            ("", false),
        ];
        for (header, expected) in table {
            assert_eq!(if_range(header, &etag("sha256:ab")), expected, "{header}");
        }
    }
}
