//! Manifests by tag: bindings, their confirmation by one HEAD for all who ask, and what covers an upstream's silence.
//!
//! What is done about a tag is decided in `freshness`; here it is done. A tag is bound to a new digest only when that
//! digest's manifest is here; until then the old binding stands. Pulls count against rate limits and HEADs do not, so a
//! tag that did not move costs no GET (T11).

use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use crate::oci::{Algorithm, Digest, ManifestKind, Reference, Repository, Tag};
use crate::store::Binding;
use crate::telemetry::Outcome;
use crate::upstream::{FetchedManifest, ManifestHead, Outlook};

use super::absent::Question;
use super::answer::{ManifestAnswer, Refusal, Served};
use super::flight::{Lost, Tell, Waiter};
use super::freshness::{Decision, Known, decide, is_kept, spread};
use super::manifests::is_head_refused;
use super::mode::Contact;
use super::ready::Fresh;
use super::site::{Mirror, Target};
use super::tag_rules::absent_for;

/// What asking upstream about a tag came to.
#[derive(Clone, Debug)]
pub(super) enum Resolution {
    /// The tag is what it was.
    Confirmed(Digest),
    /// The tag was not known, or moved; this is what it is now.
    Bound(ManifestAnswer),
    Failed(Refusal),
}

/// What becomes of a tag while upstream says nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// What it stood for is served.
    Covered,
    /// That is too old to be served.
    TooOld,
    /// Upstream has deleted it, and it is kept no longer.
    Deleted,
}

/// What upstream said of a tag when it was asked out of turn.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refreshed {
    /// What it stood for here before.
    pub before: Option<Digest>,
    /// What it stands for.
    pub digest: Digest,
}

impl Mirror {
    pub(super) async fn manifest_by_tag(
        &self,
        target: &Target,
        tag: &Tag,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        if let Some(manifest) = self.ready(target, tag) {
            return Ok(Served::new(Outcome::Hit, manifest));
        }
        let as_of = self.as_of();
        let mut binding = self.recent().binding(self.store(), target, tag);
        if binding.is_none() && !self.store().knows_manifests() {
            self.recollect().await;
            binding = self.recent().binding(self.store(), target, tag);
        }
        // What waits for upstream has its own place, and is not carried along by what is answered from here.
        let Some(binding) = binding else { return Box::pin(self.resolve_unknown(target, tag)).await };
        let contact = target.site.contact();
        let outlook = match contact {
            Contact::Open => target.site.upstream().outlook(&target.repository),
            Contact::Offline | Contact::Away => Outlook::default(),
        };
        match self.decision(target, tag, &binding, contact, outlook) {
            Decision::Fresh => {
                let fresh = self.freshness(target, tag, &binding);
                let served = self.serve_bound(target, tag, binding, Outcome::Hit, None).await;
                if let Ok(Served { outcome: Outcome::Hit, fwd_status: None, value }) = &served {
                    self.is_ready(target, tag, as_of, fresh, value);
                }
                served
            }
            Decision::Stale => self.serve_bound(target, tag, binding, Outcome::Stale, None).await,
            Decision::Offline => self.serve_bound(target, tag, binding, Outcome::Offline, None).await,
            Decision::StaleMeanwhile => {
                // The question goes on by itself; who asks meanwhile joins it, or is served so as well.
                drop(self.ask_whether_it_moved(target, tag, &binding));
                self.serve_bound(target, tag, binding, Outcome::Stale, None).await
            }
            Decision::Ask { covered } => Box::pin(self.revalidate(target, tag, binding, covered)).await,
            Decision::Kept { ask: true } => Box::pin(self.revalidate(target, tag, binding, true)).await,
            Decision::Kept { ask: false } => {
                self.serve_bound(target, tag, binding, Outcome::Stale, Some(NOT_FOUND)).await
            }
            Decision::Gone => {
                self.forget_tag(target, tag);
                Box::pin(self.resolve_unknown(target, tag)).await
            }
        }
    }

    /// What a tag stood for when upstream last said so, as far as that may stand in for an answer now.
    pub(super) fn standing_in(&self, target: &Target, tag: &Tag) -> Option<Binding> {
        let (binding, silence) = self.in_silence(target, tag)?;
        (silence == Silence::Covered).then_some(binding)
    }

