//! Upstreams behind a proxy: what it sees, what upstream sees, and who is blamed for what. T58, G9.

use crate::support::images::image;
use crate::support::mirror::{REGISTRY, Setup};
use crate::support::proxy::{Proxy, header};
use crate::support::upstream::{Upstream, basic, on, redirect};
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

use super::PATIENT;

/// An upstream at a name that only the proxy knows, with lines for the upstream and for `[uplink]`.
fn behind(setup: Setup, endpoint: &str, lines: &str, uplink: &str) -> Setup {
    setup
        .upstream_at(REGISTRY, &[endpoint], &format!("default = true\n{PATIENT}\n{lines}"))
        .set("uplink", uplink)
}

fn by(proxy: &Proxy, account: &str) -> String {
    format!("proxy = {:?}", proxy.url(account))
}

#[tokio::test]
async fn g9_plain_requests_end_at_the_proxy_which_alone_sees_its_account() {
    let (upstream, proxy) = (Upstream::start().await, Proxy::start().await);
    let image = image(1, &[100_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    upstream.require_basic(None, "ann", "secret");
    proxy.knows("registry.example", upstream.address());
    proxy.requires(&basic("me", "p@ss"));
    let lines = "username = \"ann\"\npassword = \"secret\"";
    let setup = behind(Setup::empty(), "http://registry.example", lines, &by(&proxy, "me:p%40ss"));
    let mirror = setup.start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
    for head in proxy.heads() {
        assert!(head.starts_with("GET http://registry.example/v2/"), "{head}");
        assert_eq!(header(&head, "proxy-authorization"), Some(basic("me", "p@ss").as_str()));
    }
    assert!(upstream.seen().iter().all(|seen| seen.asked.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn g9_through_a_tunnel_the_proxy_sees_host_and_port_and_upstream_nothing_of_it() {
    let (upstream, proxy) = (Upstream::start_tls_for("registry.example").await, Proxy::start().await);
    let image = image(2, &[100_000]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    proxy.knows("registry.example:443", upstream.address());
    proxy.requires(&basic("me", "word"));
    let setup = Setup::empty();
    let ca = setup.file("ca.pem", &upstream.authority_pem());
    let lines = format!("ca = {ca:?}\nproxy = {:?}", proxy.url("me:word"));
    let mirror = behind(setup, "https://registry.example", &lines, "proxy = \"direct\"").start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    for blob in image.blobs() {
        mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
    }
    for head in proxy.heads() {
        assert!(head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{head}");
        assert_eq!(header(&head, "authorization"), None);
    }
    assert!(upstream.seen().iter().all(|seen| seen.asked.header("proxy-authorization").is_none()));
}

#[tokio::test]
async fn g9_a_proxy_that_refuses_is_named_and_its_account_is_in_no_log() {
    let proxy = Proxy::start().await;
    proxy.requires(&basic("me", "right"));
    for (endpoint, account, says) in [
        ("https://registry.example", "", "asks for an account (407)"),
        ("https://registry.example", "me:wrong-word", "refuses our account (407)"),
        ("http://registry.example", "me:wrong-word", "refuses our account (407)"),
        ("https://registry.example", "me:right", "502 Bad Gateway for registry.example:443"),
    ] {
        let setup = behind(Setup::empty(), endpoint, "", &by(&proxy, account));
        let mirror = setup.set("log", "level = \"trace\"").spawn().await;
        mirror.get(&manifest_path(TAG)).send().await.expect_error(503, "UNAVAILABLE");
        let log = mirror.says("why", |text| text.contains(says)).await;
        assert!(!log.contains("wrong-word") && !log.contains(&basic("me", "wrong-word")[6..]), "{log}");
        let answer = mirror.get(&manifest_path(TAG)).send().await;
        assert!(!String::from_utf8_lossy(&answer.body).contains("wrong-word"));
    }
}

#[tokio::test]
async fn what_needs_no_proxy_is_reached_directly() {
    let (upstream, proxy) = (Upstream::start().await, Proxy::start().await);
    let image = image(3, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    let uplink = format!("{}\nno_proxy = [\"127.0.0.0/8\"]", by(&proxy, ""));
    let mirror = behind(Setup::empty(), &upstream.url(), "", &uplink).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    let mirror = behind(Setup::empty(), &upstream.url(), "proxy = \"direct\"", &by(&proxy, "")).start().await;
    mirror.get(&manifest_path(TAG)).send().await.expect_bytes(&image.manifest.bytes);
    assert!(proxy.heads().is_empty());
}

#[tokio::test]
async fn t58_the_proxy_is_not_asked_for_what_a_redirect_may_not_lead_to() {
    let (upstream, proxy) = (Upstream::start().await, Proxy::start().await);
    let image = image(4, &[100]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    proxy.knows("registry.example", upstream.address());
    let layer = image.layers[0].clone();
    let inside =
        ["169.254.169.254", "127.0.0.1:1", "[::1]:1", "metadata.google.internal", "vault", "a.localhost"];
    for host in inside.into_iter().chain(["cdn.example"]) {
        proxy.knows(host, upstream.address());
    }
    let mirror = behind(Setup::empty(), "http://registry.example", "", &by(&proxy, "")).start().await;
    for host in inside {
        upstream.behave();
        upstream.script(on().blobs().nth(1), redirect(307, format!("http://{host}/latest/meta-data")));
        mirror.get(&blob_path(&layer.digest)).send().await.expect_error(503, "UNAVAILABLE");
    }
    assert!(proxy.heads().iter().all(|head| head.starts_with("GET http://registry.example/")));
    // A name of the open internet is the proxy's to resolve.
    upstream.behave();
    let signed = upstream.sign(REPOSITORY, &layer.digest, 100).replace(&upstream.url(), "http://cdn.example");
    upstream.script(on().blobs(), redirect(307, signed));
    mirror.get(&blob_path(&layer.digest)).send().await.expect_bytes(&layer.bytes);
}

#[tokio::test]
async fn the_environment_leads_through_a_proxy_when_nothing_is_configured() {
    let (upstream, proxy) = (Upstream::start_tls_for("registry.example").await, Proxy::start().await);
    let image = image(5, &[10]);
    upstream.push(REPOSITORY, Some(TAG), &image);
    proxy.knows("registry.example:443", upstream.address());
    let environment =
        |name: &str| vec!["/usr/bin/env".to_owned(), format!("{name}={}", proxy.url("me:word"))];
    for (name, uplink, reached) in
        [("HTTPS_PROXY", "", true), ("https_proxy", "", true), ("HTTPS_PROXY", "proxy = \"direct\"", false)]
    {
        let setup = Setup::empty();
        let ca = setup.file("ca.pem", &upstream.authority_pem());
        let setup = behind(setup, "https://registry.example", &format!("ca = {ca:?}"), uplink);
        let setup = setup.under(environment(name));
        let mirror = setup.spawn().await;
        let answer = mirror.get(&manifest_path(TAG)).send().await;
        assert_eq!(answer.status == 200, reached, "{name} {uplink}: {}", answer.status);
    }
}
