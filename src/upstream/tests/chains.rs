//! Endpoints that are mirrors themselves.

use super::*;
use crate::http::parse_via;
use crate::oci::Page;

#[tokio::test]
async fn an_endpoint_that_is_a_mirror_is_told_which_upstream_is_meant_once_and_nobody_else_is() {
    let storage = Server::start(|_, _| say(200, &[], "0123456789")).await;
    let location = format!("location: {}/elsewhere", storage.url().replace("127.0.0.1", "localhost"));
    let list = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;
    let server = Server::start(move |seen, _| match seen.path.as_str() {
        path if path.contains("/blobs/") => say(307, &[&location], ""),
        path if path.contains("/tags/") => say(200, &[], r#"{"name":"team/app","tags":[]}"#),
        path if path.contains("page=2") => say(200, &[], list),
        path if path.contains("/referrers/") => {
            say(200, &["link: <?page=2&ns=registry.example&x=%2F>; rel=\"next\""], list)
        }
        _ => manifest(),
    })
    .await;
    let upstream = upstream(Settings {
        pass_ns: true,
        redirect_hosts: vec!["localhost".into()],
        ..settings(&[&format!("{}/below", server.url())])
    });
    upstream.head_manifest(&repository(), &tag()).await.expect("a head");
    upstream.head_blob(&repository(), &digest()).await.expect("a head");
    upstream.tags(&repository(), &Page { n: Some(2), ..Page::default() }).await.expect("tags");
    upstream.referrers(&repository(), &digest()).await.expect("referrers");
    let digest = digest();
    assert_eq!(
        server.requests(),
        [
            "HEAD /below/v2/team/app/manifests/v1?ns=registry.example".to_owned(),
            format!("HEAD /below/v2/team/app/blobs/{digest}?ns=registry.example"),
            "GET /below/v2/team/app/tags/list?n=2&ns=registry.example".to_owned(),
            format!("GET /below/v2/team/app/referrers/{digest}?ns=registry.example"),
            format!("GET /below/v2/team/app/referrers/{digest}?page=2&x=%2F&ns=registry.example"),
        ]
    );
    assert_eq!(storage.requests(), ["HEAD /elsewhere"]);
}

#[tokio::test]
async fn a_token_server_is_not_told_which_upstream_is_meant() {
    let realms = Server::start(|_, _| say(200, &[], r#"{"token":"one"}"#)).await;
    let challenge = format!("www-authenticate: Bearer realm=\"{}/token\"", realms.url());
    let server = Server::start(move |seen, _| match seen.header("authorization") {
        None => say(401, &[&challenge], ""),
        Some(_) => manifest(),
    })
    .await;
    let settings = Settings {
        name: "registry.local:5000".into(),
        pass_ns: true,
        realm_hosts: vec!["127.0.0.1".into()],
        ..settings(&[&server.url()])
    };
    upstream(settings).tagged().await.expect("a manifest");
    assert_eq!(server.requests(), ["GET /v2/team/app/manifests/v1?ns=registry.local%3A5000"; 2]);
    assert_eq!(realms.requests(), ["GET /token?scope=repository%3Ateam%2Fapp%3Apull"]);
}

#[tokio::test]
async fn t93_every_request_says_by_which_mirrors_it_comes() {
    let server = Server::start(|seen, _| match seen.path.as_str() {
        path if path.contains("blobs") => say(307, &["location: /storage"], ""),
        "/storage" => say(200, &[], "0123456789"),
        _ => manifest(),
    })
    .await;
    let own = settings(&[&server.url()]);
    let (this, before) = (own.pseudonym, Pseudonym::random());
    let upstream = upstream(own);
    upstream.tagged().await.expect("a manifest");
    let asking = async {
        upstream.head_blob(&repository(), &digest()).await.expect("a head");
    };
    Trail::of(&[before]).lead(asking).await;
    let came_by: Vec<_> =
        server.seen().iter().map(|seen| parse_via(seen.header("via").unwrap_or_default())).collect();
    assert_eq!(came_by, [vec![this], vec![before, this], vec![before, this]]);
}

#[tokio::test]
async fn t93_a_mirror_that_says_we_go_in_a_circle_has_not_answered_and_the_next_endpoint_is_asked() {
    let circle = Server::start(|_, _| say(508, &[], "")).await;
    let failure = upstream(settings(&[&circle.url()])).tagged().await;
    assert_eq!(failure, Err(Failure::DidNotAnswer(Cause::Status(508))));
    assert_eq!(circle.seen().len(), 1, "it is not asked again");
    let good = Server::start(|_, _| manifest()).await;
    assert!(upstream(settings(&[&circle.url(), &good.url()])).tagged().await.is_ok());
}

#[tokio::test]
async fn t92_a_404_to_a_head_of_a_blob_is_believed_when_a_get_says_so_too() {
    for status in [404, 410] {
        let cold = Server::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => say(status, &[], ""),
            _ => say(206, &["content-range: bytes 0-0/10"], "0"),
        })
        .await;
        let head = upstream(settings(&[&cold.url()])).head_blob(&repository(), &digest()).await;
        assert_eq!(head, Ok(BlobHead { size: Some(10) }));
        let without = Server::start(move |_, _| say(status, &[], "")).await;
        let head = upstream(settings(&[&without.url()])).head_blob(&repository(), &digest()).await;
        assert_eq!(head, Err(Failure::SaidNo(SaidNo { status })));
        let path = format!("/v2/team/app/blobs/{}", digest());
        assert_eq!(without.requests(), [format!("HEAD {path}"), format!("GET {path}")], "and nothing more");
        assert_eq!(without.seen()[1].header("range"), Some("bytes=0-0"));
    }
    let away = Server::start(|seen, _| say(if seen.method == "HEAD" { 404 } else { 503 }, &[], "")).await;
    let head = upstream(settings(&[&away.url()])).head_blob(&repository(), &digest()).await;
    assert_eq!(
        head,
        Err(Failure::DidNotAnswer(Cause::Status(503))),
        "what is not known is not told as a 404"
    );
}
