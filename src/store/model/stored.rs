//! A stored manifest as memory holds it: what it names as numbers, and only what is unusual as text.

use super::digests::{Digests, Id};
use super::{Graph, Link, ManifestEntry, Millis, Role};
use crate::oci::Digest;
use std::borrow::Cow;

/// The media types that nearly all manifests have; of others each has its own.
const USUAL: [&str; 4] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

/// A stored manifest.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) size: u64,
    pub(super) accessed: Millis,
    media_type: Cow<'static, str>,
    /// First the manifests that it lists, then its blobs.
    links: Box<[Named]>,
    children: u32,
    pub(super) anonymous: bool,
    rare: Option<Box<Rare>>,
}

/// What most manifests have nothing of.
#[derive(Debug, Default)]
struct Rare {
    subject: Option<Id>,
    artifact_type: Option<String>,
    /// Of what is named at these places.
    platforms: Vec<(u32, String)>,
}

/// A digest that a manifest names.
#[derive(Clone, Copy, Debug)]
struct Named {
    size: u64,
    id: Id,
    role: Role,
}

impl Stored {
    /// Gives what it names numbers.
    pub(super) fn of(entry: ManifestEntry, digests: &mut Digests) -> Self {
        let ManifestEntry { media_type, size, anonymous, graph, accessed } = entry;
        let Graph { children: listed, blobs, subject, artifact_type } = graph;
        let usual = USUAL.into_iter().find(|usual| *usual == media_type);
        let children = u32::try_from(listed.len()).unwrap_or(u32::MAX);
        let subject = subject.as_ref().map(|subject| digests.intern(subject));
        let mut rare = Rare { subject, artifact_type, platforms: Vec::new() };
        let mut named = Vec::with_capacity(listed.len() + blobs.len());
        let mut told = Vec::with_capacity(named.capacity());
        for (at, Link { digest, size, platform, role }) in (0_u32..).zip(listed.into_iter().chain(blobs)) {
            named.push(digest);
            told.push((size, role));
            rare.platforms.extend(platform.map(|platform| (at, platform)));
        }
        let links = digests.intern_all(&named).into_iter().zip(told);
        let is_plain = rare.subject.is_none() && rare.artifact_type.is_none() && rare.platforms.is_empty();
        Self {
            size,
            accessed,
            media_type: usual.map_or(Cow::Owned(media_type), Cow::Borrowed),
            links: links.map(|(id, (size, role))| Named { size, id, role }).collect(),
            children,
            anonymous,
            rare: (!is_plain).then(|| Box::new(rare)),
        }
    }

    /// What it takes on the disk, with its sidecar.
    pub(super) fn space(&self) -> u64 {
        ManifestEntry::space_for(self.size)
    }

    /// Everything that it names but its subject; what it names twice is there twice.
    pub(super) fn links(&self) -> impl Iterator<Item = Id> + '_ {
        self.links.iter().map(|link| link.id)
    }

    pub(super) fn subject(&self) -> Option<Id> {
        self.rare.as_ref()?.subject
    }

    /// The size that it gives for what it names.
    pub(super) fn size_of(&self, id: Id) -> Option<u64> {
        self.links.iter().find(|link| link.id == id).map(|link| link.size)
    }
}

/// A stored manifest, to be read.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Manifest<'a> {
    pub(super) stored: &'a Stored,
    pub(super) digests: &'a Digests,
}

/// As [`Link`].
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct LinkRef<'a> {
    pub(in crate::store) digest: &'a Digest,
    pub(in crate::store) size: u64,
    pub(in crate::store) platform: Option<&'a str>,
    pub(in crate::store) role: Role,
}

impl<'a> Manifest<'a> {
    pub(in crate::store) fn media_type(self) -> &'a str {
        &self.stored.media_type
    }

    pub(in crate::store) fn size(self) -> u64 {
        self.stored.size
    }

    pub(in crate::store) fn anonymous(self) -> bool {
        self.stored.anonymous
    }

    pub(in crate::store) fn accessed(self) -> Millis {
        self.stored.accessed
    }

    pub(in crate::store) fn space(self) -> u64 {
        self.stored.space()
    }

    pub(in crate::store) fn subject(self) -> Option<&'a Digest> {
        self.stored.subject().map(|id| self.digests.get(id))
    }

    fn artifact_type(self) -> Option<&'a str> {
        self.stored.rare.as_ref()?.artifact_type.as_deref()
    }

    /// The manifests that it lists.
    pub(in crate::store) fn children(self) -> impl Iterator<Item = LinkRef<'a>> {
        self.links().take(self.stored.children as usize)
    }

    /// Its configuration and layers.
    pub(in crate::store) fn blobs(self) -> impl Iterator<Item = LinkRef<'a>> {
        self.links().skip(self.stored.children as usize)
    }

    /// The numbers of its configuration and layers.
    pub(in crate::store) fn blob_ids(self) -> impl ExactSizeIterator<Item = Id> {
        self.stored.links.iter().skip(self.stored.children as usize).map(|link| link.id)
    }

    /// Both.
    pub(in crate::store) fn links(self) -> impl Iterator<Item = LinkRef<'a>> {
        let mut platforms = self.stored.rare.iter().flat_map(|rare| &rare.platforms).peekable();
        (0_u32..).zip(&self.stored.links).map(move |(at, link)| LinkRef {
            digest: self.digests.get(link.id),
            size: link.size,
            platform: platforms.next_if(|(of, _)| *of == at).map(|(_, platform)| platform.as_str()),
            role: link.role,
        })
    }

    pub(in crate::store) fn graph(self) -> Graph {
        Graph {
            children: self.children().map(Link::from).collect(),
            blobs: self.blobs().map(Link::from).collect(),
            subject: self.subject().cloned(),
            artifact_type: self.artifact_type().map(str::to_owned),
        }
    }

    pub(in crate::store) fn entry(self) -> ManifestEntry {
        ManifestEntry {
            media_type: self.media_type().to_owned(),
            size: self.size(),
            anonymous: self.anonymous(),
            graph: self.graph(),
            accessed: self.accessed(),
        }
    }
}

impl From<LinkRef<'_>> for Link {
    fn from(link: LinkRef<'_>) -> Self {
        let LinkRef { digest, size, platform, role } = link;
        Self { digest: digest.clone(), size, platform: platform.map(str::to_owned), role }
    }
}
