//! What is pinned: by name, or because its tag matches a rule of the configuration.
//!
//! A pin keeps the closure of what it stands for: everything below it and everything that is attached to it. When a
//! pinned tag moves, the manifest that it stood for is *held* beside the new one, with its closure, until the new one can
//! take its place: for every platform that the old one was whole for, the new one is whole, or does not offer it and is
//! whole for another. Of several moves in between, the one that was last whole is held.
//!
//! A tag that upstream has deleted stays held when it is pinned by name. That it matches a rule ends with it.

use super::partials::space_of;
use super::{BlobEntry, Manifest, Millis, Model, RepoId, Role};
use crate::oci::{Digest, Pattern, Reference, Repository, Tag};
use crate::store::catalogue::{Rack, Wanted, attached_tags, closure};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Which tags of an upstream are pinned, or are not; of those that match a tag, the first decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinRule {
    /// The upstream's name.
    pub upstream: String,
    /// The repositories that it is for; empty: all of them.
    pub repositories: Vec<Pattern>,
    /// The tags that it is for; empty: all of them. What is attached to an image is pinned with that, and by itself only
    /// where a pattern is written for it.
    pub tags: Vec<Pattern>,
    /// Whether they are pinned.
    pub pinned: bool,
}

/// What is pinned. `held` is what pinned tags stood for before.
#[derive(Debug, Default)]
pub(in crate::store) struct Pins {
    pub(in crate::store) by_name: HashMap<(RepoId, Reference), Millis>,
    pub(in crate::store) held: HashMap<(RepoId, Tag), Digest>,
    rules: Vec<PinRule>,
    by_rule: HashSet<(RepoId, Tag)>,
    /// What was written down of them could not be read at the start.
    pub(in crate::store) lost: bool,
    /// As last counted.
    pub(in crate::store) figures: PinFigures,
}

/// What pins amount to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct PinFigures {
    /// Pinned tags and digests.
    pub(in crate::store) pins: u64,
    /// What they take, were all of it here that is known of.
    pub(in crate::store) bytes: u64,
}

impl PinRule {
    fn is_for(&self, upstream: &str, repository: &Repository, tag: &Tag) -> bool {
        let names = |patterns: &[Pattern], name: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(name))
        };
        let attached = |pattern: &Pattern| pattern.is_for_attached() && pattern.matches(tag.as_str());
        self.upstream == upstream
            && names(&self.repositories, repository.as_str())
            && names(&self.tags, tag.as_str())
            && (!tag.is_attached() || self.tags.iter().any(attached))
    }
}

impl Pins {
    fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.by_rule.is_empty()
    }

    /// Whether a tag is pinned, by name or by a rule.
    pub(in crate::store) fn is_pinned(&self, repo: RepoId, tag: &Tag) -> bool {
        if self.is_empty() {
            return false;
        }
        self.by_rule.contains(&(repo, tag.clone()))
            || self.by_name.contains_key(&(repo, Reference::Tag(tag.clone())))
    }

    fn matches(&self, upstream: &str, repository: &Repository, tag: &Tag) -> bool {
        let first = self.rules.iter().find(|rule| rule.is_for(upstream, repository, tag));
        first.is_some_and(|rule| rule.pinned)
    }

    /// The tags that rules pin by their full names, whether there is anything of them or not.
    pub(in crate::store) fn spelled_out(&self) -> BTreeSet<(String, Repository, Tag)> {
        let mut all = BTreeSet::new();
        for rule in self.rules.iter().filter(|rule| rule.pinned) {
            // A name with nothing in it that stands for something else matches itself alone.
            let repositories = rule.repositories.iter().filter_map(|pattern| pattern.as_str().parse().ok());
            for repository in repositories {
                let tags = rule.tags.iter().filter_map(|pattern| pattern.as_str().parse().ok());
                let named = tags.map(|tag: Tag| (rule.upstream.clone(), Repository::clone(&repository), tag));
                all.extend(
                    named.filter(|(upstream, repository, tag)| self.matches(upstream, repository, tag)),
                );
            }
        }
        all
    }

    /// The tags that are pinned by a rule and not by name.
    pub(in crate::store) fn by_rule_alone(&self) -> impl Iterator<Item = (RepoId, &Tag)> {
        let alone =
            |(repo, tag): &&(RepoId, Tag)| !self.by_name.contains_key(&(*repo, Reference::Tag(tag.clone())));
        self.by_rule.iter().filter(alone).map(|(repo, tag)| (*repo, tag))
    }
}

