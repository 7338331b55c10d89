//! Content for registries: blobs by seed and size, the manifests over them, and manifests as odd as real ones are.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

/// Media type of an OCI image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of Docker's manifest, schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Media type of Docker's manifest list.
pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Media type of Docker's signed schema 1.
pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
/// Media type of a gzip layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of an image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// The digest of no bytes at all.
pub const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Sizes at which code that cuts bodies into pieces goes wrong, each with its reason.
pub const SIZES: &[(u64, &str)] = &[
    (0, "the empty blob: no byte to withhold, and no range of it is satisfiable"),
    (1, "the first byte is the last byte, which is withheld"),
    (2, "one byte may go out before the digest is known"),
    (511, "one short of a sector"),
    (512, "a sector, and a tar block"),
    (4095, "one short of a page"),
    (4096, "a page"),
    (4097, "one past a page"),
    (16_383, "one short of the upstream's write size"),
    (16_385, "one past the upstream's write size"),
    (65_535, "one short of what a 16-bit length holds"),
    (65_536, "a common buffer, and a pipe"),
    (65_537, "one past it"),
    (262_143, "one short of the body's read size"),
    (262_144, "the body's read size"),
    (262_145, "one past it"),
    (1_048_577, "one past 1 MiB, above every socket buffer that is not tuned"),
    (5_000_000, "many pieces, and no power of two"),
];

/// `sha256:<hex>` of `bytes`.
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

/// `sha512:<hex>` of `bytes`.
pub fn sha512(bytes: &[u8]) -> String {
    format!("sha512:{}", hex(&Sha512::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `size` bytes that do not compress, the same for the same seed.
pub fn noise(seed: u64, size: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut bytes = Vec::with_capacity(size as usize + 8);
    while (bytes.len() as u64) < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size as usize);
    bytes.into()
}

/// Bytes with the digest and the media type they go by: a blob or a manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What it is asked for by.
    pub digest: String,
    /// What a descriptor, and for a manifest the `Content-Type`, says it is.
    pub media_type: String,
    /// The bytes themselves.
    pub bytes: Bytes,
}

impl Object {
    /// Names `bytes` by their sha256.
    pub fn new(media_type: &str, bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { digest: sha256(&bytes), media_type: media_type.to_owned(), bytes }
    }

    /// The same bytes named by their sha512.
    pub fn by_sha512(self) -> Self {
        Self { digest: sha512(&self.bytes), ..self }
    }

    /// Number of bytes.
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The descriptor that points here.
    pub fn descriptor(&self) -> Value {
        json!({"mediaType": self.media_type, "digest": self.digest, "size": self.size()})
    }
}

/// A manifest with everything below it.
#[derive(Clone, Debug)]
pub struct Image {
    /// The manifest.
    pub manifest: Object,
    /// Its configuration.
    pub config: Object,
    /// Its layers, lowest first.
    pub layers: Vec<Object>,
}

impl Image {
    /// The configuration and the layers.
    pub fn blobs(&self) -> impl Iterator<Item = &Object> {
        std::iter::once(&self.config).chain(&self.layers)
    }
}

/// A layer of `size` bytes.
pub fn layer(seed: u64, size: u64) -> Object {
    Object::new(LAYER, noise(seed, size))
}

/// A layer of hundreds of megabytes, made in a fraction of a second: one block of noise again and again, with the place
/// of each page on it, so that bytes in a wrong place are wrong bytes.
pub fn large_layer(seed: u64, size: u64) -> Object {
    const PAGE: usize = 4096;
    let block = noise(seed, 1 << 20);
    let mut bytes = Vec::with_capacity(size as usize + block.len());
    while (bytes.len() as u64) < size {
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(size as usize);
    for (number, page) in bytes.chunks_exact_mut(PAGE).enumerate() {
        page[..8].copy_from_slice(&(number as u64).to_le_bytes());
    }
    Object::new(LAYER, bytes)
}

/// An OCI image with layers of the given sizes.
pub fn image(seed: u64, sizes: &[u64]) -> Image {
    let layers =
        sizes.iter().enumerate().map(|(at, &size)| layer(seed * 1000 + at as u64 + 1, size)).collect();
    image_of(seed, layers)
}

/// An OCI image over these layers; the seed makes its configuration its own.
pub fn image_of(seed: u64, layers: Vec<Object>) -> Image {
    let config = Object::new(
        CONFIG,
        json!({"architecture": "amd64", "os": "linux", "author": format!("seed {seed}"),
            "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|l| &l.digest).collect::<Vec<_>>()}})
        .to_string(),
    );
    let manifest = Object::new(OCI_MANIFEST, manifest_json(&config, &layers).to_string());
    Image { manifest, config, layers }
}

/// The JSON of an image manifest, for tests that bend it before it becomes bytes.
pub fn manifest_json(config: &Object, layers: &[Object]) -> Value {
    json!({"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": config.descriptor(),
        "layers": layers.iter().map(Object::descriptor).collect::<Vec<_>>()})
}

/// An index over images, one platform each.
pub fn index(images: &[&Image]) -> Object {
    const PLATFORMS: [&str; 5] = ["amd64", "arm64", "s390x", "ppc64le", "riscv64"];
    let manifests: Vec<Value> = images
        .iter()
        .zip(PLATFORMS.iter().cycle())
        .map(|(image, architecture)| {
            let mut descriptor = image.manifest.descriptor();
            descriptor["platform"] = json!({"architecture": architecture, "os": "linux"});
            descriptor
        })
        .collect();
    Object::new(
        OCI_INDEX,
        json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string(),
    )
}

/// An artifact that refers to `subject`, as a signature or an SBOM does.
pub fn artifact(seed: u64, subject: &Object) -> Image {
    let config = Object::new("application/vnd.oci.empty.v1+json", "{}");
    let layers = vec![Object::new("text/spdx+json", noise(seed, 300))];
    let mut manifest = manifest_json(&config, &layers);
    manifest["artifactType"] = json!("application/vnd.example.sbom");
    manifest["subject"] = subject.descriptor();
    let manifest = Object::new(OCI_MANIFEST, manifest.to_string());
    Image { manifest, config, layers }
}

/// The image as a manifest no serialiser of ours would write: tabs, spaces, unknown keys, a key twice, non-ASCII
/// text, CRLF, no `mediaType`, and a newline at the end.
pub fn odd(image: Image) -> Image {
    let layers: Vec<String> = image.layers.iter().map(|layer| layer.descriptor().to_string()).collect();
    let text = format!(
        "{{\t\"zz\": [1.50, 1e3, null],\r\n   \"layers\" :[ {} ] ,\n\"schemaVersion\":2,\"annotations\":{{\"b\":\"\\u00fc\",\
         \"a\":\"ü\"}},\n\"annotations\":{{\"b\":\"last\"}},\n \"config\": {}\n}}  \n",
        layers.join(" ,\n"),
        image.config.descriptor()
    );
    Image { manifest: Object::new(OCI_MANIFEST, text), ..image }
}

/// The image with its manifest blown up to at least `size` bytes by annotations.
pub fn heavy(image: Image, size: usize) -> Image {
    let mut manifest = manifest_json(&image.config, &image.layers);
    manifest["annotations"] = json!({"padding": "x".repeat(size)});
    Image { manifest: Object::new(OCI_MANIFEST, manifest.to_string()), ..image }
}
