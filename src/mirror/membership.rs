//! Under which repositories a digest may be served (G9).
//!
//! Content is stored once, whoever brought it; a private layer must not be had by naming its digest under a public
//! repository. Bytes are served under a repository when they came through it, or when one of its manifests names
//! them and nobody's credentials were needed to fetch them, or when upstream said so when asked.

use std::time::Duration;

use tokio::task::spawn_blocking;

use super::answer::Refusal;
use super::site::{Mirror, Target};
use crate::oci::Digest;

/// How long a request waits, at the most, for what a crash has left to be read.
const RECOLLECTION: Duration = Duration::from_secs(5);

/// What is known of a digest and a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Member,
    /// Only upstream can tell.
    Stranger,
}

/// Decides from what the store knows. `anonymous` says that the bytes were had without credentials of ours, so that
/// whoever knows their name could have them anyway.
pub(super) fn standing(is_member: bool, is_named: bool, anonymous: bool) -> Standing {
    if is_member || (is_named && anonymous) { Standing::Member } else { Standing::Stranger }
}

/// What kind of thing a digest names; upstream is asked at different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Blob,
    Manifest,
}

impl Mirror {
    /// What is known of a digest whose cached bytes, or whose fill, were had `anonymous`ly.
    pub(super) fn standing_of(&self, target: &Target, digest: &Digest, anonymous: bool) -> Standing {
        let is_member = self.store().is_member(target.site.name(), &target.repository, digest);
        self.standing_beside(is_member, target, digest, anonymous)
    }

    /// The same where it is known whether the digest is a member. Whether a manifest names it is looked up only where that
    /// decides.
    fn standing_beside(
        &self,
        is_member: bool,
        target: &Target,
        digest: &Digest,
        anonymous: bool,
    ) -> Standing {
        let is_named =
            || self.recent().named(self.store(), &target.site, &target.repository, digest).is_some();
        standing(is_member, !is_member && anonymous && is_named(), anonymous)
    }

    /// Lets a request through to cached bytes, asking upstream once where only upstream can tell.
    pub(super) async fn admit(
        &self,
        target: &Target,
        digest: &Digest,
        kind: Kind,
        anonymous: bool,
    ) -> Result<(), Refusal> {
        let (store, upstream) = (self.store(), target.site.name());
        let is_member = store.is_member(upstream, &target.repository, digest);
        let mut standing = self.standing_beside(is_member, target, digest, anonymous);
        if standing == Standing::Stranger && !store.knows_manifests() {
            self.recollect().await;
            standing = self.standing_of(target, digest, anonymous);
        }
        if standing == Standing::Member {
            if kind == Kind::Manifest && !is_member {
                // It comes through this repository now, and with it what it names: that is asked for next.
                store.add_member(upstream, &target.repository, digest);
            }
            return Ok(());
        }
        // What is rare is not carried along by what is not.
        Box::pin(self.ask_to_admit(target, digest, kind)).await
    }

    async fn ask_to_admit(&self, target: &Target, digest: &Digest, kind: Kind) -> Result<(), Refusal> {
        let question = target.question(kind.as_str(), digest);
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        let asked = match kind {
            Kind::Blob => self.ask_blob_head(target, digest).await.map(|_| ()),
            Kind::Manifest => self.ask_manifest_admission(target, digest).await,
        };
        if let Err(refusal) = &asked {
            self.note_refusal(target, question, refusal);
        }
        asked
    }
}

impl Kind {
    /// Where the distribution API has it.
    fn as_str(self) -> &'static str {
        match self {
            Self::Blob => "blobs",
            Self::Manifest => "manifests",
        }
    }
}

impl Mirror {
    /// After a crash the last moments before it are read back from the files. Who finds nothing then waits a little for
    /// that, before he asks an upstream that may be away.
    pub(super) async fn recollect(&self) {
        let store = self.store().clone();
        // A panic there is the store's to tell; the answer is what is known without.
        let _ = spawn_blocking(move || store.await_manifests(RECOLLECTION)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_only_members_and_openly_named_content_pass_without_asking() {
        for (is_member, is_named, anonymous, expected) in [
            (true, false, false, Standing::Member),
            (true, true, true, Standing::Member),
            (false, true, true, Standing::Member),
            (false, true, false, Standing::Stranger),
            (false, false, true, Standing::Stranger),
            (false, false, false, Standing::Stranger),
        ] {
            assert_eq!(
                standing(is_member, is_named, anonymous),
                expected,
                "{is_member} {is_named} {anonymous}"
            );
        }
    }
}
