//! Several endpoints, lost connections, time limits and TLS.

use std::time::Instant;

use super::*;

/// A port that nobody listens at.
async fn closed() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[tokio::test]
async fn the_next_endpoint_is_asked_when_one_did_not_answer() {
    let good = Server::start(|_, _| manifest()).await;
    let bad = Server::start(|_, _| say(503, &[], "")).await;
    let limited = Server::start(|_, _| say(429, &[], "")).await;
    for first in [closed().await, bad.url(), limited.url()] {
        let fetched = upstream(settings(&[&first, &good.url()])).tagged().await;
        assert!(fetched.is_ok(), "{first}: {fetched:?}");
    }
}

#[tokio::test]
async fn the_next_endpoint_is_not_asked_when_one_said_no() {
    for status in [403, 404, 410] {
        let no = Server::start(move |_, _| say(status, &[], "")).await;
        let other = Server::start(|_, _| manifest()).await;
        let failure = upstream(settings(&[&no.url(), &other.url()])).tagged().await;
        assert_eq!(failure, Err(Failure::SaidNo(SaidNo { status })));
        assert!(other.seen().is_empty());
    }
}

#[tokio::test]
async fn when_no_endpoint_answers_the_first_ones_reason_is_given() {
    let limited = Server::start(|_, _| say(429, &["retry-after: 7"], "Too Many Requests")).await;
    let failure = upstream(settings(&[&limited.url(), &closed().await])).tagged().await;
    assert_eq!(failure, Err(Failure::Limited { retry_after: Some(Duration::from_secs(7)) }));
}

#[tokio::test]
async fn a_base_path_of_an_endpoint_is_kept() {
    let server = Server::start(|_, _| manifest()).await;
    upstream(settings(&[&format!("{}/mirror/", server.url())])).tagged().await.expect("a manifest");
    assert_eq!(server.requests(), ["GET /mirror/v2/team/app/manifests/v1"]);
}

#[tokio::test]
async fn t68_a_connection_that_is_lost_before_the_answer_is_made_again_once() {
    let server =
        Server::start(|_, before| if before == 0 { Act::Last(Vec::new()) } else { manifest() }).await;
    upstream(settings(&[&server.url()])).tagged().await.expect("a manifest");
    assert_eq!(server.seen().len(), 2);

    let server = Server::start(|_, _| Act::Last(Vec::new())).await;
    let failure = upstream(settings(&[&server.url()])).head_manifest(&repository(), &tag()).await;
    assert_eq!(failure, Err(Failure::DidNotAnswer(Cause::Cut)));
    assert_eq!(server.seen().len(), 2);
}

#[tokio::test]
async fn a_manifest_that_is_cut_is_asked_for_once_more() {
    let server = Server::start(|_, before| match before {
        0 => Act::Last(raw("HTTP/1.1 200 OK\ncontent-length: 100\n\n{")),
        _ => manifest(),
    })
    .await;
    assert_eq!(upstream(settings(&[&server.url()])).tagged().await.expect("a manifest").bytes, MANIFEST);
}

#[tokio::test]
async fn g3_an_upstream_that_says_nothing_is_left_in_time() {
    let silent = Server::start(|_, _| Act::Stall(Vec::new())).await;
    let hasty = Settings { header_timeout: Duration::from_secs(1), ..settings(&[silent.url().as_str(); 20]) };
    let begun = Instant::now();
    let failure = upstream(hasty).tagged().await;
    assert_eq!(failure, Err(Failure::DidNotAnswer(Cause::HeaderTimeout)));
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn g3_a_handshake_that_does_not_end_is_left_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("https://{}", listener.local_addr().expect("an address"));
    let hasty = Settings { connect_timeout: Duration::from_millis(200), ..settings(&[&endpoint]) };
    assert_eq!(upstream(hasty).tagged().await, Err(Failure::DidNotAnswer(Cause::ConnectTimeout)));
}

#[tokio::test]
async fn a_private_ca_is_trusted_when_it_is_given_and_only_then() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate with its key");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("https://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(&response(200, &["content-type: application/json"], MANIFEST)).await;
        }
    });
    let unknown = upstream(settings(&[&endpoint])).tagged().await;
    assert!(matches!(unknown, Err(Failure::DidNotAnswer(Cause::Tls(_)))), "{unknown:?}");
    let trusting = Settings { ca: vec![made.cert.der().clone()], ..settings(&[&endpoint]) };
    assert_eq!(upstream(trusting).tagged().await.expect("a manifest").bytes, MANIFEST);
}

#[tokio::test]
async fn what_is_asked_and_received_is_counted() {
    let server = Server::start(|_, _| say(200, &[], "0123456789")).await;
    let metrics = Metrics::new();
    let upstream = Upstream::new(settings(&[&server.url()]), &metrics).expect("good settings");
    all(upstream.part(Ask::Whole).await.expect("a transfer")).await.expect("all of it");
    let text = metrics.encode();
    let line = |name: &str, labels: &str, value: u64| {
        text.lines().any(|line| {
            line.starts_with(name) && line.contains(labels) && line.ends_with(&format!(" {value}"))
        })
    };
    assert!(line("roadstead_upstream_requests", r#"kind="blob",result="ok""#, 1), "{text}");
    assert!(line("roadstead_upstream_bytes", r#"upstream="registry.example""#, 10), "{text}");
}
