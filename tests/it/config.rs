//! The configuration from files: which one is read, what wins over what, and the files that it names.

use std::path::PathBuf;

use roadstead::config::{Account, Budget, Config, Credentials, Secret, Sources};

struct Dir(tempfile::TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

fn mistakes(sources: &Sources) -> String {
    Config::load(sources).unwrap_err().to_string()
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn flags_win_over_environment_over_file_over_defaults() {
    let dir = Dir::new();
    let content = "[server]\nlisten = [\"127.0.0.1:1\"]\n[store]\npath = \"file\"\nmax_bytes = \"1GiB\"\n";
    let mut sources = Sources { file: Some(dir.file("r.toml", content)), ..Sources::default() };
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.server.listen[0].port(), config.store.max_bytes), (1, Budget::Bytes(1 << 30)));
    assert_eq!(config.memory, Config::default().memory);

    sources.env = env(&[
        ("ROADSTEAD_SERVER__LISTEN", "127.0.0.1:2"),
        ("ROADSTEAD_STORE__PATH", "env"),
        ("ROADSTEAD_STORE__MAX_BYTES", "2GiB"),
    ]);
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.server.listen[0].port(), config.store.path.to_str()), (2, Some("env")));
    assert_eq!(config.store.max_bytes, Budget::Bytes(2 << 30));

    sources.listen = Some("127.0.0.1:3".to_owned());
    sources.data = Some("flag".into());
    let config = Config::load(&sources).unwrap();
    assert_eq!((config.server.listen[0].port(), config.store.path.to_str()), (3, Some("flag")));
    assert_eq!(config.store.max_bytes, Budget::Bytes(2 << 30));
}

#[test]
fn a_mistake_in_a_value_that_is_overridden_is_told_all_the_same() {
    let dir = Dir::new();
    let file = dir.file("r.toml", "[store]\nmax_bytes = \"lots\"\n");
    let sources = Sources {
        file: Some(file.clone()),
        env: env(&[("ROADSTEAD_STORE__MAX_BYTES", "1GiB")]),
        ..Sources::default()
    };
    assert!(mistakes(&sources).starts_with(&format!("{}:2: store.max_bytes", file.display())));
}

#[test]
fn the_flag_names_the_file_before_the_environment_does() {
    let dir = Dir::new();
    let one = dir.file("one.toml", "[store]\npath = \"one\"\n");
    let two = dir.file("two.toml", "[store]\npath = \"two\"\n");
    let named = env(&[("ROADSTEAD_CONFIG", two.to_str().unwrap())]);
    let mut sources = Sources { env: named, ..Sources::default() };
    assert_eq!(Config::load(&sources).unwrap().store.path.to_str(), Some("two"));
    sources.file = Some(one);
    assert_eq!(Config::load(&sources).unwrap().store.path.to_str(), Some("one"));
}

#[test]
fn a_file_that_is_named_and_cannot_be_read_is_a_mistake_of_who_named_it() {
    let dir = Dir::new();
    let gone = dir.0.path().join("gone.toml");
    let mut sources = Sources { file: Some(gone.clone()), ..Sources::default() };
    assert!(mistakes(&sources).starts_with("--config: found"));
    sources.env = env(&[("ROADSTEAD_CONFIG", gone.to_str().unwrap())]);
    sources.file = None;
    let told = mistakes(&sources);
    assert!(told.starts_with("ROADSTEAD_CONFIG: found") && told.contains("No such file"), "{told}");
    sources.file = Some(dir.file("latin1.toml", b"# fine\n# caf\xe9\n"));
    let told = mistakes(&sources);
    assert!(told.contains("latin1.toml:2: found bytes that are not UTF-8"), "{told}");
}

fn upstream(keys: &str) -> String {
    format!("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n{keys}\n")
}

#[test]
fn a_password_may_be_in_a_file_of_its_own() {
    let dir = Dir::new();
    let load = |file: &PathBuf| {
        Config::from_toml(&upstream(&format!("username = \"u\"\npassword_file = {file:?}")), "f")
    };
    let config = load(&dir.file("good", "  hunter2\n")).unwrap();
    let Credentials::PasswordFile { username, password, .. } = &config.upstreams[0].accounts[0].credentials
    else {
        panic!("{config:?}")
    };
    assert_eq!((username.as_str(), password.expose()), ("u", "hunter2"));
    let told = load(&dir.file("empty", " \n")).unwrap_err().to_string();
    assert!(told.contains("f:5: upstream.password_file") && told.contains("which is empty"), "{told}");
}

