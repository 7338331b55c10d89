//! What an account proves itself with at one moment.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::super::settings::Credentials;

/// The user name by which helpers say that the secret is a token for the token server.
const IDENTITY: &str = "<token>";

/// A user and a password, or what stands for them. Two are the same account only if their secrets are the same, so that
/// no token outlives what it was had with.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(in crate::upstream) enum Login {
    /// A user and a password.
    Password(Arc<Credentials>),
    /// A token that the token server gives tokens for; the registry itself has no use for it.
    Identity(Arc<str>),
    /// A token for the registry; no token server has a use for it.
    Registry(Arc<str>),
}

impl Login {
    pub(in crate::upstream) fn new(username: &str, password: &str) -> Self {
        if username == IDENTITY {
            return Self::Identity(password.into());
        }
        Self::Password(Arc::new(Credentials { username: username.to_owned(), password: password.to_owned() }))
    }

    /// Whether it is shown to token servers.
    pub(in crate::upstream) fn is_for_realms(&self) -> bool {
        !matches!(self, Self::Registry(_))
    }

    /// Takes this login's secrets out of a text, also where they stand encoded.
    pub(super) fn hide(&self, text: &mut String) {
        let mut cut = |secret: &str| {
            if !secret.is_empty() && text.contains(secret) {
                *text = text.replace(secret, "...");
            }
        };
        match self {
            Self::Password(credentials) => {
                cut(&STANDARD.encode(format!("{}:{}", credentials.username, credentials.password)));
                cut(&credentials.password);
            }
            Self::Identity(token) | Self::Registry(token) => cut(token),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password(credentials) => credentials.fmt(f),
            Self::Identity(_) => f.write_str("Identity(..)"),
            Self::Registry(_) => f.write_str("Registry(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_a_login_does_not_show_its_secret() {
        for login in
            [Login::new("robot", "hidden"), Login::new("<token>", "hidden"), Login::Registry("hidden".into())]
        {
            assert!(!format!("{login:?}").contains("hidden"));
            let mut text = "you sent hidden, which is cm9ib3Q6aGlkZGVu".to_owned();
            login.hide(&mut text);
            assert!(!text.contains("hidden"), "{text}");
            assert_eq!(text.contains("cm9ib3Q6aGlkZGVu"), !matches!(login, Login::Password(_)), "{text}");
        }
    }

    #[test]
    fn t66_a_user_called_token_has_an_identity_token() {
        assert_eq!(Login::new("<token>", "a"), Login::Identity("a".into()));
        assert_ne!(Login::new("token", "a"), Login::new("<token>", "a"));
        assert_ne!(Login::new("AWS", "yesterday"), Login::new("AWS", "today"));
    }
}
