//! What the names in archives mean: which upstream, which repository, which tag.
//!
//! A name with a host in front is of the upstream that is configured under it. One without is what Docker means by it,
//! an image of docker.io, or of another upstream that was said. A mere tag, or no name at all, needs to be told where.

use std::fmt;

use crate::oci::{Digest, ImageRef, Namespace, NamespaceConflict, Namespaces, SelectError, Tag};

use super::side::Place;

/// The rules by which names are understood.
#[derive(Clone, Debug)]
pub struct Naming {
    namespaces: Namespaces,
    names: Vec<String>,
    /// What names without a host are of, if that was said.
    upstream: Option<String>,
    unnamed: Option<(Place, Option<Tag>)>,
}

/// What a name in an archive means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) place: Place,
    pub(super) tag: Option<Tag>,
}

/// Why a name means nothing here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamingError {
    /// Its upstream, quoted, is not configured.
    Upstream(String),
    /// It has no repository, and none was said.
    NoPlace,
    /// It is not the name of an image.
    Invalid(String),
}

impl Naming {
    /// By the names of these upstreams.
    ///
    /// # Errors
    /// Names that mean two upstreams.
    pub fn new(upstreams: &[Namespace]) -> Result<Self, Vec<NamespaceConflict>> {
        Ok(Self {
            namespaces: Namespaces::new(upstreams)?,
            names: upstreams.iter().map(|upstream| upstream.name.clone()).collect(),
            upstream: None,
            unnamed: None,
        })
    }

    /// Names without a host are of this upstream.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn with_upstream(mut self, upstream: &str) -> Result<Self, NamingError> {
        self.place(Some(upstream), "any")?;
        self.upstream = Some(upstream.to_owned());
        Ok(self)
    }

    /// What has no name, or is only a tag, is of this repository, and has this tag where it has none: `host/repository` or
    /// `host/repository:tag`.
    ///
    /// # Errors
    /// It is no such name.
    pub fn with_unnamed(mut self, name: &str) -> Result<Self, NamingError> {
        let Named { place, tag } = self.full(name)?;
        self.unnamed = Some((place, tag));
        Ok(self)
    }

    /// What a name in an archive means; `None` where it has none.
    pub(super) fn understand(&self, name: Option<&str>) -> Result<Named, NamingError> {
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            let (place, tag) = self.unnamed.clone().ok_or(NamingError::NoPlace)?;
            return Ok(Named { place, tag });
        };
        if name.contains(['/', ':', '@']) {
            return self.full(name);
        }
        // `alpine` may be a tag or a repository; as the reference of a layout it is a tag.
        let (place, _) = self.unnamed.clone().ok_or(NamingError::NoPlace)?;
        let tag = name.parse::<Tag>().map_err(|error| NamingError::Invalid(error.to_string()))?;
        Ok(Named { place, tag: Some(tag) })
    }

    /// The place of a repository as a registry's directory names it.
    pub(super) fn repository(&self, name: &str) -> Result<Place, NamingError> {
        Ok(self.full(name)?.place)
    }

    /// What a whole name means: `[host/]repository[:tag][@digest]`.
    fn full(&self, name: &str) -> Result<Named, NamingError> {
        let image: ImageRef =
            name.parse().map_err(|error: crate::oci::ImageError| NamingError::Invalid(error.to_string()))?;
        let place = self.place(image.written_registry(), image.written_name().as_str())?;
        Ok(Named { place, tag: image.tag().cloned() })
    }

    /// The repository of that name in a registry, or where names go that name none.
    pub(super) fn place(&self, registry: Option<&str>, name: &str) -> Result<Place, NamingError> {
        match self.namespaces.select_image(registry.or(self.upstream.as_deref()), name) {
            Ok(selected) => {
                Ok(Place { upstream: self.names[selected.index].clone(), repository: selected.repository })
            }
            Err(SelectError::UnknownNamespace(upstream)) => Err(NamingError::Upstream(upstream)),
            Err(error) => Err(NamingError::Invalid(error.to_string())),
        }
    }
}

