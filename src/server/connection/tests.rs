use std::time::Duration;

use hyper::StatusCode;
use hyper::header::CONTENT_LENGTH;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::http::Body;
use crate::server::access::tests::failing;
use crate::server::stall::Transport;

const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(10),
    header_bytes: 128 * 1024,
    stall_timeout: Duration::from_secs(10),
    drain_timeout: Duration::from_secs(10),
};

struct Served {
    client: DuplexStream,
    task: JoinHandle<()>,
    stop: CancellationToken,
    cut: CancellationToken,
}

/// A connection whose answers take a second and say how long the request's path and its headers were.
fn serve_one() -> Served {
    let (ours, client) = duplex(1 << 20);
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let handle = |request: Request<Incoming>| async move {
        sleep(Duration::from_secs(1)).await;
        let headers: usize = request.headers().iter().map(|(_, value)| value.len()).sum();
        let said = format!("{} {headers}", request.uri().path());
        let mut response = Response::new(Body::from(said.clone().into_bytes()));
        if request.method() == hyper::Method::HEAD {
            *response.body_mut() = Body::Empty;
            if request.uri().path() != "/unknown" {
                response.headers_mut().insert(CONTENT_LENGTH, said.len().into());
            }
        }
        response
    };
    let ends = Ends { stop: stop.clone(), cut: cut.clone() };
    let transport = Transport::new(ours, LIMITS.stall_timeout);
    let task = tokio::spawn(serve(transport, Protocol::Http1, handle, LIMITS, ends));
    Served { client, task, stop, cut }
}

async fn everything(client: &mut DuplexStream) -> String {
    let mut said = String::new();
    client.read_to_string(&mut said).await.unwrap();
    said
}

#[tokio::test(start_paused = true)]
async fn t48_a_head_with_64_kib_of_ranges_is_taken() {
    let mut served = serve_one();
    let ranges = "r".repeat(64 * 1024);
    let request = format!("GET /x HTTP/1.1\r\nHost: m\r\nConnection: close\r\nRange: {ranges}\r\n\r\n");
    served.client.write_all(request.as_bytes()).await.unwrap();
    let said = everything(&mut served.client).await;
    assert!(said.ends_with(&format!("/x {}", 1 + 5 + 64 * 1024)), "{said}");
}

#[tokio::test(start_paused = true)]
async fn whoever_is_cut_has_had_the_head_and_what_was_ready_for_it() {
    for after in [0, 3] {
        let (ours, mut client) = duplex(1 << 20);
        let handle = move |_: Request<Incoming>| async move { Response::new(failing(after)) };
        let ends = Ends { stop: CancellationToken::new(), cut: CancellationToken::new() };
        let transport = Transport::new(ours, LIMITS.stall_timeout);
        let task = tokio::spawn(serve(transport, Protocol::Http1, handle, LIMITS, ends));
        client.write_all(b"GET /x HTTP/1.1\r\n\r\n").await.unwrap();
        let said = everything(&mut client).await;
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{after}: {said:?}");
        let (_, body) = said.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, "four".repeat(after));
        task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_without_end_is_refused() {
    let mut served = serve_one();
    let request = format!("GET /x HTTP/1.1\r\nX: {}", "x".repeat(LIMITS.header_bytes));
    served.client.write_all(request.as_bytes()).await.unwrap();
    let said = everything(&mut served.client).await;
    assert!(said.starts_with("HTTP/1.1 431 "), "{said}");
}

#[tokio::test(start_paused = true)]
async fn t81_what_is_not_http_is_refused_and_the_connection_closed() {
    for junk in ["\u{16}\u{3}\u{1}\r\n\r\n", "GET\r\n\r\n", "GET /x HTTP/7\r\n\r\n", "\0\0\0\0"] {
        let mut served = serve_one();
        served.client.write_all(junk.as_bytes()).await.unwrap();
        let said = everything(&mut served.client).await;
        assert!(said.is_empty() || said.starts_with("HTTP/1.1 4"), "{junk:?}: {said}");
        served.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_not_utf8_do_no_harm() {
    let mut served = serve_one();
    served.client.write_all(b"GET /x HTTP/1.1\r\nConnection: close\r\nX: \xff\xfe\r\n\r\n").await.unwrap();
    assert!(everything(&mut served.client).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test(start_paused = true)]
async fn t03_the_answer_to_head_keeps_the_length_that_it_was_given() {
    let mut served = serve_one();
    served.client.write_all(b"HEAD /x HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let said = everything(&mut served.client).await.to_ascii_lowercase();
    assert!(said.contains("\r\ncontent-length: 4\r\n"), "{said}");
    assert!(!said.contains("transfer-encoding"), "{said}");
    assert!(said.ends_with("\r\n\r\n"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn t03_the_answer_to_head_says_no_length_where_none_is_known() {
    let mut served = serve_one();
    served.client.write_all(b"HEAD /unknown HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let said = everything(&mut served.client).await.to_ascii_lowercase();
    assert!(said.starts_with("http/1.1 200 ") && !said.contains("content-length"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn requests_sent_at_once_are_answered_in_their_order() {
    let mut served = serve_one();
    served.client.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    served.client.write_all(b"GET /3 HTTP/1.1\r\nConnection: close\r\n\r\n").await.unwrap();
    let said = everything(&mut served.client).await;
    let at = |path: &str| said.find(path).unwrap_or_else(|| panic!("{path} in {said}"));
    assert!(at("/1 0") < at("/2 0") && at("/2 0") < at("/3 5"));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_is_waited_for_only_so_long() {
    let mut served = serve_one();
    served.client.write_all(b"GET /x HTTP/1.1\r\nHost:").await.unwrap();
    let begun = Instant::now();
    served.task.await.unwrap();
    assert_eq!(begun.elapsed().as_secs(), LIMITS.header_timeout.as_secs());
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_finishes_the_running_answer_and_takes_no_other() {
    let mut served = serve_one();
    served.client.write_all(b"GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(500)).await;
    served.stop.cancel();
    let said = everything(&mut served.client).await;
    assert!(said.ends_with("/1 0"), "{said}");
    served.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_a_connection_that_waits_for_a_request_ends_at_once() {
    let served = serve_one();
    sleep(Duration::from_secs(1)).await;
    let begun = Instant::now();
    served.stop.cancel();
    served.task.await.unwrap();
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn cut_it_ends_in_the_middle_of_an_answer() {
    let mut served = serve_one();
    served.client.write_all(b"GET /1 HTTP/1.1\r\n\r\n").await.unwrap();
    sleep(Duration::from_millis(500)).await;
    served.cut.cancel();
    assert_eq!(everything(&mut served.client).await, "");
    served.task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t79_a_write_is_answered_without_its_body_being_read() {
    let mut served = serve_one();
    let request = b"PUT /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1000000\r\n\r\n";
    served.client.write_all(request).await.unwrap();
    let said = everything(&mut served.client).await;
    assert!(said.starts_with(&format!("HTTP/1.1 {} ", StatusCode::OK.as_u16())), "{said}");
}
