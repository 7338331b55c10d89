//! What is wrong with a configuration, told all at once, each with its place.

use super::*;

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
        ("[server]\nsend_files = \"splice\"".into(), "f.toml:2: server.send_files", "\"kernel\""),
        ("[server]\nprepared_answers = \"no\"".into(), "f.toml:2: server.prepared_answers", "true or false"),
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
