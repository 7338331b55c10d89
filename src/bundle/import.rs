//! Import: from whatever holds images to a destination, verified, in two phases.
//!
//! First everything is read that says what there is, and refused for whatever is wrong with it, before anything is
//! written. Then blobs, then whose they are, then manifests from the leaves up, and when all are there, what shows them:
//! so that a stop at any moment leaves content that nobody sees, which the next try finds and does not write again, or by
//! its digest sees whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::oci::{Digest, Tag};

use super::error::Error;
use super::naming::{Naming, NamingError};
use super::progress::Progress;
use super::read::{self, Contents, Limits, Loss, Root, Source};
use super::side::{
    Committed, Destination, Document, Held, Image, Lost, Place, Room, Shown, SideError, TagChange,
};
use super::verify::Verified;

/// How an archive is understood.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// What the names in it mean.
    pub naming: Naming,
    /// What it may cost.
    pub limits: Limits,
    /// Whether tags that have moved on from what is brought are moved back.
    pub move_back: bool,
}

/// What an import has brought.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// What can be asked for by a tag now, or by its digest where it has none.
    pub images: Vec<Image>,
    /// Blobs that were written.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that were there before.
    pub already: usize,
    /// What is to be known about it.
    pub warnings: Vec<Warning>,
    /// Tags that stood for something else and were moved, and those that were not.
    pub tags: Committed,
    /// What was evicted meanwhile to make room.
    pub lost: Lost,
}

/// What somebody who imports should know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The archive has no manifests: those of the registry, and their digests, are lost.
    ManifestsMade,
    /// The archive has layers as Docker unpacked them: digests are not those of the registry.
    LayersUnpacked,
    /// So many images of indexes were not in it, most likely other platforms.
    Sparse(usize),
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ManifestsMade => f.write_str(
                "the archive has no manifests, so new ones were made: pull these images by tag; the digests that the registry \
                 has for them do not work. An OCI layout (skopeo copy --all ... oci-archive:) keeps them",
            ),
            Self::LayersUnpacked => f.write_str(
                "Docker saved the layers unpacked: pull these images by tag; the digests that the registry has for them do \
                 not work. An OCI layout (skopeo copy --all ... oci-archive:) keeps them",
            ),
            Self::Sparse(count) => write!(
                f,
                "{count} manifests that an index names are not in the archive, most likely other platforms; they cannot be \
                 pulled"
            ),
        }
    }
}

/// Brings what is in an archive to a destination.
///
/// # Errors
/// Whatever is wrong with the archive, before anything of it is written as far as can be; or the destination's refusal.
pub fn import(
    paths: &[PathBuf],
    destination: &mut dyn Destination,
    options: &ImportOptions,
    progress: &mut dyn Progress,
) -> Result<Imported, Error> {
    let mut source = Source::open(paths, &options.limits)?;
    let contents = read::read(&mut source, &options.naming, &options.limits)?;
    if contents.roots.is_empty() {
        return Err(Error::Empty(source.path()));
    }
    let (shown, images) = places(&contents, &options.naming)?;
    let missing = missing(&contents, destination)?;
    let mut imported = Imported { images, ..Imported::default() };
    imported.already = contents.blobs.values().filter(|blob| blob.path.is_some()).count() - missing.len();
    let needed = missing.iter().map(|digest| contents.blobs[digest].size).sum();
    let mark = make_sure_of_room(&contents, &missing, needed, destination)?;

    progress.begin(missing.len(), needed);
    blobs(&source, &contents, &missing, &shown, destination, progress, &mut imported)?;
    // A store that is too small for all of it may have given up the first for the last.
    let gone = self::missing(&contents, destination)?;
    if let Some(digest) = gone.first() {
        return Err(Error::side("keep", digest)(SideError::NoSpace));
    }
    // Before their manifests: each of those can be asked for by its digest from the moment it is there.
    destination.add_members(&parts(&contents, &shown)).map_err(Error::side("keep", "what was imported"))?;
    manifests(&contents, &shown, destination)?;
    let committed = destination.commit(&shown, options.move_back);
    imported.tags = committed.map_err(Error::side("show", "what was imported"))?;
    let stays = |image: &Image| {
        let is_kept = |kept: &TagChange| image.place == kept.place && image.tag.as_ref() == Some(&kept.tag);
        imported.tags.kept.iter().any(is_kept)
    };
    imported.images.retain(|image| !stays(image));
    if let Some(mark) = mark {
        imported.lost = destination.lost_since(mark).map_err(Error::side("ask for", "what was evicted"))?;
    }

    imported.warnings.extend(contents.loss.map(|loss| match loss {
        Loss::Made => Warning::ManifestsMade,
        Loss::Unpacked => Warning::LayersUnpacked,
    }));
    imported.warnings.extend((contents.sparse > 0).then_some(Warning::Sparse(contents.sparse)));
    Ok(imported)
}

