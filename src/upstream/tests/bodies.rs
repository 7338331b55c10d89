//! What is asked for, and what is made of what comes.

use super::*;
use crate::upstream::encoding::gzip;

const RANGE: Ask = Ask::Range { start: 2, end: 6 };

#[tokio::test]
async fn t06_the_full_list_of_types_is_asked_for_and_no_coding() {
    let server = Server::start(|_, _| manifest()).await;
    let upstream = upstream(settings(&[&server.url()]));
    let fetched = upstream.tagged().await.expect("a manifest");
    assert_eq!(fetched.bytes, MANIFEST);
    assert_eq!(fetched.content_type, "application/vnd.oci.image.manifest.v1+json");
    assert_eq!(fetched.digest, None);
    upstream.head_manifest(&repository(), &tag()).await.expect("a head");
    for seen in server.seen() {
        assert_eq!(seen.header("accept"), Some(crate::oci::ACCEPT));
        assert_eq!(seen.header("accept-encoding"), Some("identity"));
        assert!(seen.header("user-agent").is_some_and(|name| name.starts_with("roadstead/")));
    }
    assert_eq!(server.requests(), ["GET /v2/team/app/manifests/v1", "HEAD /v2/team/app/manifests/v1"]);
}

#[tokio::test]
async fn a_head_of_a_manifest_tells_digest_type_and_size() {
    let server = Server::start(|_, _| {
        let digest = format!("docker-content-digest: {}", digest());
        Act::Say(response(200, &[&digest, "content-type: application/x"], "").replace_length(1234))
    })
    .await;
    let head = upstream(settings(&[&server.url()])).head_manifest(&repository(), &tag()).await;
    let expected =
        ManifestHead { digest: Some(digest()), content_type: Some("application/x".into()), size: Some(1234) };
    assert_eq!(head, Ok(expected));
}

trait ReplaceLength {
    fn replace_length(self, length: u64) -> Vec<u8>;
}

impl ReplaceLength for Vec<u8> {
    fn replace_length(self, length: u64) -> Vec<u8> {
        let text = String::from_utf8(self).expect("text");
        text.replacen("content-length: 0", &format!("content-length: {length}"), 1).into_bytes()
    }
}

#[tokio::test]
async fn t08_a_manifest_beyond_the_limit_is_refused_whether_or_not_it_tells_its_size() {
    let promised = response(200, &[], "").replace_length(crate::oci::MAX_MANIFEST_BYTES as u64 + 1);
    let server = Server::start(move |_, _| Act::Stall(promised.clone())).await;
    let refused = upstream(settings(&[&server.url()])).tagged().await;
    assert!(matches!(refused, Err(Failure::DidNotAnswer(Cause::TooLarge { .. }))), "{refused:?}");

    let mut pieces = vec![raw("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n")];
    pieces.extend((0..17).map(|_| [raw("100000\n"), vec![b'{'; 1 << 20], raw("\n")].concat()));
    let server = Server::start(move |_, _| Act::Drip(Duration::ZERO, pieces.clone())).await;
    let refused = upstream(settings(&[&server.url()])).tagged().await;
    assert!(matches!(refused, Err(Failure::DidNotAnswer(Cause::TooLarge { .. }))), "{refused:?}");
}

#[tokio::test]
async fn t20_a_chunked_blob_ends_where_its_chunks_end() {
    let body = raw("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n5\n01234\n5\n56789\n0\n\n");
    let server = Server::start(move |_, _| Act::Say(body.clone())).await;
    let transfer = upstream(settings(&[&server.url()])).part(Ask::Whole).await.expect("a transfer");
    assert_eq!((transfer.start, transfer.end, transfer.total), (0, None, None));
    assert_eq!(all(transfer).await.expect("all of it"), b"0123456789");
}

#[tokio::test]
async fn t26_a_body_that_is_cut_is_never_taken_for_whole() {
    for head in ["content-length: 10\n\n01234", "transfer-encoding: chunked\n\n5\n01234\n"] {
        let body = raw(&format!("HTTP/1.1 200 OK\n{head}"));
        let server = Server::start(move |_, _| Act::Last(body.clone())).await;
        let transfer = upstream(settings(&[&server.url()])).part(Ask::Whole).await.expect("a transfer");
        assert_eq!(all(transfer).await, Err(Cause::Cut), "{head}");
    }
}

