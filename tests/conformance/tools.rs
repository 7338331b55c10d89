//! What is built with Go: once for each version, and again by nobody.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use crate::go::{go, last_line, make};
use crate::support::images::sha256;

/// The programs.
#[derive(Debug)]
pub(crate) struct Tools {
    /// The registry; see `tools/registry.go`.
    pub(crate) registry: PathBuf,
    /// The conformance suite.
    pub(crate) suite: PathBuf,
}

const SUITE: &str = "github.com/opencontainers/distribution-spec/conformance";

/// The tools, or nothing where they cannot be had, which has then been said.
pub(crate) fn tools() -> Option<&'static Tools> {
    static TOOLS: OnceLock<Option<Tools>> = OnceLock::new();
    TOOLS.get_or_init(build).as_ref()
}

/// How often the modules are asked for, where a network fails.
const ATTEMPTS: u32 = 4;

/// Says why a test is skipped, past the capture of the test harness; fails it where `ROADSTEAD_CONFORMANCE=required`.
fn skip(reason: &str) {
    let required = std::env::var_os("ROADSTEAD_CONFORMANCE").is_some_and(|value| value == "required");
    assert!(!required, "{reason}, and ROADSTEAD_CONFORMANCE=required");
    let _ = writeln!(std::io::stderr(), "tests/conformance: skipped: {reason}");
}

/// Where what is built and downloaded for these tests is kept.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance")
}

fn build() -> Option<Tools> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/tools");
    let Some(version) = go(&sources, &["version".as_ref()]).filter(|output| output.status.success()) else {
        skip("the go command is not at hand (https://go.dev/dl, 1.24 or later)");
        return None;
    };
    let mut identity = String::from_utf8_lossy(&version.stdout).into_owned();
    for file in ["go.mod", "go.sum", "registry.go"] {
        identity.push_str(&std::fs::read_to_string(sources.join(file)).unwrap());
    }
    let folder = folder().join(&sha256(identity.as_bytes())["sha256:".len()..][..16]);
    let tools = Tools { registry: folder.join("registry"), suite: folder.join("suite") };
    if tools.registry.is_file() && tools.suite.is_file() {
        return Some(tools);
    }
    std::fs::create_dir_all(&folder).unwrap();
    // Apart from building, so that a network that is not there is told from sources that are wrong. It fetches what is
    // built and nothing else, as building does.
    for attempt in 1.. {
        let fetched = go(&sources, &["list", "-deps", ".", SUITE].map(OsStr::new)).unwrap();
        if fetched.status.success() {
            break;
        }
        let why = last_line(&fetched.stderr);
        if attempt == ATTEMPTS {
            skip(&format!(
                "the Go modules of tests/conformance/tools/go.mod cannot be fetched by `go list` (GOPROXY): {why}"
            ));
            return None;
        }
        let _ = writeln!(std::io::stderr(), "tests/conformance: asked again for the Go modules: {why}");
        std::thread::sleep(Duration::from_secs(5));
    }
    make(&sources, &tools.registry, ".");
    make(&sources, &tools.suite, SUITE);
    Some(tools)
}
