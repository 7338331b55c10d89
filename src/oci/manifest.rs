//! What a manifest names: its configuration, layers, images, subject.
//!
//! The bytes of a manifest are never changed and never written anew; this is only reading along, to know which blobs
//! and manifests belong to a repository and how large they will be. So it is as tolerant as can be: what it cannot make
//! sense of it leaves out, and only what is no JSON object at all is an error. Of a document that could be taken for an
//! image and for an index, its type decides which it is, as it does for clients.

use std::fmt;

use super::descriptor::Descriptor;
use super::json::Object;

/// The types that upstreams are asked for, always all of them: some registries make another manifest for who does not
/// name the type of the one they have, and that one would then be served to everyone. Docker's schema 1 is not among
/// them, so that nobody is given it who could have better.
pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
                          application/vnd.docker.distribution.manifest.list.v2+json, \
                          application/vnd.oci.image.manifest.v1+json, \
                          application/vnd.docker.distribution.manifest.v2+json";

/// The largest manifest that is taken. containerd and most registries stop at 4 MiB, the conformance suite goes to
/// 3.9 MB, go-containerregistry reads 100 MiB; manifests are held in memory whole, so the limit is four times what has
/// to work and no more.
pub const MAX_MANIFEST_BYTES: usize = 16 * 1024 * 1024;

/// What kind of document a manifest is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    /// One image or artifact: a configuration and layers.
    Image,
    /// A list of manifests.
    Index,
    /// Docker's first format, which names its layers in a way of its own; passed on, not read.
    Schema1,
    /// Something else; all that looks like a descriptor is read.
    Other,
}

/// What a manifest names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What kind of document it is.
    pub kind: ManifestKind,
    /// The type that the document gives itself; old images give none. What goes to clients is upstream's header.
    pub media_type: Option<String>,
    /// The configuration of an image.
    pub config: Option<Descriptor>,
    /// The layers of an image, or the blobs of an artifact, in order; one may come twice.
    pub layers: Vec<Descriptor>,
    /// The manifests of an index, in order.
    pub manifests: Vec<Descriptor>,
    /// The manifest that this one is about: a signature's image.
    pub subject: Option<Descriptor>,
    /// What kind of artifact it is, if it says so.
    pub artifact_type: Option<String>,
}

/// Why a document is no manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// Larger than [`MAX_MANIFEST_BYTES`]; its size.
    TooLarge(usize),
    /// Not a JSON object; what the parser says.
    NotAnObject(String),
}

impl ManifestKind {
    /// The kind that a media type stands for; none if the type says nothing of it. Parameters and case do not count.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match essence.as_str() {
            "application/vnd.oci.image.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v2+json" => Some(Self::Image),
            "application/vnd.oci.image.index.v1+json"
            | "application/vnd.docker.distribution.manifest.list.v2+json" => Some(Self::Index),
            "application/vnd.docker.distribution.manifest.v1+json"
            | "application/vnd.docker.distribution.manifest.v1+prettyjws" => Some(Self::Schema1),
            _ => None,
        }
    }

    fn of_shape(document: &Object<'_>) -> Self {
        if document.get::<u64>("schemaVersion") == Some(1) {
            Self::Schema1
        } else if document.has("manifests") && !document.has("layers") {
            Self::Index
        } else if document.has("config") && document.has("layers") && !document.has("manifests") {
            Self::Image
        } else {
            Self::Other
        }
    }
}

impl Manifest {
    /// Reads a manifest that came with this `Content-Type`, which may be empty. The header's type counts first, then
    /// the document's own, then its shape.
    pub fn parse(content_type: &str, body: &[u8]) -> Result<Self, ManifestError> {
        if body.len() > MAX_MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(body.len()));
        }
        let document = Object::parse(body).map_err(|error| ManifestError::NotAnObject(error.to_string()))?;
        let media_type = document.get::<String>("mediaType");
        let kind = ManifestKind::of_media_type(content_type)
            .or_else(|| ManifestKind::of_media_type(media_type.as_deref()?))
            .unwrap_or_else(|| ManifestKind::of_shape(&document));
        let mut manifest = Self {
            kind,
            media_type,
            config: None,
            layers: Vec::new(),
            manifests: Vec::new(),
            subject: document.object("subject").and_then(Descriptor::read),
            artifact_type: document.get("artifactType"),
        };
        if matches!(kind, ManifestKind::Image | ManifestKind::Other) {
            manifest.config = document.object("config").and_then(Descriptor::read);
            manifest.layers = document.list("layers", Descriptor::read);
        }
        if matches!(kind, ManifestKind::Index | ManifestKind::Other) {
            manifest.manifests = document.list("manifests", Descriptor::read);
        }
        if kind == ManifestKind::Other {
            // The artifact manifest of the release candidates of OCI 1.1, which registries still hold.
            manifest.layers.extend(document.list("blobs", Descriptor::read));
        }
        Ok(manifest)
    }

    /// The blobs that a client needs beside this manifest: configuration first, then layers; one may come twice.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        self.config.iter().chain(&self.layers)
    }

    /// The manifests that this one lists. Its subject is not among them: that is the other direction.
    pub fn children(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter()
    }
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge(size) => {
                write!(f, "the manifest has {size} bytes; {MAX_MANIFEST_BYTES} is the most that is taken")
            }
            Self::NotAnObject(why) => write!(f, "the manifest is no JSON object: {why}"),
        }
    }
}

