//! The suite's later edition: a program that knows several versions of the specification. It has no release, so it is
//! asked for by its commit, which the module proxy turns into a version; not every proxy does that.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::support::images::{artifact, image};
use crate::tools::{Tools, folder, last_line, tools};
use crate::world::{World, push_blob, push_manifest};

const COMMIT: &str = "97274622c11112caa21efb8c52acca3c6b8fa7f1";

/// How long the proxy is waited for.
const PATIENCE: Duration = Duration::from_secs(120);

/// The parts of the specification that are pulling and content discovery, as its report calls them.
const PULL_AND_DISCOVERY: [&str; 10] = [
    "Ping",
    "Blob get",
    "Blob get range",
    "Blob head",
    "Manifest get by digest",
    "Manifest get by tag",
    "Manifest head by digest",
    "Manifest head by tag",
    "Tag listing",
    "Referrers",
];

/// The program, or nothing where the proxy does not have it, which is said once.
fn program() -> Option<&'static Path> {
    static PROGRAM: OnceLock<Option<PathBuf>> = OnceLock::new();
    let program = PROGRAM.get_or_init(|| {
        let folder = folder().join(COMMIT);
        let program = folder.join("conformance");
        if program.is_file() {
            return Some(program);
        }
        std::fs::create_dir_all(&folder).unwrap();
        match install(&folder) {
            Ok(()) => Some(program),
            Err(why) => {
                let _ = writeln!(
                    std::io::stderr(),
                    "tests/conformance: skipped: OCI_VERSION=1.1 and dev of the suite's later edition, commit \
                     {COMMIT}: {why}; the earlier edition and tests/conformance/beyond.rs run all the same"
                );
                None
            }
        }
    });
    program.as_deref()
}

fn install(folder: &Path) -> Result<(), String> {
    let mut go = Command::new("go");
    go.current_dir(folder).args(["install", "-trimpath"]);
    go.arg(format!("github.com/opencontainers/distribution-spec/conformance@{COMMIT}"));
    go.env("GOBIN", folder).env("GOWORK", "off").env("GOFLAGS", "-buildvcs=false").env("CGO_ENABLED", "0");
    go.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = go.spawn().map_err(|error| error.to_string())?;
    let deadline = Instant::now() + PATIENCE;
    while running.try_wait().map_err(|error| error.to_string())?.is_none() {
        if Instant::now() > deadline {
            let _ = running.kill();
            let _ = running.wait();
            return Err("the module proxy takes too long".to_owned());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let ended = running.wait_with_output().map_err(|error| error.to_string())?;
    if ended.status.success() { Ok(()) } else { Err(last_line(&ended.stderr)) }
}

/// What a run said of each part of the specification, and of each kind of content.
#[derive(Debug)]
struct Report(Vec<(String, String)>);

impl Report {
    fn run(
        program: &Path,
        address: SocketAddr,
        version: &str,
        repository: &str,
        settings: &[(&str, &str)],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut suite = Command::new(program);
        suite.env_clear().current_dir(folder.path()).stdin(Stdio::null());
        suite.env("OCI_REGISTRY", address.to_string()).env("OCI_TLS", "disabled").env("OCI_VERSION", version);
        suite.env("OCI_REPO1", repository).env("OCI_REPO2", format!("{repository}-2"));
        suite.env("OCI_RESULTS_DIR", folder.path()).envs(settings.iter().copied());
        let output = suite.output().unwrap();
        let results = std::fs::read_to_string(folder.path().join("results.yaml"));
        Self::parse(&results.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr))))
    }

    /// The two maps at the end of `results.yaml`: `apis` and `data`.
    fn parse(results: &str) -> Self {
        let sections = results.lines().skip_while(|line| !line.starts_with("apis:"));
        let pairs =
            sections.filter(|line| line.starts_with("  ")).filter_map(|line| line.trim().split_once(": "));
        Self(pairs.map(|(part, end)| (part.to_owned(), end.trim_matches('"').to_owned())).collect())
    }

    fn of(&self, part: &str) -> &str {
        self.0.iter().find(|(name, _)| name == part).map_or("", |(_, end)| end.as_str())
    }

    fn failed(&self) -> Vec<&str> {
        let bad = |end: &str| end.eq_ignore_ascii_case("fail") || end.eq_ignore_ascii_case("error");
        self.0.iter().filter(|(_, end)| bad(end)).map(|(name, _)| name.as_str()).collect()
    }
}

