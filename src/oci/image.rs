//! What people and manifests of deployments call an image: `nginx`, `ghcr.io/org/app:1.2`, `host:5000/a@sha256:...`.
//!
//! Read as Docker reads it, which everybody else does too: a first component with a dot or a colon in it, or `localhost`,
//! is a registry; without one the image is on docker.io, and there in `library/` if its name has one component. Without
//! tag and digest `latest` is meant. Which configured upstream a registry is, is for
//! [`Namespaces::select_image`](super::Namespaces::select_image) to say.

use std::fmt;
use std::str::FromStr;

use super::digest::{Digest, DigestError};
use super::image_glob::ImageGlob;
use super::name::{NameError, Repository, Tag, TagError, is_authority, quoted};
use super::pattern::PatternError;
use super::reference::Reference;

/// The registry of images that name none.
pub(super) const DOCKER: &str = "docker.io";

/// One image, by a name that people use.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageRef {
    registry: Option<Box<str>>,
    name: Repository,
    tag: Option<Tag>,
    digest: Option<Digest>,
}

/// Why a text is no image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// There is nothing where a name should be, or a registry that cannot be one; quoted.
    Registry(String),
    /// What should be a repository is none.
    Name(NameError),
    /// What should be a tag is none.
    Tag(TagError),
    /// What should be a digest is none that can be verified here.
    Digest(DigestError),
    /// What should be a pattern is none, of repositories or of tags.
    Pattern(PatternError),
    /// A digest beside a pattern: it means one image.
    DigestOfMany,
}

/// One image, or all those that a pattern means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Images {
    /// One.
    One(ImageRef),
    /// Those that match.
    Matching(ImageGlob),
}

/// A text taken apart, nothing of it checked but its registry.
pub(super) struct Parts<'a> {
    pub(super) registry: Option<Box<str>>,
    pub(super) name: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) digest: Option<&'a str>,
}

impl ImageRef {
    /// An image of which everything is known.
    pub fn new(registry: &str, repository: Repository, reference: Reference) -> Self {
        let (tag, digest) = match reference {
            Reference::Tag(tag) => (Some(tag), None),
            Reference::Digest(digest) => (None, Some(digest)),
        };
        Self { registry: Some(registry.into()), name: repository, tag, digest }
    }

    /// The registry, which is docker.io where none is written.
    pub fn registry(&self) -> &str {
        self.registry.as_deref().unwrap_or(DOCKER)
    }

    /// The registry, if it is written.
    pub fn written_registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// The name behind the registry, as it is written: `nginx`.
    pub fn written_name(&self) -> &Repository {
        &self.name
    }

    /// The repository in its registry: `library/nginx`.
    pub fn repository(&self) -> Repository {
        match in_library(self.registry(), self.name.as_str()) {
            // Longer by a component, it may be too long for a name; then it is one that nobody has.
            Some(name) => name.parse().unwrap_or_else(|_| self.name.clone()),
            None => self.name.clone(),
        }
    }

    /// The tag, if one is written.
    pub fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one is written.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What to ask the registry for: the digest, else the tag, else `latest`. A tag beside a digest says nothing of what is
    /// pulled.
    pub fn reference(&self) -> Reference {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Reference::Digest(digest.clone()),
            (None, Some(tag)) => Reference::Tag(tag.clone()),
            (None, None) => Reference::Tag(Tag::latest()),
        }
    }
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Result<Self, ImageError> {
        let text = text.strip_prefix("docker://").unwrap_or(text);
        let (text, digest) = match text.split_once('@') {
            Some((text, digest)) => (text, Some(digest)),
            None => (text, None),
        };
        let (registry, rest) = match text.split_once('/') {
            Some((first, rest)) if is_registry(first) => (Some(first), rest),
            _ => (None, text),
        };
        if let Some(registry) = registry.filter(|registry| !is_authority(registry)) {
            return Err(ImageError::Registry(quoted(registry)));
        }
        // In a pattern, a colon in brackets would be no separator; but no tag and no name has one to ask for.
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) => (name, Some(tag)),
            None => (rest, None),
        };
        Ok(Self { registry: registry.map(|name| name.to_ascii_lowercase().into()), name, tag, digest })
    }
}

/// The name with `library/` in front of it, where that is left out.
pub(super) fn in_library(registry: &str, name: &str) -> Option<String> {
    (registry == DOCKER && !name.contains('/')).then(|| format!("library/{name}"))
}

/// Whether a first component is a registry and not part of a name: as Docker tells them apart.
fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase())
}

impl FromStr for ImageRef {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let Parts { registry, name, tag, digest } = Parts::of(text)?;
        Ok(Self {
            registry,
            name: name.parse().map_err(ImageError::Name)?,
            tag: tag.map(str::parse).transpose().map_err(ImageError::Tag)?,
            digest: digest.map(str::parse).transpose().map_err(ImageError::Digest)?,
        })
    }
}

