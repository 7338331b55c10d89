//! A yard: images in memory, as either side of a bundle.

use super::super::{Committed, Destination, Document, Held, Image, Origin, Place, Shown, SideError};
use crate::oci::{Algorithm, Digest, Manifest, Tag};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

pub(super) const OCI_IMAGE: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Yard {
    pub(super) manifests: BTreeMap<Digest, Document>,
    pub(super) blobs: BTreeMap<Digest, (Bytes, bool)>,
    pub(super) members: BTreeSet<(Place, Digest)>,
    pub(super) tags: BTreeMap<(Place, Tag), Digest>,
    /// What it says that it has without a tag.
    pub(super) untagged: Vec<(Place, Digest)>,
    /// How many blobs were written to it.
    pub(super) written: usize,
    /// It takes no more than so many.
    pub(super) most: Option<usize>,
}

pub(super) fn place(text: &str) -> Place {
    let (upstream, repository) = text.split_once('/').unwrap();
    Place { upstream: upstream.to_owned(), repository: repository.parse().unwrap() }
}

pub(super) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// Bytes that do not compress, the same for the same seed.
pub(super) fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d;
    let mut bytes = Vec::with_capacity(size + 8);
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

impl Yard {
    /// Keeps a blob; gives its descriptor.
    pub(super) fn blob(&mut self, algorithm: Algorithm, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(algorithm, &bytes);
        let descriptor = json!({"mediaType": media_type, "digest": digest.to_string(), "size": bytes.len()});
        self.blobs.insert(digest, (bytes.into(), true));
        descriptor
    }

    /// Keeps a manifest.
    pub(super) fn manifest(&mut self, algorithm: Algorithm, media_type: &str, value: &Value) -> Digest {
        let bytes = Bytes::from(value.to_string());
        let digest = Digest::of(algorithm, &bytes);
        let document = Document { media_type: media_type.to_owned(), bytes, anonymous: true };
        self.manifests.insert(digest.clone(), document);
        digest
    }

    /// The descriptor of a manifest that is here.
    pub(super) fn descriptor(&self, digest: &Digest) -> Value {
        let document = &self.manifests[digest];
        json!({"mediaType": document.media_type, "digest": digest.to_string(), "size": document.bytes.len()})
    }

    /// An image over layers of these seeds and sizes.
    pub(super) fn image(&mut self, author: &str, layers: &[(u64, usize)]) -> Digest {
        self.image_by(Algorithm::Sha256, author, layers)
    }

    pub(super) fn image_by(&mut self, algorithm: Algorithm, author: &str, layers: &[(u64, usize)]) -> Digest {
        let layers: Vec<_> =
            layers.iter().map(|&(seed, size)| self.blob(algorithm, LAYER, noise(seed, size))).collect();
        let config = json!({"architecture": "amd64", "os": "linux", "author": author});
        let config = self.blob(algorithm, CONFIG, config.to_string().into_bytes());
        let image = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": layers});
        self.manifest(algorithm, OCI_IMAGE, &image)
    }

    /// An index over images, of these machines.
    pub(super) fn index(&mut self, images: &[(&Digest, &str)]) -> Digest {
        let manifests: Vec<_> = images
            .iter()
            .map(|(digest, architecture)| {
                let mut descriptor = self.descriptor(digest);
                descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
                descriptor
            })
            .collect();
        let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests});
        self.manifest(Algorithm::Sha256, OCI_INDEX, &index)
    }

    /// Something that is about another manifest.
    pub(super) fn artifact(&mut self, subject: Option<&Digest>, text: &str) -> Digest {
        let layer = self.blob(Algorithm::Sha256, "text/spdx+json", text.as_bytes().to_vec());
        let config = self.blob(Algorithm::Sha256, "application/vnd.oci.empty.v1+json", b"{}".to_vec());
        let mut artifact = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config,
            "layers": [layer], "artifactType": "application/vnd.example.sbom"});
        if let Some(subject) = subject {
            artifact["subject"] = self.descriptor(subject);
        }
        self.manifest(Algorithm::Sha256, OCI_IMAGE, &artifact)
    }

    /// What cosign makes: an image but for its layer.
    fn signature(&mut self, text: &str) -> Digest {
        let signed = "application/vnd.dev.cosign.simplesigning.v1+json";
        let layer = self.blob(Algorithm::Sha256, signed, text.as_bytes().to_vec());
        let config = json!({"architecture": "", "os": "", "config": {}});
        let config = self.blob(Algorithm::Sha256, CONFIG, config.to_string().into_bytes());
        let image = json!({"schemaVersion": 2, "mediaType": OCI_IMAGE, "config": config, "layers": [layer]});
        self.manifest(Algorithm::Sha256, OCI_IMAGE, &image)
    }

    /// Shows a manifest with all below it in a repository, by a tag or by its digest.
    pub(super) fn show(&mut self, repository: &str, name: Option<&str>, digest: &Digest) {
        let mut ahead = vec![digest.clone()];
        while let Some(digest) = ahead.pop() {
            let Some(document) = self.manifests.get(&digest) else { continue };
            let manifest = Manifest::parse(&document.media_type, &document.bytes).unwrap();
            self.members.insert((place(repository), digest));
            for blob in manifest.blobs() {
                self.members.insert((place(repository), blob.digest.clone()));
            }
            ahead.extend(manifest.children().map(|child| child.digest.clone()));
        }
        if let Some(name) = name {
            self.tags.insert((place(repository), tag(name)), digest.clone());
        }
    }

    /// What is here, without how it came.
    pub(super) fn content(&self) -> Self {
        Self { written: 0, most: None, untagged: Vec::new(), ..self.clone() }
    }

    /// A yard with something of everything.
    pub(super) fn full() -> Self {
        let mut yard = Self::default();
        let amd64 = yard.image("amd64", &[(1, 5000), (2, 700), (2, 700)]);
        let arm64 = yard.image("arm64", &[(1, 5000), (3, 513)]);
        let index = yard.index(&[(&amd64, "amd64"), (&arm64, "arm64")]);
        yard.show("docker.io/library/app", Some("v1"), &index);
        yard.show("docker.io/library/app", Some("latest"), &index);
        yard.show("quay.io/team/app", Some("one"), &amd64);

        let long = yard.image_by(Algorithm::Sha512, "long", &[(4, 512), (5, 0)]);
        yard.show("registry.local:5000/long", Some("v1"), &long);

        let sbom = yard.artifact(Some(&index), "what is in it");
        yard.show("docker.io/library/app", None, &sbom);
        let signature = yard.artifact(Some(&sbom), "and that is true");
        yard.show("docker.io/library/app", None, &signature);
        let cosign = yard.signature("signed");
        let name = format!("sha256-{}.sig", amd64.hex());
        yard.show("docker.io/library/app", Some(&name), &cosign);
        yard
    }
}

