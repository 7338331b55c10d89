//! `ls`: what is here, image by image.

use super::Office;
use super::select::Selection;
use crate::api::{Gap, GapKind, GapReason, Image, Images, Missing, Platform, Problem, State};
use crate::oci::{self, Digest, Repository, Tag};
use crate::store::{Closure, Kind, Needed, Role, Standing, Tagged, Wanted, Why};

/// How many of the objects that an image lacks are told one by one.
const TOLD: usize = 20;

/// The largest configuration that is read for the machines that it names. Those of images have some kilobytes.
const MOST_OF_CONFIG: usize = 4 << 20;

/// An image of a repository, by its tag or by itself.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) upstream: String,
    pub(super) repository: Repository,
    pub(super) tagged: Option<Tagged>,
    pub(super) digest: Digest,
}

impl Found {
    /// How one pulls it.
    pub(super) fn reference(&self) -> String {
        let Self { upstream, repository, digest, .. } = self;
        match self.tag() {
            Some(tag) => format!("{upstream}/{repository}:{tag}"),
            None => format!("{upstream}/{repository}@{digest}"),
        }
    }

    pub(super) fn tag(&self) -> Option<&Tag> {
        self.tagged.as_ref().map(|tagged| &tagged.tag)
    }
}

impl Office {
    pub(super) fn list(&self, of: Option<&str>) -> Result<Images, Problem> {
        let selection = self.selection(of)?;
        Ok(Images {
            images: self.find_or_parts(&selection).iter().map(|found| self.describe(found)).collect(),
        })
    }

    /// The images that are meant, in order: each tag, then what has none.
    pub(super) fn find(&self, selection: &Selection) -> Vec<Found> {
        let mut found = Vec::new();
        for (upstream, repository) in self.store.repositories() {
            if !selection.may_be_in(&upstream, &repository) {
                continue;
            }
            for tagged in self.store.tagged(&upstream, &repository) {
                if selection.means_tag(&repository, &tagged.tag, Some(&tagged.digest)) {
                    let digest = tagged.digest.clone();
                    let (upstream, repository) = (upstream.clone(), repository.clone());
                    found.push(Found { upstream, repository, tagged: Some(tagged), digest });
                }
            }
            for digest in self.store.untagged(&upstream, &repository) {
                // What is attached to an image is listed with it, but for whoever asks for it by name.
                let attached = || self.store.kept(&digest).is_some_and(|kept| kept.subject.is_some());
                if selection.means_untagged(&digest) && (selection.is_by_digest() || !attached()) {
                    let (upstream, repository) = (upstream.clone(), repository.clone());
                    found.push(Found { upstream, repository, tagged: None, digest });
                }
            }
        }
        found
    }

    /// As [`Office::find`]; where a digest is named that is no image of its own, the manifest that an index lists.
    pub(super) fn find_or_parts(&self, selection: &Selection) -> Vec<Found> {
        let found = self.find(selection);
        let (Selection::Digest(digest) | Selection::One { digest: Some(digest), .. }) = selection else {
            return found;
        };
        if !found.is_empty() {
            return found;
        }
        let repositories = self.store.repositories().into_iter();
        let meant = repositories.filter(|(upstream, repository)| selection.may_be_in(upstream, repository));
        meant.filter_map(|(upstream, repository)| self.part(&upstream, &repository, digest)).collect()
    }

    /// A manifest of a repository by its digest, whether an index lists it or not.
    pub(super) fn part(&self, upstream: &str, repository: &Repository, digest: &Digest) -> Option<Found> {
        let is_here = self.store.has_manifest(digest) && self.store.is_member(upstream, repository, digest);
        is_here.then(|| Found {
            upstream: upstream.to_owned(),
            repository: repository.clone(),
            tagged: None,
            digest: digest.clone(),
        })
    }

    pub(super) fn closure(&self, found: &Found, root: &Digest, wanted: &Wanted) -> Closure {
        self.store.closure(&found.upstream, &found.repository, root, wanted)
    }

