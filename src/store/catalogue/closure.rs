//! What an image needs, object by object: the walk from an index or manifest to everything below it, and to what is
//! attached to it.
//!
//! **Owns** the walk and its order. It asks a [`Shelf`] what is known, one object at a time, and does no I/O. **Guarantees**
//! that every object comes once, with the first reason for it; that it ends, however manifests and tags name each other;
//! and that nothing counts as here that a client of this repository would not be given (G9). **Leaves to others** what
//! to do about the gaps.
//!
//! What is attached to a manifest is found in three ways: by the subject of what is stored, by the fallback tag of
//! referrers, and by the tags that cosign makes of a digest. What nobody here has ever heard of is no gap.

use crate::oci::{Digest, Platform, Platforms, Tag};
use crate::store::model::{Graph, Link, Role};
use std::collections::{HashMap, VecDeque};

/// Indexes of indexes, and what is attached to what is attached, are followed so far down.
const MOST_DEEP: u8 = 16;

/// What cosign puts behind a digest to name the tags of what it attaches.
const ATTACHED: [&str; 3] = [".sig", ".att", ".sbom"];

/// What is wanted of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The machines it is wanted for. What an index lists without a platform is always wanted.
    pub platforms: Platforms,
    /// Whether signatures, attestations, SBOMs and what else is attached to it are wanted; the attestations among what an
    /// index lists as well.
    pub referrers: bool,
    /// Whether layers are wanted that their registry need not have, because clients may have them from elsewhere.
    pub foreign: bool,
}

/// What an image needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closure {
    /// All of it, each once, the root first; an object comes after the one that needs it.
    pub objects: Vec<Needed>,
    /// Wanted platforms that no index below the root lists an image for, where one lists any.
    pub unoffered: Vec<Platform>,
    /// Whether it goes deeper than is followed, so that not all of it is known.
    pub cut: bool,
}

/// One object that an image needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The object.
    pub digest: Digest,
    /// Where clients ask for it.
    pub kind: Kind,
    /// Its size; where it is not here, what the one says that needs it, 0 where that says nothing.
    pub size: u64,
    /// What for.
    pub why: Why,
    /// The object that needs it; none of the root.
    pub parent: Option<Digest>,
    /// The machine it is for, where an index above it says so.
    pub platform: Option<String>,
    /// Whether a client would be given it.
    pub standing: Standing,
}

/// Where clients ask for an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// At `/manifests/`: an index, an image, what is attached to one.
    Manifest,
    /// At `/blobs/`: a configuration or a layer.
    Blob,
}

/// Why an object is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is what was asked about.
    Root,
    /// An index lists it.
    Listed,
    /// It is the configuration of an image.
    Config,
    /// It is a layer of an image, or a blob of an artifact.
    Layer,
    /// It is a layer that its registry need not have.
    ForeignLayer,
    /// It says that it is about the object that needs it.
    Referrer,
    /// It is attached to the object that needs it by this tag.
    Attached(Tag),
}

/// Whether a client of the repository would be given an object, were upstream not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Standing {
    /// It would.
    Here,
    /// It is not here.
    Absent,
    /// A part of it is here.
    Unfinished,
    /// It is here, but only upstream can tell whether this repository has it (G9).
    NoMember,
}

/// What a walk asks of what is known, for one repository.
pub(in crate::store) trait Shelf {
    /// What a stored manifest names.
    fn manifest(&self, digest: &Digest) -> Option<Graph>;
    /// How an object stands, and its size where it is known. `by_name`: something that is given to the clients of this
    /// repository names it.
    fn standing(&self, kind: Kind, digest: &Digest, by_name: bool) -> (Standing, Option<u64>);
    /// The stored manifests of the repository that say that they are about this one.
    fn referrers(&self, subject: &Digest) -> Vec<Digest>;
    /// What a tag of the repository stands for.
    fn bound(&self, tag: &Tag) -> Option<Digest>;
}

impl Wanted {
    /// All of an image, with what is attached to it.
    pub const ALL: Self = Self { platforms: Platforms::All, referrers: true, foreign: false };

    fn wants(&self, platform: Option<&Platform>) -> bool {
        platform.is_none_or(|platform| {
            if platform.is_unknown() { self.referrers } else { self.platforms.want_platform(platform) }
        })
    }
}

impl Closure {
    /// Whether clients of the repository would be given all of it.
    pub fn is_whole(&self) -> bool {
        !self.cut && self.gaps().next().is_none()
    }

    /// What they would not be given.
    pub fn gaps(&self) -> impl Iterator<Item = &Needed> {
        self.objects.iter().filter(|needed| needed.standing != Standing::Here)
    }

    /// The bytes of all of it, as far as sizes are known.
    pub fn bytes(&self) -> u64 {
        self.objects.iter().map(|needed| needed.size).sum()
    }

    /// The bytes of what is missing, as far as sizes are known.
    pub fn missing_bytes(&self) -> u64 {
        self.gaps().map(|needed| needed.size).sum()
    }
}

impl Why {
    fn of(link: &Link) -> Self {
        match link.role {
            Role::Part => Self::Layer,
            Role::Config => Self::Config,
            Role::Foreign => Self::ForeignLayer,
        }
    }
}

