//! Images made on the spot: multi-arch, with gzip and zstd layers, in Docker's and in OCI's media types, and an
//! artifact with a subject. The same recipe gives the same bytes.

use std::io::Write;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use crate::program;

/// Bytes and the digest under which registries know them.
#[derive(Clone)]
pub(crate) struct Blob {
    pub(crate) digest: String,
    pub(crate) bytes: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self { digest: digest_of(&bytes), bytes }
    }
}

impl Blob {
    /// The same bytes under their longer digest.
    fn by_sha512(self) -> Self {
        Self { digest: format!("sha512:{}", hex(&Sha512::digest(&self.bytes))), bytes: self.bytes }
    }
}

/// `sha256:` and the hex digits.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    format!("sha256:{}", hex(&Sha256::digest(bytes)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A manifest with the media type that it is pushed under.
#[derive(Clone)]
pub(crate) struct Manifest {
    pub(crate) media_type: String,
    pub(crate) blob: Blob,
}

/// What one tag leads to: its blobs, the manifests under it, and the manifest that the tag names.
#[derive(Clone)]
pub(crate) struct Image {
    pub(crate) blobs: Vec<Blob>,
    pub(crate) children: Vec<Manifest>,
    pub(crate) top: Manifest,
}

impl Image {
    /// Digest of what the tag names.
    pub(crate) fn digest(&self) -> &str {
        &self.top.blob.digest
    }
}

/// Whose media types an image uses.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Flavour {
    Docker,
    Oci,
}

/// How the layers of an image are compressed. The base layer is always gzip, so that it is shared.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

/// An image for amd64 and arm64 whose entry point prints `line`. Its base layer of some two megabytes is the same in
/// every image; a second layer and the program are its own.
pub(crate) fn multi_arch(line: &str, flavour: Flavour, packing: Packing) -> Image {
    let mut blobs = Vec::new();
    let mut children = Vec::new();
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        let tars = [
            tar_of("base", &noise("base", 2 << 20), 0o644),
            tar_of("own", &noise(line, 1 << 20), 0o644),
            tar_of("program", &program::that_prints(line, architecture), 0o755),
        ];
        let config = Blob::new(bytes(&json!({
            "architecture": architecture,
            "os": "linux",
            "config": { "Entrypoint": ["/program"] },
            "rootfs": { "type": "layers", "diff_ids": tars.iter().map(|tar| digest_of(tar)).collect::<Vec<_>>() },
        })));
        let layers: Vec<(Packing, Blob)> = tars
            .iter()
            .enumerate()
            .map(|(index, tar)| {
                let packing = if index == 0 { Packing::Gzip } else { packing };
                (packing, Blob::new(compress(tar, packing)))
            })
            .collect();
        let manifest = Manifest {
            media_type: manifest_type(flavour).to_owned(),
            blob: Blob::new(bytes(&json!({
                "schemaVersion": 2,
                "mediaType": manifest_type(flavour),
                "config": descriptor(config_type(flavour), &config),
                "layers": layers.iter().map(|(packing, layer)| descriptor(layer_type(flavour, *packing), layer))
                    .collect::<Vec<_>>(),
            }))),
        };
        let mut entry = descriptor(&manifest.media_type, &manifest.blob);
        entry["platform"] = json!({ "architecture": architecture, "os": "linux" });
        entries.push(entry);
        children.push(manifest);
        blobs.push(config);
        blobs.extend(layers.into_iter().map(|(_, layer)| layer));
    }
    blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
    blobs.dedup_by(|a, b| a.digest == b.digest);
    let index = json!({ "schemaVersion": 2, "mediaType": index_type(flavour), "manifests": entries });
    let top = Manifest { media_type: index_type(flavour).to_owned(), blob: Blob::new(bytes(&index)) };
    Image { blobs, children, top }
}

/// An artifact, as signers and scanners attach them: no platform, an empty configuration, and a subject.
pub(crate) fn artifact_about(subject: &Manifest, text: &str) -> Image {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let config = Blob::new(b"{}".to_vec());
    let layer = Blob::new(text.as_bytes().to_vec());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": "application/vnd.example.notes",
        "config": descriptor("application/vnd.oci.empty.v1+json", &config),
        "layers": [descriptor("text/plain", &layer)],
        "subject": descriptor(&subject.media_type, &subject.blob),
        "annotations": { "org.example.purpose": "kept verbatim" },
    });
    Image {
        blobs: vec![config, layer],
        children: Vec::new(),
        top: Manifest { media_type: MANIFEST.to_owned(), blob: Blob::new(bytes(&manifest)) },
    }
}

