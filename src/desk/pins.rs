//! `pin`, `unpin`: what is never evicted.

use super::Office;
use super::images::Found;
use super::select::Selection;
use crate::api::{self, PinnedBy, Pins, Problem, ProblemCode};
use crate::oci::{Reference, Repository};
use crate::store::{Pin, PinError};

/// What is meant, by name.
type Named = (String, Repository, Reference);

impl Office {
    pub(super) fn tell_pins(&self) -> Pins {
        self.with_figures(self.store.pins().iter().map(described).collect())
    }

    pub(super) fn pin_all(&self, words: &str) -> Result<Pins, Problem> {
        let mut done = Vec::new();
        for (upstream, repository, reference) in self.named(words)? {
            self.store
                .pin(&upstream, &repository, &reference)
                .map_err(|error| problem(&error, done.len()))?;
            done.push((upstream, repository, reference));
        }
        let pins = self.store.pins();
        let is_done = |pin: &&Pin| {
            let same = |(upstream, repository, reference): &Named| {
                pin.upstream == *upstream && pin.repository == *repository && pin.reference == *reference
            };
            done.iter().any(same)
        };
        Ok(self.with_figures(pins.iter().filter(is_done).map(described).collect()))
    }

    pub(super) fn unpin_all(&self, words: &str) -> Result<Pins, Problem> {
        let before = self.store.pins();
        let selection = self.selection(Some(words))?;
        let is_one = matches!(selection, Selection::One { .. });
        let named = if is_one { self.named(words)? } else { Vec::new() };
        let is_meant = |pin: &Pin| match (is_one, &pin.reference) {
            (true, _) => {
                named.contains(&(pin.upstream.clone(), pin.repository.clone(), pin.reference.clone()))
            }
            (false, Reference::Tag(tag)) => {
                // What is pinned need not be here.
                let bound = self.store.binding(&pin.upstream, &pin.repository, tag);
                let digest = bound.as_ref().map(|bound| &bound.digest);
                selection.may_be_in(&pin.upstream, &pin.repository)
                    && selection.means_tag(&pin.repository, tag, digest)
            }
            (false, Reference::Digest(digest)) => {
                selection.may_be_in(&pin.upstream, &pin.repository) && selection.means_untagged(digest)
            }
        };
        let (mut gone, mut by_rule) = (Vec::new(), None);
        for pin in before.iter().filter(|pin| is_meant(pin)) {
            if self.store.unpin(&pin.upstream, &pin.repository, &pin.reference) {
                gone.push(described(pin));
            } else {
                by_rule = Some(described(pin).reference);
            }
        }
        match (gone.is_empty(), by_rule) {
            (false, _) => Ok(self.with_figures(gone)),
            (true, Some(reference)) => Err(Problem::new(
                ProblemCode::Conflict,
                format!("{reference} is pinned by a rule of the configuration"),
            )
            .hint("change the rule")),
            (true, None) => Err(Problem::not_found(format!("nothing is pinned that {words:?} means"))
                .hint("pin without an image lists what is")),
        }
    }

    /// A name as it is, also of what is not here; of a pattern what is known.
    fn named(&self, words: &str) -> Result<Vec<Named>, Problem> {
        let selection = self.selection(Some(words))?;
        if let Selection::One { upstream, repository, .. } = selection {
            let reference = self.image(words)?.reference();
            return Ok(vec![(upstream, repository, reference)]);
        }
        if selection == Selection::All {
            return Err(Problem::bad_request("name what is meant, as in nginx:1.27"));
        }
        let named = |found: Found| {
            let reference = match found.tagged {
                Some(tagged) => Reference::Tag(tagged.tag),
                None => Reference::Digest(found.digest),
            };
            (found.upstream, found.repository, reference)
        };
        let found: Vec<_> = self.find(&selection).into_iter().map(named).collect();
        if found.is_empty() {
            return Err(
                Problem::not_found(format!("nothing is here that {words:?} means")).hint("ls lists what is")
            );
        }
        Ok(found)
    }

    fn with_figures(&self, pins: Vec<api::Pin>) -> Pins {
        let stats = self.store.stats();
        Pins { pins, pinned_bytes: stats.pinned_bytes, max_bytes: stats.max_bytes }
    }
}

fn described(pin: &Pin) -> api::Pin {
    let Pin { upstream, repository, reference, since } = pin;
    let reference = match reference {
        Reference::Tag(tag) => format!("{upstream}/{repository}:{tag}"),
        Reference::Digest(digest) => format!("{upstream}/{repository}@{digest}"),
    };
    api::Pin {
        reference,
        upstream: upstream.clone(),
        repository: repository.to_string(),
        by: if since.is_some() { PinnedBy::Name } else { PinnedBy::Rule },
        since: since.map(Into::into),
    }
}

fn problem(error: &PinError, done: usize) -> Problem {
    let before = if done > 0 { format!("after {done} others: ") } else { String::new() };
    match error {
        PinError::Outgrows { .. } => Problem::new(ProblemCode::Conflict, format!("{before}{error}"))
            .hint("raise store.max_bytes, or unpin something"),
        PinError::Store(_) => Problem::new(ProblemCode::Internal, format!("{before}{error}")),
    }
}
