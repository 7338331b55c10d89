use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::*;
use crate::oci::Pattern;

mod access;
mod doors;
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
    assert_eq!(local.offline, Offline { own, all: Mode::Online, miss, complete_only: true });
    assert_eq!((local.http2, &local.proxies), (plain.http2, &plain.proxies));
    let endpoint = "https://registry.corp.example:5443".parse::<url::Url>().unwrap();
    assert_eq!(config.upstreams[2].endpoints, [Endpoint::from(endpoint)]);
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
fn every_mistake_is_told_at_once_with_its_line() {
    let text = r#"
[server]
listen = ["127.0.0.1:5000", "localhost:5000", 7]
drain_timeout = 30
drain_timeuot = "30s"

[store]
max_bytes = "lots"
max_blob = "0"

[memory]
max_bytes = -1

[cache]
x = 1

[[upstream]]
name = "ghcr.io"
endpoints = ["ftp://ghcr.io"]
default = "yes"
header_timeout = "30s"
"#;
    told(
        text,
        &[
            ("f.toml:3: server.listen: found \"localhost:5000\"; expected an IP address and a port", ""),
            ("f.toml:3: server.listen: found the number 7; expected an IP address", ""),
            ("f.toml:4: server.drain_timeout: found the number 30; expected a duration", "\"30s\""),
            (
                "f.toml:5: server.drain_timeuot: found an unknown key; expected one of the keys of server",
                "listen",
            ),
            ("f.toml:8: store.max_bytes: found \"lots\"; expected a size such as \"50GiB\"", "80%"),
            ("f.toml:9: store.max_blob: found \"0\"; expected a size above zero", ""),
            ("f.toml:12: memory.max_bytes: found the number -1; expected a size", ""),
            (
                "f.toml:14: cache: found an unknown table; expected one of the tables",
                "server, tls, access, limits, admin, log",
            ),
            ("f.toml:19: upstream.endpoints: found \"ftp://ghcr.io\"; expected a URL", "https or http"),
            ("f.toml:20: upstream.default: found \"yes\"; expected true or false", ""),
            ("f.toml:21: upstream.header_timeout: found \"30s\"; expected at most \"24s\"", "25 s"),
        ],
    );
}

