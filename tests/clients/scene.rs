//! The scene that every client plays in: two upstream registries that hold the same repository and tags with different
//! content, and one mirror in front. Two acts: *cold*, in which the client pulls through an empty mirror, and *warm*,
//! in which both registries are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::image::{self, Flavour, Image, Packing};
use crate::mirror::Mirror;
use crate::node::Node;
use crate::process::have;
use crate::registry::Registry;

/// The repository that both upstreams hold.
pub(crate) const REPOSITORY: &str = "library/app";
/// The upstream that requests without a name mean.
pub(crate) const HUB: &str = "docker.io";
/// The other upstream.
pub(crate) const QUAY: &str = "quay.io";

/// See the module.
pub(crate) struct Scene {
    pub(crate) hub: Registry,
    pub(crate) quay: Registry,
    pub(crate) mirror: Mirror,
    pub(crate) images: Images,
    folder: TempDir,
}

/// What the upstreams hold.
pub(crate) struct Images {
    /// `docker.io/library/app:v1`, in Docker's media types.
    pub(crate) hub: Image,
    /// `quay.io/library/app:v1`: the same name, other content, in OCI's media types.
    pub(crate) quay: Image,
    /// `quay.io/library/app:zstd`, with zstd layers.
    pub(crate) zstd: Image,
    /// `quay.io/library/app:notes`: an artifact whose subject is the image above it.
    pub(crate) notes: Image,
}

impl Images {
    fn make() -> Self {
        let quay = image::multi_arch("hello from quay.io", Flavour::Oci, Packing::Gzip);
        let notes = image::artifact_about(&quay.top, "seen and found good");
        Self {
            hub: image::multi_arch("hello from docker.io", Flavour::Docker, Packing::Gzip),
            zstd: image::multi_arch("hello from zstd", Flavour::Oci, Packing::Zstd),
            quay,
            notes,
        }
    }

    fn all(&self) -> [&Image; 4] {
        [&self.hub, &self.quay, &self.zstd, &self.notes]
    }
}

impl Scene {
    /// Sets the scene, where the programs in `needed` (and the package that brings each) are there.
    pub(crate) fn set(needed: &[(&str, &str)]) -> Option<Self> {
        Self::set_with(needed, |folder, hub, quay| {
            Mirror::start(folder, &[(HUB, hub.address()), (QUAY, quay.address())])
        })
    }

    /// The same with a mirror that is started in its own way, over its folder and both registries.
    pub(crate) fn set_with(
        needed: &[(&str, &str)],
        mirror: impl FnOnce(&Path, &mut Registry, &mut Registry) -> Mirror,
    ) -> Option<Self> {
        if !have(&[("setpriv", "util-linux"), ("docker-registry", "docker-registry")]) || !have(needed) {
            return None;
        }
        let folder = tempfile::Builder::new().prefix("roadstead-clients-").tempdir().unwrap();
        let images = Images::make();
        let mut hub = Registry::start(&folder.path().join("hub"));
        hub.push(REPOSITORY, "v1", &images.hub);
        let mut quay = Registry::start(&folder.path().join("quay"));
        quay.push(REPOSITORY, "v1", &images.quay);
        quay.push(REPOSITORY, "zstd", &images.zstd);
        quay.push(REPOSITORY, "notes", &images.notes);
        let mirror = mirror(&folder.path().join("mirror"), &mut hub, &mut quay);
        Some(Self { hub, quay, mirror, images, folder })
    }

    /// A node for the client to run in; nothing where that is not allowed, which has then been said.
    pub(crate) fn node(&self, name: &str) -> Option<Node> {
        Node::start(&self.subfolder(name))
    }

    /// A folder for a client's files.
    pub(crate) fn subfolder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    /// Ends the mirror and starts it again over the same files.
    pub(crate) fn restart_mirror(&mut self) {
        self.mirror.stop();
        let upstreams = [(HUB, self.hub.address()), (QUAY, self.quay.address())];
        self.mirror = Mirror::start(&self.folder.path().join("mirror"), &upstreams);
    }

    /// Ends the cold act: stops both registries, and checks by their access logs that upstream was asked by nobody but
    /// the mirror, sent each blob once and whole, and each manifest once.
    pub(crate) fn end_cold(&mut self) {
        self.hub.stop();
        self.quay.stop();
        let sizes: BTreeMap<&str, u64> = self
            .images
            .all()
            .iter()
            .flat_map(|image| &image.blobs)
            .map(|blob| (blob.digest.as_str(), blob.bytes.len() as u64))
            .collect();
        let mut sent: BTreeMap<String, u64> = BTreeMap::new();
        for registry in [&self.hub, &self.quay] {
            let mut manifests = BTreeSet::new();
            for access in registry.accesses() {
                assert!(access.agent.starts_with("roadstead/"), "{access:?} went past the mirror");
                if access.method == "GET" && access.path.contains("/manifests/") {
                    assert!(
                        manifests.insert(access.path.clone()),
                        "upstream was asked again for {}",
                        access.path
                    );
                }
            }
            for (digest, bytes) in registry.blob_bytes_sent() {
                *sent.entry(digest).or_default() += bytes;
            }
        }
        assert!(!sent.is_empty(), "upstream was never asked for a blob");
        for (digest, bytes) in sent {
            let size = sizes[digest.as_str()];
            assert_eq!(bytes, size, "upstream sent {bytes} bytes of {digest}, which has {size}");
        }
    }
}

/// Every file directly in `folder`, by name.
pub(crate) fn files_in(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), std::fs::read(entry.path()).unwrap()))
        .collect()
}
