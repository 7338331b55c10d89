//! How upstreams are reached: endpoints and what is believed and shown there, versions of HTTP, proxies.

use std::fmt;
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use url::Url;

use super::{Credentials, Secret};

/// One place where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and port.
    pub url: Url,
    /// Roots that are trusted there, beside the system's and the upstream's.
    pub ca: Vec<CertificateDer<'static>>,
    /// What is shown there, where a client's certificate is asked for.
    pub identity: Option<Identity>,
    /// Whether anybody is believed to be it.
    pub insecure: bool,
    /// As whom it is asked, in place of the upstream's accounts.
    pub credentials: Option<Credentials>,
}

impl From<Url> for Endpoint {
    fn from(url: Url) -> Self {
        Self { url, ca: Vec::new(), identity: None, insecure: false, credentials: None }
    }
}

/// A client's certificate, with what leads from it to a root, and its key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The key of the first; it fits.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("chain", &self.chain.len()).finish_non_exhaustive()
    }
}

/// For what HTTP/2 is used, with servers that offer it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2 {
    /// For nothing.
    Never,
    /// For all but the bytes of blobs.
    Small,
    /// For blobs as well.
    All,
}

/// The proxies on the way to an upstream, whether from the file or from the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Proxies {
    /// For what is asked for over `http`.
    pub http: Option<Proxy>,
    /// For what is asked for over `https`.
    pub https: Option<Proxy>,
    /// What is reached directly.
    pub except: Vec<String>,
}

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Where it is, without an account.
    pub url: Url,
    /// User and password that it is shown.
    pub account: Option<(String, Secret)>,
}