#[test]
fn single_mistakes_are_told_where_they_are() {
    let up = |keys: &str| {
        format!("[[upstream]]\nname = \"a.example\"\nendpoints = [\"https://a.example\"]\n{keys}\n")
    };
    let rows: Vec<(String, &str, &str)> = vec![
        ("server = 5".into(), "f.toml:1: server: found the number 5; expected a table, [server]", ""),
        ("[[server]]".into(), "f.toml:1: server: found a list of tables; expected one table", ""),
        ("[server]\nlisten = []".into(), "f.toml:2: server.listen: found an empty list", "at least one"),
        (
            "[server]\nlisten = \"127.0.0.1:5000\"".into(),
            "f.toml:2: server.listen",
            "a list of texts in brackets",
        ),
        (
            "[server]\nlisten = [\"127.0.0.1:1\",\n\"127.0.0.1:1\"]".into(),
            "f.toml:3: server.listen: found the same twice",
            "",
        ),
        ("[server]\nstall_timeout = \"0s\"".into(), "f.toml:2: server.stall_timeout", "above zero"),
        ("[admin]\nlisten = \"127.0.0.1:5000\"".into(), "f.toml:2: admin.listen", "different addresses"),
        ("[server]\nlisten = [\"127.0.0.1:5001\"]".into(), "f.toml:2: server.listen", "different addresses"),
        ("[log]\nformat = \"xml\"".into(), "f.toml:2: log.format: found \"xml\"", "\"text\" or \"json\""),
        ("[log]\nlevel = \"loud\"".into(), "f.toml:2: log.level: found \"loud\"", "debug"),
        ("[store]\npath = \"\"".into(), "f.toml:2: store.path: found \"\"", "not empty"),
        ("[store]\npath = 2026-01-01".into(), "f.toml:2: store.path: found a date", "not empty"),
        ("upstream = []".into(), "f.toml:1: upstream: found an empty list", "[[upstream]]"),
        ("upstream = [1]".into(), "f.toml:1: upstream: found the number 1", "[[upstream]]"),
        ("[upstream]\nname = \"x\"".into(), "f.toml:1: upstream: found a table", "[[upstream]]"),
        (up("endpoin = \"x\""), "f.toml:4: upstream.endpoin: found an unknown key", "endpoints"),
        (up("path = \"a/b\""), "f.toml:4: upstream.path: found \"a/b\"", "one legal component"),
        (up("path = \"v2\""), "f.toml:4: upstream.path: found \"v2\"", "the API"),
        (up("aliases = [\"B.example\"]"), "f.toml:4: upstream.aliases: found \"B.example\"", "lower case"),
        (
            up("aliases = [\"a.example\"]"),
            "f.toml:4: upstream.aliases: found \"a.example\", taken at line 2",
            "",
        ),
        (up("hosts = [\"h/x\"]"), "f.toml:4: upstream.hosts", "a host in lower case"),
        (up("tag_ttl = \"5 minutes\""), "f.toml:4: upstream.tag_ttl: found \"5 minutes\"", "a duration"),
        (up("max_stale = \"never\""), "f.toml:4: upstream.max_stale: found \"never\"", "a duration"),
        (up("immutable = \"yes\""), "f.toml:4: upstream.immutable: found \"yes\"", "true or false"),
        (up("deleted_tags = \"drop\""), "f.toml:4: upstream.deleted_tags", "\"follow\" or \"keep\""),
        (up("keep_deleted_for = \"0s\""), "f.toml:4: upstream.keep_deleted_for", "above zero"),
        (
            up("max_stale = \"1m\"\nstale_while_revalidate = \"2m\""),
            "f.toml:5: upstream.stale_while_revalidate: found a longer time than max_stale",
            "no more than",
        ),
        (up("idle_timeout = \"0s\""), "f.toml:4: upstream.idle_timeout", "above zero"),
        (up("connect_timeout = \"25s\""), "f.toml:4: upstream.connect_timeout", "at most \"24s\""),
        (up("max_connections = 1"), "f.toml:4: upstream.max_connections: found the number 1", "at least 2"),
        (up("max_connections = \"8\""), "f.toml:4: upstream.max_connections: found \"8\"", "a number of"),
        (
            up("max_connections = 8.0"),
            "f.toml:4: upstream.max_connections: found the number 8.0",
            "a number of",
        ),
        (up("max_rate = \"20 Mbit\""), "f.toml:4: upstream.max_rate: found \"20 Mbit\"", "bytes a second"),
        (up("max_rate = 1000"), "f.toml:4: upstream.max_rate: found the number 1000", "at least \"64KiB\""),
        (up("pull_reserve = -1"), "f.toml:4: upstream.pull_reserve", "a number of pulls"),
        (up("connections_per_blob = 0"), "f.toml:4: upstream.connections_per_blob", "from 1 to 16"),
        (up("split_above = \"big\""), "f.toml:4: upstream.split_above", "a size"),
        (up("fill = \"part\""), "f.toml:4: upstream.fill: found \"part\"", "\"whole\" or \"asked\""),
        (up("unread_fill = true"), "f.toml:4: upstream.unread_fill: found true", "\"finish\" or \"pause\""),
        (up("resume = \"never\""), "f.toml:4: upstream.resume", "\"request\" or \"start\""),
        ("[uplink]\nmax_connections = 0".into(), "f.toml:2: uplink.max_connections", "at least 2"),
        ("[uplink]\nmax_rate = \"1KiB\"".into(), "f.toml:2: uplink.max_rate", "at least \"64KiB\""),
        ("[store]\nscrub_rate = \"slow\"".into(), "f.toml:2: store.scrub_rate", "a size"),
        ("[store]\nscrub_every = \"0s\"".into(), "f.toml:2: store.scrub_every", "above zero"),
        (
            up("username = \"u\""),
            "f.toml:4: upstream.username: found a user without a password",
            "password_file",
        ),
        (up("password = \"p\""), "f.toml:4: upstream.password: found a password without a user", "username"),
        (
            up("password_file = \"/nonexistent/p\"\nusername = \"u\""),
            "f.toml:4: upstream.password_file",
            "can be read",
        ),
        (
            up("username = \"u\"\npassword_env = \"NO_SUCH\""),
            "f.toml:5: upstream.password_env: found \"NO_SUCH\", which is not set",
            "a variable of the environment",
        ),
        (
            up("credential_helper = \"no-such\""),
            "f.toml:4: upstream.credential_helper: found \"docker-credential-no-such\", which is not there",
            "PATH",
        ),
        (
            up("credential_helper = \"/etc/passwd\""),
            "f.toml:4: upstream.credential_helper: found \"/etc/passwd\", which is not there or cannot be run",
            "PATH",
        ),
        (
            up("credential_helper = \"a b\""),
            "f.toml:4: upstream.credential_helper: found \"a b\"",
            "ecr-login",
        ),
        (
            up("docker_config = \"/nonexistent/config.json\""),
            "f.toml:4: upstream.docker_config: found \"/nonexistent/config.json\" (No such file",
            "config.json",
        ),
        (
            up("username = \"u\"\ncredential_helper = \"/bin/sh\""),
            "f.toml:4: upstream.username: found a user",
            "no user beside credential_helper",
        ),
        (
            up("username = \"u\"\npassword = \"p\"\ncredential_helper = \"/bin/sh\""),
            "f.toml:6: upstream.credential_helper: found a second account",
            "one of password, ",
        ),
        (up("account = 1"), "f.toml:4: upstream.account: found the number 1", "[[upstream.account]]"),
        (
            up("[[upstream.account]]\nusername = \"u\"\npassword = \"p\""),
            "f.toml:4: upstream.account.prefix: found no such key",
            "team/app",
        ),
        (
            up("[[upstream.account]]\nprefix = \"a\""),
            "f.toml:4: upstream.account: found an account without credentials",
            "docker_config",
        ),
        (
            up("[[upstream.account]]\nprefix = \"a/\"\nusername = \"u\"\npassword = \"p\""),
            "f.toml:5: upstream.account.prefix: found \"a/\"",
            "team/app",
        ),
        (
            up(&"[[upstream.account]]\nprefix = \"a\"\nusername = \"u\"\npassword = \"p\"\n".repeat(2)),
            "f.toml:9: upstream.account.prefix: found \"a\", taken at line 5",
            "no other account",
        ),
        (
            up("[[upstream.account]]\nprefix = \"a\"\nusername = \"u\"\npassword = \"p\"\nendpoints = []"),
            "f.toml:8: upstream.account.endpoints: found an unknown key",
            "credential_helper",
        ),
        (up("ca = \"/nonexistent/ca.pem\""), "f.toml:4: upstream.ca: found \"/nonexistent/ca.pem\"", "PEM"),
    ];
    for (text, start, part) in rows {
        told(&text, &[(start, part)]);
    }
}

