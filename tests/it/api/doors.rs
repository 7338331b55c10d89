//! Who may use the API: by its address, by its token, by its socket, and no page in a browser.

use std::os::unix::fs::PermissionsExt;

use roadstead::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use super::wire::{asked, described};
use crate::support::mirror::{Mirror, Setup};
use crate::support::upstream::Upstream;

const STATUS: &str = "/api/v1/status";

async fn code(mirror: &Mirror, headers: &[(&str, &str)]) -> (u16, String) {
    let request = headers
        .iter()
        .fold(asked(mirror, "GET", STATUS), |request, (name, value)| request.header(name, value));
    let (status, document) = described(request.send().await, "get", STATUS);
    (status, document["error"]["code"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn a_page_in_a_browser_cannot_use_the_api() {
    let mirror = Setup::of(&Upstream::start().await).start().await;
    let host = mirror.admin_address().to_string();
    assert_eq!(code(&mirror, &[]).await.0, 200);
    let forbidden = (403, "forbidden".to_owned());
    // By a name that the page's owner lets point here, and from the page itself.
    assert_eq!(code(&mirror, &[("Host", "evil.example")]).await, forbidden);
    assert_eq!(code(&mirror, &[("Origin", "http://evil.example")]).await, forbidden);
    assert_eq!(code(&mirror, &[("Host", &host), ("Origin", "null")]).await, forbidden);
    // What a page would have to ask before it sends JSON is not answered as it would need.
    let preflight = asked(&mirror, "OPTIONS", STATUS).header("Origin", "http://evil.example");
    let preflight = preflight.header("Access-Control-Request-Method", "POST").send().await;
    assert_eq!(preflight.status, 403);
    assert_eq!(preflight.header("access-control-allow-origin"), None);
    // Health and metrics are read by everybody.
    for open in ["/livez", "/readyz", "/metrics"] {
        asked(&mirror, "GET", open).header("Host", "mirror.example").send().await.expect(200);
    }
    mirror.stop().await;
}

#[tokio::test]
async fn where_a_token_is_configured_it_is_asked_for_and_metrics_are_open() {
    let setup = Setup::of(&Upstream::start().await);
    let token = setup.file("token", "one\n");
    let mirror = setup.set("admin", &format!("token_file = {token:?}")).start().await;
    let unauthorized = (401, "unauthorized".to_owned());
    assert_eq!(code(&mirror, &[]).await, unauthorized);
    assert_eq!(code(&mirror, &[("Authorization", "Bearer two")]).await, unauthorized);
    let refused = asked(&mirror, "GET", STATUS).send().await;
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    let right = [("Host", "mirror.example:5001"), ("Authorization", "Bearer one")];
    assert_eq!(code(&mirror, &right).await.0, 200);
    for open in ["/livez", "/readyz", "/metrics"] {
        asked(&mirror, "GET", open).send().await.expect(200);
    }
    std::fs::write(&token, "two\n").unwrap();
    assert_eq!(code(&mirror, &right).await, unauthorized);
    assert_eq!(code(&mirror, &[("Authorization", "Bearer two")]).await.0, 200);
    mirror.stop().await;
}

#[tokio::test]
async fn an_api_that_is_off_is_nowhere_and_the_rest_is_as_it_was() {
    let mirror = Setup::of(&Upstream::start().await).set("admin", "api = \"off\"").start().await;
    asked(&mirror, "GET", STATUS).send().await.expect(404);
    asked(&mirror, "GET", "/livez").send().await.expect(200);
    mirror.stop().await;
}

#[tokio::test]
async fn a_socket_is_for_its_owner_and_asks_for_no_token() {
    let setup = Setup::of(&Upstream::start().await);
    let (token, path) = (setup.file("token", "one\n"), setup.file("admin.sock", ""));
    std::fs::remove_file(&path).unwrap();
    let settings = format!("token_file = {token:?}\nsocket = {path:?}");
    let mirror = setup.set("admin", &settings).start().await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for (target, begins) in [(STATUS, "HTTP/1.1 200 "), ("/livez", "HTTP/1.1 200 ")] {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: anything\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(begins), "{answer}");
    }
    mirror.stop().await;
    assert!(!path.exists());
}

#[test]
fn an_address_that_others_reach_needs_a_token_or_no_api() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "one\n").unwrap();
    let read = |admin: &str| Config::from_toml(&format!("[admin]\n{admin}\n"), "f.toml");
    for good in [
        "listen = \"127.0.0.1:1\"".to_owned(),
        "listen = \"[::1]:1\"".to_owned(),
        "listen = \"\"".to_owned(),
        "listen = \"0.0.0.0:1\"\napi = \"off\"".to_owned(),
        "listen = \"0.0.0.0:1\"\napi = \"socket\"\nsocket = \"s\"".to_owned(),
        format!("listen = \"0.0.0.0:1\"\ntoken_file = {token:?}"),
    ] {
        assert_eq!(read(&good).err(), None, "{good}");
    }
    for (bad, told) in [
        (
            "listen = \"0.0.0.0:1\"",
            "f.toml:2: admin.listen: found \"0.0.0.0:1\", where anybody could use the API",
        ),
        ("api = \"on\"\nlisten = \"[::]:1\"\nsocket = \"s\"", "f.toml:3: admin.listen: found \"[::]:1\""),
        ("api = \"socket\"", "f.toml:2: admin.api: found \"socket\" without a socket"),
        ("api = \"yes\"", "f.toml:2: admin.api: found \"yes\"; expected \"on\", \"socket\" or \"off\""),
        (
            "listen = \"0.0.0.0:1\"\ntoken_file = \"/nonexistent\"",
            "f.toml:3: admin.token_file: found \"/nonexistent\"",
        ),
    ] {
        let mistakes = read(bad).unwrap_err();
        assert!(mistakes.to_string().starts_with(told), "{mistakes}");
        assert_eq!(mistakes.as_slice().len(), 1, "{mistakes}");
    }
    for unfit in ["", " \n", "two words", "tön"] {
        std::fs::write(&token, unfit).unwrap();
        let mistakes = read(&format!("token_file = {token:?}")).unwrap_err().to_string();
        assert!(mistakes.starts_with("f.toml:2: admin.token_file"), "{mistakes}");
        assert!(unfit.trim().is_empty() || !mistakes.contains(unfit), "it is not shown: {mistakes}");
    }
}
