//! Which images the words of an operator mean: `ghcr.io`, `nginx`, `ghcr.io/org/app:1.2`, `quay.io/team/*:v1.*`, a digest.

use super::Office;
use crate::api::Problem;
use crate::oci::{Digest, ImageError, ImageGlob, ImageRef, Images, Repository, Tag};

/// What is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Selection {
    /// Everything.
    All,
    /// All of an upstream.
    Upstream(String),
    /// Whatever has this digest, wherever.
    Digest(Digest),
    /// One repository, or what of it a tag or a digest names.
    One {
        /// Its upstream.
        upstream: String,
        /// Its name there.
        repository: Repository,
        /// The tag, if one is named.
        tag: Option<Tag>,
        /// The digest, if one is named; then the tag says nothing.
        digest: Option<Digest>,
    },
    /// What a pattern matches.
    Matching(String, Box<ImageGlob>),
}

impl Selection {
    /// Whether anything of this repository can be meant.
    pub(super) fn may_be_in(&self, upstream: &str, repository: &Repository) -> bool {
        match self {
            Self::All | Self::Digest(_) => true,
            Self::Upstream(name) => name == upstream,
            Self::One { upstream: name, repository: one, .. } => name == upstream && one == repository,
            Self::Matching(name, glob) => {
                name == upstream && glob.repositories().matches(repository.as_str())
            }
        }
    }

    /// Whether a tag of such a repository is meant, which stands for this digest; none: nobody here knows for which.
    pub(super) fn means_tag(&self, repository: &Repository, tag: &Tag, digest: Option<&Digest>) -> bool {
        match self {
            // Signatures belong to their images.
            Self::All | Self::Upstream(_) => !tag.is_attached(),
            Self::Digest(meant) | Self::One { digest: Some(meant), .. } => Some(meant) == digest,
            Self::One { tag: Some(meant), .. } => meant == tag,
            Self::One { .. } => !tag.is_attached(),
            Self::Matching(_, glob) => glob.matches(repository, tag),
        }
    }

    /// Whether it is by a digest that something is meant.
    pub(super) fn is_by_digest(&self) -> bool {
        matches!(self, Self::Digest(_) | Self::One { digest: Some(_), .. })
    }

    /// Whether what has no tag in such a repository is meant.
    pub(super) fn means_untagged(&self, digest: &Digest) -> bool {
        match self {
            Self::All | Self::Upstream(_) | Self::One { tag: None, digest: None, .. } => true,
            Self::Digest(meant) | Self::One { digest: Some(meant), .. } => meant == digest,
            Self::One { .. } => false,
            Self::Matching(_, glob) => glob.tags().as_str() == "*",
        }
    }
}

impl Office {
    /// What these words mean; without any, everything.
    pub(super) fn selection(&self, words: Option<&str>) -> Result<Selection, Problem> {
        let Some(words) = words.map(str::trim).filter(|words| !words.is_empty()) else {
            return Ok(Selection::All);
        };
        if let Ok(digest) = words.parse() {
            return Ok(Selection::Digest(digest));
        }
        if self.knows_upstream(words) {
            return Ok(Selection::Upstream(words.to_owned()));
        }
        match words.parse::<Images>().map_err(not_a_name)? {
            Images::One(image) => {
                let (upstream, repository) = self.repository_of(&image)?;
                let (tag, digest) = (image.tag().cloned(), image.digest().cloned());
                Ok(Selection::One { upstream, repository, tag, digest })
            }
            Images::Matching(glob) => {
                // Any name will do: it is the registry that is asked for.
                let upstream = self.place(glob.written_registry(), "any")?.0;
                Ok(Selection::Matching(upstream, Box::new(glob)))
            }
        }
    }

    /// One image by its name.
    pub(super) fn image(&self, words: &str) -> Result<ImageRef, Problem> {
        let words = words.trim();
        if words.parse::<Digest>().is_ok() {
            return Err(Problem::bad_request("a digest alone names no image of a repository")
                .hint("write it behind one, as in ghcr.io/org/app@sha256:..."));
        }
        words.parse().map_err(not_a_name)
    }

    /// The upstream of an image, and its repository there.
    pub(super) fn repository_of(&self, image: &ImageRef) -> Result<(String, Repository), Problem> {
        self.place(image.written_registry(), image.written_name().as_str())
    }

    /// Of an upstream that is configured no more there may be images yet.
    fn place(&self, registry: Option<&str>, name: &str) -> Result<(String, Repository), Problem> {
        match self.mirror.select_image(registry, name) {
            Ok(target) => Ok((target.site.name().to_owned(), target.repository)),
            Err(error) => match (registry, name.parse()) {
                (Some(registry), Ok(repository)) if self.knows_upstream(registry) => {
                    Ok((registry.to_owned(), repository))
                }
                _ => Err(Problem::not_found(error.to_string())
                    .hint("the status of the mirror lists its upstreams")),
            },
        }
    }

    fn knows_upstream(&self, name: &str) -> bool {
        self.mirror.upstreams().iter().any(|upstream| **upstream == *name)
            || self.store.repositories().iter().any(|(upstream, _)| upstream == name)
    }
}

/// Images by a name or a pattern, of upstreams that are asked.
pub(super) fn images(words: &str) -> Result<Images, Problem> {
    words.trim().parse().map_err(not_a_name)
}

fn not_a_name(error: ImageError) -> Problem {
    Problem::bad_request(error).hint(
        "an image is written as in nginx, ghcr.io/org/app:1.2 or ghcr.io/org/app@sha256:...; a pattern as in \
         ghcr.io/org/*:v1.*",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(tag: Option<&str>) -> Selection {
        Selection::One {
            upstream: "quay.io".to_owned(),
            repository: "team/app".parse().unwrap(),
            tag: tag.map(|tag| tag.parse().unwrap()),
            digest: None,
        }
    }

    #[test]
    fn what_is_meant_of_a_repository_follows_from_the_words() {
        let (digest, other): (Digest, Digest) = (
            format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            format!("sha256:{}", "b".repeat(64)).parse().unwrap(),
        );
        let glob = |text: &str| Selection::Matching("quay.io".to_owned(), Box::new(text.parse().unwrap()));
        let repository: Repository = "team/app".parse().unwrap();
        // Selection; in quay.io/team/app; its tag v1; its signature's tag; the image without a tag.
        for (selection, here, tag, attached, untagged) in [
            (Selection::All, true, true, false, true),
            (Selection::Upstream("quay.io".to_owned()), true, true, false, true),
            (Selection::Upstream("ghcr.io".to_owned()), false, true, false, true),
            (Selection::Digest(digest.clone()), true, true, true, true),
            (Selection::Digest(other), true, false, false, false),
            (one(None), true, true, false, true),
            (one(Some("v1")), true, true, false, false),
            (one(Some("v2")), true, false, false, false),
            (glob("quay.io/team/*"), true, true, false, true),
            (glob("quay.io/*"), false, false, false, true),
            (glob("quay.io/**:v*"), true, true, false, false),
            (glob("quay.io/team/*:*.sig"), true, false, true, false),
        ] {
            assert_eq!(selection.may_be_in("quay.io", &repository), here, "{selection:?}");
            let means = |tag: &str| selection.means_tag(&repository, &tag.parse().unwrap(), Some(&digest));
            assert_eq!((means("v1"), means("sha256-aa.sig")), (tag, attached), "{selection:?}");
            assert_eq!(selection.means_untagged(&digest), untagged, "{selection:?}");
        }
    }
}