#[test]
fn an_account_may_be_in_the_environment() {
    let dir = Dir::new();
    let keys = "username_env = \"GHCR_USER\"\npassword_env = \"GHCR_TOKEN\"\n\
                [[upstream.account]]\nprefix = \"a/b\"\nusername = \"v\"\npassword_env = \"OTHER\"";
    let mut sources = Sources { file: Some(dir.file("r.toml", upstream(keys))), ..Sources::default() };
    sources.env = env(&[("GHCR_USER", "u"), ("GHCR_TOKEN", " hunter2\n"), ("OTHER", "hunter3")]);
    let account = |prefix: &str, username: &str, password: &str| Account {
        prefix: prefix.to_owned(),
        credentials: Credentials::Password { username: username.to_owned(), password: Secret::new(password) },
    };
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.upstreams[0].accounts, [account("", "u", "hunter2"), account("a/b", "v", "hunter3")]);
    sources.env = env(&[("GHCR_TOKEN", " ")]);
    let told = mistakes(&sources);
    for part in [
        "upstream.username_env: found \"GHCR_USER\", which is not set",
        "upstream.password_env: found \"GHCR_TOKEN\", which is empty",
        "r.toml:9: upstream.account.password_env: found \"OTHER\", which is not set",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn g9_a_docker_configuration_is_looked_at_and_not_shown() {
    let dir = Dir::new();
    let load = |content: &str| {
        let file = dir.file("config.json", content);
        Config::from_toml(&upstream(&format!("docker_config = {file:?}")), "f")
    };
    let config = load(r#"{"auths": {"a": {"auth": "dTpodW50ZXIy"}}}"#).unwrap();
    let file = dir.0.path().join("config.json");
    assert_eq!(config.upstreams[0].accounts[0].credentials, Credentials::DockerConfig { file });
    for (content, part) in [
        ("{\"auths\":\n \"hunter2", "not a JSON object, line 2"),
        ("[\"hunter2\"]", "not a JSON object"),
        ("{\"registry\": \"hunter2\"}", "none of auths"),
    ] {
        let told = load(content).unwrap_err().to_string();
        assert!(told.starts_with("f:4: upstream.docker_config: found"), "{told}");
        assert!(told.contains(part) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn t66_a_helper_is_found_by_its_name_or_its_path() {
    let dir = Dir::new();
    let program = dir.file("docker-credential-fake", "#!/bin/sh\n");
    let mut sources = Sources { env: env(&[("PATH", dir.0.path().to_str().unwrap())]), ..Sources::default() };
    let mut load = |helper: &str| {
        sources.file = Some(dir.file("r.toml", upstream(&format!("credential_helper = {helper:?}"))));
        let config = Config::load(&sources).map_err(|mistakes| mistakes.to_string())?;
        let Credentials::Helper { program } = &config.upstreams[0].accounts[0].credentials else {
            panic!("{config:?}")
        };
        Ok::<_, String>(program.clone())
    };
    let told = load("fake").unwrap_err();
    assert!(told.contains("cannot be run"), "{told}");
    let runs = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(&program, runs).unwrap();
    for name in ["fake", "docker-credential-fake"] {
        assert_eq!(load(name).unwrap(), PathBuf::from("docker-credential-fake"));
    }
    assert_eq!(load(program.to_str().unwrap()).unwrap(), program);
    assert!(load("other").is_err());
}

#[test]
fn a_password_is_given_once_and_with_a_user() {
    let dir = Dir::new();
    let file = dir.file("good", "hunter2");
    let text = upstream(&format!("username = \"u\"\npassword = \"p\"\npassword_file = {file:?}"));
    let told = Config::from_toml(&text, "f").unwrap_err().to_string();
    assert!(told.contains("f:6: upstream.password_file: found a second password"), "{told}");
    let told =
        Config::from_toml(&upstream(&format!("password_file = {file:?}")), "f").unwrap_err().to_string();
    assert!(told.contains("f:4: upstream.password_file: found a password without a user"), "{told}");
}

#[test]
fn a_bundle_of_certificates_is_read_whole() {
    let dir = Dir::new();
    let pem = || rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap().cert.pem();
    let load = |file: &PathBuf| Config::from_toml(&upstream(&format!("ca = {file:?}")), "f");
    let config = load(&dir.file("two.pem", format!("{}{}", pem(), pem()))).unwrap();
    assert_eq!(config.upstreams[0].ca.as_ref().map(|ca| ca.roots.len()), Some(2));
    for (name, content) in
        [("none.pem", "no certificate"), ("cut.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n")]
    {
        let told = load(&dir.file(name, content)).unwrap_err().to_string();
        assert!(told.starts_with("f:4: upstream.ca: found") && told.contains(name), "{told}");
    }
}
