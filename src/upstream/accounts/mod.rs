//! Whom an upstream knows us as, repository by repository.
//!
//! Owns which account a question is asked with: the one whose prefix is the longest that the repository is below. It comes
//! from the configuration, or from a file or a program that is asked again from time to time, and at once after upstream
//! rejected what was had from it, so that a changed secret needs no restart. Files are read and programs run off the
//! runtime's threads, once for all who wait.
//!
//! It guarantees that no secret is in what it logs and in what it says is wrong, and that an account that is known by its
//! host, as those of a `config.json` and of helpers are, is never given for another.

mod docker;
mod files;
mod kept;
mod login;
mod programs;
mod who;

use std::fmt;
use std::path::PathBuf;

use url::Url;

use crate::oci::Repository;

use self::docker::DockerConfig;
use self::files::Watched;
pub(super) use self::login::Login;
use self::programs::Helpers;
pub(super) use self::who::Who;

use super::settings::{Account, LoginSource};

/// Why no account could be looked up. It holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble(String);

impl Trouble {
    fn new(why: String) -> Self {
        Self(why)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The accounts of an upstream.
#[derive(Debug)]
pub(super) struct Accounts {
    /// The longest prefix first.
    list: Vec<(String, Source)>,
    helpers: Helpers,
}

/// Where an account comes from.
#[derive(Debug)]
enum Source {
    Fixed(Login),
    PasswordFile { username: String, password: Watched<Password> },
    DockerConfig(Watched<DockerConfig>),
    Helper(PathBuf),
}

/// The content of a password file.
struct Password(String);

impl Accounts {
    pub(super) fn new(accounts: Vec<Account>) -> Self {
        let source = |login| match login {
            LoginSource::Fixed(pair) => Source::Fixed(Login::new(&pair.username, &pair.password)),
            LoginSource::PasswordFile { username, file } => {
                Source::PasswordFile { username, password: Watched::new(file, Password::parse) }
            }
            LoginSource::DockerConfig(file) => Source::DockerConfig(Watched::new(file, DockerConfig::parse)),
            LoginSource::Helper(program) => Source::Helper(program),
        };
        let mut list: Vec<_> =
            accounts.into_iter().map(|account| (account.prefix, source(account.login))).collect();
        list.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        Self { list, helpers: Helpers::default() }
    }

    /// Whether an account is configured for this repository, be it that none is found when it is looked for.
    pub(super) fn cover(&self, repository: &Repository) -> bool {
        self.source(repository).is_some()
    }

    /// The prefixes of the accounts, which name them.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = &str> {
        self.list.iter().map(|(prefix, _)| prefix.as_str())
    }

    /// The prefix of the account that is for this repository.
    pub(super) fn prefix(&self, repository: &Repository) -> Option<&str> {
        self.own(repository).map(|(prefix, _)| prefix.as_str())
    }

    /// As whom a repository is asked for at an endpoint; `None`: as anybody.
    pub(super) async fn login(
        &self,
        endpoint: &Url,
        repository: &Repository,
    ) -> Result<Option<Login>, Trouble> {
        match self.source(repository) {
            None => Ok(None),
            Some(Source::Fixed(login)) => Ok(Some(login.clone())),
            Some(Source::PasswordFile { username, password }) => {
                Ok(Some(Login::new(username, &password.get().await?.0)))
            }
            Some(Source::Helper(program)) => self.helpers.login(program, &docker::server(endpoint)).await,
            Some(Source::DockerConfig(file)) => {
                for account in file.get().await?.accounts(endpoint, repository.as_str()) {
                    match account {
                        docker::Account::Login(login) => return Ok(Some(login)),
                        docker::Account::Helper(program) => {
                            let login = self.helpers.login(&program, &docker::server(endpoint)).await?;
                            if login.is_some() {
                                return Ok(login);
                            }
                        }
                        docker::Account::Broken(key) => {
                            let file = file.path().display();
                            return Err(Trouble::new(format!("{file}: the entry {key:?} cannot be used")));
                        }
                    }
                }
                Ok(None)
            }
        }
    }

    /// Looks again after `rejected` was; whether there is something else to try.
    pub(super) async fn renewed(&self, endpoint: &Url, repository: &Repository, rejected: &Login) -> bool {
        match self.source(repository) {
            None | Some(Source::Fixed(_)) => return false,
            Some(Source::PasswordFile { password, .. }) => password.doubt(),
            Some(Source::Helper(program)) => self.helpers.doubt(program, &docker::server(endpoint)),
            Some(Source::DockerConfig(file)) => {
                file.doubt();
                let accounts = file.peek().map(|config| config.accounts(endpoint, repository.as_str()));
                for account in accounts.into_iter().flatten() {
                    if let docker::Account::Helper(program) = account {
                        self.helpers.doubt(&program, &docker::server(endpoint));
                    }
                }
            }
        }
        self.login(endpoint, repository).await.is_ok_and(|login| login.as_ref() != Some(rejected))
    }

    /// Takes every secret that is known out of a text.
    pub(super) fn hide(&self, text: &mut String) {
        for (_, source) in &self.list {
            match source {
                Source::Fixed(login) => login.hide(text),
                Source::PasswordFile { username, password } => {
                    if let Some(password) = password.peek() {
                        Login::new(username, &password.0).hide(text);
                    }
                }
                Source::DockerConfig(file) => {
                    file.peek().iter().for_each(|config| config.logins().for_each(|login| login.hide(text)));
                }
                Source::Helper(_) => {}
            }
        }
        self.helpers.hide(text);
    }

    fn source(&self, repository: &Repository) -> Option<&Source> {
        self.own(repository).map(|(_, source)| source)
    }

    fn own(&self, repository: &Repository) -> Option<&(String, Source)> {
        self.list.iter().find(|(prefix, _)| is_below(repository.as_str(), prefix))
    }
}

/// Whether a repository is `prefix`, or begins with all of its components.
fn is_below(repository: &str, prefix: &str) -> bool {
    prefix.is_empty()
        || repository.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

impl Password {
    fn parse(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not text")?.trim();
        if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(Self(text.to_owned())) }
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::settings::Credentials;
    use super::*;

    fn fixed(prefix: &str, username: &str) -> Account {
        let pair = Credentials { username: username.to_owned(), password: "hidden".to_owned() };
        Account { prefix: prefix.to_owned(), login: LoginSource::Fixed(pair) }
    }

    #[tokio::test]
    async fn the_longest_prefix_of_whole_components_wins() {
        let all = vec![fixed("team", "team"), fixed("", "all"), fixed("team/app", "app")];
        let (with, without) = (Accounts::new(all.clone()), Accounts::new(vec![all[2].clone()]));
        let endpoint = "https://registry.example".parse().expect("a URL");
        for (repository, user, covered) in [
            ("team/app", "app", true),
            ("team/app/part", "app", true),
            ("team/apple", "team", false),
            ("team", "team", false),
            ("teams/app", "all", false),
            ("other", "all", false),
        ] {
            let repository: Repository = repository.parse().expect("a repository");
            let login = with.login(&endpoint, &repository).await;
            assert_eq!(login, Ok(Some(Login::new(user, "hidden"))), "{repository}");
            assert!(with.cover(&repository), "{repository}");
            assert_eq!(without.cover(&repository), covered, "{repository}");
            let login = without.login(&endpoint, &repository).await;
            assert_eq!(login.map(|login| login.is_some()), Ok(covered), "{repository}");
        }
        assert!(!format!("{with:?}").contains("hidden"));
    }

    #[tokio::test]
    async fn a_rejected_login_is_looked_up_anew_and_compared() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("config.json");
        let write = |auth: &str| {
            let text = format!(r#"{{"auths":{{"registry.example":{{"auth":"{auth}"}}}}}}"#);
            std::fs::write(&file, text).expect("written");
        };
        write("dTpvbmU=");
        let login = LoginSource::DockerConfig(file.clone());
        let accounts = Accounts::new(vec![Account { prefix: String::new(), login }]);
        let endpoint: Url = "https://registry.example".parse().expect("a URL");
        let repository: Repository = "a/b".parse().expect("a repository");
        let one = accounts.login(&endpoint, &repository).await.expect("readable").expect("an account");
        assert_eq!(one, Login::new("u", "one"));
        assert!(!accounts.renewed(&endpoint, &repository, &one).await);
        write("dTp0d28=");
        assert!(accounts.renewed(&endpoint, &repository, &one).await);
        assert_eq!(accounts.login(&endpoint, &repository).await, Ok(Some(Login::new("u", "two"))));
        let mut text = "it was two".to_owned();
        accounts.hide(&mut text);
        assert_eq!(text, "it was ...");
        let foreign: Url = "https://other.example".parse().expect("a URL");
        assert_eq!(accounts.login(&foreign, &repository).await, Ok(None));
        write("%");
        assert!(!accounts.renewed(&endpoint, &repository, &one).await);
        let trouble = accounts.login(&endpoint, &repository).await.expect_err("an entry that is broken");
        assert!(trouble.to_string().contains("registry.example"), "{trouble}");
    }
}
