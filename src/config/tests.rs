use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::oci::Pattern;

mod access;
mod doors;
mod mistakes;
mod reach;

const DOCUMENTED: &str = include_str!("../../config/roadstead.toml");

fn mistakes(text: &str) -> Vec<String> {
    match Config::from_toml(text, "f.toml") {
        Ok(config) => panic!("{text} was taken as {config:?}"),
        Err(mistakes) => mistakes.as_slice().iter().map(ToString::to_string).collect(),
    }
}

/// Each row: a text, and for each of its mistakes the start of the line and a part of the rest.
#[track_caller]
fn told(text: &str, want: &[(&str, &str)]) {
    let got = mistakes(text);
    let same = got.len() == want.len()
        && got.iter().zip(want).all(|(got, (start, part))| got.starts_with(start) && got.contains(part));
    assert!(same, "{text}\ngave {got:#?}\nbut should give {want:#?}");
}

fn env(pairs: &[(&str, &str)]) -> Sources {
    let env = pairs.iter().map(|&(name, text)| (name.to_owned(), text.to_owned())).collect();
    Sources { env, ..Sources::default() }
}

#[test]
fn the_documented_file_equals_the_defaults() {
    assert_eq!(Config::from_toml(DOCUMENTED, "roadstead.toml"), Ok(Config::default()));
    assert_eq!(Config::from_toml("", "empty.toml"), Ok(Config::default()));
    assert_eq!(Config::load(&Sources::default()), Ok(Config::default()));
}

/// The documented file with its examples in use; `with` tells which lines to take.
fn examples(with: impl Fn(&str) -> bool) -> String {
    let bare = |line: &'static str| match line.strip_prefix('#') {
        Some(example) if !example.is_empty() && !example.starts_with(' ') => example,
        _ => line,
    };
    DOCUMENTED.lines().map(bare).filter(|line| with(line)).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_documented_examples_are_right_once_the_files_they_name_exist() {
    let outside = [
        "username_env",
        "password_file",
        "password_env",
        "docker_config",
        "credential_helper",
        "ca =",
        "client_cert",
        "client_key",
        "[[tls.certificate",
        "cert =",
        "key =",
        "users = ",
        "certificates = ",
    ];
    let text = examples(|line| !outside.iter().any(|key| line.starts_with(key)));
    let config = Config::from_toml(&text, "roadstead.toml").unwrap();
    let mut docker = Upstream::built_in().remove(0);
    docker.path = Some("docker.io".to_owned());
    assert_eq!(config.upstreams[0], docker);
    let local = &config.upstreams[1];
    assert_eq!((local.name.as_str(), local.path.as_deref()), ("registry.local:5000", Some("local")));
    let account = |prefix: &str, username: &str, password: &str| Account {
        prefix: prefix.to_owned(),
        credentials: Credentials::Password { username: username.to_owned(), password: Secret::new(password) },
    };
    let own = account("", "puller", "correct horse battery staple");
    assert_eq!(local.accounts, [own, account("team/app", "app-puller", "staple battery horse correct")]);
    let plain = Upstream::new("", Vec::new());
    let seconds = |n| Some(Duration::from_secs(n));
    let rules = vec![
        TagRule {
            repositories: ["library/*", "team/**"].map(|p| Pattern::of_repositories(p).unwrap()).into(),
            tags: ["v*.*.*", "20??-*"].map(|pattern| Pattern::of_tags(pattern).unwrap()).into(),
            immutable: Some(true),
            pinned: Some(true),
            ..TagRule::default()
        },
        TagRule {
            tags: ["latest", "nightly-*"].map(|pattern| Pattern::of_tags(pattern).unwrap()).into(),
            ttl: seconds(30),
            max_stale: Some(seconds(3600)),
            deleted: Some(DeletedTags::Keep),
            keep_deleted_for: seconds(86_400),
            stale_while_revalidate: seconds(600),
            ..TagRule::default()
        },
    ];
    assert_eq!(local.tags, Tags { rules, ..plain.tags });
    assert_eq!((local.negative_ttl, local.denied), (plain.negative_ttl, plain.denied));
    assert_eq!(local.connect_timeout, plain.connect_timeout);
    assert_eq!(local.header_timeout, plain.header_timeout);
    assert_eq!(local.idle_timeout, plain.idle_timeout);
    assert_eq!(local.revalidate_timeout, plain.revalidate_timeout);
    assert_eq!((local.max_connections, local.max_rate), (plain.max_connections, plain.max_rate));
    assert_eq!(local.connections_per_blob, plain.connections_per_blob);
    assert_eq!(local.pull_reserve, plain.pull_reserve);
    assert_eq!((local.split_above, local.fill), (plain.split_above, plain.fill));
    assert_eq!((local.unread_fill, local.resume), (plain.unread_fill, plain.resume));
    assert_eq!(local.unread_after, plain.unread_after);
    let (own, miss) = (Some(Mode::Auto), OfflineMiss::NotFound);
    let complete_platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse().unwrap()).into();
    let offline = Offline { own, all: Mode::Online, miss, complete_only: true, complete_platforms };
    assert_eq!(local.offline, offline);
    assert_eq!((local.http2, &local.proxies), (plain.http2, &plain.proxies));
    let endpoint = "https://registry.corp.example:5443".parse::<url::Url>().unwrap();
    let credentials = Some(account("", "branch", "correct horse battery staple").credentials);
    assert_eq!(config.upstreams[2].endpoints, [Endpoint { credentials, ..Endpoint::from(endpoint) }]);
}

