//! What all servers serve: layers, small blobs, and manifests under many tags, as files in the places that their paths name.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use roadstead::oci::{Algorithm, Digest, Hasher};

use crate::noise::noise;

/// The repository that has everything.
pub(crate) const REPOSITORY: &str = "bench/app";

const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The media type of every manifest.
pub(crate) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// How much there is.
#[derive(Clone, Copy)]
pub(crate) struct Sizes {
    /// How many layers there are, and how large each is.
    pub(crate) layers: (usize, usize),
    /// The same of smaller blobs.
    pub(crate) small: (usize, usize),
    /// How many tags.
    pub(crate) tags: usize,
}

/// A blob.
#[derive(Clone)]
pub(crate) struct Blob {
    /// The path of its requests.
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: u64,
}

/// All of it.
pub(crate) struct Content {
    /// The folder of files.
    pub(crate) root: PathBuf,
    /// Large blobs.
    pub(crate) layers: Vec<Blob>,
    /// Many smaller ones.
    pub(crate) small: Vec<Blob>,
    /// What the tags `t0` and on stand for; each has a manifest of its own.
    pub(crate) tags: Vec<Digest>,
}

impl Content {
    /// Writes the files.
    pub(crate) fn make(folder: &Path, sizes: Sizes) -> Self {
        let root = folder.join("files");
        let of_repository = root.join("v2").join(REPOSITORY);
        for part in ["blobs", "manifests"] {
            fs::create_dir_all(of_repository.join(part)).unwrap();
        }
        let mut seed = 0;
        let mut blobs = |(count, size): (usize, usize)| -> Vec<Blob> {
            let one = |_| {
                seed += 1;
                put_blob(&of_repository, &noise(seed, size))
            };
            (0..count).map(one).collect()
        };
        let layers = blobs(sizes.layers);
        let small = blobs(sizes.small);
        let manifests = of_repository.join("manifests");
        let tag = |tag| {
            let config = put_blob(&of_repository, format!("{{\"tag\":{tag}}}").as_bytes());
            let layers: Vec<_> = layers.iter().map(|layer| descriptor(layer, LAYER)).collect();
            let manifest = format!(
                "{{\"schemaVersion\":2,\"mediaType\":{MANIFEST:?},\"config\":{},\"layers\":[{}]}}",
                descriptor(&config, CONFIG),
                layers.join(",")
            );
            let digest = Digest::of(Algorithm::Sha256, manifest.as_bytes());
            for name in [format!("t{tag}"), digest.to_string()] {
                fs::write(manifests.join(name), &manifest).unwrap();
            }
            digest
        };
        let tags = (0..sizes.tags).map(tag).collect();
        Self { root, layers, small, tags }
    }

    /// The layers in so many repositories, as other names of the same files: URLs enough to have none twice in a row, of
    /// content that fits into the page cache. The first repository is the one that has everything.
    pub(crate) fn layers_in(&self, repositories: usize) -> Vec<Blob> {
        let mut all = self.layers.clone();
        for repository in 1..repositories {
            let of_it = format!("{REPOSITORY}/r{repository}");
            let blobs = self.root.join("v2").join(&of_it).join("blobs");
            fs::create_dir_all(&blobs).unwrap();
            for layer in &self.layers {
                let digest = layer.path.rsplit('/').next().unwrap();
                let file = self.root.join(layer.path.trim_start_matches('/'));
                fs::hard_link(file, blobs.join(digest)).unwrap();
                all.push(Blob { path: format!("/v2/{of_it}/blobs/{digest}"), size: layer.size });
            }
        }
        all
    }
}

fn descriptor(blob: &Blob, media_type: &str) -> String {
    let digest = blob.path.rsplit('/').next().unwrap();
    format!("{{\"mediaType\":{media_type:?},\"digest\":{digest:?},\"size\":{}}}", blob.size)
}

fn put_blob(of_repository: &Path, bytes: &[u8]) -> Blob {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(bytes);
    let digest = hasher.finish();
    let path = of_repository.join("blobs").join(digest.to_string());
    fs::File::create(path).unwrap().write_all(bytes).unwrap();
    Blob { path: format!("/v2/{REPOSITORY}/blobs/{digest}"), size: bytes.len() as u64 }
}
