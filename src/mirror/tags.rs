//! Manifests by tag: bindings, their confirmation by one HEAD for all who ask, and what covers an upstream's silence.
//!
//! A tag is bound to a new digest only when that digest's manifest is here; until then the old binding stands.
//! Pulls count against rate limits and HEADs do not, so a tag that did not move costs no GET (T11).

use tokio::time::timeout;

use crate::oci::{Algorithm, Digest, ManifestKind, Reference, Tag};
use crate::store::Binding;
use crate::telemetry::Outcome;
use crate::upstream::{Failure, FetchedManifest};

use super::absent::Question;
use super::answer::{ManifestAnswer, Refusal, Served};
use super::flight::{Lost, Tell};
use super::freshness::{Freshness, freshness};
use super::manifests::is_head_refused;
use super::site::{Mirror, Target};

/// What asking upstream about a tag came to.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// The tag is what it was.
    Confirmed(Digest),
    /// The tag was not known, or moved; this is what it is now.
    Bound(ManifestAnswer),
    Failed(Refusal),
}

impl Mirror {
    pub(super) async fn manifest_by_tag(
        &self,
        target: &Target,
        tag: &Tag,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        let mut binding = self.recent().binding(self.store(), target, tag);
        if binding.is_none() && !self.store().knows_manifests() {
            self.recollect().await;
            binding = self.recent().binding(self.store(), target, tag);
        }
        let Some(binding) = binding else { return self.resolve_unknown(target, tag).await };
        if !self.is_fresh(target, &binding) {
            return self.revalidate(target, tag, binding.digest).await;
        }
        match self.manifest_by_digest(target, &binding.digest).await {
            // The manifest was evicted, and upstream has it no more: the tag must have moved.
            Err(Refusal::SaidNo { .. }) => self.revalidate(target, tag, binding.digest).await,
            served => served,
        }
    }

    async fn resolve_unknown(&self, target: &Target, tag: &Tag) -> Result<Served<ManifestAnswer>, Refusal> {
        let question = target.question("tags", tag);
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        let waiter = self.tag_flights().join(question.clone(), |tell| {
            let (mirror, target, tag) = (self.clone(), target.clone(), tag.clone());
            async move {
                // It may have been bound while this question was on its way to be asked.
                let bound = mirror.recent().binding(mirror.store(), &target, &tag);
                match bound.filter(|bound| mirror.is_fresh(&target, bound)) {
                    Some(bound) => tell.answer(Resolution::Confirmed(bound.digest)),
                    None => mirror.fetch_by_tag(&target, &tag, tell).await,
                }
            }
        });
        let outcome = if waiter.started { Outcome::Miss } else { Outcome::Join };
        match waiter.answer().await.unwrap_or_else(lost) {
            Resolution::Bound(manifest) => Ok(Served::new(outcome, manifest)),
            Resolution::Confirmed(digest) => self.manifest_by_digest(target, &digest).await,
            Resolution::Failed(refusal) => {
                self.note_refusal(target, question, &refusal);
                Err(refusal)
            }
        }
    }

    /// Confirms a binding past its time to live, waiting no longer than the upstream's `revalidate_timeout`; the
    /// question goes on after that, for those who ask next.
    async fn revalidate(
        &self,
        target: &Target,
        tag: &Tag,
        bound: Digest,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        let question = target.question("tags", tag);
        let waiter = self.tag_flights().join(question.clone(), |tell| {
            let (mirror, target, tag, bound) = (self.clone(), target.clone(), tag.clone(), bound.clone());
            async move { mirror.confirm(&target, &tag, &bound, tell).await }
        });
        let patience = target.site.policy().revalidate_timeout;
        let resolution = match timeout(patience, waiter.answer()).await {
            Ok(resolution) => resolution.unwrap_or_else(lost),
            Err(_) => Resolution::Failed(Refusal::OutOfTime {
                reason: format!("{} did not confirm the tag within {patience:?}", target.site.name()),
            }),
        };
        match resolution {
            Resolution::Confirmed(digest) => {
                let served = self.manifest_by_digest(target, &digest).await?;
                let outcome =
                    if served.outcome == Outcome::Hit { Outcome::Revalidated } else { served.outcome };
                Ok(Served { outcome, ..served })
            }
            Resolution::Bound(manifest) => Ok(Served::new(Outcome::Miss, manifest)),
            Resolution::Failed(refusal) if refusal.may_be_covered() => {
                self.serve_stale(target, tag, &bound, refusal).await
            }
            Resolution::Failed(refusal) => {
                self.note_refusal(target, question, &refusal);
                Err(refusal)
            }
        }
    }

    async fn serve_stale(
        &self,
        target: &Target,
        tag: &Tag,
        bound: &Digest,
        refusal: Refusal,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        match self.stored_manifest(target, bound).await {
            Ok(Some(manifest)) => {
                tracing::warn!(
                    upstream = target.site.name(), repository = %target.repository, %tag, ?refusal,
                    "upstream did not confirm a tag; the cached one is served"
                );
                Ok(Served { outcome: Outcome::Stale, fwd_status: refusal.fwd_status(), value: manifest })
            }
            _ => Err(refusal),
        }
    }

