//! What to prove, and to whom.
//!
//! Decides by a challenge how to come back with a proof, and remembers by endpoint and repository how that was, so that
//! later requests carry their token at once. Credentials are shown to an endpoint that asks for Basic, and to a realm that
//! the operator trusts; a realm of upstream's own choosing gets nothing but an anonymous request.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, HeaderValue};
use lru::LruCache;
use url::Url;

use crate::http::challenge::{Challenge, parse_challenges};
use crate::oci::Repository;

use super::accounts::Login;
use super::connect::Reach;
use super::failure::{Failure, SaidNo};
use super::health::Subject;
use super::places::Places;
use super::redirect::Bare;
use super::settings::Credentials;
use super::token::TokenKey;

/// How many repositories' schemes are remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The status that comes with a challenge.
pub(super) const UNAUTHORIZED: u16 = 401;

/// How a repository wants its requests proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    /// By the credentials themselves.
    Basic,
    /// By a token of this kind.
    Bearer(Realm),
}

/// A token server, and what to ask it for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Realm {
    pub(super) url: Url,
    pub(super) service: Option<String>,
    pub(super) scope: String,
    /// By which client it is reached. Credentials go with [`Reach::Configured`] only.
    pub(super) reach: Reach,
}

impl Realm {
    /// Which tokens of this realm are interchangeable.
    pub(super) fn key(&self, login: Option<&Login>) -> TokenKey {
        TokenKey {
            realm: self.url.to_string(),
            service: self.service.clone(),
            scope: self.scope.clone(),
            account: login.cloned(),
        }
    }

    /// The server, and not what it is asked: upstream chooses that.
    pub(super) fn server(&self) -> Url {
        let mut server = self.url.clone();
        server.set_query(None);
        server
    }

    /// What it is asked about.
    pub(super) fn subject(&self) -> Subject {
        Subject::of(&self.scope)
    }

    /// The URL that grants the token.
    pub(super) fn request(&self) -> Url {
        let mut url = self.url.clone();
        {
            let mut query = url.query_pairs_mut();
            if let Some(service) = &self.service {
                query.append_pair("service", service);
            }
            for scope in self.scope.split_whitespace() {
                query.append_pair("scope", scope);
            }
        }
        url
    }

    /// The form that is posted for a token to whoever has an identity token.
    pub(super) fn form(&self, identity: &str) -> String {
        let mut form = url::form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token");
        form.append_pair("client_id", "roadstead");
        if let Some(service) = &self.service {
            form.append_pair("service", service);
        }
        form.append_pair("scope", &self.scope).append_pair("refresh_token", identity);
        form.finish()
    }
}

impl Scheme {
    /// Whether it can be met as it stands by who has this login. One that was taken without an account may lead where no
    /// account may go, and one with an account needs it.
    pub(super) fn is_for(&self, login: Option<&Login>) -> bool {
        match self {
            Self::Basic => login.is_some(),
            Self::Bearer(realm) => {
                realm.reach == Reach::Configured || login.is_none_or(|login| !login.is_for_realms())
            }
        }
    }
}

/// The schemes that repositories were last seen to want.
#[derive(Debug)]
pub(super) struct Schemes {
    seen: Mutex<LruCache<(usize, Repository), Scheme>>,
}