#[tokio::test]
async fn t27_a_range_is_placed_by_what_upstream_says_it_sent() {
    let server = Server::start(|seen, _| {
        assert_eq!(seen.header("range"), Some("bytes=2-5"));
        say(206, &["content-range: bytes 2-5/10"], "2345")
    })
    .await;
    let transfer = upstream(settings(&[&server.url()])).part(RANGE).await.expect("a transfer");
    assert_eq!((transfer.start, transfer.end, transfer.total), (2, Some(6), Some(10)));
    assert_eq!(all(transfer).await.expect("all of it"), b"2345");

    let server = Server::start(|_, _| say(200, &[], "0123456789")).await;
    let transfer = upstream(settings(&[&server.url()])).part(RANGE).await.expect("a transfer");
    assert_eq!((transfer.start, transfer.end, transfer.total), (0, Some(10), Some(10)));

    let server = Server::start(|_, _| say(206, &["content-range: bytes 0-3/10"], "0123")).await;
    let refused = upstream(settings(&[&server.url()])).part(RANGE).await;
    assert!(matches!(refused, Err(Failure::DidNotAnswer(Cause::Garbage(_)))), "{refused:?}");
}

#[tokio::test]
async fn t27_a_chunked_range_has_exactly_the_promised_bytes() {
    let head = "HTTP/1.1 206 X\ncontent-range: bytes 2-5/10\ntransfer-encoding: chunked\n\n";
    for (chunks, outcome) in [
        ("4\n2345\n0\n\n", Ok(b"2345".to_vec())),
        ("3\n234\n0\n\n", Err(Cause::Cut)),
        ("6\n234567\n0\n\n", Err(Cause::Garbage("more bytes than the response promised".into()))),
    ] {
        let body = raw(&format!("{head}{chunks}"));
        let server = Server::start(move |_, _| Act::Say(body.clone())).await;
        let transfer = upstream(settings(&[&server.url()])).part(RANGE).await.expect("a transfer");
        assert_eq!(all(transfer).await, outcome, "{chunks}");
    }
}

#[tokio::test]
async fn a_range_behind_the_end_tells_the_size() {
    let server = Server::start(|_, _| say(416, &["content-range: bytes */10"], "")).await;
    let failure = upstream(settings(&[&server.url()])).part(Ask::From(10)).await.map(drop);
    assert_eq!(failure, Err(Failure::RangeNotSatisfiable { total: Some(10) }));
}

#[tokio::test]
async fn t28_a_pause_ends_a_transfer_but_its_length_does_not() {
    let impatient =
        |server: &Server| Settings { idle_timeout: Duration::from_secs(3), ..settings(&[&server.url()]) };
    let server = Server::start(|_, _| Act::Stall(raw("HTTP/1.1 200 OK\ncontent-length: 10\n\n01234"))).await;
    let transfer = upstream(impatient(&server)).part(Ask::Whole).await.expect("a transfer");
    assert_eq!(all(transfer).await, Err(Cause::IdleTimeout));

    let mut pieces = vec![raw("HTTP/1.1 200 OK\ncontent-length: 10\n\n")];
    pieces.extend((0..10).map(|digit: u8| vec![b'0' + digit]));
    let server = Server::start(move |_, _| Act::Drip(Duration::from_millis(400), pieces.clone())).await;
    let transfer = upstream(impatient(&server)).part(Ask::Whole).await.expect("a transfer");
    assert_eq!(all(transfer).await.expect("all of it"), b"0123456789");
}

#[tokio::test]
async fn t30_a_blob_comes_as_it_is_and_decoded_when_that_was_wrong() {
    let body = gzip(b"0123456789");
    let head = format!("HTTP/1.1 200 OK\ncontent-encoding: gzip\ncontent-length: {}\n\n", body.len());
    let answer = [raw(&head), body.clone()].concat();
    let server = Server::start(move |_, _| Act::Say(answer.clone())).await;
    let upstream = upstream(settings(&[&server.url()]));
    let transfer = upstream.part(Ask::Whole).await.expect("a transfer");
    assert_eq!(transfer.encoded.as_deref(), Some("gzip"));
    assert_eq!(all(transfer).await.expect("all of it"), body);
    let memo = Whereabouts::default();
    let turn = upstream.turn(&Share::new()).await;
    let decoded = upstream.blob_decoded(&repository(), &digest(), &memo, &turn).await.expect("a transfer");
    assert_eq!((decoded.end, decoded.total), (None, None));
    assert_eq!(all(decoded).await.expect("all of it"), b"0123456789");
}

