//! What an upstream is made from, already validated by the configuration as far as it can see.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use url::Url;

use crate::http::Pseudonym;

use super::uplink::Uplink;

/// One upstream, as configured.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What clients call it; the name in logs and metrics.
    pub name: String,
    /// The name of this mirror, which all requests carry.
    pub pseudonym: Pseudonym,
    /// Whether its endpoints are told which upstream is meant, because they are mirrors themselves.
    pub pass_ns: bool,
    /// The base URLs that answer for it, in the order they are tried. `http` or `https`, possibly with a path.
    pub endpoints: Vec<Url>,
    /// The accounts to pull with; a repository that none is for is asked for as anybody.
    pub accounts: Vec<Account>,
    /// Where its token server may be, beside the endpoints' own hosts and the well-known ones. With or without a port.
    pub realm_hosts: Vec<String>,
    /// Hosts with addresses that are not public, or without TLS, that redirects may lead to. With or without a port.
    pub redirect_hosts: Vec<String>,
    /// Certificates that are trusted beside the system's roots.
    pub ca: Vec<CertificateDer<'static>>,
    /// How long resolving, connecting and the TLS handshake may take together.
    pub connect_timeout: Duration,
    /// How long a request may take from its start to the head of the response.
    pub header_timeout: Duration,
    /// How long a body may pause.
    pub idle_timeout: Duration,
    /// How many connections may bring blobs at a time.
    pub max_connections: usize,
    /// How many bytes a second it may send; `None`: as many as come.
    pub max_rate: Option<u64>,
    /// What it shares with the other upstreams.
    pub uplink: Uplink,
}

/// An account of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// The repository that it is for, with all whose names go on after a slash; empty: all. The longest one counts.
    pub prefix: String,
    /// Where it comes from.
    pub login: LoginSource,
}

/// Where an account comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginSource {
    /// It is this one.
    Fixed(Credentials),
    /// The password is in a file, alone.
    PasswordFile {
        /// The account's name.
        username: String,
        /// The file; white space around its content is dropped.
        file: PathBuf,
    },
    /// Docker's `config.json`, or a mounted secret of that form.
    DockerConfig(PathBuf),
    /// A program that speaks the protocol of docker's credential helpers: a path, or a name to be found in `PATH`.
    Helper(PathBuf),
}

/// A user and a password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The account's name.
    pub username: String,
    /// Its password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

/// Why settings do not make an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetupError {
    /// The list of endpoints is empty.
    NoEndpoint,
    /// An endpoint is not a plain `http` or `https` base URL.
    Endpoint(String),
    /// An entry of `realm_hosts` or `redirect_hosts` is not a host.
    Host(String),
    /// The given certificates are not.
    Ca(String),
}

impl std::error::Error for SetupError {}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoEndpoint => f.write_str("an upstream needs at least one endpoint"),
            Self::Endpoint(endpoint) => write!(
                f,
                "{endpoint} is not an endpoint: a URL of http or https, without account, query and fragment, is expected"
            ),
            Self::Host(why) => f.write_str(why),
            Self::Ca(why) => write!(f, "the CA certificates cannot be used: {why}"),
        }
    }
}

/// Refuses what could not be asked, or would carry a secret where nobody expects one.
pub(super) fn check_endpoints(endpoints: &[Url]) -> Result<(), SetupError> {
    if endpoints.is_empty() {
        return Err(SetupError::NoEndpoint);
    }
    for url in endpoints {
        let plain = matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none();
        if !plain {
            return Err(SetupError::Endpoint(super::redirect::Bare(url).to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g9_credentials_do_not_show_their_password() {
        let credentials = Credentials { username: "robot".into(), password: "hidden".into() };
        assert!(!format!("{credentials:?}").contains("hidden"));
    }

    #[test]
    fn an_endpoint_is_a_plain_base_url() {
        for (endpoint, good) in [
            ("https://registry.example", true),
            ("http://10.0.0.7:5000/mirror", true),
            ("ftp://registry.example", false),
            ("https://user:hidden@registry.example", false),
            ("https://registry.example/?a=b", false),
            ("https://registry.example/#a", false),
        ] {
            let checked = check_endpoints(&[endpoint.parse().expect("a URL")]);
            assert_eq!(checked.is_ok(), good, "{endpoint}");
            assert!(checked.err().is_none_or(|error| !error.to_string().contains("hidden")), "{endpoint}");
        }
        assert_eq!(check_endpoints(&[]), Err(SetupError::NoEndpoint));
    }
}
