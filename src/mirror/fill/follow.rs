//! A view of a fill for whoever wants the blob to be here, and none of its bytes.
//!
//! It counts as a reader of all of it, so the fill goes on to the end, whatever becomes of its other readers. Where the
//! store does not take the blob there is nothing to wait for: nobody streams past the store for nobody.

use std::sync::Arc;

use super::super::answer::Refusal;
use super::progress::Phase;
use super::table::Fill;
use super::wants::Client;

/// What became of a fill that was followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::mirror) enum Followed {
    /// The blob is here, durably.
    Here,
    /// The store does not take it.
    NotTaken,
    /// It stopped for want of readers a moment before; worth another try.
    Again,
    /// It ended without the blob.
    Failed(Refusal),
}

/// How much of a blob is here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::mirror) struct Reached {
    /// Bytes that are present.
    pub(in crate::mirror) present: u64,
    /// Its size, as far as upstream has told it.
    pub(in crate::mirror) size: Option<u64>,
}

impl Fill {
    /// Follows the fill to its end, and past it until its file is in order.
    pub(in crate::mirror) async fn follow(
        self: &Arc<Self>,
        client: &Arc<Client>,
        mut seen: impl FnMut(Reached) + Send,
    ) -> Followed {
        let mut progress = self.progress.subscribe();
        let mut want = None;
        let end = loop {
            let (reached, prefix, ended) = {
                let now = progress.borrow_and_update();
                let reached = Reached { present: now.present.total(), size: now.size };
                let ended = match &now.phase {
                    Phase::Running => None,
                    Phase::Verified => Some(Followed::Here),
                    Phase::Unstored => Some(Followed::NotTaken),
                    Phase::Paused => Some(Followed::Again),
                    Phase::Failed(refusal) => Some(Followed::Failed(refusal.clone())),
                    // It does not end while somebody follows it.
                    Phase::CutOff(refusal) => return Followed::Failed(refusal.clone()),
                };
                (reached, now.present.run_end(0).unwrap_or(0), ended)
            };
            if let Some(size) = reached.size {
                want.get_or_insert_with(|| client.wants(0, size)).looked_to(prefix);
            }
            seen(reached);
            if let Some(ended) = ended {
                break ended;
            }
            if progress.changed().await.is_err() {
                break Followed::Failed(Refusal::Internal {
                    reason: "the fill ended without a word".to_owned(),
                });
            }
        };
        // Nothing that waits for the fill's end may keep it from ending.
        drop(want);
        self.gone().await;
        end
    }
}