impl FromStr for Images {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        // An authority may have brackets, around an address.
        let behind =
            text.split_once('/').filter(|(first, _)| is_registry(first)).map_or(text, |(_, rest)| rest);
        if behind.contains(['*', '?', '[', '{']) {
            Ok(Self::Matching(text.parse()?))
        } else {
            Ok(Self::One(text.parse()?))
        }
    }
}

/// In full: with its registry, and with what is asked for.
impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry(), self.repository())?;
        match (&self.tag, &self.digest) {
            (Some(tag), _) => write!(f, ":{tag}")?,
            (None, None) => write!(f, ":{}", Tag::latest())?,
            (None, Some(_)) => {}
        }
        match &self.digest {
            Some(digest) => write!(f, "@{digest}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(image) => image.fmt(f),
            Self::Matching(glob) => glob.fmt(f),
        }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry(text) => write!(f, "{text} cannot be a registry"),
            Self::Name(error) => error.fmt(f),
            Self::Tag(error) => error.fmt(f),
            Self::Digest(error) => error.fmt(f),
            Self::Pattern(error) => error.fmt(f),
            Self::DigestOfMany => f.write_str("a digest means one image, and a pattern many"),
        }
    }
}

impl std::error::Error for ImageError {}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    #[test]
    fn an_image_is_read_as_docker_reads_it() {
        // Text; registry, repository, what is asked for; in full, without its digest.
        for (text, registry, repository, asked, full) in [
            ("nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io", "library/nginx", "1.27", "docker.io/library/nginx:1.27"),
            ("team/app", "docker.io", "team/app", "latest", "docker.io/team/app:latest"),
            ("docker.io/nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"),
            ("Docker.IO/nginx", "docker.io", "library/nginx", "latest", "docker.io/library/nginx:latest"),
            ("docker://quay.io/a/b:1", "quay.io", "a/b", "1", "quay.io/a/b:1"),
            (
                "docker.io/library/nginx:1.27",
                "docker.io",
                "library/nginx",
                "1.27",
                "docker.io/library/nginx:1.27",
            ),
            ("ghcr.io/org/app:V1", "ghcr.io", "org/app", "V1", "ghcr.io/org/app:V1"),
            ("localhost/app", "localhost", "app", "latest", "localhost/app:latest"),
            ("host:5000/app", "host:5000", "app", "latest", "host:5000/app:latest"),
            ("host:5000/a/b/c:x", "host:5000", "a/b/c", "x", "host:5000/a/b/c:x"),
            ("[::1]:5000/app:1", "[::1]:5000", "app", "1", "[::1]:5000/app:1"),
            ("host/app", "docker.io", "host/app", "latest", "docker.io/host/app:latest"),
        ] {
            let image: ImageRef = text.parse().unwrap();
            assert_eq!(image.registry(), registry, "{text}");
            assert_eq!(image.repository().as_str(), repository, "{text}");
            assert_eq!(image.reference().to_string(), asked, "{text}");
            assert_eq!(image.to_string(), full, "{text}");
            assert_eq!(text.parse(), Ok(Images::One(image.clone())), "{text}");
            assert_eq!(full.parse::<ImageRef>().unwrap().to_string(), full, "{text}");

            let pinned: ImageRef = format!("{text}@sha256:{HEX}").parse().unwrap();
            assert_eq!(pinned.reference().to_string(), format!("sha256:{HEX}"), "{text}");
            assert_eq!(pinned.tag(), image.tag(), "{text}");
        }
    }

    #[test]
    fn what_is_no_image_is_told_by_the_part_that_is_wrong() {
        for (text, why) in [
            ("", "\"\" is not a repository name"),
            (":", "\"\" is not a repository name"),
            ("nginx:", "\"\" is not a tag"),
            ("nginx:a:b", "\"nginx:a\" is not a repository name"),
            ("ghcr.io/", "\"\" is not a repository name"),
            ("ghcr.io/Org/app", "\"Org/app\" is not a repository name"),
            ("https://ghcr.io/org/app", "\"/ghcr.io/org/app\" is not a repository name"),
            ("user@host.example/app", "\"host.example/app\""),
            ("a b/c.d", "\"a b/c.d\" is not a repository name"),
            ("gh cr.io/app", "\"gh cr.io\" cannot be a registry"),
            ("nginx:-1", "\"-1\" is not a tag"),
            ("nginx@sha256:abc", "sha256:abc"),
            ("nginx:1:2", "\"nginx:1\" is not a repository name"),
            ("${IMAGE}", "\"${IMAGE}\" is not a repository name"),
        ] {
            let error = text.parse::<ImageRef>().unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn a_character_that_stands_for_others_makes_a_pattern() {
        for (text, is_pattern) in [
            ("nginx", false),
            ("[::1]:5000/app:1", false),
            ("ghcr.io/org/app:v1.*", true),
            ("ghcr.io/org/app:v1.?", true),
            ("ghcr.io/org/app:v[12].0", true),
            ("ghcr.io/org/*:1", true),
            ("nginx:{1,2}", true),
        ] {
            let images: Images = text.parse().unwrap();
            assert_eq!(matches!(images, Images::Matching(_)), is_pattern, "{text}");
        }
    }
}