/// How a bundle names an image in full.
pub(super) fn full_name(place: &Place, tag: Option<&Tag>, digest: &Digest) -> String {
    match tag {
        Some(tag) => format!("{place}:{tag}"),
        None => format!("{place}@{digest}"),
    }
}

impl fmt::Display for NamingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Upstream(upstream) => write!(
                f,
                "there is no upstream {upstream}; add an [[upstream]] of that name to the configuration"
            ),
            Self::NoPlace => f.write_str(
                "it is not said of which repository it is; say it with --as, such as --as docker.io/library/alpine:3",
            ),
            Self::Invalid(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for NamingError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str, aliases: &[&str]) -> Namespace {
        Namespace {
            name: name.to_owned(),
            aliases: aliases.iter().map(|&alias| alias.to_owned()).collect(),
            ..Namespace::default()
        }
    }

    fn naming() -> Naming {
        let upstreams = [
            upstream("docker.io", &["index.docker.io"]),
            upstream("quay.io", &[]),
            upstream("registry.local:5000", &[]),
        ];
        Naming::new(&upstreams).unwrap()
    }

    fn text(named: Result<Named, NamingError>) -> String {
        match named {
            Ok(Named { place, tag: Some(tag) }) => format!("{place}:{tag}"),
            Ok(Named { place, tag: None }) => place.to_string(),
            Err(NamingError::Upstream(upstream)) => format!("no {upstream}"),
            Err(NamingError::NoPlace) => "nowhere".to_owned(),
            Err(NamingError::Invalid(_)) => "invalid".to_owned(),
        }
    }

    #[test]
    fn names_mean_what_docker_means_by_them_and_upstreams_what_is_configured() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (name, expected) in [
            ("alpine:3", "docker.io/library/alpine:3"),
            ("team/app:1", "docker.io/team/app:1"),
            ("docker.io/library/alpine:3", "docker.io/library/alpine:3"),
            ("docker.io/alpine:3", "docker.io/library/alpine:3"),
            ("index.docker.io/alpine:3", "docker.io/library/alpine:3"),
            ("quay.io/team/app:v1", "quay.io/team/app:v1"),
            ("quay.io/docker.io/app:v1", "quay.io/docker.io/app:v1"),
            ("registry.local:5000/app:v1", "registry.local:5000/app:v1"),
            ("registry.local:5000/app", "registry.local:5000/app"),
            ("registry.elsewhere/app:1", "no \"registry.elsewhere\""),
            ("localhost/app:1", "no \"localhost\""),
            ("quay.io/Team:1", "invalid"),
            ("quay.io/team:-", "invalid"),
            ("quay.io/team@sha256:00", "invalid"),
            ("latest", "nowhere"),
        ] {
            assert_eq!(text(naming().understand(Some(name))), expected, "{name}");
        }
        let by_digest = format!("quay.io/team/app@{digest}");
        assert_eq!(text(naming().understand(Some(&by_digest))), "quay.io/team/app");
        let both = format!("quay.io/team/app:v1@{digest}");
        assert_eq!(text(naming().understand(Some(&both))), "quay.io/team/app:v1");
        assert_eq!(text(naming().understand(None)), "nowhere");
    }

    #[test]
    fn what_has_no_repository_is_of_the_one_that_was_said() {
        let naming = naming().with_unnamed("quay.io/team/app:v1").unwrap();
        assert_eq!(text(naming.understand(None)), "quay.io/team/app:v1");
        assert_eq!(text(naming.understand(Some("v2"))), "quay.io/team/app:v2");
        assert_eq!(text(naming.understand(Some("alpine:3"))), "docker.io/library/alpine:3");
    }

    #[test]
    fn names_without_a_host_are_of_the_upstream_that_was_said() {
        let named = naming().with_upstream("quay.io").unwrap();
        assert_eq!(text(named.understand(Some("alpine:3"))), "quay.io/alpine:3");
        assert_eq!(named.repository("a/b").unwrap().to_string(), "quay.io/a/b");
        assert_eq!(
            naming().with_upstream("ghcr.io").err(),
            Some(NamingError::Upstream("\"ghcr.io\"".to_owned()))
        );
    }
}
