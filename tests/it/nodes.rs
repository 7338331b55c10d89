//! `client-config` and `node-setup`: printed, written, left alone and taken back.

use std::path::Path;

use roadstead::x509::Authority;
use tokio::process::Command;

use crate::api::commands::{bad, good, roadstead, text};
use crate::support::soon;

const MIRROR: [&str; 2] = ["--mirror", "http://mirror.example:5000"];

#[tokio::test]
async fn what_a_client_needs_is_printed_from_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("roadstead.toml");
    let upstream = "[server]\nlisten = [\"127.0.0.1:5005\"]\n[[upstream]]\nname = \"quay.io\"\n\
                    endpoints = [\"https://near.example\"]\n";
    std::fs::write(&config, upstream).unwrap();
    let config = config.to_str().unwrap();
    let printed = roadstead(&["client-config", "containerd", "--config", config], &[]).await;
    let printed = good(&printed);
    for part in [
        "# /etc/containerd/certs.d/quay.io/hosts.toml\n",
        "server = \"https://near.example\"\n",
        "[host.\"http://127.0.0.1:5005\"]\n",
    ] {
        assert!(printed.contains(part), "no {part:?} in:\n{printed}");
    }
    for client in ["containerd", "cri-o", "podman", "docker", "k3s", "rke2", "buildkit"] {
        let printed = roadstead(&["client-config", client, MIRROR[0], MIRROR[1]], &[]).await;
        assert!(good(&printed).contains("mirror.example:5000"), "{client}");
    }
    for address in ["mirror.example", "http://mirror.example/v2/"] {
        let told = roadstead(&["client-config", "docker", "--mirror", address], &[]).await;
        assert!(bad(&told, 64).contains("is no address of a mirror"));
    }
    std::fs::write(config, upstream.replace("127.0.0.1", "0.0.0.0")).unwrap();
    let told = roadstead(&["client-config", "docker", "--config", config], &[]).await;
    assert!(bad(&told, 64).contains("name it by --mirror"));
}

#[tokio::test]
async fn whom_to_believe_is_taken_from_the_configuration_or_else_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (own, other) = (Authority::new("own").unwrap(), Authority::new("another").unwrap());
    let config = at("roadstead.toml");
    let with = async |chain: &str, key: &str, beside: Option<&str>, more: &[&str]| {
        std::fs::write(at("tls.crt"), chain).unwrap();
        std::fs::write(at("tls.key"), key).unwrap();
        let _none = std::fs::remove_file(at("ca.crt"));
        if let Some(beside) = beside {
            std::fs::write(at("ca.crt"), beside).unwrap();
        }
        let tls = format!(
            "[server]\nlisten = []\n[tls]\nlisten = [\"127.0.0.1:5443\"]\ncert = {:?}\nkey = {:?}\n",
            at("tls.crt"),
            at("tls.key")
        );
        std::fs::write(&config, tls).unwrap();
        let arguments = [&["client-config", "podman", "--config", &config], more].concat();
        roadstead(&arguments, &[]).await
    };
    let made = own.server(&["127.0.0.1".to_owned()]).unwrap();
    let chained = format!("{}{}", made.certificate, own.certificate);
    let both = format!("{}{}", other.certificate, own.certificate);
    // As `roadstead cert` and cert-manager leave it; as a chain; and by hand, which is believed more.
    for (chain, beside) in
        [(&made.certificate, Some(&own.certificate)), (&made.certificate, Some(&both)), (&chained, None)]
    {
        let printed = with(chain, &made.key, beside.map(String::as_str), &[]).await;
        let papers = "# /etc/containers/certs.d/127.0.0.1:5443/roadstead.crt\n# Written by roadstead";
        let printed = good(&printed);
        assert!(printed.contains(papers) && printed.contains(own.certificate.trim()), "{printed}");
    }
    std::fs::write(at("by-hand.pem"), &other.certificate).unwrap();
    let printed =
        with(&made.certificate, &made.key, Some(&own.certificate), &["--ca", &at("by-hand.pem")]).await;
    assert!(good(&printed).contains(other.certificate.trim()));
    for beside in [None, Some(other.certificate.as_str()), Some("rubbish")] {
        let told = with(&made.certificate, &made.key, beside, &[]).await;
        let (printed, said) = (text(&told.stdout), text(&told.stderr));
        assert!(told.status.success() && !printed.contains("BEGIN"), "{printed}{said}");
        assert!(said.contains("pass it by --ca"), "{said}");
    }
}

#[tokio::test]
async fn what_a_client_shows_is_copied_and_what_it_cannot_be_told_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for (name, text) in
        [("cert", "a certificate\n"), ("key", "its key\n"), ("login", "alice:secret\n"), ("bad", "secret\n")]
    {
        std::fs::write(at(name), text).unwrap();
    }
    let with = async |client: &str, mirror: &str, more: &[&str]| {
        roadstead(&[&["client-config", client, "--mirror", mirror], more].concat(), &[]).await
    };
    let (cert, key, login, bad_login) = (at("cert"), at("key"), at("login"), at("bad"));
    let shows = ["--client-cert", &cert, "--client-key", &key];
    for client in ["containerd", "cri-o", "podman", "docker", "k3s", "rke2", "buildkit"] {
        let printed = with(client, "https://m.example", &shows).await;
        let printed = good(&printed);
        assert!(printed.contains("a certificate") && !printed.contains("its key"), "{client}: {printed}");
        let told = with(client, "http://m.example", &shows).await;
        assert!(bad(&told, 64).contains("speaks TLS"), "{client}");
        let logs_in = with(client, "https://m.example", &["--login-file", &login]).await;
        if matches!(client, "containerd" | "k3s" | "rke2") {
            assert!(
                ["YWxpY2U6c2VjcmV0", "password: \"secret\""].iter().any(|part| good(&logs_in).contains(part))
            );
        } else {
            assert!(bad(&logs_in, 64).contains("--login-file: "), "{client}");
        }
    }
    let told = with("k3s", "https://m.example", &["--login-file", &bad_login]).await;
    assert!(bad(&told, 64).contains("a login is one line") && !text(&told.stderr).contains("secret"));
}

