//! The kit's own tests: what the others take for granted of the scripted upstream and the raw client.

use std::time::{Duration, Instant};

use crate::support::client::{Connection, End, get, head};
use crate::support::images::{self, SIZES, image, layer, odd, sha256};
use crate::support::upstream::{Hold, Kind, TokenStyle, Tokens, Upstream, act, basic, on, redirect, status};

const REPOSITORY: &str = "library/thing";

/// An upstream with one blob of this size, and the path of the blob.
async fn with_blob(size: u64) -> (Upstream, images::Object, String) {
    let upstream = Upstream::start().await;
    let blob = layer(size, size);
    upstream.push_blob(REPOSITORY, &blob);
    let path = format!("/v2/{REPOSITORY}/blobs/{}", blob.digest);
    (upstream, blob, path)
}

#[tokio::test]
async fn the_upstream_serves_what_it_holds_at_every_size() {
    for &(size, reason) in SIZES {
        let (upstream, blob, path) = with_blob(size).await;
        let answer = get(upstream.address(), &path).send().await.expect_bytes(&blob.bytes);
        assert_eq!(answer.length(), Some(size), "{reason}");
        let answer = head(upstream.address(), &path).send().await.expect(200);
        assert_eq!(answer.length(), Some(size), "{reason}");
        assert_eq!(upstream.sent_of(&blob.digest), size, "{reason}");
        assert_eq!(upstream.count(&on().blob(&blob.digest)), 2);
    }
}

#[tokio::test]
async fn the_upstream_serves_manifests_by_tag_and_digest_with_their_headers() {
    let upstream = Upstream::start().await;
    let image = odd(image(1, &[10]));
    upstream.push(REPOSITORY, Some("v1"), &image);
    for reference in ["v1", &image.manifest.digest] {
        let answer = get(upstream.address(), &format!("/v2/{REPOSITORY}/manifests/{reference}")).send().await;
        let answer = answer.expect_bytes(&image.manifest.bytes);
        assert_eq!(answer.header("docker-content-digest"), Some(image.manifest.digest.as_str()));
        assert_eq!(answer.header("content-type"), Some(images::OCI_MANIFEST));
    }
    let missing = get(upstream.address(), &format!("/v2/{REPOSITORY}/manifests/v2")).send().await;
    missing.expect_error(404, "MANIFEST_UNKNOWN");
}

