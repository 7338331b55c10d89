//! Who may use the mirror, and how many may.

use super::*;
use crate::admission::{Decision, What, Who};

/// A file of one user, which goes with it.
fn users() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    std::fs::write(&file, format!("alice:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    let line = format!("htpasswd = {file:?}\n");
    (dir, line)
}

const UPSTREAM: &str = "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\n";

#[test]
fn rules_are_read_in_their_order_with_the_lines_where_they_are() {
    let (_dir, htpasswd) = users();
    let text = format!(
        "[access]\n{htpasswd}networks = [\"10.0.0.0/8\", \"unix\"]\n\
         [[access.rule]]\naction = \"deny\"\nrepositories = [\"secret/**\"]\n\
         [[access.rule]]\naction = \"allow\"\nupstreams = [\"a\"]\nusers = [\"alice\", \"ci-*\"]\n{UPSTREAM}"
    );
    let config = Config::from_toml(&text, "f").unwrap();
    let rules = config.rules();
    assert_eq!(rules.list.iter().map(|rule| rule.line).collect::<Vec<_>>(), [4, 7]);
    let decide =
        |user, repository| rules.decide(&Who { user, ..Who::default() }, &What { upstream: "a", repository });
    assert!(decide(Some("ci-7"), "team/app").is_allowed());
    assert!(!decide(Some("ci-7"), "secret/app").is_allowed());
    assert!(matches!(decide(None, "team/app"), Decision::Challenge(_)));
    assert_eq!(config.access.networks.len(), 2);
}

#[test]
fn mistakes_of_access_are_told_where_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("users");
    std::fs::write(&file, "alice:plain\n").unwrap();
    let rule = |lines: &str| format!("[[access.rule]]\naction = \"allow\"\n{lines}\n");
    let rows: Vec<(String, &str, &str)> = vec![
        (
            "[access]\nnetworks = [\"10.0.0.1/8\"]".into(),
            "f.toml:2: access.networks",
            "no bits behind its length",
        ),
        ("[access]\nproxies = [\"here\"]".into(), "f.toml:2: access.proxies", "a network as in"),
        ("[access]\nhtpasswd = \"/none/such\"".into(), "f.toml:2: access.htpasswd", "No such file"),
        (
            format!("[access]\nhtpasswd = {file:?}"),
            "f.toml:2: access.htpasswd",
            "line 1: the password of \"alice",
        ),
        ("[[access.rule]]\nusers = [\"a\"]".into(), "f.toml:1: access.rule.action", "every rule to have it"),
        (
            "[[access.rule]]\naction = \"maybe\"".into(),
            "f.toml:2: access.rule.action",
            "\"allow\" or \"deny\"",
        ),
        (rule("upstreams = [\"b\"]"), "f.toml:3: access.rule.upstreams", "the name of an upstream"),
        (rule("upstreams = []"), "f.toml:3: access.rule.upstreams", "or no such key, which is for all"),
        (rule("repositories = [\"A\"]"), "f.toml:3: access.rule.repositories", "expected"),
        (
            rule("users = [\"alice\"]"),
            "f.toml:3: access.rule.users",
            "nobody can log in; expected access.htpasswd",
        ),
        (rule("certificates = [\"n\"]"), "f.toml:3: access.rule.certificates", "expected tls.client_ca"),
        ("[limits]\nmax_connections = 0".into(), "f.toml:2: limits.max_connections", "above zero"),
        (
            "[limits]\nmax_connections = 7\nmax_connections_per_address = 8".into(),
            "f.toml:3: limits.max_connections_per_address",
            "at most 7",
        ),
        (
            "[limits]\nmax_requests_per_address = 5000".into(),
            "f.toml:2: limits.max_requests_per_address",
            "at most 4096",
        ),
        (
            "[limits]\nheader_bytes = \"8KiB\"".into(),
            "f.toml:2: limits.header_bytes",
            "\"64KiB\" to \"1MiB\"",
        ),
        (
            "[limits]\nrequest_rate_per_address = -1".into(),
            "f.toml:2: limits.request_rate_per_address",
            "a number",
        ),
        ("[limits]\nwait = \"30s\"".into(), "f.toml:2: limits.wait", "at most \"24s\""),
    ];
    for (text, start, part) in rows {
        told(&text, &[(start, part)]);
    }
}

#[test]
fn credentials_that_no_rule_guards_are_told_with_who_can_use_them() {
    let (_dir, htpasswd) = users();
    let with = "username = \"u\"\npassword = \"p\"\n";
    let told = |access: &str, upstream: &str| {
        Config::from_toml(&format!("{access}\n{UPSTREAM}{upstream}"), "f").unwrap().exposures().join("\n")
    };
    assert_eq!(told("", ""), "");
    assert!(
        told("", with)
            .contains("upstream a is asked with credentials, and no rule names it: whoever reaches it can")
    );
    assert!(
        told("[access]\nnetworks = [\"10.0.0.0/8\"]", with).contains("whoever comes from 10.0.0.0/8 can")
    );
    assert!(told(&format!("[access]\n{htpasswd}"), with).contains("every user, whoever reaches it, can"));
    assert_eq!(told("[[access.rule]]\naction = \"allow\"\nupstreams = [\"a\"]", with), "");
    assert_eq!(told("[[access.rule]]\naction = \"deny\"", with), "");
    let general = told("[[access.rule]]\naction = \"allow\"\nnetworks = [\"10.0.0.0/8\"]", with);
    assert!(general.contains("whom the rule at line 1 is for (allow, from 10.0.0.0/8)"), "{general}");
    let open = told(&format!("[server]\nlisten = [\"0.0.0.0:5000\"]\n[access]\n{htpasswd}"), "");
    assert!(open.contains("passwords go over 0.0.0.0:5000 as they are"), "{open}");
}
