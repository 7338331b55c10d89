//! Clients that vanish, stall or send rubbish, and the others, who do not notice. G4, G10.

use std::time::{Duration, Instant};

use super::{MB, MIB, at_rest};
use crate::support::PATIENCE;
use crate::support::client::{Connection, End};
use crate::support::images::layer;
use crate::support::mirror::Setup;
use crate::support::upstream::{Upstream, on};
use crate::world::{REPOSITORY, World};

/// Timeouts of clients, short enough to be waited for.
const IMPATIENT: &str = "header_timeout = \"500ms\"\nstall_timeout = \"500ms\"";

async fn impatient() -> World {
    let upstream = Upstream::start().await;
    let mirror = Setup::of(&upstream).set("server", IMPATIENT).start().await;
    World { upstream, mirror }
}

/// What is sent for a request, and the statuses that may come for it; none: the connection is closed without one.
fn rubbish() -> Vec<(&'static str, Vec<u8>, &'static [u16])> {
    let long = |length: usize| {
        let mut request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX-Long: ".to_vec();
        request.extend(std::iter::repeat_n(b'a', length));
        request.extend_from_slice(b"\r\n\r\n");
        request
    };
    let many = |count: usize| {
        let mut request = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n".to_vec();
        (0..count).for_each(|n| request.extend_from_slice(format!("X-{n}: y\r\n").as_bytes()));
        request.extend_from_slice(b"\r\n");
        request
    };
    let path = |path: &[u8]| [b"GET ", path, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
    let given = |text: &str| text.as_bytes().to_vec();
    let junk: Vec<u8> = (0..4000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    vec![
        ("nothing", Vec::new(), &[408]),
        ("half a request line", given("GET /v2/"), &[408]),
        ("half a head", given("GET /v2/ HTTP/1.1\r\nHost: x\r\nAccept"), &[408]),
        ("a head of 100 KB", long(100_000), &[200]),
        ("a head of 200 KB", long(200_000), &[431]),
        ("a head without an end", long(10_000_000), &[431]),
        ("90 headers", many(90), &[200]),
        ("10,000 headers", many(10_000), &[431]),
        ("binary junk", junk, &[400]),
        ("a TLS hello", vec![0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0], &[400]),
        ("empty lines", vec![b'\n'; 5000], &[400, 408]),
        ("HTTP/0.9", given("GET /v2/\r\n\r\n"), &[400]),
        ("HTTP/2 without being asked", given("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), &[400, 405, 505]),
        ("HTTP/3.7", given("GET /v2/ HTTP/3.7\r\n\r\n"), &[400]),
        ("no version", given("GET /v2/ FTP\r\n\r\n"), &[400]),
        ("a proxy's CONNECT", given("CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n"), &[400, 405]),
        ("a path that is none", path(b"v2"), &[400, 404]),
        ("a path with a NUL", path(b"/v2/\0/manifests/1"), &[400]),
        ("a path that is not ASCII", path(b"/v2/\xff\xfe/manifests/1"), &[400]),
        ("a path of 60 KB", path(&[&b"/v2/"[..], &[b'a'; 60_000], b"/manifests/1"].concat()), &[400, 414]),
        ("a path of 70 KB", path(&[&b"/v2/"[..], &[b'a'; 70_000], b"/manifests/1"].concat()), &[400, 414]),
        ("an empty header name", given("GET /v2/ HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n"), &[400]),
        ("a folded header", given("GET /v2/ HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n"), &[200, 400]),
        (
            "two lengths",
            given("GET /v2/ HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
            &[400],
        ),
        ("a length that is none", given("GET /v2/ HTTP/1.1\r\nContent-Length: -1\r\n\r\n"), &[400]),
        (
            "broken chunks",
            given("GET /v2/ HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            &[200, 400],
        ),
        ("a body on GET", given("GET /v2/ HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello"), &[200]),
        ("a body that never comes", given("GET /v2/ HTTP/1.1\r\nContent-Length: 5\r\n\r\n"), &[200]),
        (
            "a body nobody asked for",
            given("PUT /v2/a/manifests/1 HTTP/1.1\r\nContent-Length: 9\r\n\r\n"),
            &[405],
        ),
        (
            "an expectation",
            given("GET /v2/ HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"),
            &[200, 417],
        ),
        ("an upgrade", given("GET /v2/ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"), &[200]),
    ]
}

#[tokio::test]
async fn g10_rubbish_gets_an_error_or_nothing_and_costs_nobody_else_anything() {
    let blob = layer(1, MB);
    let world = impatient().await;
    world.upstream.push_blob(REPOSITORY, &blob);
    let mut open = Vec::new();
    for (what, bytes, statuses) in rubbish() {
        let mut connection = Connection::open(world.mirror.address()).await;
        // What is refused in the middle is not taken to its end.
        let sent = tokio::time::timeout(Duration::from_secs(2), connection.write_raw(&bytes)).await;
        assert!(sent.is_ok() || bytes.len() > MB as usize, "{what}");
        open.push((what, connection, statuses));
        let asked = Instant::now();
        world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
        assert!(asked.elapsed() < Duration::from_secs(20), "beside {what}: {:?}", asked.elapsed());
    }
    let mut wrong = Vec::new();
    for (what, connection, statuses) in open {
        let asked = Instant::now();
        let answer = match connection.try_read("GET").await {
            Some(reading) => Some(reading.rest().await),
            None => None,
        };
        // Whoever waits for an answer learns of its end: no connection is left hanging.
        assert!(asked.elapsed() < PATIENCE / 2, "{what}: {:?}", asked.elapsed());
        if let Some(answer) = answer.filter(|answer| !statuses.contains(&answer.status)) {
            wrong.push(format!("{what}: {}", String::from_utf8_lossy(&answer.head)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    at_rest(&world.mirror).await;
}

#[tokio::test]
async fn t79_a_connection_goes_on_after_a_body_on_get() {
    let blob = layer(2, 1000);
    let world = impatient().await;
    world.upstream.push_blob(REPOSITORY, &blob);
    let with_body = world.blob(&blob.digest).body(b"GET /v2/smuggled HTTP/1.1\r\n\r\n");
    let plain = world.blob(&blob.digest);
    let mut connection = Connection::open(world.mirror.address()).await;
    connection.write(&with_body).await;
    connection.write(&plain).await;
    let (answer, connection) = connection.read(&with_body).await.finish().await;
    answer.expect_bytes(&blob.bytes);
    connection.read(&plain).await.rest().await.expect_bytes(&blob.bytes);
}

#[tokio::test]
async fn g4_clients_that_vanish_leave_nothing_behind() {
    let blob = layer(3, 4 * MB);
    let world = impatient().await;
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut stays = world.blob(&blob.digest).open().await;
    stays.until(MB).await;
    for at in [0, 1, 1000, MB / 2, MB] {
        for _ in 0..8 {
            let mut leaves = world.blob(&blob.digest).open().await;
            leaves.until(at).await;
        }
        // Asks and is gone before the answer.
        let mut connection = Connection::open(world.mirror.address()).await;
        connection.write(&world.blob(&blob.digest)).await;
    }
    gate.open();
    stays.rest().await.expect_bytes(&blob.bytes);
    at_rest(&world.mirror).await;
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
    assert_eq!(world.upstream.count(&on().get().blobs()), 1);
}

#[tokio::test]
async fn g4_a_client_that_stalls_is_cut_and_the_others_are_served_meanwhile() {
    let blob = layer(4, 24 * MIB);
    let world = impatient().await;
    world.upstream.push_blob(REPOSITORY, &blob);
    for cold in [true, false] {
        let request = world.blob(&blob.digest);
        let mut narrow = Connection::open_narrow(world.mirror.address()).await;
        narrow.write(&request).await;
        let stalls = narrow.read(&request).await;
        request.send().await.expect_bytes(&blob.bytes);
        at_rest(&world.mirror).await;
        let cut = stalls.rest().await;
        assert!(matches!(cut.end, End::CutAt(at) if at < blob.size()), "cold {cold}: {:?}", cut.end);
        assert!(blob.bytes.starts_with(&cut.body));
    }
    assert_eq!(world.upstream.sent_of(&blob.digest), blob.size());
}

#[tokio::test]
async fn g4_a_client_that_left_while_its_body_waits_for_upstream_holds_nothing() {
    let world = World::new().await;
    let blob = layer(90, 2 * MB);
    world.upstream.push_blob(REPOSITORY, &blob);
    let gate = world.upstream.gate(&blob.digest);
    gate.allow(MB);
    let mut reading = world.blob(&blob.digest).open().await;
    gate.held_at(MB).await;
    reading.until(MB).await;
    assert_eq!(world.mirror.metric("roadstead_readers", &[]).await, 1.0);
    drop(reading);
    let left = async {
        while world.mirror.metric("roadstead_readers", &[]).await > 0.0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, left).await.expect("nothing came that could have told that it left");
    gate.open();
    world.mirror.settled().await;
    world.blob(&blob.digest).send().await.expect_bytes(&blob.bytes);
}
