//! Docker's `config.json`, which is also what Kubernetes mounts of a secret of type `kubernetes.io/dockerconfigjson`, and
//! the older `.dockercfg`, which is its `auths` alone.
//!
//! Owns which of its entries are for a registry and a repository: those with the longest path first, as the kubelet has
//! it, a program before what is written down, and Docker Hub by any of its names. Nobody's entry is used for another host.

use std::collections::HashMap;
use std::path::PathBuf;

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use url::Url;

use super::login::Login;

/// The names of Docker Hub; the first stands for all of them here.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// Under which name helpers know Docker Hub.
const HUB_SERVER: &str = "https://index.docker.io/v1/";

/// base64 as people and programs write it, with and without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The accounts of a `config.json`.
#[derive(Debug)]
pub(super) struct DockerConfig {
    entries: Vec<Entry>,
    /// The program for every host.
    store: Option<PathBuf>,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    account: Account,
}

/// Where an account is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Account {
    /// It is written down.
    Login(Login),
    /// This program knows it.
    Helper(PathBuf),
    /// The entry under this key cannot be read.
    Broken(String),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    auths: Option<HashMap<String, Written>>,
    cred_helpers: Option<HashMap<String, String>>,
    creds_store: Option<String>,
}

impl Document {
    /// Where nothing of the present form is in it, the content by the old one.
    fn or_old(self, content: &[u8]) -> Self {
        if self.auths.is_some() || self.cred_helpers.is_some() || self.creds_store.is_some() {
            return self;
        }
        let entries: HashMap<String, serde_json::Value> = serde_json::from_slice(content).unwrap_or_default();
        let written = entries.into_iter().filter_map(|(key, value)| {
            let written = serde_json::from_value(value).ok()?;
            Some((key, written))
        });
        Self { auths: Some(written.collect()), ..self }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Written {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl DockerConfig {
    /// Reads a file's content. What is wrong is told by its place only: the words of the parser quote the content.
    pub(super) fn parse(content: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(content).map_err(|error| {
            format!("it is not a docker config.json (line {}, column {})", error.line(), error.column())
        })?;
        let document = document.or_old(content);
        let helpers = document.cred_helpers.into_iter().flatten().filter(|(_, name)| !name.is_empty());
        let helpers = helpers.map(|(key, name)| {
            let account = program(&name).map_or_else(|| Account::Broken(key.clone()), Account::Helper);
            (key, account)
        });
        let written = document.auths.into_iter().flatten().filter_map(|(key, written)| {
            let account = match written.login() {
                Ok(login) => Account::Login(login?),
                Err(Unusable) => Account::Broken(key.clone()),
            };
            Some((key, account))
        });
        let entries = helpers.chain(written);
        let entries =
            entries.filter_map(|(key, account)| Some(Entry { key: Key::parse(&key)?, account })).collect();
        Ok(Self { entries, store: document.creds_store.as_deref().and_then(program) })
    }

    /// Where to look for the account for a repository at an endpoint, the best place first.
    pub(super) fn accounts(&self, endpoint: &Url, repository: &str) -> Vec<Account> {
        let ranked = self.entries.iter().filter_map(|entry| {
            let kind = if matches!(entry.account, Account::Helper(_)) { 0 } else { 2 };
            let wild = entry.key.host.contains('*');
            entry
                .key
                .is_for(endpoint, repository)
                .then(|| (entry.key.path.len(), kind, wild, entry.account.clone()))
        });
        let store = self.store.iter().map(|program| (0, 1, false, Account::Helper(program.clone())));
        let mut ranked: Vec<_> = ranked.chain(store).collect();
        ranked.sort_by_key(|&(path, kind, wild, _)| (std::cmp::Reverse(path), kind, wild));
        ranked.into_iter().map(|(.., account)| account).collect()
    }

    /// The logins that are written down.
    pub(super) fn logins(&self) -> impl Iterator<Item = &Login> {
        self.entries.iter().filter_map(|entry| match &entry.account {
            Account::Login(login) => Some(login),
            Account::Helper(_) | Account::Broken(_) => None,
        })
    }
}

/// What helpers are asked about an endpoint.
pub(super) fn server(endpoint: &Url) -> String {
    let host = endpoint.host_str().unwrap_or_default();
    match (canonical(host), endpoint.port()) {
        (hub, _) if hub == HUB[0] => HUB_SERVER.to_owned(),
        (host, Some(port)) => format!("{host}:{port}"),
        (host, None) => host.to_owned(),
    }
}

/// The program that stands for a helper's name. A name with a path in it could be any program.
fn program(name: &str) -> Option<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (!name.is_empty() && name.chars().all(plain)).then(|| PathBuf::from(format!("docker-credential-{name}")))
}

fn canonical(host: &str) -> &str {
    if HUB.contains(&host) { HUB[0] } else { host }
}

/// An entry that is there and means nothing.
struct Unusable;

impl Written {
    /// `None`: the entry only says that somebody logged in, and a program knows with what.
    fn login(&self) -> Result<Option<Login>, Unusable> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Login::Identity(token.into())));
        }
        if let Some(token) = given(&self.registrytoken) {
            return Ok(Some(Login::Registry(token.into())));
        }
        if let Some(auth) = given(&self.auth) {
            let pair = BASE64.decode(auth.trim()).map_err(|_| Unusable)?;
            let pair = String::from_utf8(pair).map_err(|_| Unusable)?;
            let (username, password) = pair.split_once(':').ok_or(Unusable)?;
            // Old versions of docker filled the password up with zeros.
            return Ok(Some(Login::new(username, password.trim_end_matches('\0'))));
        }
        match (given(&self.username), given(&self.password)) {
            (Some(username), Some(password)) => Ok(Some(Login::new(&username, &password))),
            _ => Ok(None),
        }
    }
}

