//! Who may ask: Bearer tokens with their endpoint, and Basic.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};

use super::content::Reply;
use super::script::Asked;

/// The `Authorization` value of Basic for this user.
pub fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// How a token endpoint words its answer, and whom it serves.
#[derive(Clone, Debug)]
pub struct TokenStyle {
    /// What its tokens are called, before their number.
    pub name: &'static str,
    /// Name the token in `token`.
    pub token: bool,
    /// Name it in `access_token`.
    pub access_token: bool,
    /// `expires_in`, in seconds, if it is said.
    pub expires_in: Option<u64>,
    /// User and password that are asked for; without them anybody gets a token.
    pub credentials: Option<(String, String)>,
    /// The identity token that is taken in a posted form, instead of a user and a password.
    pub identity: Option<String>,
    /// `issued_at`, if it is said.
    pub issued_at: Option<&'static str>,
    /// A token opens every repository, whatever it was asked for.
    pub any_scope: bool,
}

impl Default for TokenStyle {
    fn default() -> Self {
        Self {
            name: "token",
            token: true,
            access_token: false,
            expires_in: Some(300),
            credentials: None,
            identity: None,
            issued_at: None,
            any_scope: false,
        }
    }
}

/// One token that was given out.
#[derive(Clone, Debug)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// The `scope` parameters it was asked with.
    pub scopes: Vec<String>,
    /// The `service` parameter.
    pub service: Option<String>,
    /// The `Authorization` header of the request.
    pub authorization: Option<String>,
    /// Whether it was taken back.
    pub revoked: bool,
}

/// The tokens of one token endpoint; registries that accept them share it.
#[derive(Clone, Debug, Default)]
pub struct Tokens(Arc<Mutex<(TokenStyle, Vec<Issued>)>>);

impl Tokens {
    /// A token endpoint of this style.
    pub fn new(style: TokenStyle) -> Self {
        Self(Arc::new(Mutex::new((style, Vec::new()))))
    }

    /// All tokens given out so far.
    pub fn issued(&self) -> Vec<Issued> {
        self.0.lock().unwrap().1.clone()
    }

    /// From now on this is the user and the password that is asked for.
    pub fn ask_for(&self, user: &str, password: &str) {
        self.0.lock().unwrap().0.credentials = Some((user.to_owned(), password.to_owned()));
    }

    /// From now on this is the identity token that is asked for.
    pub fn ask_for_identity(&self, identity: &str) {
        self.0.lock().unwrap().0.identity = Some(identity.to_owned());
    }

    /// From now on it words its answers so.
    pub fn restyle(&self, change: impl FnOnce(&mut TokenStyle)) {
        change(&mut self.0.lock().unwrap().0);
    }

    /// Takes all tokens back.
    pub fn revoke(&self) {
        self.0.lock().unwrap().1.iter_mut().for_each(|issued| issued.revoked = true);
    }

    pub(super) fn answer(&self, asked: &Asked) -> Reply {
        let (style, issued) = &mut *self.0.lock().unwrap();
        let authorization = asked.header("authorization").map(str::to_owned);
        let parameters = if asked.method == "POST" { &asked.body[..] } else { asked.query.as_bytes() };
        let parameters: Vec<(String, String)> =
            url::form_urlencoded::parse(parameters).into_owned().collect();
        let of = |name: &str| -> Vec<String> {
            let values = parameters.iter().filter(|(have, _)| have == name).map(|(_, value)| value.as_str());
            values.flat_map(|value| value.split(' ')).map(str::to_owned).collect()
        };
        let by_identity = style.identity.as_ref().map(|identity| {
            (asked.method.as_str(), of("grant_type"), of("refresh_token"))
                == ("POST", vec!["refresh_token".to_owned()], vec![identity.clone()])
        });
        let by_password = style
            .credentials
            .as_ref()
            .map(|(user, password)| authorization.as_deref() == Some(&basic(user, password)));
        let asked_for: Vec<bool> = by_identity.into_iter().chain(by_password).collect();
        if !asked_for.is_empty() && !asked_for.contains(&true) {
            return Reply::error(401, "UNAUTHORIZED");
        }
        let token = format!("{}-{}", style.name, issued.len() + 1);
        issued.push(Issued {
            token: token.clone(),
            scopes: of("scope"),
            service: of("service").into_iter().next(),
            authorization,
            revoked: false,
        });
        let mut answer = Map::new();
        if style.token {
            answer.insert("token".to_owned(), json!(token));
        }
        if style.access_token {
            answer.insert("access_token".to_owned(), json!(token));
        }
        if let Some(seconds) = style.expires_in {
            answer.insert("expires_in".to_owned(), json!(seconds));
        }
        if let Some(date) = style.issued_at {
            answer.insert("issued_at".to_owned(), json!(date));
        }
        Reply::new(200).set("Content-Type", "application/json").with(json!(answer).to_string())
    }

    fn accepts(&self, asked: &Asked) -> bool {
        let Some(token) = asked.header("authorization").and_then(|value| value.strip_prefix("Bearer "))
        else {
            return false;
        };
        let scope = format!("repository:{}:", asked.repository);
        let (style, issued) = &*self.0.lock().unwrap();
        issued.iter().any(|issued| {
            let is_for = |repository: &str| {
                repository.is_empty() || issued.scopes.iter().any(|have| have.contains(&scope))
            };
            issued.token == token && !issued.revoked && (style.any_scope || is_for(&asked.repository))
        })
    }
}

/// What a repository, or all of them, asks of who comes.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    pub(super) repository: Option<String>,
    pub(super) lock: Lock,
}

#[derive(Clone, Debug)]
pub(super) enum Lock {
    /// `none` is the challenge to who shows nothing, `bad` to who shows a token that is not good.
    Bearer {
        none: String,
        bad: String,
        tokens: Tokens,
    },
    Basic {
        authorization: String,
    },
}

impl Guard {
    /// The 401 for who may not pass.
    pub(super) fn refuse(&self, asked: &Asked) -> Option<Reply> {
        if self.repository.as_ref().is_some_and(|name| *name != asked.repository) {
            return None;
        }
        let challenge = match &self.lock {
            Lock::Bearer { tokens, .. } if tokens.accepts(asked) => return None,
            Lock::Bearer { none, bad, .. } => {
                let challenge = if asked.header("authorization").is_some() { bad } else { none };
                challenge.replace("{scope}", &format!("repository:{}:pull", asked.repository))
            }
            Lock::Basic { authorization } if asked.header("authorization") == Some(authorization) => {
                return None;
            }
            Lock::Basic { .. } => "Basic realm=\"scripted\"".to_owned(),
        };
        Some(Reply::error(401, "UNAUTHORIZED").set("WWW-Authenticate", challenge))
    }
}