#[tokio::test]
async fn what_is_written_is_told_and_what_is_left_alone_is_a_failure() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    let with = |client: &'static str, more: &'static str| {
        let arguments = ["client-config", client, more, "--root", root, MIRROR[0], MIRROR[1]];
        async move { roadstead(&arguments, &[]).await }
    };
    let file = folder.path().join("etc/docker/daemon.json");
    let written = with("docker", "--write").await;
    assert_eq!(good(&written), format!("written: {}\n", file.display()));
    assert_eq!(good(&with("docker", "--write").await), format!("as it should be: {}\n", file.display()));
    assert_eq!(good(&with("docker", "--remove").await), format!("removed: {}\n", file.display()));
    assert!(!file.exists());
    assert_eq!(good(&with("docker", "--remove").await), "there was nothing to do\n");
    let theirs = folder.path().join("etc/rancher/k3s/registries.yaml");
    std::fs::create_dir_all(theirs.parent().unwrap()).unwrap();
    std::fs::write(&theirs, "mirrors: {}\n").unwrap();
    let refused = with("k3s", "--write").await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("registries.yaml is left as it is: somebody else wrote it"));
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "mirrors: {}\n");
}

#[tokio::test]
async fn a_node_is_set_up_for_as_long_as_the_command_stays() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let nothing =
        roadstead(&["node-setup", "--root", root.to_str().unwrap(), MIRROR[0], MIRROR[1]], &[]).await;
    assert!(bad(&nothing, 1).contains("neither etc/containerd nor etc/crio"));
    for home in ["etc/containerd", "etc/crio"] {
        std::fs::create_dir_all(root.join(home)).unwrap();
    }
    std::fs::write(root.join("etc/containerd/config.toml"), "version = 2\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    command.env_clear().args(["node-setup", "--stay", "--root"]).arg(root).args(MIRROR).kill_on_drop(true);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let staying = command.spawn().unwrap();
    let written =
        |path: &Path| std::fs::read_to_string(path).is_ok_and(|text| text.contains("mirror.example"));
    let last = root.join("etc/containers/registries.conf.d/50-roadstead.conf");
    let there = async {
        while !written(&last) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon("both runtimes told", there).await;
    let first = root.join("etc/containerd/certs.d/docker.io/hosts.toml");
    assert!(written(&first));
    let pid = rustix::process::Pid::from_raw(i32::try_from(staying.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = staying.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert!(text(&ended.stderr).contains("does not set config_path"), "{}", text(&ended.stderr));
    assert!(!first.exists() && !last.exists() && root.join("etc/containerd/config.toml").exists());
}

#[tokio::test]
async fn what_a_staying_command_was_given_is_on_the_node_again_when_it_has_changed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("node/etc/containerd")).unwrap();
    for (name, text) in
        [("cert", "the first certificate\n"), ("key", "its key\n"), ("login", "alice:first\n")]
    {
        std::fs::write(at(name), text).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_roadstead"));
    command
        .env_clear()
        .args(["node-setup", "--stay", "--mirror", "https://m.example", "--root"])
        .arg(at("node"));
    for (option, file) in [("--client-cert", "cert"), ("--client-key", "key"), ("--login-file", "login")] {
        command.arg(option).arg(at(file));
    }
    command.kill_on_drop(true).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let staying = command.spawn().unwrap();
    let hosts = at("node/etc/containerd/certs.d");
    let has = |file: &str, part: &str| {
        std::fs::read_to_string(hosts.join(file)).is_ok_and(|text| text.contains(part))
    };
    let until = async |file: &str, part: &str| {
        while !has(file, part) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    // "alice:first", and "alice:second".
    soon("the first login", until("quay.io/hosts.toml", "YWxpY2U6Zmlyc3Q=")).await;
    assert!(has("roadstead-client.crt", "the first certificate"));
    // For a moment there is none, as while somebody writes; what is there stays.
    std::fs::remove_file(at("login")).unwrap();
    std::fs::write(at("cert"), "the second certificate\n").unwrap();
    std::fs::write(at("login"), "alice:second\n").unwrap();
    soon("the second login", until("quay.io/hosts.toml", "YWxpY2U6c2Vjb25k")).await;
    soon("the second certificate", until("roadstead-client.crt", "the second certificate")).await;
    let pid = rustix::process::Pid::from_raw(i32::try_from(staying.id().unwrap()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ended = staying.wait_with_output().await.unwrap();
    assert_eq!(ended.status.code(), Some(0), "{}", text(&ended.stderr));
    assert!(!hosts.join("quay.io").exists() && !hosts.join("roadstead-client.crt").exists());
}
