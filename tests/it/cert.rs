//! `roadstead cert`, and `roadstead check --explain`: what they make and say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::mirror::Setup;
use crate::support::secure::Secure;
use crate::support::upstream::Upstream;

fn roadstead(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roadstead")).args(args).env_clear().output().unwrap()
}

fn cert(dir: &Path, args: &[&str]) -> Output {
    let mut all = vec!["cert", "--dir", dir.to_str().unwrap()];
    all.extend(args);
    roadstead(&all)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn what_it_makes_is_taken_by_a_mirror_and_its_clients_and_nothing_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    let made = cert(&tls, &["localhost", "10.0.0.7", "--client", "node-7"]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made.stderr));
    let said = text(&made.stdout);
    for part in [
        "a new authority",
        "for localhost, 10.0.0.7",
        "listen = [\"0.0.0.0:5443\"]",
        "client_ca = ",
        "node-7",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let names = ["ca", "server", "client-node-7"];
    for name in names {
        let mode = |kind: &str| {
            let file = tls.join(format!("{name}.{kind}"));
            std::fs::metadata(file).unwrap().permissions().mode() & 0o777
        };
        assert_eq!((mode("key"), mode("crt")), (0o600, 0o644), "{name}");
    }
    let read = |name: &str| std::fs::read_to_string(tls.join(name)).unwrap();
    let before: Vec<_> = names.iter().map(|name| read(&format!("{name}.key"))).collect();
    for again in [&["localhost"][..], &["--client", "node-7"]] {
        let refused = cert(&tls, again);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains("is not written over"), "{}", text(&refused.stderr));
    }
    assert!(text(&cert(&tls, &["--client", "node-8"]).stdout).contains("the authority that was there"));
    assert_eq!(names.iter().map(|name| read(&format!("{name}.key"))).collect::<Vec<_>>(), before);

    let upstream = Upstream::start().await;
    let file = |name: &str| tls.join(name);
    let mirror = Setup::of(&upstream)
        .set("tls", "listen = [\"127.0.0.1:0\"]\nclient_auth = \"required\"")
        .set("tls", &format!("cert = {:?}\nkey = {:?}", file("server.crt"), file("server.key")))
        .set("tls", &format!("client_ca = {:?}", file("ca.crt")))
        .start()
        .await;
    let client = Secure::to(mirror.tls_address(), &read("ca.crt"));
    for node in ["node-7", "node-8"] {
        let (certificate, key) = (read(&format!("client-{node}.crt")), read(&format!("client-{node}.key")));
        client.clone().showing(&certificate, &key).over_two().get("/v2/", &[]).await.unwrap().expect(200);
    }
    assert!(client.get("/v2/", &[]).await.is_err());
}

#[test]
fn what_cannot_be_made_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let tls = dir.path().join("tls");
    for (args, part) in [
        (&["https://mirror"][..], "a host or an address"),
        (&["mirror:5000"], "a host or an address"),
        (&["--client", "../evil"], "a name of letters"),
        (&[], "<NAME>"),
    ] {
        let refused = cert(&tls, args);
        assert_eq!(refused.status.code(), Some(64), "{args:?}");
        assert!(text(&refused.stderr).contains(part), "{args:?}: {}", text(&refused.stderr));
    }
    assert!(!tls.exists());
    assert_eq!(cert(&tls, &["localhost"]).status.code(), Some(0));
    std::fs::remove_file(tls.join("ca.key")).unwrap();
    let half = cert(&tls, &["--client", "a"]);
    assert!(text(&half.stderr).contains("ca.crt is there and"), "{}", text(&half.stderr));
}

#[test]
fn a_rule_that_decides_is_told_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let users = dir.path().join("users");
    std::fs::write(&users, format!("alice:{}\n", bcrypt::hash("x", 4).unwrap())).unwrap();
    let config = dir.path().join("roadstead.toml");
    let rules = "[[access.rule]]\naction = \"allow\"\nupstreams = [\"docker.io\"]\nrepositories = [\"library/**\"]\n\
                 [[access.rule]]\naction = \"allow\"\nusers = [\"alice\"]\nnetworks = [\"10.0.0.0/8\"]\n";
    std::fs::write(&config, format!("[access]\nhtpasswd = {users:?}\n{rules}")).unwrap();
    let config = config.to_str().unwrap();
    for (asked, said) in [
        (&["--explain", "-", "nginx:1.27"][..], "allowed: by rule 1 (line 3): allow, upstream docker.io"),
        (&["--explain", "alice", "ghcr.io/org/app"], "denied (403): no rule matches"),
        (&["--explain", "alice", "ghcr.io/org/app", "--from", "10.1.1.1"], "allowed: by rule 2 (line 7)"),
        (
            &["--explain", "-", "ghcr.io/org/app", "--from", "10.1.1.1"],
            "asked to log in (401): no rule matches",
        ),
        (&["--explain", "eve", "nginx"], "allowed: by rule 1"),
    ] {
        let mut args = vec!["check", "--config", config];
        args.extend(asked);
        let output = roadstead(&args);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(text(&output.stdout).starts_with(said), "{asked:?}: {}", text(&output.stdout));
        assert_eq!(text(&output.stderr).contains("\"eve\" is not in"), asked.contains(&"eve"));
    }
    for wrong in [&["--explain", "-", "nowhere.test/a"][..], &["--explain", "-", "A B"], &["--explain", "-"]]
    {
        let mut args = vec!["check", "--config", config];
        args.extend(wrong);
        assert_eq!(roadstead(&args).status.code(), Some(64), "{wrong:?}");
    }
}