impl Model {
    /// Takes other rules into use.
    pub(in crate::store) fn pin_by(&mut self, rules: Vec<PinRule>) {
        self.pins.rules = rules;
        self.pins.by_rule.clear();
        if !self.pins.rules.is_empty() {
            let tags = self.bindings.iter().flat_map(|(repo, tags)| tags.keys().map(move |tag| (*repo, tag)));
            let matching = tags.filter(|(repo, tag)| {
                let name = self.names.get(*repo);
                name.is_some_and(|(upstream, repository)| self.pins.matches(upstream, repository, tag))
            });
            let matching: HashSet<_> = matching.map(|(repo, tag)| (repo, tag.clone())).collect();
            self.pins.by_rule = matching;
        }
        self.drop_idle_holds();
    }

    /// Pins what is named, from that time on; whether it was not.
    pub(in crate::store) fn pin(&mut self, repo: RepoId, reference: Reference, since: Millis) -> bool {
        let new = self.pins.by_name.insert((repo, reference), since).is_none();
        self.dirty.pins = true;
        new
    }

    /// The opposite; whether it was.
    pub(in crate::store) fn unpin(&mut self, repo: RepoId, reference: &Reference) -> bool {
        let was = self.pins.by_name.remove(&(repo, reference.clone())).is_some();
        self.dirty.pins |= was;
        self.drop_idle_holds();
        was
    }

    fn drop_idle_holds(&mut self) {
        let mut held = std::mem::take(&mut self.pins.held);
        let before = held.len();
        held.retain(|(repo, tag), _| self.pins.is_pinned(*repo, tag));
        self.dirty.pins |= held.len() < before;
        self.pins.held = held;
    }

    /// A tag is there that was not.
    pub(super) fn note_new_tag(&mut self, repo: RepoId, tag: &Tag) {
        if self.pins.rules.is_empty() {
            return;
        }
        let Some((upstream, repository)) = self.names.get(repo) else { return };
        if self.pins.matches(upstream, repository, tag) {
            self.pins.by_rule.insert((repo, tag.clone()));
        }
    }

    /// A tag no longer stands for a manifest. `deleted`: nor for another.
    pub(super) fn note_moved_tag(&mut self, repo: RepoId, tag: &Tag, former: &Digest, deleted: bool) {
        if !self.pins.is_pinned(repo, tag) {
            return;
        }
        let key = (repo, tag.clone());
        let last = self.pins.held.get(&key);
        if last.is_none_or(|last| self.is_followed(repo, last, former)) {
            self.pins.held.insert(key.clone(), former.clone());
            self.dirty.pins = true;
        }
        if deleted && self.pins.by_rule.remove(&key) {
            self.drop_idle_holds();
        }
    }

    /// Whether one manifest may take the place of another that a pinned tag stood for.
    fn is_followed(&self, repo: RepoId, old: &Digest, new: &Digest) -> bool {
        let had: Vec<String> = self
            .whole_parts(repo, old)
            .into_iter()
            .filter(|(_, whole)| *whole)
            .map(|(part, _)| part)
            .collect();
        if had.is_empty() {
            return true;
        }
        let has = self.whole_parts(repo, new);
        let any = has.values().any(|whole| *whole);
        had.iter().all(|part| has.get(part).copied().unwrap_or(any))
    }

    /// The platforms of an image, and whether it is whole for each; of one that is for none in particular, whether it is
    /// whole.
    fn whole_parts(&self, repo: RepoId, root: &Digest) -> BTreeMap<String, bool> {
        let rack = Rack::new(self, repo);
        let bare = Wanted { referrers: false, ..Wanted::ALL };
        let is_whole = |digest: &Digest| closure(&rack, digest, &bare).is_whole();
        let mut parts = BTreeMap::new();
        for child in self.manifest(root).into_iter().flat_map(Manifest::children) {
            let whole = is_whole(child.digest);
            parts
                .entry(child.platform.unwrap_or_default().to_owned())
                .and_modify(|all| *all &= whole)
                .or_insert(whole);
        }
        if parts.is_empty() {
            parts.insert(String::new(), is_whole(root));
        }
        parts
    }

