//! Where a server is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// A place where the admin API may answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Server {
    /// `http://127.0.0.1:5001`: a host and a port.
    Http(String),
    /// `unix:/run/roadstead/admin.sock`.
    Unix(PathBuf),
}

/// A text that is no such place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoServer(String);

impl Server {
    /// The place of an admin listener that is configured so, for whoever is on the same machine.
    #[must_use]
    pub fn at(address: SocketAddr) -> Self {
        let ip = match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Self::Http(SocketAddr::new(ip, address.port()).to_string())
    }
}

impl FromStr for Server {
    type Err = NoServer;

    fn from_str(text: &str) -> Result<Self, NoServer> {
        let wrong = || NoServer(text.to_owned());
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(wrong()) } else { Ok(Self::Unix(path.into())) };
        }
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        match (url.scheme(), url.host_str(), url.username()) {
            ("http", Some(host), "") if bare => {
                Ok(Self::Http(format!("{host}:{}", url.port_or_known_default().unwrap_or(80))))
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http(authority) => write!(f, "http://{authority}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl fmt::Display for NoServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no server: it is written as in http://127.0.0.1:5001 or unix:/run/roadstead/admin.sock",
            self.0
        )
    }
}

impl std::error::Error for NoServer {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_an_address_or_a_socket() {
        for (text, server) in [
            ("http://127.0.0.1:5001", "http://127.0.0.1:5001"),
            ("http://mirror.example/", "http://mirror.example:80"),
            ("http://[::1]:5001", "http://[::1]:5001"),
            ("unix:/run/r.sock", "unix:/run/r.sock"),
            ("unix:///run/r.sock", "unix:/run/r.sock"),
            ("unix:r.sock", "unix:r.sock"),
        ] {
            assert_eq!(text.parse::<Server>().unwrap().to_string(), server);
        }
        for text in [
            "",
            "mirror:5001",
            "https://mirror",
            "unix:",
            "http://mirror/api",
            "http://u@mirror",
            "/run/r.sock",
        ] {
            assert!(text.parse::<Server>().is_err(), "{text}");
        }
        for (listens, at) in
            [("0.0.0.0:5001", "127.0.0.1:5001"), ("[::]:5001", "[::1]:5001"), ("10.0.0.7:1", "10.0.0.7:1")]
        {
            assert_eq!(Server::at(listens.parse().unwrap()), Server::Http(at.to_owned()));
        }
    }
}
