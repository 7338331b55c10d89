//! What the upstream holds, and the right answer to each request.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use serde_json::{Value, json};

use super::script::{Act, Asked, Kind};
use crate::support::images::{Image, OCI_INDEX, Object, sha256};

/// Repositories, and objects behind signed URLs.
#[derive(Debug, Default)]
pub(super) struct Content {
    repositories: HashMap<String, Repository>,
    signed: HashMap<String, Signed>,
    /// Whether it has the API for referrers.
    pub(super) has_referrers: bool,
}

#[derive(Debug, Default)]
struct Repository {
    manifests: HashMap<String, Object>,
    blobs: HashMap<String, Object>,
    tags: BTreeMap<String, String>,
}

#[derive(Debug)]
struct Signed {
    object: Object,
    uses: usize,
}

/// An answer before it is written.
#[derive(Clone, Debug, Default)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
    /// Which object the body is of, and from which offset.
    pub(super) object: Option<(String, u64)>,
}

impl Reply {
    pub(super) fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn error(status: u16, code: &str) -> Self {
        let errors = json!({"errors": [{"code": code, "message": "scripted upstream", "detail": null}]});
        Self::new(status).set("Content-Type", "application/json").with(errors.to_string())
    }

    /// Sets a header, in place of any of that name.
    pub(super) fn set(mut self, name: &str, value: impl ToString) -> Self {
        self = self.unset(name);
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub(super) fn unset(mut self, name: &str) -> Self {
        self.headers.retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self
    }

    /// This body and its length.
    pub(super) fn with(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        let length = self.body.len();
        self.set("Content-Length", length)
    }
}

impl Content {
    pub(super) fn blob(&mut self, repository: &str, blob: &Object) {
        self.repository(repository).blobs.insert(blob.digest.clone(), blob.clone());
    }

    pub(super) fn manifest(&mut self, repository: &str, manifest: &Object) {
        self.repository(repository).manifests.insert(manifest.digest.clone(), manifest.clone());
    }

    pub(super) fn image(&mut self, repository: &str, image: &Image) {
        image.blobs().for_each(|blob| self.blob(repository, blob));
        self.manifest(repository, &image.manifest);
    }

    pub(super) fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.repository(repository).tags.insert(tag.to_owned(), digest.to_owned());
    }

    /// Takes out a tag, a manifest or a blob.
    pub(super) fn remove(&mut self, repository: &str, reference: &str) {
        let repository = self.repository(repository);
        repository.tags.remove(reference);
        repository.manifests.remove(reference);
        repository.blobs.remove(reference);
    }

    /// Puts a blob behind a path that works `uses` times; returns the path.
    pub(super) fn sign(&mut self, repository: &str, digest: &str, uses: usize) -> String {
        let object = self.repository(repository).blobs.get(digest).expect("a blob to sign").clone();
        let path = format!("/signed/{}", self.signed.len() + 1);
        self.signed.insert(path.clone(), Signed { object, uses });
        path
    }

    fn repository(&mut self, name: &str) -> &mut Repository {
        self.repositories.entry(name.to_owned()).or_default()
    }

    /// The right answer, but for what the act bends in the content itself.
    pub(super) fn answer(&mut self, asked: &Asked, act: &Act) -> Reply {
        if asked.kind == Kind::Ping {
            return Reply::new(200).set("Docker-Distribution-API-Version", "registry/2.0").with("{}");
        }
        if asked.kind == Kind::Signed {
            return match self.signed.get_mut(&asked.path) {
                Some(signed) if signed.uses > 0 => {
                    signed.uses -= 1;
                    serve(asked, &signed.object, act)
                }
                _ => Reply::new(403)
                    .set("Content-Type", "application/xml")
                    .with("<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"),
            };
        }
        if !matches!(asked.method.as_str(), "GET" | "HEAD") {
            return Reply::error(405, "UNSUPPORTED");
        }
        let Some(repository) = self.repositories.get(&asked.repository) else {
            return Reply::error(404, "NAME_UNKNOWN");
        };
        match asked.kind {
            Kind::Manifest => {
                let digest = repository.tags.get(&asked.reference).unwrap_or(&asked.reference);
                match repository.manifests.get(digest) {
                    Some(manifest) => serve(asked, manifest, act).set("Docker-Content-Digest", digest),
                    None => Reply::error(404, "MANIFEST_UNKNOWN"),
                }
            }
            Kind::Blob => match repository.blobs.get(&asked.reference) {
                Some(blob) => serve(asked, blob, act).set("Docker-Content-Digest", &blob.digest),
                None => Reply::error(404, "BLOB_UNKNOWN"),
            },
            Kind::Tags => {
                let tags: Vec<&String> = repository.tags.keys().collect();
                list_tags(asked, &tags)
            }
            Kind::Referrers if self.has_referrers => list_referrers(asked, repository.manifests.values()),
            _ => Reply::error(404, "UNSUPPORTED"),
        }
    }
}