    /// Asks upstream whether a tag still is what it was, by a HEAD; by a GET where HEAD fails or names no digest.
    async fn confirm(&self, target: &Target, tag: &Tag, bound: &Digest, tell: Tell<Question, Resolution>) {
        let (upstream, name) = (target.site.upstream(), target.site.name());
        let head = upstream.head_manifest(&target.repository, &Reference::Tag(tag.clone())).await;
        match head.map(|head| head.digest) {
            Ok(Some(digest)) if digest == *bound => {
                self.store().bind(name, &target.repository, tag, bound, self.now());
                tell.answer(Resolution::Confirmed(digest));
            }
            Ok(Some(digest)) => self.follow(target, tag, &digest, tell).await,
            Ok(None) => self.fetch_by_tag(target, tag, tell).await,
            Err(failure) if is_head_refused(&failure) => self.fetch_by_tag(target, tag, tell).await,
            Err(Failure::SaidNo(no)) => {
                self.forget_tag(target, tag);
                tell.answer(Resolution::Failed(Refusal::SaidNo { status: no.status }));
            }
            Err(failure) => tell.answer(Resolution::Failed(failure.into())),
        }
    }

    /// Binds a tag that moved to what it is now, once that is here.
    async fn follow(&self, target: &Target, tag: &Tag, digest: &Digest, tell: Tell<Question, Resolution>) {
        // Upstream has just named it for this very repository.
        self.store().add_member(target.site.name(), &target.repository, digest);
        let manifest = match self.stored_manifest(target, digest).await {
            Ok(Some(manifest)) => Ok(manifest),
            _ => self.fetch_by_digest(target, digest).await,
        };
        match manifest {
            Ok(manifest) => self.take_over(target, tag, manifest, tell),
            // Upstream named this digest a moment ago; that it has it no more says nothing about the tag.
            Err(Refusal::SaidNo { status }) => tell.answer(Resolution::Failed(Refusal::DidNotAnswer {
                reason: format!("upstream names {digest} for {tag} but does not have it"),
                status: Some(status),
            })),
            Err(refusal) => tell.answer(Resolution::Failed(refusal)),
        }
    }

    /// Fetches what a tag is, and binds it, once that is here: an old binding covers an outage until then.
    async fn fetch_by_tag(&self, target: &Target, tag: &Tag, tell: Tell<Question, Resolution>) {
        let name = target.site.name();
        let reference = Reference::Tag(tag.clone());
        let fetched = match target.site.upstream().manifest(&target.repository, &reference).await {
            Ok(fetched) => fetched,
            Err(Failure::SaidNo(no)) => {
                if matches!(no.status, 404 | 410) {
                    self.forget_tag(target, tag);
                }
                return tell.answer(Resolution::Failed(Refusal::SaidNo { status: no.status }));
            }
            Err(failure) => return tell.answer(Resolution::Failed(failure.into())),
        };
        if ManifestKind::of_media_type(&fetched.content_type) == Some(ManifestKind::Schema1) {
            tracing::warn!(
                upstream = name, repository = %target.repository, %tag,
                "upstream has only a schema 1 manifest, which no client of today takes; answered as not found"
            );
            return tell.answer(Resolution::Failed(Refusal::SaidNo { status: 404 }));
        }
        let manifest = self.remember_manifest(target, digest_of(&fetched), fetched);
        self.absent().forget(&target.question("tags", tag));
        self.take_over(target, tag, manifest, tell);
    }

    /// Binds a tag to what it is now: at once for those who ask, and in the store when the manifest is there, because
    /// an old binding covers an outage until then. A disk that takes no manifest leaves the new binding to memory.
    fn take_over(
        &self,
        target: &Target,
        tag: &Tag,
        manifest: ManifestAnswer,
        tell: Tell<Question, Resolution>,
    ) {
        self.recent().bind(target, tag, &manifest.digest, self.now());
        tell.answer(Resolution::Bound(manifest.clone()));
        self.store_later(target.clone(), manifest, Some(tag.clone()));
    }

    fn is_fresh(&self, target: &Target, binding: &Binding) -> bool {
        freshness(binding.confirmed, target.site.policy().tag_ttl, self.now()) == Freshness::Fresh
    }

    /// Upstream says that there is no such tag.
    fn forget_tag(&self, target: &Target, tag: &Tag) {
        self.recent().release(target, tag);
        self.store().unbind(target.site.name(), &target.repository, tag);
    }
}

/// The digest of the bytes that came: by the algorithm of upstream's header where that tells the truth, because
/// clients of a repository in sha512 ask for its children so; else by sha256, whatever the header says (T4, T5).
fn digest_of(fetched: &FetchedManifest) -> Digest {
    let claimed = fetched.digest.as_ref();
    claimed
        .filter(|claimed| Digest::of(claimed.algorithm(), &fetched.bytes) == **claimed)
        .cloned()
        .unwrap_or_else(|| Digest::of(Algorithm::Sha256, &fetched.bytes))
}

fn lost(lost: Lost) -> Resolution {
    Resolution::Failed(Refusal::Internal { reason: lost.to_string() })
}
