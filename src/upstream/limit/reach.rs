//! What a limit is about.
//!
//! Registries count in two ways. Their own limits are about one sort of question: Docker Hub counts manifests that are
//! pulled and not those that are only asked after, and lets blobs go on when no pull is left. What stands before them
//! counts every request of an address. The former is told in the registry's words, which are JSON; the latter in plain
//! text or HTML. A limit that is taken for too small a one costs one more request of every other sort.

use crate::telemetry::Kind;

use super::super::failure::Voice;

/// Questions that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    /// A manifest, which is what is counted where pulls are.
    Pull,
    /// What a manifest is, without it.
    Look,
    /// Blobs.
    Blob,
    /// Tags and referrers.
    List,
    /// Tokens, from whoever grants them.
    Token,
}

impl Sort {
    pub(super) const ALL: [Self; 5] = [Self::Pull, Self::Look, Self::Blob, Self::List, Self::Token];

    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Manifest => Self::Pull,
            Kind::ManifestHead => Self::Look,
            Kind::Blob | Kind::BlobHead => Self::Blob,
            Kind::Tags | Kind::Referrers => Self::List,
            Kind::Token => Self::Token,
        }
    }

    /// What is not asked for, to people.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "manifests",
            Self::Look => "heads of manifests",
            Self::Blob => "blobs",
            Self::List => "lists",
            Self::Token => "tokens",
        }
    }
}

/// How far a limit reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// To every question.
    All,
    /// To questions of this sort.
    Only(Sort),
}

impl Reach {
    /// What a limit is about that was told in answer to a question of this kind; `registrys` says that it was told in the
    /// registry's own words.
    pub(super) fn of(kind: Kind, voice: Voice, registrys: bool) -> Self {
        match (kind, voice) {
            // Whoever grants tokens, or holds blobs, is another server, and speaks for itself.
            (Kind::Token, _) | (_, Voice::Storage) => Self::Only(Sort::of(kind)),
            // No registry counts these; who limits them limits all. Their answers have no body to tell.
            (Kind::ManifestHead, Voice::Registry) => Self::All,
            (kind, Voice::Registry) if registrys => Self::Only(Sort::of(kind)),
            (_, Voice::Registry) => Self::All,
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::All => "everything",
            Self::Only(sort) => sort.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t62_what_a_limit_is_about_is_told_by_what_was_asked_and_in_which_words() {
        for (kind, voice, registrys, reach) in [
            (Kind::Manifest, Voice::Registry, true, Reach::Only(Sort::Pull)),
            (Kind::Manifest, Voice::Registry, false, Reach::All),
            (Kind::ManifestHead, Voice::Registry, true, Reach::All),
            (Kind::ManifestHead, Voice::Registry, false, Reach::All),
            (Kind::Blob, Voice::Registry, true, Reach::Only(Sort::Blob)),
            (Kind::BlobHead, Voice::Registry, true, Reach::Only(Sort::Blob)),
            (Kind::Blob, Voice::Registry, false, Reach::All),
            (Kind::Blob, Voice::Storage, false, Reach::Only(Sort::Blob)),
            (Kind::Tags, Voice::Registry, true, Reach::Only(Sort::List)),
            (Kind::Tags, Voice::Registry, false, Reach::All),
            // GHCR sends those who ask for referrers to a web site, which has limits of its own (T69).
            (Kind::Referrers, Voice::Storage, false, Reach::Only(Sort::List)),
            (Kind::Token, Voice::Registry, false, Reach::Only(Sort::Token)),
            (Kind::Token, Voice::Registry, true, Reach::Only(Sort::Token)),
        ] {
            assert_eq!(Reach::of(kind, voice, registrys), reach, "{kind:?} {voice:?} {registrys}");
        }
    }

    #[test]
    fn every_sort_is_at_its_own_place() {
        for (place, sort) in Sort::ALL.into_iter().enumerate() {
            assert_eq!(sort as usize, place, "{sort:?}");
        }
    }
}