    /// What a tag stood for when upstream last said so, and what becomes of it while upstream says nothing.
    pub(super) fn in_silence(&self, target: &Target, tag: &Tag) -> Option<(Binding, Silence)> {
        let binding = self.recent().binding(self.store(), target, tag)?;
        let decided = self.decision(target, tag, &binding, target.site.silence(), Outlook::default());
        let silence = match decided {
            Decision::Ask { .. } => Silence::TooOld,
            Decision::Gone => Silence::Deleted,
            Decision::Fresh
            | Decision::Stale
            | Decision::StaleMeanwhile
            | Decision::Offline
            | Decision::Kept { .. } => Silence::Covered,
        };
        Some((binding, silence))
    }

    fn decision(
        &self,
        target: &Target,
        tag: &Tag,
        binding: &Binding,
        contact: Contact,
        outlook: Outlook,
    ) -> Decision {
        let policy = target.site.policy().tags.of_tag(&target.repository, tag);
        let denied_lately =
            binding.gone.is_some() && self.absent().recall(&tag_question(target, tag)).is_some();
        let known = Known::of_tag(target, tag, binding, denied_lately);
        decide(&known, &policy, contact, outlook, self.now())
    }

    /// For how long what is fresh now will be.
    fn freshness(&self, target: &Target, tag: &Tag, binding: &Binding) -> Fresh {
        let policy = target.site.policy().tags.of_tag(&target.repository, tag);
        if policy.immutable {
            return Fresh::Always;
        }
        let seed = Known::of_tag(target, tag, binding, false).seed;
        Fresh::For(binding.confirmed, spread(policy.ttl, seed))
    }

    /// Serves what a tag stands for without asking whether it still does, with this outcome if it is here.
    async fn serve_bound(
        &self,
        target: &Target,
        tag: &Tag,
        binding: Binding,
        outcome: Outcome,
        fwd_status: Option<u16>,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        match self.manifest_by_digest(target, &binding.digest).await {
            // The manifest was evicted, and upstream has it no more: the tag must have moved.
            Err(Refusal::SaidNo { .. }) => Box::pin(self.revalidate(target, tag, binding, true)).await,
            Ok(Served { outcome: Outcome::Hit, value, .. }) => Ok(Served { outcome, fwd_status, value }),
            served => served,
        }
    }

    async fn resolve_unknown(&self, target: &Target, tag: &Tag) -> Result<Served<ManifestAnswer>, Refusal> {
        let question = tag_question(target, tag);
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        target.may_ask()?;
        let waiter = self.tag_flights().join(question, |tell| {
            let (mirror, target, tag) = (self.clone(), target.clone(), tag.clone());
            async move {
                match mirror.bound_since(&target, &tag, None) {
                    Some(bound) => tell.answer(Resolution::Confirmed(bound.digest)),
                    None => mirror.learn(&target, &tag, tell).await,
                }
            }
        });
        let outcome = if waiter.started { Outcome::Miss } else { Outcome::Join };
        match waiter.answer().await.unwrap_or_else(lost) {
            Resolution::Bound(manifest) => Ok(Served::new(outcome, manifest)),
            Resolution::Confirmed(digest) => self.manifest_by_digest(target, &digest).await,
            Resolution::Failed(refusal) => Err(refusal),
        }
    }

