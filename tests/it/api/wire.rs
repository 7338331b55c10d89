//! A client of the API that holds each answer against `docs/openapi.json`.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::support::client::{Answer, Request, request};
use crate::support::mirror::Mirror;

/// The description as it is in the tree.
pub(super) fn description() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Gets a path, perhaps with a query; gives the status and the document.
pub(super) async fn get(mirror: &Mirror, target: &str) -> (u16, Value) {
    described(asked(mirror, "GET", target).send().await, "get", target)
}

/// Posts JSON to a path.
pub(super) async fn post(mirror: &Mirror, path: &str, content: Value) -> (u16, Value) {
    let request = asked(mirror, "POST", path).header("Content-Type", "application/json");
    must_fit(&description(), &content, &request_schema(path), path);
    described(request.body(content.to_string().as_bytes()).send().await, "post", path)
}

/// Any request, to be bent first.
pub(super) fn asked(mirror: &Mirror, method: &str, target: &str) -> Request {
    request(address(mirror), method, target)
}

pub(super) fn address(mirror: &Mirror) -> SocketAddr {
    mirror.admin_address()
}

/// The document of an answer, after it was held against the description of its path.
pub(super) fn described(answer: Answer, method: &str, target: &str) -> (u16, Value) {
    let path = target.split('?').next().unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let document: Value = serde_json::from_slice(&answer.body).expect("a document");
    let description = description();
    let responses = &description["paths"][path][method]["responses"];
    let schema = match &responses[answer.status.to_string()] {
        Value::Null => "#/components/schemas/Failure".to_owned(),
        _ => format!(
            "#/paths/{}/{method}/responses/{}/content/application~1json/schema",
            path.replace('/', "~1"),
            answer.status
        ),
    };
    must_fit(&description, &document, &schema, target);
    (answer.status, document)
}

fn request_schema(path: &str) -> String {
    format!("#/paths/{}/post/requestBody/content/application~1json/schema", path.replace('/', "~1"))
}

/// Fails unless the document is as the schema at this place of the description says.
#[track_caller]
fn must_fit(description: &Value, document: &Value, place: &str, target: &str) {
    let schema = json!({
        "$ref": place, "components": description["components"], "paths": description["paths"],
    });
    let schema = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let wrong: Vec<_> =
        schema.iter_errors(document).map(|e| format!("{} at {}", e, e.instance_path())).collect();
    assert!(wrong.is_empty(), "{target}: {wrong:#?}\n{document:#}");
}

/// The documents of an answer that comes in lines, each held against this schema of the description.
pub(super) fn lines(answer: &Answer, schema: &str, target: &str) -> Vec<Value> {
    assert_eq!(answer.header("content-type"), Some("application/x-ndjson"), "{answer:?}");
    let (description, place) = (description(), format!("#/components/schemas/{schema}"));
    let lines = answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let documents: Vec<Value> = lines.map(|line| serde_json::from_slice(line).expect("a document")).collect();
    documents.iter().for_each(|document| must_fit(&description, document, &place, target));
    documents
}
