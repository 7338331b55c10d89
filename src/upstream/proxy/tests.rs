//! Which requests go by which proxy, and what a tunnel comes to.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;
use crate::upstream::Credentials;

fn proxy(url: &str) -> Proxy {
    Proxy { url: url.parse().expect("a URL"), credentials: None }
}

fn with_account(url: &str) -> Proxy {
    let pair = Credentials { username: "robot".into(), password: "hidden".into() };
    Proxy { credentials: Some(pair), ..proxy(url) }
}

fn route(except: &[&str]) -> Route {
    Route::new(&Proxies {
        http: Some(proxy("http://plain.example:3128")),
        https: Some(with_account("http://secure.example:3129")),
        except: except.iter().map(|&entry| entry.to_owned()).collect(),
    })
}

fn uri(text: &str) -> Uri {
    text.parse().expect("a URI")
}

#[test]
fn a_request_goes_by_the_proxy_of_its_scheme() {
    let route = route(&[]);
    let via = |there: &str| route.to(&uri(there)).map(|via| via.at().to_owned());
    assert_eq!(via("http://registry.example/v2/").as_deref(), Some("plain.example:3128"));
    assert_eq!(via("https://registry.example/v2/").as_deref(), Some("secure.example:3129"));
    assert!(Route::new(&Proxies::default()).to(&uri("https://registry.example/")).is_none());
}

#[test]
fn what_is_excepted_is_reached_directly() {
    for (except, there, direct) in [
        ("registry.example", "https://registry.example/", true),
        ("registry.example", "https://registry.example:5000/", true),
        ("Registry.Example", "https://registry.example/", true),
        ("registry.example", "https://cdn.registry.example/", true),
        (".registry.example", "https://cdn.registry.example/", true),
        ("*.registry.example", "https://cdn.registry.example/", true),
        ("registry.example", "https://otherregistry.example/", false),
        ("registry.example", "https://registry.example.org/", false),
        ("registry.example:5000", "https://registry.example:5000/", true),
        ("registry.example:5000", "https://registry.example/", false),
        ("registry.example:443", "https://registry.example/", true),
        ("registry.example:80", "http://registry.example/", true),
        ("10.0.0.7", "http://10.0.0.7:5000/", true),
        ("10.0.0.7", "http://10.0.0.8:5000/", false),
        ("10.0.0.0/8", "http://10.9.8.7:5000/", true),
        ("10.0.0.0/8", "http://11.0.0.1:5000/", false),
        ("10.0.0.7:5000", "http://10.0.0.7:5000/", true),
        ("10.0.0.7:5000", "http://10.0.0.7/", false),
        ("::1", "http://[::1]:5000/", true),
        ("[::1]:5000", "http://[::1]:5000/", true),
        ("[::1]:5000", "http://[::1]/", false),
        ("fd00::/8", "http://[fd12::3]/", true),
        ("fd00::/8", "http://[2001:db8::3]/", false),
        ("*", "https://registry.example/", true),
        ("*", "http://10.0.0.7:5000/", true),
    ] {
        assert_eq!(route(&["else.example", except]).to(&uri(there)).is_none(), direct, "{except} {there}");
    }
}

#[test]
fn g9_an_account_is_for_the_end_that_the_proxy_is() {
    let shown = with_account("http://plain.example:3128");
    let route = Route::new(&Proxies { http: Some(shown.clone()), https: Some(shown), except: Vec::new() });
    assert!(route.ends_at(&uri("http://registry.example/")).is_some_and(|via| via.account.is_some()));
    assert!(route.ends_at(&uri("https://registry.example/")).is_none(), "it is upstream that would see it");
    assert!(!format!("{route:?}").contains("hidden"));
}

#[test]
fn t58_a_name_of_ones_own_network_is_known_by_how_it_ends() {
    for (host, public) in [
        ("cdn.example.com", true),
        ("cdn.example.com.", true),
        ("localhost", false),
        ("metadata", false),
        ("a.localhost", false),
        ("metadata.google.internal", false),
        ("metadata.google.internal.", false),
        ("printer.local", false),
        ("router.home.arpa", false),
        ("notlocal.example", true),
        ("mylocal.net", true),
    ] {
        assert_eq!(may_be_public(host), public, "{host}");
    }
}

/// What the proxy sees of a request for a tunnel, and what comes of its answer.
async fn tunnelled(by: Proxy, answer: &'static str) -> (String, Result<TokioIo<DuplexStream>, Cause>) {
    let (ours, mut theirs) = duplex(4096);
    let via = Arc::new(Via::new(&by).expect("a proxy"));
    let asking = tokio::spawn({
        let via = Arc::clone(&via);
        async move { via.tunnel(TokioIo::new(ours), &uri("https://registry.example/")).await }
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(theirs.read_u8().await.expect("a byte"));
    }
    theirs.write_all(answer.as_bytes()).await.expect("a proxy that may speak");
    let result = asking.await.expect("an end");
    if result.is_ok() {
        theirs.write_all(b"through").await.expect("a tunnel");
    }
    (String::from_utf8(head).expect("a text"), result)
}

#[tokio::test]
async fn a_tunnel_is_asked_for_by_host_and_port_and_then_belongs_to_upstream() {
    let (head, tunnel) =
        tunnelled(with_account("http://proxy.example:3128"), "HTTP/1.1 200 OK\r\n\r\n").await;
    assert!(head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{head}");
    let account = "proxy-authorization: basic cm9ib3q6aglkzgvu\r\n";
    assert!(head.to_ascii_lowercase().contains(account), "{head}");
    let mut through = [0; 7];
    tunnel.expect("a tunnel").into_inner().read_exact(&mut through).await.expect("upstream's bytes");
    assert_eq!(&through, b"through");
}

#[tokio::test]
async fn a_proxy_that_does_not_let_us_through_is_told_apart_from_upstream() {
    for (account, answer, says) in [
        (
            false,
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "asks for an account",
        ),
        (
            true,
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n",
            "refuses our account",
        ),
        (
            false,
            "HTTP/1.1 403 Forbidden\r\ncontent-length: 4\r\n\r\nno!\n",
            "403 Forbidden for registry.example:443",
        ),
        (false, "HTTP/1.1 502 Bad Gateway\r\nconnection: close\r\n\r\n", "502 Bad Gateway"),
        (false, "SSH-2.0-OpenSSH_9.6\r\n\r\n", "broke off"),
        (false, "HTTP/1.1 200 OK\r\n\r\nearly", "nobody asked for"),
    ] {
        let make = if account { with_account } else { proxy };
        let (_, failed) = tunnelled(make("http://proxy.example:3128"), answer).await;
        match failed {
            Err(Cause::Proxy(why)) => {
                assert!(why.contains(says) && why.contains("proxy.example:3128"), "{why}");
                assert!(!why.contains("hidden"), "{why}");
            }
            other => panic!("{answer}: {:?}", other.map(drop)),
        }
    }
}

#[test]
fn an_answer_of_the_proxys_own_is_told_apart_where_it_says_so() {
    let via = Via::new(&proxy("http://proxy.example:3128")).expect("a proxy");
    let mut headers = HeaderMap::new();
    let refusal = |status: u16, headers: &HeaderMap| {
        via.refusal(StatusCode::from_u16(status).expect("a status"), headers)
    };
    assert_eq!(refusal(403, &headers), None);
    assert!(refusal(407, &headers).is_some());
    headers.insert("x-squid-error", HeaderValue::from_static("ERR_ACCESS_DENIED 0"));
    assert!(refusal(403, &headers).is_some());
}
