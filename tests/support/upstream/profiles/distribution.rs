//! distribution, which most others are built of.
//!
//! A tag that names an index is answered with the manifest for linux/amd64 to who does not say that he can read an index,
//! and with 404 to who cannot read OCI's types. It has validators, no API for referrers (404 in plain text), and sends
//! blobs to a bucket. As a proxy it asks for a user by Basic, and treats blobs that nobody has pulled as Harbor does.

use super::harbor::Cold;
use super::watch::accepts;
use super::{Profile, Style, leads_to};
use crate::support::images::{OCI_INDEX, OCI_MANIFEST};
use crate::support::upstream::script::{Act, Asked, Kind, act, status};
use crate::support::upstream::{TokenStyle, Tokens};

/// distribution with a token server that says no life, and S3 for its blobs.
pub async fn distribution() -> Profile {
    let mut profile = Profile::new("registry.local:5000", "team/app").await;
    let tokens = Tokens::new(TokenStyle { expires_in: None, ..TokenStyle::default() });
    let realm = profile.token_server(&tokens).await;
    let challenge = format!("Bearer realm=\"{realm}/token\",service=\"registry\",scope=\"{{scope}}\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let bucket = profile.storage(Style::S3, false).await;
    let blob = leads_to(307, &[bucket]);
    profile.decide(move |asked| match asked.kind {
        Kind::Blob => Some(blob()),
        _ => older_than(asked),
    });
    profile
}

/// distribution as a proxy, with a user of its own.
pub async fn distribution_proxy() -> Profile {
    let mut profile = Profile::new("cache.local:5000", "library/app").await;
    profile.registry.require_basic(None, "mirror", "htpasswd-secret");
    profile.account("mirror", "htpasswd-secret");
    let cold = Cold::default();
    profile.decide(move |asked| match asked.kind {
        Kind::Blob => cold.decide(asked),
        _ => older_than(asked),
    });
    profile
}

/// What it says to questions that it does not know, or whose `Accept` is too narrow.
fn older_than(asked: &Asked) -> Option<Act> {
    match asked.kind {
        Kind::Referrers => {
            Some(status(404).body("404 page not found\n").header("Content-Type", "text/plain; charset=utf-8"))
        }
        Kind::Manifest if !accepts(asked, OCI_MANIFEST) && !accepts(asked, OCI_INDEX) => Some(status(404)),
        Kind::Manifest if !accepts(asked, OCI_INDEX) => {
            Some(act().body(FOR_AMD64).header("Content-Type", OCI_MANIFEST).where_right())
        }
        _ => None,
    }
}

/// Stands for the child that it would send in place of an index: what counts is that it is something else.
const FOR_AMD64: &str = r#"{"schemaVersion":2,"config":{},"layers":[]}"#;
