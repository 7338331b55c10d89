//! One list of images, brought in side by side.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

use crate::oci::{ImageGlob, ImageRef, Images};

use super::super::site::Mirror;
use super::Warming;
use super::ledger::Ledger;
use super::tally::{Lack, Warmed};

/// A list of images on its way in.
pub(super) struct Errand {
    mirror: Mirror,
    warming: Warming,
    ledger: Ledger,
    places: Semaphore,
}

impl Mirror {
    /// Brings images in, and tells what became of each. `ledger` shows how far it is. It ends early, with what has come by
    /// then, when the mirror stops; whoever drops it leaves, as a client does: fills go on.
    pub async fn warm(&self, warming: Warming, ledger: Ledger) -> Vec<Arc<Warmed>> {
        let places = Semaphore::new(warming.at_once.max(1));
        let errand = Errand { mirror: self.clone(), warming, ledger, places };
        let stop = self.stopping().clone();
        if stop.run_until_cancelled(errand.run()).await.is_some() {
            // What is called done has to outlast this process.
            let store = self.store().clone();
            let _ = spawn_blocking(move || store.flush()).await;
        }
        errand.ledger.finished_since(0)
    }
}

impl Errand {
    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    pub(super) fn warming(&self) -> &Warming {
        &self.warming
    }

    pub(super) fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// One of the places of those who ask.
    pub(super) async fn place(&self) -> Option<SemaphorePermit<'_>> {
        // It is never closed.
        self.places.acquire().await.ok()
    }

    async fn run(&self) {
        let at_once = self.warming.at_once.max(1);
        let images: BTreeSet<_> = self
            .warming
            .images
            .iter()
            .filter_map(|images| match images {
                Images::One(image) => Some(image.clone()),
                Images::Matching(_) => None,
            })
            .collect();
        let patterns: Vec<_> = self
            .warming
            .images
            .iter()
            .filter_map(|images| match images {
                Images::One(_) => None,
                Images::Matching(glob) => Some(glob),
            })
            .collect();
        self.ledger.expect((images.len() + patterns.len()) as u64);
        stream::iter(images).for_each_concurrent(at_once, |image| self.one(image)).await;
        stream::iter(patterns).for_each_concurrent(at_once, |glob| self.many(glob)).await;
    }

    async fn one(&self, image: ImageRef) {
        let warmed = self.walk(&image).await;
        self.ledger.finish(warmed);
    }

    async fn many(&self, glob: &ImageGlob) {
        match self.expand(glob).await {
            Err(why) => self.ledger.finish(Warmed::nothing(glob.to_string(), why)),
            Ok(expanded) => {
                // The pattern itself was counted as one.
                self.ledger.expect((expanded.images.len() as u64).saturating_sub(1));
                if let Some(why) = expanded.lack {
                    self.ledger.expect(1);
                    let lacks = vec![Lack { what: "list of tags".to_owned(), why }];
                    let warmed = Warmed { lacks, unanswered: true, ..Warmed::of(glob.to_string()) };
                    self.ledger.finish(warmed.judged());
                }
                let at_once = self.warming.at_once.max(1);
                stream::iter(expanded.images).for_each_concurrent(at_once, |image| self.one(image)).await;
            }
        }
    }
}
