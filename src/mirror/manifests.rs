//! Manifests by digest: memory, store, then upstream, asked once, verified, kept verbatim.

use tokio::task::spawn_blocking;

use crate::oci::{Digest, Reference, Tag};
use crate::store::Seen;
use crate::telemetry::Outcome;
use crate::upstream::{Cause, Failure, FetchedManifest};

use super::answer::{ManifestAnswer, Refusal, Served};
use super::look::Unread;
use super::membership::Kind;
use super::memory::Kept;
use super::site::{Mirror, Target};

impl Mirror {
    /// A manifest by tag or digest.
    ///
    /// # Errors
    /// Upstream's refusal; its silence, where nothing cached covers it; that it is not asked.
    pub async fn manifest(
        &self,
        target: &Target,
        reference: &Reference,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        let served = match reference {
            Reference::Digest(digest) => self.manifest_by_digest(target, digest).await,
            Reference::Tag(tag) => self.manifest_by_tag(target, tag).await,
        };
        let judged = match served {
            Ok(served) => self.if_whole(target, served).await,
            refused => refused,
        };
        judged.map_err(|refusal| target.told(refusal))
    }

    pub(super) async fn manifest_by_digest(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        if let Some(manifest) = self.stored_manifest(target, digest).await? {
            return Ok(Served::new(Outcome::Hit, manifest));
        }
        Box::pin(self.manifest_from_elsewhere(target, digest)).await
    }

    /// A manifest by digest that memory and index do not have.
    async fn manifest_from_elsewhere(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        let question = target.question("manifests", digest);
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        if self.adopted_manifest(digest).await
            && let Some(manifest) = self.stored_manifest(target, digest).await?
        {
            return Ok(Served::new(Outcome::Hit, manifest));
        }
        target.may_ask()?;
        let waiter = self.manifest_flights().join(question.clone(), |tell| {
            let (mirror, target, digest) = (self.clone(), target.clone(), digest.clone());
            async move {
                // It may have come while this question was on its way to be asked.
                if let Ok(Some(manifest)) = mirror.stored_manifest(&target, &digest).await {
                    return tell.answer(Ok(manifest));
                }
                match mirror.fetch_by_digest(&target, &digest).await {
                    Ok(manifest) => {
                        tell.answer(Ok(manifest.clone()));
                        mirror.store_later(target, manifest, None);
                    }
                    Err(refusal) => tell.answer(Err(refusal)),
                }
            }
        });
        let outcome = if waiter.started { Outcome::Miss } else { Outcome::Join };
        let fetched =
            waiter.answer().await.unwrap_or_else(|lost| Err(Refusal::Internal { reason: lost.to_string() }));
        if let Err(refusal) = &fetched {
            self.note_refusal(target, question, refusal);
        }
        fetched.map(|manifest| Served::new(outcome, manifest))
    }

