//! How a request was answered, in one word.

use std::fmt;

/// How a request was answered. The word is the same in the access line, the metrics and the `Cache-Status` detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// From what was stored; upstream was not asked.
    Hit,
    /// From what was stored, after upstream said that it still holds.
    Revalidated,
    /// From a transfer that another request had started.
    Join,
    /// From upstream, by a transfer that this request started.
    Miss,
    /// From what was stored, past its time: upstream did not answer, was not asked, or has deleted it.
    Stale,
    /// From what was stored, past its time, or not at all: the upstream's mode does not let it be asked.
    Offline,
    /// From upstream without being stored: no space, too large, or everything pinned.
    Bypass,
    /// Upstream said no, or the request itself could not be right.
    Refused,
    /// Something went wrong that should not have.
    Failed,
    /// Turned away by a limit, ours or upstream's.
    Limited,
    /// The version check `/v2/`, which no upstream takes part in.
    Ping,
}

impl Outcome {
    /// The word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Revalidated => "revalidated",
            Self::Join => "join",
            Self::Miss => "miss",
            Self::Stale => "stale",
            Self::Offline => "offline",
            Self::Bypass => "bypass",
            Self::Refused => "refused",
            Self::Failed => "failed",
            Self::Limited => "limited",
            Self::Ping => "ping",
        }
    }

    /// Every outcome, in the order of declaration.
    pub const ALL: [Self; 11] = [
        Self::Hit,
        Self::Revalidated,
        Self::Join,
        Self::Miss,
        Self::Stale,
        Self::Offline,
        Self::Bypass,
        Self::Refused,
        Self::Failed,
        Self::Limited,
        Self::Ping,
    ];
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn all_holds_each_outcome_at_its_own_place() {
        for (place, outcome) in Outcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, place, "{outcome}");
        }
    }

    #[test]
    fn no_two_outcomes_share_a_word() {
        let words: HashSet<_> = Outcome::ALL.into_iter().map(Outcome::as_str).collect();
        assert_eq!(words.len(), Outcome::ALL.len());
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase())));
    }
}
