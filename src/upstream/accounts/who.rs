//! Whom an upstream counts a question for, as far as that is known without looking anything up.

use std::fmt;

use url::Url;

use crate::oci::Repository;

use super::docker::Account;
use super::login::Login;
use super::{Accounts, Source};

/// An account, by what sets it apart from others of the same upstream. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::upstream) enum Who {
    /// Nobody in particular; upstream may count the address.
    Anybody,
    /// The user of this name.
    User(String),
    /// Whoever the account for these repositories is at the moment.
    Holder(String),
}

impl Accounts {
    /// As whom a repository is asked for at an endpoint. Looks nothing up, so that it can be asked at any time: what only a
    /// program or an unread file could tell is named by its place in the configuration.
    pub(in crate::upstream) fn who(&self, endpoint: &Url, repository: &Repository) -> Who {
        let Some((prefix, source)) = self.own(endpoint, repository) else { return Who::Anybody };
        if self.is_withheld(endpoint, repository) {
            return Who::Anybody;
        }
        let of = |login| Who::of(Some(login), prefix);
        match source {
            Source::Fixed(login) => of(login),
            Source::PasswordFile { username, .. } => Who::User(username.clone()),
            Source::Helper(_) => Who::Holder(prefix.clone()),
            Source::DockerConfig(file) => match file.peek() {
                None => Who::Holder(prefix.clone()),
                Some(config) => match config.accounts(endpoint, repository.as_str()).first() {
                    None => Who::Anybody,
                    Some(Account::Login(login)) => of(login),
                    Some(Account::Helper(_) | Account::Broken(_)) => Who::Holder(prefix.clone()),
                },
            },
        }
    }
}

impl Who {
    /// Whoever has this login, which is from the account for `prefix`.
    pub(in crate::upstream) fn of(login: Option<&Login>, prefix: &str) -> Self {
        match login {
            None => Self::Anybody,
            Some(Login::Password(pair)) => Self::User(pair.username.clone()),
            Some(Login::Identity(_) | Login::Registry(_)) => Self::Holder(prefix.to_owned()),
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("anybody"),
            Self::User(name) => write!(f, "{name:?}"),
            Self::Holder(prefix) if prefix.is_empty() => f.write_str("its account"),
            Self::Holder(prefix) => write!(f, "the account for {prefix}"),
        }
    }
}