#[test]
fn mistakes_in_rules_of_tags_are_told_where_they_are() {
    let rule = |keys: &str| {
        format!("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n[[upstream.tags]]\n{keys}\n")
    };
    let ruled = |above: &str, keys: &str| {
        let upstream = format!("[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n{above}");
        format!("{upstream}\n[[upstream.tags]]\n{keys}\n")
    };
    let rows: Vec<(String, &str, &str)> = vec![
        (
            rule("tags = [\"latest\",\n\"v[0-\"]\ntag_ttl = \"1s\""),
            "f.toml:6: upstream.tags.tags: found \"v[0-\"",
            "a pattern of tags",
        ),
        (
            rule("repositories = [\"team**\"]\ntag_ttl = \"1s\""),
            "f.toml:5: upstream.tags.repositories: found \"team**\"",
            "alone between slashes",
        ),
        (
            rule("repositories = [\"nginx:latest\"]\ntag_ttl = \"1s\""),
            "f.toml:5: upstream.tags.repositories: found \"nginx:latest\"",
            "no such name has a ':'",
        ),
        (rule("tags = []\ntag_ttl = \"1s\""), "f.toml:5: upstream.tags.tags: found an empty list", "v*.*.*"),
        (rule("tags = [\"a\", \"a\"]\ntag_ttl = \"1s\""), "f.toml:5: upstream.tags.tags: found the same", ""),
        (rule("tags = \"a\"\ntag_ttl = \"1s\""), "f.toml:5: upstream.tags.tags: found \"a\"", "brackets"),
        (
            rule("tag_ttl = \"1s\""),
            "f.toml:4: upstream.tags: found a rule that does not say what it is for",
            "own keys",
        ),
        (rule("tags = [\"a\"]"), "f.toml:4: upstream.tags: found a rule that says nothing", "max_stale"),
        (
            rule("tags = [\"a\"]\nnegative_ttl = \"1s\"\nimmutable = true"),
            "f.toml:6: upstream.tags.negative_ttl: found an unknown key",
            "keep_deleted_for",
        ),
        (
            rule("tags = [\"a\"]\nimmutable = true\ntag_ttl = \"1s\""),
            "f.toml:7: upstream.tags.tag_ttl: found a key for tags that change",
            "immutable alone",
        ),
        (
            rule("tags = [\"a\"]\ndeleted_tags = \"follow\"\nkeep_deleted_for = \"1d\""),
            "f.toml:7: upstream.tags.keep_deleted_for: found a time",
            "\"keep\" beside it",
        ),
        (
            rule("tags = [\"a\"]\nstale_while_revalidate = \"2m\"\nmax_stale = \"1m\""),
            "f.toml:6: upstream.tags.stale_while_revalidate: found a longer time",
            "no more than",
        ),
        (
            ruled("max_stale = \"1m\"", "tags = [\"a\"]\nstale_while_revalidate = \"2m\""),
            "f.toml:7: upstream.tags.stale_while_revalidate: found a longer time",
            "no more than",
        ),
        (
            ruled("stale_while_revalidate = \"2m\"", "tags = [\"a\"]\nmax_stale = \"1m\""),
            "f.toml:7: upstream.tags.max_stale: found a shorter time",
            "no less than",
        ),
        (
            "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\ntags = [\"latest\"]".into(),
            "f.toml:4: upstream.tags: found \"latest\"",
            "[[upstream.tags]]",
        ),
    ];
    for (text, start, part) in rows {
        told(&text, &[(start, part)]);
    }
    // What holds for one does not contradict what holds for all: it is an exception.
    let fine = rule(
        "tags = [\"a\"]\nimmutable = false\ntag_ttl = \"1s\"\nmax_stale = \"\"\nkeep_deleted_for = \"1d\"",
    );
    let config =
        Config::from_toml(&fine.replace("[[upstream.tags]]", "immutable = true\n[[upstream.tags]]"), "f");
    let tags = config.unwrap().upstreams.remove(0).tags;
    assert!(
        tags.immutable && tags.rules[0].immutable == Some(false) && tags.rules[0].max_stale == Some(None)
    );
}

