//! The conformance suite, a program that knows several versions of the specification (`OCI_VERSION`): 1.1, and `dev`, which
//! is what comes after it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::images::{artifact, image};
use crate::tools::{Tools, tools};
use crate::world::{World, push_blob, push_manifest};

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

/// Kinds of content that pass in full beside them: other digests, what is large, what is empty, what refers to something.
const CONTENT: [&str; 10] = [
    "Blobs sha256",
    "Blobs sha512",
    "Digest Algorithm sha512",
    "Image with Large Manifest",
    "Empty Index",
    "No Layers",
    "Artifact without Layers",
    "Artifacts with Subject",
    "Index with Subject",
    "Missing Subject",
];

/// What a run said of each part of the specification and each kind of content, and which of its tests failed.
#[derive(Debug)]
struct Report {
    parts: Vec<(String, String)>,
    failed: Vec<String>,
}

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
        let report = Self::parse(&String::from_utf8_lossy(&output.stdout));
        assert!(!report.parts.is_empty(), "no report: {}", String::from_utf8_lossy(&output.stderr));
        report
    }

    /// What it prints, since `results.yaml` is not written where content is given to it to read: each test with its end,
    /// and below them two tables, of the parts of the specification and of the kinds of content.
    fn parse(printed: &str) -> Self {
        let tables = printed.lines().skip_while(|line| *line != "API conformance:");
        let parts = tables.filter_map(|line| line.strip_prefix("  ")?.split_once("..:"));
        let parts = parts.map(|(part, end)| (part.trim_end_matches('.').to_owned(), end.trim().to_owned()));
        let tests = printed.lines().take_while(|line| *line != "Configuration:");
        let tests = tests.filter_map(|line| line.trim_start().strip_prefix("OCI Conformance Test/"));
        let ended = tests.filter_map(|line| line.rsplit_once(": "));
        let failed =
            ended.filter(|(_, end)| ["FAIL", "Error"].contains(end)).map(|(test, _)| test.to_owned());
        Self { parts: parts.collect(), failed: failed.collect() }
    }

    fn of(&self, part: &str) -> &str {
        self.parts.iter().find(|(name, _)| name == part).map_or("", |(_, end)| end.as_str())
    }
}

/// Deleting is left out, as a mirror keeps what upstream deletes; so is of what writes what this registry does not know:
/// uploads that are cancelled, tags as parameters, and layers that were never pushed since nobody may distribute them.
const LEFT_OUT: [(&str, &str); 6] = [
    ("OCI_DATA_NONDISTRIBUTABLE", "false"),
    ("OCI_API_BLOBS_UPLOAD_CANCEL", "false"),
    ("OCI_API_MANIFESTS_TAG_PARAM", "false"),
    ("OCI_API_BLOBS_DELETE", "false"),
    ("OCI_API_MANIFESTS_DELETE", "false"),
    ("OCI_API_TAGS_DELETE", "false"),
];

/// Nothing failed, and of pulling and content discovery all passed that the registry alone passes.
fn assert_as_good(mirrored: &Report, directly: &Report, how: &str) {
    assert_eq!(directly.failed, [""; 0], "{how}: the registry alone");
    assert_eq!(mirrored.failed, [""; 0], "{how}");
    for part in PULL_AND_DISCOVERY {
        assert_eq!(mirrored.of(part), directly.of(part), "{how}: {part}: {mirrored:#?}");
    }
    assert_eq!(mirrored.of("Blob get"), "Pass", "{how}");
    let (passed, others): (Vec<_>, Vec<_>) = mirrored.parts.iter().partition(|(_, end)| end == "Pass");
    let others: Vec<_> = others.iter().map(|(part, end)| format!("{part}: {end}")).collect();
    let (passed, others) = (passed.len(), others.join("; "));
    let _ = writeln!(std::io::stderr(), "tests/conformance: {how}: {passed} parts passed; others: {others}");
}

async fn in_full(tools: &Tools, version: &str) {
    let world = World::start(tools).await;
    let (alone, behind) = (world.registry.address, world.router.address());
    let [directly, mirrored] = tokio::task::block_in_place(|| {
        [(alone, "conformance/direct"), (behind, "conformance/full")]
            .map(|(at, repository)| Report::run(&tools.suite, at, version, repository, &LEFT_OUT))
    });
    let how = format!("{version}, in full by the router");
    assert_as_good(&mirrored, &directly, &how);
    for part in PULL_AND_DISCOVERY.into_iter().chain(CONTENT) {
        assert_eq!(mirrored.of(part), "Pass", "{how}: {part}: {mirrored:#?}");
    }
}

async fn read_only(tools: &Tools, version: &str) {
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
    let mut settings = LEFT_OUT.to_vec();
    settings.extend([
        ("OCI_API_PUSH", "false"),
        // Of content that it does not know the suite does not keep the headers that it then asks for; in full it does.
        ("OCI_API_MANIFESTS_DIGEST_HEADER", "false"),
        ("OCI_RO_DATA_TAGS", "one two"),
        ("OCI_RO_DATA_MANIFESTS", manifests.as_str()),
        ("OCI_RO_DATA_BLOBS", blobs.as_str()),
        ("OCI_RO_DATA_REFERRERS", held.manifest.digest.as_str()),
    ]);
    let [directly, mirrored] = tokio::task::block_in_place(|| {
        [registry, world.mirror.address()]
            .map(|at| Report::run(&tools.suite, at, version, repository, &settings))
    });
    assert_as_good(&mirrored, &directly, &format!("{version}, read-only"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_read_only_and_in_full_for_both_versions() {
    let Some(tools) = tools() else { return };
    for version in ["1.1", "dev"] {
        read_only(tools, version).await;
        in_full(tools, version).await;
    }
}

#[test]
fn a_report_is_read() {
    let report = Report::parse(
        "Test results\nOCI Conformance Test: FAIL\n  OCI Conformance Test/ping: Pass\n    OCI Conformance Test/image/tag \
         list: FAIL\n     - Get \"http://a/tags/list\": refused: FAIL\n\nConfiguration:\n  apis:\n    ping: true\n\n\
         API conformance:\n  Blob get......................:       Pass\n  Referrers.....................:       \
         FAIL\n\nData conformance:\n  Sparse Manifests..............:   Disabled\n",
    );
    assert_eq!(
        (report.of("Blob get"), report.of("Sparse Manifests"), report.of("ping")),
        ("Pass", "Disabled", "")
    );
    assert_eq!(report.of("Referrers"), "FAIL");
    assert_eq!(report.failed, ["image/tag list"]);
}
