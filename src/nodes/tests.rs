//! Over trees with other people's entries: done, done twice, interrupted at each step, and taken back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::edit::is_ours;
use super::*;

const ALL: [Client; 7] = [
    Client::Containerd,
    Client::CriO,
    Client::Podman,
    Client::Docker,
    Client::K3s,
    Client::Rke2,
    Client::Buildkit,
];

/// What others have written. Of k3s and RKE2 there is nothing: where somebody else's file is, it is refused.
const OTHERS: [(&str, &str); 7] = [
    (
        "etc/containerd/certs.d/docker.io/hosts.toml",
        "# Of the platform team.\nserver = \"https://registry-1.docker.io\"\n\n# Near.\n[host.\"https://near.example\"]\n  capabilities = [\"pull\"] # only\n  skip_verify = false\n[host.\"https://near.example\".header]\n  x-a = [\"[b]\"]",
    ),
    ("etc/containerd/certs.d/other.example/hosts.toml", "[host.\"https://b.example\"]\n"),
    ("etc/containerd/certs.d/quay.io/ca.crt", "theirs\n"),
    ("etc/containers/registries.conf.d/10-others.conf", "unqualified-search-registries = [\"docker.io\"]\n"),
    (
        "etc/docker/daemon.json",
        "{\n\t\"log-level\": \"warn\",\n\t\"insecure-registries\":  [\n\t\t\"lab.example\"\n ],\n\t\"bip\": \"\"\n}",
    ),
    ("etc/buildkit/buildkitd.toml", "debug = true\n[worker.oci]\n  enabled = false\n"),
    ("etc/rancher/README", "not ours\n"),
];

fn facts(tls: bool) -> Facts {
    let registry = |name: &str, server: &str, default: bool| Registry {
        name: name.to_owned(),
        path: (!name.contains(':')).then(|| name.to_owned()),
        server: server.to_owned(),
        default,
    };
    Facts {
        tls,
        authority: "mirror.example:5000".to_owned(),
        ca: tls.then(|| "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n".to_owned()),
        shown: tls.then(|| Shown { certificate: "a certificate\n".to_owned(), key: "its key\n".to_owned() }),
        login: tls.then(|| Login { user: "alice".to_owned(), password: "in \"wonderland".to_owned() }),
        upstreams: vec![
            registry("docker.io", "https://registry-1.docker.io", true),
            registry("quay.io", "https://quay.io", false),
            registry("registry.local:5000", "http://10.0.0.7:5000", false),
        ],
    }
}

fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in OTHERS {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// Every file with what is in it.
fn look(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
            } else {
                let text = fs::read_to_string(entry.path()).unwrap();
                found.insert(entry.path().strip_prefix(root).unwrap().to_owned(), text);
            }
        }
    }
    found
}

fn run(plan: &Plan) {
    plan.steps.iter().for_each(|step| step.run().unwrap());
}

/// Files that nobody reads are left out.
fn read_by_somebody(files: &BTreeMap<PathBuf, String>) -> BTreeMap<&Path, &str> {
    let seen = files.iter().filter(|(path, _)| !path.file_name().unwrap().to_str().unwrap().starts_with('.'));
    seen.map(|(path, text)| (path.as_path(), text.as_str())).collect()
}

/// At every moment each file is as it was, or as it is to be; and what others wrote is in it.
fn expect_between(
    before: &BTreeMap<PathBuf, String>,
    now: &BTreeMap<PathBuf, String>,
    after: &BTreeMap<PathBuf, String>,
) {
    for (path, text) in read_by_somebody(now) {
        let may = [before.get(path), after.get(path)];
        assert!(may.contains(&Some(&text.to_owned())), "{} is half written:\n{text}", path.display());
    }
    for (path, text) in OTHERS {
        let now = now.get(Path::new(path)).unwrap_or_else(|| panic!("{path} is gone"));
        assert!(text.lines().all(|line| now.contains(line.trim())), "{path} has lost something:\n{now}");
    }
}

