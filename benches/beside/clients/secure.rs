//! HTTP/1.1 over TLS 1.3, with the cipher that Go's clients offer first.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::TLS13;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::{Connection, PATIENCE, end_of_head, length, request};

/// How clients speak TLS: whom they believe, and which HTTP they ask for.
pub(crate) fn tls(authority: &str, alpn: &str) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(authority.as_bytes()) {
        roots.add(root.unwrap()).unwrap();
    }
    let mut provider = default_provider();
    provider.cipher_suites = vec![cipher_suite::TLS13_AES_128_GCM_SHA256];
    let builder = ClientConfig::builder_with_provider(Arc::new(provider));
    let builder = builder.with_protocol_versions(&[&TLS13]).unwrap().with_root_certificates(roots);
    let mut config = builder.with_no_client_auth();
    config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
    Arc::new(config)
}

/// The name that servers are asked for.
pub(crate) fn localhost() -> ServerName<'static> {
    ServerName::try_from("localhost").unwrap()
}

/// A connection.
pub(crate) struct Secure {
    stream: StreamOwned<ClientConnection, TcpStream>,
    buffer: Vec<u8>,
}

impl Secure {
    /// Connects.
    pub(crate) fn to(address: SocketAddr, config: &Arc<ClientConfig>) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ClientConnection::new(Arc::clone(config), localhost()).unwrap();
        Self { stream: StreamOwned::new(connection, stream), buffer: vec![0; 1 << 18] }
    }
}

impl Connection for Secure {
    fn get(&mut self, path: &str) -> (Duration, u64) {
        let begun = Instant::now();
        self.stream.write_all(request(path).as_bytes()).unwrap();
        let mut head = Vec::new();
        let end = loop {
            let read = self.stream.read(&mut self.buffer).unwrap();
            assert!(read > 0, "{path}: cut in the head");
            head.extend_from_slice(&self.buffer[..read]);
            if let Some(end) = end_of_head(&head) {
                break end;
            }
        };
        let size = length(&head[..end], path);
        let mut came = (head.len() - end) as u64;
        let mut first = (came > 0 || size == 0).then(|| begun.elapsed());
        while came < size {
            let read = self.stream.read(&mut self.buffer).unwrap();
            assert!(read > 0, "{path}: cut before the end");
            came += read as u64;
            first.get_or_insert_with(|| begun.elapsed());
        }
        assert_eq!(came, size, "{path}");
        (first.unwrap_or_default(), size)
    }
}
