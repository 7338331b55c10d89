//! quay.io, and Red Hat's registries by the same software.
//!
//! Blobs are on one of several CDNs by 302. Who does not say that he can read newer manifests gets schema 1. Red Hat's
//! has its token server on another host and gives nothing without a service account, whose name has a `|` in it; it
//! leaves out the digest of manifests, and compresses whatever is JSON for who can decompress it.

use super::watch::accepts_all;
use super::{Profile, Style, leads_to};
use crate::support::images::DOCKER_SCHEMA1;
use crate::support::upstream::script::{Act, Asked, Kind, act};
use crate::support::upstream::{TokenStyle, Tokens};

/// What is sent to who cannot read anything newer.
const SCHEMA1: &str = r#"{"schemaVersion":1,"name":"team/app","tag":"v1","fsLayers":[],"history":[]}"#;

fn old_schema(asked: &Asked) -> Option<Act> {
    let old = act().status(200).body(SCHEMA1).header("Content-Type", DOCKER_SCHEMA1);
    (asked.kind == Kind::Manifest && !accepts_all(asked)).then(|| old.where_right())
}

/// quay.io.
pub async fn quay() -> Profile {
    let mut profile = Profile::new("quay.io", "team/app").await;
    profile.has_referrers = true;
    profile.registry.list_referrers();
    let tokens = Tokens::new(TokenStyle { expires_in: None, ..TokenStyle::default() });
    profile.own_tokens(&tokens);
    let realm = format!("{}/v2/auth", profile.registry.url());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"quay.io\",scope=\"{{scope}}\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let cdns = [profile.storage(Style::CDN, true).await, profile.storage(Style::CDN, false).await];
    let blob = leads_to(302, &cdns);
    profile.decide(move |asked| if asked.kind == Kind::Blob { Some(blob()) } else { old_schema(asked) });
    profile
}

/// registry.redhat.io, and what registry.access.redhat.com does.
pub async fn redhat() -> Profile {
    let mut profile = Profile::new("registry.redhat.io", "ubi9/app").await;
    let (user, password) = ("11009103|mirror", "eyJhbGciOiJSUzUxMiJ9.very.long");
    let credentials = Some((user.to_owned(), password.to_owned()));
    let tokens = Tokens::new(TokenStyle { access_token: true, credentials, ..TokenStyle::default() });
    let realm = profile.token_server(&tokens).await;
    profile.account(user, password);
    let realm = format!("{realm}/auth/realms/rhcc/protocol/redhat-docker-v2/auth");
    let challenge = format!("Bearer realm=\"{realm}\",service=\"docker-registry\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let cdn = profile.storage(Style::CDN, true).await;
    let blob = leads_to(302, &[cdn]);
    profile.decide(move |asked| {
        let takes_gzip = asked.header("accept-encoding").is_some_and(|coding| coding.contains("gzip"));
        match asked.kind {
            Kind::Blob if takes_gzip => Some(act().gzip().where_right()),
            Kind::Blob => Some(blob()),
            Kind::Manifest => {
                Some(old_schema(asked).unwrap_or_else(act).without("Docker-Content-Digest").where_right())
            }
            _ => None,
        }
    });
    profile
}