#[test]
fn whatever_is_interrupted_others_entries_stay_and_doing_it_again_comes_to_the_same() {
    // CRI-O is as podman here, and RKE2 as k3s.
    for (client, tls) in [
        (Client::Containerd, false),
        (Client::Containerd, true),
        (Client::Podman, true),
        (Client::Docker, false),
        (Client::K3s, true),
        (Client::Buildkit, false),
    ] {
        let facts = facts(tls);
        let folder = world();
        let root = folder.path();
        let before = look(root);
        let whole = plan(root, client, &facts).unwrap();
        assert!(whole.refused.is_empty(), "{client:?}: {:?}", whole.refused);
        let steps = whole.steps.len();
        run(&whole);
        let after = look(root);
        assert_ne!(before, after, "{client:?}");
        let again = plan(root, client, &facts).unwrap();
        assert!(again.steps.is_empty() && !again.right.is_empty(), "{client:?}: {:?}", again.steps);
        let undo = plan_removal(root, client, &facts).unwrap().steps.len();
        for ended in 0..=steps {
            let folder = world();
            let root = folder.path();
            begin(&plan(root, client, &facts).unwrap(), ended);
            expect_between(&before, &look(root), &after);
            run(&plan(root, client, &facts).unwrap());
            assert_eq!(look(root), after, "{client:?}, again after {ended} steps");
            // What was begun and never went on is taken away as well.
            let folder = world();
            let root = folder.path();
            begin(&plan(root, client, &facts).unwrap(), ended);
            run(&plan_removal(root, client, &facts).unwrap());
            assert_eq!(look(root), before, "{client:?}, removed after {ended} steps");
        }
        for ended in 0..=undo {
            let folder = world();
            let root = folder.path();
            run(&plan(root, client, &facts).unwrap());
            begin(&plan_removal(root, client, &facts).unwrap(), ended);
            expect_between(&after, &look(root), &before);
            run(&plan_removal(root, client, &facts).unwrap());
            assert_eq!(look(root), before, "{client:?}, removed again after {ended} steps");
        }
    }
}

/// Its first steps, as far as they came.
fn begin(plan: &Plan, ended: usize) {
    plan.steps[..ended].iter().for_each(|step| step.run().unwrap());
}

#[test]
fn a_registry_that_is_mirrored_no_more_and_a_mirror_that_has_moved_leave_nothing_behind() {
    let folder = world();
    let root = folder.path();
    run(&plan(root, Client::Containerd, &facts(false)).unwrap());
    let mut moved = facts(false);
    moved.authority = "other.example:80".to_owned();
    moved.upstreams.remove(1);
    run(&plan(root, Client::Containerd, &moved).unwrap());
    let now = look(root);
    assert!(now.values().all(|text| !text.contains("mirror.example")), "{now:?}");
    assert!(!now.contains_key(Path::new("etc/containerd/certs.d/quay.io/hosts.toml")));
    let first = &now[Path::new("etc/containerd/certs.d/docker.io/hosts.toml")];
    assert!(first.find("other.example:80").unwrap() < first.find("near.example").unwrap(), "{first}");
    run(&plan_removal(root, Client::Containerd, &facts(true)).unwrap());
    assert_eq!(look(root), look(world().path()));
}

#[test]
fn what_cannot_be_changed_without_changing_what_others_mean_is_left_alone() {
    let all = |client: Client, path: &str, text: &str| {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
        let plan = plan(folder.path(), client, &facts(false)).unwrap();
        run(&plan);
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "{client:?}");
        assert_eq!(plan.refused.len(), 1, "{client:?}");
        assert_eq!(plan.refused[0].0, file);
        run(&plan_removal(folder.path(), client, &facts(false)).unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), text, "{client:?}");
    };
    let hosts = "etc/containerd/certs.d/docker.io/hosts.toml";
    all(Client::Containerd, hosts, "[host.\"http://mirror.example:5000\"]\n  capabilities = [\"pull\"]\n");
    all(Client::Containerd, hosts, "this is no TOML\n");
    all(Client::K3s, "etc/rancher/k3s/registries.yaml", "mirrors: {}\n");
    all(Client::Rke2, "etc/rancher/rke2/registries.yaml", "mirrors: {}\n");
    all(Client::Docker, "etc/docker/daemon.json", "{\"registry-mirrors\": 1}");
    all(Client::Docker, "etc/docker/daemon.json", "{");
    all(
        Client::Buildkit,
        "etc/buildkit/buildkitd.toml",
        "[registry.\"docker.io\"]\n  mirrors = [\"near.example\"]\n",
    );
    all(Client::Podman, "etc/containers/registries.conf.d/50-roadstead.conf", "# Ours.\n");
}

#[test]
fn each_client_is_told_in_its_own_words() {
    for (client, tls) in ALL.into_iter().flat_map(|client| [(client, false), (client, true)]) {
        let files = wanted(client, &facts(tls));
        assert_eq!(
            files.len(),
            if client == Client::Containerd { 3 } else { 1 } + if tls { 3 } else { 0 },
            "{client:?}"
        );
        for file in &files {
            let text = file.content.alone();
            let name = file.path.to_str().unwrap();
            match file.path.extension().and_then(|extension| extension.to_str()).unwrap() {
                "toml" | "conf" => drop(text.parse::<toml::Table>().unwrap()),
                "json" => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                _ => {}
            }
            assert!(is_ours(&text) != name.ends_with("daemon.json"), "{name}");
            let is_paper = [".crt", ".cert", ".key"].iter().any(|extension| name.ends_with(extension));
            assert!(is_paper || text.contains("mirror.example:5000"), "{name}: {text}");
            let says_plain =
                text.contains("http://mirror") || text.contains("insecure") || text.contains("http = true");
            assert!(!tls || !says_plain, "{name}: {text}");
        }
    }
    let of = |client| wanted(client, &facts(false)).pop().unwrap().content.alone();
    assert!(of(Client::Podman).contains("location = \"mirror.example:5000/quay.io\"\ninsecure = true\n"));
    assert!(!of(Client::CriO).contains("registry.local"), "it has no path");
    assert!(
        of(Client::Rke2)
            .contains("  \"registry.local:5000\":\n    endpoint: [\"http://mirror.example:5000\"]\n")
    );
}

