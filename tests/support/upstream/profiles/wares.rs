//! What a release is: images of two platforms, the index over them, and its signatures in both of their forms.

use serde_json::json;

use super::Upstream;
use crate::support::images::{
    CONFIG, Image, OCI_INDEX, OCI_MANIFEST, Object, image_of, index, layer, manifest_json, noise,
};

/// The type of a signature that refers to what it signs.
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// A release.
#[derive(Clone, Debug)]
pub struct Wares {
    /// What a tag names.
    pub index: Object,
    /// What it is over. They have a layer in common.
    pub images: [Image; 2],
    /// cosign's signature under a tag of its own.
    pub signature: Image,
    /// A signature that refers to the index.
    pub bundle: Image,
}

impl Wares {
    /// The release of this number. The lowest layer is that of every other.
    pub fn new(number: u64) -> Self {
        let base = layer(7_000, 100_000);
        let of = |seed: u64, size: u64| image_of(seed, vec![base.clone(), layer(seed, size)]);
        let images = [of(number * 10 + 1, 150_000), of(number * 10 + 2, 80_000)];
        let index = index(&[&images[0], &images[1]]);
        let signature = {
            let payload = json!({"critical": {"image": {"docker-manifest-digest": index.digest}}});
            let kind = "application/vnd.dev.cosign.simplesigning.v1+json";
            let layers = vec![Object::new(kind, payload.to_string())];
            let config = Object::new(CONFIG, json!({"signature": number}).to_string());
            let manifest = manifest_json(&config, &layers);
            Image { manifest: Object::new(OCI_MANIFEST, manifest.to_string()), config, layers }
        };
        let bundle = {
            let layers = vec![Object::new(BUNDLE, noise(number * 10 + 3, 900))];
            let config = Object::new("application/vnd.oci.empty.v1+json", "{}");
            let mut manifest = manifest_json(&config, &layers);
            manifest["artifactType"] = json!(BUNDLE);
            manifest["subject"] = index.descriptor();
            Image { manifest: Object::new(OCI_MANIFEST, manifest.to_string()), config, layers }
        };
        Self { index, images, signature, bundle }
    }

    /// The tag of cosign's signature.
    pub fn signature_tag(&self) -> String {
        format!("{}.sig", self.fallback_tag())
    }

    /// The tag under which referrers are where there is no API for them.
    pub fn fallback_tag(&self) -> String {
        self.index.digest.replace(':', "-")
    }

    /// Every blob, some of them more than once.
    pub fn blobs(&self) -> impl Iterator<Item = &Object> {
        self.images.iter().chain([&self.signature, &self.bundle]).flat_map(Image::blobs)
    }

    /// The descriptor of the signature that refers.
    pub fn referrer(&self) -> serde_json::Value {
        let mut descriptor = self.bundle.manifest.descriptor();
        descriptor["artifactType"] = json!(BUNDLE);
        descriptor
    }

    /// The index under the fallback tag.
    pub fn fallback_index(&self) -> Object {
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [self.referrer()]});
        Object::new(OCI_INDEX, index.to_string())
    }

    pub(super) fn push_to(
        &self,
        server: &Upstream,
        repository: &str,
        tag: &str,
        signs: bool,
        by_fallback_tag: bool,
    ) {
        self.images.iter().for_each(|image| server.push(repository, None, image));
        server.push_manifest(repository, &self.index);
        server.tag(repository, tag, &self.index.digest);
        server.push(repository, None, &self.bundle);
        if signs {
            server.push(repository, Some(&self.signature_tag()), &self.signature);
        } else {
            self.signature.blobs().for_each(|blob| server.push_blob(repository, blob));
        }
        if by_fallback_tag {
            let fallback = self.fallback_index();
            server.push_manifest(repository, &fallback);
            server.tag(repository, &self.fallback_tag(), &fallback.digest);
        }
    }
}