#[test]
fn every_key_is_documented() {
    let tables = ["server", "tls", "access", "limits", "admin", "log", "store", "memory", "uplink", "verify"];
    let ask = tables.map(|table| format!("[{table}]\nno-such-key = 1\n")).join("")
        + "[[upstream]]\nno-such-key = 1\n[[upstream.account]]\nno-such-key = 1\n[[upstream.endpoint]]\nno-such-key = 1\n"
        + "[[upstream.tags]]\nno-such-key = 1\n[[warm]]\nno-such-key = 1\n[[tls.certificate]]\nno-such-key = 1\n[[access.rule]]\nno-such-key = 1\n";
    let known: BTreeSet<String> = Config::from_toml(&ask, "f")
        .unwrap_err()
        .as_slice()
        .iter()
        .filter_map(|mistake| mistake.expected.strip_prefix("one of the keys of "))
        .flat_map(|keys| {
            let (table, keys) = keys.split_once(": ").unwrap();
            keys.split(", ").map(move |key| format!("{table}.{key}")).collect::<Vec<_>>()
        })
        .collect();
    let mut table = String::new();
    let mut documented = BTreeSet::new();
    for line in examples(|_| true).lines() {
        if line.starts_with('[') {
            table = line.trim_matches(['[', ']']).to_owned();
            documented.extend(table.contains('.').then(|| table.clone()));
        } else if let Some((key, _)) = line.split_once(" = ").filter(|_| !line.starts_with('#')) {
            documented.insert(format!("{table}.{key}"));
        }
    }
    assert_eq!(known, documented);
}

#[test]
fn a_secret_is_in_no_mistake_and_no_debug_text() {
    let up = "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\nusername = \"u\"\n";
    let got = mistakes(&format!("{up}password = 123456\n"));
    assert!(!got.concat().contains("123456"), "{got:?}");
    let config = Config::from_toml(&format!("{up}password = \"hunter2\"\n"), "f").unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_path_follows_from_the_name_where_it_can() {
    let path = |name: &str| {
        let text = format!("[[upstream]]\nname = \"{name}\"\nendpoints = [\"https://a\"]\n");
        Config::from_toml(&text, "f").unwrap().upstreams.remove(0).path
    };
    assert_eq!(path("ghcr.io").as_deref(), Some("ghcr.io"));
    assert_eq!(path("registry.local:5000"), None);
}

#[test]
fn any_upstream_replaces_the_whole_list() {
    let config = Config::from_toml("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n", "f").unwrap();
    assert_eq!(config.upstreams.iter().map(|u| u.name.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(!config.upstreams[0].default);
}

#[test]
fn the_environment_sets_every_single_value() {
    let config = Config::load(&env(&[
        ("ROADSTEAD_SERVER__LISTEN", "127.0.0.1:1, [::1]:2"),
        ("ROADSTEAD_SERVER__DRAIN_TIMEOUT", "1s"),
        ("ROADSTEAD_ADMIN__LISTEN", ""),
        ("ROADSTEAD_LOG__FORMAT", "json"),
        ("ROADSTEAD_STORE__MAX_BYTES", "80%"),
        ("ROADSTEAD_STORE__MAX_BLOB", "1048576"),
        ("ROADSTEAD_STORE__SCRUB_RATE", "0"),
        ("ROADSTEAD_MEMORY__MAX_BYTES", "0"),
        ("ROADSTEAD_UPLINK__MAX_CONNECTIONS", "16"),
        ("ROADSTEAD_UPLINK__MAX_RATE", "20MiB"),
        ("ROADSTEAD_SERVICE_HOST", "10.0.0.1"),
        ("ROADSTEAD_TOKEN_FILE", "/x"),
        ("OTHER__NAME", "x"),
    ]))
    .unwrap();
    let listen: Vec<SocketAddr> = vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()];
    assert_eq!(config.server.listen, listen);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(1));
    assert_eq!(config.admin.listen, None);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.store.max_bytes, Budget::Percent(80));
    assert_eq!(config.store.max_blob, Some(1 << 20));
    assert_eq!(config.store.scrub_rate, 0);
    assert_eq!(config.memory.max_bytes, 0);
    assert_eq!(config.uplink, Uplink { max_connections: 16, max_rate: Some(20 << 20) });
}

proptest::proptest! {
    #[test]
    fn a_mangled_file_is_read_or_refused_with_lines_that_exist(
        cuts in proptest::collection::vec((0_usize..12_000, 0_usize..40), 1..8),
        put in "[\\[\\]{}='\"#\\n.,a-z0-9é]{0,6}",
    ) {
        let mut text: Vec<char> = examples(|_| true).chars().collect();
        for (at, len) in cuts {
            let at = at % text.len().max(1);
            let end = (at + len).min(text.len());
            text.splice(at..end, put.chars());
        }
        let text: String = text.into_iter().collect();
        if let Err(mistakes) = Config::from_toml(&text, "f") {
            proptest::prop_assert!(!mistakes.as_slice().is_empty());
            for mistake in mistakes.as_slice() {
                let Place::Line { line, .. } = mistake.place else { panic!("{mistake}") };
                proptest::prop_assert!((1..=text.lines().count() + 1).contains(&line), "{mistake}");
            }
        }
    }
}