impl Origin for Yard {
    fn images(&mut self) -> Result<Vec<Image>, SideError> {
        let tags = self.tags.iter().rev();
        let untagged = self.untagged.iter().map(|(place, digest)| Image {
            place: place.clone(),
            tag: None,
            digest: digest.clone(),
        });
        let image = |((place, tag), digest): (&(Place, Tag), &Digest)| Image {
            place: place.clone(),
            tag: Some(tag.clone()),
            digest: digest.clone(),
        };
        Ok(tags.map(image).chain(untagged).collect())
    }

    fn referrers(&mut self, place: &Place, subject: &Digest) -> Result<Vec<Digest>, SideError> {
        let about = |document: &Document| {
            let manifest = Manifest::parse(&document.media_type, &document.bytes).unwrap();
            manifest.subject.is_some_and(|about| about.digest == *subject)
        };
        let manifests = self.manifests.iter().filter(|(_, document)| about(document));
        let here = manifests.filter(|(digest, _)| self.members.contains(&(place.clone(), (*digest).clone())));
        Ok(here.map(|(digest, _)| digest.clone()).collect())
    }

    fn is_member(&mut self, place: &Place, digest: &Digest) -> Result<bool, SideError> {
        Ok(self.members.contains(&(place.clone(), digest.clone())))
    }

    fn manifest(&mut self, digest: &Digest) -> Result<Option<Document>, SideError> {
        Ok(self.manifests.get(digest).cloned())
    }

    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        let blob = self.blobs.get(digest);
        Ok(blob.map(|(bytes, anonymous)| Held { size: bytes.len() as u64, anonymous: *anonymous }))
    }

    fn open(&mut self, digest: &Digest) -> Result<Option<Box<dyn Read + '_>>, SideError> {
        Ok(self.blobs.get(digest).map(|(bytes, _)| Box::new(bytes.as_ref()) as Box<dyn Read>))
    }
}

impl Destination for Yard {
    fn blob(&mut self, digest: &Digest) -> Result<Option<Held>, SideError> {
        Origin::blob(self, digest)
    }

    fn put_blob(
        &mut self,
        digest: &Digest,
        held: Held,
        place: &Place,
        content: &mut dyn Read,
    ) -> Result<(), SideError> {
        if self.most.is_some_and(|most| self.written >= most) {
            return Err(SideError::NoSpace);
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| SideError::Failed(error.to_string()))?;
        assert_eq!(Digest::of(digest.algorithm(), &bytes), *digest, "only what is right is at its end");
        assert_eq!(bytes.len() as u64, held.size);
        assert!(self.blobs.insert(digest.clone(), (bytes.into(), held.anonymous)).is_none(), "written twice");
        self.members.insert((place.clone(), digest.clone()));
        self.written += 1;
        Ok(())
    }

    fn put_manifest(&mut self, digest: &Digest, document: &Document, place: &Place) -> Result<(), SideError> {
        let manifest = Manifest::parse(&document.media_type, &document.bytes).unwrap();
        for blob in manifest.blobs() {
            assert!(
                self.blobs.contains_key(&blob.digest),
                "{digest} was put before its blob {}",
                blob.digest
            );
            assert!(
                self.members.contains(&(place.clone(), blob.digest.clone())),
                "{digest} was put before {} belonged to {place}",
                blob.digest
            );
        }
        self.manifests.insert(digest.clone(), document.clone());
        self.members.insert((place.clone(), digest.clone()));
        Ok(())
    }

    fn add_members(&mut self, parts: &[Shown]) -> Result<(), SideError> {
        assert!(parts.iter().all(|part| part.tags.is_empty()), "nothing is shown yet");
        self.commit(parts, false).map(drop)
    }

    fn commit(&mut self, shown: &[Shown], _move_back: bool) -> Result<Committed, SideError> {
        for Shown { place, members, tags } in shown {
            self.members.extend(members.iter().map(|digest| (place.clone(), digest.clone())));
            for (tag, digest) in tags {
                assert!(self.manifests.contains_key(digest), "{tag} is shown before it is there");
                self.tags.insert((place.clone(), tag.clone()), digest.clone());
            }
        }
        Ok(Committed::default())
    }
}
