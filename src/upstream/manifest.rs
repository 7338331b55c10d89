//! Manifests and what tags mean.
//!
//! Upstream is always asked with the one full list of types, so that what comes is what the tag names, not what one
//! client could read. Bytes and type are handed on as they came; whether they are right is for the caller to verify.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use crate::oci::{Digest, MAX_MANIFEST_BYTES, ManifestKind, Reference, Repository};
use crate::telemetry::Kind;

use super::Upstream;
use super::blob::{Ask, placed};
use super::encoding::{coding, gunzip, is_gzip};
use super::failure::{Cause, Failure};
use super::request::Question;
use super::transfer::{Origin, Road, Transfer};
use super::whereabouts::Whereabouts;

/// The longest that a manifest's body may take: it is small, and others wait for it. Blobs have no such limit.
const BODY_LIMIT: Duration = Duration::from_secs(60);

/// The longest that it may stand still: another endpoint may be asked in the time that clients wait.
pub(super) const BODY_IDLE: Duration = Duration::from_secs(6);

/// A manifest as upstream sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchedManifest {
    /// Its bytes, verbatim.
    pub bytes: Bytes,
    /// Its type, verbatim; if upstream gave none, the one that it gives itself.
    pub content_type: String,
    /// The digest that upstream says it has. Not verified, and not to be trusted.
    pub digest: Option<Digest>,
}

/// What upstream says of a manifest without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest.
    pub digest: Option<Digest>,
    /// Its type.
    pub content_type: Option<String>,
    /// Its size.
    pub size: Option<u64>,
}

impl Upstream {
    /// A manifest by tag or by digest. Counts against the rate limit of registries that have one.
    pub async fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<FetchedManifest, Failure> {
        let whereabouts = Whereabouts::default();
        let mut left = self.endpoints.len().max(2);
        let mut doubted = None;
        loop {
            left -= 1;
            let fetched = self.fetch_manifest(repository, reference, &whereabouts).await;
            match fetched {
                // Too small to be continued: asked for once more.
                Err(Failure::DidNotAnswer(Cause::Cut)) if left > 0 => {}
                Err(Failure::DidNotAnswer(Cause::IdleTimeout)) if left > 0 && self.endpoints.len() > 1 => {}
                Ok((fetched, origin)) if !is_the_asked(reference, &fetched) => {
                    if is_sure(reference, &fetched, doubted.as_ref()) {
                        return Ok(fetched);
                    }
                    // Another endpoint may have it right, or this one the next time.
                    let is_another = origin.sent_wrong();
                    match reference {
                        Reference::Digest(_) if left == 0 || !is_another => return Ok(fetched),
                        Reference::Tag(_) if left == 0 => {
                            return Err(Failure::garbage("a manifest that is not what its own headers say"));
                        }
                        _ => doubted = Some(fetched.bytes),
                    }
                }
                fetched => return fetched.map(|(fetched, _)| fetched),
            }
        }
    }

    /// What a tag or a digest names, without the manifest's bytes.
    pub async fn head_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<ManifestHead, Failure> {
        let reply = self.within(self.ask(&question(Kind::ManifestHead, repository, reference))).await?;
        let headers = reply.response.headers();
        let size = placed(Ask::Whole, reply.response.status(), headers)?.total;
        let digest = digest(headers);
        if let (Reference::Digest(asked), Some(told)) = (reference, &digest)
            && asked != told
        {
            // Somebody who says yes to every question; membership must not rest on it.
            return Err(Failure::garbage("another digest than was asked for"));
        }
        Ok(ManifestHead {
            digest,
            content_type: content_type(headers),
            size: size.filter(|_| coding(headers).is_none()),
        })
    }

    async fn fetch_manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
        whereabouts: &Whereabouts,
    ) -> Result<(FetchedManifest, Origin), Failure> {
        let question = question(Kind::Manifest, repository, reference);
        let reply = self.within(self.ask_by(whereabouts, &question)).await?;
        let origin = self.origin(&reply, &question, whereabouts);
        let (head, body) = reply.response.into_parts();
        let placed = placed(Ask::Whole, head.status, &head.headers)?;
        let (coding, told) = (placed.encoded.clone(), digest(&head.headers));
        let road = Road::Counted(self.lane.clone());
        let idle_timeout = self.idle_timeout.min(BODY_IDLE);
        let transfer = Transfer::new(placed, body, road, origin.clone(), idle_timeout, self.metrics.clone());
        let received = timeout(BODY_LIMIT, collect(transfer)).await.map_err(|_| origin.too_slow())??;
        let wanted = match reference {
            Reference::Digest(digest) => Some(digest),
            Reference::Tag(_) => told.as_ref(),
        };
        let bytes = interpret(received, coding.as_deref(), wanted);
        if bytes.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
            return Err(Failure::garbage("a manifest that is not JSON"));
        }
        let content_type = content_type(&head.headers).unwrap_or_else(|| own_type(&bytes));
        Ok((FetchedManifest { bytes, content_type, digest: told }, origin))
    }
}

fn question<'a>(kind: Kind, repository: &'a Repository, reference: &Reference) -> Question<'a> {
    let path = match reference {
        Reference::Tag(tag) => format!("manifests/{tag}"),
        Reference::Digest(digest) => format!("manifests/{digest}"),
    };
    Question { kind, repository, path, ask: Ask::Whole }
}

