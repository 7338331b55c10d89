//! How many may be here: one address keeps no other out, and whoever is turned away is told so.
//!
//! All of 127.0.0.0/8 is this machine, so that clients may have addresses of their own.

mod live;
mod measured;
mod pace;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::support::client::Connection;
use crate::support::images::{image, layer};
use crate::support::mirror::{Mirror, Setup};
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

async fn mirror(upstream: &Upstream, limits: &str) -> Mirror {
    Setup::of(upstream).set("limits", limits).start().await
}

/// A connection from the n-th address of this machine.
async fn from(n: u8, mirror: &Mirror) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, n)), 0)).unwrap();
    socket.connect(mirror.address()).await.unwrap()
}

/// What is answered to a ping on this connection, to its end.
async fn ping(mut stream: TcpStream) -> String {
    let mut said = Vec::new();
    let _gone = stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").await;
    let _gone = stream.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

/// What a client from there is told that is not let in. How many are told so at a time is bounded, for all tests of this
/// process together: whoever is only let go comes again.
async fn told(n: u8, mirror: &Mirror) -> String {
    let told = async {
        loop {
            let said = ping(from(n, mirror).await).await;
            if !said.is_empty() {
                return said;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a word", told).await
}

async fn connected(mirror: &Mirror, so_many: f64) {
    let reached = async {
        while (mirror.metric("roadstead_client_connections", &["plain"]).await - so_many).abs() > 0.5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("so many connections", reached).await;
}

#[tokio::test]
async fn one_address_takes_its_part_of_the_connections_and_others_come_in() {
    let upstream = Upstream::start().await;
    let mirror = mirror(&upstream, "max_connections = 10\nmax_connections_per_address = 4").await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(from(2, &mirror).await);
    }
    connected(&mirror, 4.0).await;
    let said = told(2, &mirror).await;
    assert!(said.starts_with("HTTP/1.1 429 ") && said.contains("retry-after: 1\r\n"), "{said}");
    assert!(said.contains("TOOMANYREQUESTS"), "{said}");
    assert!(ping(from(3, &mirror).await).await.starts_with("HTTP/1.1 200 "));
    for n in [3, 3, 3, 3, 4, 4] {
        idle.push(from(n, &mirror).await);
    }
    connected(&mirror, 10.0).await;
    let said = told(5, &mirror).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("retry-after: 1\r\n"), "{said}");
    drop(idle);
    connected(&mirror, 0.0).await;
    assert!(ping(from(2, &mirror).await).await.starts_with("HTTP/1.1 200 "));
    for (reason, expected) in [("address", 1.0), ("all", 1.0)] {
        let refused = mirror.metric("roadstead_client_connections_refused_total", &[reason]).await;
        assert!(refused > expected - 0.5, "{reason}: {refused}");
    }
}

#[tokio::test]
async fn requests_beyond_their_limit_wait_and_are_told_when_that_takes_too_long() {
    let upstream = Upstream::start().await;
    let blob = layer(3, 100_000);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    let limits = "max_requests = 2\nmax_requests_per_address = 2\nmax_waiting = 1\nwait = \"24s\"";
    let mirror = mirror(&upstream, limits).await;
    gate.allow(10);
    let path = blob_path(&blob.digest);
    let first = mirror.get(&path).open().await;
    let second = mirror.get(&path).open().await;
    // Both from this address are here.
    let full = mirror.get("/v2/").send().await.expect_error(429, "TOOMANYREQUESTS");
    assert_eq!(full.header("retry-after"), Some("1"));
    assert_eq!(full.cache_status(), "detail=limited");
    let waiting = tokio::spawn(ping(from(2, &mirror).await));
    let waits = async {
        while mirror.metric("roadstead_client_requests_waiting", &[]).await < 0.5 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("a request that waits", waits).await;
    let said = ping(from(3, &mirror).await).await;
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("UNAVAILABLE"), "{said}");
    gate.open();
    first.rest().await.expect_bytes(&blob.bytes);
    second.rest().await.expect_bytes(&blob.bytes);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200 "));
    mirror.get("/v2/").send().await.expect(200);
}

#[tokio::test]
async fn a_crowd_of_idle_half_said_and_slow_clients_of_one_address_leaves_others_their_pulls() {
    let upstream = Upstream::start().await;
    let image = image(1, &[2_000_000, 50_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let mirror = mirror(&upstream, "max_connections = 200\nmax_connections_per_address = 120").await;
    let large = image.blobs().find(|blob| blob.size() == 2_000_000).unwrap();
    mirror.get(&blob_path(&large.digest)).send().await.expect_bytes(&large.bytes);
    let mut crowd = Vec::new();
    for n in 0..200 {
        let mut stream = from(2, &mirror).await;
        let said: &[u8] = match n % 3 {
            0 => b"",
            1 => b"GET /v2/ HTTP/1.1\r\nX-Never: en",
            _ => b"GET /v2/ HTTP/1.1\r\nHost: m\r\n\r\n",
        };
        let _turned_away = stream.write_all(said).await;
        crowd.push(stream);
    }
    let mut slow = Vec::new();
    for _ in 0..20 {
        let mut connection = Connection::open_narrow(mirror.address()).await;
        connection.write(&mirror.get(&blob_path(&large.digest))).await;
        slow.push(connection);
    }
    for _ in 0..5 {
        mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
    }
    let refused = mirror.metric("roadstead_client_connections_refused_total", &["address"]).await;
    assert!(refused >= 80.0, "{refused}");
    drop((crowd, slow));
}

#[tokio::test]
async fn as_many_blobs_are_fetched_as_may_be_and_one_more_is_told_so() {
    let upstream = Upstream::start().await;
    let blobs = [layer(1, 50_000), layer(2, 50_000), layer(3, 50_000)];
    for blob in &blobs {
        upstream.push_blob(REPOSITORY, blob);
    }
    let (first, second) = (upstream.gate(&blobs[0].digest), upstream.gate(&blobs[1].digest));
    first.allow(10);
    second.allow(10);
    let mirror = mirror(&upstream, "max_fills = 2").await;
    let get = |n: usize| mirror.get(&blob_path(&blobs[n].digest));
    let (one, two) = (get(0).open().await, get(1).open().await);
    let refused = get(2).send().await.expect_error(503, "UNAVAILABLE");
    assert_eq!((refused.header("retry-after"), refused.cache_status()), (Some("1"), "detail=limited"));
    let joined = get(0).open().await;
    first.open();
    second.open();
    for (answer, blob) in [(one, 0), (two, 1), (joined, 0)] {
        answer.rest().await.expect_bytes(&blobs[blob].bytes);
    }
    mirror.settled().await;
    get(2).send().await.expect_bytes(&blobs[2].bytes);
}