/// The key of an entry: a host, which may have `*` in its parts, perhaps a port, perhaps the beginning of a repository.
#[derive(Debug, PartialEq, Eq)]
struct Key {
    host: String,
    port: Option<u16>,
    path: String,
}

impl Key {
    fn parse(written: &str) -> Option<Self> {
        let bare = written.trim();
        let bare = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://")).unwrap_or(bare);
        let (place, path) = bare.split_once('/').unwrap_or((bare, ""));
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port.parse().ok()?)),
            _ => (place, None),
        };
        // The version of the API, as in Docker Hub's key, is no part of a repository.
        let path = path.trim_matches('/');
        let path = ["v1", "v2"]
            .into_iter()
            .find_map(|version| {
                path.strip_prefix(version).filter(|rest| rest.is_empty() || rest.starts_with('/'))
            })
            .unwrap_or(path);
        let host = host.to_ascii_lowercase();
        (!host.is_empty()).then(|| Self {
            host: canonical(&host).to_owned(),
            port,
            path: path.trim_matches('/').to_owned(),
        })
    }

    fn is_for(&self, endpoint: &Url, repository: &str) -> bool {
        let host = canonical(endpoint.host_str().unwrap_or_default());
        let port = match self.port {
            None => endpoint.port().is_none(),
            port => endpoint.port_or_known_default() == port,
        };
        port && host_matches(&self.host, host) && super::is_below(repository, &self.path)
    }
}

/// Part by part, so that `*.example` is not `a.b.example`.
fn host_matches(pattern: &str, host: &str) -> bool {
    if !pattern.contains('*') {
        return pattern == host;
    }
    let (patterns, parts): (Vec<_>, Vec<_>) = (pattern.split('.').collect(), host.split('.').collect());
    patterns.len() == parts.len()
        && patterns.iter().zip(&parts).all(|(pattern, part)| part_matches(pattern, part))
}

