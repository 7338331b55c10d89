//! The configuration that the chart renders, read by the mirror itself.

use std::process::Command;

use roadstead::config::{Config, Sources, Upstream};

use crate::chart::{Chart, ways};

/// What values name of mounted files is there in the tests' own directory.
fn at_hand(configuration: &str, within: &std::path::Path) -> String {
    let certified = rcgen::generate_simple_self_signed(["mirror.example".to_owned()]).unwrap();
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    for (file, content) in [
        ("tls/tls.crt", certificate.as_str()),
        ("tls/tls.key", &key),
        ("client-ca/ca.crt", &certificate),
        ("users/htpasswd", "alice:$2y$05$abcdefghijklmnopqrstuuQOGGvVD1yT0wMYsmPBjLJxqcJQnVTFi\n"),
        ("secrets/hub", "secret"),
        ("secrets/token", "0123456789abcdef0123456789abcdef"),
        ("docker/.dockerconfigjson", "{\"auths\": {}}"),
    ] {
        let path = within.join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    configuration.replace("/etc/roadstead", &within.display().to_string())
}

#[test]
fn roadstead_check_finds_no_mistake_in_what_is_rendered() {
    let Some(chart) = Chart::at_hand() else { return };
    for (way, values) in ways() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("roadstead.toml");
        let configuration = at_hand(chart.manifests(&values).configuration(), folder.path());
        std::fs::write(&file, &configuration).unwrap();
        let mut check = Command::new(env!("CARGO_BIN_EXE_roadstead"));
        check.env_clear().args(["check", "--config"]).arg(&file);
        let checked = check.output().unwrap();
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{way}: {said}\n{configuration}");
    }
}

#[test]
fn the_upstreams_of_the_chart_are_those_that_are_built_in() {
    let Some(chart) = Chart::at_hand() else { return };
    let folder = tempfile::tempdir().unwrap();
    let values = folder.path().join("values.yaml");
    let read = |text: &str| {
        std::fs::write(&values, text).unwrap();
        let configuration = at_hand(chart.manifests(&values).configuration(), folder.path());
        let file = folder.path().join("roadstead.toml");
        std::fs::write(&file, configuration).unwrap();
        Config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap().upstreams
    };
    assert_eq!(read("{}"), Upstream::built_in());
    let mut with_logins = read("dockerConfigSecret: logins");
    for upstream in &mut with_logins {
        assert_eq!(upstream.accounts.len(), 1, "{}", upstream.name);
        upstream.accounts.clear();
    }
    assert_eq!(with_logins, Upstream::built_in());
}
