//! An image as an OCI layout, for `roadstead import`.

use std::fs;
use std::path::Path;

use roadstead::oci::{Algorithm, Digest};

/// Whose image it is.
pub(crate) const REGISTRY: &str = "bench.test";
/// What it is called.
pub(crate) const NAME: &str = "bench.test/bench/app:1";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// The paths of its parts.
pub(crate) struct Image {
    manifest: Digest,
    config: Digest,
    layer: Digest,
}

impl Image {
    pub(crate) fn manifest_by_tag(&self) -> String {
        "/v2/bench/app/manifests/1".to_owned()
    }

    pub(crate) fn manifest_by_digest(&self) -> String {
        format!("/v2/bench/app/manifests/{}", self.manifest)
    }

    pub(crate) fn config(&self) -> String {
        format!("/v2/bench/app/blobs/{}", self.config)
    }

    pub(crate) fn layer(&self) -> String {
        format!("/v2/bench/app/blobs/{}", self.layer)
    }
}

/// Writes it.
pub(crate) fn make(folder: &Path) -> Image {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    let put = |bytes: &[u8]| {
        let digest = Digest::of(Algorithm::Sha256, bytes);
        fs::write(blobs.join(digest.to_string().trim_start_matches("sha256:")), bytes).unwrap();
        (digest, bytes.len())
    };
    let padding = "x".repeat(960);
    let (config, config_size) =
        put(format!("{{\"os\":\"linux\",\"architecture\":\"amd64\",\"x\":{padding:?}}}").as_bytes());
    let bytes: Vec<u8> = (0..8 << 20).map(|at: u32| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let (layer, layer_size) = put(&bytes);
    let (manifest, size) = put(format!(
        "{{\"schemaVersion\":2,\"mediaType\":{MANIFEST:?},\
             \"config\":{{\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"{config}\",\
             \"size\":{config_size}}},\"layers\":[{{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\
             \"digest\":\"{layer}\",\"size\":{layer_size}}}]}}"
    )
    .as_bytes());
    let index = format!(
        "{{\"schemaVersion\":2,\"manifests\":[{{\"mediaType\":{MANIFEST:?},\"digest\":\"{manifest}\",\"size\":{size}}}]}}"
    );
    fs::write(folder.join("index.json"), index).unwrap();
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}").unwrap();
    Image { manifest, config, layer }
}
