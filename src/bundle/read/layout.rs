//! The OCI image layout, of whatever tool: `index.json` and `blobs/`, and the sheet that our own bundles have beside them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::bundle::error::{Error, Refusal};
use crate::oci::Digest;

use super::contents::{Contents, Loss, Root};
use super::gather::{Wanted, Whereabouts, documents, gather};
use super::source::{Listing, Source};
use super::{Limits, docker};

pub(super) const MARK: &str = "oci-layout";
pub(super) const INDEX: &str = "index.json";
/// What a bundle of ours says beside the layout.
const SHEET: &str = "roadstead.json";

/// The version of the layout, and the only one that there is.
pub(in crate::bundle) const LAYOUT_VERSION: &str = "1.0.0";
/// The whole name of an image, for containerd and Docker.
pub(in crate::bundle) const NAME: &str = "io.containerd.image.name";
/// The same as the specification has it; most tools write the tag alone.
pub(in crate::bundle) const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// The whole name of what is no image, and what nobody shall take for one.
pub(in crate::bundle) const OWN_NAME: &str = "dev.roadstead.name";
/// The manifest that another is about, for containerd.
pub(in crate::bundle) const SUBJECT: &str = "io.containerd.manifest.subject";
/// The repository of what has no name.
pub(in crate::bundle) const REPOSITORY: &str = "dev.roadstead.repository";

/// What a bundle of ours says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bundle) struct Sheet {
    /// Of this form.
    pub(in crate::bundle) version: u32,
    /// Which images are in it: the same in bundles of the same ones.
    pub(in crate::bundle) set: String,
    /// What an earlier bundle has to have brought; none for what stands by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::bundle) needs: Option<Vec<Need>>,
    /// What came with credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(in crate::bundle) private: Vec<String>,
}

/// A blob that an earlier bundle brought.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::bundle) struct Need {
    pub(in crate::bundle) digest: String,
    pub(in crate::bundle) size: u64,
}

impl Sheet {
    /// The version of the sheet that is written.
    pub(in crate::bundle) const VERSION: u32 = 1;
    /// Its path.
    pub(in crate::bundle) const PATH: &'static str = SHEET;
}

#[derive(Deserialize)]
struct Mark {
    #[serde(rename = "imageLayoutVersion")]
    version: String,
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    annotations: Option<Annotations>,
}

#[derive(Default, Deserialize)]
struct Annotations {
    #[serde(rename = "io.containerd.image.name")]
    name: Option<String>,
    #[serde(rename = "dev.roadstead.name")]
    own_name: Option<String>,
    #[serde(rename = "org.opencontainers.image.ref.name")]
    ref_name: Option<String>,
    #[serde(rename = "io.containerd.manifest.subject")]
    subject: Option<String>,
    #[serde(rename = "dev.roadstead.repository")]
    repository: Option<String>,
}

/// Where a layout keeps a digest.
pub(in crate::bundle) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm(), digest.hex())
}

/// The digest that is kept at a path.
pub(in crate::bundle) fn digest_at(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// The sheet of a bundle of ours; none where there is none.
pub(in crate::bundle) fn sheet(source: &Source, listing: &Listing) -> Result<Option<Sheet>, Error> {
    let documents = documents(source, listing, &[SHEET])?;
    let Some(text) = documents.get(SHEET) else { return Ok(None) };
    let sheet: Sheet = parse(SHEET, text)?;
    if sheet.version != Sheet::VERSION {
        return Err(Error::entry(SHEET, Refusal::Version(sheet.version.to_string())));
    }
    Ok(Some(sheet))
}

pub(super) fn read(source: &Source, listing: &Listing, limits: &Limits) -> Result<Contents, Error> {
    let documents = documents(source, listing, &[MARK, INDEX])?;
    if let Some(mark) = documents.get(MARK) {
        let mark: Mark = parse(MARK, mark)?;
        if mark.version != LAYOUT_VERSION {
            return Err(Error::entry(MARK, Refusal::Version(mark.version)));
        }
    }
    let Some(index) = documents.get(INDEX) else { return Err(Error::entry(INDEX, Refusal::Missing)) };
    let index: Index = parse(INDEX, index)?;
    let sheet = sheet(source, listing)?;
    let mut contents = Contents::default();
    let mut wanted = BTreeMap::new();
    for entry in index.manifests {
        let digest: Digest = entry.digest.parse().map_err(|error: crate::oci::DigestError| {
            Error::entry(INDEX, Refusal::Document(error.to_string()))
        })?;
        let said = entry.annotations.unwrap_or_default();
        let full = |name: &String| name.contains(['/', ':', '@']);
        // What says most comes first: the tag alone is what most tools write into the second.
        let name = said.own_name.or_else(|| said.name.filter(full)).or(said.ref_name);
        let subject = said.subject.and_then(|subject| subject.parse().ok());
        wanted.insert(digest.clone(), Wanted { media_type: entry.media_type, size: entry.size, root: true });
        contents.roots.push(Root { digest, name, repository: said.repository, place: None, subject });
    }
    let whereabouts = Whereabouts { blob: &blob_path, manifest: &blob_path };
    gather(source, listing, wanted, &whereabouts, limits, &mut contents)?;
    match sheet {
        Some(sheet) => {
            let private = sheet.private.iter().filter_map(|digest| digest.parse().ok()).collect();
            contents.private = Some(private);
            contents.needs = sheet.needs;
        }
        // What Docker keeps without containerd, it keeps unpacked, and packs nothing when it saves.
        None if listing.files.contains_key(docker::MANIFEST) => {
            let mut layers = contents.manifests.values().flat_map(|found| &found.manifest.layers);
            let unpacked = layers.any(|layer| layer.media_type.ends_with(".tar"));
            contents.loss = unpacked.then_some(Loss::Unpacked);
        }
        None => {}
    }
    Ok(contents)
}

pub(super) fn parse<'a, T: Deserialize<'a>>(path: &str, text: &'a [u8]) -> Result<T, Error> {
    serde_json::from_slice(text).map_err(|error| Error::entry(path, Refusal::Document(error.to_string())))
}