/// Those of the manifests that refer to what was asked about. It is not filtered.
fn list_referrers<'a>(asked: &Asked, manifests: impl Iterator<Item = &'a Object>) -> Reply {
    let descriptor = |manifest: &Object| {
        let content: Value = serde_json::from_slice(&manifest.bytes).ok()?;
        let refers = content["subject"]["digest"] == asked.reference.as_str();
        let mut descriptor = manifest.descriptor();
        descriptor["artifactType"] = content["artifactType"].clone();
        refers.then_some(descriptor)
    };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX,
        "manifests": manifests.filter_map(descriptor).collect::<Vec<_>>()});
    Reply::new(200).set("Content-Type", OCI_INDEX).with(index.to_string())
}

/// The page of the tags that was asked for, and where the list goes on.
fn list_tags(asked: &Asked, tags: &[&String]) -> Reply {
    let last = asked.parameter("last").unwrap_or_default();
    let after: Vec<&&String> = tags.iter().filter(|tag| tag.as_str() > last).collect();
    let n = asked.parameter("n").and_then(|n| n.parse().ok()).unwrap_or(after.len());
    let page = &after[..n.min(after.len())];
    let list = json!({"name": asked.repository, "tags": page});
    let reply = Reply::new(200).set("Content-Type", "application/json").with(list.to_string());
    match page.last() {
        Some(last) if page.len() < after.len() => {
            let next = format!("</v2/{}/tags/list?last={last}&n={n}>; rel=\"next\"", asked.repository);
            reply.set("Link", next)
        }
        _ => reply,
    }
}

/// The object, or the range of it that was asked for.
fn serve(asked: &Asked, object: &Object, act: &Act) -> Reply {
    let media_type = match asked.kind {
        Kind::Manifest => &object.media_type,
        _ => "application/octet-stream",
    };
    let body = bend(&object.bytes, act);
    let size = body.len() as u64;
    // Hashing a large blob at every request would take longer than sending it.
    let is_right = act.flips.is_empty() && act.truncate.is_none();
    let tag = if is_right { object.digest.clone() } else { sha256(&body) };
    let reply = Reply { object: Some((object.digest.clone(), 0)), ..Reply::new(200) }
        .set("Content-Type", media_type)
        .set("Accept-Ranges", "bytes")
        .set("ETag", format!("\"{tag}\""));
    let validator = asked.header("if-none-match").map(|validator| validator.trim_matches('"'));
    if validator == Some(&tag) {
        return Reply { status: 304, object: None, ..reply };
    }
    if act.gzip {
        return reply.set("Content-Encoding", "gzip").with(compress(&body));
    }
    let range = asked.header("range").filter(|_| asked.method == "GET" && !act.ignore_range);
    match range.map(|range| satisfy(range, size)) {
        Some(Some((first, last))) => {
            let mut reply = reply
                .set("Content-Range", format!("bytes {first}-{last}/{size}"))
                .with(body.slice(first as usize..=last as usize));
            reply.status = 206;
            reply.object = Some((object.digest.clone(), first));
            reply
        }
        Some(None) => {
            Reply::error(416, "RANGE_NOT_SATISFIABLE").set("Content-Range", format!("bytes */{size}"))
        }
        None => reply.with(body),
    }
}

fn bend(bytes: &Bytes, act: &Act) -> Bytes {
    let kept = bytes.slice(..act.truncate.map_or(bytes.len(), |size| bytes.len().min(size as usize)));
    if act.flips.is_empty() {
        return kept;
    }
    let mut bent = kept.to_vec();
    for &offset in &act.flips {
        if let Some(byte) = bent.get_mut(offset as usize) {
            *byte ^= 1;
        }
    }
    bent.into()
}

fn compress(bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// First and last byte of a single range, if it can be had.
fn satisfy(range: &str, size: u64) -> Option<(u64, u64)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let (first, last) = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) => (first, last.min(size.checked_sub(1)?)),
        (Ok(first), Err(_)) => (first, size.checked_sub(1)?),
        (Err(_), Ok(suffix)) if suffix > 0 => (size.saturating_sub(suffix), size.checked_sub(1)?),
        _ => return None,
    };
    (first <= last).then_some((first, last))
}
