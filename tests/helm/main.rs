//! The Helm chart, rendered by the real helm: linted, held against Kubernetes' own schemas and its rules for pods, against
//! the manifests that are in `golden`, and its configuration against the mirror itself.
//!
//! `values` has the files of values that are rendered, one for each way in which the chart is used. helm and the program
//! that reads manifests are Go modules at fixed versions (`tools/go.mod`), built into `target` on first use; Kubernetes'
//! schemas come as a Go module too. A test that cannot get them says so and passes, except under `ROADSTEAD_HELM=required`.
//!
//! With `ROADSTEAD_TEST_WRITE=1` the tests write what they would otherwise compare: the golden manifests, the table of the
//! chart's README, and the descriptions in its schema.

#![allow(clippy::unwrap_used, reason = "in a test, what cannot go on should stop with a trace")]

#[path = "../support/go.rs"]
mod go;
#[path = "../clients/http.rs"]
#[allow(dead_code, reason = "shared with tests/clients, which uses more of it")]
mod http;
#[path = "../clients/node.rs"]
#[allow(dead_code, reason = "as above")]
mod node;
#[path = "../clients/process.rs"]
#[allow(dead_code, reason = "as above")]
#[expect(clippy::print_stderr, reason = "the logs of what was running are shown when a test fails")]
mod process;

mod chart;
mod configuration;
mod described;
mod monitoring;
#[path = "../support/pages.rs"]
mod pages;
mod pod;
mod rendered;
mod schemas;
mod task_pages;
mod tools;
mod values;
#[path = "../support/variants.rs"]
mod variants;

use std::path::{Path, PathBuf};

/// A file or directory of the project.
fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A file is as it should be; or is made so, where that is asked for.
#[track_caller]
fn is_or_becomes(path: &Path, expected: &str) {
    if std::env::var_os("ROADSTEAD_TEST_WRITE").is_some_and(|value| value == "1") {
        std::fs::write(path, expected).unwrap();
        return;
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    if found == expected {
        return;
    }
    let line = found.lines().zip(expected.lines()).position(|(found, expected)| found != expected);
    let at = line.unwrap_or_else(|| found.lines().count().min(expected.lines().count()));
    panic!(
        "{}:{}: has\n  {}\nand should have\n  {}\nROADSTEAD_TEST_WRITE=1 cargo test --test helm writes it anew",
        path.display(),
        at + 1,
        found.lines().nth(at).unwrap_or("(no more lines)"),
        expected.lines().nth(at).unwrap_or("(no more lines)"),
    );
}
