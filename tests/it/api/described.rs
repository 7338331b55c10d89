//! The description of the API and the server, held against each other.

use std::collections::BTreeSet;

use serde_json::Value;

use super::wire::{address, asked, description, get};
use crate::support::client::request;
use crate::support::mirror::Setup;
use crate::support::upstream::Upstream;

/// Every path with its method, as the description has them.
fn described() -> BTreeSet<(String, String)> {
    let description = description();
    let paths = description["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().keys();
        methods.map(move |method| (method.to_uppercase(), path.clone()))
    });
    all.collect()
}

#[tokio::test]
async fn every_path_of_the_server_is_described_and_every_path_described_is_there() {
    let mirror = Setup::of(&Upstream::start().await).start().await;
    let (_, paths) = get(&mirror, "/api/v1/").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let served = paths["routes"].as_array().unwrap().iter();
    let served: BTreeSet<_> = served.map(|route| (text(&route["method"]), text(&route["path"]))).collect();
    assert_eq!(served, described());
    let answer = asked(&mirror, "GET", "/api/v1/openapi.json").send().await.expect(200);
    assert_eq!(serde_json::from_slice::<Value>(&answer.body).unwrap(), description());
    for (method, path) in described() {
        let answer = asked(&mirror, &method, &path).send().await;
        let document: Value = serde_json::from_slice(&answer.body).unwrap();
        let code = document["error"]["code"].as_str();
        assert!(!matches!(code, Some("unknown_path" | "method_not_allowed")), "{method} {path}: {document}");
        let other = if method == "GET" { "POST" } else { "GET" };
        if !described().contains(&(other.to_owned(), path.clone())) {
            assert_eq!(asked(&mirror, other, &path).send().await.status, 405, "{other} {path}");
        }
    }
    mirror.stop().await;
}

#[tokio::test]
async fn the_status_tells_of_the_process_its_store_and_its_upstreams() {
    let mirror = Setup::of(&Upstream::start().await).start().await;
    let (status, document) = get(&mirror, "/api/v1/status").await;
    assert_eq!(status, 200);
    assert_eq!(document["process"], std::process::id());
    assert_eq!(document["phase"], "serving");
    assert_eq!(document["store"]["path"], mirror.data().to_str().unwrap());
    assert_eq!(document["upstreams"][0]["name"], "registry.test");
    let head = asked(&mirror, "HEAD", "/api/v1/status").send().await.expect(200);
    assert!(head.body.is_empty());
    mirror.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_with_what_to_do_about_it() {
    let mirror = Setup::of(&Upstream::start().await).start().await;
    for (target, status, code) in [
        ("/api/v1/nothing", 404, "unknown_path"),
        ("/api/", 404, "unknown_path"),
        ("/api/v2/status", 404, "unknown_path"),
        ("/api/v1/status?verbose=1", 400, "bad_request"),
    ] {
        let (got, document) = get(&mirror, target).await;
        assert_eq!((got, document["error"]["code"].as_str()), (status, Some(code)), "{target}");
        assert!(document["error"]["hint"].is_string(), "{document}");
    }
    let deleted = request(address(&mirror), "DELETE", "/api/v1/status").send().await;
    assert_eq!((deleted.status, deleted.header("allow")), (405, Some("GET, HEAD, POST")));
    mirror.stop().await;
}
