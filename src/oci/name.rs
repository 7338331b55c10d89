//! Names of repositories and tags: text that keeps to the grammar of the distribution specification.
//!
//! Who holds a [`Repository`] or a [`Tag`] may put it in a path, a key or a log line as it is: it has no dots that climb,
//! no separators of its own making, no control characters. Which upstream a name belongs to is not said here.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::digest::Digest;

/// The longest repository name, in bytes. Clients may refuse longer ones, and so do registries.
pub const MAX_NAME: usize = 255;

/// The longest tag, in bytes.
pub const MAX_TAG: usize = 128;

/// The longest name of an upstream: a DNS name and a port.
pub(super) const MAX_AUTHORITY: usize = 253 + ":65535".len();

/// The name of a repository inside its upstream: `library/nginx`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Repository(Arc<str>);

/// A tag: `1.27-alpine`. Case counts.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Tag(Arc<str>);

/// A text that is not a repository name; shown as it was, quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError(String);

/// A text that is not a tag; shown as it was, quoted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagError(String);

impl NameError {
    pub(super) fn new(text: &str) -> Self {
        Self(quoted(text))
    }
}

impl Repository {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Repository {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= MAX_NAME && text.split('/').all(is_component) {
            Ok(Self(text.into()))
        } else {
            Err(NameError::new(text))
        }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Tag {
    /// The tag under which a registry without the API for them has the referrers of a manifest: algorithm and value of
    /// its digest, each cut to what a tag can hold.
    pub fn of_referrers(subject: &Digest) -> Self {
        let hex = subject.hex();
        Self(format!("{}-{}", subject.algorithm(), &hex[..hex.len().min(64)]).into())
    }

    /// The tag that is meant where none is named.
    pub fn latest() -> Self {
        Self("latest".into())
    }

    /// The tags under which tools put a signature, attestations and a list of contents beside a manifest, where they do
    /// not make it known as a referrer: `sha256-<hex>.sig` and the like.
    pub fn of_attached(subject: &Digest) -> Vec<Self> {
        let tag = |end: &str| format!("{}-{}{end}", subject.algorithm(), subject.hex());
        // With a SHA-512 the tag would be longer than a tag can be, so there is none.
        ATTACHED.iter().filter_map(|end| tag(end).parse().ok()).collect()
    }

    /// Whether the tag, by custom, holds what was attached to another manifest: the fallback tag of referrers, and the
    /// tags of signatures, attestations and SBOMs. Such a tag may have a digest in it, and moves all the same (T89).
    pub fn is_attached(&self) -> bool {
        is_attached(&self.0)
    }

    /// The tag as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        let all = text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        if first && all && text.len() <= MAX_TAG {
            Ok(Self(text.into()))
        } else {
            Err(TagError(quoted(text)))
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not a repository name: it takes components of a-z and 0-9, joined inside by '.', '_', '__' or '-', \
             with '/' between them, {MAX_NAME} characters at most",
            self.0
        )
    }
}

impl std::error::Error for NameError {}

impl fmt::Display for TagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is not a tag: it takes letters, digits, '_', '.' and '-', not '.' or '-' first, {MAX_TAG} at most",
            self.0
        )
    }
}

impl std::error::Error for TagError {}

/// How tags of attached signatures, attestations and lists of contents end.
const ATTACHED: [&str; 3] = [".sig", ".att", ".sbom"];

/// Whether a tag, or a pattern of tags, is of the kind of [`Tag::is_attached`].
pub(super) fn is_attached(text: &str) -> bool {
    ["sha256-", "sha512-"].iter().any(|start| text.starts_with(start))
        || ATTACHED.iter().any(|end| text.ends_with(end))
}

