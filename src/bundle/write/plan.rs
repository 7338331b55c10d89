//! Which objects a bundle has: from what is wanted down, through the manifests that are here.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::error::Error;
use crate::bundle::export::{ExportOptions, Wanted};
use crate::bundle::read::is_foreign;
use crate::bundle::side::{Document, Held, Image, Origin, Place};
use crate::oci::{Digest, Images, Manifest, Platform, Tag};

/// What goes into a bundle.
#[derive(Debug, Default)]
pub(in crate::bundle) struct Plan {
    /// What it shows, in order.
    pub(in crate::bundle) entries: BTreeSet<Entry>,
    /// All manifests.
    pub(in crate::bundle) manifests: BTreeMap<Digest, Document>,
    /// What those of them that could be read name.
    pub(in crate::bundle) parsed: BTreeMap<Digest, Manifest>,
    /// All blobs.
    pub(in crate::bundle) blobs: BTreeMap<Digest, Held>,
    /// How many manifests an index names that are not here, or not wanted.
    pub(in crate::bundle) sparse: usize,
    /// Which machines come first.
    pub(in crate::bundle) platforms: Vec<Platform>,
}

/// What a bundle shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bundle) struct Entry {
    pub(in crate::bundle) image: Image,
    /// What it is about, for one that is here for that and has no name of its own.
    pub(in crate::bundle) subject: Option<Digest>,
}

/// Walks from what is wanted.
pub(in crate::bundle) fn plan(origin: &mut dyn Origin, options: &ExportOptions) -> Result<Plan, Error> {
    let images = origin.images().map_err(Error::side("list", "the images"))?;
    let tags: BTreeMap<(Place, Tag), Digest> = images
        .iter()
        .filter_map(|image| Some(((image.place.clone(), image.tag.clone()?), image.digest.clone())))
        .collect();
    let untagged: BTreeSet<Image> = images.into_iter().filter(|image| image.tag.is_none()).collect();
    let roots = roots(origin, options, &tags, &untagged)?;
    let platforms = match &options.platforms {
        crate::oci::Platforms::All => Vec::new(),
        crate::oci::Platforms::These(these) => these.clone(),
    };
    let mut walk =
        Walk { origin, options, tags, plan: Plan { platforms, ..Plan::default() }, gaps: Vec::new() };
    for image in roots {
        walk.root(Entry { image, subject: None })?;
    }
    if walk.gaps.is_empty() { Ok(walk.plan) } else { Err(Error::Gaps(walk.gaps)) }
}

/// The images that are meant.
fn roots(
    origin: &mut dyn Origin,
    options: &ExportOptions,
    tags: &BTreeMap<(Place, Tag), Digest>,
    untagged: &BTreeSet<Image>,
) -> Result<Vec<Image>, Error> {
    let image = |(place, tag): &(Place, Tag), digest: &Digest| Image {
        place: place.clone(),
        tag: Some(tag.clone()),
        digest: digest.clone(),
    };
    let wanted = match &options.wanted {
        Wanted::All => {
            let mut all: Vec<_> = tags.iter().map(|(key, digest)| image(key, digest)).collect();
            all.extend(untagged.iter().cloned());
            let mut here = Vec::new();
            for image in all {
                // A tag whose manifest was evicted is knowledge and no content.
                let manifest = origin.manifest(&image.digest).map_err(Error::side("read", &image.digest))?;
                here.extend(manifest.map(|_| image));
            }
            return Ok(here);
        }
        Wanted::These(wanted) => wanted,
    };
    let mut images = Vec::new();
    for wanted in wanted {
        let before = images.len();
        let (text, names) = match wanted {
            Images::One(one) => {
                let place = options.naming.place(one.written_registry(), one.written_name().as_str());
                let place = place.map_err(|error| Error::Names(vec![(one.to_string(), error)]))?;
                if let Some(digest) = one.digest() {
                    let member =
                        origin.is_member(&place, digest).map_err(Error::side("look for", one.to_string()))?;
                    images.extend(member.then(|| Image { place, tag: None, digest: digest.clone() }));
                } else {
                    let key = (place, one.tag().cloned().unwrap_or_else(Tag::latest));
                    images.extend(tags.get(&key).map(|digest| image(&key, digest)));
                }
                (one.to_string(), Vec::new())
            }
            Images::Matching(glob) => {
                let place = options.naming.place(glob.written_registry(), "any");
                let place = place.map_err(|error| Error::Names(vec![(glob.to_string(), error)]))?;
                let meant = tags.iter().filter(|((found, tag), _)| {
                    found.upstream == place.upstream && glob.matches(&found.repository, tag)
                });
                let mut meant: Vec<_> = meant.map(|(key, digest)| image(key, digest)).collect();
                // All tags of a repository mean all that it has.
                if glob.tags().as_str() == "*" {
                    let theirs = untagged.iter().filter(|image| {
                        image.place.upstream == place.upstream
                            && glob.repositories().matches(image.place.repository.as_str())
                    });
                    meant.extend(theirs.cloned());
                }
                (glob.to_string(), meant)
            }
        };
        images.extend(names);
        if images.len() == before {
            return Err(Error::NotHere(text));
        }
    }
    Ok(images)
}