    fn describe(&self, found: &Found) -> Image {
        let Found { upstream, repository, tagged, digest } = found;
        let closure = self.closure(found, digest, &Wanted::ALL);
        let kept = self.store.kept(digest);
        Image {
            reference: found.reference(),
            upstream: upstream.clone(),
            repository: repository.to_string(),
            tag: found.tag().map(Tag::to_string),
            digest: digest.to_string(),
            state: state(&closure),
            platforms: self.platforms(found),
            missing: missing(&closure),
            size: closure.objects.iter().filter(|needed| is_on_disk(needed)).map(|needed| needed.size).sum(),
            shared_size: self.store.shared_bytes(upstream, repository, &closure),
            pinned: self.is_kept(found),
            history: found.tag().map(|tag| self.history(upstream, repository, tag)).unwrap_or_default(),
            pulled: kept.as_ref().map(|kept| kept.accessed.into()),
            media_type: kept.map(|kept| kept.media_type),
            confirmed: tagged.as_ref().map(|tagged| tagged.confirmed.into()),
            gone: tagged.as_ref().and_then(|tagged| tagged.gone).map(Into::into),
        }
    }

    /// Each by itself: what two of them need, each of them needs. Of an image without an index it is its configuration
    /// that tells, where that is here.
    fn platforms(&self, found: &Found) -> Vec<Platform> {
        let own = Wanted { referrers: false, ..Wanted::ALL };
        let whole = self.closure(found, &found.digest, &own);
        let manifests = || whole.objects.iter().filter(|needed| needed.kind == Kind::Manifest);
        let is_index = manifests().any(|needed| needed.why == Why::Listed);
        let of = |needed: &Needed| {
            let platform = match needed.platform.clone() {
                Some(platform) => platform,
                None => self.platform_of(&needed.digest)?.to_string(),
            };
            let closure = self.closure(found, &needed.digest, &own);
            Some(Platform {
                platform,
                digest: needed.digest.to_string(),
                state: state(&closure),
                missing_bytes: closure.missing_bytes().max(if needed.standing == Standing::Absent {
                    needed.size
                } else {
                    0
                }),
            })
        };
        manifests().filter(|needed| !is_index || needed.why == Why::Listed).filter_map(of).collect()
    }

    /// What the configuration of an image says of the machines that it is for.
    pub(super) fn platform_of(&self, image: &Digest) -> Option<oci::Platform> {
        let kept = self.store.kept(image).filter(|kept| kept.artifact_type.is_none())?;
        let config = kept.blobs.iter().find(|link| link.role == Role::Config)?;
        let file = self.store.inspect_blob(&config.digest).ok()??;
        let mut bytes = vec![0; usize::try_from(file.size()).ok().filter(|size| *size <= MOST_OF_CONFIG)?];
        let mut read = 0;
        while read < bytes.len() {
            match file.read_at(&mut bytes[read..], read as u64) {
                Ok(0) | Err(_) => return None,
                Ok(more) => read += more,
            }
        }
        oci::Platform::of_config(&bytes)
    }
}

/// Whether it takes room.
pub(super) fn is_on_disk(needed: &Needed) -> bool {
    matches!(needed.standing, Standing::Here | Standing::NoMember)
}

fn state(closure: &Closure) -> State {
    let root = closure.objects.first().map(|root| root.standing);
    match (closure.is_whole(), root) {
        (true, _) => State::Complete,
        (false, Some(Standing::Here)) => State::Partial,
        (false, _) => State::Absent,
    }
}

fn missing(closure: &Closure) -> Missing {
    Missing {
        objects: closure.gaps().count() as u64,
        bytes: closure.missing_bytes(),
        first: closure.gaps().filter_map(gap).take(TOLD).collect(),
    }
}

/// An object that is not here; none of one that is.
pub(super) fn gap(needed: &Needed) -> Option<Gap> {
    let kind = match (&needed.why, needed.kind) {
        (Why::Referrer | Why::Attached(_), _) => GapKind::Referrer,
        (Why::Config, _) => GapKind::Config,
        (Why::Layer | Why::ForeignLayer, _) | (_, Kind::Blob) => GapKind::Layer,
        (Why::Root | Why::Listed, Kind::Manifest) => GapKind::Manifest,
    };
    let why = match needed.standing {
        Standing::Here => return None,
        Standing::Absent => GapReason::Absent,
        Standing::Unfinished => GapReason::Unfinished,
        Standing::NoMember => GapReason::NoMember,
    };
    let size = Some(needed.size).filter(|size| *size > 0);
    let (digest, platform) = (needed.digest.to_string(), needed.platform.clone());
    Some(Gap { digest, kind, size, platform, tag: None, why })
}
