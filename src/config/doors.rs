//! Where clients come by TLS, what they are shown there and have to show.

use std::net::SocketAddr;
use std::time::Duration;

use super::{Authorities, Certificate};

/// `[tls]`: where clients come by TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// Addresses to listen on; empty: nobody comes by TLS.
    pub listen: Vec<SocketAddr>,
    /// What clients are shown; where they name no host that one is for, the first. At least one where there is an address.
    pub certificates: Vec<Certificate>,
    /// Whose clients' certificates are believed; `None`: none is asked for.
    pub client_ca: Option<Authorities>,
    /// Whether a client has to show one, where they are asked for.
    pub client_auth: ClientAuth,
    /// Whether clients of TLS 1.2 are let in.
    pub min_version: TlsVersion,
    /// How long the handshake may take.
    pub handshake_timeout: Duration,
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
        let client_ca = self.client_ca.as_ref().map(Authorities::read_again).transpose()?;
        Ok(Self { certificates, client_ca, ..self.clone() })
    }
}
