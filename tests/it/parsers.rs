//! What `client-config` writes, read by the parsers of the clients themselves: k3s and RKE2 pull an image by their own library
//! (rancher/wharfie), and the library of CRI-O and podman (containers/image) says where it would look.
//!
//! The program is in `parsers/`, and is built with Go. Where Go or the modules cannot be had, that is said, and the test passes,
//! except under `ROADSTEAD_CLIENTS=required`.

#[path = "../support/go.rs"]
mod go;

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use roadstead::x509::Authority;
use sha2::{Digest as _, Sha256};
use tokio::process::Command;

use crate::api::commands::{good, roadstead, text};
use crate::support::images::image;
use crate::support::mirror::{Mirror, REGISTRY, Setup};
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG};

/// The program, or nothing where it cannot be had, which has then been said.
fn parsers() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    PROGRAM.get_or_init(|| build().map_err(|reason| skip(&reason)).ok()).as_deref()
}

fn build() -> Result<PathBuf, String> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/parsers");
    let version = go::go(&sources, &["version".as_ref()]).filter(|output| output.status.success());
    let mut identity =
        version.ok_or("the go command is not at hand (https://go.dev/dl, 1.26 or later)")?.stdout;
    for file in ["go.mod", "go.sum", "main.go"] {
        identity.extend(std::fs::read(sources.join(file)).unwrap());
    }
    let identity: String = Sha256::digest(&identity)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("parsers").join(identity);
    if !program.is_file() {
        std::fs::create_dir_all(program.parent().unwrap()).unwrap();
        // Apart from building, so that a network that is not there is told from sources that are wrong.
        let fetched = go::go(&sources, &["list", "-deps", "."].map(OsStr::new)).unwrap();
        if !fetched.status.success() {
            return Err(format!("the Go modules cannot be fetched: {}", go::last_line(&fetched.stderr)));
        }
        go::make(&sources, &program, ".");
    }
    Ok(program)
}

/// Says why a test is skipped, past the capture of the test harness.
fn skip(reason: &str) {
    let required = std::env::var_os("ROADSTEAD_CLIENTS").is_some_and(|value| value == "required");
    assert!(!required, "{reason}, and ROADSTEAD_CLIENTS=required");
    let _ = writeln!(std::io::stderr(), "tests/it/parsers: skipped: {reason}");
}

async fn read_by(parser: &Path, kind: &str, file: &Path, image: &str) -> Output {
    let mut command = Command::new(parser);
    // Nobody's own settings, and no way out of this machine.
    command.env_clear().env("HOME", file.parent().unwrap()).env("HTTPS_PROXY", "http://127.0.0.1:9");
    command.args([OsStr::new(kind), file.as_os_str(), image.as_ref()]).output().await.unwrap()
}

/// A mirror with TLS that gives nothing to who is not known, and the files by which it is pulled from.
struct Scene {
    _upstream: Upstream,
    mirror: Mirror,
    folder: tempfile::TempDir,
    /// What comes with a pull: the digests of the manifest and of its layers.
    digests: Vec<String>,
}

