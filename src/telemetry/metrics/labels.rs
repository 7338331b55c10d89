//! The fixed sets of label values, and the label sets made of them.

use prometheus_client::encoding::EncodeLabelSet;

/// What upstream was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A manifest's bytes.
    Manifest,
    /// Whether a manifest is there, and its digest.
    ManifestHead,
    /// A blob's bytes, or a range of them.
    Blob,
    /// Whether a blob is there, and its size.
    BlobHead,
    /// The tags of a repository.
    Tags,
    /// The referrers of a manifest.
    Referrers,
    /// A token from the realm that upstream named.
    Token,
}

impl Kind {
    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Manifest => "manifest",
            Self::ManifestHead => "manifest_head",
            Self::Blob => "blob",
            Self::BlobHead => "blob_head",
            Self::Tags => "tags",
            Self::Referrers => "referrers",
            Self::Token => "token",
        }
    }

    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 7] = [
        Self::Manifest,
        Self::ManifestHead,
        Self::Blob,
        Self::BlobHead,
        Self::Tags,
        Self::Referrers,
        Self::Token,
    ];
}

/// What came of asking upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UpstreamResult {
    /// It gave what it was asked for.
    Ok,
    /// It said that the thing is not there, or that nobody may have it.
    SaidNo,
    /// It refused our own credentials or our address.
    RefusedUs,
    /// It told us to ask less often.
    Limited,
    /// It gave no answer that could be used.
    DidNotAnswer,
}

impl UpstreamResult {
    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::SaidNo => "said_no",
            Self::RefusedUs => "refused_us",
            Self::Limited => "limited",
            Self::DidNotAnswer => "did_not_answer",
        }
    }

    /// Every result, in the order of declaration.
    pub const ALL: [Self; 5] = [Self::Ok, Self::SaidNo, Self::RefusedUs, Self::Limited, Self::DidNotAnswer];
}

/// How a fill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FillResult {
    /// Verified and stored.
    Committed,
    /// Upstream or the disk gave up on it, or its task ended without a word.
    Failed,
    /// Its bytes did not have the digest they were asked by.
    WrongDigest,
    /// Stopped by us with its bytes kept: drain, or nobody reads.
    Stopped,
    /// Passed through without being stored.
    Bypassed,
}

impl FillResult {
    /// The label value.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::Failed => "failed",
            Self::WrongDigest => "wrong_digest",
            Self::Stopped => "stopped",
            Self::Bypassed => "bypassed",
        }
    }

    /// Every result, in the order of declaration.
    pub const ALL: [Self; 5] =
        [Self::Committed, Self::Failed, Self::WrongDigest, Self::Stopped, Self::Bypassed];
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstream {
    pub(super) upstream: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstreamAndAccount {
    pub(super) upstream: String,
    pub(super) account: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByEndpoint {
    pub(super) upstream: String,
    pub(super) endpoint: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstreamAndMode {
    pub(super) upstream: String,
    pub(super) mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstreamAndOutcome {
    pub(super) upstream: String,
    pub(super) outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstreamKindAndResult {
    pub(super) upstream: String,
    pub(super) kind: &'static str,
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByUpstreamAndCause {
    pub(super) upstream: String,
    pub(super) cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByVersion {
    pub(super) version: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByResult {
    pub(super) result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByList {
    pub(super) list: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByKind {
    pub(super) kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct ByKindAndReason {
    pub(super) kind: &'static str,
    pub(super) reason: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_holds_each_value_at_its_own_place() {
        for (place, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, place, "{kind:?}");
        }
        for (place, result) in UpstreamResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place, "{result:?}");
        }
        for (place, result) in FillResult::ALL.into_iter().enumerate() {
            assert_eq!(result as usize, place, "{result:?}");
        }
    }
}
