//! The suite of version 1.1 of the specification.

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::junit::{Case, End, cases, ended};
use crate::support::images::image;
use crate::tools::{Tools, tools};
use crate::world::{World, push_blob, push_manifest};

/// What every test's name begins with.
const TITLE: &str = "OCI Distribution Conformance Tests";

/// Runs the suite against this address; what came of it.
fn run(
    tools: &Tools,
    address: SocketAddr,
    repository: &str,
    settings: &[(&str, &str)],
    skip: &str,
) -> Vec<Case> {
    let folder = tempfile::tempdir().unwrap();
    let mut suite = Command::new(&tools.suite);
    suite.env_clear().current_dir(folder.path()).stdin(Stdio::null());
    suite.env("OCI_ROOT_URL", format!("http://{address}")).env("OCI_NAMESPACE", repository);
    suite.env("OCI_CROSSMOUNT_NAMESPACE", format!("{repository}-mounted"));
    suite.env("OCI_REPORT_DIR", folder.path()).envs(settings.iter().copied());
    if !skip.is_empty() {
        suite.arg(format!("-ginkgo.skip={skip}"));
    }
    let output = suite.output().unwrap();
    let report = std::fs::read_to_string(folder.path().join("junit.xml"));
    let report = report.unwrap_or_else(|_| panic!("no report: {}", String::from_utf8_lossy(&output.stdout)));
    let mut found = cases(&report);
    // The report itself is listed as a test of its own.
    found.retain(|case| case.name.starts_with(TITLE));
    for case in &mut found {
        case.name = case.name[TITLE.len()..].trim().to_owned();
    }
    found
}

fn in_category<'a>(all: &'a [Case], category: &str) -> Vec<&'a Case> {
    all.iter().filter(|case| case.name.starts_with(category)).collect()
}

/// Everything of these categories passed, but for what was skipped, which is said.
fn assert_passed(cases: &[Case], categories: &[(&str, usize)], how: &str) {
    for (category, least) in categories {
        let of_it = in_category(cases, category);
        let failed: Vec<_> = of_it.iter().filter(|case| case.end == End::Failed).collect();
        assert!(failed.is_empty(), "{how}: {category}: {failed:#?}");
        let passed = of_it.iter().filter(|case| case.end == End::Passed).count();
        assert!(passed >= *least, "{how}: only {passed} of {category} passed: {of_it:#?}");
        let _ = writeln!(std::io::stderr(), "tests/conformance: {how}: {category}: {passed} passed");
    }
    let mut skipped = ended(cases, End::Skipped);
    skipped.retain(|name| categories.iter().any(|(category, _)| name.starts_with(category)));
    skipped.dedup();
    let _ = writeln!(std::io::stderr(), "tests/conformance: {how}: the suite skips: {}", skipped.join("; "));
}

const EVERYTHING: [(&str, &str); 4] = [
    ("OCI_TEST_PULL", "1"),
    ("OCI_TEST_PUSH", "1"),
    ("OCI_TEST_CONTENT_DISCOVERY", "1"),
    ("OCI_TEST_CONTENT_MANAGEMENT", "1"),
];

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_in_full_where_the_mirror_reads_for_a_registry() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    let alone = world.registry.address;
    let directly = run(tools, alone, "conformance/direct", &EVERYTHING, "");
    assert_eq!(ended(&directly, End::Failed), [""; 0], "the registry alone");
    let address = world.router.address();
    let mirrored = tokio::task::block_in_place(|| run(tools, address, "conformance/full", &EVERYTHING, ""));
    let categories = [("Pull", 20), ("Push", 20), ("Content Discovery", 12), ("Content Management", 5)];
    assert_passed(&mirrored, &categories, "in full by the router");
    assert_eq!(mirrored.len(), directly.len());
    assert_eq!(ended(&mirrored, End::Failed), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suite_passes_read_only_over_what_a_registry_holds() {
    let Some(tools) = tools() else { return };
    let world = World::start(tools).await;
    let (registry, repository) = (world.registry.address, "conformance/held");
    let held = image(1, &[1000]);
    for blob in held.blobs() {
        push_blob(registry, repository, blob).await;
    }
    for tag in ["one", "two", "three", "four"] {
        push_manifest(registry, repository, tag, &held.manifest).await;
    }
    let settings = [
        ("OCI_TEST_PULL", "1"),
        ("OCI_TEST_CONTENT_DISCOVERY", "1"),
        ("OCI_TAG_NAME", "one"),
        ("OCI_TAG_LIST", "one,two,three,four"),
        ("OCI_MANIFEST_DIGEST", &held.manifest.digest),
        ("OCI_BLOB_DIGEST", &held.layers[0].digest),
    ];
    // Some of the referrers that it asks for are of manifests that it would have pushed itself.
    let cases = tokio::task::block_in_place(|| {
        run(
            tools,
            world.mirror.address(),
            repository,
            &settings,
            r"listing references\) GET request to (existing|missing)",
        )
    });
    assert_passed(&cases, &[("Pull", 14), ("Content Discovery", 5)], "read-only");
    assert_eq!(ended(&cases, End::Failed), [""; 0]);
}
