//! Patterns of repositories and of tags, as rules of an operator name them.
//!
//! `*` stands for any characters of one component and `?` for one of them, `[a-z]` for one out of a class and `{a,b}` for
//! one out of some; `**` is a component of its own and stands for any number of them. A pattern means whole names. What
//! could match no name at all is no pattern: it would be a rule that is silently without effect.

use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

use super::name::{is_attached, quoted};

/// Which repositories, or which tags, are meant.
#[derive(Clone)]
pub struct Pattern {
    text: Box<str>,
    matcher: GlobMatcher,
}

/// Why a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// Nothing is in it.
    Empty,
    /// It has a character that no such name has, and that stands for nothing.
    Character(char),
    /// It begins or ends with a slash, or has two in a row.
    Slash,
    /// `**` beside something else.
    DoubleStar,
    /// A class or an alternative without its end, or the like.
    Syntax(String),
}

impl Pattern {
    /// A pattern of repositories, as in `team/**`.
    ///
    /// # Errors
    /// What can match no repository.
    pub fn of_repositories(text: &str) -> Result<Self, PatternError> {
        if text.starts_with('/') || text.ends_with('/') || text.contains("//") {
            return Err(PatternError::Slash);
        }
        Self::parse(text, |c| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-' | '/')
        })
    }

    /// A pattern of tags, as in `v*.*.*`.
    ///
    /// # Errors
    /// What can match no tag.
    pub fn of_tags(text: &str) -> Result<Self, PatternError> {
        Self::parse(text, |c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    }

    fn parse(text: &str, is_of_a_name: impl Fn(char) -> bool) -> Result<Self, PatternError> {
        let stands_for_others = |c| matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | ',' | '!' | '^');
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if let Some(strange) = text.chars().find(|&c| !is_of_a_name(c) && !stands_for_others(c)) {
            return Err(PatternError::Character(strange));
        }
        // Taken for two single stars by the crate, where somebody hoped for more.
        if text.split(['/', '{', ',', '}']).any(|part| part.contains("**") && part != "**") {
            return Err(PatternError::DoubleStar);
        }
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(false).build();
        let glob = glob.map_err(|error| PatternError::Syntax(error.kind().to_string()))?;
        Ok(Self { text: text.into(), matcher: glob.compile_matcher() })
    }

    /// Whether this name is meant.
    pub fn matches(&self, name: &str) -> bool {
        self.matcher.is_match(name)
    }

    /// Whether it was written for the tags of signatures and the like: by its own beginning or end, and not because it
    /// happens to match one ([`super::Tag::is_attached`]).
    pub fn is_for_attached(&self) -> bool {
        is_attached(&self.text)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&quoted(&self.text))
    }
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("nothing is in it"),
            Self::Character(strange) => write!(f, "no such name has a {strange:?}"),
            Self::Slash => f.write_str("a slash stands between two components"),
            Self::DoubleStar => f.write_str("\"**\" stands alone between slashes"),
            Self::Syntax(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for PatternError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_of_repositories_means_whole_names_and_a_star_ends_at_a_slash() {
        for (pattern, names, others) in [
            ("library/nginx", vec!["library/nginx"], vec!["nginx", "library/nginx2", "x/library/nginx"]),
            ("library/*", vec!["library/nginx"], vec!["library", "library/a/b", "my/library/a"]),
            ("team/**", vec!["team/a", "team/a/b/c"], vec!["team", "teams/a", "x/team/a"]),
            ("**", vec!["a", "a/b/c"], vec![]),
            ("**/app", vec!["app", "a/app", "a/b/app"], vec!["a/app2", "app/a"]),
            ("a/**/z", vec!["a/z", "a/b/z", "a/b/c/z"], vec!["a", "a/b"]),
            ("*", vec!["nginx"], vec!["library/nginx"]),
            ("team?/app-[0-9]", vec!["team1/app-7", "teams/app-0"], vec!["team/app-7", "team1/app-x"]),
            ("{team,other}/**", vec!["team/a", "other/a/b"], vec!["third/a"]),
            ("a.b", vec!["a.b"], vec!["axb"]),
        ] {
            let pattern = Pattern::of_repositories(pattern).unwrap();
            for name in names {
                assert!(pattern.matches(name), "{pattern:?} {name}");
            }
            for name in others {
                assert!(!pattern.matches(name), "{pattern:?} {name}");
            }
        }
    }

    #[test]
    fn a_pattern_of_tags_tells_releases_from_what_moves() {
        for (pattern, tags, others) in [
            ("v*.*.*", vec!["v1.2.3", "v1.2.3-rc.1", "v..."], vec!["v1.2", "1.2.3", "latest"]),
            ("20??-*", vec!["2026-01-01", "2026-x"], vec!["2026", "1999-01-01"]),
            ("[0-9]*.[0-9]*", vec!["1.27", "1.27-alpine"], vec!["latest", "v1.2"]),
            ("{latest,main,*-nightly}", vec!["latest", "x-nightly"], vec!["latest2", "Latest"]),
            ("[!a-z]*", vec!["1.2", "V1"], vec!["latest"]),
            ("*", vec!["latest", "sha256-ab.sig"], vec![]),
        ] {
            let pattern = Pattern::of_tags(pattern).unwrap();
            for tag in tags {
                assert!(pattern.matches(tag), "{pattern:?} {tag}");
            }
            for tag in others {
                assert!(!pattern.matches(tag), "{pattern:?} {tag}");
            }
        }
    }

    #[test]
    fn what_matches_nothing_is_no_pattern() {
        for (text, why) in [
            ("", PatternError::Empty),
            ("/team", PatternError::Slash),
            ("team/", PatternError::Slash),
            ("team//app", PatternError::Slash),
            ("Team/*", PatternError::Character('T')),
            ("library/nginx:latest", PatternError::Character(':')),
            ("team/a b", PatternError::Character(' ')),
            ("team\\*", PatternError::Character('\\')),
            ("team**", PatternError::DoubleStar),
            ("**team/a", PatternError::DoubleStar),
            ("team/***", PatternError::DoubleStar),
        ] {
            assert_eq!(Pattern::of_repositories(text), Err(why), "{text}");
        }
        for text in ["team/[a-", "team/{a", "team/a}", "[z-a]"] {
            let refused = Pattern::of_repositories(text);
            assert!(matches!(refused, Err(PatternError::Syntax(_))), "{text}: {refused:?}");
        }
        assert_eq!(Pattern::of_tags("a/b"), Err(PatternError::Character('/')));
        assert_eq!(Pattern::of_tags("v**"), Err(PatternError::DoubleStar));
        assert!(Pattern::of_tags("V*").is_ok());
    }

    #[test]
    fn t89_a_pattern_is_for_signatures_only_if_it_is_written_for_them() {
        for (text, meant) in [
            ("sha256-*", true),
            ("sha512-*.sig", true),
            ("*.sig", true),
            ("*.att", true),
            ("v*.sbom", true),
            ("*", false),
            ("v*.*.*", false),
            ("sha*", false),
        ] {
            assert_eq!(Pattern::of_tags(text).unwrap().is_for_attached(), meant, "{text}");
        }
    }
}