fn part_matches(pattern: &str, part: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == part };
    let Some(mut left) = part.strip_prefix(start) else { return false };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        let Some(at) = left.find(piece) else { return false };
        left = &left[at + piece.len()..];
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(config: &str, endpoint: &str, repository: &str) -> Vec<String> {
        let config = DockerConfig::parse(config.as_bytes()).expect("a config");
        let show = |account: Account| match account {
            Account::Login(Login::Password(pair)) => format!("{}:{}", pair.username, pair.password),
            Account::Login(Login::Identity(token)) => format!("identity {token}"),
            Account::Login(Login::Registry(token)) => format!("registry {token}"),
            Account::Helper(program) => program.display().to_string(),
            Account::Broken(key) => format!("broken {key}"),
        };
        config.accounts(&endpoint.parse().expect("a URL"), repository).into_iter().map(show).collect()
    }

    /// One entry by its key; whether it is found.
    fn finds(key: &str, endpoint: &str, repository: &str) -> bool {
        let config = format!(r#"{{"auths":{{"{key}":{{"auth":"dTpw"}}}}}}"#);
        !found(&config, endpoint, repository).is_empty()
    }

    #[test]
    fn t65_docker_hub_is_found_by_all_its_names() {
        for key in [
            "https://index.docker.io/v1/",
            "index.docker.io",
            "docker.io",
            "https://registry-1.docker.io/v2/",
        ] {
            assert!(finds(key, "https://registry-1.docker.io", "library/nginx"), "{key}");
            assert!(finds(key, "https://index.docker.io", "library/nginx"), "{key}");
            assert!(!finds(key, "https://ghcr.io", "library/nginx"), "{key}");
        }
        assert_eq!(
            server(&"https://registry-1.docker.io".parse().expect("a URL")),
            "https://index.docker.io/v1/"
        );
        assert_eq!(server(&"http://10.0.0.7:5000".parse().expect("a URL")), "10.0.0.7:5000");
        assert_eq!(server(&"https://ghcr.io".parse().expect("a URL")), "ghcr.io");
    }

    #[test]
    fn g9_an_entry_is_for_its_host_and_what_is_below_its_path() {
        for (key, endpoint, repository, expected) in [
            ("ghcr.io", "https://ghcr.io", "a/b", true),
            ("https://ghcr.io", "https://ghcr.io", "a/b", true),
            ("https://ghcr.io/v2/", "https://ghcr.io", "a/b", true),
            ("GHCR.io", "https://ghcr.io", "a/b", true),
            ("ghcr.io:443", "https://ghcr.io", "a/b", true),
            ("ghcr.io:444", "https://ghcr.io", "a/b", false),
            ("ghcr.io", "https://ghcr.io:444", "a/b", false),
            ("ghcr.io", "https://ghcr.io.evil.example", "a/b", false),
            ("ghcr.io", "https://my.ghcr.io", "a/b", false),
            ("10.0.0.7:5000", "http://10.0.0.7:5000", "a/b", true),
            ("10.0.0.7", "http://10.0.0.7:5000", "a/b", false),
            ("http://10.0.0.7:5000/", "http://10.0.0.7:5000", "a/b", true),
            ("[fd00::1]:5000", "http://[fd00::1]:5000", "a/b", true),
            ("[fd00::1]", "http://[fd00::1]", "a/b", true),
            ("ghcr.io/a", "https://ghcr.io", "a/b", true),
            ("ghcr.io/a/b", "https://ghcr.io", "a/b", true),
            ("ghcr.io/a/b/", "https://ghcr.io", "a/b/c", true),
            ("ghcr.io/a/b", "https://ghcr.io", "a/bc", false),
            ("ghcr.io/a/b", "https://ghcr.io", "a", false),
            ("ghcr.io/v2ray", "https://ghcr.io", "v2ray", true),
            ("*.azurecr.io", "https://team.azurecr.io", "a/b", true),
            ("*.azurecr.io", "https://a.b.azurecr.io", "a/b", false),
            ("*.azurecr.io", "https://azurecr.io", "a/b", false),
            ("te*m.azurecr.*", "https://team.azurecr.io", "a/b", true),
            ("te*x.azurecr.io", "https://team.azurecr.io", "a/b", false),
            ("", "https://ghcr.io", "a/b", false),
        ] {
            assert_eq!(finds(key, endpoint, repository), expected, "{key} {endpoint} {repository}");
        }
    }

    #[test]
    fn every_way_of_writing_an_account_down_is_read() {
        for (entry, expected) in [
            (r#"{"auth":"dTpwOnE="}"#, vec!["u:p:q"]),
            (r#"{"auth":"dTpwOnE"}"#, vec!["u:p:q"]),
            (r#"{"auth":"dTpwAAA="}"#, vec!["u:p"]),
            (r#"{"username":"u","password":"p","email":"x"}"#, vec!["u:p"]),
            (r#"{"auth":"dTpw","username":"v","password":"w"}"#, vec!["u:p"]),
            (r#"{"auth":"MDAwOg==","identitytoken":"t"}"#, vec!["identity t"]),
            (r#"{"registrytoken":"t"}"#, vec!["registry t"]),
            (r#"{"auth":"dTpw","registrytoken":"t"}"#, vec!["registry t"]),
            (r#"{"username":"<token>","password":"t"}"#, vec!["identity t"]),
            (r#"{"auth":null,"identitytoken":""}"#, vec![]),
            ("{}", vec![]),
            (r#"{"auth":"%%%"}"#, vec!["broken ghcr.io"]),
            (r#"{"auth":"dXA="}"#, vec!["broken ghcr.io"]),
        ] {
            let config = format!(r#"{{"auths":{{"ghcr.io":{entry}}},"HttpHeaders":{{"a":"b"}}}}"#);
            assert_eq!(found(&config, "https://ghcr.io", "a/b"), expected, "{entry}");
        }
    }

    #[test]
    fn the_old_form_is_read_as_well() {
        let old = r#"{"https://index.docker.io/v1/":{"auth":"dTpw","email":"x"},"ghcr.io":{"auth":"djpx"},"detachKeys":"ctrl-e"}"#;
        assert_eq!(found(old, "https://registry-1.docker.io", "a"), ["u:p"]);
        assert_eq!(found(old, "https://ghcr.io", "a"), ["v:q"]);
        assert!(found(old, "https://quay.io", "a").is_empty());
        assert!(found(r#"{"HttpHeaders":{"a":"b"},"auths":{}}"#, "https://ghcr.io", "a").is_empty());
    }

    #[test]
    fn the_longest_path_comes_first_and_a_program_before_what_is_written_down() {
        let config = r#"{
            "auths": {
                "ghcr.io": {"auth": "YTph"}, "ghcr.io/team": {"auth": "Yjpi"}, "ghcr.io/team/app": {"auth": "Yzpj"},
                "*.io": {"auth": "ZDpk"}, "quay.io": {}
            },
            "credHelpers": {"ghcr.io": "own", "ghcr.io/team": "team", "quay.io": "", "bad.example": "../sh"},
            "credsStore": "all"
        }"#;
        let (own, team, all) = ("docker-credential-own", "docker-credential-team", "docker-credential-all");
        for (endpoint, repository, expected) in [
            ("https://ghcr.io", "team/app/x", vec!["c:c", team, "b:b", own, all, "a:a", "d:d"]),
            ("https://ghcr.io", "team/other", vec![team, "b:b", own, all, "a:a", "d:d"]),
            ("https://ghcr.io", "other", vec![own, all, "a:a", "d:d"]),
            ("https://quay.io", "a", vec![all, "d:d"]),
            ("https://bad.example", "a", vec![all, "broken bad.example"]),
        ] {
            assert_eq!(found(config, endpoint, repository), expected, "{endpoint} {repository}");
        }
    }

    #[test]
    fn g9_a_broken_file_is_told_without_its_content() {
        for content in [
            "",
            "\n{\"auths\": \"hidden\"}",
            r#"{"auths":{"a":"hidden"}}"#,
            r#"{"auths":{"a":{"auth":"hidden"#,
        ] {
            let told = DockerConfig::parse(content.as_bytes()).expect_err(content);
            assert!(told.contains("line") && !told.contains("hidden"), "{told}");
        }
        let shown = format!("{:?}", DockerConfig::parse(br#"{"auths":{"a":{"auth":"dTpoaWRkZW4="}}}"#));
        assert!(!shown.contains("hidden") && !shown.contains("dTpo"), "{shown}");
    }
}
