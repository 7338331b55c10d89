//! Where nodes pull from: a mirror or a registry, the image there, and what it takes to get in.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Request, Uri};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use url::{Position, Url};

use crate::oci::{Platform, Reference, Repository};

/// An image at a mirror or a registry.
#[derive(Clone, Debug)]
pub struct Source {
    door: Door,
    /// The upstream that a mirror is asked for; a registry is not asked for one.
    namespace: Option<String>,
    repository: Repository,
    /// The tag, or the digest.
    pub(super) reference: Reference,
    /// The machine that the nodes are, where the image is for several.
    pub(super) platform: Platform,
}

/// A server, and what it takes to get in.
#[derive(Clone, Debug)]
pub struct Door {
    /// As far as the host and the port.
    origin: String,
    login: Option<HeaderValue>,
    tls: ClientConfig,
}

/// As whom nodes log in.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// Why a server cannot be pulled from.
#[derive(Debug)]
pub enum DoorError {
    /// The address is none of a server; it, and what is wrong with it.
    Address(String, &'static str),
    /// The authorities that are named cannot be used, and why.
    Authorities(String),
    /// The system has no authorities, and no others are named.
    NoAuthorities,
    /// TLS cannot be set up, or the login is no header.
    Setup(String),
}

impl fmt::Display for DoorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address, why) => {
                write!(f, "{address} is no address of a mirror, such as http://127.0.0.1:5000: {why}")
            }
            Self::Authorities(why) => write!(f, "the mirror's authority cannot be trusted: {why}"),
            Self::NoAuthorities => f.write_str(
                "the system has no authorities to trust: install ca-certificates, or name a file with the mirror's own",
            ),
            Self::Setup(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for DoorError {}

impl Door {
    /// The server at `address`, as in `https://mirror.example:5000`. Over TLS it is trusted by the system's authorities and
    /// those in `ca`, in PEM.
    ///
    /// # Errors
    /// What of it cannot be used.
    pub fn new(address: &str, ca: Option<&[u8]>, login: Option<&Login>) -> Result<Self, DoorError> {
        let wrong = |why| DoorError::Address(address.to_owned(), why);
        let url = Url::parse(address).map_err(|_| wrong("it is no URL"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("it begins with neither http:// nor https://"));
        }
        if !url[Position::AfterPort..].trim_matches('/').is_empty() || !url.username().is_empty() {
            return Err(wrong("there is more in it than a host and a port"));
        }
        let tls = tls(if url.scheme() == "https" { authorities(ca)? } else { RootCertStore::empty() })?;
        let login = login.map(basic).transpose()?;
        Ok(Self { origin: url[..Position::AfterPort].to_owned(), login, tls })
    }
}

impl Source {
    /// The image that `reference` is in `repository`, or what of it is for `platform`. A mirror is asked for the one of the
    /// upstream `namespace`.
    #[must_use]
    pub fn new(
        door: Door,
        namespace: Option<String>,
        repository: Repository,
        reference: Reference,
        platform: Platform,
    ) -> Self {
        Self { door, namespace, repository, reference, platform }
    }

    /// A request for `what` in the repository, as in `manifests/latest`.
    pub(super) fn request<B: Default>(&self, what: &str) -> Result<Request<B>, http::Error> {
        let query = self.namespace.as_deref().map(|name| format!("?ns={name}")).unwrap_or_default();
        let uri = Uri::try_from(format!("{}/v2/{}/{what}{query}", self.door.origin, self.repository))?;
        let mut request = Request::builder().uri(uri);
        if let Some(login) = &self.door.login {
            request = request.header(AUTHORIZATION, login);
        }
        request.body(B::default())
    }

    /// What makes connections: over TLS with HTTP/2 where the server speaks that, as container runtimes do.
    pub(super) fn connector(&self) -> HttpsConnector<HttpConnector> {
        let tls = self.door.tls.clone();
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_all_versions().build()
    }
}

fn basic(Login { user, password }: &Login) -> Result<HeaderValue, DoorError> {
    let encoded = STANDARD.encode(format!("{user}:{password}"));
    let mut value = HeaderValue::try_from(format!("Basic {encoded}"))
        .map_err(|_| DoorError::Setup("the login cannot be sent".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn tls(roots: RootCertStore) -> Result<ClientConfig, DoorError> {
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| DoorError::Setup(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(ca: Option<&[u8]>) -> Result<RootCertStore, DoorError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(pem) = ca {
        add(&mut roots, pem).map_err(DoorError::Authorities)?;
    }
    if roots.is_empty() { Err(DoorError::NoAuthorities) } else { Ok(roots) }
}

fn add(roots: &mut RootCertStore, pem: &[u8]) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.len() == before { Err("there is no certificate in it".to_owned()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn door(address: &str) -> Result<Door, DoorError> {
        let login = Login { user: "node".to_owned(), password: "open sesame".to_owned() };
        Door::new(address, None, Some(&login))
    }

    #[test]
    fn an_image_of_an_upstream_is_asked_for_at_the_mirror() {
        for (address, origin) in [
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
            ("http://mirror.example/", "http://mirror.example"),
            ("http://[::1]:5000", "http://[::1]:5000"),
        ] {
            let platform = "linux/amd64".parse().unwrap();
            let of = |namespace: Option<&str>| {
                let (repository, tag) = ("library/alpine".parse().unwrap(), "3".parse().unwrap());
                let namespace = namespace.map(str::to_owned);
                let source =
                    Source::new(door(address).unwrap(), namespace, repository, tag, Clone::clone(&platform));
                source.request::<Empty<bytes::Bytes>>("manifests/3").unwrap()
            };
            let path = "/v2/library/alpine/manifests/3";
            assert_eq!(of(None).uri().to_string(), format!("{origin}{path}"));
            assert_eq!(of(Some("docker.io")).uri().to_string(), format!("{origin}{path}?ns=docker.io"));
            assert_eq!(of(None).headers()[AUTHORIZATION], "Basic bm9kZTpvcGVuIHNlc2FtZQ==");
        }
    }

    #[test]
    fn what_is_no_address_is_told_with_the_reason() {
        for (address, why) in [
            ("mirror.example:5000", "neither http"),
            ("127.0.0.1", "no URL"),
            ("ftp://mirror.example", "neither http"),
            ("http://mirror.example/v2/", "more in it"),
            ("http://user@mirror.example", "more in it"),
            ("http://mirror.example?ns=docker.io", "more in it"),
        ] {
            let said = door(address).unwrap_err().to_string();
            assert!(said.contains(why) && said.starts_with(address), "{said}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_told_and_no_password_is() {
        let said = Door::new("https://mirror.example", Some(b"rubbish"), None).unwrap_err().to_string();
        assert!(said.ends_with("there is no certificate in it"), "{said}");
        let login = Login { user: "node".to_owned(), password: "open sesame".to_owned() };
        let door = Door::new("http://mirror.example", None, Some(&login));
        assert!(!format!("{login:?} {door:?}").contains("sesame"));
    }
}