#[test]
fn what_excludes_each_other_is_told_with_both_lines() {
    let text = r#"[[upstream]]
name = "a.example"
endpoints = ["https://a.example"]
hosts = ["h.example"]
default = true
[[upstream]]
name = "b.example"
endpoints = ["https://b.example"]
aliases = ["a.example"]
path = "a.example"
hosts = ["h.example"]
default = true
[[upstream]]
name = "b.example"
endpoints = []
[[upstream]]
default = true
"#;
    told(
        text,
        &[
            (
                "f.toml:9: upstream.aliases: found \"a.example\", taken at line 2; expected",
                "no other upstream",
            ),
            ("f.toml:10: upstream.path: found \"a.example\", taken at line 2", ""),
            ("f.toml:11: upstream.hosts: found \"h.example\", taken at line 4", ""),
            (
                "f.toml:12: upstream.default: found a second default, after \"a.example\" at line 5",
                "at most one",
            ),
            ("f.toml:14: upstream.name: found \"b.example\", taken at line 7", ""),
            ("f.toml:15: upstream.endpoints: found an empty list", "at least one"),
            ("f.toml:16: upstream.endpoints: found no such key", ""),
            ("f.toml:16: upstream.name: found no such key", ""),
        ],
    );
}

#[test]
fn text_that_is_not_toml_does_not_hide_the_other_mistakes() {
    let got = mistakes(
        "[server]\nlisten = [127.0.0.1:5000]\n[store]\nmax_bytes = lots\n[memory]\nmax_bytes = \"x\"\n",
    );
    for start in
        ["f.toml:2: found text that is not TOML", "f.toml:4: found text that is not TOML", "f.toml:6: memory"]
    {
        assert!(got.iter().any(|line| line.starts_with(start)), "{start} in {got:#?}");
    }
    assert_eq!(got.len(), 3, "{got:#?}");
    told(
        "[server]\nlisten = [\"127.0.0.1:1\"]\nlisten = [\"127.0.0.1:2\"]",
        &[("f.toml:3: found text", "duplicate key")],
    );
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

#[test]
fn mistakes_of_the_environment_and_of_flags_name_the_variable_and_the_flag() {
    let mut sources = env(&[
        ("ROADSTEAD_STORE__MAX_BYTES", "lots"),
        ("ROADSTEAD_STORE__MAX_BITES", "1"),
        ("ROADSTEAD_store__path", "x"),
        ("ROADSTEAD_UPSTREAM__TAG_TTL", "1s"),
        ("ROADSTEAD_UPSTREAM__0__NAME", "x"),
        ("ROADSTEAD_SERVER__LISTEN", "127.0.0.1:1,nowhere"),
    ]);
    sources.listen = Some("here".to_owned());
    sources.data = Some(PathBuf::new());
    let got = Config::load(&sources).unwrap_err().to_string();
    let rows = [
        ("ROADSTEAD_STORE__MAX_BYTES: store.max_bytes: found \"lots\"; expected a size"),
        ("ROADSTEAD_STORE__MAX_BITES: found \"1\" for an unknown setting; expected the name of a setting"),
        ("ROADSTEAD_store__path: found"),
        ("ROADSTEAD_UPSTREAM__TAG_TTL: found \"1s\" for an unknown setting; expected upstreams only in the file"),
        ("ROADSTEAD_UPSTREAM__0__NAME: found \"x\" for an unknown setting; expected upstreams only in the file"),
        ("ROADSTEAD_SERVER__LISTEN: server.listen: found \"nowhere\""),
        ("--listen: server.listen: found \"here\""),
        ("--data: store.path: found \"\""),
    ];
    for row in rows {
        assert!(got.lines().any(|line| line.starts_with(row)), "{row} in\n{got}");
    }
    assert_eq!(got.lines().count(), rows.len(), "{got}");
}

#[test]
fn a_mistake_as_json_has_its_place_in_fields_of_their_own() {
    let mistakes = Config::from_toml("\n[server]\nlisten = []", "f.toml").unwrap_err();
    let json = mistakes.as_slice()[0].to_json();
    assert_eq!((&json["file"], &json["line"]), (&"f.toml".into(), &3.into()));
    assert_eq!((&json["key"], &json["found"]), (&"server.listen".into(), &"an empty list".into()));
    assert!(json["variable"].is_null() && json["flag"].is_null());
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