/// Deleting is left out: a mirror keeps what upstream deletes.
const NO_DELETES: [(&str, &str); 3] = [
    ("OCI_API_BLOBS_DELETE", "false"),
    ("OCI_API_MANIFESTS_DELETE", "false"),
    ("OCI_API_TAGS_DELETE", "false"),
];

/// Nothing failed that does not fail without the mirror, least of all of pulling and content discovery.
fn assert_as_good(mirrored: &Report, directly: &Report, how: &str) {
    assert!(!mirrored.of("Ping").is_empty(), "{how}: not a report: {mirrored:?}");
    for part in PULL_AND_DISCOVERY {
        assert_eq!(mirrored.of(part), directly.of(part), "{how}: {part}: {mirrored:#?}");
    }
    let (failed, expected) = (mirrored.failed(), directly.failed());
    assert!(failed.iter().all(|part| expected.contains(part)), "{how}: {failed:?} of {mirrored:#?}");
    let others = mirrored.0.iter().filter(|(_, end)| !end.eq_ignore_ascii_case("pass"));
    let others: Vec<_> = others.map(|(part, end)| format!("{part}: {end}")).collect();
    let _ = writeln!(std::io::stderr(), "tests/conformance: {how}: all passed but {}", others.join("; "));
}

async fn in_full(tools: &Tools, program: &Path, version: &str) {
    let world = World::start(tools).await;
    let (alone, behind) = (world.registry.address, world.router.address());
    let [directly, mirrored] = tokio::task::block_in_place(|| {
        [(alone, "conformance/direct"), (behind, "conformance/full")]
            .map(|(at, repository)| Report::run(program, at, version, repository, &NO_DELETES))
    });
    assert_as_good(&mirrored, &directly, &format!("{version}, in full by the router"));
}

async fn read_only(tools: &Tools, program: &Path, version: &str) {
    let world = World::start(tools).await;
    let (registry, repository) = (world.registry.address, "conformance/held");
    let held = image(1, &[1000, 0]);
    let about = artifact(2, &held.manifest);
    for image in [&held, &about] {
        for blob in image.blobs() {
            push_blob(registry, repository, blob).await;
        }
    }
    for reference in ["one", "two"] {
        push_manifest(registry, repository, reference, &held.manifest).await;
    }
    push_manifest(registry, repository, &about.manifest.digest, &about.manifest).await;
    let manifests = format!("{} {}", held.manifest.digest, about.manifest.digest);
    let blobs: Vec<_> = held.blobs().map(|blob| blob.digest.as_str()).collect();
    let blobs = blobs.join(" ");
    let mut settings = NO_DELETES.to_vec();
    settings.extend([
        ("OCI_API_PUSH", "false"),
        ("OCI_RO_DATA_TAGS", "one two"),
        ("OCI_RO_DATA_MANIFESTS", manifests.as_str()),
        ("OCI_RO_DATA_BLOBS", blobs.as_str()),
        ("OCI_RO_DATA_REFERRERS", held.manifest.digest.as_str()),
    ]);
    let [directly, mirrored] = tokio::task::block_in_place(|| {
        [registry, world.mirror.address()].map(|at| Report::run(program, at, version, repository, &settings))
    });
    assert_as_good(&mirrored, &directly, &format!("{version}, read-only"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a module proxy that serves a commit, which not every one does: run it with --ignored"]
async fn the_later_edition_passes_read_only_and_in_full_for_both_versions() {
    let (Some(tools), Some(program)) = (tools(), program()) else { return };
    for version in ["1.1", "dev"] {
        read_only(tools, program, version).await;
        in_full(tools, program, version).await;
    }
}

#[test]
fn a_report_of_the_later_edition_is_read() {
    let report = Report::parse(
        "config:\n  registry: a\n  apis:\n    ping: true\napis:\n  Blob get: Pass\n  Referrers: FAIL\ndata:\n  Sparse: Disabled\n",
    );
    assert_eq!((report.of("Blob get"), report.of("Sparse"), report.of("ping")), ("Pass", "Disabled", ""));
    assert_eq!(report.failed(), ["Referrers"]);
}