/// Whether the bytes are those that were asked for, as far as the reference tells, or upstream's own word.
fn is_the_asked(reference: &Reference, fetched: &FetchedManifest) -> bool {
    let has = |digest: &Digest| Digest::of(digest.algorithm(), &fetched.bytes) == *digest;
    match reference {
        Reference::Digest(asked) => has(asked),
        Reference::Tag(_) if !is_json(&fetched.bytes) => false,
        // The old kind is named by other bytes than it consists of.
        Reference::Tag(_) => {
            ManifestKind::of_media_type(&fetched.content_type) == Some(ManifestKind::Schema1)
                || fetched.digest.as_ref().is_none_or(has)
        }
    }
}

/// Whether a tag is taken for these bytes although upstream names another digest for them: it does so twice over the same
/// bytes, and so it is the name that is wrong (T4).
fn is_sure(reference: &Reference, fetched: &FetchedManifest, doubted: Option<&Bytes>) -> bool {
    matches!(reference, Reference::Tag(_)) && doubted == Some(&fetched.bytes) && is_json(&fetched.bytes)
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(bytes).is_ok()
}

/// Whether a success may be a manifest: a 200 that is no web page.
pub(super) fn check(status: StatusCode, headers: &HeaderMap) -> Result<(), Failure> {
    if status != StatusCode::OK {
        return Err(Cause::Status(status.as_u16()).into());
    }
    if content_type(headers).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("text/html")) {
        return Err(Failure::garbage("a web page instead of a manifest"));
    }
    Ok(())
}

/// A body that has to fit into memory.
pub(super) async fn collect(mut transfer: Transfer) -> Result<Bytes, Failure> {
    let limit = MAX_MANIFEST_BYTES;
    let promised = usize::try_from(transfer.end.unwrap_or(0)).unwrap_or(usize::MAX);
    if promised > limit {
        return Err(Cause::TooLarge { limit }.into());
    }
    let mut all = BytesMut::with_capacity(promised);
    while let Some(bytes) = transfer.chunk().await? {
        if all.len() + bytes.len() > limit {
            return Err(Cause::TooLarge { limit }.into());
        }
        all.extend_from_slice(&bytes);
    }
    Ok(all.freeze())
}

/// The manifest in the bytes that came. They are taken as they are if they have the digest; otherwise, if a coding is
/// said to be on them, without it. What is handed on when neither fits is wrong, and the caller will find it so.
fn interpret(received: Bytes, coding: Option<&str>, wanted: Option<&Digest>) -> Bytes {
    if !coding.is_some_and(is_gzip) {
        return received;
    }
    let as_it_is = match wanted {
        Some(digest) => Digest::of(digest.algorithm(), &received) == *digest,
        None => received.first() == Some(&b'{'),
    };
    if as_it_is {
        return received;
    }
    gunzip(&received, MAX_MANIFEST_BYTES).unwrap_or(received)
}

fn digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.trim().parse().ok()
}

fn content_type(headers: &HeaderMap) -> Option<String> {
    let written = headers.get(CONTENT_TYPE)?.to_str().ok()?.trim();
    (!written.is_empty()).then(|| written.to_owned())
}

/// The type that a manifest gives itself, or has by its shape.
fn own_type(bytes: &[u8]) -> String {
    #[derive(Deserialize)]
    struct Shape {
        #[serde(rename = "mediaType")]
        media_type: Option<String>,
        manifests: Option<IgnoredAny>,
    }
    match serde_json::from_slice(bytes) {
        Ok(Shape { media_type: Some(own), .. }) => own,
        Ok(Shape { manifests: Some(_), .. }) => "application/vnd.oci.image.index.v1+json".to_owned(),
        _ => "application/vnd.oci.image.manifest.v1+json".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Algorithm;
    use crate::upstream::encoding::gzip;

    #[test]
    fn t29_a_coding_that_was_put_on_is_taken_off() {
        let plain = Bytes::from_static(br#"{"schemaVersion":2}"#);
        let digest = Digest::of(Algorithm::Sha256, &plain);
        let encoded = Bytes::from(gzip(&plain));
        assert_eq!(interpret(encoded.clone(), Some("gzip"), Some(&digest)), plain);
        assert_eq!(interpret(encoded, Some("gzip"), None), plain);
    }

    #[test]
    fn t30_a_coding_that_is_only_said_is_ignored() {
        let plain = Bytes::from_static(br#"{"schemaVersion":2}"#);
        let digest = Digest::of(Algorithm::Sha256, &plain);
        for (coding, wanted) in
            [(Some("gzip"), Some(&digest)), (Some("gzip"), None), (Some("br"), Some(&digest)), (None, None)]
        {
            assert_eq!(interpret(plain.clone(), coding, wanted), plain, "{coding:?} {wanted:?}");
        }
    }

    #[test]
    fn t70_a_web_page_is_no_manifest() {
        for (status, kind, good) in [
            (200, "application/vnd.oci.image.index.v1+json", true),
            (200, "text/plain", true),
            (200, "Text/HTML; charset=utf-8", false),
            (204, "application/json", false),
            (206, "application/json", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().expect("a value"));
            let checked = check(StatusCode::from_u16(status).expect("a status"), &headers);
            assert_eq!(checked.is_ok(), good, "{status} {kind}");
        }
    }

    #[test]
    fn a_manifest_without_a_type_names_its_own() {
        for (body, kind) in [
            (r#"{"mediaType":"application/x"}"#, "application/x"),
            (r#"{"manifests":[]}"#, "application/vnd.oci.image.index.v1+json"),
            (r#"{"layers":[]}"#, "application/vnd.oci.image.manifest.v1+json"),
        ] {
            assert_eq!(own_type(body.as_bytes()), kind);
        }
    }
}
