//! What the program is shipped in: the unit and its users, as systemd understands them, and the papers of the package.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::api::commands::roadstead;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(project(path)).unwrap()
}

/// What a program answers, or nothing where it is not there, which has then been said.
fn answer(program: &str, arguments: &[&str]) -> Option<Output> {
    let answer = Command::new(program).args(arguments).env("SYSTEMD_LOG_LEVEL", "warning").output().ok();
    if answer.is_none() {
        let _ = writeln!(std::io::stderr(), "tests/it/packaging.rs: skipped: {program} is not at hand");
    }
    answer
}

#[track_caller]
fn well(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[test]
fn systemd_understands_the_unit_and_finds_it_hardened() {
    let folder = tempfile::tempdir().unwrap();
    let unit = folder.path().join("roadstead.service");
    let text =
        read("packaging/roadstead.service").replace("/usr/bin/roadstead", env!("CARGO_BIN_EXE_roadstead"));
    std::fs::write(&unit, text).unwrap();
    let unit = unit.to_str().unwrap();
    let Some(verified) = answer("systemd-analyze", &["verify", "--man=no", unit]) else { return };
    // About other units of the machine it has its own to say.
    let said = well(&verified);
    assert!(!said.contains("roadstead.service"), "{said}");
    // Of 100; what is not confined at all has 96.
    let Some(judged) = answer("systemd-analyze", &["security", "--offline=true", "--threshold=15", unit])
    else {
        return;
    };
    well(&judged);
}

#[test]
fn the_user_and_the_directories_are_made_as_the_unit_needs_them() {
    let folder = tempfile::tempdir().unwrap();
    let root = format!("--root={}", folder.path().display());
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let users = project("packaging/sysusers.conf");
    let Some(made) = answer("systemd-sysusers", &[&root, users.to_str().unwrap()]) else { return };
    well(&made);
    let users = std::fs::read_to_string(folder.path().join("etc/passwd")).unwrap();
    assert!(users.lines().any(|line| line.starts_with("roadstead:x:")), "{users}");
    let unit = read("packaging/roadstead.service");
    let tmpfiles = read("packaging/tmpfiles.conf");
    assert!(unit.contains("User=roadstead\n") && unit.contains("StateDirectory=roadstead\n"));
    assert!(tmpfiles.lines().any(|line| line.starts_with("d /var/lib/roadstead 0750 roadstead roadstead")));
}

#[tokio::test]
async fn the_configurations_that_are_shipped_have_no_mistake() {
    for file in ["packaging/package.toml", "packaging/image.toml", "config/roadstead.toml"] {
        let path = project(file);
        let checked = roadstead(&["check", "--config", path.to_str().unwrap()], &[]).await;
        assert_eq!(checked.status.code(), Some(0), "{file}: {}", String::from_utf8_lossy(&checked.stderr));
    }
}

/// Every file that the package is made of is there, or is made by the script for it.
#[test]
fn the_package_is_made_of_files_that_exist() {
    let folder = tempfile::tempdir().unwrap();
    let papers = folder.path().join("papers");
    let made = Command::new(project("packaging/papers"))
        .arg(env!("CARGO_BIN_EXE_roadstead"))
        .arg(&papers)
        .output()
        .unwrap();
    well(&made);
    let manifest: toml::Table = read("Cargo.toml").parse().unwrap();
    let package = &manifest["package"]["metadata"]["deb"];
    let assets = package["assets"].as_array().unwrap();
    assert!(assets.len() >= 10);
    for asset in assets {
        let from = asset[0].as_str().unwrap();
        let there = match from.strip_prefix("target/papers/") {
            _ if from == "target/release/roadstead" => true,
            Some("man/*") => papers.join("man/roadstead-serve.1").is_file(),
            Some(paper) => papers.join(paper).metadata().is_ok_and(|paper| paper.len() > 0),
            None if from == "docs/*.md" => project("docs/install.md").is_file(),
            None => project(from).is_file(),
        };
        assert!(there, "there is no {from}");
    }
    let changes = read(package["changelog"].as_str().unwrap());
    assert!(changes.starts_with(&format!("roadstead ({}-1) ", env!("CARGO_PKG_VERSION"))), "{changes}");
    let conf = package["conf-files"][0].as_str().unwrap().trim_start_matches('/');
    assert!(assets.iter().any(|asset| asset[1].as_str() == Some(conf)));
    for script in ["postinst", "prerm", "postrm"] {
        let checked = Command::new("sh").arg("-n").arg(project("packaging").join(script)).output().unwrap();
        well(&checked);
    }
}

#[test]
fn the_chart_and_the_changes_are_of_this_version() {
    let version = env!("CARGO_PKG_VERSION");
    assert!(read("helm/roadstead/Chart.yaml").contains(&format!("appVersion: \"{version}\"\n")));
    assert!(read("CHANGELOG.md").contains(version));
}

/// What `make image ARCH=...` makes says the same as the Dockerfile, of which no daemon makes an image for another machine.
#[test]
fn the_image_for_another_architecture_is_the_one_that_the_dockerfile_describes() {
    let folder = tempfile::tempdir().unwrap();
    let (made, archive) = (folder.path().join("image"), folder.path().join("image.tar"));
    // Any program will do: its libraries are this machine's.
    let rootfs = Command::new(project("packaging/rootfs")).arg("/bin/true").arg(&made).output().unwrap();
    if String::from_utf8_lossy(&rootfs.stderr).contains("apt-get install ca-certificates") {
        let _ = writeln!(std::io::stderr(), "tests/it/packaging.rs: skipped: ca-certificates is not at hand");
        return;
    }
    well(&rootfs);
    let packed = Command::new(project("packaging/archive"))
        .arg(&made)
        .args(["arm64", "7.8.9"])
        .arg(&archive)
        .output()
        .unwrap();
    well(&packed);
    let within = |archive: &Path, file: &str| {
        let read = Command::new("tar").arg("-xOf").arg(archive).arg(file).output().unwrap();
        assert!(read.status.success(), "{file}: {}", String::from_utf8_lossy(&read.stderr));
        read.stdout
    };
    let json = |file: &str| serde_json::from_slice::<serde_json::Value>(&within(&archive, file)).unwrap();
    assert_eq!(json("manifest.json")[0]["RepoTags"][0], "roadstead:7.8.9-arm64");
    let config = json("config.json");
    assert_eq!((&config["architecture"], &config["os"]), (&"arm64".into(), &"linux".into()));
    let layer = folder.path().join("layer.tar");
    std::fs::write(&layer, within(&archive, "layer.tar")).unwrap();
    let digest = Command::new("sha256sum").arg(&layer).output().unwrap().stdout;
    let digest = String::from_utf8(digest[..64].to_vec()).unwrap();
    assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{digest}"));
    let listed = Command::new("tar").args(["--numeric-owner", "-tvf"]).arg(&layer).output().unwrap();
    let listed = well(&listed);
    let owned = |path: &str, owner: &str| {
        listed.lines().any(|line| line.ends_with(&format!(" {path}")) && line.contains(owner))
    };
    assert!(
        owned("./usr/bin/roadstead", " 0/0 ") && owned("./var/lib/roadstead/", " 65532/65532 "),
        "{listed}"
    );

    let dockerfile = read("Dockerfile");
    let said = |word: &str| {
        let line = dockerfile.lines().find_map(|line| line.strip_prefix(&format!("{word} ")));
        line.unwrap_or_else(|| panic!("no {word}")).to_owned()
    };
    let list = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    let of = &config["config"];
    assert_eq!(of["User"], said("USER"));
    assert_eq!(of["Env"][0], said("ENV"));
    assert_eq!(of["Entrypoint"], list(&said("ENTRYPOINT")));
    assert_eq!(of["Cmd"], list(&said("CMD")));
    assert_eq!(of["StopSignal"], said("STOPSIGNAL"));
    assert!(
        of["Volumes"][said("VOLUME")].is_object()
            && of["ExposedPorts"][format!("{}/tcp", said("EXPOSE"))].is_object()
    );
    let health = said("HEALTHCHECK");
    let (options, command) = health.split_once(" CMD ").unwrap();
    let test: Vec<_> = of["Healthcheck"]["Test"].as_array().unwrap()[1..].to_vec();
    assert_eq!(list(command), serde_json::Value::from(test));
    let seconds = |key: &str| of["Healthcheck"][key].as_u64().unwrap() / 1_000_000_000;
    let (every, within, grace) = (seconds("Interval"), seconds("Timeout"), seconds("StartPeriod"));
    let retries = &of["Healthcheck"]["Retries"];
    let expected =
        format!("--interval={every}s --timeout={within}s --start-period={grace}s --retries={retries}");
    assert_eq!(options, expected);
}