#[tokio::test]
async fn t33_a_size_is_found_by_one_byte_where_a_head_is_refused_or_does_not_tell() {
    for refusal in [401, 403, 405] {
        let server = Server::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => say(refusal, &[], ""),
            _ => {
                assert_eq!(seen.header("range"), Some("bytes=0-0"));
                say(206, &["content-range: bytes 0-0/10"], "0")
            }
        })
        .await;
        let head = upstream(settings(&[&server.url()])).head_blob(&repository(), &digest()).await;
        assert_eq!(head, Ok(BlobHead { size: Some(10) }), "{refusal}");
    }
    let untold = raw("HTTP/1.1 200 OK\ntransfer-encoding: chunked\n\n");
    for (answer, size) in [
        (say(206, &["content-range: bytes 0-0/10"], "0"), Some(10)),
        (say(416, &["content-range: bytes */0"], ""), Some(0)),
        (say(503, &[], ""), None),
    ] {
        let untold = untold.clone();
        let server = Server::start(move |seen, _| match seen.method.as_str() {
            "HEAD" => Act::Say(untold.clone()),
            _ => answer.clone(),
        })
        .await;
        let head = upstream(settings(&[&server.url()])).head_blob(&repository(), &digest()).await;
        assert_eq!(head, Ok(BlobHead { size }), "{size:?}");
    }
}

#[tokio::test]
async fn t33_a_head_that_answers_is_all_that_is_asked() {
    let server = Server::start(|_, _| Act::Say(raw("HTTP/1.1 200 OK\ncontent-length: 10\n\n"))).await;
    let head = upstream(settings(&[&server.url()])).head_blob(&repository(), &digest()).await;
    assert_eq!(head, Ok(BlobHead { size: Some(10) }));
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn t70_what_no_registry_says_is_no_answer() {
    for (answer, cause) in [
        (say(200, &["content-type: text/html"], "<html>log in</html>"), None),
        (say(200, &["content-type: application/json"], "<html>log in</html>"), None),
        (say(500, &["content-type: text/html"], "<html>oops</html>"), Some(Cause::Status(500))),
        (Act::Last(b"SSH-2.0-OpenSSH\r\n\r\n".to_vec()), None),
    ] {
        let server = Server::start({
            let answer = answer.clone();
            move |_, _| answer.clone()
        })
        .await;
        match (upstream(settings(&[&server.url()])).tagged().await, cause) {
            (Err(Failure::DidNotAnswer(Cause::Garbage(_))), None) => {}
            (Err(Failure::DidNotAnswer(got)), Some(cause)) => assert_eq!(got, cause),
            (got, _) => panic!("{answer:?} gave {got:?}"),
        }
    }
}

#[tokio::test]
async fn g9_a_head_that_a_registry_would_not_give_is_no_yes() {
    for (status, header) in [
        (200, "content-type: text/html; charset=utf-8"),
        (202, "x: y"),
        (204, "x: y"),
        (206, "content-range: bytes 0-9/10"),
    ] {
        let server = Server::start(move |_, _| say(status, &[header], "")).await;
        let upstream = upstream(settings(&[&server.url()]));
        let blob = upstream.head_blob(&repository(), &digest()).await;
        assert!(matches!(blob, Err(Failure::DidNotAnswer(_))), "{status} {header}: {blob:?}");
        let manifest = upstream.head_manifest(&repository(), &Reference::Digest(digest())).await;
        assert!(matches!(manifest, Err(Failure::DidNotAnswer(_))), "{status} {header}: {manifest:?}");
    }
}

#[tokio::test]
async fn g9_a_head_of_a_manifest_that_tells_of_another_digest_is_no_yes() {
    let other = Digest::of(Algorithm::Sha256, b"other");
    let told = format!("docker-content-digest: {other}");
    let server = Server::start(move |_, _| say(200, &[&told, "content-type: application/x"], "")).await;
    let upstream = upstream(settings(&[&server.url()]));
    let refused = upstream.head_manifest(&repository(), &Reference::Digest(digest())).await;
    assert!(matches!(refused, Err(Failure::DidNotAnswer(Cause::Garbage(_)))), "{refused:?}");
    let same = upstream.head_manifest(&repository(), &Reference::Digest(other.clone())).await;
    assert_eq!(same.map(|head| head.digest), Ok(Some(other.clone())));
    let by_tag = upstream.head_manifest(&repository(), &tag()).await;
    assert_eq!(by_tag.map(|head| head.digest), Ok(Some(other)));
}
