//! The command line: what is said where, and which exit code comes with it.

use std::path::Path;
use std::process::{Command, Output};

/// Runs the binary with nothing of our own environment that is a setting of it.
fn roadstead(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ROADSTEAD_") {
            command.env_remove(name);
        }
    }
    command.args(args).envs(env.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn file(dir: &Path, content: &str) -> String {
    let path = dir.join("roadstead.toml");
    std::fs::write(&path, content).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn wrong_usage_exits_64_and_says_so_on_standard_error() {
    for args in [&[][..], &["sail"], &["serve", "--port", "1"], &["serve", "--config"], &["check", "extra"]] {
        let output = roadstead(args, &[]);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

#[test]
fn help_and_version_are_answers() {
    for args in [&["--help"][..], &["serve", "--help"], &["check", "-h"], &["demo", "--help"], &["--version"]]
    {
        let output = roadstead(args, &[]);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty() && !output.stdout.is_empty(), "{args:?}");
    }
    let help = roadstead(&["--help"], &[]);
    for part in [
        "Examples:",
        "ROADSTEAD_CONFIG",
        "ROADSTEAD_STORE__MAX_BYTES=10GiB",
        "Exit codes: 0 done, 1 failed, 64",
    ] {
        assert!(text(&help.stdout).contains(part), "{part}");
    }
}

#[test]
fn check_tells_what_a_good_configuration_has() {
    let dir = tempfile::tempdir().unwrap();
    let one = file(dir.path(), "[[upstream]]\nname = \"a\"\nendpoints = [\"https://a\"]\ndefault = true\n");
    let output = roadstead(&["check", "--config", &one], &[]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), format!("{one}: ok, 1 upstream: a (default)\n"));

    let output = roadstead(&["check"], &[]);
    assert!(
        text(&output.stdout).starts_with("built-in defaults: ok, 8 upstreams: docker.io (default), ghcr.io")
    );

    let output = roadstead(&["check", "--json"], &[("ROADSTEAD_CONFIG", &one)]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["ok"], &json["file"], &json["upstreams"][0]), (&true.into(), &one.into(), &"a".into()));
}

#[test]
fn check_tells_every_mistake_and_exits_64() {
    let dir = tempfile::tempdir().unwrap();
    let bad = file(dir.path(), "[server]\nlisten = []\n[store]\nmax_bytes = 'lots'\nsize = 1\n");
    let env = [("ROADSTEAD_LOG__LEVEL", "loud")];
    let output = roadstead(&["check", "--config", &bad], &env);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stdout.is_empty());
    let told: Vec<_> = text(&output.stderr).lines().collect();
    let starts = [
        format!("{bad}:2: server.listen: found an empty list"),
        format!("{bad}:4: store.max_bytes: found \"lots\""),
        format!("{bad}:5: store.size: found an unknown key"),
        "ROADSTEAD_LOG__LEVEL: log.level: found \"loud\"".to_owned(),
    ];
    assert_eq!(told.len(), starts.len(), "{told:#?}");
    for (line, start) in told.iter().zip(&starts) {
        assert!(line.starts_with(start), "{line}");
    }

    let output = roadstead(&["check", "--config", &bad, "--json"], &env);
    assert_eq!(output.status.code(), Some(64));
    assert!(output.stderr.is_empty());
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["ok"], false);
    assert_eq!(json["mistakes"].as_array().unwrap().len(), 4);
    assert_eq!(json["mistakes"][1]["line"], 4);
    assert_eq!(json["mistakes"][3]["variable"], "ROADSTEAD_LOG__LEVEL");
}

#[test]
fn serve_starts_nothing_with_a_wrong_configuration() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let data = data.to_str().unwrap();
    let rows = [
        (vec!["serve", "--data", data, "--listen", "here"], "--listen: server.listen: found \"here\""),
        (
            vec!["serve", "--data", data, "--config", "/nonexistent/r.toml"],
            "--config: found \"/nonexistent/r.toml\"",
        ),
    ];
    for (args, start) in rows {
        let output = roadstead(&args, &[]);
        assert_eq!(output.status.code(), Some(64), "{args:?}");
        assert!(text(&output.stderr).starts_with(start), "{}", text(&output.stderr));
    }
    assert!(!Path::new(data).exists());
}