#[test]
fn what_was_there_keeps_its_rights_and_a_secret_is_for_its_owner_alone() {
    let rights = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folder = world();
    let hosts = folder.path().join("etc/containerd/certs.d");
    let theirs = hosts.join("docker.io/hosts.toml");
    fs::set_permissions(&theirs, fs::Permissions::from_mode(0o640)).unwrap();
    run(&plan(folder.path(), Client::Containerd, &facts(false)).unwrap());
    assert_eq!(rights(&theirs), 0o640);
    assert_eq!(rights(&hosts.join("quay.io/hosts.toml")), 0o644);
    // A login is in it now.
    run(&plan(folder.path(), Client::Containerd, &facts(true)).unwrap());
    for path in ["docker.io/hosts.toml", "quay.io/hosts.toml", "roadstead-client.key"] {
        assert_eq!(rights(&hosts.join(path)), 0o600, "{path}");
    }
    fs::set_permissions(hosts.join("roadstead-client.key"), fs::Permissions::from_mode(0o644)).unwrap();
    run(&plan(folder.path(), Client::Containerd, &facts(true)).unwrap());
    assert_eq!(rights(&hosts.join("roadstead-client.key")), 0o600);
    let shown =
        format!("{:?}{:?}", facts(true), plan(world().path(), Client::Containerd, &facts(true)).unwrap());
    assert!(
        !shown.contains("wonderland") && !shown.contains("its key") && !shown.contains("Basic"),
        "{shown}"
    );
}

#[test]
fn a_link_to_what_is_managed_elsewhere_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (file, managed) = (folder.path().join("etc/docker/daemon.json"), folder.path().join("managed.json"));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&managed, "{}").unwrap();
    std::os::unix::fs::symlink(&managed, &file).unwrap();
    let refused = plan(folder.path(), Client::Docker, &facts(false)).unwrap();
    assert_eq!((refused.steps.len(), refused.refused), (0, vec![(file.clone(), Refused::Link)]));
    fs::write(&managed, "{\"registry-mirrors\": [\"http://mirror.example:5000\"]}").unwrap();
    let refused = plan_removal(folder.path(), Client::Docker, &facts(false)).unwrap();
    assert_eq!((refused.steps.len(), refused.refused), (0, vec![(file.clone(), Refused::Link)]));
    assert!(file.is_symlink());
}

#[test]
fn a_removal_that_is_told_less_than_was_written_leaves_nothing_behind() {
    for client in [Client::Containerd, Client::Podman, Client::K3s, Client::Rke2, Client::Buildkit] {
        let folder = world();
        run(&plan(folder.path(), client, &facts(true)).unwrap());
        let whole = plan_removal(folder.path(), client, &facts(false)).unwrap();
        // Whatever it is interrupted after, no file names a paper that is gone.
        for step in &whole.steps {
            step.run().unwrap();
            let now = look(folder.path());
            let is_there = |end: &str| now.keys().any(|path| path.to_str().unwrap().ends_with(end));
            let named = now.values().any(|text| text.contains("roadstead-ca.crt"));
            assert!(!named || is_there("roadstead-ca.crt"), "{client:?}: {step:?}");
        }
        assert_eq!(look(folder.path()), look(world().path()), "{client:?}");
    }
    // The papers of an address that is no more.
    for client in [Client::Docker, Client::Podman] {
        let folder = world();
        run(&plan(folder.path(), client, &facts(true)).unwrap());
        let mut moved = facts(true);
        moved.authority = "other.example".to_owned();
        run(&plan(folder.path(), client, &moved).unwrap());
        let papers = look(folder.path())
            .into_keys()
            .filter(|path| path.to_str().unwrap().contains("/certs.d/mirror."));
        assert_eq!(papers.collect::<Vec<_>>(), Vec::<PathBuf>::new(), "{client:?}");
    }
}

#[test]
fn what_is_below_a_beginning_without_an_end_may_be_somebody_elses() {
    let folder = world();
    run(&plan(folder.path(), Client::Buildkit, &facts(false)).unwrap());
    let file = folder.path().join("etc/buildkit/buildkitd.toml");
    let text = fs::read_to_string(&file)
        .unwrap()
        .replace("# roadstead: end\n", "[worker.containerd]\n  enabled = true\n");
    fs::write(&file, &text).unwrap();
    for plan in [
        plan(folder.path(), Client::Buildkit, &facts(false)),
        plan_removal(folder.path(), Client::Buildkit, &facts(false)),
    ] {
        let plan = plan.unwrap();
        assert_eq!((plan.steps.len(), plan.refused.len()), (0, 1), "{plan:?}");
    }
}
