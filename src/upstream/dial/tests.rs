//! Which addresses are reached, and what is said of those that are not.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::super::failure::Unresolved;
use super::super::settings::{Proxies, Proxy, Trust};
use super::*;

const LIMIT: Duration = Duration::from_secs(10);

fn dialer(names: Names, proxies: &Proxies) -> Dialer {
    let insecure = Trust { insecure: true, ..Trust::default() };
    let tls = super::super::tls::client_config(&[], &insecure).expect("a configuration");
    Dialer::open(names, Arc::new(Route::new(proxies)), tls, LIMIT)
}

fn open() -> Dialer {
    dialer(Names::of_the_system(), &Proxies::default())
}

fn places(redirect_hosts: &[&str]) -> Arc<Places> {
    let endpoints = ["http://registry.example".parse().expect("a URL")];
    let redirects: Vec<String> = redirect_hosts.iter().map(|host| (*host).to_owned()).collect();
    Arc::new(Places::new(&endpoints, &[], &redirects).expect("hosts"))
}

fn guarded(redirect_hosts: &[&str]) -> Dialer {
    open().guarded(places(redirect_hosts))
}

async fn dial(mut dialer: Dialer, to: &str) -> Result<(), Cause> {
    dialer.call(to.parse().expect("a URI")).await.map(drop).map_err(|Unreachable(cause)| cause)
}

async fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    (listener, port)
}

#[tokio::test]
async fn t58_a_private_literal_or_name_is_refused_before_a_packet_leaves() {
    for to in ["http://127.0.0.1:1/", "http://[::1]:1/", "http://169.254.169.254/", "http://localhost:1/"] {
        let refused = dial(guarded(&[]), to).await;
        assert!(matches!(refused, Err(Cause::RedirectRefused(_))), "{to}: {refused:?}");
    }
}

#[tokio::test]
async fn t58_configured_hosts_may_be_private() {
    let (_listener, port) = listener().await;
    for (host, allowed) in [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")] {
        let dialed = dial(guarded(&[allowed]), &format!("http://{host}:{port}/")).await;
        assert_eq!(dialed, Ok(()), "{host}");
    }
    let other_port = guarded(&[&format!("127.0.0.1:{}", port ^ 1)]);
    let refused = dial(other_port, &format!("http://127.0.0.1:{port}/")).await;
    assert!(matches!(refused, Err(Cause::RedirectRefused(_))), "{refused:?}");
}

#[tokio::test]
async fn t58_of_the_addresses_of_a_name_only_the_public_ones_are_reached() {
    let (_listener, port) = listener().await;
    let inside = Names::by(|_| async { Ok(vec![([127, 0, 0, 1], 0).into(), ([10, 0, 0, 1], 0).into()]) });
    let to = format!("http://cdn.example:{port}/");
    let guarded = dialer(inside.clone(), &Proxies::default()).guarded(places(&[]));
    assert!(matches!(dial(guarded, &to).await, Err(Cause::RedirectRefused(_))));
    assert_eq!(dial(dialer(inside, &Proxies::default()), &to).await, Ok(()));
}

#[tokio::test]
async fn t58_through_a_proxy_literals_and_names_of_ones_own_are_refused_still() {
    let (listener, port) = listener().await;
    let proxy = Proxy { url: format!("http://127.0.0.1:{port}").parse().expect("a URL"), credentials: None };
    let proxies = Proxies { http: Some(proxy.clone()), https: Some(proxy), except: Vec::new() };
    let guarded = |allowed: &[&str]| dialer(Names::of_the_system(), &proxies).guarded(places(allowed));
    for to in [
        "http://169.254.169.254/",
        "https://10.0.0.1/",
        "http://localhost:1/",
        "http://metadata.google.internal/",
        "http://metadata/",
    ] {
        let refused = dial(guarded(&[]), to).await;
        assert!(matches!(refused, Err(Cause::RedirectRefused(_))), "{to}: {refused:?}");
    }
    for (to, allowed) in [("http://cdn.example/", "else"), ("http://store.internal/", "store.internal")] {
        assert_eq!(dial(guarded(&[allowed]), to).await, Ok(()), "{to}");
    }
    drop(listener);
}

#[tokio::test]
async fn a_refused_connection_says_so() {
    let refused = dial(open(), "http://127.0.0.1:1/").await;
    assert!(matches!(&refused, Err(Cause::Connect(why)) if why.contains("refused")), "{refused:?}");
}

#[tokio::test]
async fn a_name_that_is_not_known_says_so() {
    let unknown = dial(open(), "http://no-such-host.invalid/").await;
    // Without a resolver, as in a sandbox, it cannot be told.
    assert!(
        matches!(&unknown, Err(Cause::Resolve { host, why: Unresolved::Unknown | Unresolved::ForNow })
            if host == "no-such-host.invalid"),
        "{unknown:?}"
    );
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_not_taken_for_upstream() {
    let url = "http://127.0.0.1:1".parse().expect("a URL");
    let proxies = Proxies { https: Some(Proxy { url, credentials: None }), ..Proxies::default() };
    let refused = dial(dialer(Names::of_the_system(), &proxies), "https://registry.example/").await;
    assert!(
        matches!(&refused, Err(Cause::Proxy(why)) if why.starts_with("127.0.0.1:1 is not")),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_dead_address_keeps_nobody_from_a_living_one() {
    let (_listener, port) = listener().await;
    // A family that leads nowhere, and an address that is reserved: at most one of them answers at once, with a refusal.
    let names = Names::by(|_| async {
        Ok(vec![
            ([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 0).into(),
            ([192, 0, 2, 1], 0).into(),
            ([127, 0, 0, 1], 0).into(),
        ])
    });
    let begun = std::time::Instant::now();
    let dialed = dial(dialer(names, &Proxies::default()), &format!("http://registry.example:{port}/")).await;
    assert_eq!(dialed, Ok(()));
    assert!(begun.elapsed() < LIMIT / 2, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn a_proxy_may_speak_tls_itself() {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a certificate with its key");
    let (listener, port) = listener().await;
    let asked = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a connection");
        let mut stream = tokio_rustls::TlsAcceptor::from(Arc::new(config)).accept(stream).await.expect("TLS");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a byte"));
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.expect("an answer");
        stream.flush().await.expect("an answer");
        String::from_utf8(head).expect("a text")
    });
    let proxy = Proxy { url: format!("https://127.0.0.1:{port}").parse().expect("a URL"), credentials: None };
    let proxies = Proxies { https: Some(proxy), ..Proxies::default() };
    let dialed = dial(dialer(Names::of_the_system(), &proxies), "https://registry.example:5000/").await;
    assert_eq!(dialed, Ok(()));
    assert!(asked.await.expect("a request").starts_with("CONNECT registry.example:5000 HTTP/1.1\r\n"));
}
