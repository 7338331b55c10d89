//! Referrers: by upstream's API for them, and by the fallback tag where it has none.
//!
//! A list is given only when upstream said so. That nobody could ask is never an empty list, because it would let an
//! unsigned image pass for one that needs no signature, and a signed one for unsigned; what is stored and says itself what it is about is given then, as a part. The fallback tag is a tag like
//! any other: its time to live, its cached manifest, its cover while upstream does not answer (T89).
//!
//! Upstream is never asked to filter. One list then serves every filter, and what is said of filters is true (T87).

use bytes::Bytes;
use futures_util::future::join_all;

use crate::oci::{Digest, Manifest, ManifestKind, Referrer, Tag, parse_referrers, referrers_body};
use crate::telemetry::Outcome;
use crate::upstream::Referrers;

use super::answer::{ManifestAnswer, Refusal, Served};
use super::lists::stale;
use super::site::{Mirror, Target};

/// How many stored manifests are read to list them.
const MOST_STORED: usize = 256;

/// In how many manifests is looked for the type that their descriptor lacks.
const MOST_LOOKED_INTO: usize = 32;

/// The referrers of a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReferrersAnswer {
    /// The index that lists them.
    pub index: Bytes,
    /// Whether only those of the asked type are in it.
    pub filtered: bool,
    /// Whether there may be others, because upstream did not answer.
    pub partial: bool,
}

