//! What a bundle says of itself, for everybody who may read it: the layout's index for containerd, skopeo and registries'
//! tools, Docker's list for `docker load`, and the sheet for ourselves.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::bundle::error::Error;
use crate::bundle::export::Loads;
use crate::bundle::naming::full_name;
use crate::bundle::read::{
    LAYOUT_VERSION, NAME, Need, OWN_NAME, REF_NAME, REPOSITORY, SUBJECT, Sheet, blob_path, is_foreign,
};
use crate::oci::{Algorithm, Digest, Manifest, ManifestKind, Platform};

use super::plan::{Entry, Plan};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// The documents of a bundle, in their order.
#[derive(Debug)]
pub(in crate::bundle) struct Papers {
    pub(in crate::bundle) set: String,
    pub(in crate::bundle) files: Vec<(&'static str, Vec<u8>)>,
    pub(in crate::bundle) loads: Vec<Loads>,
}

impl Papers {
    /// Of a plan of which these blobs are written, and those come from an earlier bundle.
    pub(in crate::bundle) fn of(
        plan: &Plan,
        written: &BTreeMap<Digest, u64>,
        needs: Option<&[Need]>,
    ) -> Result<Self, Error> {
        let index = json(&index(plan));
        let (docker, loads) = docker(plan, written);
        let set = set(&index, written, needs);
        let private =
            plan.manifests.iter().filter(|(_, document)| !document.anonymous).map(|(digest, _)| digest);
        let blobs = plan.blobs.iter().filter(|(_, held)| !held.anonymous).map(|(digest, _)| digest);
        let sheet = Sheet {
            version: Sheet::VERSION,
            set: set.clone(),
            needs: needs.map(<[Need]>::to_vec),
            private: private.chain(blobs).map(Digest::to_string).collect(),
        };
        let sheet = serde_json::to_value(sheet).unwrap_or_default();
        let mut files = vec![
            ("oci-layout", json(&json!({"imageLayoutVersion": LAYOUT_VERSION}))),
            ("index.json", index),
            (Sheet::PATH, json(&sheet)),
        ];
        if !docker.is_empty() {
            files.push(("manifest.json", json(&Value::Array(docker))));
        }
        Ok(Self { set, files, loads })
    }
}

fn json(value: &Value) -> Vec<u8> {
    let mut bytes = value.to_string().into_bytes();
    bytes.push(b'\n');
    bytes
}

/// The same images, cut in the same way, have the same name of their set.
fn set(index: &[u8], written: &BTreeMap<Digest, u64>, needs: Option<&[Need]>) -> String {
    let mut text = index.to_vec();
    for digest in written.keys() {
        text.extend(digest.to_string().into_bytes());
    }
    for need in needs.into_iter().flatten() {
        text.extend(need.digest.as_bytes());
    }
    Digest::of(Algorithm::Sha256, &text).hex()[..16].to_owned()
}

fn index(plan: &Plan) -> Value {
    let entries = plan.entries.iter().filter_map(|entry| {
        let document = plan.manifests.get(&entry.image.digest)?;
        Some(json!({
            "mediaType": document.media_type,
            "digest": entry.image.digest.to_string(),
            "size": document.bytes.len(),
            "annotations": annotations(plan, entry),
        }))
    });
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries.collect::<Vec<_>>()})
}

fn annotations(plan: &Plan, entry: &Entry) -> Value {
    let Entry { image, subject } = entry;
    let mut annotations = Map::new();
    let mut say = |key: &str, value: String| annotations.insert(key.to_owned(), value.into());
    say(REPOSITORY, image.place.to_string());
    match subject {
        Some(subject) => {
            say(SUBJECT, subject.to_string());
        }
        None => {
            let name = full_name(&image.place, image.tag.as_ref(), &image.digest);
            if runs(plan, &image.digest) {
                say(NAME, name.clone());
                say(REF_NAME, name);
            } else {
                // containerd unpacks whatever has one of those names, and what is no image ends its import.
                say(OWN_NAME, name);
            }
        }
    }
    Value::Object(annotations)
}

