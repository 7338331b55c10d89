//! ghcr.io.
//!
//! It gives anybody a token, without saying for how long; blobs are on another host by URLs signed for GET, which know no
//! HEAD. Asked for referrers it says 404, or sends to its website by a path that has lost half of the digest; the website
//! answers with a page for people, or has had enough of us.

use std::sync::{Arc, Mutex};

use super::{Profile, Role, Style, by_name, leads_to, place};
use crate::support::upstream::script::{Kind, act, status};
use crate::support::upstream::{TokenStyle, Tokens, Upstream};

/// What becomes of a question for referrers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebReferrers {
    /// 404.
    Unknown,
    /// It is sent to the website, which shows a page.
    Page,
    /// It is sent to the website, which limits us.
    Limited,
}

/// The registry, and what is special to it.
#[derive(Debug)]
pub struct Ghcr {
    /// The registry.
    pub profile: Profile,
    referrers: Arc<Mutex<WebReferrers>>,
}

impl Ghcr {
    /// What becomes of questions for referrers from now on.
    pub fn referrers(&self, answer: WebReferrers) {
        *self.referrers.lock().unwrap() = answer;
    }

    /// The website.
    pub fn website(&self) -> &Upstream {
        &self.profile.elsewhere[0]
    }
}

/// ghcr.io, which sends questions for referrers to its website.
pub async fn ghcr() -> Ghcr {
    let mut profile = Profile::new("ghcr.io", "team/app").await;
    let tokens = Tokens::new(TokenStyle { expires_in: None, ..TokenStyle::default() });
    profile.own_tokens(&tokens);
    let realm = format!("{}/token", profile.registry.url());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"ghcr.io\",scope=\"{{scope}}\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let packages = profile.storage(Style::GITHUB, true).await;
    let referrers = Arc::new(Mutex::new(WebReferrers::Page));

    let website = Upstream::start().await;
    let answers = Arc::clone(&referrers);
    profile.watch(&website, Role::Elsewhere, move |_| {
        let limited = *answers.lock().unwrap() == WebReferrers::Limited;
        Some(if limited { act().status(429).html() } else { act().status(200).html() })
    });
    let web = by_name(&website.url());
    profile.redirects.push(place(&web));
    profile.elsewhere.push(website);

    let (blob, asked_for) = (leads_to(307, &[packages]), Arc::clone(&referrers));
    profile.decide(move |asked| match asked.kind {
        Kind::Blob => Some(blob()),
        Kind::Referrers if *asked_for.lock().unwrap() == WebReferrers::Unknown => Some(status(404)),
        Kind::Referrers => {
            let half = asked.reference.get(..40).unwrap_or_default().to_owned();
            let web = web.clone();
            Some(act().redirect_by(303, move |_| format!("{web}/-/v2/packages/container/app/{half}")))
        }
        _ => None,
    });
    Ghcr { profile, referrers }
}
