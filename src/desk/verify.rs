//! `verify`: could these images be pulled from here, whole, were upstream gone?

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime};

use super::Office;
use super::images::{Found, gap};
use super::select::Selection;
use crate::api::{
    Gap, GapKind, GapReason, Problem, ProblemCode, Verified, VerifiedImage, Verify, VerifyProgress,
};
use crate::mirror::{Abandoned, Proof, Withheld};
use crate::oci::{Digest, Platform, Platforms, Reference, Tag};
use crate::store::{Closure, Kind, Pin, Standing, Wanted};

/// How often it is told how far a proof is.
const LOOK: Duration = Duration::from_millis(200);

impl Office {
    pub(super) fn prove(
        &self,
        asked: &Verify,
        watch: &mut dyn FnMut(&VerifyProgress) -> bool,
    ) -> Result<Verified, Problem> {
        let wanted = wanted(asked)?;
        let selection = self.selection(asked.of.as_deref())?;
        let mut found = self.find_or_parts(&selection);
        let mut unknown = Vec::new();
        if found.is_empty() && selection != Selection::All {
            unknown.extend(asked.of.clone());
        }
        if asked.pinned {
            (found, unknown) = self.pinned_among(found, &selection);
        } else if selection.is_by_digest() {
            found = without_tags(found);
        }
        // That nothing lacks anything would be true of nothing as well, and whoever asks wants to know something else.
        if found.is_empty() && unknown.is_empty() {
            let what = if asked.pinned { "nothing is pinned" } else { "nothing is here" };
            return Err(Problem::not_found(format!("{what}: there is nothing to be proven")));
        }
        found.retain(|found| self.is_lately_used(found, asked.pulled_within));
        let mut images = self.prove_all(&found, &wanted, asked.deep, watch)?;
        images.extend(unknown.into_iter().map(nothing_of));
        Ok(Verified { whole: images.iter().all(|image| image.whole), images })
    }

    /// What of these is pinned, with what is pinned by its digest and is a part of an image; and the names of what is
    /// pinned and not here.
    fn pinned_among(&self, mut found: Vec<Found>, selection: &Selection) -> (Vec<Found>, Vec<String>) {
        let pins = self.store.pins();
        found.retain(|found| pins.iter().any(|pin| is_pinned_by(found, pin)));
        let meant = pins.iter().filter(|pin| selection.may_be_in(&pin.upstream, &pin.repository));
        let mut unknown = Vec::new();
        for pin in meant {
            if found.iter().any(|found| is_pinned_by(found, pin)) {
                continue;
            }
            let part = match &pin.reference {
                Reference::Digest(digest) => self.part(&pin.upstream, &pin.repository, digest),
                Reference::Tag(_) => None,
            };
            match part {
                Some(part) => found.push(part),
                None => unknown.push(name_of_pin(pin)),
            }
        }
        let wanting = self.store.wanting_pins().into_iter();
        let wanting = wanting.filter(|pin| selection.may_be_in(&pin.upstream, &pin.repository));
        unknown.extend(wanting.map(|pin| name_of_pin(&pin)));
        (found, unknown)
    }

    fn is_lately_used(&self, found: &Found, within: Option<u64>) -> bool {
        let Some(within) = within else { return true };
        let accessed = self.store.accessed(&found.digest);
        let age = accessed.and_then(|accessed| SystemTime::now().duration_since(accessed).ok());
        // What was used later than now was used now.
        age.is_none_or(|age| age <= Duration::from_secs(within))
    }

    fn prove_all(
        &self,
        found: &[Found],
        wanted: &Wanted,
        deep: bool,
        watch: &mut dyn FnMut(&VerifyProgress) -> bool,
    ) -> Result<Vec<VerifiedImage>, Problem> {
        let bytes = if deep { self.bytes_to_read(found, wanted) } else { 0 };
        let (mut proof, mut watch) = (Proof::new(&self.store, deep), Now::and_then(watch));
        let mut images = Vec::new();
        for one in found {
            let (reference, place) = (one.reference(), (one.upstream.as_str(), &one.repository));
            let mut progress = VerifyProgress {
                images: found.len() as u64,
                finished: images.len() as u64,
                image: Some(reference.clone()),
                bytes,
                read: proof.read(),
            };
            let closure = proof.of(place, &one.digest, wanted, &mut |read| {
                progress.read = read;
                watch.tell(&progress)
            });
            let closure = closure.map_err(|Abandoned| {
                Problem::new(ProblemCode::Unavailable, "nobody waits for the proof any more")
            })?;
            let closure = Closure { unoffered: self.unoffered(&one.digest, &closure, wanted), ..closure };
            let withheld = self.withheld(one, &closure);
            images.push(told(reference, &one.digest, &closure, withheld));
        }
        let (all, read) = (found.len() as u64, proof.read());
        // All of it is done, whether anybody still wants to know or not.
        (watch.watch)(&VerifyProgress { images: all, finished: all, image: None, bytes, read });
        Ok(images)
    }

