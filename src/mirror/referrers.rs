//! Referrers: by upstream's API for them, and by the fallback tag where it has none.
//!
//! A list is given only when upstream said so. That nobody could ask is never an empty list, because it would let an
//! unsigned image pass for one that needs no signature, and a signed one for unsigned; what is stored and says itself what
//! it is about is given then, as a part. The fallback tag is a tag like any other: its time to live, its cached manifest,
//! its cover while upstream does not answer (T89).
//!
//! Upstream is never asked to filter. One list then serves every filter, and what is said of filters is true (T87).

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;

use crate::oci::{Digest, Manifest, ManifestKind, Referrer, Tag, parse_referrers, referrers_body};
use crate::telemetry::Outcome;
use crate::upstream::Referrers;

use super::answer::{ManifestAnswer, Refusal, Served};
use super::lists::stale;
use super::site::{Mirror, Target};
use super::tags::tag_question;
use super::withheld::lists_what_is_stored;

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
                if !lists_what_is_stored(&policy, target.site.silence()) {
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
        let tag = Tag::of_referrers(subject);
        let none = || Served::new(Outcome::Miss, of_type(&[], artifact_type));
        if self.lists().is_without_api(target) {
            return Ok(self.by_fallback_tag(target, &tag, artifact_type).await?.unwrap_or_else(none));
        }
        // A page in place of the list may be that of somebody who stands before the registry for a moment. So the API is
        // asked once more after the tag was: only then it is known that the registry has been there in between.
        let mut tagged = None;
        for is_last in [false, true] {
            let Served { outcome, fwd_status, value } = match self.by_api(target, subject, &tag).await {
                Ok(listed) => listed,
                Err(refusal) if refusal.may_be_covered() => {
                    return self.by_last_known_tag(target, subject, &tag, artifact_type, refusal).await;
                }
                Err(refusal) => return Err(refusal),
            };
            let by_404 = match &*value {
                Referrers::Listed(all) => {
                    return Ok(Served { outcome, fwd_status, value: of_type(all, artifact_type) });
                }
                Referrers::NoApi { not_found } => *not_found,
            };
            if is_last {
                // What was here tells nothing of the registry.
                if !by_404 && tagged.as_ref().is_none_or(was_heard_now) {
                    self.lists().note_without_api(target);
                }
                break;
            }
            if !by_404 {
                // That there is no tag is to be heard now.
                self.absent().forget(&tag_question(target, &tag));
            }
            tagged = match self.by_fallback_tag(target, &tag, artifact_type).await {
                Ok(tagged) => tagged,
                Err(refusal) => {
                    return self.by_last_known_list(target, subject, &tag, artifact_type, refusal);
                }
            };
            if by_404 {
                // With a tag it is sure. A 404 of a repository that is not there is no word on the next one of that name.
                if tagged.as_ref().is_some_and(was_heard_now) {
                    self.lists().note_without_api(target);
                }
                break;
            }
        }
        // Neither API nor tag: the specification's way to say that there are none.
        Ok(tagged.unwrap_or_else(none))
    }

    /// What upstream's API for them says, or said lately.
    async fn by_api(
        &self,
        target: &Target,
        subject: &Digest,
        tag: &Tag,
    ) -> Result<Served<Arc<Referrers>>, Refusal> {
        let (question, asked) = (target.question("referrers", subject), subject.clone());
        let ask = |_: Self, target: Target| async move {
            Ok(target.site.upstream().referrers(&target.repository, &asked).await?)
        };
        let policy = target.site.policy().tags.of_referrers(&target.repository, tag);
        self.listed(|lists| &lists.referrers, target, &policy, question, ask).await
    }

    /// What upstream's API said when a list came from it.
    fn by_last_known_list(
        &self,
        target: &Target,
        subject: &Digest,
        tag: &Tag,
        artifact_type: Option<&str>,
        refusal: Refusal,
    ) -> Result<Served<ReferrersAnswer>, Refusal> {
        let question = target.question("referrers", subject);
        let policy = target.site.policy().tags.of_referrers(&target.repository, tag);
        let known = &self.lists().referrers;
        match known.standing_in(&question, &policy, target.site.silence(), self.now()).as_deref() {
            Some(Referrers::Listed(all)) if refusal.may_be_covered() => {
                Ok(stale(target, &question, &refusal, of_type(all, artifact_type)))
            }
            _ => Err(refusal),
        }
    }

    /// What somebody had by the fallback tag when upstream could be asked.
    async fn by_last_known_tag(
        &self,
        target: &Target,
        subject: &Digest,
        tag: &Tag,
        artifact_type: Option<&str>,
        refusal: Refusal,
    ) -> Result<Served<ReferrersAnswer>, Refusal> {
        let Some(binding) = self.standing_in(target, tag) else { return Err(refusal) };
        let Ok(Some(manifest)) = self.stored_manifest(target, &binding.digest).await else {
            return Err(refusal);
        };
        let answer = self.of_index(target, &manifest, artifact_type).await?;
        let question = target.question("referrers", subject);
        Ok(stale(target, &question, &refusal, ReferrersAnswer { partial: true, ..answer }))
    }

    /// The referrers by their fallback tag; none where there is no such tag.
    async fn by_fallback_tag(
        &self,
        target: &Target,
        tag: &Tag,
        artifact_type: Option<&str>,
    ) -> Result<Option<Served<ReferrersAnswer>>, Refusal> {
        match self.manifest_by_tag(target, tag).await {
            Ok(Served { outcome, fwd_status, value }) => {
                let value = self.of_index(target, &value, artifact_type).await?;
                Ok(Some(Served { outcome, fwd_status, value }))
            }
            Err(refusal) if refusal.is_absence() => Ok(None),
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

/// Whether upstream was asked for this.
fn was_heard_now<T>(served: &Served<T>) -> bool {
    matches!(served.outcome, Outcome::Miss | Outcome::Join | Outcome::Revalidated)
}

/// Those of a type, by what upstream's API says of them: what it gives no type has none.
fn of_type(all: &[Referrer], artifact_type: Option<&str>) -> ReferrersAnswer {
    let kept = all.iter().filter(|referrer| {
        artifact_type.is_none_or(|wanted| referrer.artifact_type.as_deref() == Some(wanted))
    });
    ReferrersAnswer { index: referrers_body(kept).into(), filtered: artifact_type.is_some(), partial: false }
}
