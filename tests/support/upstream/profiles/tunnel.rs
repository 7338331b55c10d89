//! A registry of one's own behind a tunnel that strips lengths, by a small program that compresses manifests.

use super::Profile;
use crate::support::upstream::script::{act, on};

/// serverless-registry behind cloudflared.
pub async fn tunnel() -> Profile {
    let profile = Profile::new("tunnel.example", "team/app").await;
    profile.decide(|_| None);
    profile.registry.script(on().blobs(), act().chunked().where_right());
    profile.registry.script(on().manifests(), act().gzip().chunked().where_right());
    profile
}
