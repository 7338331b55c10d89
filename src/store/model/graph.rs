//! The image graph: what a manifest names.

use crate::oci::{Descriptor, Digest, Manifest, Platform};
use serde::Deserialize;

/// What one manifest says of other content, as it is kept in memory and in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Graph {
    /// The manifests of an index.
    pub(in crate::store) children: Vec<Link>,
    /// Configuration and layers of an image.
    pub(in crate::store) blobs: Vec<Link>,
    /// The manifest that this one is about.
    pub(in crate::store) subject: Option<Digest>,
    /// What kind of artifact it is: by its own word, else by the type of its configuration where that is no image's.
    pub(in crate::store) artifact_type: Option<String>,
}

/// A digest that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What is named.
    pub digest: Digest,
    /// The size that the manifest says, 0 where it says none.
    pub size: u64,
    /// `os/architecture[/variant]`, in an index, as [`Platform`] is written.
    pub platform: Option<String>,
    /// As what it is named.
    pub role: Role,
}

/// As what a manifest names a digest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A layer of an image or a blob of an artifact; in an index, a manifest.
    #[default]
    Part,
    /// The configuration of an image.
    Config,
    /// A layer that its registry may not hand out, and that clients may have from elsewhere.
    Foreign,
}

/// How a [`Graph`] is written in indexes of older programs.
#[derive(Deserialize)]
pub(in crate::store) struct GraphRow {
    #[serde(default)]
    children: Vec<LinkRow>,
    #[serde(default)]
    blobs: Vec<LinkRow>,
    subject: Option<String>,
    artifact_type: Option<String>,
}

#[derive(Deserialize)]
struct LinkRow {
    digest: String,
    size: u64,
    platform: Option<String>,
    #[serde(default)]
    role: Role,
}

impl Role {
    fn of_layer(media_type: &str) -> Self {
        let foreign = media_type.contains(".nondistributable.") || media_type.contains(".foreign.");
        if foreign { Self::Foreign } else { Self::Part }
    }
}

impl Graph {
    /// Reads a manifest's descriptors. Content that is no manifest we know names nothing, and is kept all the same.
    pub(in crate::store) fn of(media_type: &str, bytes: &[u8]) -> Self {
        let Ok(manifest) = Manifest::parse(media_type, bytes) else { return Self::default() };
        let config = manifest.config.iter().map(|config| Link { role: Role::Config, ..Link::from(config) });
        let layers = manifest.layers.iter();
        let layers =
            layers.map(|layer| Link { role: Role::of_layer(&layer.media_type), ..Link::from(layer) });
        Self {
            children: manifest.children().map(Link::from).collect(),
            blobs: config.chain(layers).collect(),
            subject: manifest.subject.as_ref().map(|subject| subject.digest.clone()),
            artifact_type: artifact_type(&manifest),
        }
    }

    /// Everything that the manifest makes reachable: its manifests and blobs, not its subject.
    pub(in crate::store) fn links(&self) -> impl Iterator<Item = &Link> {
        self.children.iter().chain(&self.blobs)
    }
}

/// Where a manifest does not say what it is, its configuration does.
fn artifact_type(manifest: &Manifest) -> Option<String> {
    const OF_IMAGES: [&str; 2] =
        ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    let by_config = || {
        let config = manifest.config.as_ref().map(|config| &config.media_type);
        config.filter(|config| !config.is_empty() && !OF_IMAGES.contains(&config.as_str())).cloned()
    };
    manifest.artifact_type.clone().filter(|kind| !kind.is_empty()).or_else(by_config)
}

impl From<&Descriptor> for Link {
    fn from(descriptor: &Descriptor) -> Self {
        let platform = descriptor.platform.as_ref().map(Platform::to_string);
        Self { digest: descriptor.digest.clone(), size: descriptor.size, platform, role: Role::Part }
    }
}

impl GraphRow {
    /// None when a digest in it is none.
    pub(in crate::store) fn graph(self) -> Option<Graph> {
        let links =
            |rows: Vec<LinkRow>| -> Option<Vec<Link>> { rows.into_iter().map(LinkRow::link).collect() };
        Some(Graph {
            children: links(self.children)?,
            blobs: links(self.blobs)?,
            subject: self.subject.map(|text| text.parse()).transpose().ok()?,
            artifact_type: self.artifact_type,
        })
    }
}

impl LinkRow {
    fn link(self) -> Option<Link> {
        let digest = self.digest.parse().ok()?;
        Some(Link { digest, size: self.size, platform: self.platform, role: self.role })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";

    fn descriptor(media_type: &str, digit: char) -> String {
        format!(
            r#"{{"mediaType":"{media_type}","digest":"sha256:{}","size":5}}"#,
            digit.to_string().repeat(64)
        )
    }

    /// An image of a configuration and a layer of these types.
    fn graph(config: &str, layer: &str, more: &str) -> Graph {
        let (config, layer) = (descriptor(config, 'a'), descriptor(layer, 'b'));
        Graph::of(IMAGE, format!(r#"{{"config":{config},"layers":[{layer}]{more}}}"#).as_bytes())
    }

    #[test]
    fn layers_that_a_registry_need_not_have_are_known_by_their_type() {
        const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
        for (layer, role) in [
            ("application/vnd.oci.image.layer.v1.tar+gzip", Role::Part),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Role::Foreign),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Role::Foreign),
            ("", Role::Part),
        ] {
            let graph = graph(CONFIG, layer, "");
            let roles: Vec<_> = graph.blobs.iter().map(|link| link.role).collect();
            assert_eq!(roles, [Role::Config, role], "{layer}");
        }
    }

    #[test]
    fn what_kind_of_artifact_it_is_is_said_by_the_manifest_or_by_its_configuration() {
        for (config, more, expected) in [
            ("application/vnd.oci.image.config.v1+json", "", None),
            ("application/vnd.docker.container.image.v1+json", "", None),
            (
                "application/vnd.cncf.helm.config.v1+json",
                "",
                Some("application/vnd.cncf.helm.config.v1+json"),
            ),
            ("application/vnd.oci.empty.v1+json", r#","artifactType":"x/y""#, Some("x/y")),
            // The index keeps what is empty as what is not there, so it has to be the same before a restart.
            ("application/vnd.oci.image.config.v1+json", r#","artifactType":"""#, None),
        ] {
            assert_eq!(graph(config, "l", more).artifact_type.as_deref(), expected, "{config}");
        }
    }
}
