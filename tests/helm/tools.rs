//! What is built with Go, or fetched as a Go module: once for each version, and again by nobody.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::go::{go, last_line, make};
use crate::project;

/// The programs.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) helm: PathBuf,
    /// See `tools/manifests.go`.
    pub(crate) manifests: PathBuf,
}

/// A module of which files are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Module {
    pub(crate) path: &'static str,
    pub(crate) version: &'static str,
    /// What `go.sum` would say of it.
    pub(crate) sum: &'static str,
}

const HELM: &str = "helm.sh/helm/v3/cmd/helm";

/// The tools, or nothing where they cannot be had, which has then been said.
pub(crate) fn tools() -> Option<&'static Tools> {
    static TOOLS: OnceLock<Option<Tools>> = OnceLock::new();
    TOOLS.get_or_init(build).as_ref()
}

/// The directory of a module, or nothing where it cannot be had, which has then been said.
pub(crate) fn module(module: Module) -> Option<PathBuf> {
    let name = format!("{}@{}", module.path, module.version);
    let home = folder();
    std::fs::create_dir_all(&home).unwrap();
    let fetched = go(&home, &["mod", "download", "-json", &name].map(OsStr::new))?;
    let told: Value = serde_json::from_slice(&fetched.stdout).unwrap_or_default();
    if let (true, Some(directory)) = (fetched.status.success(), told["Dir"].as_str()) {
        assert_eq!(told["Sum"], module.sum, "{name} is not what it was");
        return Some(directory.into());
    }
    let error = told["Error"].as_str().map_or_else(|| last_line(&fetched.stderr), str::to_owned);
    skip(&format!("the Go module {name} cannot be fetched: {error}"));
    None
}

/// Says why a test is skipped, past the capture of the test harness; fails it where `ROADSTEAD_HELM=required`.
pub(crate) fn skip(reason: &str) {
    let required = std::env::var_os("ROADSTEAD_HELM").is_some_and(|value| value == "required");
    assert!(!required, "{reason}, and ROADSTEAD_HELM=required");
    let _ = writeln!(std::io::stderr(), "tests/helm: skipped: {reason}");
}

/// Where what is built and made for these tests is kept.
pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("helm")
}

fn build() -> Option<Tools> {
    let sources = project("tests/helm/tools");
    let Some(version) = go(&sources, &["version".as_ref()]).filter(|output| output.status.success()) else {
        skip("the go command is not at hand (https://go.dev/dl, 1.26 or later)");
        return None;
    };
    let mut identity = version.stdout;
    for file in ["go.mod", "go.sum", "manifests.go"] {
        identity.extend(std::fs::read(sources.join(file)).unwrap());
    }
    let identity: String = Sha256::digest(&identity)[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let folder = folder().join(identity);
    let tools = Tools { helm: folder.join("helm"), manifests: folder.join("manifests") };
    if tools.helm.is_file() && tools.manifests.is_file() {
        return Some(tools);
    }
    std::fs::create_dir_all(&folder).unwrap();
    // Apart from building, so that a network that is not there is told from sources that are wrong. It fetches what is
    // built and nothing else, as building does.
    let fetched = go(&sources, &["list", "-deps", ".", HELM].map(OsStr::new)).unwrap();
    if !fetched.status.success() {
        skip(&format!("the Go modules cannot be fetched: {}", last_line(&fetched.stderr)));
        return None;
    }
    make(&sources, &tools.manifests, ".");
    make(&sources, &tools.helm, HELM);
    Some(tools)
}
