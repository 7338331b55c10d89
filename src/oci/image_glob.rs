//! Many images by one name: `ghcr.io/org/app:v1.*`.

use std::fmt;
use std::str::FromStr;

use super::image::{DOCKER, ImageError, Parts, in_library};
use super::name::{Repository, Tag};
use super::pattern::Pattern;

/// The images of one registry whose repositories and tags match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageGlob {
    registry: Option<Box<str>>,
    repositories: Pattern,
    tags: Pattern,
}

impl ImageGlob {
    /// The registry, which is docker.io where none is written.
    pub fn registry(&self) -> &str {
        self.registry.as_deref().unwrap_or(DOCKER)
    }

    /// The registry, if it is written.
    pub fn written_registry(&self) -> Option<&str> {
        self.registry.as_deref()
    }

    /// Which repositories of the registry are meant.
    pub fn repositories(&self) -> &Pattern {
        &self.repositories
    }

    /// Which of their tags are meant; all where none is written.
    pub fn tags(&self) -> &Pattern {
        &self.tags
    }

    /// The repository, where the pattern means only one: what can be asked of a registry, which tells nobody which
    /// repositories it has.
    pub fn one_repository(&self) -> Option<Repository> {
        self.repositories.as_str().parse().ok()
    }

    /// Whether a tag of a repository of this registry is meant. Tags of signatures are meant only by patterns that are
    /// written for them: they belong to their images.
    pub fn matches(&self, repository: &Repository, tag: &Tag) -> bool {
        let meant = !tag.is_attached() || self.tags.is_for_attached();
        meant && self.repositories.matches(repository.as_str()) && self.tags.matches(tag.as_str())
    }
}

impl FromStr for ImageGlob {
    type Err = ImageError;

    fn from_str(text: &str) -> Result<Self, ImageError> {
        let Parts { registry, name, tag, digest } = Parts::of(text)?;
        if digest.is_some() {
            return Err(ImageError::DigestOfMany);
        }
        let full = in_library(registry.as_deref().unwrap_or(DOCKER), name);
        Ok(Self {
            registry,
            repositories: Pattern::of_repositories(full.as_deref().unwrap_or(name))
                .map_err(ImageError::Pattern)?,
            tags: Pattern::of_tags(tag.unwrap_or("*")).map_err(ImageError::Pattern)?,
        })
    }
}

impl fmt::Display for ImageGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.registry(), self.repositories.as_str(), self.tags.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_means_tags_of_repositories_of_one_registry() {
        // Text; registry; the one repository; in full; what matches; what does not.
        type Row<'a> = (&'a str, &'a str, Option<&'a str>, &'a str, &'a [&'a str], &'a [&'a str]);
        let rows: &[Row<'_>] = &[
            (
                "ghcr.io/org/app:v1.*",
                "ghcr.io",
                Some("org/app"),
                "ghcr.io/org/app:v1.*",
                &["org/app:v1.2", "org/app:v1.2.3-rc.1"],
                &["org/app:v2.0", "org/app2:v1.2", "org/app:v1.2.sig"],
            ),
            (
                "nginx:*",
                "docker.io",
                Some("library/nginx"),
                "docker.io/library/nginx:*",
                &["library/nginx:1"],
                &["nginx:1"],
            ),
            ("host:5000/**", "host:5000", None, "host:5000/**:*", &["a:1", "a/b/c:latest"], &["a:sha256-ab"]),
            ("a.b/*/app:1", "a.b", None, "a.b/*/app:1", &["x/app:1"], &["app:1", "x/app:2"]),
            ("a.b/app:*.sig", "a.b", Some("app"), "a.b/app:*.sig", &["app:sha256-ab.sig"], &["app:1"]),
        ];
        for (text, registry, repository, full, those, others) in rows {
            let glob: ImageGlob = text.parse().unwrap();
            assert_eq!((glob.registry(), glob.to_string().as_str()), (*registry, *full), "{text}");
            assert_eq!(glob.one_repository().as_ref().map(Repository::as_str), *repository, "{text}");
            for (names, expected) in [(those, true), (others, false)] {
                for name in *names {
                    let (repository, tag) = name.split_once(':').unwrap();
                    let matches = glob.matches(&repository.parse().unwrap(), &tag.parse().unwrap());
                    assert_eq!(matches, expected, "{text} {name}");
                }
            }
        }
    }

    #[test]
    fn a_pattern_has_no_digest_and_is_not_everything_of_everybody() {
        for text in ["a.b/app*@sha256:00", "a.b/App*", "a.b/:*", "*.io/*/app!", "a.b/a**:1"] {
            assert!(text.parse::<ImageGlob>().is_err(), "{text}");
        }
    }
}
