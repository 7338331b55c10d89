//! What `docker save` wrote before it wrote layouts, and what skopeo and podman write in its name: `manifest.json`, a
//! configuration and layers for each image.
//!
//! There are no manifests in it: those of the registry are lost, and with them every digest that somebody may have noted.
//! One is made for each image, always the same for the same content. The layers are told by the configuration, which
//! lists the digests of their content, so that each is verified all the same.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use crate::bundle::error::{Error, Refusal};
use crate::oci::{Algorithm, Digest};

use super::Limits;
use super::contents::{Blob, Contents, Loss, Root};
use super::gather::{document, documents, verified};
use super::layout::parse;
use super::source::{Listing, Source};

pub(super) const MANIFEST: &str = "manifest.json";
const IMAGE: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    #[serde(default)]
    diff_ids: Vec<String>,
}

pub(super) fn read(source: &Source, listing: &Listing, limits: &Limits) -> Result<Contents, Error> {
    let documents = documents(source, listing, &[MANIFEST])?;
    let Some(manifest) = documents.get(MANIFEST) else {
        return Err(Error::entry(MANIFEST, Refusal::Missing));
    };
    let saved: Vec<Saved> = parse(MANIFEST, manifest)?;
    let mut paths = BTreeMap::new();
    let mut total = 0;
    for image in &saved {
        let (path, size) = lying(listing, &image.config)?;
        total += size;
        if total > limits.documents {
            return Err(Error::entry(path, Refusal::LargeDocuments(limits.documents)));
        }
        paths.insert(image.config.clone(), path);
    }
    let mut configs = BTreeMap::new();
    let wanted: BTreeSet<String> = paths.values().cloned().collect();
    source.visit(&wanted, &mut |path, size, content| {
        configs.insert(path.to_owned(), document(source, path, size, content)?);
        Ok(())
    })?;
    let mut contents = Contents { loss: Some(Loss::Made), ..Contents::default() };
    for image in &saved {
        let path = &paths[&image.config];
        let Some(config) = configs.get(path) else { return Err(Error::entry(path, Refusal::Missing)) };
        let digest = make(listing, image, path, config, &mut contents)?;
        let names = image.repo_tags.iter().flatten();
        let before = contents.roots.len();
        contents
            .roots
            .extend(names.map(|name| Root { name: Some(name.clone()), ..Root::unnamed(digest.clone()) }));
        if contents.roots.len() == before {
            contents.roots.push(Root::unnamed(digest));
        }
    }
    Ok(contents)
}

/// Makes the manifest of an image, and enters it with its blobs.
fn make(
    listing: &Listing,
    image: &Saved,
    path: &str,
    config: &Bytes,
    contents: &mut Contents,
) -> Result<Digest, Error> {
    let parsed: Config = parse(path, config)?;
    let layers = image.layers.as_deref().unwrap_or_default();
    if layers.len() != parsed.rootfs.diff_ids.len() {
        let (said, has) = (parsed.rootfs.diff_ids.len() as u64, layers.len() as u64);
        return Err(Error::entry(
            MANIFEST,
            Refusal::Document(format!("it has {has} layers for an image of {said}")),
        ));
    }
    let config_digest = Digest::of(Algorithm::Sha256, config);
    let size = config.len() as u64;
    contents.blobs.insert(config_digest.clone(), Blob { path: Some(path.to_owned()), size, foreign: false });
    let mut descriptors = Vec::new();
    for (layer, diff_id) in layers.iter().zip(&parsed.rootfs.diff_ids) {
        let digest: Digest = diff_id.parse().map_err(|error: crate::oci::DigestError| {
            Error::entry(path, Refusal::Document(error.to_string()))
        })?;
        let (lies, size) = lying(listing, layer)?;
        descriptors.push(json!({"mediaType": LAYER, "size": size, "digest": digest.to_string()}));
        // The same layer may lie in several places; where its content is wrong is then wherever it is read.
        contents.blobs.entry(digest).or_insert(Blob { path: Some(lies), size, foreign: false });
    }
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": IMAGE,
        "config": {"mediaType": CONFIG, "size": size, "digest": config_digest.to_string()},
        "layers": descriptors,
    });
    let bytes = Bytes::from(manifest.to_string());
    let digest = Digest::of(Algorithm::Sha256, &bytes);
    let (digest, found) = verified(MANIFEST, &digest, IMAGE, bytes)?;
    contents.manifests.insert(digest.clone(), found);
    Ok(digest)
}

/// Where a file of an image lies, behind links inside the archive, and its size.
fn lying(listing: &Listing, path: &str) -> Result<(String, u64), Error> {
    let normal = super::path::normal(path).map_err(|refusal| Error::entry(path, refusal))?;
    let lies = listing.follow(&normal).ok_or_else(|| Error::entry(path, Refusal::Missing))?;
    let size = listing.files.get(&lies).copied().unwrap_or_default();
    Ok((lies, size))
}
