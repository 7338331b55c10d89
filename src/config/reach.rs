//! How upstreams are reached: endpoints and what is believed and shown there, versions of HTTP, proxies.

use url::Url;

use super::{Authorities, Certificate, Credentials, Secret};

/// One place where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Scheme, host and port.
    pub url: Url,
    /// Roots that are trusted there, beside the system's and the upstream's.
    pub ca: Option<Authorities>,
    /// What is shown there, where a client's certificate is asked for.
    pub certificate: Option<Certificate>,
    /// Whether anybody is believed to be it.
    pub insecure: bool,
    /// As whom it is asked, in place of the upstream's accounts.
    pub credentials: Option<Credentials>,
}

impl Endpoint {
    /// The same with what is in its files now. Blocks.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) fn read_again(&self) -> Result<Self, String> {
        let ca = self.ca.as_ref().map(Authorities::read_again).transpose()?;
        let certificate = self.certificate.as_ref().map(Certificate::read_again).transpose()?;
        Ok(Self { ca, certificate, ..self.clone() })
    }
}

impl From<Url> for Endpoint {
    fn from(url: Url) -> Self {
        Self { url, ca: None, certificate: None, insecure: false, credentials: None }
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
