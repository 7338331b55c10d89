use http_body_util::BodyExt;
use hyper::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use serde_json::Value;

use super::super::access::Line;
use super::*;
use crate::oci::{Namespace, Namespaces, Query, Route};
use crate::telemetry::Metrics;

/// An address that comes too often.
const OFTEN: Full = Full::Often { again: Duration::from_millis(2500) };

struct Told {
    status: u16,
    headers: HeaderMap,
    body: String,
}

async fn tell(rejection: &Rejection, head: bool) -> Told {
    let (parts, ()) = hyper::Request::get("/v2/").body(()).unwrap().into_parts();
    let line = Line::begin(&parts, "192.0.2.1:1", Metrics::new());
    let (parts, body) = rejection.reply(&Subject::default()).send(head, line).into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body = String::from_utf8(body.to_vec()).unwrap();
    Told { status: parts.status.as_u16(), headers: parts.headers, body }
}

fn route(path: &str) -> Rejection {
    Rejection::Route(Route::parse(path).unwrap_err())
}

fn select(ns: Option<&str>, name: &str) -> Rejection {
    let namespace = |name: &str| Namespace {
        name: name.to_owned(),
        aliases: Vec::new(),
        path: None,
        hosts: Vec::new(),
        default: false,
    };
    let namespaces = Namespaces::new(&[namespace("docker.io"), namespace("ghcr.io")]).unwrap();
    Rejection::Select(namespaces.select(ns, None, None, name).unwrap_err())
}

/// What comes from outside or from deep inside, and must stay here.
fn poison() -> String {
    "/var/lib/secret https://internal.corp:8443/?token=hush".to_owned()
}

/// Every kind of rejection, with the status, code, level and outcome that it gets.
fn table() -> Vec<(Rejection, u16, &'static str, Level, Outcome)> {
    use Object::{Blob, Manifest, Repository};
    use Outcome::{Failed, Limited, Offline, Refused};
    let no = |object, status| Rejection::Refused(object, Refusal::SaidNo { status });
    let refused = |refusal| Rejection::Refused(Blob, refusal);
    let offline = |object, why, miss| Rejection::Refused(object, Refusal::Offline { why, miss });
    let reason = poison;
    let debug = Level::DEBUG;
    vec![
        (Rejection::Write, 405, "UNSUPPORTED", debug, Refused),
        (route("/"), 404, "NAME_UNKNOWN", debug, Refused),
        (route("/v2/A/manifests/1"), 400, "NAME_INVALID", debug, Refused),
        (route("/v2/a/manifests/.."), 404, "TAG_INVALID", debug, Refused),
        (route("/v2/a/blobs/sha256:1"), 400, "DIGEST_INVALID", debug, Refused),
        (Rejection::Route(Query::parse("ns=a&ns=b").unwrap_err()), 400, "NAME_INVALID", debug, Refused),
        (
            Rejection::Route(Query::parse("n=-1").unwrap_err()),
            400,
            "PAGINATION_NUMBER_INVALID",
            debug,
            Refused,
        ),
        (select(Some("evil.com"), "a"), 404, "NAME_UNKNOWN", debug, Refused),
        (select(None, "evil.com/a"), 404, "NAME_UNKNOWN", debug, Refused),
        (select(None, "a"), 404, "NAME_UNKNOWN", debug, Refused),
        (select(Some("ghcr.io"), "docker.io/a"), 400, "NAME_INVALID", debug, Refused),
        (Rejection::Catalog, 404, "UNSUPPORTED", debug, Refused),
        (Rejection::Loop, 508, "UNAVAILABLE", Level::WARN, Failed),
        (Rejection::Unauthorized, 401, "UNAUTHORIZED", debug, Refused),
        (Rejection::Forbidden, 403, "DENIED", debug, Refused),
        (Rejection::Busy, 503, "UNAVAILABLE", debug, Limited),
        (Rejection::Full(Full::All), 503, "UNAVAILABLE", debug, Limited),
        (Rejection::Full(Full::Address), 429, "TOOMANYREQUESTS", debug, Limited),
        (Rejection::Full(OFTEN), 429, "TOOMANYREQUESTS", debug, Limited),
        (no(Manifest, 404), 404, "MANIFEST_UNKNOWN", debug, Refused),
        (no(Manifest, 410), 404, "MANIFEST_UNKNOWN", debug, Refused),
        (no(Blob, 404), 404, "BLOB_UNKNOWN", debug, Refused),
        (no(Repository, 404), 404, "NAME_UNKNOWN", debug, Refused),
        (no(Repository, 403), 403, "DENIED", debug, Refused),
        (no(Blob, 401), 403, "DENIED", debug, Refused),
        (no(Manifest, 403), 403, "DENIED", debug, Refused),
        (Rejection::Hidden(Manifest), 404, "MANIFEST_UNKNOWN", debug, Refused),
        (Rejection::Hidden(Blob), 404, "BLOB_UNKNOWN", debug, Refused),
        (Rejection::Hidden(Repository), 404, "NAME_UNKNOWN", debug, Refused),
        (refused(Refusal::RefusedUs), 503, "UNAVAILABLE", Level::WARN, Failed),
        (
            refused(Refusal::DidNotAnswer { reason: reason(), status: Some(500) }),
            503,
            "UNAVAILABLE",
            Level::WARN,
            Failed,
        ),
        (refused(Refusal::OutOfTime { reason: reason() }), 504, "UNAVAILABLE", Level::WARN, Failed),
        (refused(Refusal::WrongContent { reason: reason() }), 502, "UNAVAILABLE", Level::ERROR, Failed),
        (refused(Refusal::Limited { retry_after: None }), 429, "TOOMANYREQUESTS", Level::WARN, Limited),
        (refused(Refusal::Crowded), 503, "UNAVAILABLE", debug, Limited),
        (refused(Refusal::Internal { reason: reason() }), 500, "UNKNOWN", Level::ERROR, Failed),
        (offline(Manifest, Why::Offline, OfflineMiss::Unavailable), 503, "UNAVAILABLE", debug, Offline),
        (offline(Blob, Why::Away, OfflineMiss::Unavailable), 503, "UNAVAILABLE", debug, Offline),
        (offline(Manifest, Why::NotWhole, OfflineMiss::NotFound), 404, "MANIFEST_UNKNOWN", debug, Offline),
        (offline(Blob, Why::Offline, OfflineMiss::NotFound), 404, "BLOB_UNKNOWN", debug, Offline),
        // A list that nobody could ask for is never one that is not there.
        (offline(Repository, Why::Offline, OfflineMiss::NotFound), 503, "UNAVAILABLE", debug, Offline),
        (Rejection::Unsatisfiable { size: 7 }, 416, "RANGE_INVALID", debug, Refused),
        (Rejection::LengthUnknown, 503, "UNAVAILABLE", debug, Failed),
        (Rejection::OutOfTime, 504, "UNAVAILABLE", Level::ERROR, Failed),
    ]
}

