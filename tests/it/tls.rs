//! Clients that come by TLS: over both versions of HTTP, with certificates and without, while files are replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use roadstead::x509::{Authority, Facts};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use crate::support::images::{Image, image, layer};
use crate::support::mirror::{Mirror, Setup};
use crate::support::secure::{Secure, Speaks};
use crate::support::soon;
use crate::support::upstream::Upstream;
use crate::world::{REPOSITORY, TAG, blob_path, manifest_path};

/// A mirror with TLS, and who signed what it shows.
struct Scene {
    upstream: Upstream,
    mirror: Mirror,
    authority: Authority,
}

const LISTEN: &str = "listen = [\"127.0.0.1:0\"]";

impl Scene {
    async fn new() -> Self {
        Self::with(|_| Vec::new()).await
    }

    /// With further lines in `[tls]`, for which files may be written.
    async fn with(lines: impl FnOnce(&Setup) -> Vec<String>) -> Self {
        let upstream = Upstream::start().await;
        let authority = Authority::new("a test").unwrap();
        let setup = Setup::of(&upstream);
        let made = authority.server(&["localhost".to_owned()]).unwrap();
        let cert = setup.file("tls.crt", &made.certificate);
        let key = setup.file("tls.key", &made.key);
        let mut all = vec![LISTEN.to_owned(), format!("cert = {cert:?}"), format!("key = {key:?}")];
        all.extend(lines(&setup));
        let setup = all.iter().fold(setup, |setup, line| setup.set("tls", line));
        Self { upstream, mirror: setup.start().await, authority }
    }

    fn client(&self, speaks: Speaks) -> Secure {
        let client = Secure::to(self.mirror.tls_address(), &self.authority.certificate);
        if speaks == Speaks::Two { client.over_two() } else { client }
    }

    /// An image upstream.
    fn push(&self, sizes: &[u64]) -> Image {
        let image = image(1, sizes);
        self.upstream.push(REPOSITORY, Some(TAG), &image);
        image
    }

    /// Replaces what clients are shown.
    fn show(&self, authority: &Authority) {
        let made = authority.server(&["localhost".to_owned()]).unwrap();
        self.mirror.file("tls.crt", &made.certificate);
        self.mirror.file("tls.key", &made.key);
    }
}

#[tokio::test]
async fn an_image_is_pulled_by_tls_over_both_versions_of_http_and_of_tls() {
    let scene = Scene::new().await;
    let image = scene.push(&[3_000_000, 70_000, 10]);
    for (speaks, only_12) in
        [(Speaks::One, false), (Speaks::Two, false), (Speaks::One, true), (Speaks::Two, true)]
    {
        let mut sender = Secure { only_12, ..scene.client(speaks) }.connect().await.unwrap();
        let answer = sender.ask("GET", &manifest_path(TAG), &[]).await.unwrap();
        answer.expect_bytes(&image.manifest.bytes);
        for blob in image.blobs() {
            sender.ask("GET", &blob_path(&blob.digest), &[]).await.unwrap().expect_bytes(&blob.bytes);
            scene.mirror.get(&blob_path(&blob.digest)).send().await.expect_bytes(&blob.bytes);
        }
    }
    for blob in image.blobs() {
        assert_eq!(scene.upstream.sent_of(&blob.digest), blob.size());
    }
}

#[tokio::test]
async fn t03_a_head_is_a_get_without_its_body_over_http_2() {
    let scene = Scene::new().await;
    let image = scene.push(&[100_000]);
    let mut sender = scene.client(Speaks::Two).connect().await.unwrap();
    // Cold, and warm.
    for _ in 0..2 {
        for path in [manifest_path(TAG), blob_path(&image.blobs().next().unwrap().digest)] {
            let head = sender.ask("HEAD", &path, &[]).await.unwrap().expect(200);
            let get = sender.ask("GET", &path, &[]).await.unwrap().expect(200);
            assert!(head.body.is_empty());
            assert_eq!(get.length(), Some(get.body.len() as u64));
            for name in ["content-length", "content-type", "docker-content-digest", "etag", "accept-ranges"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {path}");
            }
        }
    }
}

