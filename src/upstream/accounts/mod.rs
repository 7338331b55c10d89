//! Whom an upstream knows us as, repository by repository.
//!
//! Owns which account a question is asked with: the one whose prefix is the longest that the repository is below. It comes
//! from the configuration, or from a file or a program that is asked again from time to time, and at once after upstream
//! rejected what was had from it, so that a changed secret needs no restart. Files are read and programs run off the
//! runtime's threads, once for all who wait.
//!
//! It guarantees that no secret is in what it logs and in what it says is wrong, and that an account that is known by its
//! host, as those of a `config.json` and of helpers are, is never given for another. One that is for the upstream is for all
//! of its endpoints, but where one of them has TLS, for none without it: a mirror on the way that speaks plain HTTP, or
//! whoever is between, would only have to ask. An endpoint's own account is for that endpoint alone.

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

use super::redirect::Bare;
use super::settings::{Account, EndpointSettings, LoginSource};

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
    /// Those of single endpoints, which are called by them.
    of_endpoints: Vec<(Url, (String, Source))>,
    /// The endpoints that are shown no password of the upstream.
    in_clear: Vec<Url>,
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
    pub(super) fn new(accounts: Vec<Account>, endpoints: &[EndpointSettings]) -> Self {
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
        let of_endpoints = endpoints.iter().filter_map(|endpoint| {
            let name = Bare(&endpoint.url).to_string();
            Some((endpoint.url.clone(), (name, source(endpoint.login.clone()?))))
        });
        let of_endpoints = of_endpoints.collect();
        let urls = || endpoints.iter().map(|endpoint| &endpoint.url);
        let in_clear = if urls().any(|url| url.scheme() == "https") {
            urls().filter(|url| url.scheme() != "https").cloned().collect()
        } else {
            Vec::new()
        };
        Self { list, of_endpoints, in_clear, helpers: Helpers::default() }
    }

    /// Whether an account is configured for this repository, be it that none is found when it is looked for.
    pub(super) fn cover(&self, repository: &Repository) -> bool {
        !self.of_endpoints.is_empty() || self.of_upstream(repository).is_some()
    }

    /// The names of the accounts: their prefixes, and the endpoints that have their own.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.list.iter().chain(self.of_endpoints.iter().map(|(_, account)| account));
        all.map(|(name, _)| name.as_str())
    }

    /// The name of the account that is for this repository at an endpoint.
    pub(super) fn name(&self, endpoint: &Url, repository: &Repository) -> Option<&str> {
        self.own(endpoint, repository).map(|(name, _)| name.as_str())
    }

    /// As whom a repository is asked for at an endpoint; `None`: as anybody.
    pub(super) async fn login(
        &self,
        endpoint: &Url,
        repository: &Repository,
    ) -> Result<Option<Login>, Trouble> {
        if self.is_withheld(endpoint, repository) {
            return Err(Trouble::new(format!(
                "{} has no TLS, as other endpoints have: the upstream's password is not shown there in clear; give it an \
                 account of its own, in its [[upstream.endpoint]], if it needs one",
                Bare(endpoint)
            )));
        }
        match self.source(endpoint, repository) {
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
        match self.source(endpoint, repository) {
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
        for (_, source) in self.list.iter().chain(self.of_endpoints.iter().map(|(_, account)| account)) {
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

    fn source(&self, endpoint: &Url, repository: &Repository) -> Option<&Source> {
        self.own(endpoint, repository).map(|(_, source)| source)
    }

    fn own(&self, endpoint: &Url, repository: &Repository) -> Option<&(String, Source)> {
        self.of_endpoint(endpoint).or_else(|| self.of_upstream(repository))
    }

    fn of_endpoint(&self, endpoint: &Url) -> Option<&(String, Source)> {
        self.of_endpoints.iter().find(|(own, _)| own == endpoint).map(|(_, account)| account)
    }

    fn of_upstream(&self, repository: &Repository) -> Option<&(String, Source)> {
        self.list.iter().find(|(prefix, _)| is_below(repository.as_str(), prefix))
    }

    /// Whether there is a password for this, but not for this endpoint. What is known by its host is meant for it.
    fn is_withheld(&self, endpoint: &Url, repository: &Repository) -> bool {
        self.in_clear.contains(endpoint)
            && self.of_endpoint(endpoint).is_none()
            && matches!(
                self.of_upstream(repository),
                Some((_, Source::Fixed(_) | Source::PasswordFile { .. }))
            )
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
        let (with, without) = (Accounts::new(all.clone(), &[]), Accounts::new(vec![all[2].clone()], &[]));
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
    async fn g9_a_password_of_the_upstream_is_for_no_endpoint_without_tls_where_another_has_it() {
        let endpoint = |url: &str| EndpointSettings::from(url.parse::<Url>().expect("a URL"));
        let (clear, secure) = (endpoint("http://branch.example"), endpoint("https://registry.example"));
        let repository: Repository = "a/b".parse().expect("a repository");
        let ask = async |accounts: &Accounts, at: &EndpointSettings| {
            let login = accounts.login(&at.url, &repository).await;
            login.map(|login| login.is_some()).map_err(|trouble| trouble.to_string())
        };
        let all = vec![fixed("", "all")];
        let both = Accounts::new(all.clone(), &[clear.clone(), secure.clone()]);
        assert_eq!(ask(&both, &secure).await, Ok(true));
        let withheld = ask(&both, &clear).await.expect_err("it is not shown");
        assert!(withheld.contains("http://branch.example") && !withheld.contains("hidden"), "{withheld}");
        assert!(both.cover(&repository) && both.name(&clear.url, &repository) == Some(""));
        assert_eq!(both.who(&clear.url, &repository), Who::Anybody);
        // Where none has it, it is as the operator wants it.
        assert_eq!(ask(&Accounts::new(all.clone(), std::slice::from_ref(&clear)), &clear).await, Ok(true));

        let pair = Credentials { username: "own".to_owned(), password: "hidden".to_owned() };
        let own = EndpointSettings { login: Some(LoginSource::Fixed(pair)), ..clear.clone() };
        let with_own = Accounts::new(all, &[own.clone(), secure.clone()]);
        for (at, user) in [(&own, "own"), (&secure, "all")] {
            let login = with_own.login(&at.url, &repository).await;
            assert_eq!(login, Ok(Some(Login::new(user, "hidden"))), "{user}");
            assert_eq!(with_own.who(&at.url, &repository), Who::User(user.to_owned()));
        }
        assert_eq!(with_own.names().collect::<Vec<_>>(), ["", "http://branch.example/"]);
        let alone = Accounts::new(Vec::new(), &[own, secure.clone()]);
        assert_eq!(ask(&alone, &secure).await, Ok(false));
        assert!(alone.cover(&repository), "what came by it is not for everybody");
        assert!(!format!("{alone:?}").contains("hidden"));
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
        let accounts = Accounts::new(vec![Account { prefix: String::new(), login }], &[]);
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
