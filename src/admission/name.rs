//! Names of users and of certificates, as rules name them.

use std::fmt;

/// A name, or many: `*` stands for any text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

impl Name {
    /// A name with stars, or without; `None` where it is empty.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Whether it stands for every name there is.
    #[must_use]
    pub fn is_any(&self) -> bool {
        self.0.bytes().all(|byte| byte == b'*')
    }

    /// Whether this one is meant.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(last) = parts.next_back() else { return rest.is_empty() };
        for part in parts {
            let Some(at) = rest.find(part) else { return false };
            rest = &rest[at + part.len()..];
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text_and_everything_else_for_itself() {
        for (pattern, name, meant) in [
            ("alice", "alice", true),
            ("alice", "alice2", false),
            ("alice", "Alice", false),
            ("*", "", true),
            ("*", "anything/at:all", true),
            ("node-*", "node-7", true),
            ("node-*", "node-", true),
            ("node-*", "a-node-7", false),
            ("*.nodes.example", "a.nodes.example", true),
            ("*.nodes.example", "nodes.example", false),
            ("spiffe://*/ns/*/sa/*", "spiffe://a.example/ns/b/sa/c", true),
            ("spiffe://*/ns/*/sa/*", "spiffe://a.example/ns/b", false),
            ("a*a", "a", false),
            ("a*a", "aa", true),
            ("a*b*a", "aba", true),
            ("a*b*a", "aa", false),
        ] {
            assert_eq!(Name::new(pattern).unwrap().matches(name), meant, "{pattern} {name}");
        }
        assert_eq!(Name::new(""), None);
        assert!(Name::new("**").unwrap().is_any() && !Name::new("a*").unwrap().is_any());
    }
}
