//! TLS towards clients: which certificate is shown, whose are believed, and what was agreed on with one client.
//!
//! Guarantees: what clients are shown can be replaced at any moment, and no connection notices; what is wrong with a
//! replacement leaves the one in use as it is. A connection that resumes an earlier one does so only within the same
//! replacement, so that an authority of clients that was taken away is believed no longer.

use std::fmt;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::Protocol;
use super::sealed::{Rest, Sealed};
use crate::x509::{Facts, choose};

/// What TLS is like.
#[derive(Debug)]
pub struct TlsSettings {
    /// What clients are shown, the first where they ask for nothing that one is for; at least one.
    pub certificates: Vec<ServerCertificate>,
    /// Whose clients' certificates are believed; `None`: none is asked for.
    pub clients: Option<Clients>,
    /// Whether TLS 1.2 is not spoken.
    pub only_13: bool,
}

/// A certificate of a server's, with what leads from it to a root, and its key.
pub struct ServerCertificate {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first.
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// Whose certificates of clients are believed.
#[derive(Debug)]
pub struct Clients {
    /// The authorities.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whether a client has to show one.
    pub required: bool,
}

/// Why there can be no TLS like this.
#[derive(Debug)]
pub struct TlsError(String);

/// TLS as it is now. Clones are the same.
#[derive(Clone)]
pub struct Tls {
    now: Arc<RwLock<Arc<ServerConfig>>>,
}

/// A client with whom TLS was agreed on.
pub(super) struct Secured<S> {
    pub(super) stream: Sealed<S>,
    /// Who has to be told when nothing is written for now.
    pub(super) rest: Rest<S>,
    pub(super) protocol: Protocol,
    /// The names on the certificate that it has shown, if it has.
    pub(super) names: Option<Vec<String>>,
}

impl Tls {
    /// TLS like this.
    ///
    /// # Errors
    /// The settings cannot be used.
    pub fn new(settings: TlsSettings) -> Result<Self, TlsError> {
        Ok(Self { now: Arc::new(RwLock::new(Arc::new(server_config(settings)?))) })
    }

    /// Is like this for whoever comes from now on.
    ///
    /// # Errors
    /// The settings cannot be used; it stays as it is.
    pub fn replace(&self, settings: TlsSettings) -> Result<(), TlsError> {
        let new = Arc::new(server_config(settings)?);
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Agrees with a client within this time.
    pub(super) async fn agree<S>(&self, socket: S, within: Duration) -> io::Result<Secured<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let now = Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner));
        let stream = timeout(within, TlsAcceptor::from(now).accept(socket)).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
        let (socket, agreed) = stream.into_inner();
        let protocol = match agreed.alpn_protocol() {
            Some(H2) => Protocol::Http2,
            _ => Protocol::Http1,
        };
        let shown = agreed.peer_certificates().and_then(<[_]>::first);
        let names = shown.map(|shown| Facts::of(shown).map_or_else(Vec::new, |facts| facts.shown_as()));
        let (stream, rest) = Sealed::new(socket, agreed);
        Ok(Secured { stream, rest, protocol, names })
    }
}

const H2: &[u8] = b"h2";

fn server_config(settings: TlsSettings) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(default_provider());
    let versions: &[&SupportedProtocolVersion] = if settings.only_13 { &[&TLS13] } else { &[&TLS13, &TLS12] };
    let shown = Shown::of(settings.certificates)?;
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(versions)?;
    let builder = match settings.clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            for root in clients.roots {
                roots.add(root)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = if clients.required { verifier } else { verifier.allow_unauthenticated() };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| TlsError(error.to_string()))?)
        }
    };
    let mut config = builder.with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![H2.to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// What clients are shown, each with its names.
#[derive(Debug)]
struct Shown {
    certificates: Vec<Arc<CertifiedKey>>,
    names: Vec<Vec<String>>,
}

impl Shown {
    fn of(settings: Vec<ServerCertificate>) -> Result<Self, TlsError> {
        let mut shown = Self { certificates: Vec::new(), names: Vec::new() };
        for ServerCertificate { chain, key } in settings {
            let facts = chain.first().and_then(|first| Facts::of(first));
            shown.names.push(facts.map_or_else(Vec::new, |facts| facts.names));
            let key = CertifiedKey::from_der(chain, key.clone_key(), &default_provider())?;
            shown.certificates.push(Arc::new(key));
        }
        if shown.certificates.is_empty() {
            Err(TlsError("there is no certificate".to_owned()))
        } else {
            Ok(shown)
        }
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.certificates.get(choose(&self.names, hello.server_name())).cloned()
    }
}

/// What an operator should know of these certificates, and when the first of them ends.
#[must_use]
pub fn inspect(certificates: &[ServerCertificate], now: SystemTime) -> (Vec<String>, Option<SystemTime>) {
    let facts = certificates.iter().map(|one| one.chain.first().and_then(|first| Facts::of(first)));
    let facts: Vec<Facts> = facts.flatten().collect();
    let mut remarks = Vec::new();
    for (place, one) in facts.iter().enumerate() {
        let name = one.shown_as().into_iter().next().unwrap_or_else(|| "without a name".to_owned());
        remarks.extend(one.remarks(now).iter().map(|remark| format!("certificate {name}: {remark}")));
        let before = &facts[..place];
        let taken = |name: &String| before.iter().any(|other| other.names.contains(name));
        if place > 0 && one.names.iter().all(taken) {
            remarks.push(format!(
                "certificate {name}: it is shown to nobody; those before it are for its names"
            ));
        }
    }
    (remarks, facts.iter().map(|facts| facts.ends).min())
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCertificate").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls")
    }
}