#[tokio::test]
async fn the_upstream_lists_tags_in_pages() {
    let (upstream, blob, _) = with_blob(10).await;
    for tag in ["a", "b", "c"] {
        upstream.tag(REPOSITORY, tag, &blob.digest);
    }
    for (query, tags, link) in [
        ("", r#"["a","b","c"]"#, None),
        ("?n=2", r#"["a","b"]"#, Some("</v2/library/thing/tags/list?last=b&n=2>; rel=\"next\"")),
        ("?n=2&last=b", r#"["c"]"#, None),
    ] {
        let answer = get(upstream.address(), &format!("/v2/{REPOSITORY}/tags/list{query}")).send().await;
        let body = format!(r#"{{"name":"{REPOSITORY}","tags":{tags}}}"#);
        assert_eq!(answer.expect_bytes(body.as_bytes()).header("link"), link, "{query}");
    }
}

#[tokio::test]
async fn the_upstream_answers_closed_open_and_suffix_ranges() {
    let (upstream, blob, path) = with_blob(1000).await;
    for (asked, first, last) in
        [("0-0", 0, 0), ("500-", 500, 999), ("-300", 700, 999), ("900-5000", 900, 999), ("-5000", 0, 999)]
    {
        get(upstream.address(), &path).range(asked).send().await.expect_range(&blob.bytes, first, last);
    }
    let refused = get(upstream.address(), &path).range("1000-").send().await.expect(416);
    assert_eq!(refused.header("content-range"), Some("bytes */1000"));
    upstream.script(on(), act().ignore_range());
    get(upstream.address(), &path).range("5-6").send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn a_cut_a_reset_and_a_stall_happen_at_the_byte() {
    let (upstream, blob, path) = with_blob(100_000).await;
    upstream.script(on().nth(1), act().cut(40_001));
    upstream.script(on().nth(2), act().reset(40_001));
    upstream.script(on().nth(3), act().stall(50_000));
    let cut = get(upstream.address(), &path).send().await;
    assert_eq!(cut.end, End::CutAt(40_001));
    assert!(cut.body == blob.bytes[..40_001]);
    let reset = get(upstream.address(), &path).send().await;
    assert!(matches!(reset.end, End::CutAt(at) if at <= 40_001), "{:?}", reset.end);
    let mut stalled = get(upstream.address(), &path).open().await;
    stalled.until(50_000).await;
    assert!(!stalled.more_within(Duration::from_millis(50)).await);
    assert_eq!(upstream.sent_of(&blob.digest), 40_001 + 40_001 + 50_000);
    drop(stalled);
    upstream.quiet().await;
    get(upstream.address(), &path).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn a_gate_lets_bytes_go_by_their_offset() {
    let (upstream, blob, path) = with_blob(100_000).await;
    let gate = upstream.gate(&blob.digest);
    let mut whole = get(upstream.address(), &path).open().await;
    gate.allow(30_000);
    gate.held_at(30_000).await;
    assert_eq!(whole.until(30_000).await.len(), 30_000);
    gate.allow_range(90_000..100_000);
    get(upstream.address(), &path).range("-10000").send().await.expect_range(&blob.bytes, 90_000, 99_999);
    gate.open();
    whole.rest().await.expect_bytes(&blob.bytes);
    assert_eq!(upstream.sent_of(&blob.digest), 110_000);
}

#[tokio::test]
async fn a_hold_keeps_the_status_line_back() {
    let (upstream, blob, path) = with_blob(10).await;
    let hold = Hold::new();
    upstream.script(on().blobs(), act().hold(&hold));
    let address = upstream.address();
    let asking = tokio::spawn(async move { get(address, &path).send().await });
    hold.arrived(1).await;
    assert_eq!(upstream.seen()[0].status, 0);
    hold.release();
    asking.await.unwrap().expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn content_is_bent_as_scripted() {
    let (upstream, blob, path) = with_blob(5000).await;
    let fetch = async || get(upstream.address(), &path).send().await;
    upstream.script(on(), act().flip(4999));
    let flipped = fetch().await.expect(200);
    assert_eq!(flipped.body[..4999], blob.bytes[..4999]);
    assert_ne!(sha256(&flipped.body), blob.digest);
    upstream.script(on(), act().truncate(4000));
    fetch().await.expect_bytes(&blob.bytes[..4000]);
    upstream.script(on(), act().chunked());
    let chunked = fetch().await.expect_bytes(&blob.bytes);
    assert_eq!((chunked.length(), chunked.header("transfer-encoding")), (None, Some("chunked")));
    upstream.script(on(), act().gzip());
    let zipped = fetch().await.expect(200);
    assert_eq!(zipped.header("content-encoding"), Some("gzip"));
    assert_eq!(zipped.body[..2], [0x1f, 0x8b]);
    upstream.script(on(), act().header("Docker-Content-Digest", "sha256:lie").without("etag").html());
    let html = fetch().await.expect(200);
    assert_eq!((html.header("docker-content-digest"), html.header("etag")), (Some("sha256:lie"), None));
    assert!(html.body.starts_with(b"<html>"));
    upstream.script(on(), status(429).header("Retry-After", "7"));
    assert_eq!(fetch().await.expect(429).header("retry-after"), Some("7"));
    upstream.script(on(), act().raw("garbage\r\n\r\n"));
    let mut connection = Connection::open(upstream.address()).await;
    connection.write(&get(upstream.address(), &path)).await;
    assert!(connection.try_read("GET").await.is_none());
}

#[tokio::test]
async fn a_rate_and_a_shared_link_take_their_time() {
    let (upstream, blob, path) = with_blob(20_000).await;
    let started = Instant::now();
    upstream.script(on().nth(1), act().rate(100_000));
    get(upstream.address(), &path).send().await.expect_bytes(&blob.bytes);
    assert!(started.elapsed() >= Duration::from_millis(190), "{:?}", started.elapsed());
    upstream.share_link(200_000);
    let started = Instant::now();
    let (one, two) =
        tokio::join!(get(upstream.address(), &path).send(), get(upstream.address(), &path).send());
    one.expect_bytes(&blob.bytes);
    two.expect_bytes(&blob.bytes);
    assert!(started.elapsed() >= Duration::from_millis(190), "{:?}", started.elapsed());
}

#[tokio::test]
async fn signed_urls_expire_after_their_uses() {
    let (upstream, blob, path) = with_blob(100).await;
    let storage = Upstream::start().await;
    storage.push_blob(REPOSITORY, &blob);
    let signed = storage.sign(REPOSITORY, &blob.digest, 1);
    upstream.script(on().blobs(), redirect(307, &signed));
    let answer = get(upstream.address(), &path).send().await.expect(307);
    assert_eq!(answer.header("location"), Some(signed.as_str()));
    let target = signed.strip_prefix(&storage.url()).unwrap();
    get(storage.address(), target).send().await.expect_bytes(&blob.bytes);
    get(storage.address(), target).send().await.expect(403);
    assert_eq!(storage.sent_of(&blob.digest), 100);
    assert_eq!(storage.count(&on().kind(Kind::Signed)), 2);
}

#[tokio::test]
async fn tokens_open_only_what_they_were_asked_for() {
    let (upstream, blob, path) = with_blob(100).await;
    let credentials = Some(("ann".to_owned(), "secret".to_owned()));
    let tokens = Tokens::new(TokenStyle { credentials, ..TokenStyle::default() });
    upstream.serve_tokens(&tokens);
    upstream.require_bearer(None, &format!("{}/token", upstream.url()), &tokens);
    let challenge = get(upstream.address(), &path).send().await.expect_error(401, "UNAUTHORIZED");
    assert!(
        challenge.header("www-authenticate").unwrap().contains("scope=\"repository:library/thing:pull\"")
    );
    let token = async |scope: &str| {
        let query = format!("/token?service=scripted&scope={scope}");
        get(upstream.address(), &query).header("Authorization", &basic("ann", "secret")).send().await
    };
    get(upstream.address(), "/token").send().await.expect(401);
    token("repository:other:pull").await.expect(200);
    token("repository:library%2Fthing:pull").await.expect(200);
    let ask = async |token: &str| {
        get(upstream.address(), &path).header("Authorization", &format!("Bearer {token}")).send().await
    };
    ask("token-1").await.expect(401);
    ask("token-2").await.expect_bytes(&blob.bytes);
    tokens.revoke();
    ask("token-2").await.expect(401);
    assert_eq!(tokens.issued().len(), 2);
}

#[tokio::test]
async fn an_upstream_that_is_down_refuses_and_comes_back_on_its_port() {
    let (upstream, blob, path) = with_blob(100).await;
    get(upstream.address(), &path).send().await.expect_bytes(&blob.bytes);
    upstream.down().await;
    assert!(tokio::net::TcpStream::connect(upstream.address()).await.is_err());
    upstream.up().await;
    get(upstream.address(), &path).send().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn a_client_can_pipeline_and_leave_in_the_middle() {
    let (upstream, blob, path) = with_blob(100_000).await;
    let request = get(upstream.address(), &path);
    let mut connection = Connection::open(upstream.address()).await;
    connection.write(&request).await;
    connection.write(&request).await;
    let (first, connection) = connection.read(&request).await.finish().await;
    first.expect_bytes(&blob.bytes);
    connection.read(&request).await.rest().await.expect_bytes(&blob.bytes);
    let gate = upstream.gate(&blob.digest);
    gate.allow(10);
    let mut leaving = request.open().await;
    leaving.until(10).await;
    drop(leaving);
    gate.idle().await;
    upstream.quiet().await;
    assert_eq!(upstream.connections(), 2);
}