impl std::error::Error for ManifestError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
    const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const DOCKER_IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
    const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const DOCKER_OLD: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

    fn descriptor(digit: char, size: u64) -> String {
        format!(r#"{{"mediaType":"t","digest":"sha256:{}","size":{size}}}"#, digit.to_string().repeat(64))
    }

    fn image() -> String {
        format!(
            r#"{{"schemaVersion":2,"config":{},"layers":[{},{{"digest":"blake3:00"}},{}],"subject":{},"artifactType":"a/b","x":1}}"#,
            descriptor('a', 1),
            descriptor('b', 2),
            descriptor('c', 3),
            descriptor('d', 4)
        )
    }

    fn index() -> String {
        format!(r#"{{"schemaVersion":2,"manifests":[{},{}]}}"#, descriptor('a', 1), descriptor('b', 2))
    }

    fn sizes<'a>(descriptors: impl Iterator<Item = &'a Descriptor>) -> Vec<u64> {
        descriptors.map(|descriptor| descriptor.size).collect()
    }

    #[test]
    fn t06_the_accepted_types_are_both_images_and_both_indexes_and_never_schema_1() {
        let types: Vec<_> = ACCEPT.split(", ").collect();
        assert_eq!(types, [OCI_INDEX, DOCKER_LIST, OCI_IMAGE, DOCKER_IMAGE]);
    }

    #[test]
    fn an_image_names_its_configuration_and_layers() {
        let manifest = Manifest::parse(OCI_IMAGE, image().as_bytes()).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Image);
        assert_eq!(manifest.media_type, None);
        assert_eq!(sizes(manifest.blobs()), [1, 2, 3]);
        assert_eq!(sizes(manifest.children()), [] as [u64; 0]);
        assert_eq!(manifest.subject.map(|subject| subject.size), Some(4));
        assert_eq!(manifest.artifact_type.as_deref(), Some("a/b"));
    }

    #[test]
    fn an_index_names_its_manifests() {
        let manifest = Manifest::parse(DOCKER_LIST, index().as_bytes()).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Index);
        assert_eq!(sizes(manifest.children()), [1, 2]);
        assert_eq!(sizes(manifest.blobs()), [] as [u64; 0]);
    }

    #[test]
    fn the_header_then_the_document_then_its_shape_tell_the_kind() {
        use ManifestKind::{Image, Index, Other, Schema1};
        let typed = |media_type: &str| format!(r#"{{"mediaType":"{media_type}"}}"#);
        let rows: &[(&str, String, ManifestKind)] = &[
            (OCI_IMAGE, "{}".into(), Image),
            (DOCKER_IMAGE, "{}".into(), Image),
            (OCI_INDEX, "{}".into(), Index),
            (DOCKER_LIST, "{}".into(), Index),
            (DOCKER_OLD, "{}".into(), Schema1),
            ("Application/vnd.OCI.image.index.v1+json ; charset=utf-8", "{}".into(), Index),
            (OCI_IMAGE, typed(OCI_INDEX), Image),
            ("application/json", typed(OCI_INDEX), Index),
            ("", typed(DOCKER_IMAGE), Image),
            ("text/plain", image(), Image),
            ("text/plain", index(), Index),
            ("text/plain", r#"{"schemaVersion":1}"#.into(), Schema1),
            ("text/plain", r#"{"layers":[],"config":{},"manifests":[]}"#.into(), Other),
            ("", "{}".into(), Other),
        ];
        for (content_type, body, kind) in rows {
            let manifest = Manifest::parse(content_type, body.as_bytes()).unwrap();
            assert_eq!(manifest.kind, *kind, "{content_type:?} {body}");
        }
    }

    #[test]
    fn a_document_of_two_faces_is_what_its_type_says() {
        let both = format!(r#"{{"layers":[{}],"manifests":[{}]}}"#, descriptor('a', 1), descriptor('b', 2));
        let image = Manifest::parse(OCI_IMAGE, both.as_bytes()).unwrap();
        assert_eq!((sizes(image.blobs()), sizes(image.children())), (vec![1], vec![]));
        let index = Manifest::parse(OCI_INDEX, both.as_bytes()).unwrap();
        assert_eq!((sizes(index.blobs()), sizes(index.children())), (vec![], vec![2]));
    }

    #[test]
    fn the_blobs_of_an_old_artifact_manifest_are_named() {
        let body = format!(
            r#"{{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[{}]}}"#,
            descriptor('a', 1)
        );
        let manifest =
            Manifest::parse("application/vnd.oci.artifact.manifest.v1+json", body.as_bytes()).unwrap();
        assert_eq!(manifest.kind, ManifestKind::Other);
        assert_eq!(sizes(manifest.blobs()), [1]);
    }

    #[test]
    fn t08_a_manifest_of_many_megabytes_is_read_and_a_larger_one_refused() {
        let layers = vec![descriptor('a', 1); 50_000].join(",\n");
        let body = format!(r#"{{"layers":[{layers}]}}"#);
        assert!(body.len() > 4 * 1024 * 1024);
        let manifest = Manifest::parse(OCI_IMAGE, body.as_bytes()).unwrap();
        assert_eq!(manifest.blobs().count(), 50_000);

        let body = vec![b' '; MAX_MANIFEST_BYTES + 1];
        assert_eq!(Manifest::parse(OCI_IMAGE, &body), Err(ManifestError::TooLarge(body.len())));
    }

    #[test]
    fn t70_a_page_of_html_is_no_manifest() {
        let error = Manifest::parse(OCI_IMAGE, b"<html>log in</html>").unwrap_err();
        assert!(error.to_string().starts_with("the manifest is no JSON object"), "{error}");
    }

    proptest! {
        #[test]
        fn no_document_makes_it_panic(content_type in ".*", body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Manifest::parse(&content_type, &body);
        }

        #[test]
        fn no_damaged_manifest_makes_it_panic(at in 0usize..400, byte: u8) {
            for mut body in [image().into_bytes(), index().into_bytes()] {
                let at = at % body.len();
                body[at] = byte;
                let _ = Manifest::parse("", &body);
            }
        }
    }
}
