//! registry.k8s.io.
//!
//! It holds nothing: manifests as well as blobs are elsewhere, by a redirect that depends on who asks. Manifests are at one
//! of several registries, blobs in buckets that anybody may read, cosign's signatures at a registry of their own. Nobody
//! is asked who he is, and nothing but GET and HEAD is answered.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Profile, Role, Style, by_name, leads_to, place};
use crate::support::upstream::Upstream;
use crate::support::upstream::script::{Kind, act, status};

/// registry.k8s.io with two regions, and the registry of its signatures.
pub async fn registry_k8s() -> Profile {
    let mut profile = Profile::new("registry.k8s.io", "pause").await;
    let mut places = Vec::new();
    for _ in 0..3 {
        let region = Upstream::start().await;
        profile.watch(&region, Role::Elsewhere, |_| None);
        let url = by_name(&region.url());
        profile.redirects.push(place(&url));
        profile.behind.push(region);
        places.push(url);
    }
    let signatures = places.pop().unwrap_or_default();
    profile.signatures_at = Some(2);
    let buckets = [profile.storage(Style::S3, true).await, profile.storage(Style::GCS, false).await];
    let (blob, turn, behind) = (leads_to(307, &buckets), AtomicUsize::new(0), profile.name_behind());
    profile.decide(move |asked| {
        if !matches!(asked.method.as_str(), "GET" | "HEAD") {
            return Some(status(405));
        }
        let last = asked.path.rsplit('/').next().unwrap_or_default();
        let signs = [".sig", ".att", ".sbom"].iter().any(|end| last.ends_with(end));
        let region = &places[turn.fetch_add(1, Ordering::SeqCst) % places.len()];
        let at = if signs { &signatures } else { region };
        match asked.kind {
            Kind::Ping => None,
            Kind::Blob => Some(blob()),
            _ => {
                let rest = asked.path.strip_prefix(&format!("/v2/{}", asked.repository)).unwrap_or_default();
                let location = format!("{at}/v2/{behind}{rest}");
                Some(act().redirect_by(307, move |_| location.clone()))
            }
        }
    });
    profile
}
