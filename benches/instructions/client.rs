//! A client that asks the same again and again over one connection, and looks at no more than the head and the length.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use bytes::Bytes;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tokio_rustls::TlsConnector;

/// How it speaks; TLS is 1.3, and its server one that this authority (in PEM) has signed.
#[derive(Clone, Copy)]
pub(crate) enum Speaks<'a> {
    Plain,
    /// HTTP/1.1 over TLS.
    One(&'a str),
    /// HTTP/2 over TLS.
    Two(&'a str),
}

/// Asks so many times, each once the answer before is whole.
pub(crate) fn ask(address: SocketAddr, speaks: Speaks<'_>, path: &str, range: Option<&str>, times: u64) {
    match speaks {
        Speaks::Plain => ask_over(connect(address), path, range, times),
        Speaks::One(authority) => {
            let tls = ClientConnection::new(tls(authority, "http/1.1"), localhost()).unwrap();
            ask_over(StreamOwned::new(tls, connect(address)), path, range, times);
        }
        Speaks::Two(authority) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(ask_by_two(address, tls(authority, "h2"), path, times));
        }
    }
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

fn tls(authority: &str, alpn: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

fn ask_over(mut stream: impl Read + Write, path: &str, range: Option<&str>, times: u64) {
    let range = range.map(|range| format!("Range: {range}\r\n")).unwrap_or_default();
    let request = format!("GET {path} HTTP/1.1\r\nHost: mirror\r\n{range}\r\n");
    let mut buffer = vec![0; 1 << 20];
    for _ in 0..times {
        stream.write_all(request.as_bytes()).unwrap();
        let (mut head, mut came) = (Vec::new(), 0);
        let end = loop {
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{path}: cut in the head");
            head.extend_from_slice(&buffer[..read]);
            came += read;
        };
        let text = String::from_utf8_lossy(&head[..end]).to_ascii_lowercase();
        assert!(text.starts_with("http/1.1 20"), "{path}: {text}");
        let length =
            text.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        let all = end + length.unwrap();
        while came < all {
            let most = buffer.len().min(all - came);
            let read = stream.read(&mut buffer[..most]).unwrap();
            assert!(read > 0, "{path}: cut");
            came += read;
        }
    }
}

async fn ask_by_two(address: SocketAddr, config: Arc<ClientConfig>, path: &str, times: u64) {
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let stream = TlsConnector::from(config).connect(localhost(), stream).await.unwrap();
    let mut builder = h2::client::Builder::new();
    builder.initial_window_size(4 << 20).initial_connection_window_size(1 << 30);
    let (mut sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    for _ in 0..times {
        std::future::poll_fn(|context| sender.poll_ready(context)).await.unwrap();
        let request = http::Request::builder().uri(format!("https://localhost{path}")).body(()).unwrap();
        let (response, _) = sender.send_request(request, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        let mut body = response.into_body();
        while let Some(piece) = body.data().await {
            body.flow_control().release_capacity(piece.unwrap().len()).unwrap();
        }
    }
}
