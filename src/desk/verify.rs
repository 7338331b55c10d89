//! `verify`: could these images be pulled from here, whole, were upstream gone?

use std::time::{Duration, SystemTime};

use super::Office;
use super::images::{Found, gap};
use super::select::Selection;
use crate::api::{Problem, Verified, VerifiedImage, Verify};
use crate::mirror::prove;
use crate::oci::Reference;
use crate::store::{Pin, Wanted};

impl Office {
    pub(super) fn prove(&self, asked: &Verify) -> Result<Verified, Problem> {
        let wanted = wanted(asked)?;
        let selection = self.selection(asked.of.as_deref())?;
        let mut found = self.find(&selection);
        let mut unknown = Vec::new();
        if found.is_empty() && selection != Selection::All {
            unknown.extend(asked.of.clone());
        }
        if asked.pinned {
            let pins = self.store.pins();
            found.retain(|found| pins.iter().any(|pin| is_pinned_by(found, pin)));
            let absent = pins.iter().filter(|pin| {
                let meant = selection.may_be_in(&pin.upstream, &pin.repository);
                meant && !found.iter().any(|found| is_pinned_by(found, pin))
            });
            unknown.extend(absent.map(name_of_pin));
        }
        found.retain(|found| self.is_lately_used(found, asked.pulled_within));
        let mut images: Vec<VerifiedImage> =
            found.iter().map(|found| self.prove_one(found, &wanted, asked.deep)).collect();
        images.extend(unknown.into_iter().map(nothing_of));
        Ok(Verified { whole: images.iter().all(|image| image.whole), images })
    }

    fn is_lately_used(&self, found: &Found, within: Option<u64>) -> bool {
        let Some(within) = within else { return true };
        let accessed = self.store.accessed(&found.digest);
        let age = accessed.and_then(|accessed| SystemTime::now().duration_since(accessed).ok());
        // What was used later than now was used now.
        age.is_none_or(|age| age <= Duration::from_secs(within))
    }

    fn prove_one(&self, found: &Found, wanted: &Wanted, deep: bool) -> VerifiedImage {
        let place = (found.upstream.as_str(), &found.repository);
        let closure = prove(&self.store, place, &found.digest, wanted, deep);
        VerifiedImage {
            reference: found.reference(),
            digest: Some(found.digest.to_string()),
            whole: closure.is_whole() && closure.unoffered.is_empty(),
            objects: closure.objects.len() as u64,
            bytes: closure.bytes(),
            gaps: closure.gaps().filter_map(gap).collect(),
            unoffered: closure.unoffered.iter().map(ToString::to_string).collect(),
        }
    }
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
