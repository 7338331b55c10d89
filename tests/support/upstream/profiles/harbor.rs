//! Harbor.
//!
//! It sends blobs itself, and asks for Basic when a token has come to its end, though it wants a token. As a proxy of
//! another registry it knows nothing of blobs that nobody has pulled through it: HEAD is 404, a range is the whole. Its
//! pages of referrers lead to the registry behind it, and a tag that was deleted is there by its digest for long.

use std::collections::HashSet;
use std::sync::Mutex;

use super::Profile;
use crate::support::images::OCI_INDEX;
use crate::support::upstream::script::{Act, Asked, Kind, act, status};
use crate::support::upstream::{TokenStyle, Tokens};

/// Harbor with a robot account, in a project of its own.
pub async fn harbor() -> Profile {
    let profile = with_robot("harbor.example", "project/app").await;
    profile.registry.list_referrers();
    profile.decide(|_| None);
    profile
}

/// Harbor with a robot account, in a project that is a proxy.
pub async fn harbor_proxy() -> Profile {
    let profile = with_robot("proxy.harbor.example", "hub-proxy/library/app").await;
    profile.registry.list_referrers();
    let cold = Cold::default();
    profile.decide(move |asked| match asked.kind {
        // The first page has nothing, and leads to the second by the name of the registry behind.
        Kind::Referrers if asked.query.is_empty() => {
            let next = format!("</v2/library/app/referrers/{}?last=x>; rel=\"next\"", asked.reference);
            let empty = format!("{{\"schemaVersion\":2,\"mediaType\":\"{OCI_INDEX}\",\"manifests\":[]}}");
            Some(act().body(empty).header("Link", &next).where_right())
        }
        _ => cold.decide(asked),
    });
    profile
}

async fn with_robot(name: &'static str, repository: &'static str) -> Profile {
    let mut profile = Profile::new(name, repository).await;
    profile.has_referrers = true;
    let (user, password) = ("robot$project+mirror", "robot-secret");
    let credentials = Some((user.to_owned(), password.to_owned()));
    let style =
        TokenStyle { credentials, access_token: true, expires_in: Some(1800), ..TokenStyle::default() };
    let tokens = Tokens::new(style);
    profile.own_tokens(&tokens);
    profile.account(user, password);
    let realm = format!("{}/service/token", profile.registry.url());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"harbor-registry\",scope=\"{{scope}}\"");
    profile.registry.require_challenges(None, &challenge, "Basic realm=\"harbor\"", &tokens);
    profile
}

/// Which blobs a proxy has fetched.
#[derive(Debug, Default)]
pub(super) struct Cold(Mutex<HashSet<String>>);

impl Cold {
    /// How a proxy answers for a blob: what it has not fetched is not there for HEAD, and whole for a range.
    pub(super) fn decide(&self, asked: &Asked) -> Option<Act> {
        if asked.kind != Kind::Blob {
            return None;
        }
        let mut fetched = self.0.lock().unwrap();
        if fetched.contains(&asked.reference) {
            return None;
        }
        if asked.method == "HEAD" {
            return Some(status(404).where_right());
        }
        if asked.header("authorization").is_some() {
            fetched.insert(asked.reference.clone());
        }
        asked.header("range").map(|_| act().ignore_range().where_right().breaks_as_scripted())
    }
}