impl Schemes {
    pub(super) fn new() -> Self {
        Self { seen: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// What this endpoint, by its place in the list, last wanted for this repository.
    pub(super) fn of(&self, endpoint: usize, repository: &Repository) -> Option<Scheme> {
        self.lock().get(&(endpoint, repository.clone())).cloned()
    }

    pub(super) fn remember(&self, endpoint: usize, repository: &Repository, scheme: Scheme) {
        self.lock().put((endpoint, repository.clone()), scheme);
    }

    pub(super) fn forget(&self, endpoint: usize, repository: &Repository) {
        self.lock().pop(&(endpoint, repository.clone()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<(usize, Repository), Scheme>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How to come back to an endpoint that answered 401 with these headers; or why that is its last word.
pub(super) fn choose(
    headers: &HeaderMap,
    endpoint: &Url,
    repository: &Repository,
    places: &Places,
    login: Option<&Login>,
) -> Result<Scheme, Failure> {
    let has_credentials = login.is_some();
    let challenges: Vec<Challenge> = headers
        .get_all(WWW_AUTHENTICATE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(parse_challenges)
        .collect();
    let of = |scheme: &str| challenges.iter().find(|challenge| challenge.is(scheme));
    if let Some(bearer) = of("bearer") {
        let secret = login.is_some_and(Login::is_for_realms);
        return realm(bearer, endpoint, repository, places, secret).map(Scheme::Bearer);
    }
    if has_credentials && of("basic").is_some() {
        return Ok(Scheme::Basic);
    }
    Err(if has_credentials {
        Failure::RefusedUs { status: UNAUTHORIZED }
    } else {
        Failure::SaidNo(SaidNo { status: UNAUTHORIZED })
    })
}

fn realm(
    bearer: &Challenge,
    endpoint: &Url,
    repository: &Repository,
    places: &Places,
    secret: bool,
) -> Result<Realm, Failure> {
    let url = bearer.get("realm").and_then(|realm| realm.parse::<Url>().ok());
    let Some(mut url) = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) else {
        return Err(Failure::garbage("a Bearer challenge without a usable realm"));
    };
    let trusted = places.trusts_realm(endpoint, &url);
    if secret && !trusted {
        return Err(Failure::NoLogin {
            why: format!(
                "{} is a token server that credentials may not go to: add its host to `realm_hosts` if it is right",
                Bare(&url)
            ),
        });
    }
    // Userinfo in a realm would be a credential that nobody configured. These fail only where a URL cannot have any.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    let given = |name: &str| bearer.get(name).filter(|value| !value.trim().is_empty()).map(str::to_owned);
    Ok(Realm {
        url,
        service: given("service"),
        scope: given("scope").unwrap_or_else(|| format!("repository:{repository}:pull")),
        reach: if trusted { Reach::Configured } else { Reach::Guarded },
    })
}

/// The `Authorization` of Basic.
pub(super) fn basic(credentials: &Credentials) -> HeaderValue {
    let pair = STANDARD.encode(format!("{}:{}", credentials.username, credentials.password));
    let mut header =
        HeaderValue::try_from(format!("Basic {pair}")).unwrap_or(HeaderValue::from_static("Basic"));
    header.set_sensitive(true);
    header
}

/// The `Authorization` of a token that somebody has given us.
pub(super) fn bearer(token: &str) -> Result<HeaderValue, Failure> {
    let mut header = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Failure::NoLogin { why: "the token does not fit into a header".to_owned() })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HUB: &str = "https://registry-1.docker.io";

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    fn chosen(endpoint: &str, challenges: &[&str], has_credentials: bool) -> Result<Scheme, Failure> {
        let mut headers = HeaderMap::new();
        for challenge in challenges {
            headers.append(WWW_AUTHENTICATE, challenge.parse().expect("a value"));
        }
        let endpoint = url(endpoint);
        let places = Places::new(std::slice::from_ref(&endpoint), &[], &[]).expect("hosts");
        let repository = "library/nginx".parse().expect("a repository");
        let login = has_credentials.then(|| Login::new("robot", "hidden"));
        choose(&headers, &endpoint, &repository, &places, login.as_ref())
    }

    fn realm_of(realm: &str, service: Option<&str>, scope: &str, reach: Reach) -> Scheme {
        Scheme::Bearer(Realm {
            url: url(realm),
            service: service.map(str::to_owned),
            scope: scope.into(),
            reach,
        })
    }

    #[test]
    fn t60_service_and_scope_may_be_absent() {
        let realm = "https://auth.docker.io/token";
        let own = "repository:library/nginx:pull";
        for (challenge, scheme) in [
            (
                r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull""#,
                realm_of(realm, Some("registry.docker.io"), own, Reach::Configured),
            ),
            (r#"Bearer realm="https://auth.docker.io/token""#, realm_of(realm, None, own, Reach::Configured)),
            (
                r#"bearer realm="https://auth.docker.io/token", service="", scope="aws""#,
                realm_of(realm, None, "aws", Reach::Configured),
            ),
        ] {
            assert_eq!(chosen(HUB, &[challenge], true), Ok(scheme), "{challenge}");
        }
    }

    #[test]
    fn t61_credentials_are_not_for_a_foreign_realm() {
        let challenge = r#"Bearer realm="https://evil.example/token",service="x""#;
        let refused = chosen(HUB, &[challenge], true);
        assert!(
            matches!(&refused, Err(Failure::NoLogin { why }) if why.contains("realm_hosts")),
            "{refused:?}"
        );
        let scope = "repository:library/nginx:pull";
        let anonymous = realm_of("https://evil.example/token", Some("x"), scope, Reach::Guarded);
        assert_eq!(chosen(HUB, &[challenge], false), Ok(anonymous));
    }

    #[test]
    fn a_challenge_that_cannot_be_met_is_the_last_word() {
        for (challenges, has_credentials, chosen_as) in [
            (vec![], false, Err(Failure::SaidNo(SaidNo { status: 401 }))),
            (vec![], true, Err(Failure::RefusedUs { status: 401 })),
            (vec![r#"Basic realm="x""#], false, Err(Failure::SaidNo(SaidNo { status: 401 }))),
            (vec![r#"Basic realm="x""#], true, Ok(Scheme::Basic)),
            (vec!["Negotiate", r#"Basic realm="x""#], true, Ok(Scheme::Basic)),
            (vec!["Digest realm=x"], true, Err(Failure::RefusedUs { status: 401 })),
        ] {
            assert_eq!(
                chosen(HUB, &challenges, has_credentials),
                chosen_as,
                "{challenges:?} {has_credentials}"
            );
        }
        for challenge in ["Bearer", r#"Bearer realm="/token""#, r#"Bearer realm="file:///etc/passwd""#] {
            assert!(matches!(chosen(HUB, &[challenge], false), Err(Failure::DidNotAnswer(_))), "{challenge}");
        }
    }

    #[test]
    fn bearer_is_preferred_to_basic() {
        let challenges = [r#"Basic realm="x""#, r#"Bearer realm="https://registry-1.docker.io/token""#];
        assert!(matches!(chosen(HUB, &challenges, true), Ok(Scheme::Bearer(_))));
    }

    #[test]
    fn t59_scopes_are_asked_for_one_by_one_and_escaped() {
        let Scheme::Bearer(realm) = realm_of(
            "https://auth.example/token?x=1",
            Some("a b&c"),
            "repository:a:pull repository:b:pull",
            Reach::Guarded,
        ) else {
            unreachable!("made as Bearer")
        };
        assert_eq!(
            realm.request().as_str(),
            "https://auth.example/token?x=1&service=a+b%26c&scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull"
        );
    }

    #[test]
    fn t66_an_identity_token_is_sent_in_a_form_and_never_in_a_url() {
        let Scheme::Bearer(realm) =
            realm_of("https://auth.example/token?x=1", Some("a b&c"), "repository:a:pull", Reach::Configured)
        else {
            unreachable!("made as Bearer")
        };
        assert_eq!(
            realm.form("hid&den"),
            "grant_type=refresh_token&client_id=roadstead&service=a+b%26c&scope=repository%3Aa%3Apull&refresh_token=hid%26den"
        );
        assert!(!realm.request().as_str().contains("hid"));
    }

    #[test]
    fn t61_a_scheme_that_was_taken_as_anybody_is_not_for_an_account() {
        let (login, token) = (Login::new("robot", "hidden"), Login::Registry("hidden".into()));
        for (scheme, with, with_token, without) in [
            (Scheme::Basic, true, true, false),
            (realm_of("https://auth.example", None, "x", Reach::Configured), true, true, true),
            (realm_of("https://auth.example", None, "x", Reach::Guarded), false, true, true),
        ] {
            let is_for = [Some(&login), Some(&token), None].map(|login| scheme.is_for(login));
            assert_eq!(is_for, [with, with_token, without], "{scheme:?}");
        }
    }

    #[test]
    fn g9_basic_does_not_show_itself() {
        let header = basic(&Credentials { username: "robot".into(), password: "hidden".into() });
        assert_eq!(header, "Basic cm9ib3Q6aGlkZGVu");
        assert!(!format!("{header:?}").contains("cm9i"));
    }
}