/// The list that `docker load` reads: for each tag of an image, or of one image of an index, what it is made of.
fn docker(plan: &Plan, written: &BTreeMap<Digest, u64>) -> (Vec<Value>, Vec<Loads>) {
    let mut tags: BTreeMap<&Digest, Vec<String>> = BTreeMap::new();
    let mut loads = Vec::new();
    for Entry { image, .. } in &plan.entries {
        let Some(tag) = image.tag.as_ref().filter(|tag| !tag.is_attached()) else { continue };
        let name = full_name(&image.place, Some(tag), &image.digest);
        let Some((digest, platform)) = runnable(plan, written, &image.digest) else { continue };
        if let Some(platform) = platform {
            loads.push(Loads { name: name.clone(), platform });
        }
        tags.entry(digest).or_default().push(name);
    }
    let list = tags.into_iter().filter_map(|(digest, names)| {
        let manifest = plan.parsed.get(digest)?;
        let layers: Vec<_> = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
        let config = blob_path(&manifest.config.as_ref()?.digest);
        Some(json!({"Config": config, "RepoTags": names, "Layers": layers}))
    });
    (list.collect(), loads)
}

/// The image itself, or one of an index: for the machine that was asked for first, else Linux on amd64, else the first.
fn runnable<'a>(
    plan: &'a Plan,
    written: &BTreeMap<Digest, u64>,
    digest: &'a Digest,
) -> Option<(&'a Digest, Option<String>)> {
    let manifest = plan.parsed.get(digest)?;
    if is_loadable(manifest, written) {
        return Some((digest, None));
    }
    let usual = [Platform {
        os: "linux".to_owned(),
        architecture: "amd64".to_owned(),
        variant: None,
        os_version: None,
    }];
    let images = manifest.children().filter_map(|child| {
        let image = plan.parsed.get_key_value(&child.digest)?;
        let platform = child.platform.as_ref().filter(|platform| !platform.is_unknown())?;
        is_loadable(image.1, written).then_some((image.0, platform))
    });
    let rank = |platform: &Platform| {
        let first = plan.platforms.iter().chain(&usual).position(|wanted| platform.is_meant_by(wanted));
        first.unwrap_or(usize::MAX)
    };
    let (digest, platform) = images.min_by_key(|(_, platform)| rank(platform))?;
    Some((digest, Some(platform.to_string())))
}

/// Whether Docker can load it: an image, and all of it in this bundle.
fn is_loadable(manifest: &Manifest, written: &BTreeMap<Digest, u64>) -> bool {
    let here =
        |blob: &crate::oci::Descriptor| written.contains_key(&blob.digest) && !is_foreign(&blob.media_type);
    is_image(manifest) && manifest.blobs().all(here)
}

/// Whether it is an image, or an index that has one.
fn runs(plan: &Plan, digest: &Digest) -> bool {
    let image = |digest| plan.parsed.get(digest).is_some_and(is_image);
    image(digest) || plan.parsed.get(digest).is_some_and(|index| index.children().any(|of| image(&of.digest)))
}

/// Whether it is something to run, and not a chart, a signature or a list of parts. Signatures look like images but for
/// their layers.
fn is_image(manifest: &Manifest) -> bool {
    const CONFIGS: [&str; 2] =
        ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
    const LAYERS: [&str; 2] = ["application/vnd.oci.image.layer.", "application/vnd.docker.image.rootfs."];
    let config = manifest.config.as_ref().is_some_and(|config| CONFIGS.contains(&config.media_type.as_str()));
    let is_layer =
        |layer: &crate::oci::Descriptor| LAYERS.iter().any(|start| layer.media_type.starts_with(start));
    manifest.kind == ManifestKind::Image && config && manifest.layers.iter().all(is_layer)
}