#[tokio::test]
async fn g10_every_rejection_has_its_status_code_level_and_outcome() {
    for (rejection, status, code, level, outcome) in table() {
        let verdict = rejection.verdict();
        assert_eq!((verdict.level, verdict.outcome), (level, outcome), "{rejection:?}");
        let told = tell(&rejection, false).await;
        assert_eq!(told.status, status, "{rejection:?}");
        assert_eq!(told.headers[CONTENT_TYPE], "application/json");
        let body: Value = serde_json::from_str(&told.body).unwrap();
        assert_eq!(body["errors"][0]["code"], code, "{rejection:?}");
        assert!(!body["errors"][0]["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn g9_t70_the_reason_of_a_failure_is_not_told_to_clients() {
    for (rejection, ..) in table() {
        let told = tell(&rejection, false).await;
        let everything = format!("{:?} {}", told.headers, told.body);
        for secret in ["secret", "internal.corp", "token", "hush", "/var"] {
            assert!(!everything.contains(secret), "{secret} in {everything}");
        }
    }
}

#[tokio::test]
async fn t76_no_rejection_challenges_the_client_but_that_of_the_mirror_itself() {
    for (rejection, ..) in table() {
        let told = tell(&rejection, false).await;
        let own = matches!(rejection, Rejection::Unauthorized);
        assert_eq!(told.status == 401, own, "{rejection:?}");
        let challenge = told.headers.get(WWW_AUTHENTICATE).map(|value| value.to_str().unwrap());
        assert_eq!(challenge, own.then_some("Basic realm=\"roadstead\", charset=\"UTF-8\""), "{rejection:?}");
    }
}

#[tokio::test]
async fn a_limit_of_the_mirror_itself_says_when_to_come_again() {
    for rejection in [Rejection::Busy, Rejection::Full(Full::All), Rejection::Full(Full::Address)] {
        assert_eq!(tell(&rejection, false).await.headers[RETRY_AFTER], "1");
    }
    assert_eq!(tell(&Rejection::Full(OFTEN), false).await.headers[RETRY_AFTER], "3", "not before it may");
    for (full, ends) in [(Full::All, false), (Full::Address, true), (OFTEN, true)] {
        let headers = tell(&Rejection::Full(full), false).await.headers;
        assert_eq!(headers.contains_key(CONNECTION), ends, "{full:?}");
    }
    let wire = turned_away(Full::Address);
    assert!(
        wire.starts_with("HTTP/1.1 429 Too Many Requests\r\n") && wire.contains("TOOMANYREQUESTS"),
        "{wire}"
    );
}

#[tokio::test]
async fn t03_a_rejected_head_has_the_headers_of_the_rejected_get() {
    for (rejection, ..) in table() {
        let (get, head) = (tell(&rejection, false).await, tell(&rejection, true).await);
        assert_eq!(get.headers, head.headers);
        assert_eq!(get.headers[CONTENT_LENGTH], get.body.len().to_string());
        assert_eq!(head.body, "");
    }
}

#[tokio::test]
async fn t79_a_write_is_told_what_is_allowed() {
    assert_eq!(tell(&Rejection::Write, false).await.headers[ALLOW], "GET, HEAD");
}

#[tokio::test]
async fn t44_an_unsatisfiable_range_is_told_the_size() {
    let told = tell(&Rejection::Unsatisfiable { size: 7 }, false).await;
    assert_eq!(told.headers[CONTENT_RANGE], "bytes */7");
}

#[tokio::test]
async fn g10_a_limit_comes_with_the_time_to_wait() {
    for (wait, seconds) in
        [(None, "30"), (Some(0), "1"), (Some(1), "1"), (Some(1001), "2"), (Some(60_000), "60")]
    {
        let retry_after = wait.map(Duration::from_millis);
        let told = tell(&Rejection::Refused(Object::Blob, Refusal::Limited { retry_after }), false).await;
        assert_eq!(told.headers[RETRY_AFTER], seconds);
    }
}
