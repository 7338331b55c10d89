//! GitLab's registry: tokens come from the website, which is another host, and blobs from object storage.

use super::{Profile, Style, leads_to};
use crate::support::upstream::script::Kind;
use crate::support::upstream::{TokenStyle, Tokens};

/// registry.gitlab.com with a deploy token.
pub async fn gitlab() -> Profile {
    let mut profile = Profile::new("registry.gitlab.com", "group/project/app").await;
    let (user, password) = ("gitlab+deploy-token-7", "gldt-secret");
    let credentials = Some((user.to_owned(), password.to_owned()));
    let tokens = Tokens::new(TokenStyle { credentials, expires_in: None, ..TokenStyle::default() });
    let realm = profile.token_server(&tokens).await;
    profile.account(user, password);
    let challenge =
        format!("Bearer realm=\"{realm}/jwt/auth\",service=\"container_registry\",scope=\"{{scope}}\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let bucket = profile.storage(Style::GCS, true).await;
    let blob = leads_to(307, &[bucket]);
    profile.decide(move |asked| (asked.kind == Kind::Blob).then(&blob));
    profile
}