    /// What of an image is here and would still not be given.
    fn withheld(&self, found: &Found, closure: &Closure) -> Vec<Gap> {
        let Found { upstream, repository, digest, .. } = found;
        let withheld = self.mirror.withheld((upstream, repository), found.tag(), closure);
        let mut gaps: Vec<Gap> = withheld.into_iter().map(|withheld| kept_back(withheld, digest)).collect();
        if !(self.given.0)(upstream, repository.as_str()) {
            gaps.push(of_image(digest, GapReason::Denied));
        }
        gaps
    }

    /// Which of the wanted machines an image is not for: by its index, or, where it has none, by its configuration.
    fn unoffered(&self, digest: &Digest, closure: &Closure, wanted: &Wanted) -> Vec<Platform> {
        match (&wanted.platforms, self.platform_of(digest)) {
            (Platforms::These(wanted), Some(own)) => {
                wanted.iter().filter(|wanted| !own.is_meant_by(wanted)).cloned().collect()
            }
            _ => closure.unoffered.clone(),
        }
    }

    /// The blobs of all these images, each once.
    fn bytes_to_read(&self, found: &[Found], wanted: &Wanted) -> u64 {
        let closures = found.iter().map(|one| self.closure(one, &one.digest, wanted));
        let needed = closures.flat_map(|closure| closure.objects);
        let blobs = needed.filter(|needed| needed.kind == Kind::Blob && needed.standing == Standing::Here);
        blobs.map(|needed| (needed.digest, needed.size)).collect::<HashMap<_, _>>().into_values().sum()
    }
}

/// Tells whoever watches not more often than somebody can look.
struct Now<'a> {
    watch: &'a mut dyn FnMut(&VerifyProgress) -> bool,
    told: Option<Instant>,
}

impl<'a> Now<'a> {
    fn and_then(watch: &'a mut dyn FnMut(&VerifyProgress) -> bool) -> Self {
        Self { watch, told: None }
    }

    /// Whether the proof is still wanted.
    fn tell(&mut self, progress: &VerifyProgress) -> bool {
        if self.told.is_some_and(|told| told.elapsed() < LOOK) {
            return true;
        }
        self.told = Some(Instant::now());
        (self.watch)(progress)
    }
}

fn told(reference: String, digest: &Digest, closure: &Closure, withheld: Vec<Gap>) -> VerifiedImage {
    VerifiedImage {
        reference,
        digest: Some(digest.to_string()),
        whole: closure.is_whole() && closure.unoffered.is_empty() && withheld.is_empty(),
        objects: closure.objects.len() as u64,
        bytes: closure.bytes(),
        gaps: closure.gaps().filter_map(gap).chain(withheld).collect(),
        unoffered: closure.unoffered.iter().map(ToString::to_string).collect(),
    }
}

/// A gap that is about an image as a whole.
fn of_image(image: &Digest, why: GapReason) -> Gap {
    let (kind, digest) = (GapKind::Manifest, image.to_string());
    Gap { digest, kind, size: None, platform: None, tag: None, why }
}

fn kept_back(withheld: Withheld, image: &Digest) -> Gap {
    let of_tag = |tag: &Tag, digest: &Digest, why| Gap {
        kind: GapKind::Tag,
        tag: Some(tag.to_string()),
        ..of_image(digest, why)
    };
    match withheld {
        Withheld::NoUpstream => of_image(image, GapReason::NoUpstream),
        Withheld::TooOld { tag, digest } => of_tag(&tag, &digest, GapReason::TooOld),
        Withheld::Deleted { tag, digest } => of_tag(&tag, &digest, GapReason::Deleted),
        Withheld::NotWhole(manifest) => of_image(&manifest, GapReason::NotWhole),
        Withheld::Unlisted(subject) => Gap { kind: GapKind::List, ..of_image(&subject, GapReason::TooOld) },
    }
}

/// The same images, each once, for who asks for them by their digests: what their tags are is nothing to him.
fn without_tags(mut found: Vec<Found>) -> Vec<Found> {
    let key = |found: &Found| (found.upstream.clone(), found.repository.clone(), found.digest.clone());
    found.iter_mut().for_each(|found| found.tagged = None);
    found.sort_by_key(key);
    found.dedup_by_key(|found| key(found));
    found
}

/// Whether an image is what a pin names.
fn is_pinned_by(found: &Found, pin: &Pin) -> bool {
    let same = match &pin.reference {
        Reference::Tag(tag) => found.tag() == Some(tag),
        Reference::Digest(digest) => found.digest == *digest,
    };
    same && found.upstream == pin.upstream && found.repository == pin.repository
}

fn name_of_pin(pin: &Pin) -> String {
    let between = if matches!(pin.reference, Reference::Tag(_)) { ':' } else { '@' };
    format!("{}/{}{between}{}", pin.upstream, pin.repository, pin.reference)
}

/// An image of which nothing is known here.
fn nothing_of(reference: String) -> VerifiedImage {
    let (gaps, unoffered) = (Vec::new(), Vec::new());
    VerifiedImage { reference, digest: None, whole: false, objects: 0, bytes: 0, gaps, unoffered }
}

fn wanted(asked: &Verify) -> Result<Wanted, Problem> {
    let platforms = super::warm::platforms(&asked.platforms)?;
    Ok(Wanted { platforms, referrers: !asked.without_referrers, foreign: false })
}
