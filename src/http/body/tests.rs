use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Mutex;

use http_body::Body as _;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::super::region::fixture::{File, OnDisk, Step, bytes, content, drain, on_disk, region, span};
use super::*;

fn head(text: &'static str) -> Part {
    Part::Bytes(Bytes::from_static(text.as_bytes()))
}

#[test]
fn a_body_can_be_sent_between_threads_and_moved() {
    fn check<T: Send + Unpin + 'static>() {}
    check::<Body>();
}

#[tokio::test]
async fn bytes_and_nothing_come_once() {
    assert!(Body::Empty.is_end_stream());
    assert_eq!(drain(Body::default()).await, (Vec::new(), None));
    assert!(Body::from(Bytes::new()).is_end_stream());
    assert_eq!(drain(Body::from(Bytes::new())).await, (Vec::new(), None));
    assert_eq!(drain(Body::from(b"abc".to_vec())).await, (b"abc".to_vec(), None));
}

#[tokio::test]
async fn parts_follow_one_another_and_know_their_length() {
    let all = content(400_000);
    let file = File::of(all.clone());
    let parts = Parts::new([
        head("one"),
        Part::Region(region(Some(300_000), [span(&file, 0, 300_000)])),
        head(""),
        Part::Region(region(Some(0), [])),
        Part::Region(region(Some(4), [Step::Wait, bytes("2345")])),
        head("end"),
    ]);
    let body = Body::from(parts);
    assert_eq!(body.remaining(), Some(300_010));
    let (got, error) = drain(body).await;
    assert_eq!((got, error), ([b"one", &all[..300_000], b"2345end"].concat(), None));
}

#[tokio::test]
async fn parts_of_which_one_has_no_known_length_have_none() {
    let body = Body::from(Parts::new([head("a"), Part::Region(region(None, [bytes("b")])), head("c")]));
    assert_eq!(body.size_hint().exact(), None);
    assert_eq!(drain(body).await, (b"abc".to_vec(), None));
}

#[tokio::test]
async fn a_part_that_falls_short_ends_the_whole_body_in_an_error() {
    let short = Part::Region(region(Some(5), [bytes("ab")]));
    let (got, error) = drain(Parts::new([head("1"), short, head("never")]).into()).await;
    assert_eq!((&got[..], error), (&b"1ab"[..], Some(BodyError::EndedEarly { missing: 3 })));
}

#[tokio::test]
async fn a_transport_gets_spans_out_of_any_body() {
    let file = OnDisk::of(&content(90_000));
    let part = Part::Region(region(Some(90_000), [on_disk(&file, 0, 90_000)]));
    let mut body = Body::from(Parts::new([head("1"), part]));
    let mut seen = Vec::new();
    while let Some(Ok(piece)) = poll_fn(|cx| body.poll_sendable(cx)).await {
        seen.push((matches!(piece, Piece::Span(_)), piece.len()));
    }
    assert_eq!(seen, [(false, 1), (true, 90_000)]);
    assert!(body.is_end_stream());
}

/// What a client reads from a connection on which hyper sends the body.
async fn on_the_wire(body: Body) -> String {
    let (mut client, server) = tokio::io::duplex(64 * 1024);
    let body = Mutex::new(Some(body));
    let service = service_fn(move |_| {
        let body = body.lock().expect("sound").take().unwrap_or_default();
        async move { Ok::<_, Infallible>(hyper::Response::new(body)) }
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(server), service);
    let client = async {
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.expect("written");
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.expect("read");
        answer
    };
    tokio::join!(connection, client).1
}

#[tokio::test]
async fn t19_a_body_that_breaks_is_cut_on_the_wire_and_never_closed_politely() {
    let known =
        on_the_wire(region(Some(10), [bytes("abcd"), Step::Wait, Step::Fail("upstream died")]).into()).await;
    assert!(known.contains("content-length: 10\r\n") && known.ends_with("\r\n\r\nabcd"), "{known}");

    let unknown =
        on_the_wire(region(None, [bytes("abcd"), Step::Wait, Step::Fail("upstream died")]).into()).await;
    assert!(unknown.contains("transfer-encoding: chunked\r\n"), "{unknown}");
    assert!(unknown.ends_with("4\r\nabcd\r\n"), "no last chunk: {unknown}");

    let whole = on_the_wire(region(Some(4), [bytes("abcd")]).into()).await;
    assert!(whole.contains("content-length: 4\r\n") && whole.ends_with("\r\n\r\nabcd"), "{whole}");
}