impl Mirror {
    /// The referrers of a manifest, which need not exist; only those of a type, where one is given.
    ///
    /// # Errors
    /// Upstream's refusal; its silence, where nothing that is known covers it.
    pub async fn referrers(
        &self,
        target: &Target,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served<ReferrersAnswer>, Refusal> {
        match self.listed_referrers(target, subject, artifact_type).await {
            Err(refusal) if refusal.may_be_covered() => {
                let policy =
                    target.site.policy().tags.of_referrers(&target.repository, &Tag::of_referrers(subject));
                if policy.max_stale.is_some() {
                    // Nobody knows how old what is stored is as a list.
                    return Err(refusal);
                }
                let stored = self.stored_referrers(target, subject).await;
                if stored.is_empty() {
                    return Err(refusal);
                }
                let question = target.question("referrers", subject);
                let answer = ReferrersAnswer { partial: true, ..of_type(&stored, artifact_type) };
                Ok(stale(target, &question, &refusal, answer))
            }
            done => done,
        }
    }

    /// The manifests here that say themselves that they are about this one, as their repository would list them.
    async fn stored_referrers(&self, target: &Target, subject: &Digest) -> Vec<Referrer> {
        let kept = self.store().referrers(target.site.name(), &target.repository, subject);
        let read = kept.iter().take(MOST_STORED).map(|kept| async {
            let manifest = self.stored_manifest(target, &kept.digest).await.ok()??;
            Referrer::of_manifest(&manifest.digest, &manifest.media_type, &manifest.bytes)
        });
        join_all(read).await.into_iter().flatten().collect()
    }

    /// The same, by upstream's word or by the fallback tag.
    async fn listed_referrers(
        &self,
        target: &Target,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served<ReferrersAnswer>, Refusal> {
        if self.lists().is_without_api(target) {
            return self.by_fallback_tag(target, subject, artifact_type).await;
        }
        let question = target.question("referrers", subject);
        let ask = {
            let subject = subject.clone();
            |_: Self, target: Target| async move {
                Ok(target.site.upstream().referrers(&target.repository, &subject).await?)
            }
        };
        let tag = Tag::of_referrers(subject);
        let policy = target.site.policy().tags.of_referrers(&target.repository, &tag);
        match self.listed(|lists| &lists.referrers, target, &policy, question.clone(), ask).await {
            Ok(Served { outcome, fwd_status, value }) => match &*value {
                Referrers::Listed(all) => {
                    let value = of_type(all, artifact_type);
                    Ok(Served { outcome, fwd_status, value })
                }
                Referrers::NoApi { surely } => {
                    if *surely {
                        self.lists().note_without_api(target);
                    }
                    self.by_fallback_tag(target, subject, artifact_type).await
                }
            },
            Err(refusal) if refusal.may_be_covered() => {
                // Somebody had them by their tag when upstream could be asked.
                let Some(binding) = self.standing_in(target, &tag) else { return Err(refusal) };
                let Ok(Some(manifest)) = self.stored_manifest(target, &binding.digest).await else {
                    return Err(refusal);
                };
                let answer = self.of_index(target, &manifest, artifact_type).await?;
                Ok(stale(target, &question, &refusal, ReferrersAnswer { partial: true, ..answer }))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The referrers in a repository that is said to have no API for them.
    async fn by_fallback_tag(
        &self,
        target: &Target,
        subject: &Digest,
        artifact_type: Option<&str>,
    ) -> Result<Served<ReferrersAnswer>, Refusal> {
        match self.manifest_by_tag(target, &Tag::of_referrers(subject)).await {
            Ok(Served { outcome, fwd_status, value }) => {
                // Now it is sure. A 404 of a repository that is not there is no word on the next one of that name.
                self.lists().note_without_api(target);
                let value = self.of_index(target, &value, artifact_type).await?;
                Ok(Served { outcome, fwd_status, value })
            }
            // Neither API nor tag: the specification's way to say that there are none.
            Err(Refusal::SaidNo { status: 404 | 410 }) => {
                Ok(Served::new(Outcome::Miss, of_type(&[], artifact_type)))
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// The referrers in the manifest of a fallback tag.
    async fn of_index(
        &self,
        target: &Target,
        manifest: &ManifestAnswer,
        artifact_type: Option<&str>,
    ) -> Result<ReferrersAnswer, Refusal> {
        let wrong = || Refusal::WrongContent {
            reason: format!("the fallback tag of {} is {}, no index", target.repository, manifest.digest),
        };
        let all = parse_referrers(&manifest.bytes).map_err(|_| wrong())?;
        let Some(wanted) = artifact_type else { return Ok(of_type(&all, None)) };
        // Tools exist that write no types into this index.
        let untyped = all.iter().filter(|referrer| referrer.artifact_type.is_none()).take(MOST_LOOKED_INTO);
        let types = join_all(untyped.map(|referrer| self.type_of(target, &referrer.digest))).await;
        let mut types = types.into_iter();
        let mut filtered = true;
        let kept: Vec<&Referrer> = all
            .iter()
            .filter(|referrer| match &referrer.artifact_type {
                Some(own) => own == wanted,
                None => match types.next().flatten() {
                    Some(own) => own == wanted,
                    None => {
                        filtered = false;
                        true
                    }
                },
            })
            .collect();
        Ok(ReferrersAnswer { index: referrers_body(kept).into(), filtered, partial: false })
    }

    /// What kind of artifact a manifest is, by itself; none if it cannot be had. An index has no kind but what it says.
    async fn type_of(&self, target: &Target, digest: &Digest) -> Option<String> {
        let manifest = self.manifest_by_digest(target, digest).await.ok()?.value;
        let parsed = Manifest::parse(&manifest.media_type, &manifest.bytes).ok()?;
        let config = parsed.config.filter(|_| parsed.kind == ManifestKind::Image);
        Some(parsed.artifact_type.or_else(|| config.map(|config| config.media_type)).unwrap_or_default())
    }
}

/// Those of a type, by what upstream's API says of them: what it gives no type has none.
fn of_type(all: &[Referrer], artifact_type: Option<&str>) -> ReferrersAnswer {
    let kept = all.iter().filter(|referrer| {
        artifact_type.is_none_or(|wanted| referrer.artifact_type.as_deref() == Some(wanted))
    });
    ReferrersAnswer { index: referrers_body(kept).into(), filtered: artifact_type.is_some(), partial: false }
}
