//! The files of a plain registry, as its volume holds them: `docker/registry/v2/{blobs,repositories}`. Links there are
//! small files that hold a digest. What type a manifest was pushed with is not written down; manifests say it themselves.
//! Content lies under its SHA-256 alone: where it was pushed by another digest, a link by that one leads there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use crate::bundle::error::{Error, Refusal};
use crate::bundle::naming::Naming;
use crate::oci::{Algorithm, Digest, Tag};

use super::Limits;
use super::contents::{Contents, Root};
use super::gather::{Wanted, Whereabouts, gather};
use super::source::{Listing, Source};

const ROOT: &str = "docker/registry/v2/";
const TAGS: &str = "/_manifests/tags/";
const REVISIONS: &str = "/_manifests/revisions/";
const LAYERS: &str = "/_layers/";

/// What is above `blobs` and `repositories`, if they are there: the volume's top was named, or a directory in it.
pub(super) fn root(listing: &Listing) -> Option<String> {
    let (blobs, repositories) = ("blobs/", "repositories/");
    ["", "v2/", "registry/v2/", ROOT].into_iter().map(str::to_owned).find(|root| {
        let has = |part: &str| {
            let start = format!("{root}{part}");
            listing.files.range(start.clone()..).next().is_some_and(|(path, _)| path.starts_with(&start))
        };
        has(blobs) && has(repositories)
    })
}

pub(super) fn read(
    source: &Source,
    listing: &Listing,
    root: &str,
    naming: &Naming,
    limits: &Limits,
) -> Result<Contents, Error> {
    let repositories = format!("{root}repositories/");
    let mut contents = Contents::default();
    let mut wanted = BTreeMap::new();
    let mut tags = BTreeMap::new();
    let mut layers = BTreeMap::new();
    let mut unknown = Vec::new();
    for path in listing.files.range(repositories.clone()..).map(|(path, _)| path) {
        let Some(rest) = path.strip_prefix(&repositories) else { break };
        let Some(link) = Link::read(rest) else { continue };
        let (repository, found) = match link {
            Link::Tag { repository, tag } => {
                tags.insert(path.clone(), (repository, tag));
                continue;
            }
            Link::Layer { digest } => {
                layers.insert(path.clone(), digest);
                continue;
            }
            Link::Revision { repository, digest } => (repository, digest),
        };
        let place = match naming.repository(repository) {
            Ok(place) => place,
            Err(error) => {
                if unknown.last().is_none_or(|(last, _)| last != repository) {
                    unknown.push((repository.to_owned(), error));
                }
                continue;
            }
        };
        // What a pull-through registry noted of manifests that it has not is no more than a note.
        if listing.file(&data(root, &found))?.is_none() {
            contents.sparse += 1;
            continue;
        }
        wanted.insert(found.clone(), Wanted { root: true, ..Wanted::default() });
        contents.roots.push(Root { place: Some(place), ..Root::unnamed(found) });
    }
    if !unknown.is_empty() {
        return Err(Error::Names(unknown));
    }
    let links: BTreeSet<String> = tags.keys().cloned().collect();
    source.visit(&links, &mut |path, _, content| {
        let digest = digest_in(source, path, content)?;
        let Some((repository, tag)) = tags.get(path) else { return Ok(()) };
        let place = naming
            .repository(repository)
            .map_err(|error| Error::Names(vec![((*repository).to_owned(), error)]))?;
        if wanted.contains_key(&digest) {
            let name = Some(tag.to_string());
            contents.roots.push(Root { place: Some(place), name, ..Root::unnamed(digest) });
        }
        Ok(())
    })?;
    let mut elsewhere = BTreeMap::new();
    source.visit(&layers.keys().cloned().collect(), &mut |path, _, content| {
        let lies = digest_in(source, path, content)?;
        elsewhere.extend(layers.get(path).map(|digest| (digest.clone(), lies)));
        Ok(())
    })?;
    let at = |digest: &Digest| data(root, elsewhere.get(digest).unwrap_or(digest));
    let whereabouts = Whereabouts { blob: &at, manifest: &at };
    gather(source, listing, wanted, &whereabouts, limits, &mut contents)?;
    Ok(contents)
}

/// A link of a repository.
enum Link<'a> {
    Tag {
        repository: &'a str,
        tag: Tag,
    },
    Revision {
        repository: &'a str,
        digest: Digest,
    },
    /// Of a blob that lies under another digest than this.
    Layer {
        digest: Digest,
    },
}

impl<'a> Link<'a> {
    /// What the path below `repositories/` is; none if it is nothing that matters.
    fn read(path: &'a str) -> Option<Self> {
        let path = path.strip_suffix("/link")?;
        if let Some((repository, rest)) = path.split_once(TAGS) {
            let tag = rest.strip_suffix("/current")?.parse().ok()?;
            return Some(Self::Tag { repository, tag });
        }
        if let Some((_, rest)) = path.split_once(LAYERS) {
            let digest = digest_of(rest).filter(|digest| digest.algorithm() != Algorithm::Sha256)?;
            return Some(Self::Layer { digest });
        }
        let (repository, rest) = path.split_once(REVISIONS)?;
        Some(Self::Revision { repository, digest: digest_of(rest)? })
    }
}

/// What the directories of an algorithm and of its hex digits mean.
fn digest_of(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

fn data(root: &str, digest: &Digest) -> String {
    let hex = digest.hex();
    format!("{root}blobs/{}/{}/{hex}/data", digest.algorithm(), &hex[..2])
}

/// The digest that a link holds.
fn digest_in(source: &Source, path: &str, content: &mut dyn Read) -> Result<Digest, Error> {
    const MOST: u64 = 256;
    let mut text = String::new();
    let read = content.take(MOST).read_to_string(&mut text);
    read.map_err(|error| source.broken(path, error))?;
    text.trim()
        .parse()
        .map_err(|error: crate::oci::DigestError| Error::entry(path, Refusal::Document(error.to_string())))
}
