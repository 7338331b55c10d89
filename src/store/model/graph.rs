//! The image graph: what a manifest names.

use crate::oci::{Descriptor, Digest, Manifest};
use serde::{Deserialize, Serialize};

/// What one manifest says of other content, as it is kept in memory and in the index.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Graph {
    /// The manifests of an index.
    pub(in crate::store) children: Vec<Link>,
    /// Configuration and layers of an image.
    pub(in crate::store) blobs: Vec<Link>,
    /// The manifest that this one is about.
    pub(in crate::store) subject: Option<Digest>,
    /// What kind of artifact it is.
    pub(in crate::store) artifact_type: Option<String>,
}

/// A digest that a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Link {
    pub(in crate::store) digest: Digest,
    /// The size that the manifest says, 0 where it says none.
    pub(in crate::store) size: u64,
    /// `os/architecture[/variant]`, in an index.
    pub(in crate::store) platform: Option<String>,
}

/// How a [`Graph`] is written in the index: text, in a shape that can get more fields.
#[derive(Serialize, Deserialize)]
pub(in crate::store) struct GraphRow {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    children: Vec<LinkRow>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blobs: Vec<LinkRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct LinkRow {
    digest: String,
    size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
}

impl Graph {
    /// Reads a manifest's descriptors. Content that is no manifest we know names nothing, and is kept all the same.
    pub(in crate::store) fn of(media_type: &str, bytes: &[u8]) -> Self {
        let Ok(manifest) = Manifest::parse(media_type, bytes) else { return Self::default() };
        Self {
            children: manifest.children().map(Link::from).collect(),
            blobs: manifest.blobs().map(Link::from).collect(),
            subject: manifest.subject.as_ref().map(|subject| subject.digest.clone()),
            artifact_type: manifest.artifact_type,
        }
    }

    /// Everything that the manifest makes reachable: its manifests and blobs, not its subject.
    pub(in crate::store) fn links(&self) -> impl Iterator<Item = &Link> {
        self.children.iter().chain(&self.blobs)
    }

    pub(in crate::store) fn row(&self) -> GraphRow {
        GraphRow {
            children: self.children.iter().map(LinkRow::from).collect(),
            blobs: self.blobs.iter().map(LinkRow::from).collect(),
            subject: self.subject.as_ref().map(Digest::to_string),
            artifact_type: self.artifact_type.clone(),
        }
    }
}

impl From<&Descriptor> for Link {
    fn from(descriptor: &Descriptor) -> Self {
        let platform = descriptor.platform.as_ref().map(|platform| {
            let mut text = format!("{}/{}", platform.os, platform.architecture);
            if let Some(variant) = &platform.variant {
                text.push('/');
                text.push_str(variant);
            }
            text
        });
        Self { digest: descriptor.digest.clone(), size: descriptor.size, platform }
    }
}

impl From<&Link> for LinkRow {
    fn from(link: &Link) -> Self {
        Self { digest: link.digest.to_string(), size: link.size, platform: link.platform.clone() }
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
        Some(Link { digest: self.digest.parse().ok()?, size: self.size, platform: self.platform })
    }
}
