use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::{Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::http::Body;
use crate::server::Limits;
use crate::server::connection::{self, Ends, Protocol};
use crate::telemetry::Metrics;

const LIMITS: Limits = Limits {
    header_timeout: Duration::from_secs(30),
    header_bytes: 64 * 1024,
    stall_timeout: Duration::from_secs(30),
    drain_timeout: Duration::from_secs(30),
};

const KNOWN: &str = "GET /known HTTP/1.1\r\nHost: a\r\n\r\n";
const OTHER: &str = "GET /other HTTP/1.1\r\nHost: a\r\n\r\n";

struct Served {
    client: DuplexStream,
    /// How many requests the server has heard of.
    heard: Arc<AtomicUsize>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// A server that says `served`, above somebody who says `at once` to one head, in a pipe that holds so much.
fn serve(room: usize) -> Served {
    let (ours, client) = duplex(room);
    let heard = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&heard);
    let handle = move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Response::new(Body::from(b"served".to_vec())) }
    };
    let knows: Knows = Box::new(|head| {
        let (parts, ()) = Request::get("/known").body(()).unwrap().into_parts();
        (head == KNOWN.as_bytes()).then(|| Answer {
            head: Bytes::from_static(b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n"),
            body: Bytes::from_static(b"at once"),
            line: Line::begin(&parts, "192.0.2.1:1", Metrics::new()),
        })
    });
    let stop = CancellationToken::new();
    let ends = Ends { stop: stop.clone(), cut: CancellationToken::new() };
    let serving =
        connection::serve_and_tell(ours, Protocol::Http1, handle, (Some(knows), None), LIMITS, ends);
    let task = tokio::spawn(async {
        let _ = serving.await;
    });
    Served { client, heard, stop, task }
}

/// Reads so many bodies.
async fn bodies(client: &mut DuplexStream, count: usize) -> Vec<String> {
    let mut read = String::new();
    let mut bodies = Vec::new();
    while bodies.len() < count {
        let mut some = [0; 64];
        let n = client.read(&mut some).await.unwrap();
        assert!(n > 0, "{read}");
        read += std::str::from_utf8(&some[..n]).unwrap();
        while let Some(end) = read.find("\r\n\r\n").map(|at| at + 4) {
            let length = read[..end].lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            let all = end + length.parse::<usize>().unwrap();
            if read.len() < all {
                break;
            }
            bodies.push(read[end..all].to_owned());
            read.drain(..all);
        }
    }
    assert_eq!(read, "");
    bodies
}

#[tokio::test]
async fn known_heads_are_answered_at_once_and_all_others_by_the_server_on_one_connection() {
    for room in [1, 7, 1 << 16] {
        let Served { mut client, heard, stop, task } = serve(room);
        for (at, (head, body)) in
            [(KNOWN, "at once"), (OTHER, "served"), (KNOWN, "at once"), (KNOWN, "at once"), (OTHER, "served")]
                .into_iter()
                .enumerate()
        {
            let before = heard.load(Ordering::Relaxed);
            client.write_all(head.as_bytes()).await.unwrap();
            let said = bodies(&mut client, 1).await;
            // Through a narrow pipe heads come in pieces, and then it is the server's turn for good.
            if room == 1 << 16 {
                assert_eq!(said, [body], "{at}");
                assert_eq!(heard.load(Ordering::Relaxed) - before, usize::from(body == "served"), "{at}");
            } else {
                assert_eq!(said, ["served"], "{at}");
            }
        }
        stop.cancel();
        task.await.unwrap();
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn what_is_asked_at_once_or_in_pieces_is_the_servers_from_then_on() {
    let twice = [KNOWN, KNOWN].concat();
    let both = [OTHER, KNOWN].concat();
    for (pieces, count) in
        [(vec![twice.as_str()], 2), (vec![both.as_str()], 2), (vec![&KNOWN[..9], &KNOWN[9..]], 1)]
    {
        let Served { mut client, heard, stop, task } = serve(1 << 16);
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            // The other end has it before the next comes: a pipe hands on what is there.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(bodies(&mut client, count).await, vec!["served"; count]);
        client.write_all(KNOWN.as_bytes()).await.unwrap();
        assert_eq!(bodies(&mut client, 1).await, ["served"]);
        assert_eq!(heard.load(Ordering::Relaxed), count + 1);
        stop.cancel();
        task.await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_that_is_not_taken_yet_holds_up_what_comes_after_it_and_nothing_is_lost() {
    // The answer does not fit into the pipe, and the next request is there before it is taken.
    let Served { mut client, heard, stop, task } = serve(KNOWN.len() + 4);
    client.write_all(KNOWN.as_bytes()).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    client.write_all(OTHER.as_bytes()).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(heard.load(Ordering::Relaxed), 0);
    assert_eq!(bodies(&mut client, 2).await, ["at once", "served"]);
    // Nor does the end of the connection take anything away.
    client.write_all(KNOWN.as_bytes()).await.unwrap();
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    stop.cancel();
    assert_eq!(bodies(&mut client, 1).await, ["at once"]);
    task.await.unwrap();
}