/// Refuses what cannot fit, before anything has to go for it. Gives the moment before the first byte.
fn make_sure_of_room(
    contents: &Contents,
    missing: &[Digest],
    needed: u64,
    destination: &mut dyn Destination,
) -> Result<Option<u64>, Error> {
    let here: Vec<Digest> =
        contents.blobs.keys().filter(|digest| missing.binary_search(digest).is_err()).cloned().collect();
    let room = destination.room(&here).map_err(Error::side("ask for", "room"))?;
    match room {
        Some(Room { free, evictable, .. }) if needed > free.saturating_add(evictable) => {
            Err(Error::NoRoom { needed, free, evictable })
        }
        room => Ok(room.map(|room| room.mark)),
    }
}

/// The blobs of what is to be shown.
fn parts(contents: &Contents, shown: &[Shown]) -> Vec<Shown> {
    let blobs = |shown: &Shown| {
        let members = shown.members.iter().filter(|digest| !contents.manifests.contains_key(*digest));
        Shown { place: shown.place.clone(), members: members.cloned().collect(), tags: Vec::new() }
    };
    shown.iter().map(blobs).filter(|part| !part.members.is_empty()).collect()
}

/// Which repository gets what, and what can then be asked for.
fn places(contents: &Contents, naming: &Naming) -> Result<(Vec<Shown>, Vec<Image>), Error> {
    let mut wrong = Vec::new();
    let mut images = BTreeSet::new();
    let mut tags: BTreeMap<Place, BTreeMap<Tag, Digest>> = BTreeMap::new();
    let mut members: BTreeMap<Place, BTreeSet<Digest>> = BTreeMap::new();
    let mut attached = Vec::new();
    for root in &contents.roots {
        match placed(root, contents, naming) {
            Ok(Some((place, tag))) => {
                reach(contents, &root.digest, members.entry(place.clone()).or_default());
                images.insert(Image { place: place.clone(), tag: tag.clone(), digest: root.digest.clone() });
                let Some(tag) = tag else { continue };
                let known = tags.entry(place).or_default().insert(tag.clone(), root.digest.clone());
                if known.is_some_and(|known| known != root.digest) {
                    let why = "two images have this name; import them from archives of their own".to_owned();
                    wrong.push((
                        root.name.clone().unwrap_or_else(|| tag.to_string()),
                        NamingError::Invalid(why),
                    ));
                }
            }
            Ok(None) => attached.push(root),
            Err(error) => {
                wrong.push((root.name.clone().unwrap_or_else(|| root.digest.to_string()), error));
            }
        }
    }
    // A signature of a signature comes to its place after the signature did.
    loop {
        let before = attached.len();
        attached.retain(|root| {
            let subject = subject(root, contents);
            let mut found = false;
            for (place, members) in &mut members {
                if subject.is_some_and(|subject| members.contains(subject)) {
                    reach(contents, &root.digest, members);
                    images.insert(Image { place: place.clone(), tag: None, digest: root.digest.clone() });
                    found = true;
                }
            }
            !found
        });
        if attached.len() == before {
            break;
        }
    }
    wrong.extend(attached.iter().map(|root| (root.digest.to_string(), NamingError::NoPlace)));
    if !wrong.is_empty() {
        return Err(Error::Names(wrong));
    }
    let shown = members.into_iter().map(|(place, members)| {
        let tags = tags.remove(&place).unwrap_or_default().into_iter().collect();
        Shown { place, members: members.into_iter().collect(), tags }
    });
    Ok((shown.collect(), told(images, contents)))
}

/// What is worth telling: not by its digest what has a tag, or is one of an index.
fn told(images: BTreeSet<Image>, contents: &Contents) -> Vec<Image> {
    let listed: BTreeSet<&Digest> = contents
        .manifests
        .values()
        .flat_map(|found| found.manifest.children().map(|child| &child.digest))
        .collect();
    let tagged: BTreeSet<(Place, Digest)> = images
        .iter()
        .filter(|image| image.tag.is_some())
        .map(|image| (image.place.clone(), image.digest.clone()))
        .collect();
    let known = |image: &Image| {
        listed.contains(&image.digest) || tagged.contains(&(image.place.clone(), image.digest.clone()))
    };
    images.into_iter().filter(|image| image.tag.is_some() || !known(image)).collect()
}

/// Where a root belongs, and by which tag; none if that is where what it is about is.
fn placed(
    root: &Root,
    contents: &Contents,
    naming: &Naming,
) -> Result<Option<(Place, Option<Tag>)>, NamingError> {
    if let Some(place) = &root.place {
        let tag = root.name.as_deref().map(str::parse::<Tag>).transpose();
        return Ok(Some((place.clone(), tag.map_err(|error| NamingError::Invalid(error.to_string()))?)));
    }
    if let (None, Some(repository)) = (&root.name, &root.repository) {
        return Ok(Some((naming.repository(repository)?, None)));
    }
    if root.name.is_none() && subject(root, contents).is_some() {
        return Ok(None);
    }
    let named = naming.understand(root.name.as_deref())?;
    Ok(Some((named.place, named.tag)))
}