    /// A manifest that is here and may be served under this repository.
    pub(super) async fn stored_manifest(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<ManifestAnswer>, Refusal> {
        if let Some(Kept { manifest, anonymous }) = self.memory().manifest(digest) {
            self.admit(target, digest, Kind::Manifest, anonymous).await?;
            self.store().touch(digest);
            if !self.store().has_manifest(digest) && self.recent().may_store(digest) {
                // The disk did not take it, or lost it; the next start has no memory.
                self.store_later(target.clone(), manifest.clone(), None);
            }
            return Ok(Some(manifest));
        }
        let Some(anonymous) = self.store().is_manifest_anonymous(digest) else { return Ok(None) };
        self.admit(target, digest, Kind::Manifest, anonymous).await?;
        self.store().touch(digest);
        let (store, wanted) = (self.store().clone(), digest.clone());
        match self.look(target, move || store.manifest(&wanted)).await {
            Ok(Some(stored)) => {
                let manifest = ManifestAnswer {
                    digest: digest.clone(),
                    media_type: stored.media_type.as_str().into(),
                    bytes: stored.bytes,
                };
                self.memory().keep_manifest(Kept { manifest: manifest.clone(), anonymous });
                Ok(Some(manifest))
            }
            Err(Unread::Failed(error)) => {
                tracing::warn!(%digest, %error, "a manifest could not be read; upstream is asked for it");
                Ok(None)
            }
            Ok(None) | Err(Unread::Hangs) => Ok(None),
        }
    }

    async fn adopted_manifest(&self, digest: &Digest) -> bool {
        let (store, digest) = (self.store().clone(), digest.clone());
        matches!(spawn_blocking(move || store.adopt_manifest(&digest)).await, Ok(Ok(true)))
    }

    /// Asks upstream for a manifest by digest and keeps it in memory, if it is what was asked for (T4).
    pub(super) async fn fetch_by_digest(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<ManifestAnswer, Refusal> {
        let reference = Reference::Digest(digest.clone());
        let fetched = target.site.upstream().manifest(&target.repository, &reference).await?;
        let found = Digest::of(digest.algorithm(), &fetched.bytes);
        if found != *digest {
            let upstream = target.site.name();
            tracing::error!(%upstream, repository = %target.repository, %digest, %found, "wrong manifest");
            return Err(Refusal::WrongContent {
                reason: format!(
                    "{upstream} sent manifest {found} when {digest} was asked of {}",
                    target.repository
                ),
            });
        }
        Ok(self.remember_manifest(target, found, fetched))
    }

    /// Takes a verified manifest into memory, as a member of the repository it came through. The disk comes later:
    /// no answer waits for a durable write (G3), and a disk that takes nothing costs no second pull while the manifest
    /// is remembered.
    pub(super) fn remember_manifest(
        &self,
        target: &Target,
        digest: Digest,
        fetched: FetchedManifest,
    ) -> ManifestAnswer {
        let FetchedManifest { bytes, content_type, .. } = fetched;
        // A media type has no parameters here, and clients compare it as text (T2).
        let media_type = content_type.split(';').next().unwrap_or_default().trim().into();
        let manifest = ManifestAnswer { digest, media_type, bytes };
        self.absent().forget(&target.question("manifests", &manifest.digest));
        self.store().add_member(target.site.name(), &target.repository, &manifest.digest);
        let kept = Kept {
            manifest: manifest.clone(),
            anonymous: target.site.upstream().is_anonymous_for(&target.repository),
        };
        self.memory().keep_manifest(kept);
        self.recent().learn(target, &manifest);
        manifest
    }

    /// Puts a manifest into the store while nobody waits for it, but the shutdown: that waits for all tasks. A tag that
    /// was bound to it lately, and still is, is bound in the store from then on.
    pub(super) fn store_later(&self, target: Target, manifest: ManifestAnswer, tag: Option<Tag>) {
        let mirror = self.clone();
        self.recent().is_being_stored(&manifest.digest);
        self.tasks().spawn(async move {
            mirror.put_away(&target, &manifest, tag).await;
        });
    }

    /// Puts a manifest into the store, and after it the tags that wait for it. Whether the store has it.
    pub(super) async fn put_away(
        &self,
        target: &Target,
        manifest: &ManifestAnswer,
        tag: Option<Tag>,
    ) -> bool {
        if !self.store_manifest(target, manifest).await {
            return false;
        }
        let (recent, digest) = (self.recent(), &manifest.digest);
        let waiting = recent.bound_to(target, digest);
        for tag in tag.into_iter().chain(waiting) {
            recent.hand_over(self.store(), target, &tag, digest);
        }
        recent.is_stored(digest);
        true
    }

    /// Puts a manifest into the store. Whether that worked out.
    async fn store_manifest(&self, target: &Target, manifest: &ManifestAnswer) -> bool {
        // The tag is bound by whoever knows when upstream said so.
        let seen = Seen {
            upstream: target.site.name().to_owned(),
            repository: target.repository.clone(),
            tag: None,
        };
        let anonymous = target.site.upstream().is_anonymous_for(&target.repository);
        let (store, kept) = (self.store().clone(), manifest.clone());
        let put = move || store.put_manifest(&kept.digest, &kept.media_type, &kept.bytes, anonymous, &seen);
        match spawn_blocking(put).await {
            Ok(Ok(())) => true,
            Ok(Err(error)) => {
                // That the disk takes nothing is the store's to say, once.
                tracing::debug!(
                    digest = %manifest.digest, %error,
                    "a manifest could not be stored; it is served from memory while it is there"
                );
                false
            }
            Err(error) => {
                tracing::error!(digest = %manifest.digest, %error, "the task that stores a manifest ended early");
                false
            }
        }
    }

    /// Asks upstream whether a repository has a manifest that is here already, once for all who want to know: by a
    /// HEAD, by a GET where HEAD is refused. A yes makes it a member.
    pub(super) async fn ask_manifest_admission(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<(), Refusal> {
        target.may_ask()?;
        let waiter = self.admission_flights().join(target.question("manifests", digest), |tell| {
            let (mirror, target, digest) = (self.clone(), target.clone(), digest.clone());
            async move { tell.answer(mirror.ask_admission(&target, &digest).await) }
        });
        waiter.answer().await.unwrap_or_else(|lost| Err(Refusal::Internal { reason: lost.to_string() }))
    }

    async fn ask_admission(&self, target: &Target, digest: &Digest) -> Result<(), Refusal> {
        let reference = Reference::Digest(digest.clone());
        match target.site.upstream().head_manifest(&target.repository, &reference).await {
            Ok(head) if head.digest.as_ref().is_none_or(|told| told == digest) => {
                self.store().add_member(target.site.name(), &target.repository, digest);
                Ok(())
            }
            Ok(_) => Err(Refusal::WrongContent {
                reason: format!("{} names another digest when asked about {digest}", target.site.name()),
            }),
            Err(failure) if is_head_refused(&failure) => {
                self.fetch_by_digest(target, digest).await.map(|_| ())
            }
            Err(failure) => Err(failure.into()),
        }
    }
}

/// Whether upstream refuses the method rather than the object: registries exist that answer 401, 403 or 405 to every
/// HEAD.
pub(super) fn is_head_refused(failure: &Failure) -> bool {
    match failure {
        Failure::SaidNo(no) => matches!(no.status, 401 | 403),
        Failure::DidNotAnswer(Cause::Status(status)) => matches!(status, 400 | 405 | 501),
        _ => false,
    }
}
