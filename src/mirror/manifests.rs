//! Manifests by digest: memory, store, then upstream, asked once, verified, kept verbatim.

use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::oci::{Digest, Reference, Tag};
use crate::store::Seen;
use crate::telemetry::Outcome;
use crate::upstream::{FetchedManifest, ManifestHead};

use super::answer::{ManifestAnswer, Refusal, Served};
use super::membership::Kind;
use super::site::{Mirror, Target};

/// How long an answer waits for its manifest to be stored. What follows a manifest is asked for by what it names, so it is
/// worth a moment; but no answer waits for a disk that hangs (G3).
const KEPT_WITHIN: Duration = Duration::from_secs(1);

impl Mirror {
    /// A manifest by tag or digest.
    ///
    /// # Errors
    /// Upstream's refusal; its silence, where nothing cached covers it.
    pub async fn manifest(
        &self,
        target: &Target,
        reference: &Reference,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        match reference {
            Reference::Digest(digest) => self.manifest_by_digest(target, digest).await,
            Reference::Tag(tag) => self.manifest_by_tag(target, tag).await,
        }
    }

    pub(super) async fn manifest_by_digest(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Served<ManifestAnswer>, Refusal> {
        if let Some(manifest) = self.stored_manifest(target, digest).await? {
            return Ok(Served::new(Outcome::Hit, manifest));
        }
        let question = target.question("manifests", digest);
        if let Some(status) = self.absent().recall(&question) {
            return Err(Refusal::SaidNo { status });
        }
        if self.adopted_manifest(digest).await
            && let Some(manifest) = self.stored_manifest(target, digest).await?
        {
            return Ok(Served::new(Outcome::Hit, manifest));
        }
        let waiter = self.manifest_flights().join(question.clone(), || {
            let (mirror, target, digest) = (self.clone(), target.clone(), digest.clone());
            async move { mirror.fetch_by_digest(&target, &digest).await }
        });
        let outcome = if waiter.started { Outcome::Miss } else { Outcome::Join };
        let fetched =
            waiter.answer().await.unwrap_or_else(|lost| Err(Refusal::Internal { reason: lost.to_string() }));
        if let Err(Refusal::SaidNo { status }) = &fetched {
            self.absent().remember(question, *status, target.site.policy().negative_ttl);
        }
        fetched.map(|manifest| Served::new(outcome, manifest))
    }

    /// A manifest that is here and may be served under this repository.
    pub(super) async fn stored_manifest(
        &self,
        target: &Target,
        digest: &Digest,
    ) -> Result<Option<ManifestAnswer>, Refusal> {
        let Some(anonymous) = self.store().is_manifest_anonymous(digest) else { return Ok(None) };
        self.admit(target, digest, Kind::Manifest, anonymous).await?;
        self.store().touch(digest);
        if let Some(manifest) = self.memory().get(digest) {
            return Ok(Some(manifest));
        }
        let (store, wanted) = (self.store().clone(), digest.clone());
        match spawn_blocking(move || store.manifest(&wanted)).await {
            Ok(Ok(Some(stored))) => {
                let manifest = ManifestAnswer {
                    digest: digest.clone(),
                    media_type: stored.media_type.as_str().into(),
                    bytes: stored.bytes,
                };
                self.memory().insert(digest.clone(), manifest.clone());
                Ok(Some(manifest))
            }
            Ok(Ok(None)) => Ok(None),
            Ok(Err(error)) => {
                tracing::warn!(%digest, %error, "a manifest could not be read; upstream is asked for it");
                Ok(None)
            }
            Err(_) => Ok(None),
        }
    }

    async fn adopted_manifest(&self, digest: &Digest) -> bool {
        let (store, digest) = (self.store().clone(), digest.clone());
        matches!(spawn_blocking(move || store.adopt_manifest(&digest)).await, Ok(Ok(true)))
    }

    /// Asks upstream for a manifest by digest and keeps it, if it is what was asked for (T4).
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
        Ok(self.keep_manifest(target, found, fetched, None).await)
    }

    /// Keeps a verified manifest in memory and store. A store that cannot take it costs only the next fetch.
    pub(super) async fn keep_manifest(
        &self,
        target: &Target,
        digest: Digest,
        fetched: FetchedManifest,
        tag: Option<&Tag>,
    ) -> ManifestAnswer {
        let FetchedManifest { bytes, content_type, .. } = fetched;
        // A media type has no parameters here, and clients compare it as text (T2).
        let media_type = content_type.split(';').next().unwrap_or_default().trim().into();
        let manifest = ManifestAnswer { digest, media_type, bytes };
        let seen = Seen {
            upstream: target.site.name().to_owned(),
            repository: target.repository.clone(),
            tag: tag.cloned(),
        };
        let anonymous = target.site.upstream().anonymous();
        self.absent().forget(&target.question("manifests", &manifest.digest));
        let (store, kept) = (self.store().clone(), manifest.clone());
        let put = move || store.put_manifest(&kept.digest, &kept.media_type, &kept.bytes, anonymous, &seen);
        match timeout(KEPT_WITHIN, spawn_blocking(put)).await {
            Ok(Ok(Ok(()))) => self.memory().insert(manifest.digest.clone(), manifest.clone()),
            Ok(Ok(Err(error))) => {
                tracing::warn!(digest = %manifest.digest, %error, "a manifest could not be stored; it is served all the same");
            }
            Ok(Err(error)) => {
                tracing::error!(digest = %manifest.digest, %error, "the task that stores a manifest ended")
            }
            Err(_) => {
                tracing::warn!(digest = %manifest.digest, "the disk is slow; a manifest is served while it is still being stored");
            }
        }
        manifest
    }

    /// Asks upstream whether a repository has a manifest; a yes to a digest makes it a member.
    pub(super) async fn ask_manifest_head(
        &self,
        target: &Target,
        reference: &Reference,
    ) -> Result<ManifestHead, Refusal> {
        let head = target.site.upstream().head_manifest(&target.repository, reference).await?;
        if let Reference::Digest(digest) = reference {
            self.store().add_member(target.site.name(), &target.repository, digest);
        }
        Ok(head)
    }
}
