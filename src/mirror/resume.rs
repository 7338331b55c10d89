//! Going on, at the start of the mirror, with the blobs that its end has interrupted.
//!
//! Where nobody does, the next request does it: what is on the disk stays. Here the rest is fetched before anybody asks,
//! through the sources that upstream had said yes for, a few blobs at a time and the last interrupted one first. Only what
//! would have been fetched to its end without readers is.

use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::task::spawn_blocking;

use crate::oci::{Digest, Repository};
use crate::upstream::Whereabouts;

use super::answer::Wanted;
use super::fill::{Begin, Place, Right, Source};
use super::mode::Contact;
use super::policy::{Extent, FillPolicy, Resume, Unread};
use super::site::{Mirror, Site};

/// How many blobs are gone on with at a time: who asks meanwhile should find connections.
const AT_A_TIME: usize = 4;

impl Mirror {
    /// Goes on, in the background, with the unfinished blobs whose upstreams' policy says so and that can be asked.
    pub fn resume(&self) {
        let (mirror, stop) = (self.clone(), self.stopping().clone());
        self.tasks().spawn(async move {
            tokio::select! {
                () = mirror.resume_all() => {}
                () = stop.cancelled() => {}
            }
        });
    }

    async fn resume_all(&self) {
        let store = self.store().clone();
        let unfinished = spawn_blocking(move || store.unfinished()).await.unwrap_or_default();
        stream::iter(unfinished).for_each_concurrent(AT_A_TIME, |digest| self.resume_one(digest)).await;
    }

    async fn resume_one(&self, digest: Digest) {
        let (store, wanted) = (self.store().clone(), digest.clone());
        let Ok(Some(recorded)) = spawn_blocking(move || store.recorded(&wanted)).await else { return };
        let source = |(upstream, repository): (String, Repository)| {
            let can_be_asked = |site: &Arc<Site>| site.contact() == Contact::Open;
            let site =
                self.site(&upstream).filter(|site| goes_on(site.policy().fill)).filter(can_be_asked)?;
            Some(Source { site, repository, whereabouts: Whereabouts::default() })
        };
        let mut sources = recorded.sources.into_iter().filter_map(source);
        let Some(source) = sources.next() else { return };
        let elsewhere = self.elsewhere(&source, &digest);
        let begin = Begin { source, right: Right::Confirmed, elsewhere, opening: Wanted::Whole };
        let fill = match self.fills().start(&digest, begin) {
            Place::Started(fill) => fill,
            // Somebody was faster, or there is no room; it goes on when it is asked for.
            Place::Joined(_) | Place::Stored | Place::Full => return,
        };
        tracing::info!(%digest, size = recorded.size, present = recorded.present.total(), "goes on with an unfinished blob");
        for other in sources {
            fill.add_source(other, Right::Confirmed);
        }
        fill.gone().await;
    }
}

/// Whether an unfinished blob is gone on with before anybody asks.
fn goes_on(policy: FillPolicy) -> bool {
    policy.resume == Resume::Start && policy.extent == Extent::Whole && policy.unread == Unread::Finish
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_would_be_finished_unread_goes_on_unasked() {
        for (resume, extent, unread, expected) in [
            (Resume::Start, Extent::Whole, Unread::Finish, true),
            (Resume::Request, Extent::Whole, Unread::Finish, false),
            (Resume::Start, Extent::Asked, Unread::Finish, false),
            (Resume::Start, Extent::Whole, Unread::Pause, false),
        ] {
            let policy = FillPolicy { resume, extent, unread, ..FillPolicy::default() };
            assert_eq!(goes_on(policy), expected, "{policy:?}");
        }
    }
}