struct Walk<'a> {
    origin: &'a mut dyn Origin,
    options: &'a ExportOptions,
    tags: BTreeMap<(Place, Tag), Digest>,
    plan: Plan,
    gaps: Vec<(Digest, String)>,
}

impl Walk<'_> {
    /// Enters an image, and all that refers to it.
    fn root(&mut self, entry: Entry) -> Result<(), Error> {
        let mut ahead = vec![entry];
        while let Some(entry) = ahead.pop() {
            if self.plan.entries.contains(&entry) {
                continue;
            }
            let below = self.below(&entry.image)?;
            if self.options.referrers {
                for digest in below {
                    self.attached(&entry.image.place, &digest, &mut ahead)?;
                }
            }
            self.plan.entries.insert(entry);
        }
        Ok(())
    }

    /// What is attached to a manifest: by its subject, and by the tags that tools use for that.
    fn attached(&mut self, place: &Place, digest: &Digest, ahead: &mut Vec<Entry>) -> Result<(), Error> {
        for tag in Tag::of_attached(digest).into_iter().chain([Tag::of_referrers(digest)]) {
            if let Some((key, found)) = self.tags.get_key_value(&(place.clone(), tag)) {
                let image = Image { place: place.clone(), tag: Some(key.1.clone()), digest: found.clone() };
                ahead.push(Entry { image, subject: None });
            }
        }
        let referrers =
            self.origin.referrers(place, digest).map_err(Error::side("look for what refers to", digest))?;
        for referrer in referrers {
            let image = Image { place: place.clone(), tag: None, digest: referrer };
            ahead.push(Entry { image, subject: Some(digest.clone()) });
        }
        Ok(())
    }

    /// Enters what an image makes reachable; gives its manifests.
    fn below(&mut self, image: &Image) -> Result<Vec<Digest>, Error> {
        let mut manifests = Vec::new();
        let mut ahead = vec![(image.digest.clone(), true)];
        while let Some((digest, needed)) = ahead.pop() {
            if manifests.contains(&digest) {
                continue;
            }
            if !self.plan.manifests.contains_key(&digest) && !self.manifest(&digest, image, needed)? {
                continue;
            }
            manifests.push(digest.clone());
            let Some(manifest) = self.plan.parsed.get(&digest) else { continue };
            let wanted = manifest.children().filter(|child| self.options.platforms.want(child));
            let asked = self.options.platforms != crate::oci::Platforms::All;
            // A platform that was asked for by its name has to be here.
            let needed = |child: &crate::oci::Descriptor| {
                asked && child.platform.as_ref().is_some_and(|p| !p.is_unknown())
            };
            ahead.extend(wanted.map(|child| (child.digest.clone(), needed(child))));
        }
        Ok(manifests)
    }

    /// Enters one manifest with its blobs; false if it is not here.
    fn manifest(&mut self, digest: &Digest, image: &Image, needed: bool) -> Result<bool, Error> {
        let found = self.origin.manifest(digest).map_err(Error::side("read", digest))?;
        let Some(document) = found else {
            if needed {
                self.gaps.push((digest.clone(), image.to_string()));
            } else {
                self.plan.sparse += 1;
            }
            return Ok(false);
        };
        if let Ok(manifest) = Manifest::parse(&document.media_type, &document.bytes) {
            for blob in manifest.blobs() {
                if self.plan.blobs.contains_key(&blob.digest) {
                    continue;
                }
                match self.origin.blob(&blob.digest).map_err(Error::side("look for", &blob.digest))? {
                    Some(held) => {
                        self.plan.blobs.insert(blob.digest.clone(), held);
                    }
                    None if is_foreign(&blob.media_type) => {}
                    None => self.gaps.push((blob.digest.clone(), image.to_string())),
                }
            }
            self.plan.parsed.insert(digest.clone(), manifest);
        }
        self.plan.manifests.insert(digest.clone(), document);
        Ok(true)
    }
}
