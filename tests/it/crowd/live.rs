//! Limits that change while the mirror runs: they count from then on, and whoever is here stays.

use super::*;

#[tokio::test]
async fn connections_in_all_are_limited_anew_and_those_that_are_here_go_on() {
    let limit = |n: usize| format!("max_connections = {n}\nmax_connections_per_address = {n}");
    let upstream = Upstream::start().await;
    let mirror = mirror(&upstream, &limit(3)).await;
    let here = [from(2, &mirror).await, from(3, &mirror).await];
    connected(&mirror, 2.0).await;
    mirror.reload_with(&limit(2), &limit(3));
    let said = told(4, &mirror).await;
    assert!(said.starts_with("HTTP/1.1 503 "), "{said}");
    mirror.reload_with(&limit(1), &limit(3));
    for stream in here {
        let said = ping(stream).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    }
    connected(&mirror, 0.0).await;
    let _one = from(2, &mirror).await;
    connected(&mirror, 1.0).await;
    assert!(told(4, &mirror).await.starts_with("HTTP/1.1 503 "));
    mirror.reload_with(&limit(2), &limit(3));
    assert!(ping(from(4, &mirror).await).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn requests_in_flight_are_limited_anew_and_those_under_way_come_to_their_end() {
    let limit = |n: usize| {
        format!("max_requests = {n}\nmax_requests_per_address = {n}\nmax_waiting = 0\nwait = \"1ms\"")
    };
    let upstream = Upstream::start().await;
    let blob = layer(3, 100_000);
    upstream.push_blob(REPOSITORY, &blob);
    let gate = upstream.gate(&blob.digest);
    gate.allow(10);
    let mirror = mirror(&upstream, &limit(2)).await;
    let path = blob_path(&blob.digest);
    let under_way = [mirror.get(&path).open().await, mirror.get(&path).open().await];
    let asked = async || ping(from(3, &mirror).await).await;
    assert!(asked().await.starts_with("HTTP/1.1 503 "));
    mirror.reload_with(&limit(3), &limit(2));
    assert!(asked().await.starts_with("HTTP/1.1 200 "));
    mirror.reload_with(&limit(1), &limit(2));
    assert!(asked().await.starts_with("HTTP/1.1 503 "), "two are under way, of one that may be");
    gate.open();
    for answer in under_way {
        answer.rest().await.expect_bytes(&blob.bytes);
    }
    // A turn comes back when the answer's last byte is gone, which its client may see a moment earlier.
    let served = async {
        while !asked().await.starts_with("HTTP/1.1 200 ") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("room for a request", served).await;
}

#[tokio::test]
async fn fills_in_flight_are_limited_anew_and_those_on_their_way_come_to_their_end() {
    let limit = |n: usize| format!("max_fills = {n}");
    let upstream = Upstream::start().await;
    let blobs = [layer(1, 50_000), layer(2, 50_000), layer(3, 50_000)];
    let gates = blobs.each_ref().map(|blob| {
        upstream.push_blob(REPOSITORY, blob);
        let gate = upstream.gate(&blob.digest);
        gate.allow(10);
        gate
    });
    let mirror = mirror(&upstream, &limit(1)).await;
    let get = |n: usize| mirror.get(&blob_path(&blobs[n].digest));
    let first = get(0).open().await;
    get(1).send().await.expect_error(503, "UNAVAILABLE");
    mirror.reload_with(&limit(2), &limit(1));
    let second = get(1).open().await;
    get(2).send().await.expect_error(503, "UNAVAILABLE");
    mirror.reload_with(&limit(7), &limit(1));
    mirror.reload_with(&limit(1), &limit(1));
    get(2).send().await.expect_error(503, "UNAVAILABLE");
    gates.iter().for_each(|gate| gate.open());
    for (answer, blob) in [(first, 0), (second, 1)] {
        answer.rest().await.expect_bytes(&blobs[blob].bytes);
    }
    mirror.settled().await;
    get(2).send().await.expect_bytes(&blobs[2].bytes);
}

#[tokio::test]
async fn how_often_an_address_may_come_is_limited_anew() {
    let limit = |n: usize| {
        format!("connection_rate_per_address = {n}\nrequest_rate_per_address = {n}\nwait = \"1ms\"")
    };
    let upstream = Upstream::start().await;
    let mirror = mirror(&upstream, &limit(0)).await;
    let comes = async || ping(from(2, &mirror).await).await.starts_with("HTTP/1.1 200 ");
    for n in 0..30 {
        assert!(comes().await, "{n}");
    }
    mirror.reload_with(&limit(1), &limit(0));
    let begun = std::time::Instant::now();
    let mut let_in = 0;
    while comes().await {
        let_in += 1;
        assert!(let_in <= 11 + begun.elapsed().as_secs(), "{let_in}");
    }
    assert!(let_in >= 10, "what ten seconds allow, at once: {let_in}");
    mirror.reload_with(&limit(0), &limit(0));
    for n in 0..30 {
        assert!(comes().await, "{n}");
    }
}