/// Walks from `root` over all that it needs.
pub(in crate::store) fn closure(shelf: &impl Shelf, root: &Digest, wanted: &Wanted) -> Closure {
    let mut walk = Walk {
        shelf,
        wanted,
        places: HashMap::new(),
        ahead: VecDeque::new(),
        offered: Vec::new(),
        closure: Closure { objects: Vec::new(), unoffered: Vec::new(), cut: false },
    };
    walk.meet(Met { digest: root, kind: Kind::Manifest, size: 0, why: Why::Root, platform: None }, None, 0);
    while let Some((place, depth)) = walk.ahead.pop_front() {
        walk.enter(place, depth);
    }
    walk.finish()
}

struct Walk<'a, S> {
    shelf: &'a S,
    wanted: &'a Wanted,
    /// Where each object is in the closure.
    places: HashMap<(Kind, Digest), usize>,
    /// Manifests to go into, with their depth.
    ahead: VecDeque<(usize, u8)>,
    /// The platforms that indexes list.
    offered: Vec<Platform>,
    closure: Closure,
}

/// An object, as the one above it speaks of it.
struct Met<'a> {
    digest: &'a Digest,
    kind: Kind,
    size: u64,
    why: Why,
    platform: Option<String>,
}

impl<S: Shelf> Walk<'_, S> {
    /// Notes an object that the one at `parent` needs.
    fn meet(&mut self, met: Met<'_>, parent: Option<usize>, depth: u8) {
        let key = (met.kind, met.digest.clone());
        if self.places.contains_key(&key) {
            return;
        }
        let above = parent.map(|place| &self.closure.objects[place]);
        let by_name = above.is_some_and(|above| above.standing == Standing::Here)
            && !matches!(met.why, Why::Root | Why::Referrer);
        let (standing, size) = self.shelf.standing(met.kind, met.digest, by_name);
        if met.why == Why::ForeignLayer && !self.wanted.foreign && standing != Standing::Here {
            return;
        }
        let needed = Needed {
            digest: met.digest.clone(),
            kind: met.kind,
            size: size.unwrap_or(met.size),
            why: met.why,
            parent: above.map(|above| above.digest.clone()),
            platform: met.platform,
            standing,
        };
        let place = self.closure.objects.len();
        self.closure.objects.push(needed);
        self.places.insert(key, place);
        if met.kind == Kind::Manifest {
            self.ahead.push_back((place, depth));
        }
    }

    /// Meets all that a manifest names, and what is attached to it.
    fn enter(&mut self, place: usize, depth: u8) {
        let (shelf, wanted) = (self.shelf, self.wanted);
        let Needed { digest, platform, .. } = &self.closure.objects[place];
        let (digest, platform) = (digest.clone(), platform.clone());
        let attached = if wanted.referrers { attached_to(shelf, &digest) } else { Vec::new() };
        let named = shelf.manifest(&digest);
        if depth >= MOST_DEEP {
            let more = named.as_ref().is_some_and(|graph| !graph.children.is_empty()) || !attached.is_empty();
            self.closure.cut |= more;
        } else {
            for link in named.iter().flat_map(|graph| &graph.children) {
                let listed = link.platform.as_deref().and_then(|text| text.parse::<Platform>().ok());
                let is_wanted = wanted.wants(listed.as_ref());
                self.offered.extend(listed.filter(|platform| !platform.is_unknown()));
                if is_wanted {
                    let platform = link.platform.clone().or_else(|| platform.clone());
                    let (digest, size) = (&link.digest, link.size);
                    let met = Met { digest, kind: Kind::Manifest, size, why: Why::Listed, platform };
                    self.meet(met, Some(place), depth + 1);
                }
            }
        }
        for link in named.iter().flat_map(|graph| &graph.blobs) {
            let (digest, size, platform) = (&link.digest, link.size, platform.clone());
            let met = Met { digest, kind: Kind::Blob, size, why: Why::of(link), platform };
            self.meet(met, Some(place), depth);
        }
        if depth < MOST_DEEP {
            for (digest, why) in &attached {
                let met = Met { digest, kind: Kind::Manifest, size: 0, why: why.clone(), platform: None };
                self.meet(met, Some(place), depth + 1);
            }
        }
    }

    fn finish(self) -> Closure {
        let lacks = |wanted: &&Platform| !self.offered.iter().any(|listed| listed.is_meant_by(wanted));
        let unoffered = match &self.wanted.platforms {
            Platforms::These(wanted) if !self.offered.is_empty() => {
                wanted.iter().filter(lacks).cloned().collect()
            }
            Platforms::These(_) | Platforms::All => Vec::new(),
        };
        Closure { unoffered, ..self.closure }
    }
}

/// What is attached to a manifest, as far as anybody here has heard of it.
fn attached_to(shelf: &impl Shelf, subject: &Digest) -> Vec<(Digest, Why)> {
    let referrers = shelf.referrers(subject).into_iter().map(|digest| (digest, Why::Referrer));
    let by_tag = attached_tags(subject).into_iter().filter_map(|tag| {
        let digest = shelf.bound(&tag)?;
        Some((digest, Why::Attached(tag)))
    });
    referrers.chain(by_tag).collect()
}

/// The tags by which something may be attached to a manifest.
pub(in crate::store) fn attached_tags(subject: &Digest) -> Vec<Tag> {
    let text = format!("{}-{}", subject.algorithm(), subject.hex());
    // Of the longer algorithm they are no tags.
    let of_cosign = ATTACHED.iter().filter_map(|end| format!("{text}{end}").parse().ok());
    std::iter::once(Tag::of_referrers(subject)).chain(of_cosign).collect()
}

#[cfg(test)]
mod tests;