/// A signature, as cosign makes it: an image of its own, which a tag made of the digest attaches to what is signed.
pub(crate) fn signature_of(signed: &Manifest) -> Image {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let digest = &signed.blob.digest;
    let config = Blob::new(bytes(&json!({ "architecture": "", "os": "", "config": {} })));
    let layer = Blob::new(bytes(&json!({ "critical": { "image": { "docker-manifest-digest": digest } } })));
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.dev.cosign.simplesigning.v1+json", &layer)],
    });
    Image {
        blobs: vec![config, layer],
        children: Vec::new(),
        top: Manifest { media_type: MANIFEST.to_owned(), blob: Blob::new(bytes(&manifest)) },
    }
}

/// What clients keep under the fallback tag of an image where the registry has no API for referrers: a list of what is
/// attached to it.
pub(crate) fn list_of(attached: &[&Image]) -> Image {
    let entries: Vec<_> =
        attached.iter().map(|image| descriptor(&image.top.media_type, &image.top.blob)).collect();
    let list = json!({ "schemaVersion": 2, "mediaType": index_type(Flavour::Oci), "manifests": entries });
    let top = Manifest { media_type: index_type(Flavour::Oci).to_owned(), blob: Blob::new(bytes(&list)) };
    Image {
        blobs: attached.iter().flat_map(|image| image.blobs.clone()).collect(),
        children: attached.iter().map(|image| image.top.clone()).collect(),
        top,
    }
}

/// An image for one machine whose blobs go by SHA-512, and which prints `line`.
pub(crate) fn of_sha512(line: &str) -> Image {
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let architecture = program::native_architecture().unwrap_or("amd64");
    let tar = tar_of("program", &program::that_prints(line, architecture), 0o755);
    let config = Blob::new(bytes(&json!({
        "architecture": architecture,
        "os": "linux",
        "config": { "Entrypoint": ["/program"] },
        "rootfs": { "type": "layers", "diff_ids": [digest_of(&tar)] },
    })))
    .by_sha512();
    let layer = Blob::new(compress(&tar, Packing::Gzip)).by_sha512();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(config_type(Flavour::Oci), &config),
        "layers": [descriptor(layer_type(Flavour::Oci, Packing::Gzip), &layer)],
    });
    Image {
        blobs: vec![config, layer],
        children: Vec::new(),
        top: Manifest { media_type: MANIFEST.to_owned(), blob: Blob::new(bytes(&manifest)) },
    }
}

fn descriptor(media_type: &str, blob: &Blob) -> Value {
    json!({ "mediaType": media_type, "digest": blob.digest, "size": blob.bytes.len() })
}

/// Indented, as many tools write it: whoever serialises it again is found out by the digest.
fn bytes(document: &Value) -> Vec<u8> {
    serde_json::to_vec_pretty(document).unwrap()
}

fn index_type(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Docker => "application/vnd.docker.distribution.manifest.list.v2+json",
        Flavour::Oci => "application/vnd.oci.image.index.v1+json",
    }
}

fn manifest_type(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Docker => "application/vnd.docker.distribution.manifest.v2+json",
        Flavour::Oci => "application/vnd.oci.image.manifest.v1+json",
    }
}

fn config_type(flavour: Flavour) -> &'static str {
    match flavour {
        Flavour::Docker => "application/vnd.docker.container.image.v1+json",
        Flavour::Oci => "application/vnd.oci.image.config.v1+json",
    }
}

fn layer_type(flavour: Flavour, packing: Packing) -> &'static str {
    match (flavour, packing) {
        (Flavour::Docker, Packing::Gzip) => "application/vnd.docker.image.rootfs.diff.tar.gzip",
        (Flavour::Docker, Packing::Zstd) => panic!("Docker's media types know no zstd"),
        (Flavour::Oci, Packing::Gzip) => "application/vnd.oci.image.layer.v1.tar+gzip",
        (Flavour::Oci, Packing::Zstd) => "application/vnd.oci.image.layer.v1.tar+zstd",
    }
}

fn tar_of(name: &str, content: &[u8], mode: u32) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    let mut archive = tar::Builder::new(Vec::new());
    archive.append_data(&mut header, name, content).unwrap();
    archive.into_inner().unwrap()
}

fn compress(tar: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(tar).unwrap();
            encoder.finish().unwrap()
        }
        Packing::Zstd => zstd::encode_all(tar, 1).unwrap(),
    }
}

/// Bytes that no compressor shrinks, the same for the same seed.
fn noise(seed: &str, length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 32);
    let mut block = Sha256::digest(seed.as_bytes());
    while bytes.len() < length {
        block = Sha256::digest(block);
        bytes.extend_from_slice(&block);
    }
    bytes.truncate(length);
    bytes
}
