//! The same connection when HTTP/2 is spoken on it.

use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2 as client;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioExecutor;
use tokio::io::duplex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::*;
use crate::http::Body;
use crate::server::stall::Transport;

const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(10),
    header_bytes: 128 * 1024,
    stall_timeout: Duration::from_secs(7),
    drain_timeout: Duration::from_secs(10),
};

/// What `/large` answers, more than any window and buffer hold.
const LARGE: usize = 4 << 20;

/// What a client takes of a body before it says that it has taken any.
const WINDOW: u32 = 64 * 1024;

struct Served {
    client: client::SendRequest<Empty<Bytes>>,
    task: JoinHandle<()>,
    stop: CancellationToken,
    cut: CancellationToken,
}

/// A connection whose answers take a second and say how long the headers of their request were.
async fn serve_one() -> Served {
    let (ours, theirs) = duplex(1 << 20);
    let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
    let handle = |request: Request<Incoming>| async move {
        sleep(Duration::from_secs(1)).await;
        let headers: usize = request.headers().iter().map(|(_, value)| value.len()).sum();
        Response::new(Body::from(match request.uri().path() {
            "/large" => vec![7; LARGE],
            _ => headers.to_string().into_bytes(),
        }))
    };
    let ends = Ends { stop: stop.clone(), cut: cut.clone() };
    let transport = Transport::new(ours, LIMITS.stall_timeout);
    let task = tokio::spawn(serve(transport, Protocol::Http2, handle, LIMITS, ends));
    let (client, connection) = client::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW * 8)
        .handshake(TokioIo::new(theirs))
        .await
        .unwrap();
    tokio::spawn(connection);
    Served { client, task, stop, cut }
}

fn request(path: &str, range: &str) -> Request<Empty<Bytes>> {
    let request = Request::get(format!("http://m{path}"));
    let request = if range.is_empty() { request } else { request.header("range", range) };
    request.body(Empty::new()).unwrap()
}

async fn text(answer: Response<Incoming>) -> String {
    String::from_utf8(answer.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn t48_a_head_with_40_and_with_64_kib_of_ranges_is_taken_over_http_2() {
    let mut served = serve_one().await;
    for length in [40 * 1024, 64 * 1024] {
        let answer = served.client.send_request(request("/x", &"r".repeat(length))).await.unwrap();
        assert_eq!(text(answer).await, length.to_string());
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_that_is_too_long_is_refused_and_others_are_not() {
    let mut served = serve_one().await;
    let refused = served.client.send_request(request("/x", &"r".repeat(LIMITS.header_bytes))).await;
    assert!(refused.is_err_and(|_| true) || served.client.is_ready(), "one request, not the connection");
    let answer = served.client.send_request(request("/x", "r")).await.unwrap();
    assert_eq!((answer.status(), text(answer).await), (StatusCode::OK, "1".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_of_one_answer_loses_that_answer_alone() {
    let mut served = serve_one().await;
    let mut stuck = served.client.send_request(request("/large", "")).await.unwrap().into_body();
    let begun = Instant::now();
    // Busy with other answers for as long as it takes, on the same connection.
    while begun.elapsed() < LIMITS.stall_timeout * 3 {
        let other = served.client.send_request(request("/large", "")).await.unwrap().into_body();
        assert_eq!(other.collect().await.unwrap().to_bytes().len(), LARGE);
    }
    let mut taken = 0;
    let ended = loop {
        match stuck.frame().await {
            Some(Ok(frame)) => taken += frame.into_data().map_or(0, |data| data.len()),
            Some(Err(reset)) => break reset.to_string(),
            None => panic!("an end after {taken} bytes, as if it were whole"),
        }
    };
    assert!(taken <= WINDOW as usize, "{taken} bytes, then {ended}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_that_takes_a_piece_now_and_then_is_kept() {
    let mut served = serve_one().await;
    let mut slow = served.client.send_request(request("/large", "")).await.unwrap().into_body();
    let mut taken = 0;
    while let Some(frame) = slow.frame().await {
        taken += frame.unwrap().into_data().unwrap().len();
        if taken < LARGE / 8 {
            sleep(LIMITS.stall_timeout / 3).await;
        }
    }
    assert_eq!(taken, LARGE);
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_asked_ends_after_a_while() {
    let mut served = serve_one().await;
    drop(text(served.client.send_request(request("/x", "")).await.unwrap()).await);
    let begun = Instant::now();
    served.task.await.unwrap();
    assert!(begun.elapsed() >= LIMITS.header_timeout, "{:?}", begun.elapsed());
    assert!(begun.elapsed() <= LIMITS.header_timeout * 3, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn told_to_stop_it_finishes_the_running_answer_and_ends() {
    let mut served = serve_one().await;
    let mut client = served.client.clone();
    let running = tokio::spawn(async move { client.send_request(request("/x", "")).await });
    sleep(Duration::from_millis(500)).await;
    served.stop.cancel();
    assert_eq!(text(running.await.unwrap().unwrap()).await, "0");
    served.task.await.unwrap();
    assert!(served.client.send_request(request("/x", "")).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn cut_it_ends_in_the_middle_of_an_answer_and_leaves_no_task() {
    let mut served = serve_one().await;
    let asked = served.client.send_request(request("/x", ""));
    sleep(Duration::from_millis(500)).await;
    served.cut.cancel();
    served.task.await.unwrap();
    assert!(asked.await.is_err());
}
