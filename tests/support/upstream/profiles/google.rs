//! Google's registries.
//!
//! The challenge names no service. Blobs are in its object store, which says 400 to a URL whose time is over and to several
//! ranges at once. gcr.io answers HEAD of a blob by itself, though GET leads elsewhere, and sent questions for referrers to
//! a page for logging in. Artifact Registry takes a whole JSON file for a password.

use super::{Profile, Role, Style, by_name, leads_to, place};
use crate::support::upstream::script::{Kind, act};
use crate::support::upstream::{TokenStyle, Tokens, Upstream};

/// gcr.io, asked as anybody.
pub async fn gcr() -> Profile {
    let mut profile = Profile::new("gcr.io", "team/app").await;
    let tokens = Tokens::new(TokenStyle { expires_in: Some(43_200), ..TokenStyle::default() });
    profile.own_tokens(&tokens);
    let challenge = format!("Bearer realm=\"{}/v2/token\"", profile.registry.url());
    profile.registry.require_challenge(None, &challenge, &tokens);
    let bucket = profile.storage(Style::GCS, true).await;
    let login = Upstream::start().await;
    profile.watch(&login, Role::Elsewhere, |_| Some(act().status(200).html()));
    let page = format!("{}/ServiceLogin", by_name(&login.url()));
    profile.redirects.push(place(&by_name(&login.url())));
    profile.elsewhere.push(login);
    let blob = leads_to(302, &[bucket]);
    profile.decide(move |asked| match (asked.kind, asked.method.as_str()) {
        (Kind::Blob, "GET") => Some(blob()),
        (Kind::Referrers, _) => {
            let page = page.clone();
            Some(act().redirect_by(302, move |_| page.clone()))
        }
        _ => None,
    });
    profile
}

/// Artifact Registry, with a key of a service account.
pub async fn artifact_registry() -> Profile {
    let mut profile = Profile::new("europe-docker.pkg.dev", "project/repo/app").await;
    profile.has_referrers = true;
    profile.registry.list_referrers();
    let key =
        "{\n  \"type\": \"service_account\",\n  \"private_key\": \"-----BEGIN PRIVATE KEY-----\\n:\\n\"\n}";
    let credentials = Some(("_json_key".to_owned(), key.to_owned()));
    let style = TokenStyle { credentials, expires_in: Some(3600), ..TokenStyle::default() };
    let tokens = Tokens::new(style);
    profile.own_tokens(&tokens);
    profile.account("_json_key", key);
    let challenge = format!("Bearer realm=\"{}/v2/token\",scope=\"{{scope}}\"", profile.registry.url());
    profile.registry.require_challenge(None, &challenge, &tokens);
    let bucket = profile.storage(Style::GCS, false).await;
    let blob = leads_to(307, &[bucket]);
    profile.decide(move |asked| (asked.kind == Kind::Blob).then(&blob));
    profile
}
