//! A client that speaks TLS, and on it HTTP/1.1 or HTTP/2.

use std::net::SocketAddr;
use std::sync::Arc;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, crypto};

use super::client::{Answer, End};

/// Which HTTP is offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    One,
    Two,
}

/// How it comes to the server.
#[derive(Clone, Debug)]
pub struct Secure {
    pub address: SocketAddr,
    /// The host that it asks for; an address asks for none.
    pub host: String,
    /// In PEM: whom it believes.
    pub authority: String,
    /// In PEM: the certificate and the key that it shows.
    pub identity: Option<(String, String)>,
    pub speaks: Speaks,
    /// TLS 1.2 and nothing newer.
    pub only_12: bool,
}

/// A connection on which requests are made, one after the other or at once.
#[derive(Debug)]
pub enum Sender {
    One(http1::SendRequest<Empty<Bytes>>),
    Two(http2::SendRequest<Empty<Bytes>>),
}

impl Secure {
    /// As `localhost`, over HTTP/1.1, without a certificate.
    pub fn to(address: SocketAddr, authority: &str) -> Self {
        let (host, authority) = ("localhost".to_owned(), authority.to_owned());
        Self { address, host, authority, identity: None, speaks: Speaks::One, only_12: false }
    }

    /// The same over HTTP/2.
    pub fn over_two(self) -> Self {
        Self { speaks: Speaks::Two, ..self }
    }

    /// The same with a certificate and its key.
    pub fn showing(self, certificate: &str, key: &str) -> Self {
        Self { identity: Some((certificate.to_owned(), key.to_owned())), ..self }
    }

    /// TLS, or why there is none.
    pub async fn shake(&self) -> Result<TlsStream<TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        for root in CertificateDer::pem_slice_iter(self.authority.as_bytes()) {
            roots.add(root.unwrap()).unwrap();
        }
        let versions: &[&SupportedProtocolVersion] = if self.only_12 { &[&TLS12] } else { &[&TLS13] };
        let builder = ClientConfig::builder_with_provider(Arc::new(crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match &self.identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain =
                    CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
                builder
                    .with_client_auth_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap())
                    .unwrap()
            }
        };
        config.alpn_protocols = match self.speaks {
            Speaks::One => vec![b"http/1.1".to_vec()],
            Speaks::Two => vec![b"h2".to_vec()],
        };
        let stream = TcpStream::connect(self.address).await.map_err(|error| error.to_string())?;
        let host = ServerName::try_from(self.host.clone()).unwrap();
        TlsConnector::from(Arc::new(config)).connect(host, stream).await.map_err(|error| error.to_string())
    }

    /// A connection, or why there is none.
    pub async fn connect(&self) -> Result<Sender, String> {
        let stream = TokioIo::new(self.shake().await?);
        match self.speaks {
            Speaks::One => {
                let (sender, connection) =
                    http1::handshake(stream).await.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                Ok(Sender::One(sender))
            }
            Speaks::Two => {
                let shaken = http2::handshake(TokioExecutor::new(), stream).await;
                let (sender, connection) = shaken.map_err(|error| error.to_string())?;
                tokio::spawn(connection);
                Ok(Sender::Two(sender))
            }
        }
    }

    /// One request on a connection of its own; or why there is no answer.
    pub async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Result<Answer, String> {
        self.connect().await?.ask("GET", target, headers).await
    }
}

impl Sender {
    /// One request, and the whole answer; or why there is none.
    pub async fn ask(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer, String> {
        let answer = self.open(method, target, headers).await?;
        let (head, body) = answer.into_parts();
        let headers = head.headers.iter();
        let text =
            |value: &hyper::header::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_string(), text(value))).collect();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes().to_vec();
        let end = End::Complete;
        Ok(Answer { head: Vec::new(), status: head.status.as_u16(), headers, body, end })
    }

    /// One request, and the answer whose body is still to be read.
    pub async fn open(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>, String> {
        let uri = match self {
            Self::One(_) => target.to_owned(),
            Self::Two(_) => format!("https://localhost{target}"),
        };
        let mut request = Request::builder().method(method).uri(uri);
        if matches!(self, Self::One(_)) {
            request = request.header("host", "localhost");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::new()).unwrap();
        let sent = match self {
            Self::One(sender) => {
                sender.ready().await.map_err(|error| error.to_string())?;
                sender.send_request(request).await
            }
            Self::Two(sender) => sender.send_request(request).await,
        };
        sent.map_err(|error| error.to_string())
    }
}