fn subject<'a>(root: &'a Root, contents: &'a Contents) -> Option<&'a Digest> {
    let own = || Some(&contents.manifests.get(&root.digest)?.manifest.subject.as_ref()?.digest);
    root.subject.as_ref().or_else(own)
}

/// Enters what a manifest makes reachable, and that is here.
fn reach(contents: &Contents, digest: &Digest, members: &mut BTreeSet<Digest>) {
    let mut ahead = vec![digest];
    while let Some(digest) = ahead.pop() {
        let Some(found) = contents.manifests.get(digest) else { continue };
        if members.insert(digest.clone()) {
            members.extend(found.manifest.blobs().map(|blob| blob.digest.clone()));
            ahead.extend(found.manifest.children().map(|child| &child.digest));
        }
    }
}

/// The blobs that have to be written. What is neither in the archive nor at the destination is an error.
fn missing(contents: &Contents, destination: &mut dyn Destination) -> Result<Vec<Digest>, Error> {
    let (mut missing, mut lacking) = (Vec::new(), Vec::new());
    for (digest, blob) in &contents.blobs {
        let held = destination.blob(digest).map_err(Error::side("look for", digest))?;
        if held.is_some() {
            continue;
        }
        match &blob.path {
            Some(_) => missing.push(digest.clone()),
            None if blob.foreign => {}
            None => lacking.push((digest.clone(), blob.size)),
        }
    }
    for need in contents.needs.iter().flatten() {
        let Ok(digest) = need.digest.parse::<Digest>() else { continue };
        let known = contents.blobs.contains_key(&digest);
        if !known && destination.blob(&digest).map_err(Error::side("look for", &digest))?.is_none() {
            lacking.push((digest, need.size));
        }
    }
    if lacking.is_empty() {
        Ok(missing)
    } else {
        Err(Error::Lacks { missing: lacking, delta: contents.needs.is_some() })
    }
}

/// Writes the blobs, in the order in which the archive has them.
fn blobs(
    source: &Source,
    contents: &Contents,
    missing: &[Digest],
    shown: &[Shown],
    destination: &mut dyn Destination,
    progress: &mut dyn Progress,
    imported: &mut Imported,
) -> Result<(), Error> {
    let by_path: BTreeMap<&str, &Digest> =
        missing.iter().filter_map(|digest| Some((contents.blobs[digest].path.as_deref()?, digest))).collect();
    let wanted = by_path.keys().map(|&path| path.to_owned()).collect();
    source.visit(&wanted, &mut |path, size, content| {
        let Some(&digest) = by_path.get(path) else { return Ok(()) };
        // Every blob is of a manifest, and every manifest of a place.
        let member = |shown: &&Shown| shown.members.binary_search(digest).is_ok();
        let Some(through) = shown.iter().find(member) else { return Ok(()) };
        progress.blob(digest, size);
        let held = Held { size, anonymous: is_anonymous(contents, digest) };
        let mut content = Verified::new(content, digest, size, progress);
        let put = destination.put_blob(digest, held, &through.place, &mut content);
        let whole = content.is_done();
        if let Some(error) = content.into_failure() {
            return Err(source.broken(path, error));
        }
        put.map_err(Error::side("keep", digest))?;
        if !whole {
            let why = "it was taken without being read to its end".to_owned();
            return Err(Error::side("keep", digest)(SideError::Failed(why)));
        }
        progress.done(digest);
        imported.blobs += 1;
        imported.bytes += size;
        Ok(())
    })
}

/// Writes the manifests, each after those that it names.
fn manifests(contents: &Contents, shown: &[Shown], destination: &mut dyn Destination) -> Result<(), Error> {
    let mut order = Vec::new();
    let mut seen = BTreeSet::new();
    let mut ahead: Vec<(&Digest, bool)> = contents.manifests.keys().map(|digest| (digest, false)).collect();
    while let Some((digest, below_done)) = ahead.pop() {
        let Some(found) = contents.manifests.get(digest) else { continue };
        if below_done {
            order.push((digest, &found.document));
        } else if seen.insert(digest) {
            ahead.push((digest, true));
            ahead.extend(found.manifest.children().map(|child| (&child.digest, false)));
        }
    }
    for (digest, document) in order {
        let document = Document { anonymous: is_anonymous(contents, digest), ..document.clone() };
        for shown in shown.iter().filter(|shown| shown.members.binary_search(digest).is_ok()) {
            let put = destination.put_manifest(digest, &document, &shown.place);
            put.map_err(Error::side("keep", digest))?;
        }
    }
    Ok(())
}

/// Whether everybody may have it. What nobody says so of is shown only where it was said to belong.
fn is_anonymous(contents: &Contents, digest: &Digest) -> bool {
    contents.private.as_ref().is_some_and(|private| !private.contains(digest))
}
