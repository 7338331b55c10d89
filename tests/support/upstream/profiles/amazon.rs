//! Amazon's registries.
//!
//! The private one asks for Basic with every request: the user is `AWS`, the password is good for twelve hours and comes
//! from a program, and one that has ended is answered 403. Manifests come without their digest though HEAD tells it,
//! pages of tags have 1000 entries at the most, and blobs are always in S3, which has no patience for two ways of proving
//! oneself. The public one gives everybody a token for everything, whose scope is `aws`, knows no HEAD of blobs even for
//! who has it, and lets nobody ask often.

use serde_json::json;

use super::watch::Switch;
use super::{Profile, Style, leads_to};
use crate::support::upstream::script::{Kind, act, status};
use crate::support::upstream::{TokenStyle, Tokens, basic};

/// What the program is called that knows the password. It is a link to one that reads a file beside the link, so that no
/// test has a program open for writing while another starts one.
const HELPER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/upstream/profiles/docker-credential-told");

/// The private registry, whose password something else writes to a file from time to time.
pub async fn ecr_private() -> Profile {
    let profile = Profile::new("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "team/app").await;
    let file = profile.home.path().join("password");
    let line = format!("username = \"AWS\"\npassword_file = {file:?}");
    private(profile, line, move |password| std::fs::write(&file, password).unwrap()).await
}

/// The private registry, whose password comes from a helper.
pub async fn ecr_private_by_helper() -> Profile {
    let profile = Profile::new("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "team/app").await;
    let program = profile.home.path().join("docker-credential-ecr-login");
    std::os::unix::fs::symlink(HELPER, &program).unwrap();
    let told = profile.home.path().join("told");
    private(profile, format!("credential_helper = {program:?}"), move |password| {
        let secret = json!({"ServerURL": "x", "Username": "AWS", "Secret": password});
        std::fs::write(&told, secret.to_string()).unwrap();
    })
    .await
}

/// The registry; `tell` hands a new password over to whoever is to give it to the mirror, which reads `line` for that.
async fn private(mut profile: Profile, line: String, tell: impl Fn(&str) + Send + Sync + 'static) -> Profile {
    profile.has_referrers = true;
    profile.registry.list_referrers();
    profile.lines.push(line);
    let s3 = profile.storage(Style::S3, true).await;
    let (breaches, time) = (profile.breaches.clone(), profile.time.clone());
    let of_now = move || format!("password-of-hour-{}", 12 * time.now());
    let good = of_now.clone();
    let hand_over = move || {
        let password = of_now();
        tell(&password);
        breaches.allow(&basic("AWS", &password));
    };
    hand_over();
    profile.renewal = Some(Box::new(move || {
        hand_over();
        Box::pin(std::future::ready(()))
    }));
    let blob = leads_to(307, &[s3]);
    profile.decide(move |asked| {
        match asked.header("authorization") {
            Some(shown) if *shown == basic("AWS", &good()) => {}
            Some(_) => return Some(status(403).body(ENDED)),
            None => {
                let challenge = "Basic realm=\"https://ecr.example/\",service=\"ecr.amazonaws.com\"";
                return Some(status(401).header("WWW-Authenticate", challenge));
            }
        }
        match asked.kind {
            Kind::Blob => Some(blob()),
            Kind::Manifest if asked.method == "GET" => {
                Some(act().without("Docker-Content-Digest").where_right())
            }
            Kind::Tags => {
                let n = asked.parameter("n").and_then(|n| n.parse::<u32>().ok());
                n.is_some_and(|n| n > 1000).then(|| status(400).body(TOO_MANY))
            }
            _ => None,
        }
    });
    profile
}

const ENDED: &str = r#"{"errors":[{"code":"DENIED","message":"Your authorization token has expired. Reauthenticate and try again."}]}"#;

const TOO_MANY: &str = r#"{"errors":[{"code":"UNSUPPORTED","message":"Invalid parameter at 'maxResults' failed to satisfy constraint"}]}"#;

/// The public registry, and what is special to it.
#[derive(Debug)]
pub struct EcrPublic {
    /// The registry.
    pub profile: Profile,
    /// Whether this second is used up.
    pub limited: Switch,
}

/// The public registry.
pub async fn ecr_public() -> EcrPublic {
    let mut profile = Profile::new("public.ecr.aws", "team/app").await;
    let tokens = Tokens::new(TokenStyle { any_scope: true, expires_in: None, ..TokenStyle::default() });
    profile.own_tokens(&tokens);
    let realm = format!("{}/token/", profile.registry.url());
    let challenge = format!("Bearer realm=\"{realm}\",service=\"public.ecr.aws\",scope=\"aws\"");
    profile.registry.require_challenge(None, &challenge, &tokens);
    let cdn = profile.storage(Style::CDN, true).await;
    let limited = Switch::default();
    let (blob, is_limited) = (leads_to(307, &[cdn]), limited.clone());
    profile.decide(move |asked| {
        if is_limited.is_on() && asked.kind != Kind::Token {
            return Some(status(429).body(TOO_OFTEN));
        }
        match (asked.kind, asked.method.as_str()) {
            (Kind::Blob, "HEAD") => Some(status(401)),
            (Kind::Blob, _) => Some(blob()),
            _ => None,
        }
    });
    EcrPublic { profile, limited }
}

const TOO_OFTEN: &str = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"Rate exceeded"}]}"#;