#[tokio::test]
async fn t48_a_range_header_of_40_kb_is_served_over_http_2_and_over_tls() {
    let scene = Scene::new().await;
    let blob = layer(5, 2_000_000);
    scene.upstream.push_blob(REPOSITORY, &blob);
    let mut ranges = String::from("bytes=");
    let mut parts = 0;
    while ranges.len() < 40_000 {
        let first = 1_000_000 + parts * 300;
        ranges.push_str(&format!("{}{first}-{}", if parts == 0 { "" } else { "," }, first + 100));
        parts += 1;
    }
    for speaks in [Speaks::Two, Speaks::One] {
        let asked = scene.client(speaks).get(&blob_path(&blob.digest), &[("range", &ranges)]).await;
        let answer = asked.unwrap();
        // More ranges than are answered one by one are answered by the whole, and fewer by parts.
        assert!(matches!(answer.status, 200 | 206), "{}", answer.status);
        let first = &blob.bytes[1_000_000..1_000_050];
        assert!(answer.body.windows(50).any(|window| window == first), "the bytes that were asked for");
    }
    assert!(parts > 1000, "{parts}");
}

#[tokio::test]
async fn g2_a_body_with_a_wrong_digest_is_reset_over_http_2_and_never_whole() {
    let scene = Scene::new().await;
    let blob = layer(6, 1_000_000);
    scene.upstream.push_blob(REPOSITORY, &blob);
    scene
        .upstream
        .script(crate::support::upstream::on().blobs(), crate::support::upstream::act().flip(999_999));
    let answered = scene.client(Speaks::Two).get(&blob_path(&blob.digest), &[]).await;
    assert!(
        answered.as_ref().map_or(true, |answer| answer.status == 502),
        "{:?}",
        answered.map(|a| a.status)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_under_load_and_no_request_fails() {
    let scene = Scene::new().await;
    let image = scene.push(&[600_000]);
    let (old, new) = (&scene.authority, Authority::new("another").unwrap());
    let both = format!("{}{}", old.certificate, new.certificate);
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut load = tokio::task::JoinSet::new();
    for speaks in [Speaks::One, Speaks::Two] {
        let client = Secure { authority: both.clone(), ..scene.client(speaks) };
        let blob = image.blobs().next().unwrap();
        let (path, bytes) = (blob_path(&blob.digest), blob.bytes.clone());
        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
        load.spawn(async move {
            let mut kept = client.connect().await.unwrap();
            while !stop.load(Ordering::Relaxed) {
                kept.ask("GET", &path, &[]).await.unwrap().expect_bytes(&bytes);
                client.get(&path, &[]).await.unwrap().expect_bytes(&bytes);
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let rounds = async |more: u64| {
        let so_many = done.load(Ordering::Relaxed) + more;
        let reached = async {
            while done.load(Ordering::Relaxed) < so_many {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        soon("more requests", reached).await;
    };
    rounds(4).await;
    let by_new = Secure { authority: new.certificate.clone(), ..scene.client(Speaks::One) };
    assert!(by_new.get("/v2/", &[]).await.is_err());
    for _ in 0..3 {
        scene.show(&new);
        scene.mirror.look_at_files();
        rounds(2).await;
        by_new.get("/v2/", &[]).await.unwrap().expect(200);
        assert!(scene.client(Speaks::One).get("/v2/", &[]).await.is_err(), "the old one is shown no more");
        scene.show(old);
        scene.mirror.look_at_files();
        rounds(2).await;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = load.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_certificate_keeps_the_one_from_before_and_is_told_in_the_metrics() {
    let scene = Scene::new().await;
    let refused = async || scene.mirror.metric("roadstead_files_refused", &["tls"]).await;
    let ends = scene.mirror.metric("roadstead_tls_certificate_ends_seconds", &[]).await;
    assert!(ends > 1.7e9, "{ends}");
    let key = std::fs::read_to_string(scene.mirror.data().with_file_name("tls.key")).unwrap();
    for (name, content) in [("tls.crt", ""), ("tls.key", "rubbish"), ("tls.crt", "rubbish")] {
        scene.mirror.file(name, content);
        scene.mirror.look_at_files();
        assert!(refused().await > 0.5);
        scene.client(Speaks::One).get("/v2/", &[]).await.unwrap().expect(200);
    }
    // The key of before does not fit what comes first; both together do.
    let new = Authority::new("another").unwrap();
    scene.show(&new);
    scene.mirror.file("tls.key", &key);
    scene.mirror.look_at_files();
    assert!(refused().await > 0.5);
    scene.client(Speaks::One).get("/v2/", &[]).await.unwrap().expect(200);
    scene.show(&new);
    scene.mirror.look_at_files();
    assert!(refused().await < 0.5);
    let by_new = Secure { authority: new.certificate.clone(), ..scene.client(Speaks::One) };
    by_new.get("/v2/", &[]).await.unwrap().expect(200);
}

#[tokio::test]
async fn the_certificate_that_is_shown_is_the_one_for_the_host_that_is_asked_for() {
    let scene = Scene::with(|setup| {
        let authority = Authority::new("another").unwrap();
        let made = authority.server(&["*.other.example".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let cert = setup.file("other.crt", &made.certificate);
        let key = setup.file("other.key", &made.key);
        setup.file("other-ca.pem", &authority.certificate);
        vec![format!("[[tls.certificate]]\ncert = {cert:?}\nkey = {key:?}")]
    })
    .await;
    let other = std::fs::read_to_string(scene.mirror.data().with_file_name("other-ca.pem")).unwrap();
    for (host, by_other) in [("localhost", false), ("a.other.example", true), ("127.0.0.1", false)] {
        let authority = if by_other { &other } else { &scene.authority.certificate };
        let client =
            Secure { host: host.to_owned(), authority: authority.clone(), ..scene.client(Speaks::One) };
        match client.shake().await {
            Ok(stream) => {
                let (_, agreed) = stream.get_ref();
                let shown = Facts::of(&agreed.peer_certificates().unwrap()[0]).unwrap();
                assert_eq!(shown.names.iter().any(|name| name == "localhost"), !by_other, "{host}");
            }
            // Without a host the first is shown, which is not for the address.
            Err(why) => assert_eq!((host, why.contains("not valid for name")), ("127.0.0.1", true), "{why}"),
        }
    }
}

#[tokio::test]
async fn clients_show_certificates_where_they_have_to() {
    for required in [true, false] {
        let clients = Authority::new("clients").unwrap();
        let scene = Scene::with(|setup| {
            let ca = setup.file("clients.pem", &clients.certificate);
            let auth = if required { "required" } else { "optional" };
            vec![format!("client_ca = {ca:?}"), format!("client_auth = \"{auth}\"")]
        })
        .await;
        let own = clients.client("node-1").unwrap();
        let stranger = Authority::new("clients").unwrap().client("node-1").unwrap();
        for speaks in [Speaks::One, Speaks::Two] {
            let client = scene.client(speaks);
            let known = client.clone().showing(&own.certificate, &own.key);
            known.get("/v2/", &[]).await.unwrap().expect(200);
            assert_eq!(client.get("/v2/", &[]).await.is_ok(), !required, "{speaks:?}");
            let strange = client.showing(&stranger.certificate, &stranger.key);
            assert!(strange.get("/v2/", &[]).await.is_err(), "{speaks:?}");
        }
        // A server's certificate is for servers.
        let server = clients.server(&["node-1".to_owned()]).unwrap();
        let wrong = scene.client(Speaks::One).showing(&server.certificate, &server.key);
        assert!(wrong.get("/v2/", &[]).await.is_err());
        assert!(CertificateDer::from_pem_slice(own.certificate.as_bytes()).is_ok());
    }
}

#[tokio::test]
async fn who_does_not_end_the_handshake_is_let_go_and_counted() {
    let scene = Scene::with(|_| vec!["handshake_timeout = \"200ms\"".to_owned()]).await;
    let mut silent = crate::support::client::Connection::open(scene.mirror.tls_address()).await;
    silent.write_raw(b"\x16\x03\x01").await;
    assert!(silent.try_read("GET").await.is_none());
    let mut plain = crate::support::client::Connection::open(scene.mirror.tls_address()).await;
    plain.write_raw(b"GET /v2/ HTTP/1.1\r\n\r\n").await;
    assert!(plain.try_read("GET").await.is_none());
    for result in ["late", "failed"] {
        let counted = scene.mirror.metric("roadstead_tls_handshakes_total", &[result]).await;
        assert!((counted - 1.0).abs() < 0.5, "{result}: {counted}");
    }
}

#[tokio::test]
async fn a_socket_in_the_file_system_serves_beside_the_addresses() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let upstream = Upstream::start().await;
    let setup = Setup::of(&upstream);
    let path = setup.data().with_file_name("r.sock");
    let mirror = setup.set("server", &format!("socket = {path:?}")).start().await;
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET /v2/ HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    mirror.get("/v2/").send().await.expect(200);
    mirror.stop().await;
    assert!(!path.exists());
}
