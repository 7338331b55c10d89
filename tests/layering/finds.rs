//! Each rule finds a made-up line that breaks it, and lets the line next to it pass.

use crate::rules::{self, Violation};
use crate::source::Source;

fn told(found: &[Violation]) -> Vec<String> {
    found
        .iter()
        .map(|violation| violation.to_string().split(": ").next().unwrap_or_default().to_owned())
        .collect()
}

fn check(rule: fn(&Source) -> Vec<Violation>, path: &str, text: &str, expected: &[&str]) {
    assert_eq!(told(&rule(&Source::new(path, text))), expected, "{text}");
}

#[test]
fn an_edge_that_is_not_in_the_table_is_found() {
    let edges = rules::edges;
    check(edges, "src/oci/a.rs", "use crate::oci::B;\nuse crate::store::C;", &["src/oci/a.rs:2"]);
    check(edges, "src/store/a.rs", "use crate::{oci::B,\n    mirror::C};", &["src/store/a.rs:2"]);
    check(edges, "src/mirror/a.rs", "fn f() -> crate::http::Body { todo() }", &["src/mirror/a.rs:1"]);
    check(edges, "src/http/a.rs", "use super::super::oci::B;", &["src/http/a.rs:1"]);
    check(edges, "src/http/a.rs", "#[cfg(test)]\nmod tests { use crate::oci::B; }", &["src/http/a.rs:2"]);
    check(edges, "src/oci/a.rs", "use crate::*;", &["src/oci/a.rs:1"]);
    check(edges, "src/main.rs", "use roadstead::app::A;\nuse roadstead::store::B;", &["src/main.rs:2"]);
    check(edges, "src/other/a.rs", "", &["src/other/a.rs:1"]);
}

#[test]
fn what_is_only_spoken_of_is_no_edge() {
    check(rules::edges, "src/oci/a.rs", "//! See `crate::store`.\nconst A: &str = \"crate::store::B\";", &[]);
    check(rules::edges, "src/oci/a.rs", "use super::B;\npub(in crate::oci) struct C;", &[]);
    check(rules::edges, "src/server/a.rs", "use crate::mirror::Mirror;\nuse hyper::http::HeaderMap;", &[]);
}

#[test]
fn a_crate_in_the_wrong_module_is_found() {
    check(rules::crates, "src/mirror/a.rs", "use hyper::Uri;", &["src/mirror/a.rs:1"]);
    check(
        rules::crates,
        "src/store/a.rs",
        "async fn f() { tokio::time::sleep(A).await }",
        &["src/store/a.rs:1"],
    );
    check(rules::crates, "src/server/a.rs", "use hyper::Uri;", &[]);
    check(rules::crates, "src/app/a.rs", "use crate::http::Body;", &[]);
}

#[test]
fn a_look_at_a_raw_request_is_found() {
    check(
        rules::raw_requests,
        "src/mirror/a.rs",
        "let a = b\n    .headers()\n    .get(c);",
        &["src/mirror/a.rs:2"],
    );
    check(rules::raw_requests, "src/server/a.rs", "let a = b.headers().get(c);", &[]);
}

#[test]
fn a_use_of_the_file_system_is_found() {
    let files = rules::files;
    check(
        files,
        "src/store/a.rs",
        "use std::{fs, io};\nfn f() { fs::read(a); }",
        &["src/store/a.rs:1", "src/store/a.rs:2"],
    );
    check(files, "src/mirror/a.rs", "async fn f() { tokio::fs::read(a).await }", &["src/mirror/a.rs:1"]);
    check(files, "src/http/a.rs", "use std::fs::File;\nfn f() { File::open(a) }", &["src/http/a.rs:2"]);
    check(files, "src/http/a.rs", "fn f(a: &std::fs::File) { a.then(std::fs::File::as_fd) }", &[]);
    check(files, "src/store/fs.rs", "use std::fs;", &[]);
    check(files, "src/store/a.rs", "use super::fs;\nfn f() { fs::read(a) }", &[]);
    check(files, "src/store/a.rs", "#[cfg(test)]\nmod tests { use std::fs; }", &[]);
}

#[test]
fn a_status_of_a_failure_is_found() {
    let statuses = rules::statuses;
    check(
        statuses,
        "src/server/a.rs",
        "use hyper::StatusCode;\nlet a = StatusCode::NOT_FOUND;",
        &["src/server/a.rs:2"],
    );
    check(
        statuses,
        "src/server/a.rs",
        "use hyper::StatusCode as S;\nlet a = S::BAD_GATEWAY;",
        &["src/server/a.rs:2"],
    );
    check(
        statuses,
        "src/server/a.rs",
        "let a = StatusCode::PARTIAL_CONTENT.min(StatusCode::from_u16(b));",
        &[],
    );
    check(statuses, "src/server/respond.rs", "let a = hyper::StatusCode::NOT_FOUND;", &[]);
    check(statuses, "src/server/tests.rs", "let a = hyper::StatusCode::NOT_FOUND;", &[]);
}

#[test]
fn a_part_that_is_built_elsewhere_is_found() {
    let text = "use crate::store::{Options, Store};\nlet a = Store::open(b, Options);";
    check(rules::construction, "src/mirror/a.rs", text, &["src/mirror/a.rs:2"]);
    check(rules::construction, "src/app/a.rs", text, &[]);
    check(rules::construction, "src/mirror/a.rs", "let a = super::Mirror::new(b);", &["src/mirror/a.rs:1"]);
    check(
        rules::construction,
        "src/main.rs",
        "let a = roadstead::server::Service::new(b);",
        &["src/main.rs:1"],
    );
    check(
        rules::construction,
        "src/config/a.rs",
        "use crate::config::Upstream;\nlet a = Upstream::new(b);",
        &[],
    );
}

#[test]
fn a_name_that_says_nothing_is_found() {
    let named = |path| told(rules::names(path).as_slice());
    assert_eq!(named("src/store/utils.rs"), ["src/store/utils.rs:1"]);
    assert_eq!(named("tests/common/mod.rs"), ["tests/common/mod.rs:1"]);
    assert!(named("src/store/commons.rs").is_empty());
}

#[test]
fn a_long_file_is_found_and_long_tests_are_not() {
    let long = |text: &str| told(rules::length(&Source::new("src/store/a.rs", text)).as_slice());
    assert_eq!(long(&"fn a() {}\n".repeat(601)), ["src/store/a.rs:601"]);
    assert!(long(&"fn a() {}\n".repeat(600)).is_empty());
    assert!(long(&format!("#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(900))).is_empty());
}