    /// Lets go what pinned tags stood for before, where what they stand for now can take its place.
    pub(in crate::store) fn settle_pins(&mut self) {
        let bound = |(repo, tag): &(RepoId, Tag)| {
            self.bindings.get(repo).and_then(|tags| tags.get(tag)).map(|bound| &bound.digest)
        };
        let followed = |(key, old): &(&(RepoId, Tag), &Digest)| {
            bound(key).is_some_and(|new| new == *old || self.is_followed(key.0, old, new))
        };
        let done: Vec<_> = self.pins.held.iter().filter(followed).map(|(key, _)| key.clone()).collect();
        for key in done {
            self.pins.held.remove(&key);
            self.dirty.pins = true;
        }
    }

    /// Everything that pins keep, with the size that is told of each.
    pub(in crate::store) fn pinned(&self) -> HashMap<Digest, u64> {
        let mut reach = Reach { model: self, seen: HashSet::new(), found: HashMap::new() };
        for (repo, reference) in self.pins.by_name.keys() {
            match reference {
                Reference::Digest(digest) => reach.visit(*repo, digest),
                Reference::Tag(tag) => reach.visit_tag(*repo, tag),
            }
        }
        for (repo, tag) in &self.pins.by_rule {
            reach.visit_tag(*repo, tag);
        }
        reach.found.into_iter().map(|(digest, size)| (digest.clone(), size)).collect()
    }

    /// What an object takes, or would.
    pub(in crate::store) fn space_for(&self, digest: &Digest, told: u64) -> u64 {
        let blob = self.blob(digest).as_ref().map(BlobEntry::space);
        let manifest = self.manifest(digest).map(Manifest::space);
        match (blob, manifest) {
            (None, None) => space_of(told),
            (blob, manifest) => blob.unwrap_or(0) + manifest.unwrap_or(0),
        }
    }

    /// Counts what pins amount to.
    pub(in crate::store) fn count_pins(&mut self) {
        let pinned = self.pinned();
        let bytes = pinned.iter().map(|(digest, told)| self.space_for(digest, *told)).sum();
        let pins = (self.pins.by_name.len() + self.pins.by_rule_alone().count()) as u64;
        self.pins.figures = PinFigures { pins, bytes };
    }

    /// What is to be done about pins now and then.
    pub(in crate::store) fn look_after_pins(&mut self) {
        if !self.pins.is_empty() || self.pins.figures != PinFigures::default() {
            self.settle_pins();
            self.count_pins();
        }
    }
}

/// The walk over what pins keep. It asks neither who may be shown something nor what is missing, and is therefore another
/// than that of a closure, and cheaper.
struct Reach<'a> {
    model: &'a Model,
    /// Manifests, by repository: the tags of what is attached are each repository's own.
    seen: HashSet<(RepoId, &'a Digest)>,
    found: HashMap<&'a Digest, u64>,
}

impl<'a> Reach<'a> {
    fn visit_tag(&mut self, repo: RepoId, tag: &Tag) {
        let model = self.model;
        if let Some(bound) = model.bindings.get(&repo).and_then(|tags| tags.get(tag)) {
            self.visit(repo, &bound.digest);
        }
        if let Some(held) = model.pins.held.get(&(repo, tag.clone())) {
            self.visit(repo, held);
        }
    }

    fn visit(&mut self, repo: RepoId, root: &'a Digest) {
        let model = self.model;
        self.found.entry(root).or_insert(0);
        let mut ahead = vec![root];
        while let Some(digest) = ahead.pop() {
            if !self.seen.insert((repo, digest)) {
                continue;
            }
            if let Some(manifest) = model.manifest(digest) {
                for link in manifest.children() {
                    self.found.entry(link.digest).or_insert(link.size);
                    ahead.push(link.digest);
                }
                for link in manifest.blobs() {
                    // One that its registry need not have is kept where it is here.
                    let told = if link.role == Role::Foreign { 0 } else { link.size };
                    self.found.entry(link.digest).or_insert(told);
                }
            }
            let tags = model.bindings.get(&repo);
            let by_tag = attached_tags(digest).into_iter().filter_map(|tag| Some(&tags?.get(&tag)?.digest));
            let attached = by_tag.chain(model.referrers_of(digest));
            for digest in attached {
                self.found.entry(digest).or_insert(0);
                ahead.push(digest);
            }
        }
    }
}
