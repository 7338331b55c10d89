//! An image that is made up on the spot: bytes from a seed, with real digests.
//!
//! Layers are held nowhere: any part of one is computed when it is sent. They do not compress and cannot be guessed, so
//! whoever delivers them has fetched them.

use bytes::Bytes;
use serde_json::json;

use crate::oci::{Algorithm, Digest, Hasher};

/// A manifest, a configuration and layers.
#[derive(Debug)]
pub(super) struct Image {
    manifest: Blob,
    /// The configuration, then the layers.
    blobs: Vec<Blob>,
}

/// Some content and its digest.
#[derive(Clone, Debug)]
pub(super) struct Blob {
    pub(super) digest: Digest,
    pub(super) size: u64,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Held(Bytes),
    Seeded(u64),
}

impl Image {
    /// An image whose layers have `size` bytes in all. Hashes all of them, so it takes a moment.
    pub(super) fn generate(size: u64) -> Self {
        let mut left = size;
        let mut layers = Vec::new();
        for (seed, percent) in (1..).zip(SHARES) {
            let share = (size * percent / 100).min(left);
            left -= share;
            layers.push(Blob::seeded(seed, share));
        }
        layers.push(Blob::seeded(0, left));
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer.digest.to_string()).collect();
        let config = Blob::held(&json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids },
        }));
        let manifest = Blob::held(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST_TYPE,
            "config": config.descriptor("application/vnd.oci.image.config.v1+json"),
            "layers": layers.iter().map(|layer| layer.descriptor(LAYER_TYPE)).collect::<Vec<_>>(),
        }));
        layers.insert(0, config);
        Self { manifest, blobs: layers }
    }

    pub(super) fn manifest(&self) -> &Blob {
        &self.manifest
    }

    pub(super) fn blob(&self, digest: &Digest) -> Option<&Blob> {
        self.blobs.iter().find(|blob| blob.digest == *digest)
    }

    pub(super) fn layers(&self) -> &[Blob] {
        &self.blobs[1..]
    }

    /// How many bodies a pull takes: the manifest, the configuration, the layers.
    pub(super) fn bodies(&self) -> u64 {
        1 + self.blobs.len() as u64
    }

    /// How many bytes a pull takes.
    pub(super) fn bytes(&self) -> u64 {
        self.manifest.size + self.blobs.iter().map(|blob| blob.size).sum::<u64>()
    }
}

impl Blob {
    /// The bytes from `start` to before `end`.
    pub(super) fn part(&self, start: u64, end: u64) -> Bytes {
        match &self.source {
            Source::Held(bytes) => bytes.slice(start as usize..end as usize),
            Source::Seeded(seed) => seeded(*seed, start, end),
        }
    }

    fn held(document: &serde_json::Value) -> Self {
        let bytes = Bytes::from(document.to_string());
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Self { digest, size: bytes.len() as u64, source: Source::Held(bytes) }
    }

    fn seeded(seed: u64, size: u64) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        for start in (0..size).step_by(PIECE as usize) {
            hasher.update(&seeded(seed, start, size.min(start + PIECE)));
        }
        Self { digest: hasher.finish(), size, source: Source::Seeded(seed) }
    }

    fn descriptor(&self, media_type: &str) -> serde_json::Value {
        json!({ "mediaType": media_type, "digest": self.digest.to_string(), "size": self.size })
    }
}

fn seeded(seed: u64, start: u64, end: u64) -> Bytes {
    let (first, last) = (start / 8, end.div_ceil(8));
    let mut bytes = Vec::with_capacity(((last - first) * 8) as usize);
    for index in first..last {
        bytes.extend_from_slice(&word(seed, index).to_le_bytes());
    }
    Bytes::from(bytes).slice((start - first * 8) as usize..(end - first * 8) as usize)
}

/// SplitMix64, which can be entered anywhere.
fn word(seed: u64, index: u64) -> u64 {
    let mut z = (seed << 48 | index).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What the manifest is.
pub(super) const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
const LAYER_TYPE: &str = "application/vnd.oci.image.layer.v1.tar";

/// How much of the image each layer has, in percent; a last one has what is left. As in life, one is large.
const SHARES: [u64; 3] = [50, 25, 15];

const PIECE: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Manifest;

    #[test]
    fn the_layers_have_the_size_asked_for_and_the_manifest_names_them() {
        let image = Image::generate(1_000_003);
        assert_eq!(image.layers().iter().map(|layer| layer.size).sum::<u64>(), 1_000_003);
        let manifest = image.manifest();
        let bytes = manifest.part(0, manifest.size);
        assert_eq!(Digest::of(Algorithm::Sha256, &bytes), manifest.digest);
        let read = Manifest::parse(MANIFEST_TYPE, &bytes).unwrap();
        assert_eq!(read.blobs().count() as u64 + 1, image.bodies());
        for descriptor in read.blobs() {
            assert_eq!(image.blob(&descriptor.digest).unwrap().size, descriptor.size);
        }
    }

    #[test]
    fn a_layer_is_the_same_however_it_is_cut() {
        let layer = Blob::seeded(3, 10_007);
        let whole = layer.part(0, layer.size);
        assert_eq!(Digest::of(Algorithm::Sha256, &whole), layer.digest);
        for (start, end) in [(0, 1), (7, 9), (8, 16), (13, 10_007), (10_006, 10_007), (5, 5)] {
            assert_eq!(layer.part(start, end), whole.slice(start as usize..end as usize), "{start}..{end}");
        }
    }

    #[test]
    fn no_two_layers_are_the_same() {
        let image = Image::generate(400);
        let mut digests: Vec<_> = image.layers().iter().map(|layer| layer.digest.hex()).collect();
        digests.dedup();
        assert_eq!(digests.len(), 4);
    }
}