impl Scene {
    async fn new() -> Self {
        let upstream = Upstream::start().await;
        let image = image(5, &[70_000, 10]);
        upstream.push(REPOSITORY, Some(TAG), &image);
        let layers = image.layers.iter().map(|layer| layer.digest.clone());
        let digests = std::iter::once(image.manifest.digest.clone()).chain(layers).collect();
        let folder = tempfile::tempdir().unwrap();
        let (servers, clients) = (Authority::new("servers").unwrap(), Authority::new("clients").unwrap());
        let setup = Setup::of(&upstream);
        let made = servers.server(&["localhost".to_owned()]).unwrap();
        let (cert, key) = (setup.file("tls.crt", &made.certificate), setup.file("tls.key", &made.key));
        let ca = setup.file("clients.pem", &clients.certificate);
        let users = format!("alice:{}\n", bcrypt::hash("in \"wonderland", 4).unwrap());
        let users = setup.file("users", &users);
        let tls = format!("listen = [\"127.0.0.1:0\"]\ncert = {cert:?}\nkey = {key:?}\nclient_ca = {ca:?}");
        let mirror = setup.set("tls", &tls).set("access", &format!("htpasswd = {users:?}")).start().await;
        let node = clients.client("node-7").unwrap();
        for (name, text) in [
            ("ca.pem", servers.certificate.as_str()),
            ("login", "alice:in \"wonderland\n"),
            ("node.crt", &node.certificate),
            ("node.key", &node.key),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { _upstream: upstream, mirror, folder, digests }
    }

    /// What is written for a client that is told these files as well; its `registries.yaml`, as if it were where it says.
    async fn write(&self, client: &str, options: &[(&str, &str)]) -> PathBuf {
        let mirror = format!("https://localhost:{}", self.mirror.tls_address().port());
        let root = tempfile::tempdir_in(self.folder.path()).unwrap().keep();
        let at = |name: &str| self.folder.path().join(name).to_str().unwrap().to_owned();
        let mut arguments: Vec<_> =
            ["client-config", client, "--mirror", &mirror, "--upstream", REGISTRY, "--ca"]
                .map(str::to_owned)
                .to_vec();
        arguments.push(at("ca.pem"));
        arguments.extend(options.iter().flat_map(|(option, file)| [(*option).to_owned(), at(file)]));
        arguments.extend(["--write", "--root", root.to_str().unwrap()].map(str::to_owned));
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        good(&roadstead(&arguments, &[]).await);
        let home = root.join("etc/rancher").join(client);
        let file = home.join("registries.yaml");
        let written = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, written.replace(&format!("/etc/rancher/{client}"), home.to_str().unwrap()))
            .unwrap();
        file
    }
}

#[tokio::test]
async fn the_library_of_k3s_and_rke2_pulls_by_what_is_written_for_them() {
    let Some(parser) = parsers() else { return };
    let scene = Scene::new().await;
    let image = format!("{REGISTRY}/{REPOSITORY}:{TAG}");
    let login = [("--login-file", "login")];
    let shown = [("--client-cert", "node.crt"), ("--client-key", "node.key")];
    for (client, options) in [("k3s", &login[..]), ("rke2", &login), ("k3s", &shown), ("rke2", &shown)] {
        let file = scene.write(client, options).await;
        let pulled = read_by(parser, "rancher", &file, &image).await;
        assert!(pulled.status.success(), "{client} {options:?}: {}", text(&pulled.stderr));
        assert_eq!(text(&pulled.stdout).lines().collect::<Vec<_>>(), scene.digests, "{client} {options:?}");
    }
    // It is the file that does it.
    let file = scene.write("k3s", &[]).await;
    let refused = read_by(parser, "rancher", &file, &image).await;
    assert!(
        !refused.status.success() && text(&refused.stderr).contains("UNAUTHORIZED"),
        "{}",
        text(&refused.stderr)
    );
    std::fs::write(&file, "mirror: {}\n").unwrap();
    let strange = read_by(parser, "rancher", &file, &image).await;
    assert!(text(&strange.stderr).contains("field mirror not found"), "{}", text(&strange.stderr));
}

#[tokio::test]
async fn the_library_of_cri_o_and_podman_looks_at_the_mirror_first_and_at_the_registry_then() {
    let Some(parser) = parsers() else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().to_str().unwrap();
    for (client, mirror, insecure) in
        [("cri-o", "http://mirror.example:5000", true), ("podman", "https://mirror.example:5000", false)]
    {
        let upstreams = ["--upstream", "docker.io", "--upstream", "quay.io"];
        let options = ["client-config", client, "--mirror", mirror, "--write", "--root", root];
        good(&roadstead(&[&options[..], &upstreams[..]].concat(), &[]).await);
        let directory = folder.path().join("etc/containers/registries.conf.d");
        for (image, named) in
            [("nginx:1.27", "docker.io/library/nginx:1.27"), ("quay.io/team/app:v1", "quay.io/team/app:v1")]
        {
            let looked = read_by(parser, "containers", &directory, image).await;
            assert!(looked.status.success(), "{client} {image}: {}", text(&looked.stderr));
            let expected =
                format!("mirror.example:5000/{named} insecure={insecure}\n{named} insecure=false\n");
            assert_eq!(text(&looked.stdout), expected, "{client} {image}");
        }
        let none = read_by(parser, "containers", &directory, "ghcr.io/team/app:v1").await;
        assert!(text(&none.stderr).contains("nothing is said of"), "{client}");
    }
}
