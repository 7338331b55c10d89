//! How often one address may come: a flood is cut to its pace, and others are served as ever.
//!
//! What is counted here holds however slow the machine is: the time that it took is part of what may have been let through.

use std::time::Instant;

use roadstead::x509::Authority;

use super::*;
use crate::support::secure::{Secure, Speaks};

/// Beyond its pace an address is let wait for no time at all.
const AT_ONCE: &str = "wait = \"1ms\"";

/// How many may have been let through that came since, one a second: those of ten seconds, and since then one a second.
fn allowed(since: Instant) -> usize {
    11 + usize::try_from(since.elapsed().as_secs()).unwrap()
}

/// What is answered to these bytes, to the end of the connection; what is cut has no end.
async fn said_to(mut stream: TcpStream, bytes: &[u8]) -> String {
    let _gone = stream.write_all(bytes).await;
    let mut said = Vec::new();
    let _gone = stream.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

async fn refused_for_its_rate(mirror: &Mirror) -> f64 {
    mirror.metric("roadstead_client_connections_refused_total", &["rate"]).await
}

#[tokio::test]
async fn a_flood_of_heads_that_are_none_is_cut_before_anything_of_it_is_read() {
    let upstream = Upstream::start().await;
    let mirror = mirror(&upstream, &format!("connection_rate_per_address = 1\n{AT_ONCE}")).await;
    let endless = format!("GET /v2/ HTTP/1.1\r\n{}", format!("X-Flood: {}\r\n", "x".repeat(4000)).repeat(80));
    let begun = Instant::now();
    let mut read = 0;
    for n in 0..60 {
        let head: &[u8] =
            if n % 2 == 0 { b"\x16\x03\x01 this is no request\r\n\r\n" } else { endless.as_bytes() };
        // A connection that was torn away may still have been read.
        read += usize::from(said_to(from(2, &mirror).await, head).await.starts_with("HTTP/1.1 4"));
    }
    assert!(read <= allowed(begun), "{read} heads were read");
    let let_in = async {
        while refused_for_its_rate(&mirror).await + 0.5
            < 60.0 - f64::from(u32::try_from(allowed(begun)).unwrap())
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon("most of the flood refused", let_in).await;
    assert!(ping(from(3, &mirror).await).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn connections_that_come_to_no_good_count_as_ten_and_good_ones_as_one() {
    let upstream = Upstream::start().await;
    let mirror = mirror(&upstream, &format!("connection_rate_per_address = 1\n{AT_ONCE}")).await;
    for n in 0..10 {
        let said = ping(from(2, &mirror).await).await;
        assert!(said.starts_with("HTTP/1.1 200 "), "{n}: {said}");
    }
    let said = said_to(from(3, &mirror).await, b"this is no request\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 400 "), "{said}");
    // Asked until it is known what came of that one; each that is let in before is one of ten.
    let mut let_in = 0;
    let begun = Instant::now();
    while ping(from(3, &mirror).await).await.starts_with("HTTP/1.1 200 ") {
        let_in += 1;
        assert!(let_in <= allowed(begun), "{let_in} were let in");
    }
    assert!(refused_for_its_rate(&mirror).await > 0.5);
}

#[tokio::test]
async fn requests_beyond_the_pace_are_held_back_and_all_are_answered() {
    let upstream = Upstream::start().await;
    let mirror = mirror(&upstream, "request_rate_per_address = 20\nwait = \"24s\"").await;
    let head = "GET /v2/ HTTP/1.1\r\nHost: m\r\n\r\n";
    let last = "GET /v2/ HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n";
    let begun = Instant::now();
    let said = said_to(from(2, &mirror).await, format!("{}{last}", head.repeat(239)).as_bytes()).await;
    assert_eq!(said.matches("HTTP/1.1 200 ").count(), 240, "{said}");
    assert!(begun.elapsed() >= Duration::from_secs(2), "two seconds more than ten take that many");
    assert!(mirror.metric("roadstead_client_held_back_total", &["request"]).await >= 1.0);
}

#[tokio::test]
async fn requests_beyond_every_wait_are_told_so_and_lose_their_connection_whichever_http_it_speaks() {
    for speaks in [Speaks::One, Speaks::Two] {
        let upstream = Upstream::start().await;
        let authority = Authority::new("a test").unwrap();
        let made = authority.server(&["localhost".to_owned()]).unwrap();
        let setup = Setup::of(&upstream).set("limits", &format!("request_rate_per_address = 1\n{AT_ONCE}"));
        let (cert, key) = (setup.file("tls.crt", &made.certificate), setup.file("tls.key", &made.key));
        let tls = format!("listen = [\"127.0.0.1:0\"]\ncert = {cert:?}\nkey = {key:?}");
        let mirror = setup.set("tls", &tls).start().await;
        let client = Secure { speaks, ..Secure::to(mirror.tls_address(), &authority.certificate) };
        let mut connection = client.connect().await.unwrap();
        let begun = Instant::now();
        let (mut served, mut refused) = (0, 0);
        // Over HTTP/2 it may ask until it has heard of the end.
        while let Ok(answer) = connection.ask("GET", "/v2/", &[]).await {
            match answer.status {
                200 => served += 1,
                _ => {
                    answer.expect_error(429, "TOOMANYREQUESTS");
                    refused += 1;
                }
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "{served} and {refused}, and no end");
        }
        assert!(refused >= 1 && (10..=allowed(begun)).contains(&served), "{served} and {refused}");
        assert!(speaks == Speaks::Two || refused == 1, "{refused}");
    }
}

#[tokio::test]
async fn whoever_asks_by_a_proxy_that_is_believed_has_a_pace_of_his_own() {
    let upstream = Upstream::start().await;
    let limits = format!("connection_rate_per_address = 1\nrequest_rate_per_address = 1\n{AT_ONCE}");
    let setup = Setup::of(&upstream).set("limits", &limits).set("access", "proxies = [\"127.0.0.2\"]");
    let mirror = setup.start().await;
    let ask = async |whom: &str| {
        let head =
            format!("GET /v2/ HTTP/1.1\r\nHost: m\r\nX-Forwarded-For: {whom}\r\nConnection: close\r\n\r\n");
        said_to(from(2, &mirror).await, head.as_bytes()).await
    };
    let begun = Instant::now();
    let mut served = 0;
    while ask("198.51.100.7").await.starts_with("HTTP/1.1 200 ") {
        served += 1;
        assert!(served <= allowed(begun), "{served}");
    }
    assert!(served >= 10, "{served}");
    assert!(ask("198.51.100.8").await.starts_with("HTTP/1.1 200 "));
    let refused = refused_for_its_rate(&mirror).await;
    assert!(refused < 0.5, "connections of a proxy are not counted by its address: {refused}");
}
