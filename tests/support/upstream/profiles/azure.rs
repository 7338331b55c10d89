//! Microsoft's registries.
//!
//! A private one gives an access token to who has a refresh token, which some other program has exchanged for a token of
//! the directory, and whose life has an end too. Blobs are on a data endpoint that cannot read an `Authorization` of
//! anybody else's. The public one asks nobody anything; its network is known to cut layers of gigabytes.

use std::sync::{Arc, Mutex};

use serde_json::json;

use super::{Profile, Style, leads_to};
use crate::support::client::request;
use crate::support::upstream::script::{Kind, act, status};
use crate::support::upstream::{TokenStyle, Tokens, basic};

/// Who holds a refresh token instead of a password.
const NOBODY: &str = "00000000-0000-0000-0000-000000000000";

/// What a token of the directory is exchanged by.
const FORM: &str = "grant_type=access_token&service=mine.azurecr.io&tenant=mine&access_token=directory";

/// How a refresh token is handed to who pulls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Handed {
    /// As an identity token in docker's configuration.
    Identity,
    /// As the password of [`NOBODY`].
    Password,
}

/// A private registry, whose refresh token is in docker's configuration.
pub async fn acr() -> Profile {
    private(Handed::Identity).await
}

/// A private registry, whose refresh token is a password.
pub async fn acr_by_password() -> Profile {
    private(Handed::Password).await
}

/// A private registry. The program that exchanges its refresh tokens is played by the profile.
async fn private(handed: Handed) -> Profile {
    let mut profile = Profile::new("mine.azurecr.io", "team/app").await;
    profile.has_referrers = true;
    profile.registry.list_referrers();
    let identity = Some(String::new());
    let style =
        TokenStyle { token: false, access_token: true, expires_in: None, identity, ..TokenStyle::default() };
    let tokens = Tokens::new(style);
    profile.own_tokens(&tokens);
    let realm = format!("{}/oauth2/token", profile.registry.url());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"mine.azurecr.io\",scope=\"{{scope}}\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let data = profile.storage(Style::AZURE, true).await;

    let exchanged = Arc::new(Mutex::new(0));
    let (blob, to_refresh) = (leads_to(307, &[data]), tokens.clone());
    profile.decide(move |asked| match asked.kind {
        Kind::Blob => Some(blob()),
        Kind::Other if asked.path == "/oauth2/exchange" => {
            if (asked.method.as_str(), asked.body.as_slice()) != ("POST", FORM.as_bytes()) {
                return Some(status(401));
            }
            let mut number = exchanged.lock().unwrap();
            *number += 1;
            let refresh = format!("refresh-token-{number}");
            to_refresh.ask_for_identity(&refresh);
            to_refresh.ask_for(NOBODY, &refresh);
            Some(act().status(200).body(json!({"refresh_token": refresh}).to_string()))
        }
        _ => None,
    });

    let (address, file) = (profile.registry.address(), profile.home.path().join("refresh-token"));
    profile.lines.push(match handed {
        Handed::Identity => format!("docker_config = {file:?}"),
        Handed::Password => format!("username = {NOBODY:?}\npassword_file = {file:?}"),
    });
    let breaches = profile.breaches.clone();
    let exchange = move || {
        let (file, breaches) = (file.clone(), breaches.clone());
        async move {
            let answer = request(address, "POST", "/oauth2/exchange").body(FORM.as_bytes()).send().await;
            let answer: serde_json::Value = serde_json::from_slice(&answer.expect(200).body).unwrap();
            let refresh = answer["refresh_token"].as_str().unwrap();
            let entry = json!({"username": NOBODY, "identitytoken": refresh});
            let text = match handed {
                Handed::Identity => json!({"auths": {address.to_string(): entry}}).to_string(),
                Handed::Password => refresh.to_owned(),
            };
            breaches.allow(&basic(NOBODY, refresh));
            std::fs::write(&file, text).unwrap();
        }
    };
    exchange().await;
    profile.renewal = Some(Box::new(move || Box::pin(exchange())));
    profile
}

/// mcr.microsoft.com.
pub async fn mcr() -> Profile {
    let mut profile = Profile::new("mcr.microsoft.com", "dotnet/app").await;
    profile.has_referrers = true;
    profile.registry.list_referrers();
    let data = [profile.storage(Style::AZURE, true).await, profile.storage(Style::AZURE, false).await];
    let blob = leads_to(307, &data);
    profile.decide(move |asked| (asked.kind == Kind::Blob).then(&blob));
    profile
}
