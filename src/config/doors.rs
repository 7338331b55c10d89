//! Where clients come by TLS, what they are shown there and have to show.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::Identity;
use super::read::{identity_again, roots_again};

/// `[tls]`: where clients come by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Addresses to listen on; empty: nobody comes by TLS.
    pub listen: Vec<SocketAddr>,
    /// What clients are shown; where they name no host that one is for, the first. At least one where there is an address.
    pub certificates: Vec<Certificate>,
    /// Whose clients' certificates are believed; `None`: none is asked for.
    pub client_ca: Option<ClientCa>,
    /// Whether a client has to show one, where they are asked for.
    pub client_auth: ClientAuth,
    /// Whether clients of TLS 1.2 are let in.
    pub min_version: TlsVersion,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
}

/// A certificate with its key, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The file of the chain.
    pub cert: PathBuf,
    /// The file of the key.
    pub key: PathBuf,
    /// What was in them.
    pub identity: Identity,
}

/// Authorities of clients' certificates, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCa {
    /// The file.
    pub file: PathBuf,
    /// What was in it.
    pub roots: Vec<CertificateDer<'static>>,
}

/// Whether a client has to show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// It may.
    Optional,
    /// It has to.
    Required,
}

/// The oldest version of TLS that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2.
    V12,
    /// 1.3.
    V13,
}

impl Default for Tls {
    fn default() -> Self {
        Self {
            listen: Vec::new(),
            certificates: Vec::new(),
            client_ca: None,
            client_auth: ClientAuth::Optional,
            min_version: TlsVersion::V12,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

impl Tls {
    /// The same with what is in its files now. Blocks.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub fn read_again(&self) -> Result<Self, String> {
        let certificates = self.certificates.iter().map(Certificate::read_again).collect::<Result<_, _>>()?;
        let client_ca = self.client_ca.as_ref().map(ClientCa::read_again).transpose()?;
        Ok(Self { certificates, client_ca, ..self.clone() })
    }
}

impl Certificate {
    fn read_again(&self) -> Result<Self, String> {
        let identity = identity_again(&self.cert, &self.key)?;
        Ok(Self { identity, ..self.clone() })
    }
}

impl ClientCa {
    fn read_again(&self) -> Result<Self, String> {
        let roots = roots_again(&self.file)?;
        Ok(Self { roots, ..self.clone() })
    }
}
