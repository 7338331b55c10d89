//! Pins: what is never evicted, because an operator has said so.
//!
//! **Guarantees.** What a pinned tag or digest stands for now stays, with everything below it and everything that is attached
//! to it, as far as it is here: for all platforms, under every pressure, across restarts, and when the index is lost. A
//! pin is durable when [`Store::pin`] returns. What happens when a pinned tag moves is told in `model::pins`.
//! **Leaves to others** to bring what is missing, and to tell the operator when pins have grown beyond the budget
//! ([`super::super::Stats::pinned_bytes`]): then what is not pinned has no room, and is served without being kept.

use crate::oci::{Reference, Repository};
use crate::store::Store;
use crate::store::error::StoreError;
use crate::store::model::{self, PinRule};
use std::fmt;
use std::time::SystemTime;

/// Something that is pinned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The upstream's name.
    pub upstream: String,
    /// The repository.
    pub repository: Repository,
    /// The tag or digest.
    pub reference: Reference,
    /// Since when it is pinned by name; none of a tag that is pinned by a rule of the configuration alone.
    pub since: Option<SystemTime>,
}

/// Why something could not be pinned.
#[derive(Debug)]
pub enum PinError {
    /// What is pinned would take more than the store may use.
    Outgrows {
        /// The bytes that this pin adds.
        adds: u64,
        /// What is pinned already.
        pinned: u64,
        /// What may be used for it.
        budget: u64,
    },
    /// It could not be written down.
    Store(StoreError),
}

impl Store {
    /// Pins a tag or a digest of a repository, which need not be here yet. Pinning what is pinned already changes nothing.
    /// Blocks, and is durable when it returns; when it fails, nothing has changed.
    pub fn pin(
        &self,
        upstream: &str,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<(), PinError> {
        let core = self.core();
        let budget = core.room_for_pins();
        let pinned = core.change(|model| {
            let repo = model.intern(upstream, repository);
            if model.pins.by_name.contains_key(&(repo, reference.clone())) {
                return Ok(false);
            }
            model.count_pins();
            let before = model.pins.figures.bytes;
            model.pin(repo, reference.clone(), model::now());
            model.count_pins();
            let after = model.pins.figures.bytes;
            if after > budget && after > before {
                model.unpin(repo, reference);
                model.count_pins();
                return Err(PinError::Outgrows { adds: after - before, pinned: before, budget });
            }
            Ok(true)
        })?;
        if pinned && !core.flush() {
            self.unpin(upstream, repository, reference);
            return Err(PinError::Store(StoreError::io("note what is pinned")(
                std::io::ErrorKind::Other.into(),
            )));
        }
        Ok(())
    }

    /// The opposite, by the same name; false when it was not pinned by that. Blocks, and is durable when it returns and the
    /// index can be written.
    pub fn unpin(&self, upstream: &str, repository: &Repository, reference: &Reference) -> bool {
        let core = self.core();
        let was = core.change(|model| {
            let Some(repo) = model.names.find(upstream, repository) else { return false };
            let was = model.unpin(repo, reference);
            model.count_pins();
            was
        });
        if was {
            core.flush();
        }
        was
    }

    /// Pins by these rules from now on, and by no others.
    pub fn pin_by(&self, rules: Vec<PinRule>) {
        self.core().change(|model| {
            model.pin_by(rules);
            model.count_pins();
        });
    }

    /// What is pinned by name, and the tags that are pinned by a rule, in order.
    pub fn pins(&self) -> Vec<Pin> {
        let state = self.core().state();
        let (names, pins) = (&state.model.names, &state.model.pins);
        let pin = |repo, reference, since: Option<model::Millis>| {
            let (upstream, repository) = names.get(repo)?;
            let (upstream, repository) = (upstream.to_string(), repository.clone());
            Some(Pin { upstream, repository, reference, since: since.map(model::time) })
        };
        let by_name =
            pins.by_name.iter().filter_map(|((repo, name), since)| pin(*repo, name.clone(), Some(*since)));
        let by_rule =
            pins.by_rule_alone().filter_map(|(repo, tag)| pin(repo, Reference::Tag(tag.clone()), None));
        let mut all: Vec<Pin> = by_name.chain(by_rule).collect();
        drop(state);
        all.sort_by_cached_key(|pin| {
            (pin.upstream.clone(), pin.repository.clone(), pin.reference.to_string())
        });
        all
    }

    /// The tags that rules pin by their full names and that stand for nothing here, in order; but for those that are pinned
    /// by name as well, which [`Store::pins`] lists.
    pub fn wanting_pins(&self) -> Vec<Pin> {
        let state = self.core().state();
        let (model, mut wanting) = (&state.model, Vec::new());
        for (upstream, repository, tag) in model.pins.spelled_out() {
            let is_known = model.names.find(&upstream, &repository).is_some_and(|repo| {
                model.pins.is_pinned(repo, &tag) || model.binding(&upstream, &repository, &tag).is_some()
            });
            if !is_known {
                wanting.push(Pin { upstream, repository, reference: Reference::Tag(tag), since: None });
            }
        }
        wanting
    }

    /// Whether a reference is pinned, by name or, a tag, by a rule.
    pub fn is_pinned(&self, upstream: &str, repository: &Repository, reference: &Reference) -> bool {
        let state = self.core().state();
        let Some(repo) = state.model.names.find(upstream, repository) else { return false };
        match reference {
            Reference::Tag(tag) => state.model.pins.is_pinned(repo, tag),
            Reference::Digest(_) => state.model.pins.by_name.contains_key(&(repo, reference.clone())),
        }
    }
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Outgrows { adds, pinned, budget } => write!(
                f,
                "this would pin {adds} bytes more, beside {pinned} that are pinned already, and {budget} is the most that \
                 the store may use for them"
            ),
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for PinError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Outgrows { .. } => None,
            Self::Store(error) => Some(error),
        }
    }
}