/// Whether this is one component of a repository name: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
pub(super) fn is_component(text: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else { return false };
    // With words at both ends, what lies between two words is a separator: a run without word characters.
    is_word(first)
        && is_word(last)
        && bytes
            .split(|&b| is_word(b))
            .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

/// Whether this can be a path name of an upstream, which stands where a component stands: a component, or a host with a
/// port behind it.
pub(super) fn is_path_name(text: &str) -> bool {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let is_port = |port: &str| (1..=5).contains(&port.len()) && port.bytes().all(|b| b.is_ascii_digit());
    text.len() <= MAX_AUTHORITY && is_component(host) && port.is_none_or(is_port)
}

/// Whether this can be what clients call an upstream, or a Host header: nothing with a slash, a user, an escape in it.
pub(super) fn is_authority(text: &str) -> bool {
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
    (1..=MAX_AUTHORITY).contains(&text.len()) && text.bytes().all(legal)
}

/// A text from outside as it may stand in a message: quoted, escaped, and no longer than a line.
pub(super) fn quoted(text: &str) -> String {
    const MOST: usize = 100;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t90_the_fallback_tag_of_referrers_is_cut_to_what_a_tag_can_hold() {
        for (digest, tag) in [
            (format!("sha256:{}", "ab".repeat(32)), format!("sha256-{}", "ab".repeat(32))),
            (format!("sha512:{}{}", "a".repeat(64), "b".repeat(64)), format!("sha512-{}", "a".repeat(64))),
        ] {
            let made = Tag::of_referrers(&digest.parse().unwrap());
            assert_eq!(made.as_str(), tag);
            assert_eq!(made.as_str().parse(), Ok(made));
        }
    }

    #[test]
    fn tags_of_signatures_are_made_from_the_digest() {
        let hex = "ab".repeat(32);
        let tags = Tag::of_attached(&format!("sha256:{hex}").parse().unwrap());
        let tags: Vec<_> = tags.iter().map(Tag::as_str).collect();
        assert_eq!(
            tags,
            [format!("sha256-{hex}.sig"), format!("sha256-{hex}.att"), format!("sha256-{hex}.sbom")]
        );
        assert_eq!(Tag::of_attached(&format!("sha512:{hex}{hex}").parse().unwrap()), []);
    }

    #[test]
    fn t89_tags_of_what_is_attached_are_known_by_their_form() {
        let digest = "ab".repeat(32);
        for (tag, is) in [
            (format!("sha256-{digest}"), true),
            (format!("sha512-{digest}"), true),
            (format!("sha256-{digest}.sig"), true),
            ("v1.2.3.att".to_owned(), true),
            ("v1.sbom".to_owned(), true),
            ("latest".to_owned(), false),
            ("v1.2.3".to_owned(), false),
            ("sha256".to_owned(), false),
            ("sig".to_owned(), false),
        ] {
            assert_eq!(tag.parse::<Tag>().unwrap().is_attached(), is, "{tag}");
        }
    }

    #[test]
    fn t81_repository_names_keep_to_the_grammar() {
        let longest = format!("{}/a", "a".repeat(MAX_NAME - 2));
        let too_long = "a".repeat(MAX_NAME + 1);
        let rows: &[(&str, bool)] = &[
            ("nginx", true),
            ("library/nginx", true),
            ("a/b/c/d/e", true),
            ("0", true),
            ("a.b", true),
            ("a_b", true),
            ("a__b", true),
            ("a-b", true),
            ("a---b", true),
            ("docker.io/library/nginx", true),
            ("manifests/blobs/tags/list", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            ("/", false),
            ("/a", false),
            ("a/", false),
            ("a//b", false),
            (".", false),
            ("..", false),
            ("a/../b", false),
            ("a..b", false),
            ("a___b", false),
            ("a._b", false),
            ("a-.b", false),
            ("-a", false),
            ("a-", false),
            (".a", false),
            ("a_", false),
            ("A", false),
            ("library/Nginx", false),
            ("a b", false),
            ("a%2fb", false),
            ("localhost:5000/a", false),
            ("a\0", false),
            ("a\\b", false),
            ("é", false),
            ("a@b", false),
        ];
        for (text, legal) in rows {
            assert_eq!(text.parse::<Repository>().is_ok(), *legal, "{text:?}");
        }
    }

    #[test]
    fn path_names_are_components_and_hosts_with_ports() {
        // Text, whether it is a path name, whether it is an authority.
        let rows: &[(&str, bool, bool)] = &[
            ("local", true, true),
            ("docker.io", true, true),
            ("registry.local:5000", true, true),
            ("localhost:5000", true, true),
            ("[::1]:5000", false, true),
            ("Docker.io", false, true),
            ("localhost:", false, true),
            ("localhost:500000", false, true),
            ("localhost:a", false, true),
            (":5000", false, true),
            ("a:1:2", false, true),
            ("", false, false),
            ("a/b", false, false),
            ("a@b", false, false),
            ("a%2eb", false, false),
            ("a b", false, false),
            ("é", false, false),
        ];
        for (text, path_name, authority) in rows {
            assert_eq!((is_path_name(text), is_authority(text)), (*path_name, *authority), "{text:?}");
        }
    }

    #[test]
    fn tags_keep_to_the_grammar() {
        let longest = "a".repeat(MAX_TAG);
        let too_long = "a".repeat(MAX_TAG + 1);
        let rows: &[(&str, bool)] = &[
            ("latest", true),
            ("1.27-alpine_x", true),
            ("_", true),
            ("V1", true),
            ("a..b", true),
            (&longest, true),
            (&too_long, false),
            ("", false),
            (".", false),
            ("..", false),
            ("-a", false),
            ("a/b", false),
            ("a:b", false),
            ("a b", false),
            ("a+b", false),
            ("é", false),
            ("a\n", false),
        ];
        for (text, legal) in rows {
            assert_eq!(text.parse::<Tag>().is_ok(), *legal, "{text:?}");
        }
    }

    #[test]
    fn messages_quote_what_was_asked_and_stay_short() {
        let error = "a\nb".parse::<Repository>().unwrap_err().to_string();
        assert!(error.starts_with("\"a\\nb\" is not a repository name"), "{error}");
        assert!("é".repeat(5000).parse::<Tag>().unwrap_err().to_string().len() < 500);
    }
}
