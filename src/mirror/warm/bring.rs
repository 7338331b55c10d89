//! One object is brought in: asked of the mirror as a client asks, and seen into the store.

use std::sync::Arc;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::oci::{Descriptor, Digest, Reference, Referrer, Tag, parse_referrers};
use crate::telemetry::Outcome;

use super::super::answer::{ManifestAnswer, Refusal, Served, Wanted};
use super::super::fill::{Followed, Origin};
use super::super::site::Target;
use super::errand::Errand;
use super::patience::{Patience, why};

/// How often a fill that stopped a moment before is looked for again.
const ROUNDS: usize = 5;

/// Why the store has nothing although upstream sent it.
const NOT_TAKEN: &str = "the store does not take it: there is no room for it, or its disk takes nothing";

/// An object that is here.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) bytes: u64,
    /// The bytes that came for it, if any did.
    pub(super) fetched: Option<u64>,
}

/// A manifest that is here.
#[derive(Debug)]
pub(super) struct Brought {
    pub(super) manifest: ManifestAnswer,
    pub(super) fetched: bool,
    /// Whether upstream did not confirm that the tag is still this.
    pub(super) unconfirmed: bool,
}

/// What is attached to a manifest, by upstream's word.
#[derive(Debug)]
pub(super) struct Attached {
    pub(super) referrers: Vec<Referrer>,
    /// Whether there may be others.
    pub(super) partial: bool,
}

impl Errand {
    /// A manifest, and its tag, are in the store when this ends well.
    pub(super) async fn manifest(&self, target: &Target, reference: &Reference) -> Result<Brought, Refusal> {
        let served = self.ask(target, || self.mirror().manifest(target, reference)).await?;
        let Served { outcome, value: manifest, .. } = served;
        if !self.is_stored(&manifest.digest).await && !self.mirror().put_away(target, &manifest, None).await {
            return Err(Refusal::Internal { reason: NOT_TAKEN.to_owned() });
        }
        if let Reference::Tag(tag) = reference {
            self.mirror().recent().hand_over(self.mirror().store(), target, tag, &manifest.digest);
        }
        Ok(Brought {
            manifest,
            fetched: matches!(outcome, Outcome::Miss | Outcome::Join),
            unconfirmed: matches!(outcome, Outcome::Stale | Outcome::Offline),
        })
    }

    /// What is under a tag that need not be there.
    pub(super) async fn optional(&self, target: &Target, tag: &Tag) -> Result<Option<Brought>, Refusal> {
        match self.manifest(target, &Reference::Tag(tag.clone())).await {
            Ok(brought) => Ok(Some(brought)),
            Err(Refusal::SaidNo { status: 404 | 410 }) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// What upstream, or what covers it, says is attached to a manifest.
    pub(super) async fn referrers(&self, target: &Target, subject: &Digest) -> Result<Attached, Refusal> {
        let served = self.ask(target, || self.mirror().referrers(target, subject, None)).await?;
        let referrers = parse_referrers(&served.value.index)
            .map_err(|_| Refusal::Internal { reason: "the list of referrers cannot be read".to_owned() })?;
        Ok(Attached { referrers, partial: served.value.partial })
    }

    /// A blob is in the store, and may be served under this repository, when this ends well.
    pub(super) async fn blob(
        &self,
        target: &Target,
        named: &Descriptor,
        image: &Arc<str>,
    ) -> Result<Here, Refusal> {
        let digest = &named.digest;
        self.ledger().need(digest, named.size, image);
        let here = self.ask(target, || self.blob_once(target, digest)).await;
        let fetched = self.ledger().over(digest);
        here.map(|here| Here { fetched: here.fetched.map(|_| fetched), ..here })
    }

    async fn blob_once(&self, target: &Target, digest: &Digest) -> Result<Here, Refusal> {
        for _ in 0..ROUNDS {
            // The file is looked at, not only what memory knows: it may have been taken away by hand.
            let (store, wanted) = (self.mirror().store().clone(), digest.clone());
            let opened = spawn_blocking(move || store.open_blob(&wanted).ok().flatten()).await;
            if let Ok(Some(file)) = opened {
                self.mirror().blob_head(target, digest).await?;
                self.ledger().was_here(digest, file.size());
                return Ok(Here { bytes: file.size(), fetched: None });
            }
            let answer = self.mirror().blob(target, digest, Wanted::Whole).await?.value;
            let Origin::Filling { fill, client } = answer.origin() else {
                if matches!(answer.origin(), Origin::Upstream) {
                    return Err(Refusal::Internal { reason: NOT_TAKEN.to_owned() });
                }
                // It came in this moment.
                continue;
            };
            match fill.follow(client, |reached| self.ledger().reached(digest, reached)).await {
                Followed::Here => {
                    // A fill is out of the table when the store has its blob, or has refused it at the last moment.
                    let info = self.mirror().store().blob(digest);
                    let info = info.ok_or_else(|| Refusal::Internal { reason: NOT_TAKEN.to_owned() })?;
                    return Ok(Here { bytes: info.size, fetched: Some(0) });
                }
                Followed::NotTaken => return Err(Refusal::Internal { reason: NOT_TAKEN.to_owned() }),
                Followed::Again => {}
                Followed::Failed(refusal) => return Err(refusal),
            }
        }
        Err(Refusal::Internal { reason: format!("{digest} came and went while it was asked for") })
    }

    /// Asks until there is an answer, or patience is over. One of the errand's places is taken while something is asked,
    /// and none while it is waited.
    pub(super) async fn ask<T, F>(&self, target: &Target, question: impl Fn() -> F) -> Result<T, Refusal>
    where
        F: Future<Output = Result<T, Refusal>>,
    {
        let mut patience = Patience::default();
        loop {
            let refusal = {
                let _place = self.place().await;
                match question().await {
                    Ok(answer) => return Ok(answer),
                    Err(refusal) => refusal,
                }
            };
            let Some(pause) = patience.after(&refusal, self.warming().patience) else { return Err(refusal) };
            let upstream = target.site.name();
            tracing::debug!(upstream, repository = %target.repository, ?refusal, ?pause, "warming waits");
            let told = match &refusal {
                Refusal::Limited { .. } => format!("limited, asked again in {} s", pause.as_secs()),
                other => format!("{}, asked again in {} s", why(other), pause.as_secs()),
            };
            let _waiting = self.ledger().wait(upstream, told);
            sleep(pause).await;
        }
    }

    /// Whether the store has a manifest, by its file. The mirror's memory would hide that it is gone.
    async fn is_stored(&self, digest: &Digest) -> bool {
        let (store, wanted) = (self.mirror().store().clone(), digest.clone());
        matches!(spawn_blocking(move || store.manifest(&wanted)).await, Ok(Ok(Some(_))))
    }
}
