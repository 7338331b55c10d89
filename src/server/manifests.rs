//! Manifests: verbatim, with the type that upstream gave them.
//!
//! What the client accepts does not matter (T7): there is one stored form of a manifest, and it is what its digest says.
//! Ranges are ignored, which is always allowed (T50): manifests are small.

use hyper::StatusCode;
use hyper::header::HeaderValue;

use super::reply::Reply;
use super::request::Request;
use super::respond::{Object, Rejection};
use crate::mirror::{Mirror, Target};
use crate::oci::Reference;

/// Answers a GET or HEAD of a manifest.
pub(super) async fn manifest(
    mirror: &Mirror,
    request: &Request,
    target: &Target,
    reference: &Reference,
) -> Result<Reply, Rejection> {
    let served = mirror
        .manifest(target, reference)
        .await
        .map_err(|refusal| Rejection::Refused(Object::Manifest, refusal))?;
    let manifest = served.value;
    let reply = if request.conditions.none_match(&manifest.digest) {
        Reply::bodiless(StatusCode::NOT_MODIFIED, served.outcome, None)
    } else {
        // It came in a header, so it can go out in one.
        let media_type = HeaderValue::from_str(&manifest.media_type)
            .unwrap_or_else(|_| HeaderValue::from_static("application/octet-stream"));
        Reply::new(StatusCode::OK, served.outcome, manifest.bytes).content_type(media_type)
    };
    Ok(reply.content(&manifest.digest).forwarded(served.fwd_status))
}
