//! nvcr.io.
//!
//! The challenge names no service, and each repository has tokens of its own. Who shows a token that is not good any more
//! is sent to another token server, whose tokens open nothing here: the way back is to ask without any token.

use super::{Profile, Role, Style, by_name, leads_to};
use crate::support::upstream::script::Kind;
use crate::support::upstream::{TokenStyle, Tokens, Upstream};

/// nvcr.io with an API key.
pub async fn nvcr() -> Profile {
    let mut profile = Profile::new("nvcr.io", "nvidia/cuda/app").await;
    let (user, key) = ("$oauthtoken", "nvapi-key");
    let credentials = Some((user.to_owned(), key.to_owned()));
    let tokens = Tokens::new(TokenStyle { credentials, expires_in: Some(600), ..TokenStyle::default() });
    profile.own_tokens(&tokens);
    profile.account(user, key);
    let astray = Upstream::start().await;
    profile.watch(&astray, Role::Trap, |_| None);
    let flips =
        format!("Bearer realm=\"{}/token\",service=\"registry\",scope=\"{{scope}}\"", by_name(&astray.url()));
    profile.elsewhere.push(astray);
    let realm = format!("{}/proxy_auth", profile.registry.url());
    let challenge = format!("Bearer realm=\"{realm}\",scope=\"{{scope}}\"");
    profile.registry.require_challenges(None, &challenge, &flips, &tokens);
    let cdn = profile.storage(Style::S3, true).await;
    let blob = leads_to(307, &[cdn]);
    profile.decide(move |asked| (asked.kind == Kind::Blob).then(&blob));
    profile
}