    /// Asks whether a binding still holds. Where it covers upstream's silence nobody waits for longer than the upstream's
    /// `revalidate_timeout`; the question goes on after that, for those who ask next.
    async fn revalidate(
        &self,
        target: &Target,
        tag: &Tag,
        bound: Binding,
        covered: bool,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        target.may_ask()?;
        let waiter = self.ask_whether_it_moved(target, tag, &bound);
        let patience = if covered { target.site.policy().revalidate_timeout } else { Duration::MAX };
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
            Resolution::Failed(refusal) if covered && refusal.may_be_covered() => {
                self.serve_stale(target, tag, &bound.digest, refusal).await
            }
            Resolution::Failed(refusal) => self.serve_kept(target, tag, refusal).await,
        }
    }

    /// Asks upstream at once what a tag stands for, whatever is believed of it here, and brings what it stands for if that is
    /// news. Who pulls meanwhile is answered as ever.
    ///
    /// # Errors
    /// Upstream has no such tag, or gave no answer; then everything is as it was, but for a tag that it has no more.
    pub async fn refresh(&self, target: &Target, tag: &Tag) -> Result<Refreshed, Refusal> {
        self.absent().forget(&tag_question(target, tag));
        let bound = self.recent().binding(self.store(), target, tag);
        let waiter = match &bound {
            Some(bound) => self.tag_flights().join(tag_question(target, tag), |tell| {
                let (mirror, target, tag, digest) =
                    (self.clone(), target.clone(), tag.clone(), bound.digest.clone());
                async move { mirror.confirm(&target, &tag, &digest, tell).await }
            }),
            None => self.tag_flights().join(tag_question(target, tag), |tell| {
                let (mirror, target, tag) = (self.clone(), target.clone(), tag.clone());
                async move { mirror.learn(&target, &tag, tell).await }
            }),
        };
        let before = bound.map(|bound| bound.digest);
        match waiter.answer().await.unwrap_or_else(lost) {
            Resolution::Confirmed(digest) => Ok(Refreshed { before, digest }),
            Resolution::Bound(manifest) => Ok(Refreshed { before, digest: manifest.digest }),
            Resolution::Failed(refusal) => Err(refusal),
        }
    }

    /// When a tag counts as confirmed that somebody else than upstream speaks of: upstream is asked when it is next wanted, and
    /// how long it is served without upstream's word is counted from now.
    pub fn to_be_asked_next(&self, upstream: &str, repository: &Repository, tag: &Tag) -> SystemTime {
        let ttl = self.site(upstream).map(|site| site.policy().tags.of_tag(repository, tag).ttl);
        let now = self.now();
        now.checked_sub(ttl.unwrap_or_default()).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Forgets of a tag what is only in memory, because an operator has taken it away.
    pub fn let_go(&self, upstream: &str, repository: &Repository, tag: &Tag) {
        if let Some(site) = self.site(upstream) {
            self.recent().release(&Target { site, repository: repository.clone(), by_ns: false }, tag);
        }
    }

    /// One question for all who want to know whether a tag is still what it was.
    fn ask_whether_it_moved(&self, target: &Target, tag: &Tag, bound: &Binding) -> Waiter<Resolution> {
        self.tag_flights().join(tag_question(target, tag), |tell| {
            let (mirror, target, tag, bound) = (self.clone(), target.clone(), tag.clone(), bound.clone());
            async move {
                match mirror.bound_since(&target, &tag, Some(&bound)) {
                    Some(bound) => tell.answer(Resolution::Confirmed(bound.digest)),
                    None => mirror.confirm(&target, &tag, &bound.digest, tell).await,
                }
            }
        })
    }

    /// What a tag was bound to while a question about it was on its way to be asked.
    fn bound_since(&self, target: &Target, tag: &Tag, known: Option<&Binding>) -> Option<Binding> {
        let binding = self.recent().binding(self.store(), target, tag)?;
        let is_news = known != Some(&binding);
        let decided = self.decision(target, tag, &binding, Contact::Open, Outlook::default());
        let is_fresh = decided == Decision::Fresh;
        (is_news && is_fresh).then_some(binding)
    }

    /// Serves a tag that upstream has just said is deleted, if it is kept; passes on any other refusal.
    async fn serve_kept(
        &self,
        target: &Target,
        tag: &Tag,
        refusal: Refusal,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        let kept = self.recent().binding(self.store(), target, tag).filter(|binding| binding.gone.is_some());
        let Some(binding) = kept.filter(|_| refusal.is_absence()) else { return Err(refusal) };
        match self.manifest_by_digest(target, &binding.digest).await {
            Ok(Served { value, .. }) => {
                Ok(Served { outcome: Outcome::Stale, fwd_status: refusal.fwd_status(), value })
            }
            Err(_) => Err(refusal),
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
            Ok(Some(manifest)) if matches!(refusal, Refusal::Offline { .. }) => {
                Ok(Served::new(Outcome::Offline, manifest))
            }
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
                self.absent().forget(&tag_question(target, tag));
                self.store().bind(name, &target.repository, tag, bound, self.now());
                tell.answer(Resolution::Confirmed(digest));
            }
            Ok(Some(digest)) => self.follow(target, tag, &digest, tell).await,
            Ok(None) => self.fetch_by_tag(target, tag, tell).await,
            Err(failure) if is_head_refused(&failure) => self.fetch_by_tag(target, tag, tell).await,
            Err(failure) => self.fail(target, tag, failure.into(), tell),
        }
    }

    /// Asks what a tag is that is not known here. Where pulls are counted it is looked at first, which costs none: what it
    /// names may be here, or be on its way, under another tag.
    async fn learn(&self, target: &Target, tag: &Tag, tell: Tell<Question, Resolution>) {
        let upstream = target.site.upstream();
        if !upstream.outlook(&target.repository).counted {
            return self.fetch_by_tag(target, tag, tell).await;
        }
        match upstream.head_manifest(&target.repository, &Reference::Tag(tag.clone())).await {
            Ok(ManifestHead { digest: Some(digest), content_type, .. })
                if !is_schema1(content_type.as_deref()) =>
            {
                self.follow(target, tag, &digest, tell).await;
            }
            Err(failure) if !is_head_refused(&failure) => self.fail(target, tag, failure.into(), tell),
            _ => self.fetch_by_tag(target, tag, tell).await,
        }
    }

    /// Binds a tag to the digest that upstream has just named for it, once that is here.
    async fn follow(&self, target: &Target, tag: &Tag, digest: &Digest, tell: Tell<Question, Resolution>) {
        // Upstream has just named it for this very repository.
        self.store().add_member(target.site.name(), &target.repository, digest);
        self.absent().forget(&target.question("manifests", digest));
        match self.manifest_by_digest(target, digest).await {
            Ok(Served { value, .. }) => self.take_over(target, tag, value, tell),
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
            Err(failure) => return self.fail(target, tag, failure.into(), tell),
        };
        if is_schema1(Some(fetched.content_type.as_str())) {
            tracing::warn!(
                upstream = name, repository = %target.repository, %tag,
                "upstream has only a schema 1 manifest, which no client of today takes; answered as not found"
            );
            self.note_absence(target, tag);
            return tell.answer(Resolution::Failed(Refusal::SaidNo { status: NOT_FOUND }));
        }
        let manifest = self.remember_manifest(target, digest_of(&fetched), fetched);
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
        self.absent().forget(&tag_question(target, tag));
        self.recent().bind(target, tag, &manifest.digest, self.now());
        tell.answer(Resolution::Bound(manifest.clone()));
        self.store_later(target.clone(), manifest, Some(tag.clone()));
    }

    /// Tells why nothing came, and draws the conclusions.
    fn fail(&self, target: &Target, tag: &Tag, refusal: Refusal, tell: Tell<Question, Resolution>) {
        if refusal.is_absence() {
            self.lose_tag(target, tag);
            self.note_absence(target, tag);
        }
        tell.answer(Resolution::Failed(refusal));
    }

    /// Upstream says that there is no such tag: it is forgotten, or kept for as long as its policy says.
    fn lose_tag(&self, target: &Target, tag: &Tag) {
        let Some(binding) = self.recent().binding(self.store(), target, tag) else { return };
        let (upstream, repository) = (target.site.name(), &target.repository);
        let (policy, now) = (target.site.policy().tags.of_tag(repository, tag), self.now());
        if !is_kept(binding.gone.unwrap_or(now), &policy, now) {
            return self.forget_tag(target, tag);
        }
        if binding.gone.is_none() {
            tracing::warn!(%upstream, %repository, %tag, "upstream has deleted a tag, which is kept for a while");
            self.recent().mark_gone(self.store(), target, tag, now);
        }
    }

    fn forget_tag(&self, target: &Target, tag: &Tag) {
        self.recent().release(target, tag);
        self.store().unbind(target.site.name(), &target.repository, tag);
    }

    /// Remembers for a moment that upstream has no such tag.
    fn note_absence(&self, target: &Target, tag: &Tag) {
        let time = absent_for(tag, target.site.policy().negative_ttl);
        self.absent().remember(tag_question(target, tag), NOT_FOUND, time);
    }
}

/// What upstream last said of a tag that it has deleted.
const NOT_FOUND: u16 = 404;

pub(super) fn tag_question(target: &Target, tag: &Tag) -> Question {
    target.question("tags", tag)
}

/// Whether it is of the old kind, which is named by other bytes than it consists of.
fn is_schema1(media_type: Option<&str>) -> bool {
    media_type.and_then(ManifestKind::of_media_type) == Some(ManifestKind::Schema1)
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
