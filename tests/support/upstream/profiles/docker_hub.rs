//! Docker Hub.
//!
//! A token server on another host, whose answer has the token under both names and a date by a clock of its own. Official
//! images are in `library/`, and what is not is denied. Pulls are counted by GET of a manifest, told in headers, and come
//! to an end in 429; who does too much of anything gets 429 in plain text. Blobs are on one of several CDNs by turns, and
//! a URL of one is worth nothing at another; there was one that ignored ranges. Referrers are listed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::watch::Switch;
use super::{Profile, Style, leads_to};
use crate::support::upstream::script::{Act, Kind, act, status};
use crate::support::upstream::{TokenStyle, Tokens};

/// The registry, and what is special to it.
#[derive(Debug)]
pub struct DockerHub {
    /// The registry.
    pub profile: Profile,
    /// How many pulls are left in the window.
    pub pulls: Arc<AtomicUsize>,
    /// Whether it has had enough of us.
    pub had_enough: Switch,
}

/// Docker Hub with 100 pulls left.
pub async fn docker_hub() -> DockerHub {
    stock(Profile::new("docker.io", "library/app").await).await
}

/// The same over TLS, with HTTP/2 at every server.
pub async fn docker_hub_over_tls() -> DockerHub {
    stock(Profile::over("docker.io", "library/app", true).await).await
}

async fn stock(mut profile: Profile) -> DockerHub {
    profile.has_referrers = true;
    profile.registry.list_referrers();
    let style =
        TokenStyle { access_token: true, issued_at: Some("2001-01-01T00:00:00Z"), ..TokenStyle::default() };
    let tokens = Tokens::new(style);
    let realm = profile.token_server(&tokens).await;
    let challenge =
        format!("Bearer realm=\"{realm}/token\",service=\"registry.docker.io\",scope=\"{{scope}}\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let cdns = [profile.storage(Style::CDN, true).await, profile.storage(Style::S3, false).await];
    let blob = leads_to(307, &cdns);
    let (pulls, had_enough) = (Arc::new(AtomicUsize::new(100)), Switch::default());
    let (left, enough) = (Arc::clone(&pulls), had_enough.clone());
    profile.decide(move |asked| {
        if enough.is_on() {
            return Some(act().status(429).body("Too Many Requests\n").header("Content-Type", "text/plain"));
        }
        if !asked.repository.is_empty() && !asked.repository.contains('/') {
            return Some(status(401).body(DENIED));
        }
        match asked.kind {
            Kind::Blob => Some(blob()),
            Kind::Manifest => {
                Some(counted(&left, asked.method == "GET" && asked.header("authorization").is_some()))
            }
            _ => None,
        }
    });
    DockerHub { profile, pulls, had_enough }
}

const DENIED: &str =
    r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required","detail":null}]}"#;

const OVER: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"}]}"#;

/// An answer about a manifest, which is a pull where it is a GET.
fn counted(left: &AtomicUsize, pulls: bool) -> Act {
    let take = |left: usize| if pulls { left.checked_sub(1) } else { Some(left) };
    match left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
        Ok(before) => act()
            .header("ratelimit-limit", "100;w=21600")
            .header("ratelimit-remaining", &format!("{};w=21600", before - usize::from(pulls)))
            .header("docker-ratelimit-source", "192.0.2.7")
            .where_right(),
        Err(_) => act().status(429).body(OVER).header("Content-Type", "application/json"),
    }
}
